"""What an export has come to: counted as results come, and said at the end."""

from pathlib import Path

import attrs

from thrive_learning._clock import monotonic
from thrive_learning.cli.export.failures import FailedId, FailureCounts
from thrive_learning.cli.export.files import ExportPaths
from thrive_learning.cli.export.id_set import HAS_FAILED, HAS_RECORD
from thrive_learning.cli.export.progress import Advance, count_of, duration

_REASONS = {HAS_RECORD: "there already", HAS_FAILED: "failed for good before"}


@attrs.define
class Tally:
    """What an export has come to.

    Attributes:
        has_begun: Whether its output is open.
        records: How many records this run has written.
        records_before: How many records earlier runs had written.
        failures: The IDs that have failed in this run.
        kept_failures: The failures of earlier runs that stay.
        skipped: How many IDs needed no request, by the reason.
        repeated: How many times an ID came that this run had before.
        empty: How many empty cells the input has.
        is_whole: Whether the input was read to its end.
        is_paused: Whether all requests wait, as the server is overloaded or down.
        size_bytes: How long the input is; None where nobody knows.
        read_bytes: How much of it was read.
        begun_at: Which part of it had been read when the first result came.
        rows: How many rows the table has; None if none was written.
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
    _started_at: float = attrs.field(factory=monotonic)

    def begin(self, records: int, kept_failures: FailureCounts) -> None:
        """Note what is there."""
        self.has_begun = True
        self.records_before, self.kept_failures = records, kept_failures

    @property
    def is_partial(self) -> bool:
        """Whether records are missing from the output."""
        return not self.is_whole or bool(self.failures.total or self.kept_failures.total)

    @property
    def has_results(self) -> bool:
        """Whether there is anything in the files."""
        return bool(self.records or self.records_before or self.failures.total or self.kept_failures.total)

    def advance(self) -> Advance:
        """Return how far the export is."""
        fraction = min(self.read_bytes / self.size_bytes, 1.0) if self.size_bytes else None
        elapsed_s = monotonic() - self._started_at
        return Advance(
            self.records, self.failures.total, elapsed_s, fraction, self.begun_at or 0.0, self.is_paused
        )

    def note_empty(self) -> None:
        """Count an empty cell."""
        self.empty += 1

    def note_done(self, reason: int | None) -> None:
        """Count an ID that needs no request."""
        if reason in self.skipped:
            self.skipped[reason] += 1
        else:
            self.repeated += 1

    def note(self, failure: FailedId | None) -> None:
        """Count a result."""
        self.is_paused = False
        if self.begun_at is None:
            self.begun_at = self.advance().fraction or 0.0
        if failure is None:
            self.records += 1
        else:
            self.failures.add(failure)

    def summary(self, paths: ExportPaths | None, table: Path | None = None) -> list[str]:
        """Return the lines that say it.

        Args:
            paths: Where the files are; None for a stream.
            table: Where the table is, if there is one.
        """
        now = self.advance()
        lines = [
            f"exported {count_of(self.records, 'record')} in {duration(now.elapsed_s)} ({now.rate:,.0f}/s)"
        ]
        if paths is not None:
            lines[0] += f"; {paths.output} has {self.records_before + self.records:,}"
        for reason, count in self.skipped.items():
            if count:
                lines.append(f"{count_of(count, 'ID')} skipped: {_REASONS[reason]}")
        if self.repeated:
            lines.append(f"{count_of(self.repeated, 'repeated ID')} skipped")
        if self.empty:
            lines.append(f"{count_of(self.empty, 'empty cell')} skipped")
        lines += self._summary_of_failures(paths)
        if self.rows is not None:
            lines.append(f"{count_of(self.rows, 'row')} {'is' if self.rows == 1 else 'are'} in {table}")
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
            lines.append(f"--resume fetches {failures.retryable:,} of them again")
        elif paths is not None:
            lines.append("these failures are final: --resume does not fetch them again")
        return lines
