"""IDs out of lines of text, the column of a CSV file, or a field of NDJSON: as they are asked for."""

import json
from collections.abc import Iterable, Iterator
from pathlib import PurePath
from typing import Any, NamedTuple, cast

from thrive_learning.errors import ThriveError

#: What the endings of names say of the format; any other one is text.
_ENDINGS = {".csv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson"}

FORMATS = ("text", "csv", "ndjson")

_BOM = b"\xef\xbb\xbf"


class UnreadableInputError(ThriveError):
    """A line of the input cannot be read. The message names the file and the line."""


class IdSource(NamedTuple):
    """Where IDs come from.

    Attributes:
        name: What messages call it.
        form: One of `FORMATS`.
        label: The column's or the field's name; text has none.
    """

    name: str
    form: str
    label: str = "id"


def format_of(name: str) -> str:
    """Guess the format from the ending of a file's name."""
    return _ENDINGS.get(PurePath(name).suffix.lower(), "text")


def ids_in(lines: Iterable[bytes], source: IdSource) -> Iterator[str]:
    """Give the IDs, white space around them removed. Whether they are IDs is not looked at.

    Args:
        lines: The lines, with their ends.
        source: What they are.

    Raises:
        UnreadableInputError: A line is no UTF-8, no JSON, no CSV, or lacks the column or field. The IDs
            before it have been given by then.
    """
    match source.form:
        case "csv":
            return _of_csv(lines, source)
        case "ndjson":
            return _of_ndjson(lines, source)
        case _:
            return _of_text(lines, source)


def _of_text(lines: Iterable[bytes], source: IdSource) -> Iterator[str]:
    for _, line in _decoded(lines, source):
        text = line.strip()
        if text and not text.startswith("#"):
            yield text


def _of_ndjson(lines: Iterable[bytes], source: IdSource) -> Iterator[str]:
    for number, line in _decoded(lines, source):
        if not line.strip():
            continue
        try:
            parsed: Any = json.loads(line)
        except (ValueError, RecursionError):
            problem = "it is no JSON: each line has to be one JSON object"
            raise _unreadable(source, number, problem) from None
        if not isinstance(parsed, dict):
            raise _unreadable(source, number, "it is no JSON object")
        document = cast("dict[str, Any]", parsed)
        if source.label not in document:
            raise _unreadable(source, number, f"there is no field {source.label!r}: name it with --field")
        value = document[source.label]
        yield value.strip() if isinstance(value, str) else json.dumps(value)


def _of_csv(lines: Iterable[bytes], source: IdSource) -> Iterator[str]:
    import csv  # noqa: PLC0415 - the exit codes know this module, and need none of it

    reader = csv.reader((line for _, line in _decoded(lines, source)), strict=True)
    column: int | None = None
    try:
        for row in reader:
            if not row:
                continue
            if column is None:
                column = _column(row, source, reader.line_num)
            elif column < len(row):
                yield row[column].strip()
            else:
                problem = f"it ends before column {column + 1}, which is {source.label!r}"
                raise _unreadable(source, reader.line_num, problem)
    except csv.Error as error:
        problem = f"it is no CSV: {error}"
    else:
        return
    raise _unreadable(source, reader.line_num, problem)


def _column(header: list[str], source: IdSource, number: int) -> int:
    names = [name.strip() for name in header]
    if names.count(source.label) == 1:
        return names.index(source.label)
    found = ", ".join(map(repr, names[:20]))
    raise _unreadable(
        source, number, f"the header has to name {source.label!r} once, and has {found}: see --column"
    )


def _decoded(lines: Iterable[bytes], source: IdSource) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(lines, 1):
        raw = line.removeprefix(_BOM) if number == 1 else line
        try:
            text = raw.decode()
        except UnicodeDecodeError as error:
            problem = f"its byte {error.start + 1} is no UTF-8"
            raise _unreadable(source, number, problem) from None
        yield number, text


def _unreadable(source: IdSource, number: int, problem: str) -> UnreadableInputError:
    return UnreadableInputError(f"{source.name}, line {number}, cannot be read: {problem}")
