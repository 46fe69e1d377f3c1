"""The journal of an export: which ID each record of the output was asked for, and how far it is safe.

The ID of a record may differ from the one that was asked for, so the output alone cannot tell. An entry goes
into the journal before its line goes into the output: a line without an entry never is, and an entry without
its line is found when the export is resumed.
See docs/decisions/0024-export.md. Pure: it reads what it is given.
"""

import json
import os
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

from thrive_learning.cli.export.done import HAS_RECORD, Done
from thrive_learning.errors import ConfigurationError

_VERSION = 1
_ENTRY_BYTES = 43  # a key and two numbers of 4 bytes in hexadecimal digits, spaces between, and a line end
_CHECKPOINT = b"-" * 24
_ENTRIES_AT_ONCE = 4096
_LONGEST_HEADER = 4096
_HEADER_BEGINS = b'{"thrive_export": '


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
            entry = cls(key if key == _CHECKPOINT else bytes.fromhex(key.decode()), length, checksum)
        except ValueError:
            return None
        return entry if entry.text() == raw else None

    def text(self) -> bytes:
        """Return the line itself."""
        key = self.key if self.key == _CHECKPOINT else self.key.hex().encode()
        return b"%s %08x %08x\n" % (key, self.length, self.checksum)

    @classmethod
    def of(cls, key: bytes, line: bytes) -> "Entry":
        """Return the entry for a line of the output."""
        return cls(key, len(line), zlib.crc32(line))

    @classmethod
    def checkpoint(cls, offset: int) -> "Entry":
        """Return the entry that says how many bytes of the output are on the disk."""
        return cls(_CHECKPOINT, offset >> 32, offset & 0xFFFFFFFF)

    @property
    def offset(self) -> int:
        """The bytes that a checkpoint speaks of."""
        return self.length << 32 | self.checksum


class Extent(NamedTuple):
    """How many records are whole, and how much of the two files they take."""

    records: int = 0
    journal_bytes: int = 0
    output_bytes: int = 0


def header(origin: str) -> bytes:
    """Return the first line of a journal.

    Args:
        origin: Whom the records come from.
    """
    return json.dumps({"thrive_export": _VERSION, "origin": origin}).encode() + b"\n"


def recovered(journal: BinaryIO, output: BinaryIO, origin: str, done: Done) -> Extent:
    """Find out how far journal and output agree.

    What lies behind the last checkpoint is compared; what lies before it was brought to the disk.

    Args:
        journal: The journal; an empty one is that of an export without records.
        output: The output.
        origin: Whom the records should come from.
        done: Gets the keys of the IDs whose records are there.

    Raises:
        ConfigurationError: The records come from elsewhere. Or the files disagree where no crash could have
            done it: somebody has changed one of them.
    """
    size = output.seek(0, os.SEEK_END)
    before = origin_of(journal)
    if before != origin:
        if size and before is None:
            raise ConfigurationError("its journal is missing")
        if size:
            raise ConfigurationError(f"its records come from {before}, not from {origin}")
        return Extent()
    safe, tail = _safe(journal, done)
    if size < safe.output_bytes:
        raise ConfigurationError(f"it has {size} byte{'' if size == 1 else 's'}, and had {safe.output_bytes}")
    output.seek(max(safe.output_bytes - 1, 0))
    if safe.output_bytes and output.read(1) != b"\n":
        raise ConfigurationError("its records no longer end where they did")
    whole: list[Entry] = []
    for entry in tail:
        if Entry.of(entry.key, output.read(entry.length)) != entry:
            break
        whole.append(entry)
    return _with(safe, whole, done)


def origin_of(journal: BinaryIO) -> str | None:
    """Read the first line of a journal; None if it was not written to its end.

    Raises:
        ConfigurationError: The file is not a journal of this version, and may be anything.
    """
    line = journal.readline(_LONGEST_HEADER)
    if not line.endswith(b"\n") and line[: len(_HEADER_BEGINS)] == _HEADER_BEGINS[: len(line)]:
        return None
    if not line.strip(b"\0") and not journal.read(1):  # a disk that failed may leave zeros
        return None
    try:
        document: Any = json.loads(line)
        version, origin = document["thrive_export"], document["origin"]
    except (ValueError, TypeError, KeyError):
        version = origin = None
    if version != _VERSION or not isinstance(origin, str):
        raise ConfigurationError("its journal is not one that this version can read")
    return origin


def _safe(journal: BinaryIO, done: Done) -> tuple[Extent, list[Entry]]:
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
        safe, tail = _with(safe, tail, done), []
        if entry.offset != safe.output_bytes:
            raise ConfigurationError("its journal contradicts itself")
        safe = safe._replace(journal_bytes=safe.journal_bytes + _ENTRY_BYTES)
    if any(entry is not None and entry.key == _CHECKPOINT for entry in entries):
        raise ConfigurationError("its journal has a gap")
    return safe, tail


def _with(before: Extent, entries: list[Entry], done: Done) -> Extent:
    for entry in entries:
        done[entry.key] = HAS_RECORD
    return Extent(
        before.records + len(entries),
        before.journal_bytes + len(entries) * _ENTRY_BYTES,
        before.output_bytes + sum(entry.length for entry in entries),
    )


def _entries(journal: BinaryIO) -> Iterator[Entry | None]:
    while block := journal.read(_ENTRY_BYTES * _ENTRIES_AT_ONCE):
        for start in range(0, len(block), _ENTRY_BYTES):
            yield Entry.parsed(block[start : start + _ENTRY_BYTES])
