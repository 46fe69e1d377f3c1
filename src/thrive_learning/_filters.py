"""Checks the filters of a list and turns them into a query. Pure.

Source: the reference page of `GET /activities`, "Query parameters".
"""

import datetime as dt
from collections.abc import Iterable
from typing import Any, Final, NamedTuple, cast
from urllib.parse import quote

from thrive_learning._formats import shown
from thrive_learning._ids import validate_activity_id
from thrive_learning.errors import ConfigurationError, InvalidIdError

#: The maximum number of records per page.
MAX_PER_PAGE: Final = 1000

#: The maximum number of content IDs or types per request. More would make URLs that some servers reject.
MAX_VALUES: Final = 100

#: The maximum length of one filter's values in a URL. Many servers reject URLs of 8,000 characters.
MAX_LENGTH: Final = 4000

# More than any list has. Python cannot print numbers of more than 4,300 digits.
_MAX_PAGE: Final = 10**9

_SECOND = dt.timedelta(seconds=1)


class ActivityFilters(NamedTuple):
    """The checked filters of `activities.list` and `activities.iterate`.

    Attributes:
        types: The types to include.
        omit_types: The types to exclude.
        content_ids: The IDs of the content that the activities relate to, without duplicates.
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
            ConfigurationError: A filter is not valid, or two filters contradict each other.
            InvalidIdError: A content ID is not 24 hexadecimal digits.
        """
        filters = cls(
            types=_types("types", types),
            omit_types=_types("omit_types", omit_types),
            content_ids=_content_ids(content_ids),
            content_type=None if content_type is None else _content_type(content_type),
            since=_time("since", since, round_up=False),
            until=_time("until", until, round_up=True),
        )
        if filters.types and filters.omit_types:
            raise ConfigurationError(
                "types= and omit_types= exclude each other, because the API does not document their "
                "combination. Pass one of the two."
            )
        if filters.since is not None and filters.until is not None and filters.since >= filters.until:
            raise ConfigurationError(
                f"since={since} is not before until={until}, so no record can match. Pass an earlier since=."
            )
        return filters

    @property
    def walks(self) -> "list[ActivityFilters]":
        """Return the same filters in parts that each fit into one request."""
        ids = self.content_ids
        parts = [ids[start : start + MAX_VALUES] for start in range(0, len(ids), MAX_VALUES)]
        return [self._replace(content_ids=part) for part in parts] or [self]

    def with_end(self) -> "ActivityFilters":
        """Return the same filters with an end, by default now.

        Raises:
            ConfigurationError: The filters begin in the future.
        """
        if self.until is not None:
            return self
        now = dt.datetime.now(dt.UTC)
        if self.since is not None and self.since > now:
            raise ConfigurationError(
                f"since={self.since} is in the future, so no record can match. Pass an earlier since=, or a "
                "later until=."
            )
        until = _whole_second(now, round_up=True)
        # A frozen clock, as in tests, may show a whole second.
        return self._replace(until=until + _SECOND if until == self.since else until)

    def page_arguments(self, page: int, per_page: int) -> dict[str, Any]:
        """Return the arguments of the generated function for one page.

        Raises:
            ConfigurationError: The page number is not valid, or the filters do not fit into one request.
        """
        if len(self.content_ids) > MAX_VALUES:
            raise ConfigurationError(
                f"content_ids has {len(self.content_ids)} IDs, and one request takes at most {MAX_VALUES}. "
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
            arguments["timestamp_from"] = _timestamp(self.since)
        if self.until is not None:
            arguments["timestamp_to"] = _timestamp(self.until)
        return arguments


def page_number(page: object) -> int:
    """Return the number of a page.

    Raises:
        ConfigurationError: The value is not a whole number from 1 to a billion.
    """
    if isinstance(page, bool) or not isinstance(page, int) or not 1 <= page <= _MAX_PAGE:
        raise ConfigurationError(
            f"page is {shown(page)}. Pass a whole number from 1, the first page, to {_MAX_PAGE}."
        )
    return int(page)


def page_size(per_page: object) -> int:
    """Return the number of records per page.

    Raises:
        ConfigurationError: The value is not a whole number from 1 to 1,000.
    """
    if isinstance(per_page, bool) or not isinstance(per_page, int) or not 1 <= per_page <= MAX_PER_PAGE:
        raise ConfigurationError(
            f"per_page is {shown(per_page)}. Pass a whole number from 1 to {MAX_PER_PAGE}."
        )
    return int(per_page)


def _timestamp(moment: dt.datetime) -> str:
    # Not with strftime, which writes the year 999 with three digits on Linux.
    return moment.replace(tzinfo=None).isoformat(" ", "seconds")


def _whole_second(moment: dt.datetime, *, round_up: bool) -> dt.datetime:
    """Round a time in UTC to whole seconds.

    The result is a plain datetime, because pandas' own has nanoseconds, which `replace` keeps.
    """
    whole = dt.datetime(*moment.timetuple()[:6], tzinfo=dt.UTC)
    return whole + _SECOND if round_up and whole != moment else whole


def _values(name: str, values: object) -> list[object]:
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise ConfigurationError(f"{name} is {shown(values)}. Pass a list or another iterable of strings.")
    return list(cast("Iterable[object]", values))


def _types(name: str, values: object) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(_type(name, value) for value in _values(name, values)))
    if len(found) > MAX_VALUES:
        raise ConfigurationError(f"{name} has {len(found)} values. Pass at most {MAX_VALUES}.")
    _check_length(name, ",".join(found))
    return found


def _type(name: str, value: object) -> str:
    text = _text(name, value, "viewed")
    if "," in text:
        raise ConfigurationError(
            f"{name} has the value {text!r}. A comma separates two types in a request, so pass each type "
            "separately."
        )
    return text


def _content_type(value: object) -> str:
    text = _text("content_type", value, "content")
    _check_length("content_type", text)
    return text


def _check_length(name: str, text: str) -> None:
    length = len(quote(text, safe=""))
    if length > MAX_LENGTH:
        raise ConfigurationError(
            f"{name} takes {length} characters in a URL. Pass fewer or shorter values, with at most "
            f"{MAX_LENGTH} characters in total."
        )


def _text(name: str, value: object, example: str) -> str:
    # The text itself, because str() of an enum may return the name of its member. And by its type,
    # because isinstance() believes a mock's __class__.
    text = str.__str__(cast("str", value)) if issubclass(type(value), str) else ""
    if not text or text != text.strip() or not text.isprintable():
        raise ConfigurationError(
            f"{name} has the value {shown(value)}. Pass printable text without surrounding white "
            f"space, such as {example!r}."
        )
    return text


def _content_ids(values: object) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for value in _values("content_ids", values):
        try:
            found[validate_activity_id(value).lower()] = None
            continue
        except InvalidIdError as error:
            plain = error.value
        raise InvalidIdError(
            f"content_ids has the value {shown(value)}. A content ID has exactly 24 hexadecimal digits.",
            value=plain,
        )
    return tuple(found)


def _time(name: str, moment: object, *, round_up: bool) -> dt.datetime | None:
    if moment is None:
        return None
    if not isinstance(moment, dt.datetime):
        raise ConfigurationError(
            f"{name} is {shown(moment)}. Pass a datetime with a time zone, such as "
            "datetime(2026, 1, 1, tzinfo=UTC)."
        )
    if moment.tzinfo is None or moment.utcoffset() is None:
        raise ConfigurationError(
            f"{name} is {moment!r}, which has no time zone. Pass an aware datetime, such as "
            "datetime(2026, 1, 1, tzinfo=UTC)."
        )
    try:
        return _whole_second(moment.astimezone(dt.UTC), round_up=round_up)
    except OverflowError:
        pass
    raise ConfigurationError(
        f"{name} is {moment!r}, which is out of range in UTC. Pass another time, or None for no limit."
    )
