"""Converts the JSON of a record to a row of the table. Pure."""

import datetime as dt
import json

from thrive_learning._formats import read_date
from thrive_learning._tables.members import Member, members_of

#: The columns and their Arrow types. They have the names of the fields in the API, and `extra` has the rest.
COLUMNS: dict[str, str] = {
    "id": "string",
    "type": "string",
    "user": "string",
    "date": "timestamp[us, tz=UTC]",
    "contextId": "string",
    "contextType": "string",
    "name": "string",
    "data": "string",
    "with": "string",
    "extra": "string",
}

_REST = "extra"
_OBJECTS = {"data", "with"}
_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - see microseconds_of
_MICROSECOND = dt.timedelta(microseconds=1)

Row = dict[str, str | int | None]


def row_of(line: str) -> Row:
    """Return the row of a record. Missing fields and null are empty.

    The last column has the fields that do not fit into a column, as received: unknown fields, and fields of
    another type or with a date that is not valid.

    Args:
        line: The record's JSON.

    Raises:
        ValueError: The line is not a record.
    """
    row: Row = dict.fromkeys(COLUMNS)
    rest: dict[str, str] = {}
    for name, member in members_of(line).items():
        cell = _cell(name, member)
        if cell is not None:
            row[name] = cell
        elif member.value is not None or name not in COLUMNS or name == _REST:
            rest[name] = member.text
    if row["id"] is None:
        raise ValueError("no ID")
    if rest:
        row[_REST] = "{" + ",".join(f"{_encodable_json(name)}:{text}" for name, text in rest.items()) + "}"
    return row


def _cell(name: str, member: Member) -> str | int | None:
    """Return the cell for a field; None if the field has no column, or another type."""
    if name not in COLUMNS or name == _REST:
        return None
    if name in _OBJECTS:
        return member.text if isinstance(member.value, dict) else None
    if not isinstance(member.value, str):
        return None
    return microseconds_of(member.value) if name == "date" else _encodable(member.value)


def microseconds_of(text: str) -> int | None:
    """Return the microseconds since 1970 in UTC; None if the text is not a date and time with a zone."""
    # Calculated, because Python cannot convert the first and last days of the calendar to UTC.
    date = read_date(text)
    if date is None:
        return None
    offset = date.utcoffset() or dt.timedelta()
    return (date.replace(tzinfo=None) - _EPOCH - offset) // _MICROSECOND


def _encodable_json(text: str) -> str:
    shown = json.dumps(text, ensure_ascii=False)
    return shown if _encodable(shown) == shown else json.dumps(text)


def _encodable(text: str) -> str:
    """Replace lone surrogates, which JSON can express and UTF-8 cannot."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
