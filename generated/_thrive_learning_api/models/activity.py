from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.activity_type import ActivityType
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.activity_context import ActivityContext
    from ..models.activity_data import ActivityData


T = TypeVar("T", bound="Activity")


@_attrs_define
class Activity:
    """One activity record. Only the ID is always present; any other field can be absent.

    Attributes:
        id (str): Unique ID for this activity record.
        user (str | Unset): User ID for the user who triggered this activity record.
        type_ (ActivityType | str | Unset): The type of activity being logged, one of the known values or another text.
        name (str | Unset): The name of the activity logged.
        date (datetime.datetime | Unset): Timestamp when the activity occurred.
        context_id (str | Unset): Unique identifier for the context item.
        context_type (str | Unset): The kind of item that the activity relates to.
        data (ActivityData | Unset): Free-form JSON whose content depends on the type of activity.
        with_ (ActivityContext | None | Unset): Additional context information, or null.
    """

    id: str
    user: str | Unset = UNSET
    type_: ActivityType | str | Unset = UNSET
    name: str | Unset = UNSET
    date: datetime.datetime | Unset = UNSET
    context_id: str | Unset = UNSET
    context_type: str | Unset = UNSET
    data: ActivityData | Unset = UNSET
    with_: ActivityContext | None | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.activity_context import ActivityContext  # noqa: PLC0415

        id = self.id

        user = self.user

        type_: str | Unset
        if isinstance(self.type_, Unset):
            type_ = UNSET
        elif isinstance(self.type_, ActivityType):
            type_ = self.type_.value
        else:
            type_ = self.type_

        name = self.name

        date: str | Unset = UNSET
        if not isinstance(self.date, Unset):
            date = self.date.isoformat()

        context_id = self.context_id

        context_type = self.context_type

        data: dict[str, Any] | Unset = UNSET
        if not isinstance(self.data, Unset):
            data = self.data.to_dict()

        with_: dict[str, Any] | None | Unset
        if isinstance(self.with_, Unset):
            with_ = UNSET
        elif isinstance(self.with_, ActivityContext):
            with_ = self.with_.to_dict()
        else:
            with_ = self.with_

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "id": id,
            }
        )
        if user is not UNSET:
            field_dict["user"] = user
        if type_ is not UNSET:
            field_dict["type"] = type_
        if name is not UNSET:
            field_dict["name"] = name
        if date is not UNSET:
            field_dict["date"] = date
        if context_id is not UNSET:
            field_dict["contextId"] = context_id
        if context_type is not UNSET:
            field_dict["contextType"] = context_type
        if data is not UNSET:
            field_dict["data"] = data
        if with_ is not UNSET:
            field_dict["with"] = with_

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.activity_context import ActivityContext  # noqa: PLC0415
        from ..models.activity_data import ActivityData  # noqa: PLC0415

        d = dict(src_dict)
        id = d.pop("id")

        user = d.pop("user", UNSET)

        def _parse_type_(data: object) -> ActivityType | str | Unset:
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                type_type_0 = ActivityType(data)

                return type_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(ActivityType | str | Unset, data)

        type_ = _parse_type_(d.pop("type", UNSET))

        name = d.pop("name", UNSET)

        _date = d.pop("date", UNSET)
        date: datetime.datetime | Unset
        if isinstance(_date, Unset):
            date = UNSET
        else:
            date = datetime.datetime.fromisoformat(_date)

        context_id = d.pop("contextId", UNSET)

        context_type = d.pop("contextType", UNSET)

        _data = d.pop("data", UNSET)
        data: ActivityData | Unset
        if isinstance(_data, Unset):
            data = UNSET
        else:
            data = ActivityData.from_dict(_data)

        def _parse_with_(data: object) -> ActivityContext | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                with_type_0 = ActivityContext.from_dict(data)

                return with_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(ActivityContext | None | Unset, data)

        with_ = _parse_with_(d.pop("with", UNSET))

        activity = cls(
            id=id,
            user=user,
            type_=type_,
            name=name,
            date=date,
            context_id=context_id,
            context_type=context_type,
            data=data,
            with_=with_,
        )

        activity.additional_properties = d
        return activity

    @property
    def additional_keys(self) -> list[str]:
        return list(self.additional_properties.keys())

    def __getitem__(self, key: str) -> Any:
        return self.additional_properties[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.additional_properties[key] = value

    def __delitem__(self, key: str) -> None:
        del self.additional_properties[key]

    def __contains__(self, key: str) -> bool:
        return key in self.additional_properties
