"""Render records as text, for people and for programs. Pure.

Text from a server must not control the terminal or forge output. `cells` escapes such characters and wraps
each value under its own column. Characters that the encoding of the output lacks are escaped too.
"""

import datetime as dt
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from thrive_learning._tables.members import members_of
from thrive_learning.cli.cells import GAP, escaped_json, one_line, rows, visible_json, width_of
from thrive_learning.cli.json_text import indented

if TYPE_CHECKING:
    from thrive_learning.models import Activity

#: Shown instead of a secret.
MASK = "**********"

_WIDEST_NAME = 3  # the names of fields take at most a third of the width


class JsonText(NamedTuple):
    """A value that is JSON text as received."""

    text: str


#: Styles text.
Style = Callable[[str], str]


def as_json(value: object, encoding: str) -> str:
    """Render a value as JSON. All characters beyond ASCII are escaped if the encoding lacks one of them.

    Args:
        value: A JSON value.
        encoding: The encoding of the output, such as `"utf-8"`.
    """
    return _encodable_json(json.dumps(value, ensure_ascii=False, indent=2), encoding)


def as_json_text(text: str, encoding: str, indent: int | None = 2) -> str:
    """Render JSON as received, with its numbers and escapes unchanged. See `as_json`.

    Args:
        text: The JSON, without white space between tokens.
        encoding: The encoding of the output, such as `"utf-8"`.
        indent: The number of spaces per level; None for one line.
    """
    return _encodable_json(text if indent is None else indented(text, indent), encoding)


def _encodable_json(text: str, encoding: str) -> str:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:  # this includes lone surrogates, which no encoding has
        return escaped_json(text)
    return visible_json(text)


def as_table(activity: "Activity", encoding: str, heading: Style = str, width: int | None = None) -> str:
    """Render a record for people: one field per line, in the order received.

    Args:
        activity: The record. Its unknown fields are shown too.
        encoding: The encoding of the output, such as `"utf-8"`.
        heading: Styles the names of fields.
        width: The width of the output in characters: see `as_fields`.
    """
    fields: dict[str, object] = {
        name: json.loads(value) if value.startswith('"') else JsonText(value)
        for name, value in members_of(activity.to_json()).items()
    }
    if activity.date is not None:
        fields["date"] = _readable(activity.date)
    return as_fields(fields, encoding, heading, width)


def as_fields(
    fields: Mapping[str, object], encoding: str, heading: Style = str, width: int | None = None
) -> str:
    """Render names and values for people, one field per line.

    Args:
        fields: The names and values.
        encoding: The encoding of the output, such as `"utf-8"`.
        heading: Styles the names of fields.
        width: The width of the output in characters, to which the text is wrapped; None for no limit.
    """
    cells = [[encodable(one_line(name), encoding), _value(value, encoding)] for name, value in fields.items()]
    widths: list[int | None] = [None, None]
    if width is not None:
        names = min(max(width_of(name) for name, _ in cells), width // _WIDEST_NAME)
        widths = [names, width - names - len(GAP)]
    return "\n".join(
        (_styled(name, heading) + GAP + value).rstrip(" ")
        for lines in rows(cells, widths)
        for name, value in lines
    )


def _styled(padded: str, heading: Style) -> str:
    name = padded.rstrip(" ")
    return (heading(name) if name else "") + padded[len(name) :]


def as_columns(
    cells: Sequence[Sequence[str]], encoding: str, width: int | None = None, heading: Style = str
) -> str:
    """Render rows for people, in columns.

    Args:
        cells: The cells of each row. The first row has the headings.
        encoding: The encoding of the output.
        width: The width of the output in characters, to which cells are wrapped; None for no limit.
        heading: Styles the headings.
    """
    shown = [[encodable(one_line(cell), encoding) for cell in row] for row in cells]
    widths = _shares([max(map(width_of, column)) for column in zip(*shown, strict=True)], width)
    first, *rest = ("\n".join(GAP.join(line).rstrip(" ") for line in lines) for lines in rows(shown, widths))
    return "\n".join([heading(first), *rest])


def _shares(wanted: Sequence[int], width: int | None) -> list[int | None]:
    """Return the width of each column. Narrow columns leave the rest of their share to the others."""
    shares: list[int | None] = [None] * len(wanted)
    if width is None:
        return shares
    left = width - len(GAP) * (len(wanted) - 1)
    for done, index in enumerate(sorted(range(len(wanted)), key=wanted.__getitem__)):
        share = min(wanted[index], left // (len(wanted) - done))
        shares[index] = share
        left -= share
    return shares


def encodable(text: str, encoding: str) -> str:
    """Escape the characters that an encoding lacks."""
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _value(value: object, encoding: str) -> str:
    if isinstance(value, JsonText):
        return as_json_text(value.text, encoding)
    text = one_line(value) if isinstance(value, str) else as_json(value, encoding)
    return encodable(text, encoding)


def _readable(date: dt.datetime) -> str:
    # Not in UTC, to which the first and last days of the calendar cannot be converted.
    return f"{date.replace(tzinfo=None).isoformat(' ', 'seconds')} {date.tzname()}"
