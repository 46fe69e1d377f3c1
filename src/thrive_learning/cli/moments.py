"""Parse times as users write them: a date, a date and time, or how long ago, such as `7d`. Pure."""

import datetime as dt
import re
from typing import NamedTuple

_AGO = re.compile(r"(\d{1,9})([smhdw])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_WRITTEN = re.compile(
    r"\d{4}-\d\d-\d\d(?:[Tt ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:[Zz]|[+-]\d\d:?\d\d)?)?", re.ASCII
)

_FORMS = "2026-01-31, 2026-01-31T12:00, or 2026-01-31T12:00+02:00, or how long ago, such as 24h or 7d"


class Moment(NamedTuple):
    """A point in time.

    Attributes:
        at: The time, in UTC.
        asked: The text as written if it depends on the current time, such as `7d`; otherwise the time itself.
            Two runs with the same option have the same text here.
    """

    at: dt.datetime
    asked: str


def moment_of(text: str, now: dt.datetime) -> Moment:
    """Parse a time. A time without a zone is in UTC.

    Args:
        text: The text as written.
        now: The current time, aware of its time zone.

    Raises:
        ValueError: The text is not a time, or the time does not exist. The message says so.
    """
    given = text.strip()
    ago = _AGO.fullmatch(given.lower())
    problem = "is not a time"
    try:
        if ago is not None:
            span = dt.timedelta(**{_UNITS[ago[2]]: int(ago[1])})
            return Moment(now.astimezone(dt.UTC) - span, given.lower())
        if _WRITTEN.fullmatch(given):
            problem = "does not exist"
            written = dt.datetime.fromisoformat(given.upper())
            at = written.replace(tzinfo=written.tzinfo or dt.UTC).astimezone(dt.UTC)
            return Moment(at, at.isoformat())
    except (ValueError, OverflowError):
        pass
    raise ValueError(f"{text!r} {problem}. Write {_FORMS}.")


def span_of(text: str) -> dt.timedelta:
    """Parse a duration, such as `5m` or `1d`.

    Raises:
        ValueError: The text is not a duration.
    """
    found = _AGO.fullmatch(text.strip().lower())
    try:
        if found is not None:
            return dt.timedelta(**{_UNITS[found[2]]: int(found[1])})
    except OverflowError:
        pass
    raise ValueError(f"{text!r} is not a duration. Write a number and a unit (s, m, h, d, or w), such as 5m.")
