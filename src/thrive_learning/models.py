"""What the SDK gives back: records, tokens, and what is known of the response that they came in."""

import datetime as dt
import functools
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, NoReturn, Self, TypeAlias, TypeVar, cast

import attrs
from _thrive_learning_api import models as wire
from _thrive_learning_api.types import Unset

from thrive_learning._json_text import compact, dump
from thrive_learning._reading import Reader, Reading
from thrive_learning.credentials import Scope
from thrive_learning.drift import Drift
from thrive_learning.errors import Attempt, ConfigurationError, ThriveError

_T = TypeVar("_T")

#: The types of activities that the contract documents.
ActivityType: TypeAlias = wire.ActivityType


class _Received(NamedTuple):
    """What a record was read from.

    Attributes:
        text: The JSON as received.
        values: The value that each field had then, in the order of the fields.
        problems: Each difference from the contract.
    """

    text: str
    values: tuple[object, ...]
    problems: tuple[Drift, ...]


@attrs.frozen(kw_only=True)
class Activity:
    """One activity record: who did what, to what, and when.

    Compares by all fields and hashes by `id`. Only `id` is always there. A field that the response lacks is
    None, or `{}` for `data`; a field that departs from the contract, null included, is None and listed in
    `problems`. The JSON as received stays in `to_dict()` and `to_json()`.

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
    data: dict[str, Any] | None = attrs.field(factory=dict[str, Any])
    with_: dict[str, Any] | None = None
    _received: _Received | None = attrs.field(default=None, alias="received", eq=False, repr=False)

    def __hash__(self) -> int:
        return hash(self.id)

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any]) -> Self:
        """Create a record from its JSON, such as a stored `to_dict()`, as tolerantly as from a response.

        Args:
            mapping: The record under the names of the contract, such as `contextId`.

        Raises:
            ConfigurationError: It has no `id` that is a string, or JSON cannot hold it.

        Source: the reference page, "Responses".
        """
        if not isinstance(mapping, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(
                f"a record is of type {type(mapping).__name__}. Pass a mapping such as Activity.to_dict()."
            )
        try:
            text = dump(dict(mapping))
            reading = read_activity(json.loads(text))
        except (TypeError, ValueError, RecursionError) as error:
            flaw = f"JSON cannot hold it ({error})"
        else:
            if reading.flaw is None:
                return _build(cls, text, wire.Activity.from_dict(reading.document), reading)
            flaw = reading.flaw
        raise ConfigurationError(f"this is not a record: {flaw}. Pass a mapping such as Activity.to_dict().")

    @property
    def problems(self) -> tuple[Drift, ...]:
        """How its JSON departs from the contract or goes beyond it; empty for a record made in Python."""
        if self._received is None:
            return ()
        replaced = {_reader().fields[index].wire_name for index in self._replaced(self._received)}
        return tuple(drift for drift in self._received.problems if drift.field not in replaced)

    def to_dict(self) -> dict[str, Any]:
        """Return the record as the JSON that was received, unknown fields included.

        Every call returns a new copy. A field that `attrs.evolve` replaced has its new value. A record that
        was made in Python has its fields.
        """
        if self._received is None:
            document: dict[str, Any] = {}
            replaced = list(range(len(_reader().fields)))
        else:
            document = json.loads(self._received.text)
            replaced = self._replaced(self._received)
        for index in replaced:
            field = _reader().fields[index]
            value = getattr(self, field.name)
            if value is None:
                document.pop(field.wire_name, None)
            else:
                document[field.wire_name] = json.loads(
                    dump(value.isoformat() if isinstance(value, dt.datetime) else value)
                )
        return document

    def to_json(self) -> str:
        """Return the record's JSON text as received, without the whitespace between its tokens.

        Unlike `to_dict()`, this keeps each number and each escape as the server wrote it.
        """
        if self._received is None or self._replaced(self._received):
            return dump(self.to_dict())
        return compact(self._received.text)

    def _replaced(self, received: _Received) -> list[int]:
        # By identity: `data` stays the same object when its content is changed, which is not the record's.
        return [
            index
            for index, (field, value) in enumerate(zip(_reader().fields, received.values, strict=True))
            if getattr(self, field.name) is not value
        ]

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: object, _handler: object) -> Any:
        from pydantic_core import core_schema  # noqa: PLC0415 - only pydantic asks for it, and brings it

        from_json = core_schema.chain_schema(
            [
                core_schema.dict_schema(core_schema.str_schema()),
                core_schema.no_info_plain_validator_function(cls.from_dict),
            ]
        )
        return core_schema.json_or_python_schema(
            json_schema=from_json,
            python_schema=core_schema.union_schema([core_schema.is_instance_schema(cls), from_json]),
            serialization=core_schema.plain_serializer_function_ser_schema(cls.to_dict),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, _core_schema: object, _handler: object) -> dict[str, Any]:
        return {"title": cls.__name__, **_reader().json_schema()}


_A = TypeVar("_A", bound=Activity)


@functools.cache
def _reader() -> Reader:
    return Reader(wire.Activity, Activity, vars(wire), Unset)


def _build(cls: type[_A], text: str, parsed: wire.Activity, reading: Reading) -> _A:
    arguments = _reader().arguments(parsed, reading)
    received = _Received(text, tuple(arguments.values()), reading.problems)
    return cls(**arguments, received=received)


def read_activity(document: dict[str, Any]) -> Reading:
    """Compare a JSON object with the contract of a record. See `Reader.read`."""
    return _reader().read(document)


def activity_from(
    text: str, parsed: wire.Activity, reading: Reading, problems: tuple[Drift, ...]
) -> Activity:
    """Turn the generated model of a record into ours.

    Args:
        text: The JSON text that was received.
        parsed: What the generated layer made of it.
        reading: What it was read as.
        problems: Each difference from the contract, fit for a report.
    """
    return _build(Activity, text, parsed, reading._replace(problems=problems))


@attrs.frozen(kw_only=True, eq=False)
class ApiResponse(Generic[_T]):
    """A result together with what is known of the response that it came in.

    Attributes:
        data: The result itself.
        status_code: The HTTP status.
        request_id: What to quote to the vendor's support, if the response names it.
        elapsed: How long the whole call took, a token request included.
        history: What each of its requests came to, token requests aside.
    """

    data: _T
    status_code: int
    request_id: str | None
    elapsed: dt.timedelta
    history: tuple[Attempt, ...]

    @property
    def attempts(self) -> int:
        """How many requests were sent for it, token requests aside."""
        return len(self.history)


class _Result:
    """What `ActivityResult` is when the program runs: the class of both results, which it can also create."""

    __slots__ = ()

    def __new__(cls, **fields: object) -> Self:
        if cls is _Result:
            _check_result(fields.get("activity"), fields.get("error"))
            chosen: Any = ActivityFound if fields.get("error") is None else ActivityFailed
            return cast("Self", object.__new__(chosen))
        return object.__new__(cls)


@attrs.frozen(kw_only=True)
class ActivityFound(_Result):
    """The record of one ID of `activities.get_many`.

    Attributes:
        id: The ID as it was given.
        activity: The record.
        error: None.

    Raises:
        ConfigurationError: The record is None, or there is an error as well.
    """

    id: str
    activity: Activity
    error: None = None

    def __attrs_post_init__(self) -> None:
        _check_result(self.activity, self.error)


@attrs.frozen(kw_only=True)
class ActivityFailed(_Result):
    """Why one ID of `activities.get_many` has no record.

    Attributes:
        id: The ID as it was given.
        activity: None.
        error: Why there is no record. It has no traceback unless it is raised.

    Raises:
        ConfigurationError: The error is None, or there is a record as well.
    """

    id: str
    error: ThriveError
    activity: None = None

    def __attrs_post_init__(self) -> None:
        _check_result(self.activity, self.error)


def _check_result(activity: object, error: object) -> None:
    if (activity is None) is (error is None):
        raise ConfigurationError("a result has an activity or an error. Pass one of the two.")


if TYPE_CHECKING:
    ActivityResult: TypeAlias = ActivityFound | ActivityFailed
else:
    ActivityResult = _Result
    ActivityResult.__name__ = ActivityResult.__qualname__ = "ActivityResult"


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
