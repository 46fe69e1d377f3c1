"""What the SDK gives back: records, tokens, and what is known of the response that they came in."""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Self, TypeAlias, TypeVar, cast, overload

import attrs
from _thrive_learning_api import contract
from _thrive_learning_api import models as wire
from _thrive_learning_api.contract import ActivityFields as ActivityFields  # noqa: PLC0414 - for the test kit

from thrive_learning._contract_model import DESCRIPTIONS, ContractModel
from thrive_learning.credentials import Scope
from thrive_learning.errors import Attempt, ConfigurationError, ThriveError

_T = TypeVar("_T")

#: The types of activities that the contract documents.
ActivityType: TypeAlias = wire.ActivityType

# That class imports no generated code.
DESCRIPTIONS.update(contract.MODELS)


@attrs.frozen(kw_only=True)
class Activity(ContractModel):
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

    def __hash__(self) -> int:
        return hash(self.id)


@attrs.frozen(kw_only=True)
class Pagination(ContractModel):
    """Where a page stands among all pages, as the server says. The counts may contradict each other.

    Attributes:
        total_results: How many records pass the filters; None if the response does not say.
        total_pages: How many pages they take; None if the response does not say.
        page: The number of this page, counted from 1; None if the response does not say.
        per_page: How many records a page has; None if the response does not say.

    Source: the reference page of `GET /activities`, "Responses".
    """

    total_results: int | None = None
    total_pages: int | None = None
    page: int | None = None
    per_page: int | None = None


class _Page(Sequence[_T]):
    """A page of a list, as a sequence of its results."""

    __slots__ = ()

    results: tuple[_T, ...]

    def __len__(self) -> int:
        return len(self.results)

    @overload
    def __getitem__(self, index: int) -> _T: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[_T, ...]: ...
    def __getitem__(self, index: int | slice) -> _T | tuple[_T, ...]:
        return self.results[index]

    def __iter__(self) -> Iterator[_T]:
        return iter(self.results)


@attrs.frozen(kw_only=True)
class ActivityPage(ContractModel, _Page[Activity]):
    """One page of activity records; itself a sequence of them.

    An item that is not a record, because it has no `id`, is left out of `results` and listed in `problems`.

    Attributes:
        results: The records of this page, in the order of the response.
        pagination: Where this page stands among all pages.

    Source: the reference page of `GET /activities`, "Responses".
    """

    results: tuple[Activity, ...]
    pagination: Pagination = attrs.field(factory=Pagination)


@attrs.frozen(kw_only=True, eq=False)
class ApiResponse(Generic[_T]):
    """A result together with what is known of the response that it came in.

    Attributes:
        data: The result itself.
        status_code: The HTTP status.
        request_id: What to quote to the vendor's support, if the response names it.
        elapsed: How long the whole call took, a token request included.
        history: What each of its requests came to, token requests aside.
        headers: The headers of the response that help to diagnose it, by their names in any case:
            `content-type`, `date`, `server`, `via`, `age`, `retry-after`, request IDs, rate limits, and the
            like. Cookies, credentials, and URLs are left out.
    """

    data: _T
    status_code: int
    request_id: str | None
    elapsed: dt.timedelta
    history: tuple[Attempt, ...]
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str])

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
