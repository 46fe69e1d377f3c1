"""Records as text, for people and for programs. Pure: it writes nothing.

What a server sends must neither steer the terminal nor break the output, so whatever a terminal would obey is
escaped, and so is what the output's encoding lacks.
"""

import datetime as dt
import json
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from thrive_learning.models import Activity

# C0 and C1 controls but the line end, line and paragraph separators, and what reorders or hides text
# (https://trojansource.codes). Each of them is below U+10000: `\u` and four digits say it, in JSON too.
_CONTROLS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")

#: What stands in the place of a secret.
MASK = "**********"

_GAP = "  "
_NARROWEST = 24  # columns of text, below which wrapping helps nobody

#: Gives text a look.
Style = Callable[[str], str]


def visible(text: str) -> str:
    r"""Escape what a terminal would obey, as in `\u001b`; line ends stay."""
    return _CONTROLS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def one_line(text: str) -> str:
    """Escape what a terminal would obey, line ends included."""
    return visible(text).replace("\n", "\\n")


def as_json(value: object, encoding: str, indent: int | None = 2) -> str:
    """Render a value as JSON, in the characters themselves where the encoding has them all.

    Args:
        value: What JSON can say.
        encoding: The output's, such as `"utf-8"`.
        indent: By how many spaces a level is indented; None for one line.
    """
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    try:
        text.encode(encoding)
    except UnicodeEncodeError:  # lone surrogates, which no encoding has, among them
        text = json.dumps(value, indent=indent)
    return visible(text)


def as_table(activity: "Activity", encoding: str, heading: Style = str) -> str:
    """Render a record for people: a field and its value a line, in the order in which they were received.

    Args:
        activity: The record; its unknown fields are shown too.
        encoding: The output's, such as `"utf-8"`.
        heading: Gives the name of a field the look of one.
    """
    fields = activity.to_dict()
    if activity.date is not None:
        fields["date"] = _readable(activity.date)
    return as_fields(fields, encoding, heading)


def as_fields(fields: Mapping[str, object], encoding: str, heading: Style = str) -> str:
    """Render names and values for people, one a line. See `as_table`."""
    names = {one_line(name): value for name, value in fields.items()}
    column = max(map(len, names))
    rows = (
        heading(_encodable(name, encoding))
        + " " * (column - len(name))
        + _GAP
        + _value(value, column, encoding)
        for name, value in names.items()
    )
    return "\n".join(rows)


def as_columns(
    rows: Sequence[Sequence[str]], encoding: str, width: int | None = None, heading: Style = str
) -> str:
    """Render rows for people, in columns.

    Args:
        rows: The first one has the names of the columns.
        encoding: The output's.
        width: How many columns of characters there are: the last cell of a row is wrapped to fit; None for no
            limit.
        heading: Gives the names of the columns the look of it.
    """
    shown = [[_encodable(one_line(cell), encoding) for cell in row] for row in rows]
    widths = [max(map(len, cells)) for cells in zip(*(row[:-1] for row in shown), strict=True)]
    margin = sum(widths) + len(_GAP) * len(widths)
    lines: list[str] = []
    for number, (*cells, last) in enumerate(shown):
        begin = "".join(f"{cell:<{column}}{_GAP}" for cell, column in zip(cells, widths, strict=True))
        wrapped = _wrapped(last, None if width is None else max(width - margin, _NARROWEST))
        text = begin + ("\n" + " " * margin).join(wrapped)
        lines.append(heading(text) if number == 0 else text)
    return "\n".join(lines)


def _wrapped(text: str, width: int | None) -> list[str]:
    if width is None:
        return [text]
    return textwrap.wrap(text, width, break_on_hyphens=False) or [""]


def _encodable(text: str, encoding: str) -> str:
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _value(value: object, column: int, encoding: str) -> str:
    text = one_line(value) if isinstance(value, str) else as_json(value, encoding)
    margin = " " * (column + len(_GAP))
    return _encodable(text.replace("\n", "\n" + margin), encoding)


def _readable(date: dt.datetime) -> str:
    # In the time zone that it came in: the first and the last days of the calendar have no UTC.
    return f"{date.replace(tzinfo=None).isoformat(' ', 'seconds')} {date.tzname()}"
