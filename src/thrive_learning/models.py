"""The results of calls: records, pages, tokens, and the facts of the responses."""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Self, TypeAlias, TypeVar, cast, overload

import attrs
from _thrive_learning_api import contract
from _thrive_learning_api import models as wire
from _thrive_learning_api.contract import ActivityFields as ActivityFields  # noqa: PLC0414 - for the test kit

from thrive_learning._contract_model import DESCRIPTIONS, ContractModel
from thrive_learning._response_headers import ResponseHeaders
from thrive_learning.credentials import Scope
from thrive_learning.errors import Attempt, ConfigurationError, ThriveError

_T = TypeVar("_T")

#: The types of activities that the contract documents.
ActivityType: TypeAlias = wire.ActivityType

# This class imports no generated code.
DESCRIPTIONS.update(contract.MODELS)


@attrs.frozen(kw_only=True)
class Activity(ContractModel):
    """One activity record: who did what to what, and when.

    Compares by all fields and hashes by `id`. Only `id` is always set. A missing field is None, or `{}` for
    `data`. A field that departs from the contract, including null, is None and is listed in `problems`. The
    JSON as received stays in `to_dict()` and `to_json()`.

    Attributes:
        id: The record's ID, 24 hexadecimal digits.
        type: The type of the activity: an `ActivityType`, or the text as received if the contract does not
            list it.
        user: The ID of the user who acted.
        date: The time of the activity, always with a time zone.
        context_id: The ID of the item that the user acted on.
        context_type: The kind of that item, such as `content`.
        name: The name of the activity.
        data: Free-form details that depend on the type, unconverted.
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
    """The position of a page among all pages, according to the server. The counts may contradict each other.

    Attributes:
        total_results: The number of records that match the filters; None if the response does not say.
        total_pages: The number of pages; None if the response does not say.
        page: The number of this page, from 1; None if the response does not say.
        per_page: The number of records per page; None if the response does not say.

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
    """One page of activity records, which is itself a sequence of them.

    An item without an `id`, or with a blank one, is not a record. It is left out of `results` and listed in
    `problems`.

    Attributes:
        results: The records of this page, in the order of the response.
        pagination: The position of this page among all pages.

    Source: the reference page of `GET /activities`, "Responses".
    """

    results: tuple[Activity, ...]
    pagination: Pagination = attrs.field(factory=Pagination)


@attrs.frozen(kw_only=True, eq=False)
class ApiResponse(Generic[_T]):
    """A result together with the facts of its response.

    Attributes:
        data: The result itself.
        status_code: The HTTP status.
        request_id: The request ID to quote to the vendor's support, if the response names it.
        elapsed: The duration of the whole call in seconds, including a token request.
        history: The attempts of the call, without token requests.
        headers: The response headers that help with diagnosis, by case-insensitive name: `content-type`,
            `date`, `server`, `via`, `age`, `retry-after`, request IDs, and rate limits. Cookies, credentials,
            and URLs are left out.
    """

    data: _T
    status_code: int
    request_id: str | None
    elapsed: dt.timedelta
    history: tuple[Attempt, ...]
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str], converter=ResponseHeaders)

    @property
    def attempts(self) -> int:
        """The number of requests that were sent, without token requests."""
        return len(self.history)


class _Result:
    """The result of one ID of `activities.get_many`: an `ActivityFound` or an `ActivityFailed`."""

    # It is `ActivityResult` when the program runs, and can then create both.

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
        id: The ID as it was passed.
        activity: The record.
        error: None.

    Raises:
        ConfigurationError: The record is None, or an error is set as well.
    """

    id: str
    activity: Activity
    error: None = None

    def __attrs_post_init__(self) -> None:
        _check_result(self.activity, self.error)


@attrs.frozen(kw_only=True)
class ActivityFailed(_Result):
    """The error of one ID of `activities.get_many`.

    Attributes:
        id: The ID as it was passed.
        activity: None.
        error: The reason why there is no record. It has no traceback unless it is raised.

    Raises:
        ConfigurationError: The error is None, or a record is set as well.
    """

    id: str
    error: ThriveError
    activity: None = None

    def __attrs_post_init__(self) -> None:
        _check_result(self.activity, self.error)


def _check_result(activity: object, error: object) -> None:
    if (activity is None) is (error is None):
        raise ConfigurationError("A result has either an activity or an error. Pass one of the two.")


if TYPE_CHECKING:
    ActivityResult: TypeAlias = ActivityFound | ActivityFailed
else:
    ActivityResult = _Result
    ActivityResult.__name__ = ActivityResult.__qualname__ = "ActivityResult"


def _mask(_value: str) -> str:
    return "'**********'"


@attrs.frozen(kw_only=True, eq=False)
class AccessToken:
    """An access token for your own calls. It prints masked and cannot be pickled.

    Attributes:
        value: The token; send it as `Authorization: Bearer <value>`.
        expires_at: The time of its expiry by this machine's clock, in UTC.
        scopes: Its scopes: a `Scope`, or the text as received if the contract does not list it.

    Source: RFC 6749 section 5.1.
    """

    value: str = attrs.field(repr=_mask)
    expires_at: dt.datetime
    scopes: tuple[Scope | str, ...]

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "An AccessToken cannot be pickled. Request one in the other process, or pass its .value."
        )

    def __copy__(self) -> "AccessToken":
        return self

    def __deepcopy__(self, _memo: object) -> "AccessToken":
        return self
