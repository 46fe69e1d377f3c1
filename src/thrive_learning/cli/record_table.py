"""Render records as a table with one row per record, cut to the width of the terminal. Pure."""

import datetime as dt
from typing import TYPE_CHECKING

from thrive_learning.cli.cells import GAP, cut, one_line, width_of
from thrive_learning.cli.rendering import Style, as_columns, encodable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from thrive_learning.models import Activity

_HEADINGS = ("DATE (UTC)", "TYPE", "USER", "CONTEXT", "ID")
_FIXED = (0, 4)  # the date and the ID are never cut, because other commands need them
_NARROWEST = 8


def as_record_table(
    records: "Sequence[Activity]", encoding: str, heading: Style = str, width: int | None = None
) -> str:
    """Render records as a table.

    Args:
        records: The records.
        encoding: The encoding of the output, such as `"utf-8"`.
        heading: Styles the headings.
        width: The width of the output in characters; None for no limit.
    """
    cells = [[encodable(one_line(cell), encoding) for cell in _cells(record)] for record in records]
    rows = [list(_HEADINGS), *cells]
    widths = [max(map(width_of, column)) for column in zip(*rows, strict=True)]
    if width is not None:
        _shrink(widths, width)
    ellipsis = encodable("…", encoding)
    ellipsis = ellipsis if width_of(ellipsis) == 1 else "~"
    shown = [[cut(cell, most, ellipsis) for cell, most in zip(row, widths, strict=True)] for row in rows]
    return as_columns(shown, encoding, heading=heading)


def _cells(record: "Activity") -> tuple[str, ...]:
    context = " ".join(filter(None, (record.name or record.context_id, _bracketed(record.context_type))))
    return (_date(record.date), record.type or "", record.user or "", context, record.id)


def _bracketed(text: str | None) -> str:
    return f"({text})" if text else ""


def _date(date: dt.datetime | None) -> str:
    if date is None:
        return ""
    try:
        return date.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M:%S")
    except OverflowError:  # the first and last days of the calendar cannot be converted to UTC
        return date.isoformat(" ", "seconds")


def _shrink(widths: list[int], width: int) -> None:
    """Narrow the widest columns until the table fits or no column can be narrower."""
    while sum(widths) + len(GAP) * (len(widths) - 1) > width:
        widest = max((index for index in range(len(widths)) if index not in _FIXED), key=widths.__getitem__)
        if widths[widest] <= _NARROWEST:
            return
        widths[widest] -= 1
