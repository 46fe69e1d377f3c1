"""The journal of an export: which ID each record of the output was asked for, and how far it is safe.

The ID of a record may differ from the one that was asked for, so the output alone cannot tell. An entry goes
into the journal before its line goes into the output: a line without an entry never is, and an entry without
its line is found when the export is resumed. An export of a period also notes at which page the next records
begin.
See docs/decisions/0024-export.md and 0035-exports-of-a-period.md. Pure: it reads what it is given.
"""

import json
import os
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NamedTuple, cast

from thrive_learning.errors import ConfigurationError

_VERSION = 1
_ENTRY_BYTES = 43  # a key and two numbers of 4 bytes in hexadecimal digits, spaces between, and a line end
_CHECKPOINT = b"-" * 24
_POSITION = b"=" * 24
_ENTRIES_AT_ONCE = 4096
_LONGEST_HEADER = 4 * 1024 * 1024  # more than the arguments of a command can have
_MOST_ZEROS = 4096
_HEADER_BEGINS = b'{"thrive_export": '


class Position(NamedTuple):
    """Where the records come from that are written next.

    Attributes:
        part: The part of the query, counted from 0; the number of parts once all of them are done.
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
        """Return the line itself."""
        query = {} if self.query is None else {"query": self.query}
        return json.dumps({"thrive_export": _VERSION, "origin": self.origin, **query}).encode() + b"\n"


class Entry(NamedTuple):
    """A line of the journal: what the next line of the output is."""

    key: bytes
    length: int
    checksum: int

    @classmethod
    def parsed(cls, raw: bytes) -> "Entry | None":
        """Parse one; None if it is not valid, such as a torn one."""
        try:
            key, length, checksum = raw[:24], int(raw[25:33], 16), int(raw[34:42], 16)
            is_mark = key in {_CHECKPOINT, _POSITION}
            entry = cls(key if is_mark else bytes.fromhex(key.decode()), length, checksum)
        except ValueError:
            return None
        return entry if entry.text() == raw else None

    def text(self) -> bytes:
        """Return the line itself."""
        key = self.key if self.key in {_CHECKPOINT, _POSITION} else self.key.hex().encode()
        return b"%s %08x %08x\n" % (key, self.length, self.checksum)

    @classmethod
    def of(cls, key: bytes, line: bytes) -> "Entry":
        """Return the entry for a line of the output."""
        return cls(key, len(line), zlib.crc32(line))

    @classmethod
    def checkpoint(cls, offset: int) -> "Entry":
        """Return the entry that says how many bytes of the output are on the disk."""
        return cls(_CHECKPOINT, offset >> 32, offset & 0xFFFFFFFF)

    @classmethod
    def at(cls, position: Position) -> "Entry":
        """Return the entry that says where the records come from that follow it."""
        return cls(_POSITION, *position)

    @property
    def is_record(self) -> bool:
        """Whether it stands for a line of the output."""
        return self.key not in {_CHECKPOINT, _POSITION}

    @property
    def offset(self) -> int:
        """The bytes that a checkpoint speaks of."""
        return self.length << 32 | self.checksum


class Extent(NamedTuple):
    """How many records are whole, how much of the two files they take, and where the next ones come from."""

    records: int = 0
    journal_bytes: int = 0
    output_bytes: int = 0
    position: Position = Position()


def recovered(journal: BinaryIO, output: BinaryIO, head: Head, mark: Callable[[bytes], object]) -> Extent:
    """Find out how far journal and output agree.

    What lies behind the last checkpoint is compared; what lies before it was brought to the disk.

    Args:
        journal: The journal; an empty one is that of an export without records.
        output: The output.
        head: What the first line of the journal should be.
        mark: Is called with the key of each record that is there.

    Raises:
        ConfigurationError: The records come from elsewhere. Or the files disagree where no crash could have
            done it: somebody has changed one of them.
    """
    size = output.seek(0, os.SEEK_END)
    before = head_of(journal)
    if before != head:
        if size:
            raise ConfigurationError(_difference(before, head))
        return Extent()
    safe, tail = _safe(journal, mark)
    if size < safe.output_bytes:
        raise ConfigurationError(f"it has {size} byte{'' if size == 1 else 's'}, and had {safe.output_bytes}")
    output.seek(max(safe.output_bytes - 1, 0))
    if safe.output_bytes and output.read(1) != b"\n":
        raise ConfigurationError("its records no longer end where they did")
    whole: list[Entry] = []
    for entry in tail:
        if entry.is_record and Entry.of(entry.key, output.read(entry.length)) != entry:
            break
        whole.append(entry)
    return _with(safe, whole, mark)


def _difference(before: Head | None, head: Head) -> str:
    if before is None:
        return "its journal is missing"
    if before.origin != head.origin:
        return f"its records come from {before.origin}, not from {head.origin}"
    if before.query is None:
        return "it is an export by IDs"
    return "it is an export of a period" if head.query is None else "its filters or its period differ"


def head_of(journal: BinaryIO) -> Head | None:
    """Read the first line of a journal; None if it was not written to its end.

    Raises:
        ConfigurationError: The file is not a journal of this version, and may be anything.
    """
    line = journal.readline(_LONGEST_HEADER)
    if not line.endswith(b"\n") and line[: len(_HEADER_BEGINS)] == _HEADER_BEGINS[: len(line)]:
        return None
    if len(line) <= _MOST_ZEROS and not line.strip(b"\0"):  # a disk that failed may leave zeros
        return None
    try:
        document: Any = json.loads(line)
        version, origin, query = document["thrive_export"], document["origin"], document.get("query")
    except (ValueError, TypeError, KeyError, AttributeError):
        version = origin = query = None
    if version != _VERSION or not isinstance(origin, str) or not isinstance(query, dict | None):
        raise ConfigurationError("its journal is not one that this version can read")
    return Head(origin, cast("dict[str, Any] | None", query))


def _safe(journal: BinaryIO, mark: Callable[[bytes], object]) -> tuple[Extent, list[Entry]]:
    """Return what the last checkpoint stands for, and the entries behind it."""
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
            raise ConfigurationError("its journal contradicts itself")
        safe = safe._replace(journal_bytes=safe.journal_bytes + _ENTRY_BYTES)
    if any(entry is not None and entry.key == _CHECKPOINT for entry in entries):
        raise ConfigurationError("its journal has a gap")
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
