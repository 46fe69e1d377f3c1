"""Which activity records are wanted: checked arguments, and the query that they become. Pure.

Source: the reference page of `GET /activities`, "Query parameters".
"""

import datetime as dt
from collections.abc import Iterable
from typing import Any, Final, NamedTuple, cast
from urllib.parse import quote

from thrive_learning._ids import activity_id, shown
from thrive_learning.errors import ConfigurationError, InvalidIdError

#: How many records a page may have.
MAX_PER_PAGE: Final = 1000

#: How many content IDs or types one request has. More would make URLs that some servers reject.
MAX_VALUES: Final = 100

#: How many characters of a URL the values of one filter may take: many servers reject URLs of 8,000.
MAX_LENGTH: Final = 4000

# No list has that many pages. Python itself cannot print numbers of more than 4,300 digits.
_MAX_PAGE: Final = 10**9

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
        """Return the same filters with an end: now, if there is none yet.

        Raises:
            ConfigurationError: They begin later.
        """
        if self.until is not None:
            return self
        now = dt.datetime.now(dt.UTC)
        if self.since is not None and self.since > now:
            raise ConfigurationError(
                f"since={self.since} is in the future, so no record can match. Pass an earlier since=, or an "
                "until=."
            )
        until = _whole_second(now, round_up=True)
        # Clocks that stand still, as in tests, may stand at a whole second.
        return self._replace(until=until + _SECOND if until == self.since else until)

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
            arguments["timestamp_from"] = _timestamp(self.since)
        if self.until is not None:
            arguments["timestamp_to"] = _timestamp(self.until)
        return arguments


def page_number(page: object) -> int:
    """Return the number of a page.

    Raises:
        ConfigurationError: It is not a whole number from 1 to a billion.
    """
    if isinstance(page, bool) or not isinstance(page, int) or not 1 <= page <= _MAX_PAGE:
        raise ConfigurationError(
            f"page is {shown(page)}. Pass a whole number from 1, the first page, to {_MAX_PAGE}."
        )
    return int(page)


def page_size(per_page: object) -> int:
    """Return how many records a page has.

    Raises:
        ConfigurationError: It is not a whole number from 1 to 1,000.
    """
    if isinstance(per_page, bool) or not isinstance(per_page, int) or not 1 <= per_page <= MAX_PER_PAGE:
        raise ConfigurationError(
            f"per_page is {shown(per_page)}. Pass a whole number from 1 to {MAX_PER_PAGE}."
        )
    return int(per_page)


def _timestamp(moment: dt.datetime) -> str:
    # Not by strftime, which writes the year 999 with three digits on Linux.
    return moment.replace(tzinfo=None).isoformat(" ", "seconds")


def _whole_second(moment: dt.datetime, *, round_up: bool) -> dt.datetime:
    """Round a time in UTC to whole seconds.

    The result is a plain datetime: that of pandas has nanoseconds, which `replace` keeps.
    """
    whole = dt.datetime(*moment.timetuple()[:6], tzinfo=dt.UTC)
    return whole + _SECOND if round_up and whole != moment else whole


def _values(name: str, values: object) -> list[object]:
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise ConfigurationError(f"{name} is {shown(values)}. Pass a list, or another iterable, of texts.")
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
            f"{name} has the value {text!r}. A comma separates two types in a request; pass each type by "
            "itself."
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
            f"{name} takes {length} characters in a URL. Pass fewer or shorter values, of at most "
            f"{MAX_LENGTH} characters in all."
        )


def _text(name: str, value: object, example: str) -> str:
    # The text itself: str() of an enum may be the name of its member.
    # And by its type, because isinstance() believes what a mock says of its class.
    text = str.__str__(cast("str", value)) if issubclass(type(value), str) else ""
    if not text or text != text.strip() or not text.isprintable():
        raise ConfigurationError(
            f"{name} has the value {shown(value)}. Pass printable text such as {example!r}, without white "
            "space around it."
        )
    return text


def _content_ids(values: object) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for value in _values("content_ids", values):
        try:
            found[activity_id(value).lower()] = None
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
