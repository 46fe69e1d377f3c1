"""Convert activity records to rows of a table. The programs for dlt, pandas, and polars call this."""

import datetime as dt
import json
from typing import Any

from thrive_learning import Activity

#: The columns, which have the names of the fields in the API. `extra` has all other fields.
COLUMNS = ("id", "type", "user", "date", "contextId", "contextType", "name", "data", "with", "extra")
OBJECTS = ("data", "with")

Row = dict[str, str | dt.datetime | None]

_decoder = json.JSONDecoder()


def row_of(activity: Activity) -> Row:
    """Return the row of a record, as in the tables of `thrive activity export`.

    `data`, `with`, and `extra` are JSON text as received. A field that breaks the contract is in `extra`, and
    its own column is None. Dates are in UTC.
    """
    row: Row = dict.fromkeys(COLUMNS)
    rest: dict[str, str] = {}
    for name, (value, text) in _members(activity.to_json()).items():
        cell = _cell(activity, name, value, text)
        if cell is not None:
            row[name] = cell
        elif value is not None or name not in COLUMNS[:-1]:
            rest[name] = text
    if rest:
        row["extra"] = "{" + ",".join(f"{json.dumps(name)}:{text}" for name, text in rest.items()) + "}"
    return row


def _cell(activity: Activity, name: str, value: Any, text: str) -> str | dt.datetime | None:
    if name == "date":
        return _in_utc(activity.date)
    if name in OBJECTS:
        return text if isinstance(value, dict) else None
    if name in COLUMNS[:-1] and isinstance(value, str):
        # JSON can express lone surrogates, which no table can.
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return None


def _in_utc(date: dt.datetime | None) -> dt.datetime | None:
    try:
        return None if date is None else date.astimezone(dt.UTC)
    except OverflowError:  # in the first or last hours of the calendar
        return None


def _members(text: str) -> dict[str, tuple[Any, str]]:
    """Return the members of a JSON object without whitespace: the value and the text of each."""
    members: dict[str, tuple[Any, str]] = {}
    at = 1
    while text[at] != "}":
        name, at = _decoder.raw_decode(text, at)
        value, end = _decoder.raw_decode(text, at + 1)
        members[name] = (value, text[at + 1 : end])
        at = end + (text[end] == ",")
    return members
