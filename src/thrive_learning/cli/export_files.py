"""The files of an export: whatever happens at whatever moment, no record in them is lost or doubled."""

import contextlib
import io
import json
import os
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, NamedTuple, Self

from thrive_learning.cli.export_journal import Entry, Extent, header, recovered
from thrive_learning.cli.id_set import IdSet, key_of
from thrive_learning.errors import ConfigurationError, ThriveError

#: How often what was written is brought to the disk itself. A crash of the process loses nothing in between,
#: one of the machine what came since; both are noticed when the export is resumed.
SYNC_INTERVAL_S, SYNC_INTERVAL_RECORDS = 5.0, 10_000

_ENDINGS = {".ndjson", ".jsonl", ".json"}


class OutputError(ThriveError):
    """A file of the export cannot be written."""


class ExportPaths(NamedTuple):
    """Where the files of an export are: next to its output."""

    output: Path
    failures: Path
    journal: Path
    lock: Path

    @classmethod
    def of(cls, output: Path) -> "ExportPaths":
        """Name them by the output."""
        stem = output.stem if output.suffix.lower() in _ENDINGS else output.name
        return cls(
            output,
            output.with_name(f"{stem}.failures.ndjson"),
            output.with_name(f"{output.name}.journal"),
            output.with_name(f"{output.name}.lock"),
        )


class ExportFiles:
    """The output, the failures and the journal of one export, which one process at a time can have open.

    Args:
        paths: Where they are.
        origin: Whom the records come from; a resumed export has to ask the same.
        resume: Go on with an export that is there. If there is none, this begins one.
        force: Begin anew, whatever is there.
        clock: Gives seconds; those from one to the next `sync` count.

    Raises:
        ConfigurationError: There is an output already, or what is there cannot be gone on with.
        OutputError: They cannot be written.
    """

    def __init__(
        self,
        paths: ExportPaths,
        origin: str,
        *,
        resume: bool = False,
        force: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.paths = paths
        self.done: IdSet = IdSet()
        #: How many records are in the output, how many IDs in the failures; how many bytes were cut off.
        self.records: int = 0
        self.failures: int = 0
        self.cut_bytes: int = 0
        self._clock = clock
        self._unsynced = 0
        self._extent = Extent(0, 0)
        self._open = contextlib.ExitStack()
        try:
            with _explained(paths.output):
                self._open.enter_context(_locked(paths))
                self._begin(origin, resume=resume, force=force)
        except BaseException:
            self._open.close()
            raise

    def _begin(self, origin: str, *, resume: bool, force: bool) -> None:
        paths = self.paths
        if not resume:
            if paths.output.exists() and not force:
                raise ConfigurationError(
                    f"{paths.output} is there already: --resume goes on with it, --force overwrites it"
                )
            for path in (paths.journal, paths.output, paths.failures):
                path.unlink(missing_ok=True)
        else:
            self._recover(origin)
        self._journal = self._open.enter_context(paths.journal.open("ab", buffering=0))
        self._output = self._open.enter_context(paths.output.open("ab", buffering=0))
        self._failures: io.FileIO | None = None
        if not self._extent.journal_bytes:
            first = header(origin)
            self._journal.truncate(0)
            _write(self._journal, first)
            self._extent = Extent(len(first), 0)
        self._settle()
        self.sync()

    def _recover(self, origin: str) -> None:
        """Find out what is there."""
        paths = self.paths
        size = paths.output.stat().st_size if paths.output.exists() else 0
        paths.output.touch()
        paths.journal.touch()
        try:
            with paths.journal.open("rb") as journal, paths.output.open("rb") as output:
                self.records, self._extent = recovered(journal, output, origin, self.done)
            problem = None
        except ConfigurationError as error:
            problem = str(error)
        if problem is not None:
            raise ConfigurationError(
                f"{paths.output} cannot be gone on with: {problem} (see {paths.journal}). Go on as it was "
                "begun, name another output, or overwrite this one with --force"
            )
        self.cut_bytes = size - self._extent.output_bytes
        self._keep_failures()

    def _keep_failures(self) -> None:
        """Keep the failures that trying again cannot help; the IDs of the others are tried again."""
        path = self.paths.failures
        if not path.exists():
            return
        kept = path.with_name(f"{path.name}.tmp")
        with path.open("rb") as before, kept.open("wb") as after:
            for line in before:
                failed = _final_failure(line)
                if failed is not None and self.done.add(key_of(failed)):
                    after.write(line)
                    self.failures += 1
            after.flush()
            os.fsync(after.fileno())
        if self.failures:
            kept.replace(path)
        else:
            path.unlink()
            kept.unlink()

    def write_record(self, key: bytes, line: bytes) -> None:
        """Write a record.

        Args:
            key: That of the ID that was asked for.
            line: The record, with its line end.

        Raises:
            OutputError: It cannot be written. The files are as they were.
        """
        entry = Entry.of(key, line).text()
        try:
            with _explained(self.paths.output):
                _write(self._journal, entry)
                _write(self._output, line)
        except BaseException:
            with contextlib.suppress(OSError):
                self._settle()
            raise
        self._extent = Extent(self._extent.journal_bytes + len(entry), self._extent.output_bytes + len(line))
        self.records += 1
        self._sync_now_and_then()

    def write_failure(self, line: bytes) -> None:
        """Write what is known of an ID that failed.

        Args:
            line: A JSON object with its line end; `retryable` says if the ID is tried again when the export
                is resumed.

        Raises:
            OutputError: It cannot be written.
        """
        with _explained(self.paths.failures):
            if self._failures is None:
                self._failures = self._open.enter_context(self.paths.failures.open("ab", buffering=0))
            _write(self._failures, line)
        self.failures += 1
        self._sync_now_and_then()

    def _sync_now_and_then(self) -> None:
        self._unsynced += 1
        waited_s = self._clock() - self._synced_at
        if waited_s >= SYNC_INTERVAL_S or self._unsynced >= SYNC_INTERVAL_RECORDS:
            self.sync()

    def sync(self) -> None:
        """Bring what was written to the disk itself.

        Raises:
            OutputError: The disk does not take it.
        """
        with _explained(self.paths.output):
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
        with self._open, _explained(self.paths.output):
            self._settle()
            self.sync()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        try:
            self.close()
        except OutputError:
            if kind is None:  # else that goes first: a full disk says it twice
                raise


def _final_failure(line: bytes) -> str | None:
    """Give the ID of a failure that stays one; None if it is to be tried again, or the line is torn."""
    try:
        document: Any = json.loads(line)
        failed, retryable = document["id"], document["retryable"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return failed if isinstance(failed, str) and retryable is False and line.endswith(b"\n") else None


def _write(file: io.FileIO, data: bytes) -> None:
    written = file.write(data)
    while written < len(data):  # the disk is full, or nearly so: the next one says it
        written += file.write(data[written:])


@contextlib.contextmanager
def _explained(path: Path) -> Generator[None, None, None]:
    """Turn what the system says into an error of ours."""
    try:
        yield
    except OSError as error:
        named = error.filename if isinstance(error.filename, str) else path
        problem = f"{named} cannot be written: {error.strerror or error}"
    else:
        return
    raise OutputError(problem)


def _locked(paths: ExportPaths) -> contextlib.AbstractContextManager[object]:
    from filelock import FileLock, Timeout  # noqa: PLC0415 - of the extra `cli`, and for exports alone

    if not paths.output.parent.is_dir():  # filelock would make one
        raise ConfigurationError(
            f"the folder {paths.output.parent} is not there: make it, or name another output"
        )
    try:
        return FileLock(paths.lock).acquire(timeout=0)
    except Timeout:
        problem = f"another export is writing {paths.output}: wait for it, or name another output"
    raise ConfigurationError(problem)
