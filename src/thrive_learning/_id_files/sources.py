"""Read IDs on demand from lines of text, a column of CSV, a field of NDJSON, or a JSON array."""

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import PurePath
from typing import Any, NamedTuple, cast

from thrive_learning._id_files.lines import LONGEST_LINE, no_ids, unreadable
from thrive_learning._ids import validate_activity_id
from thrive_learning.errors import InvalidIdError

#: The formats by file extension. Other files are text. A `.gz` after the extension is ignored.
_EXTENSIONS = {".csv": "csv", ".tsv": "csv", ".json": "json", ".ndjson": "ndjson", ".jsonl": "ndjson"}

#: The delimiters that are detected in the header of a CSV file.
DELIMITERS = (",", ";", "\t", "|")

_SPREADSHEET_LINE = re.compile(r"sep=(.)\s*", re.IGNORECASE)  # a line in which Excel names the delimiter
_LONGEST_HEADER = 100  # lines
_NO_CELLS: list[str] = []


class Wording(NamedTuple):
    """How messages name the options of a source. By default, those of the command.

    Attributes:
        form: The option that sets the format, with a placeholder for it.
        column: The option that sets the column of CSV.
        field: The option that sets the field of JSON.
    """

    form: str = "--from {}"
    column: str = "--column"
    field: str = "--field"


class IdSource(NamedTuple):
    """The source of IDs.

    Attributes:
        name: The name in messages.
        form: "text", "csv", "ndjson", or "json".
        label: The name of the column or field; not used for text.
        delimiter: The delimiter of CSV; None to detect it in the header.
        wording: How messages name the options.
    """

    name: str
    form: str
    label: str = "id"
    delimiter: str | None = None
    wording: Wording = Wording()

    def reading_as(self, form: str) -> str:
        """Return the option that sets a format."""
        return self.wording.form.format(form)


def format_of(name: str) -> str:
    """Return the format for the extension of a file's name."""
    path = PurePath(name)
    if path.suffix.lower() == ".gz":
        path = path.with_suffix("")
    return _EXTENSIONS.get(path.suffix.lower(), "text")


def ids_in(
    lines: Iterable[tuple[int, str]], source: IdSource, skip: Callable[[], object] = lambda: None
) -> Iterator[str]:
    """Yield the IDs without surrounding white space. They are not validated.

    Args:
        lines: The lines with their numbers, including line ends.
        source: The format of the lines.
        skip: Called for each empty cell or field.

    Raises:
        UnreadableInputError: There are no IDs. Or a line is not JSON or CSV, or lacks the column or field, in
            which case the IDs before it have been yielded.
    """
    empty = 0
    found = False
    read = {"csv": _of_csv, "ndjson": _of_ndjson, "json": _of_json}.get(source.form, _of_text)
    for given in read(lines, source):
        if given:
            found = True
            yield given
        else:
            empty += 1
            skip()
    if not found:
        skipped = f" but {empty:,} empty {'cell' if empty == 1 else 'cells'}" if empty else ""
        raise no_ids(f"{source.name} contains no IDs{skipped}")


def _of_text(lines: Iterable[tuple[int, str]], source: IdSource) -> Iterator[str]:
    is_first = True
    for number, line in lines:
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if is_first:
            is_first = False
            _check_text(text, source, number)
            if text.strip('"').lower() == source.label:  # a header, which cannot be an ID
                continue
        yield text


def _check_text(line: str, source: IdSource, number: int) -> None:
    """Raise if the first line shows that the input has another format."""
    if line[0] in "[{":
        problem = f"it looks like JSON. Use {source.reading_as('json')} or {source.reading_as('ndjson')}"
        raise unreadable(source.name, problem, f"line {number}")
    cells = [cell.strip(' "') for cell in re.split(r"[,;\t|]", line)]
    if len(cells) > 1 and any(cell.lower() == source.label or _is_id(cell) for cell in cells):
        form, column = source.reading_as("csv"), source.wording.column
        problem = f"it looks like CSV. Use {form}, and set the column with {column}"
        raise unreadable(source.name, problem, f"line {number}")


def _is_id(text: str) -> bool:
    try:
        validate_activity_id(text)
    except InvalidIdError:
        return False
    return True


def _of_ndjson(lines: Iterable[tuple[int, str]], source: IdSource) -> Iterator[str]:
    for number, line in lines:
        if not line.strip():
            continue
        try:
            parsed: Any = json.loads(line)
        except (ValueError, RecursionError):
            option = source.reading_as("").strip("= ")
            problem = f"it is not JSON. Write one JSON object per line, or set the format with {option}"
            raise unreadable(source.name, problem, f"line {number}") from None
        yield _id_of(parsed, source, f"line {number}")


def _of_json(lines: Iterable[tuple[int, str]], source: IdSource) -> Iterator[str]:
    text = "".join(line for _, line in lines)
    if not text.strip():
        return
    try:
        items: Any = json.loads(text)
    except json.JSONDecodeError as error:
        problem = f"it is not JSON. For one JSON object per line, use {source.reading_as('ndjson')}"
        raise unreadable(source.name, problem, f"line {error.lineno}") from None
    except (ValueError, RecursionError):
        raise unreadable(source.name, "it is not JSON") from None
    if not isinstance(items, list):
        problem = f"it is not a JSON array. For one JSON object per line, use {source.reading_as('ndjson')}"
        raise unreadable(source.name, problem)
    for number, item in enumerate(cast("Iterable[Any]", items), 1):
        yield _id_of(item, source, f"item {number}")


def _id_of(parsed: Any, source: IdSource, where: str) -> str:
    """Return the ID of a line or item; empty for null."""
    value = parsed
    if isinstance(parsed, dict):
        document = cast("dict[str, Any]", parsed)
        if source.label not in document:
            problem = f"it has no field {source.label!r}. Set the field with {source.wording.field}"
            raise unreadable(source.name, problem, where)
        value = document[source.label]
    elif parsed is not None and not isinstance(parsed, str):
        raise unreadable(source.name, "it is neither an object nor a string", where)
    if value is None:
        return ""
    return value.strip() if isinstance(value, str) else json.dumps(value)


def _of_csv(lines: Iterable[tuple[int, str]], source: IdSource) -> Iterator[str]:
    csv.field_size_limit(LONGEST_LINE)
    texts = (line for _, line in lines)
    head, delimiter = _header_in(texts, source)
    reader = csv.reader(chain(head, texts), strict=True, delimiter=delimiter)
    try:
        yield from _column_of(reader, source)
    except csv.Error as error:
        problem = f"it is not CSV: {error}"
    else:
        return
    raise unreadable(source.name, problem, f"line {reader.line_num}")


def _column_of(reader: Any, source: IdSource) -> Iterator[str]:
    column: int | None = None
    for row in reader:
        if not row:
            continue
        if column is None:
            column = _index_of(row, source.label)
            if column is None:
                found = ", ".join(map(repr, row[:20]))
                problem = (
                    f"the header must contain {source.label!r} once, but has {found}. "
                    f"Set the column with {source.wording.column}"
                )
                raise unreadable(source.name, problem, f"line {reader.line_num}")
        elif column < len(row):
            yield row[column].strip()
        else:
            problem = f"it ends before column {column + 1} ({source.label!r})"
            raise unreadable(source.name, problem, f"line {reader.line_num}")


def _header_in(texts: Iterator[str], source: IdSource) -> tuple[list[str], str]:
    """Read the lines up to the end of the header, and detect the delimiter.

    Returns:
        The lines, and the delimiter.
    """
    head: list[str] = []
    delimiter = source.delimiter
    header: list[str] = []
    for text in texts:
        named = None if header else _SPREADSHEET_LINE.fullmatch(text)
        head.append("\n" if named else text)
        if named:
            delimiter = delimiter or named[1]
        elif header or text.strip():
            header.append(text)
            if "".join(header).count('"') % 2 == 0 or len(header) >= _LONGEST_HEADER:
                break
    if delimiter is not None:
        return head, delimiter
    found = {one: next(csv.reader(header, delimiter=one), _NO_CELLS) for one in DELIMITERS}
    # Prefer delimiters with which the header has the column, and among those the one with the most cells.
    return head, max(
        DELIMITERS, key=lambda one: (_index_of(found[one], source.label) is not None, len(found[one]))
    )


def _index_of(header: list[str], label: str) -> int | None:
    """Return the index of a column; None if it is missing or ambiguous. An exact match wins over case."""
    names = [name.strip() for name in header]
    if label not in names:
        names, label = [name.lower() for name in names], label.lower()
    return names.index(label) if names.count(label) == 1 else None
