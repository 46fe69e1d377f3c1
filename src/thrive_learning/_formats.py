"""Converts text in the formats of OpenAPI and HTTP to Python values, and describes invalid ones. Pure.

Source: OpenAPI 3.1, "Data Types"; RFC 3339; RFC 9110.
"""

import datetime as dt
import email.utils
import re
import reprlib
import uuid
from collections.abc import Callable
from typing import Final

_RFC_3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt](?:[01]\d|2[0-3]):[0-5]\d:(?:[0-5]\d|60)(?:\.\d+)?"
    r"(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)
# The possible ends of a date: a zone that `email.utils` knows, the seconds, or, in the format of asctime, the
# year. `email.utils` would ignore anything else, such as an unknown zone.
_END_OF_DATE = re.compile(
    r"(?::\d\d| \d{4}| (?:GMT|UTC?|Z|[ECMP][SD]T|[+-]\d{4}))[ \t]*\Z", re.ASCII | re.IGNORECASE
)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_UUID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", re.ASCII)
_LIKE_A_DATE = re.compile(r"[0-9TtZz:.,+ -]{1,40}", re.ASCII)


_shortened = reprlib.Repr()
_shortened.maxstring = _shortened.maxother = 80


def shown(value: object) -> str:
    """Return an invalid argument for a message, as its shortened repr."""
    try:
        return _shortened.repr(value)
    except Exception:  # noqa: BLE001 - a repr may fail in any way, such as for an int with 5,000 digits
        return f"a value of type {type(value).__name__}"


def form_of(text: str) -> str:
    """Describe text that cannot be read. A date is shown with zeros for its digits."""
    # Never the text itself, because it is logged, and a server may have put a secret in it.
    if not _LIKE_A_DATE.fullmatch(text):
        return "text of another form" if text else "empty text"
    return f"text such as {re.sub('[0-9]', '0', text)!r}"


def read_date(text: str) -> dt.datetime | None:
    """Read a date and time in RFC 3339 format; None for any other text.

    A leap second becomes the following second, because Python has no leap seconds.

    Source: RFC 3339 section 5.6.
    """
    # Python accepts more formats than these, some without a time zone, and depending on its version.
    if not _RFC_3339.fullmatch(text):
        return None
    # Lowercase letters are valid, but Python does not accept a lowercase z.
    plain = text if text[-1] == "Z" else text.upper()
    try:
        if plain[17:19] == "60":
            return dt.datetime.fromisoformat(f"{plain[:17]}59{plain[19:]}") + dt.timedelta(seconds=1)
        return dt.datetime.fromisoformat(plain)
    except (ValueError, OverflowError):  # not a valid day, or outside Python's range
        return None


def http_date(value: str | None) -> dt.datetime | None:
    """Parse an HTTP date in any of its three formats; None if it is not valid. The result has a time zone.

    Source: RFC 9110 section 5.6.7.
    """
    if value is None or _END_OF_DATE.search(value) is None:
        return None
    try:
        date = email.utils.parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=dt.UTC)


def _read_day(text: str) -> dt.date | None:
    try:
        return dt.date.fromisoformat(text) if _DATE.fullmatch(text) else None
    except ValueError:  # not a valid day
        return None


def _read_uuid(text: str) -> uuid.UUID | None:
    return uuid.UUID(text) if _UUID.fullmatch(text) else None


#: The function that reads each format of the contract, and the expected format in words.
FORMATS: Final[dict[str, tuple[Callable[[str], object], str]]] = {
    "date-time": (read_date, "a date and time with a time zone as in RFC 3339"),
    "date": (_read_day, "a date as in RFC 3339"),
    "uuid": (_read_uuid, "a UUID"),
}
