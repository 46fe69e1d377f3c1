"""The files of an export: whatever happens at whatever moment, no record in them is lost or doubled."""

import contextlib
import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Self

from thrive_learning._clock import monotonic
from thrive_learning.cli.export.done import HAS_FAILED, HAS_RECORD, Done, key_of
from thrive_learning.cli.export.failures import FailedId, FailureCounts
from thrive_learning.cli.export.journal import Entry, Extent, Head, Position, head_of, recovered
from thrive_learning.cli.export.paths import ExportOrigin, ExportPaths, OutputError, explained
from thrive_learning.cli.regular_files import create, is_there, open_regular, remove, replacing
from thrive_learning.errors import ConfigurationError

#: How often what was written is brought to the disk itself. A crash of the process loses nothing in between,
#: one of the machine what came since; both are noticed when the export is resumed.
SYNC_INTERVAL_S, SYNC_INTERVAL_RECORDS = 5.0, 10_000


class ExportFiles:
    """The output, the failures and the journal of one export, which one process at a time can have open.

    The journal is locked for as long as they are.

    Args:
        paths: Where they are.
        origin: Where the records come from. A resumed export must have the same.
        resume: Continue the export that is there. If there is none, this begins one.
        force: Begin anew, whatever is there.
        query: Which records are exported, where no IDs say it. A resumed export must have the same.
        mark: Is called with the key of each record that is there, in the place of noting it in `done`.
        clock: Returns seconds; those from one to the next `sync` count.

    Raises:
        ConfigurationError: There is an output already, or what is there cannot be resumed. Nothing is created
            then.
        OutputError: They cannot be written.
    """

    def __init__(  # noqa: PLR0913 - what an export can be told
        self,
        paths: ExportPaths,
        origin: ExportOrigin,
        *,
        resume: bool = False,
        force: bool = False,
        query: dict[str, Any] | None = None,
        mark: Callable[[bytes], object] | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.paths = paths
        self.is_terminal: bool = False
        self.done: Done = {}
        #: The failures of earlier runs that stay, and the bytes that were cut off.
        self.kept_failures: FailureCounts = FailureCounts()
        self.cut_bytes: int = 0
        self._origin = origin
        self._head = Head(origin.name, query)
        self._mark = mark or self._note_done
        self._clock = clock
        self._unsynced = 0
        self._extent = Extent()
        self._created: list[Path] = []
        self._failures: io.FileIO | None = None
        self._open = contextlib.ExitStack()
        paths.check(resume=resume, force=force)
        try:
            with explained(paths.output):
                self._journal = self._locked_journal()
                self._begin(resume=resume)
        except BaseException:
            self._discard()
            self._open.close()
            raise

    @property
    def records(self) -> int:
        """The number of records in the output."""
        return self._extent.records

    @property
    def position(self) -> Position:
        """Where the records come from that are written next."""
        return self._extent.position

    def _note_done(self, key: bytes) -> None:
        self.done[key] = HAS_RECORD

    def _locked_journal(self) -> io.FileIO:
        """Open the journal, or create it, and lock it."""
        from filelock import lock_descriptor  # noqa: PLC0415 - of the extra `cli`, and for exports alone

        path = self.paths.journal
        journal = self._open.enter_context(self._opened(path))
        # Another export may have removed it between the two.
        if not lock_descriptor(journal.fileno(), blocking=False) or not _is_at(journal, path):
            self._created.clear()
            raise ConfigurationError(
                f"another export is writing {self.paths.output}. Wait for it, or name another output."
            )
        return journal

    def _opened(self, path: Path) -> io.FileIO:
        """Open a file of the export, and create it if it is not there."""
        if is_there(path):
            return open_regular(path)
        file = create(path)
        self._created.append(path)
        return file

    def _begin(self, *, resume: bool) -> None:
        paths = self.paths
        if resume:
            self._recover()
        elif not self._has_own_journal():
            raise ConfigurationError(
                f"{paths.journal} is in the way: it is not a journal of an export. Move it away."
            )
        if not self._extent.journal_bytes:
            self._journal.truncate(0)  # a crash leaves an output without a journal, never with a wrong one
            remove(paths.failures)
            if not resume:
                remove(paths.output)
        self._output = self._open.enter_context(self._opened(paths.output))
        if not self._extent.journal_bytes:
            first = self._head.text()
            _write(self._journal, first)
            self._extent = Extent(journal_bytes=len(first))
        else:
            self._keep_failures()
        self._settle()
        self.sync()

    def _has_own_journal(self) -> bool:
        """Return whether the file in its place is a journal, and nothing that somebody else needs."""
        try:
            head_of(_reader(self._journal))
        except ConfigurationError:
            return False
        return True

    def _recover(self) -> None:
        """Find out what is there."""
        paths = self.paths
        with contextlib.ExitStack() as opened:
            output: BinaryIO = io.BytesIO()
            if is_there(paths.output):
                output = opened.enter_context(io.BufferedReader(open_regular(paths.output)))
            size = output.seek(0, os.SEEK_END)
            try:
                self._extent = recovered(_reader(self._journal), output, self._head, self._mark)
                problem = None
            except ConfigurationError as error:
                problem = str(error)
        if problem is not None:
            raise ConfigurationError(
                f"cannot resume {paths.output}: {problem} (see {paths.journal}). Run the command as it was "
                "begun, name another output, or overwrite this one with --force."
            )
        self.cut_bytes = size - self._extent.output_bytes

    def _keep_failures(self) -> None:
        """Keep the failures that are final; the IDs of the others are fetched again."""
        path = self.paths.failures
        if not is_there(path):
            return
        # In this order, because Windows replaces no file that is open.
        with replacing(path) as after, io.BufferedReader(open_regular(path)) as before:
            for line in before:
                failure = FailedId.parsed(line)
                if failure is None or not failure.is_final_at(self._origin.url):
                    continue
                key = key_of(failure.id)
                if key not in self.done:
                    self.done[key] = HAS_FAILED
                    after.write(line)
                    self.kept_failures.add(failure)
        if not self.kept_failures.total:
            remove(path)

    def write_record(self, key: bytes, line: bytes) -> None:
        """Write a record.

        Args:
            key: That of the ID that was asked for.
            line: The record, with its line end.

        Raises:
            OutputError: It cannot be written. The files are as they were.
        """
        self.write_records([(key, line)])

    def write_records(self, records: Sequence[tuple[bytes, bytes]]) -> None:
        """Write several records at once: see `write_record`.

        Raises:
            OutputError: They cannot be written. The files are as they were.
        """
        entries = b"".join(Entry.of(key, line).text() for key, line in records)
        lines = b"".join(line for _, line in records)
        self._write_both(entries, lines)
        before = self._extent
        self._extent = before._replace(
            records=before.records + len(records),
            journal_bytes=before.journal_bytes + len(entries),
            output_bytes=before.output_bytes + len(lines),
        )
        self._sync_now_and_then(len(records))

    def write_position(self, position: Position) -> None:
        """Note where the records come from that are written next.

        Raises:
            OutputError: It cannot be written. The files are as they were.
        """
        entry = Entry.at(position).text()
        self._write_both(entry, b"")
        before = self._extent
        self._extent = before._replace(journal_bytes=before.journal_bytes + len(entry), position=position)

    def _write_both(self, entries: bytes, lines: bytes) -> None:
        try:
            with explained(self.paths.output):
                _write(self._journal, entries)
                _write(self._output, lines)
        except BaseException:
            with contextlib.suppress(OSError):
                self._settle()
            raise

    def write_failure(self, failure: FailedId) -> None:
        """Write what is known of an ID that failed.

        Raises:
            OutputError: It cannot be written.
        """
        path = self.paths.failures
        with explained(path):
            if self._failures is None:
                self._failures = self._open.enter_context(self._opened(path))
            _write(self._failures, failure.line())
        self._sync_now_and_then()

    def _sync_now_and_then(self, count: int = 1) -> None:
        self._unsynced += count
        waited_s = self._clock() - self._synced_at
        if waited_s >= SYNC_INTERVAL_S or self._unsynced >= SYNC_INTERVAL_RECORDS:
            self.sync()

    def sync(self) -> None:
        """Bring what was written to the disk itself.

        Raises:
            OutputError: The disk does not take it.
        """
        with explained(self.paths.output):
            os.fsync(self._output.fileno())
            if self._failures is not None:
                os.fsync(self._failures.fileno())
            checkpoint = Entry.checkpoint(self._extent.output_bytes).text()
            _write(self._journal, checkpoint)
            self._extent = self._extent._replace(journal_bytes=self._extent.journal_bytes + len(checkpoint))
            os.fsync(self._journal.fileno())
        self._synced_at, self._unsynced = self._clock(), 0

    def _settle(self) -> None:
        """Cut off what is no whole record: the rest of one that could not be written, or was interrupted."""
        self._output.truncate(self._extent.output_bytes)
        self._journal.truncate(self._extent.journal_bytes)

    def close(self) -> None:
        """Leave the files as they should be found, whatever went before.

        Raises:
            OutputError: The disk does not take the last of it.
        """
        with self._open, explained(self.paths.output):
            self._settle()
            self.sync()

    def _discard(self) -> None:
        """Remove what this run has created."""
        for path in self._created:
            with contextlib.suppress(OSError, ConfigurationError):
                remove(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        is_empty = not self.records and not self.kept_failures.total and self._failures is None
        if kind is not None and is_empty:  # an export that never came to anything
            self._discard()
        try:
            self.close()
        except OutputError:
            if kind is None:  # else that goes first: a full disk says it twice
                raise


def _reader(file: io.FileIO) -> BinaryIO:
    """Return the file from its beginning, to be read through a buffer that does not close it."""
    file.seek(0)
    return io.BufferedReader(io.FileIO(file.fileno(), "rb", closefd=False))


def _is_at(file: io.FileIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.lstat())
    except FileNotFoundError:
        return False


def _write(file: io.FileIO, data: bytes) -> None:
    written = file.write(data)
    while written < len(data):  # the disk is full, or nearly so: the next one says it
        written += file.write(data[written:])
