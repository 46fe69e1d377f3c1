"""The counts of an export of a period, for the progress and the summary."""

from pathlib import Path

import attrs

from thrive_learning.cli.export.counts import EARLY, Counts, count_of, missing_line


@attrs.define
class WalkTally(Counts):
    """The counts of an export of a period. See also `Counts`.

    Attributes:
        again: How many records were received that were already exported.
        unreadable: How many items were skipped because they have no ID.
        missing: How many records the server counted that were on no page.
        total: The number of records according to the server; None if the server does not say.
        is_whole: Whether all pages were read.
        rows: The number of rows of the tables; None without tables.
        parts: The number of files of the tables; None without parts.
    """

    again: int = 0
    unreadable: int = 0
    missing: int = 0
    total: int | None = None
    is_whole: bool = False
    rows: int | None = None
    parts: int | None = None

    @property
    def is_partial(self) -> bool:
        """Whether records are missing from the output."""
        return not self.is_whole or bool(self.unreadable or self.missing)

    @property
    def fraction(self) -> float | None:
        """The fraction of the records that were exported, from 0 to 1; None if the total is unknown."""
        done = self.records_before + self.records
        return done / self.total if self.total and done <= self.total else None

    @property
    def left_s(self) -> float | None:
        """The estimated time left, in seconds; None if there is no estimate."""
        if self.fraction is None or self.total is None or self.records < self.total * EARLY:
            return None
        return (self.total - self.records_before - self.records) / self.rate if self.rate else None

    @property
    def progress(self) -> str:
        """The text of the progress."""
        done = count_of(self.records_before + self.records, "record")
        parts = [done, f"{self.rate:,.0f}/s"]
        if self.fraction is not None:
            parts = [f"{done} of about {self.total:,}", parts[1], f"{self.fraction:.0%}"]
        return self.progress_of(parts, self.left_s)

    def summary(self, output: Path | None, table: Path | None = None) -> list[str]:
        """Return the lines of the summary.

        Args:
            output: The path of the records; None for a stream.
            table: The path of the table, or of the folder of the parts, if there is one.
        """
        lines = [self.exported(output)]
        if self.again:
            lines.append(f"skipped {count_of(self.again, 'record')}: already exported")
        if self.unreadable:
            lines.append(f"skipped {count_of(self.unreadable, 'item')} without an ID")
        if self.missing:
            lines.append(missing_line(self.missing))
        if self.rows is not None:
            in_parts = "" if self.parts is None else f" in {count_of(self.parts, 'part')}"
            lines.append(f"wrote {count_of(self.rows, 'row')}{in_parts} to {table}")
        return lines
