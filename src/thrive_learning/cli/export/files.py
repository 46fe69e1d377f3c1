"""The files of an export. No interruption, at any moment, loses or duplicates a record in them."""

import contextlib
import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Self

from thrive_learning._clock import monotonic
from thrive_learning.cli.export.counts import count_of
from thrive_learning.cli.export.done import HAS_FAILED, HAS_RECORD, Done, key_of
from thrive_learning.cli.export.failures import FailedId, FailureCounts
from thrive_learning.cli.export.journal import Entry, Extent, Head, Position, head_of, recovered
from thrive_learning.cli.export.paths import ExportOrigin, ExportPaths, OutputError, explained
from thrive_learning.cli.regular_files import (
    create,
    is_at,
    is_there,
    open_regular,
    open_to_read,
    remove,
    replacing,
)
from thrive_learning.errors import ConfigurationError

#: How often data is flushed to disk. A crash of the process loses no data, and a crash of the machine at most
#: the data since the last flush. A resumed export notices both.
SYNC_INTERVAL_S, SYNC_INTERVAL_RECORDS = 5.0, 10_000


class ExportFiles:
    """The output, the failures, and the journal of one export, which only one process at a time can open.

    The journal is locked while the files are open.

    Args:
        paths: The paths of the files.
        origin: Where the records come from. A resumed export must have the same origin.
        resume: Continue an existing export, or begin one.
        force: Overwrite an existing export.
        query: Which records an export of a period has. A resumed export must have the same query.
        mark: Called with the key of each existing record, instead of adding it to `done`.
        clock: Returns seconds, for the interval between two flushes.

    Raises:
        ConfigurationError: An output already exists, or cannot be resumed. Nothing was created.
        OutputError: The files cannot be written.
    """

    def __init__(  # noqa: PLR0913 - the options of an export
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
        #: The final failures of earlier runs, and the number of bytes that were cut off the output.
        self.kept_failures: FailureCounts = FailureCounts()
        self.cut_bytes: int = 0
        #: Whether the output is at its path with all `records`, after the files were closed. None if unknown.
        self.is_kept: bool | None = None
        self._origin = origin
        self._head = Head(origin.name, query)
        self._mark = mark or self._note_done
        self._clock = clock
        self._unsynced = 0
        self._extent = Extent()
        self._is_writing = False
        self._is_wanted = True
        self._created: dict[Path, io.FileIO] = {}
        self._failures: io.FileIO | None = None
        self._open = contextlib.ExitStack()
        paths.check(resume=resume, force=force)
        try:
            with explained(paths.output):
                self._journal = self._locked_journal()
                paths.check(resume=resume, force=force)  # another export may have just ended
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
        """The part and page of the records that are written next."""
        return self._extent.position

    def _note_done(self, key: bytes) -> None:
        self.done[key] = HAS_RECORD

    def _locked_journal(self) -> io.FileIO:
        """Open or create the journal, and lock it."""
        from filelock import lock_descriptor  # noqa: PLC0415 - of the extra `cli`, needed only for exports

        path = self.paths.journal
        journal = self._open.enter_context(self._opened(path))
        # Another export may have removed it between the two.
        if not lock_descriptor(journal.fileno(), blocking=False) or not is_at(journal, path):
            self._created.clear()
            raise ConfigurationError(
                f"another export is writing {self.paths.output}. Wait for it to finish, or choose another "
                "output."
            )
        return journal

    def _opened(self, path: Path) -> io.FileIO:
        """Open a file of the export, or create it."""
        if is_there(path):
            return open_regular(path)
        file = create(path)
        self._created[path] = file
        return file

    def _begin(self, *, resume: bool) -> None:
        paths = self.paths
        if resume:
            self._recover()
        elif not self._has_own_journal():
            raise ConfigurationError(
                f"{paths.journal} exists, but is not the journal of an export. Move it, or choose another "
                "output."
            )
        if not self._extent.journal_bytes:
            # A crash now leaves an output without a journal, never with the wrong one.
            self._journal.truncate(0)
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
        """Return whether the file at the path of the journal is one, and not a file of another program."""
        try:
            head_of(_reader(self._journal))
        except ConfigurationError:
            return False
        return True

    def _recover(self) -> None:
        """Determine how much of an existing export is valid."""
        paths = self.paths
        with contextlib.ExitStack() as opened:
            output: BinaryIO = io.BytesIO()
            if is_there(paths.output):
                output = opened.enter_context(open_to_read(paths.output))
            size = output.seek(0, os.SEEK_END)
            try:
                self._extent = recovered(_reader(self._journal), output, self._head, self._mark)
                problem = None
            except ConfigurationError as error:
                problem = str(error)
        if problem is not None:
            raise ConfigurationError(
                f"cannot resume {paths.output}: {problem} (see {paths.journal}). Repeat the original command "
                "with --resume, choose another output, or use --force to overwrite."
            )
        self.cut_bytes = size - self._extent.output_bytes

    def _keep_failures(self) -> None:
        """Keep only the failures that are final. The other IDs are fetched again."""
        path = self.paths.failures
        if not is_there(path):
            return
        # In this order, because Windows replaces no file that is open.
        with replacing(path) as after, open_to_read(path) as before:
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
        """Write a record with its line end, and the key of the requested ID.

        Raises:
            OutputError: The record cannot be written. The files are unchanged.
        """
        self.write_records([(key, line)])

    def write_records(self, records: Sequence[tuple[bytes, bytes]]) -> None:
        """Write several records at once. See `write_record`.

        Raises:
            OutputError: The records cannot be written. The files are unchanged.
        """
        entries = b"".join(Entry.of(key, line).text() for key, line in records)
        lines = b"".join(line for _, line in records)
        before = self._extent
        after = before._replace(
            records=before.records + len(records),
            journal_bytes=before.journal_bytes + len(entries),
            output_bytes=before.output_bytes + len(lines),
        )
        self._write_both(entries, lines, after)
        self._sync_now_and_then(len(records))

    def write_position(self, position: Position) -> None:
        """Write the position of the next records to the journal.

        Raises:
            OutputError: The position cannot be written. The files are unchanged.
        """
        entry = Entry.at(position).text()
        before = self._extent
        after = before._replace(journal_bytes=before.journal_bytes + len(entry), position=position)
        self._write_both(entry, b"", after)

    def _write_both(self, entries: bytes, lines: bytes, after: Extent) -> None:
        self._is_writing = True
        try:
            with explained(self.paths.output):
                _write(self._journal, entries)
                _write(self._output, lines)
        except BaseException:
            with contextlib.suppress(OSError):
                self._settle()
            raise
        self._extent = after
        self._is_writing = False

    def write_failure(self, failure: FailedId) -> None:
        """Write the failure of an ID.

        Raises:
            OutputError: The failure cannot be written.
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
        """Flush the files to disk.

        Raises:
            OutputError: The files cannot be flushed, or another program has moved or changed the output.
        """
        with explained(self.paths.output):
            os.fsync(self._output.fileno())
            self._check_output()
            if self._failures is not None:
                os.fsync(self._failures.fileno())
            checkpoint = Entry.checkpoint(self._extent.output_bytes).text()
            _write(self._journal, checkpoint)
            self._extent = self._extent._replace(journal_bytes=self._extent.journal_bytes + len(checkpoint))
            os.fsync(self._journal.fileno())
        self._synced_at, self._unsynced = self._clock(), 0

    def _check_output(self) -> None:
        """Raise if the output is not at its path any more, or does not have the size that was written."""
        path, size = self.paths.output, os.fstat(self._output.fileno()).st_size
        problem = None
        if not is_at(self._output, path):
            problem = (
                f"{path} was moved, replaced, or removed during the export. Move it back to continue the "
                "export, or use --force to export again."
            )
        elif size != self._extent.output_bytes:
            problem = (
                f"{path} was changed during the export. It has {count_of(size, 'byte')}, but "
                f"{self._extent.output_bytes:,} were written. Use --force to export again."
            )
        self.is_kept = problem is None
        if problem is not None:
            raise OutputError(problem)

    def _settle(self) -> None:
        """Cut off incomplete records, which a failed or interrupted write has left."""
        for file, size in (
            (self._output, self._extent.output_bytes),
            (self._journal, self._extent.journal_bytes),
        ):
            if os.fstat(file.fileno()).st_size > size:  # another program may have truncated it
                file.truncate(size)
        self._is_writing = False

    def close(self) -> None:
        """Cut off incomplete records, flush the files, and close them.

        Raises:
            OutputError: The files cannot be flushed, or another program has moved or changed the output.
        """
        with self._open, explained(self.paths.output):
            if self._is_wanted:
                self.is_kept = None
                if self._is_writing:
                    self._settle()
                self.sync()

    def remove_output(self) -> None:
        """Remove the output, because its records are elsewhere.

        Raises:
            ConfigurationError: It is not a regular file.
            OSError: It cannot be removed.
        """
        self._is_wanted = False
        remove(self.paths.output)

    def _discard(self) -> None:
        """Remove the files that this run has created, unless another program has replaced them."""
        for path, file in self._created.items():
            with contextlib.suppress(OSError, ConfigurationError):
                if is_at(file, path):
                    remove(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        is_empty = not self.records and not self.kept_failures.total and self._failures is None
        if kind is not None and is_empty:  # the export ended before its first result
            self._discard()
        try:
            self.close()
        except OutputError:
            if kind is None:  # the first error is more useful, and a full disk would raise twice
                raise


def _reader(file: io.FileIO) -> BinaryIO:
    """Return a buffered reader from the start of a file. Closing the reader does not close the file."""
    file.seek(0)
    return io.BufferedReader(io.FileIO(file.fileno(), "rb", closefd=False))


def _write(file: io.FileIO, data: bytes) -> None:
    written = file.write(data)
    while written < len(data):  # the disk is probably full, and then the next write raises
        written += file.write(data[written:])
