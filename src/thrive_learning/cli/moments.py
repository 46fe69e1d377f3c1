"""Points in time as a user writes them: a date, a date and time, or how long ago. Pure."""

import datetime as dt
import re
from typing import NamedTuple

_AGO = re.compile(r"(\d{1,9})([smhdw])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_WRITTEN = re.compile(
    r"\d{4}-\d\d-\d\d(?:[Tt ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:[Zz]|[+-]\d\d:?\d\d)?)?", re.ASCII
)

#: How a time is written, for help and messages.
FORMS = "2026-01-31, 2026-01-31T12:00, 2026-01-31T12:00+02:00, or 24h or 7d ago"


class Moment(NamedTuple):
    """A point in time.

    Attributes:
        at: The time, in UTC.
        asked: What it was written as, for one that depends on the current time, such as `7d`; else the time
            itself. Two runs that ask for the same have the same text here.
    """

    at: dt.datetime
    asked: str


def moment_of(text: str, now: dt.datetime) -> Moment:
    """Read a time. One without a time zone is in UTC.

    Args:
        text: What was written.
        now: The current time, aware of its time zone.

    Raises:
        ValueError: It is not a time, or one that does not exist. The message says so.
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
    raise ValueError(f"{text!r} {problem}. Write {FORMS}.")


def span_of(text: str) -> dt.timedelta:
    """Read a span of time, such as `5m` or `1d`.

    Raises:
        ValueError: It is not one.
    """
    found = _AGO.fullmatch(text.strip().lower())
    try:
        if found is not None:
            return dt.timedelta(**{_UNITS[found[2]]: int(found[1])})
    except OverflowError:
        pass
    raise ValueError(f"{text!r} is not a span of time. Write a number and s, m, h, d or w, such as 5m.")
