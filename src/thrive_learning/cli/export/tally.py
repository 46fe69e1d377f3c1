"""The counts of an export by IDs, for the progress and the summary."""

from collections.abc import Callable
from pathlib import Path

import attrs

from thrive_learning._clock import monotonic
from thrive_learning.cli.export.done import HAS_FAILED, HAS_RECORD
from thrive_learning.cli.export.failures import FailedId, FailureCounts
from thrive_learning.cli.export.paths import ExportPaths

_REASONS = {HAS_RECORD: "already in the output", HAS_FAILED: "failed permanently in an earlier run"}
_MINUTE_S, _HOUR_S = 60, 3600
_EARLY = 0.01  # of the input; before that, an estimate of the time left would be a guess


def count_of(number: int, noun: str) -> str:
    """Return a number and a noun in singular or plural, such as "2 records"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """Return a duration for people, such as "1 min 05 s"."""
    if seconds < _MINUTE_S:
        return f"{seconds:.1f} s"
    if seconds < _HOUR_S:
        return f"{seconds // _MINUTE_S:.0f} min {seconds % _MINUTE_S:02.0f} s"
    return f"{seconds // _HOUR_S:.0f} h {seconds % _HOUR_S // _MINUTE_S:02.0f} min"


@attrs.define
class Tally:
    """The counts of an export by IDs.

    Attributes:
        has_begun: Whether the output is open.
        records: How many records this run has written.
        records_before: How many records earlier runs have written.
        failures: The IDs that have failed in this run.
        kept_failures: The final failures of earlier runs.
        skipped: How many IDs needed no request, by reason.
        repeated: How many IDs were repeated in this run.
        empty: How many empty cells the input has.
        is_whole: Whether the whole input was read.
        is_paused: Whether all requests are paused, because the server is overloaded or down.
        size_bytes: The size of the input; None if it is unknown.
        read_bytes: How many bytes of the input were read.
        begun_at: The value of `fraction` at the first result. An earlier run did the part before it.
        rows: The number of rows of the table; None without a table.
    """

    has_begun: bool = False
    records: int = 0
    records_before: int = 0
    failures: FailureCounts = attrs.field(factory=FailureCounts)
    kept_failures: FailureCounts = attrs.field(factory=FailureCounts)
    skipped: dict[int, int] = attrs.field(factory=lambda: dict.fromkeys(_REASONS, 0))
    repeated: int = 0
    empty: int = 0
    is_whole: bool = False
    is_paused: bool = False
    size_bytes: int | None = None
    read_bytes: float = 0
    begun_at: float | None = None
    rows: int | None = None
    _clock: Callable[[], float] = attrs.field(default=monotonic, alias="clock")
    _started_at: float = attrs.field(factory=monotonic, alias="started_at")

    def begin(self, records: int, kept_failures: FailureCounts) -> None:
        """Set the counts of earlier runs."""
        self.has_begun = True
        self.records_before, self.kept_failures = records, kept_failures

    @property
    def is_partial(self) -> bool:
        """Whether records are missing from the output."""
        return not self.is_whole or bool(self.failures.total or self.kept_failures.total)

    @property
    def has_results(self) -> bool:
        """Whether the files contain any results."""
        return bool(self.records or self.records_before or self.failures.total or self.kept_failures.total)

    @property
    def elapsed_s(self) -> float:
        """The seconds since the export began."""
        return self._clock() - self._started_at

    @property
    def rate(self) -> float:
        """The number of results per second."""
        return (self.records + self.failures.total) / self.elapsed_s if self.elapsed_s else 0.0

    @property
    def fraction(self) -> float | None:
        """The fraction of the input that was read, from 0 to 1; None if the size is unknown."""
        return min(self.read_bytes / self.size_bytes, 1.0) if self.size_bytes else None

    @property
    def left_s(self) -> float | None:
        """The estimated number of seconds left; None if there is no estimate."""
        fraction = self.fraction or 0.0
        done = fraction - (self.begun_at or 0.0)
        return self.elapsed_s * (1 - fraction) / done if done >= _EARLY else None

    @property
    def progress(self) -> str:
        """The text of the progress."""
        parts = [count_of(self.records, "record"), f"{self.rate:,.0f}/s"]
        if self.failures.total:
            parts.insert(1, f"{self.failures.total:,} failed")
        if self.fraction is not None:
            parts.append(f"{self.fraction:.0%}")
        if self.is_paused:
            parts.append("paused")
        elif self.left_s is not None:
            parts.append(f"{duration(self.left_s)} left")
        return ", ".join(parts)

    def note_empty(self) -> None:
        """Count an empty cell."""
        self.empty += 1

    def note_done(self, reason: int) -> None:
        """Count an ID that needs no request."""
        if reason in self.skipped:
            self.skipped[reason] += 1
        else:
            self.repeated += 1

    def note(self, failure: FailedId | None) -> None:
        """Count a result."""
        self.is_paused = False
        if self.begun_at is None:
            self.begun_at = self.fraction or 0.0
        if failure is None:
            self.records += 1
        else:
            self.failures.add(failure)

    def summary(self, paths: ExportPaths | None, table: Path | None = None) -> list[str]:
        """Return the lines of the summary.

        Args:
            paths: The paths of the files; None for a stream.
            table: The path of the table, if there is one.
        """
        lines = [
            f"exported {count_of(self.records, 'record')} in {duration(self.elapsed_s)} ({self.rate:,.0f}/s)"
        ]
        if paths is not None:
            lines[0] += f"; {paths.output} has {self.records_before + self.records:,}"
        for reason, count in self.skipped.items():
            if count:
                lines.append(f"skipped {count_of(count, 'ID')}: {_REASONS[reason]}")
        if self.repeated:
            lines.append(f"skipped {count_of(self.repeated, 'repeated ID')}")
        if self.empty:
            lines.append(f"skipped {count_of(self.empty, 'empty cell')}")
        lines += self._summary_of_failures(paths)
        if self.rows is not None:
            lines.append(f"wrote {count_of(self.rows, 'row')} to {table}")
        return lines

    def _summary_of_failures(self, paths: ExportPaths | None) -> list[str]:
        failures = FailureCounts()
        for counts in (self.failures, self.kept_failures):
            failures.update(counts)
        if not failures.total:
            return []
        where = "" if paths is None else f": see {paths.failures}"
        lines = [f"{count_of(failures.total, 'ID')} failed{where}"]
        for count, failure in failures.kinds():
            example = ", for example" if count > 1 else ""
            lines.append(f"  {count:,} {failure.error}{example}: {failure.message}")
        if failures.retryable and paths is not None:
            lines.append(f"--resume would fetch {failures.retryable:,} of them again")
        elif paths is not None:
            lines.append("these failures are final: --resume would not fetch them again")
        return lines
