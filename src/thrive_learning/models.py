"""What the SDK gives back: records, tokens, and what is known of the response that they came in."""

import datetime as dt
import json
import re
from typing import Any, Generic, NoReturn, TypeVar

import attrs
from _thrive_learning_api import models as wire
from _thrive_learning_api.models import ActivityType
from _thrive_learning_api.types import Unset

from thrive_learning.credentials import Scope
from thrive_learning.errors import Attempt, ConfigurationError, ThriveError

T = TypeVar("T")

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)", re.ASCII)


@attrs.frozen(kw_only=True)
class Activity:
    """One activity record: who did what, to what, and when.

    Compares by all fields and hashes by `id`. Only `id` is always there; a field that the response lacks is
    None, or `{}` for `data`.

    Attributes:
        id: The record's ID, 24 hexadecimal digits.
        type: What was done: an `ActivityType`, or the text as received if the contract does not know it.
        user: The ID of the user who did it.
        date: When it was done; always aware of its time zone.
        context_id: The ID of what it was done to.
        context_type: What kind of thing that is, such as `content`.
        name: The name of the activity.
        data: Free-form details that depend on the type; nothing in it is converted.
        with_: Free-form additional context (`with` on the wire).

    Source: the reference page, "Responses".
    """

    id: str
    type: ActivityType | str | None = None
    user: str | None = None
    date: dt.datetime | None = None
    context_id: str | None = None
    context_type: str | None = None
    name: str | None = None
    data: dict[str, Any] = attrs.field(factory=dict[str, Any])
    with_: dict[str, Any] | None = None
    _json: str | None = attrs.field(default=None, alias="json", eq=False, repr=False)

    def __hash__(self) -> int:
        return hash(self.id)

    def to_dict(self) -> dict[str, Any]:
        """Give the record as the JSON that was received, unknown fields included.

        Every call gives a new copy. A record that was made in Python, and not received, gives its fields.
        """
        if self._json is not None:
            document: dict[str, Any] = json.loads(self._json)
            return document
        fields = {
            "id": self.id,
            "user": self.user,
            "type": None if self.type is None else str(self.type),
            "date": None if self.date is None else self.date.isoformat(),
            "contextId": self.context_id,
            "contextType": self.context_type,
            "name": self.name,
            "data": self.data,
            "with": self.with_,
        }
        copied: dict[str, Any] = json.loads(
            json.dumps({k: v for k, v in fields.items() if v is not None}, allow_nan=False)
        )
        return copied


@attrs.frozen(kw_only=True, eq=False)
class ApiResponse(Generic[T]):
    """A result together with what is known of the response that it came in.

    Attributes:
        data: The result itself.
        status_code: The HTTP status.
        request_id: What to quote to the vendor's support, if the response names it.
        elapsed: How long the whole call took, a token request included.
        history: What each of its requests came to, token requests aside.
    """

    data: T
    status_code: int
    request_id: str | None
    elapsed: dt.timedelta
    history: tuple[Attempt, ...]

    @property
    def attempts(self) -> int:
        """How many requests were sent for it, token requests aside."""
        return len(self.history)


@attrs.frozen(kw_only=True)
class ActivityResult:
    """What one ID of `activities.get_many` came to: a record or an error, and never both.

    Attributes:
        id: The ID as it was given.
        activity: The record; None if there is an error.
        error: Why there is no record; None if there is one. It has no traceback unless it is raised.

    Raises:
        ConfigurationError: There are both, or neither.
    """

    id: str
    activity: Activity | None = None
    error: ThriveError | None = None

    def __attrs_post_init__(self) -> None:
        if (self.activity is None) is (self.error is None):
            raise ConfigurationError("an ActivityResult has an activity or an error: pass one of the two")


def _mask(_value: str) -> str:
    return "'**********'"


@attrs.frozen(kw_only=True, eq=False)
class AccessToken:
    """An access token, for calls that the SDK does not make itself; it prints masked and does not pickle.

    Attributes:
        value: The token; send it as `Authorization: Bearer <value>`.
        expires_at: When it expires by this machine's clock; aware, in UTC.
        scopes: What it allows: a `Scope`, or the text as received if the contract does not know it.

    Source: RFC 6749 section 5.1.
    """

    value: str = attrs.field(repr=_mask)
    expires_at: dt.datetime
    scopes: tuple[Scope | str, ...]

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "an AccessToken is not pickled by accident: fetch one where it is needed, or carry .value"
        )

    def __copy__(self) -> "AccessToken":
        return self

    def __deepcopy__(self, _memo: object) -> "AccessToken":
        return self


_STRING = frozenset({str})
_OBJECT = frozenset({dict})
_OBJECT_OR_NULL: frozenset[type] = frozenset({dict, type(None)})

#: The JSON types of a record's fields, by their names on the wire.
_FIELDS: dict[str, frozenset[type]] = {
    "id": _STRING,
    "user": _STRING,
    "type": _STRING,
    "date": _STRING,
    "contextId": _STRING,
    "contextType": _STRING,
    "name": _STRING,
    "data": _OBJECT,
    "with": _OBJECT_OR_NULL,
}

_JSON_NAMES: dict[type, str] = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    type(None): "null",
}


def activity_problem(document: dict[str, Any]) -> str | None:
    """Say how a JSON object breaks the contract of a record, or None if it does not.

    Args:
        document: The response's JSON.

    Returns:
        The field's name, and what is wrong with it.
    """
    if "id" not in document:
        return "the field 'id' is missing"
    for field, value in document.items():
        kinds = _FIELDS.get(field)
        if kinds is not None and type(value) not in kinds:
            wanted = " or ".join(name for kind, name in _JSON_NAMES.items() if kind in kinds)
            return f"the field {field!r} is {_JSON_NAMES[type(value)]}, not {wanted}"
    date = document.get("date")
    if date is not None and not _is_rfc_3339(date):
        return f"the field 'date' is {date[:64]!r}, not a date and time with a time zone as in RFC 3339"
    return None


def _is_rfc_3339(text: str) -> bool:
    # Python reads more forms than these, some without a time zone, and each version reads others.
    if not _RFC_3339.fullmatch(text):
        return False
    try:
        dt.datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def activity_from(text: str, parsed: wire.Activity) -> Activity:
    """Turn the generated model of a record that keeps the contract into ours.

    Args:
        text: The JSON text that was received.
        parsed: What the generated layer made of it.
    """
    return Activity(
        id=parsed.id,
        type=_given(parsed.type_),
        user=_given(parsed.user),
        date=_given(parsed.date),
        context_id=_given(parsed.context_id),
        context_type=_given(parsed.context_type),
        name=_given(parsed.name),
        data={} if isinstance(parsed.data, Unset) else parsed.data.additional_properties,
        with_=parsed.with_.additional_properties if isinstance(parsed.with_, wire.ActivityContext) else None,
        json=text,
    )


def _given(value: T | Unset) -> T | None:
    return None if isinstance(value, Unset) else value
