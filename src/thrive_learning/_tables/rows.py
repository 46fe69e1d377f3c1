"""Converts the JSON of a record to a row of the table. Pure."""

import datetime as dt
import json
from collections.abc import Callable

from thrive_learning._formats import read_date
from thrive_learning._tables.members import members_of

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
_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - see microseconds_of
_MICROSECOND = dt.timedelta(microseconds=1)

Row = dict[str, str | int | None]


def row_of(line: str) -> Row:
    """Return the row of a record, given as its JSON. Missing fields and null are empty.

    The last column has the fields that do not fit into a column, as received: unknown fields, and fields of
    another type or with a date that is not valid.

    Raises:
        ValueError: The line is not a record.
    """
    row: Row = dict.fromkeys(COLUMNS)
    rest: dict[str, str] = {}
    for name, value in members_of(line).items():
        cell_of = _CELLS.get(name)
        cell = cell_of(value) if cell_of else None
        if cell is not None:
            row[name] = cell
        elif cell_of is None or value != "null":
            rest[name] = value
    if row["id"] is None:
        raise ValueError("no ID")
    if rest:
        row[_REST] = "{" + ",".join(f"{_name_as_json(name)}:{value}" for name, value in rest.items()) + "}"
    return row


def _text(value: str) -> str | None:
    if not value.startswith('"'):
        return None
    if "\\" not in value and value.isascii():  # most of the time
        return value[1:-1]
    return _encodable(json.loads(value))


def _object(value: str) -> str | None:
    return value if value.startswith("{") else None


def _date(value: str) -> int | None:
    text = _text(value)
    return None if text is None else microseconds_of(text)


# Convert the JSON of a value to the cell of its column; to None if it does not fit.
_CELLS: dict[str, Callable[[str], str | int | None]] = {
    **dict.fromkeys(COLUMNS, _text),
    "date": _date,
    "data": _object,
    "with": _object,
}
del _CELLS[_REST]


def microseconds_of(text: str) -> int | None:
    """Return the microseconds since 1970 in UTC; None if the text is not a date and time with a zone."""
    # Calculated, because Python cannot convert the first and last days of the calendar to UTC.
    date = read_date(text)
    if date is None:
        return None
    offset = date.utcoffset() or dt.timedelta()
    return (date.replace(tzinfo=None) - _EPOCH - offset) // _MICROSECOND


def _name_as_json(name: str) -> str:
    if name.isascii() and name.isalnum():  # most of the time
        return f'"{name}"'
    shown = json.dumps(name, ensure_ascii=False)
    return shown if _encodable(shown) == shown else json.dumps(name)


def _encodable(text: str) -> str:
    """Replace lone surrogates, which JSON can express and UTF-8 cannot."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
