"""The counts of an export by IDs, for the progress and the summary."""

from pathlib import Path

import attrs

from thrive_learning.cli.export.counts import EARLY, Counts, count_of
from thrive_learning.cli.export.done import HAS_FAILED, HAS_RECORD
from thrive_learning.cli.export.failures import FailedId, FailureCounts
from thrive_learning.cli.export.paths import ExportPaths

_REASONS = {HAS_RECORD: "already in the output", HAS_FAILED: "failed permanently in an earlier run"}


@attrs.define
class Tally(Counts):
    """The counts of an export by IDs. See also `Counts`.

    Attributes:
        failures: The IDs that have failed in this run.
        kept_failures: The final failures of earlier runs.
        skipped: How many IDs needed no request, by reason.
        repeated: How many IDs were repeated in this run.
        empty: How many empty cells the input has.
        is_whole: Whether the whole input was read.
        size_bytes: The size of the input; None if it is unknown.
        read_bytes: How many bytes of the input were read.
        begun_at: The value of `fraction` at the first result. An earlier run did the part before it.
        rows: The number of rows of the table; None without a table.
    """

    failures: FailureCounts = attrs.field(factory=FailureCounts)
    kept_failures: FailureCounts = attrs.field(factory=FailureCounts)
    skipped: dict[int, int] = attrs.field(factory=lambda: dict.fromkeys(_REASONS, 0))
    repeated: int = 0
    empty: int = 0
    is_whole: bool = False
    size_bytes: int | None = None
    read_bytes: float = 0
    begun_at: float | None = None
    rows: int | None = None

    def begin(self, records: int, kept_failures: FailureCounts) -> None:
        """Set the counts of earlier runs."""
        self.begin_after(records)
        self.kept_failures = kept_failures

    @property
    def is_partial(self) -> bool:
        """Whether records are missing from the output."""
        return not self.is_whole or bool(self.failures.total or self.kept_failures.total)

    @property
    def can_continue(self) -> bool:
        """Whether there is something that a later run can continue."""
        return bool(self.records or self.records_before or self.failures.total or self.kept_failures.total)

    @property
    def results(self) -> int:
        """How many results this run has, for the rate."""
        return self.records + self.failures.total

    @property
    def fraction(self) -> float | None:
        """The fraction of the input that was read, from 0 to 1; None if the size is unknown."""
        return min(self.read_bytes / self.size_bytes, 1.0) if self.size_bytes else None

    @property
    def left_s(self) -> float | None:
        """The estimated time left, in seconds; None if there is no estimate."""
        fraction = self.fraction or 0.0
        done = fraction - (self.begun_at or 0.0)
        return self.elapsed_s * (1 - fraction) / done if done >= EARLY else None

    @property
    def progress(self) -> str:
        """The text of the progress."""
        parts = [count_of(self.records, "record"), f"{self.rate:,.0f}/s"]
        if self.failures.total:
            parts.insert(1, f"{self.failures.total:,} failed")
        if self.fraction is not None:
            parts.append(f"{self.fraction:.0%}")
        return self.progress_of(parts, self.left_s)

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
            self.add(1)
        else:
            self.failures.add(failure)

    def summary(self, paths: ExportPaths | None, table: Path | None = None) -> list[str]:
        """Return the lines of the summary.

        Args:
            paths: The paths of the files; None for a stream.
            table: The path of the table, if there is one.
        """
        lines = [self.exported(None if paths is None else paths.output)]
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
