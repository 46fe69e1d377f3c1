"""Which activity records are wanted: checked arguments, and the query that they become. Pure.

Source: the reference page of `GET /activities`, "Query parameters".
"""

import datetime as dt
from collections.abc import Iterable
from typing import Any, Final, NamedTuple, cast

from thrive_learning._ids import activity_id
from thrive_learning.errors import ConfigurationError, InvalidIdError

#: How many records a page may have.
MAX_PER_PAGE: Final = 1000

#: How many content IDs or types one request has. More would make URLs that some servers reject.
MAX_VALUES: Final = 100

_SECOND = dt.timedelta(seconds=1)


class ActivityFilters(NamedTuple):
    """The filters of `activities.list` and `activities.iterate`, checked.

    Attributes:
        types: The types to keep.
        omit_types: The types to leave out.
        content_ids: The content that the activities relate to, each once.
        content_type: The type of that content.
        since: The earliest time; in UTC, rounded down to whole seconds.
        until: The latest time; in UTC, rounded up to whole seconds.
    """

    types: tuple[str, ...] = ()
    omit_types: tuple[str, ...] = ()
    content_ids: tuple[str, ...] = ()
    content_type: str | None = None
    since: dt.datetime | None = None
    until: dt.datetime | None = None

    @classmethod
    def of(  # noqa: PLR0913 - the filters
        cls,
        *,
        types: object,
        omit_types: object,
        content_ids: object,
        content_type: object,
        since: object,
        until: object,
    ) -> "ActivityFilters":
        """Check the filters.

        Raises:
            ConfigurationError: One of them is not valid, or two contradict each other.
            InvalidIdError: A content ID is not 24 hexadecimal digits.
        """
        if content_type is not None:
            content_type = _text("content_type", content_type)
        filters = cls(
            types=_types("types", types),
            omit_types=_types("omit_types", omit_types),
            content_ids=_content_ids(content_ids),
            content_type=content_type,
            since=_time("since", since, round_up=False),
            until=_time("until", until, round_up=True),
        )
        if filters.types and filters.omit_types:
            raise ConfigurationError(
                "types= and omit_types= exclude each other, because the API does not document what both do "
                "together. Pass one of the two."
            )
        if filters.since is not None and filters.until is not None and filters.since >= filters.until:
            raise ConfigurationError(
                f"since={since} is not before until={until}, so no record can match. Pass an earlier since=."
            )
        return filters

    @property
    def walks(self) -> "list[ActivityFilters]":
        """The same filters in parts that each fit into one request."""
        ids = self.content_ids
        parts = [ids[start : start + MAX_VALUES] for start in range(0, len(ids), MAX_VALUES)]
        return [self._replace(content_ids=part) for part in parts] or [self]

    def with_end(self) -> "ActivityFilters":
        """Return the same filters with an end: now, if there is none yet."""
        if self.until is not None:
            return self
        return self._replace(until=_up_to_whole_second(dt.datetime.now(dt.UTC)))

    def page_arguments(self, page: int, per_page: int) -> dict[str, Any]:
        """Return the arguments of the generated function for one page.

        Raises:
            ConfigurationError: There is no such page, or there are more filters than fit into one request.
        """
        if len(self.content_ids) > MAX_VALUES:
            raise ConfigurationError(
                f"content_ids has {len(self.content_ids)} IDs, and one request takes {MAX_VALUES} at most. "
                "Call iterate() instead, which sends several requests."
            )
        arguments: dict[str, Any] = {"page": page_number(page), "per_page": page_size(per_page)}
        if self.types:
            arguments["actions"] = ",".join(self.types)
        if self.omit_types:
            arguments["omit_actions"] = ",".join(self.omit_types)
        if self.content_ids:
            arguments["content_ids"] = ",".join(self.content_ids)
        if self.content_type is not None:
            arguments["content_type"] = self.content_type
        if self.since is not None:
            arguments["timestamp_from"] = f"{self.since:%Y-%m-%d %H:%M:%S}"
        if self.until is not None:
            arguments["timestamp_to"] = f"{self.until:%Y-%m-%d %H:%M:%S}"
        return arguments


def page_number(page: object) -> int:
    """Return the number of a page.

    Raises:
        ConfigurationError: It is not a whole number above 0.
    """
    if isinstance(page, bool) or not isinstance(page, int) or page < 1:
        raise ConfigurationError(f"page is {page!r}. Pages are counted from 1.")
    return page


def page_size(per_page: object) -> int:
    """Return how many records a page has.

    Raises:
        ConfigurationError: It is not a whole number from 1 to 1,000.
    """
    if isinstance(per_page, bool) or not isinstance(per_page, int) or not 1 <= per_page <= MAX_PER_PAGE:
        raise ConfigurationError(f"per_page is {per_page!r}. Pass a whole number from 1 to {MAX_PER_PAGE}.")
    return per_page


def _up_to_whole_second(moment: dt.datetime) -> dt.datetime:
    """Round a time up to whole seconds."""
    whole = moment.replace(microsecond=0)
    return whole if whole == moment else whole + _SECOND


def _values(name: str, values: object) -> list[object]:
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise ConfigurationError(f"{name} is {values!r}. Pass a list, or another iterable, of texts.")
    return list(dict.fromkeys(cast("Iterable[object]", values)))


def _types(name: str, values: object) -> tuple[str, ...]:
    found = tuple(_text(name, value) for value in _values(name, values))
    if len(found) > MAX_VALUES:
        raise ConfigurationError(f"{name} has {len(found)} values. Pass at most {MAX_VALUES}.")
    return found


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise ConfigurationError(f"{name} has the value {value!r}. Pass text such as 'viewed'.")
    if "," in value:
        raise ConfigurationError(
            f"{name} has the value {value!r}. The API separates values by commas, so none may have one."
        )
    return str(value)


def _content_ids(values: object) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for value in _values("content_ids", values):
        try:
            found[activity_id(cast("str", value)).lower()] = None
            continue
        except InvalidIdError:
            pass
        shown = value if isinstance(value, str) else repr(value)
        raise InvalidIdError(
            f"content_ids has the value {shown[:80]!r}. A content ID has exactly 24 hexadecimal digits.",
            value=shown,
        )
    return tuple(found)


def _time(name: str, moment: object, *, round_up: bool) -> dt.datetime | None:
    if moment is None:
        return None
    if not isinstance(moment, dt.datetime):
        raise ConfigurationError(f"{name} is {moment!r}. Pass a datetime with a time zone.")
    if moment.tzinfo is None or moment.utcoffset() is None:
        raise ConfigurationError(
            f"{name} is {moment!r}, which has no time zone. Pass an aware datetime, such as "
            "datetime(2026, 1, 1, tzinfo=UTC)."
        )
    try:
        in_utc = moment.astimezone(dt.UTC)
        return _up_to_whole_second(in_utc) if round_up else in_utc.replace(microsecond=0)
    except OverflowError:
        problem = (
            f"{name} is {moment!r}, which is out of range in UTC. Pass a time after year 1 and before 9999."
        )
    raise ConfigurationError(problem)
