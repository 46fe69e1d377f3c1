"""One export, from the first ID to the summary: what takes results and puts them where they belong."""

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import attrs

from thrive_learning.cli.export_files import ExportPaths
from thrive_learning.cli.export_progress import Advance, count_of, duration
from thrive_learning.cli.id_set import IdSet, key_of
from thrive_learning.cli.id_sources import UnreadableInputError
from thrive_learning.cli.rendering import visible
from thrive_learning.cli.terminal import complain
from thrive_learning.errors import TRANSIENT_STATUS_CODES, ConnectionFailedError, ThriveError
from thrive_learning.models import Activity, ActivityResult


class Sink(Protocol):
    """Where records and failures go."""

    done: IdSet
    records: int
    failures: int

    def write_record(self, key: bytes, line: bytes) -> None:
        """Write a record; `key` is that of the ID that was asked for."""
        ...

    def write_failure(self, line: bytes) -> None:
        """Write a failure."""
        ...


@attrs.define
class Tally:
    """What an export has come to.

    Attributes:
        has_begun: Whether its output is open.
        records: How many records this run has written.
        failures: How many IDs have failed in this run.
        retryable: How many of them may succeed when they are tried again.
        records_before: How many records earlier runs had written.
        failures_before: How many failures of earlier runs stay ones.
        repeated: How many IDs stood in the input before, or were done by an earlier run.
        is_whole: Whether the input was read to its end.
        size_bytes: How long the input is; None where nobody knows.
        read_bytes: How much of it was read.
        begun_at: Which part of it had been read when the first result came.
    """

    has_begun: bool = False
    records: int = 0
    failures: int = 0
    retryable: int = 0
    records_before: int = 0
    failures_before: int = 0
    repeated: int = 0
    is_whole: bool = False
    size_bytes: int | None = None
    read_bytes: int = 0
    begun_at: float | None = None
    _started_at: float = attrs.field(factory=time.monotonic)

    def begin(self, sink: Sink, size_bytes: int | None) -> None:
        """Take note of what is there, and of how long the input is."""
        self.has_begun = True
        self.records_before, self.failures_before = sink.records, sink.failures
        self.size_bytes = size_bytes

    @property
    def is_partial(self) -> bool:
        """Whether records are missing from the output."""
        return not self.is_whole or bool(self.failures or self.failures_before)

    def advance(self) -> Advance:
        """Give how far the export is."""
        fraction = min(self.read_bytes / self.size_bytes, 1.0) if self.size_bytes else None
        elapsed_s = time.monotonic() - self._started_at
        return Advance(self.records, self.failures, elapsed_s, fraction, self.begun_at or 0.0)

    def note(self, error: ThriveError | None) -> None:
        """Count a result."""
        if self.begun_at is None:
            self.begun_at = self.advance().fraction or 0.0
        if error is None:
            self.records += 1
        else:
            self.failures += 1
            self.retryable += is_retryable(error)

    def summary(self, paths: ExportPaths | None) -> list[str]:
        """Give the lines that say it.

        Args:
            paths: Where the files are; None for stdout.
        """
        now = self.advance()
        lines = [
            f"exported {count_of(self.records, 'record')} in {duration(now.elapsed_s)} ({now.rate:,.0f}/s)"
        ]
        if paths is not None:
            lines[0] += f"; {paths.output} has {self.records_before + self.records:,}"
        if self.repeated:
            lines.append(f"{count_of(self.repeated, 'ID')} skipped: there already, or named before")
        failed = self.failures + self.failures_before
        if failed:
            where = "" if paths is None else f": see {paths.failures}"
            lines.append(f"{count_of(failed, 'ID')} failed{where}")
        if self.retryable:
            how = "" if paths is None else "; --resume tries them again"
            lines.append(f"{self.retryable:,} of them may succeed a little later{how}")
        return lines


class StandardOutput:
    """Records to stdout, failures to stderr: nothing that could be resumed."""

    def __init__(self) -> None:
        self.done: IdSet = IdSet()
        self.records: int = 0  # that were there before
        self.failures: int = 0

    def write_record(self, key: bytes, line: bytes) -> None:  # noqa: ARG002 - what a Sink takes
        """Write a record now, where a closed pipe can still be told from success."""
        if sys.stdout.isatty():  # a file gets the text as received; a terminal would obey some of it
            line = visible(line.decode()).encode()
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()

    def write_failure(self, line: bytes) -> None:
        """Tell of it."""
        complain(json.loads(line)["message"])


def counted(lines: Iterable[bytes], name: str, tally: Tally) -> Iterator[bytes]:
    """Give the lines of the input, and count how much of it was read.

    Raises:
        UnreadableInputError: The system cannot read it.
    """
    try:
        for line in lines:
            tally.read_bytes += len(line)
            yield line
    except OSError as error:
        problem = f"{name} cannot be read: {error.strerror or error}"
    else:
        return
    raise UnreadableInputError(problem)


def unseen(ids: Iterable[str], done: IdSet, tally: Tally) -> Iterator[str]:
    """Give each ID once, and none that is done."""
    for given in ids:
        if done.add(key_of(given)):
            yield given
        else:
            tally.repeated += 1
    tally.is_whole = True


def take(results: Iterable[ActivityResult], sink: Sink, tally: Tally, show: Callable[[], None]) -> None:
    """Write every result as it comes."""
    for result in results:
        if result.error is not None:
            sink.write_failure(failure_line(result.id, result.error))
        else:
            sink.write_record(key_of(result.id), record_line(result.activity))
        tally.note(result.error)
        show()


def record_line(activity: Activity) -> bytes:
    """Render a record's JSON as it was received, in one line."""
    return activity.to_json().encode() + b"\n"


def failure_line(given: str, error: ThriveError) -> bytes:
    """Render what is known of an ID that failed, in one line of JSON."""
    return _line(
        {
            "id": given,
            "error": type(error).__name__,
            "message": str(error),
            "status": getattr(error, "status_code", None),
            "retryable": is_retryable(error),
        }
    )


def is_retryable(error: ThriveError) -> bool:
    """Say whether the same ID may well succeed a little later, with nothing changed."""
    return isinstance(error, ConnectionFailedError) or (
        getattr(error, "status_code", None) in TRANSIENT_STATUS_CODES
    )


def _line(document: dict[str, Any]) -> bytes:
    text = visible(json.dumps(document, ensure_ascii=False, separators=(",", ":")))
    try:
        return text.encode() + b"\n"
    except UnicodeEncodeError:  # lone surrogates, which JSON can say and UTF-8 cannot
        return json.dumps(document, separators=(",", ":")).encode() + b"\n"
