"""The journal of an export: the requested ID of each record in the output, and how much is flushed to disk.

The journal is needed because the ID in a record may differ from the requested one. Each entry is written
before its line of the output. So a line always has an entry, and an entry without a line is found when the
export is resumed. An export of a period also writes the page of the next records.
See docs/decisions/0024-export.md and 0035-exports-of-a-period.md. Pure.
"""

import json
import os
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NamedTuple, cast

from thrive_learning.errors import ConfigurationError

_VERSION = 1
_ENTRY_BYTES = 43  # a key and two 4-byte numbers in hexadecimal digits, two spaces, and a line end
_CHECKPOINT = b"-" * 24
_POSITION = b"=" * 24
_ENTRIES_AT_ONCE = 4096
_LONGEST_HEADER = 4 * 1024 * 1024  # more than the arguments of a command can take
_MOST_ZEROS = 4096
_HEADER_BEGINS = b'{"thrive_export": '
_PERIOD = {"since", "until", "since_asked", "until_asked", "per_page"}


class Position(NamedTuple):
    """The part and page of the records that are written next.

    Attributes:
        part: The part of the query, counted from 0; the number of parts after the last one.
        page: The page, counted from 1.
    """

    part: int = 0
    page: int = 1


class Head(NamedTuple):
    """The first line of a journal.

    Attributes:
        origin: The region and tenant that the records come from.
        query: Which records are exported; None for an export by IDs.
    """

    origin: str
    query: dict[str, Any] | None = None

    def text(self) -> bytes:
        """Return the line."""
        query = {} if self.query is None else {"query": self.query}
        return json.dumps({"thrive_export": _VERSION, "origin": self.origin, **query}).encode() + b"\n"


class Entry(NamedTuple):
    """A line of the journal, which describes the next line of the output."""

    key: bytes
    length: int
    checksum: int

    @classmethod
    def parsed(cls, raw: bytes) -> "Entry | None":
        """Parse an entry; None if it is not valid, for example because it is incomplete."""
        try:
            key, length, checksum = raw[:24], int(raw[25:33], 16), int(raw[34:42], 16)
            is_mark = key in {_CHECKPOINT, _POSITION}
            entry = cls(key if is_mark else bytes.fromhex(key.decode()), length, checksum)
        except ValueError:
            return None
        return entry if entry.text() == raw else None

    def text(self) -> bytes:
        """Return the line."""
        key = self.key if self.key in {_CHECKPOINT, _POSITION} else self.key.hex().encode()
        return b"%s %08x %08x\n" % (key, self.length, self.checksum)

    @classmethod
    def of(cls, key: bytes, line: bytes) -> "Entry":
        """Return the entry for a line of the output."""
        return cls(key, len(line), zlib.crc32(line))

    @classmethod
    def checkpoint(cls, offset: int) -> "Entry":
        """Return the entry for the number of bytes of the output that are flushed to disk."""
        return cls(_CHECKPOINT, offset >> 32, offset & 0xFFFFFFFF)

    @classmethod
    def at(cls, position: Position) -> "Entry":
        """Return the entry for the position of the records that follow it."""
        return cls(_POSITION, *position)

    @property
    def is_record(self) -> bool:
        """Whether the entry describes a line of the output."""
        return self.key not in {_CHECKPOINT, _POSITION}

    @property
    def offset(self) -> int:
        """The number of bytes in a checkpoint."""
        return self.length << 32 | self.checksum


class Extent(NamedTuple):
    """The number of complete records, their size in the two files, and the position of the next record."""

    records: int = 0
    journal_bytes: int = 0
    output_bytes: int = 0
    position: Position = Position()


def recovered(journal: BinaryIO, output: BinaryIO, head: Head, mark: Callable[[bytes], object]) -> Extent:
    """Determine how far the journal and the output agree.

    Data before the last checkpoint was flushed to disk, so only the data after it is compared.

    Args:
        journal: The journal, which is empty for an export without records.
        output: The output.
        head: The expected first line of the journal.
        mark: Called with the key of each complete record.

    Raises:
        ConfigurationError: The export is another one. Or the files differ in a way that no crash explains, so
            one of them was changed.
    """
    size = output.seek(0, os.SEEK_END)
    before = head_of(journal)
    if before != head:
        if size:
            raise ConfigurationError(difference(before, head))
        return Extent()
    safe, tail = _safe(journal, mark)
    if size < safe.output_bytes:
        raise ConfigurationError(
            f"it has {size} byte{'' if size == 1 else 's'}, but its journal says {safe.output_bytes}"
        )
    output.seek(max(safe.output_bytes - 1, 0))
    if safe.output_bytes and output.read(1) != b"\n":
        raise ConfigurationError("it was changed, because a record does not end where its journal says")
    whole: list[Entry] = []
    for entry in tail:
        if entry.is_record and Entry.of(entry.key, output.read(entry.length)) != entry:
            break
        whole.append(entry)
    return _with(safe, whole, mark)


def difference(before: Head | None, head: Head) -> str:
    """Return how the head of an existing export differs from that of the resumed one."""
    if before is None:
        return "its journal is missing"
    if before.origin != head.origin:
        return f"its records come from {before.origin}, not from {head.origin}"
    if before.query is None:
        return "it is an export by IDs"
    if head.query is None:
        return "it is an export of a period"
    differing = {name for name, value in head.query.items() if before.query.get(name) != value}
    return "its period differs" if differing <= _PERIOD else "its filters differ"


def head_of(journal: BinaryIO) -> Head | None:
    """Read the first line of a journal; None if it is incomplete.

    Raises:
        ConfigurationError: The file is not a journal of this version.
    """
    line = journal.readline(_LONGEST_HEADER)
    if not line.endswith(b"\n") and line[: len(_HEADER_BEGINS)] == _HEADER_BEGINS[: len(line)]:
        return None
    if len(line) <= _MOST_ZEROS and not line.strip(b"\0"):  # a crash may leave zeros on the disk
        return None
    try:
        document: Any = json.loads(line)
        version, origin, query = document["thrive_export"], document["origin"], document.get("query")
    except (ValueError, TypeError, KeyError, AttributeError):
        version = origin = query = None
    if version != _VERSION or not isinstance(origin, str) or not isinstance(query, dict | None):
        raise ConfigurationError("its journal cannot be read by this version")
    return Head(origin, cast("dict[str, Any] | None", query))


def _safe(journal: BinaryIO, mark: Callable[[bytes], object]) -> tuple[Extent, list[Entry]]:
    """Return the extent at the last checkpoint, and the entries after it."""
    safe = Extent(journal_bytes=journal.tell())
    tail: list[Entry] = []
    entries = _entries(journal)
    for entry in entries:
        if entry is None:
            break
        if entry.key != _CHECKPOINT:
            tail.append(entry)
            continue
        safe, tail = _with(safe, tail, mark), []
        if entry.offset != safe.output_bytes:
            raise ConfigurationError(
                "its journal is damaged (a checkpoint does not match the entries before it)"
            )
        safe = safe._replace(journal_bytes=safe.journal_bytes + _ENTRY_BYTES)
    if any(entry is not None and entry.key == _CHECKPOINT for entry in entries):
        raise ConfigurationError("its journal is damaged (it has an invalid entry before a checkpoint)")
    return safe, tail


def _with(before: Extent, entries: list[Entry], mark: Callable[[bytes], object]) -> Extent:
    records = [entry for entry in entries if entry.is_record]
    for entry in records:
        mark(entry.key)
    positions = [Position(entry.length, entry.checksum) for entry in entries if not entry.is_record]
    return Extent(
        before.records + len(records),
        before.journal_bytes + len(entries) * _ENTRY_BYTES,
        before.output_bytes + sum(entry.length for entry in records),
        positions[-1] if positions else before.position,
    )


def _entries(journal: BinaryIO) -> Iterator[Entry | None]:
    while block := journal.read(_ENTRY_BYTES * _ENTRIES_AT_ONCE):
        for start in range(0, len(block), _ENTRY_BYTES):
            yield Entry.parsed(block[start : start + _ENTRY_BYTES])
