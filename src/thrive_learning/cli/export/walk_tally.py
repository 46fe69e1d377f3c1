"""What an export of a period has come to: counted as records come, and said at the end."""

from collections.abc import Callable
from pathlib import Path

import attrs

from thrive_learning._clock import monotonic
from thrive_learning.cli.export.tally import count_of, duration

_EARLY = 0.01  # of the records: what is left after so few of them is a guess


@attrs.define
class WalkTally:
    """What an export of a period has come to.

    Attributes:
        has_begun: Whether its output is open.
        records: How many records this run has written.
        records_before: How many records earlier runs had written.
        again: How many records came that are there already.
        unreadable: How many items were left out because they have no ID.
        total: How many records there are, as the server says; None where it does not, or contradicts itself.
        is_whole: Whether all pages were read.
        is_paused: Whether all requests wait, as the server is overloaded or down.
        rows: How many rows the tables have; None if none was written.
        parts: How many files they are in; None if they are no parts.
    """

    has_begun: bool = False
    records: int = 0
    records_before: int = 0
    again: int = 0
    unreadable: int = 0
    total: int | None = None
    is_whole: bool = False
    is_paused: bool = False
    rows: int | None = None
    parts: int | None = None
    _clock: Callable[[], float] = attrs.field(default=monotonic, alias="clock")
    _started_at: float = attrs.field(factory=monotonic, alias="started_at")

    def begin(self, records: int) -> None:
        """Note what is there."""
        self.has_begun, self.records_before = True, records

    @property
    def is_partial(self) -> bool:
        """Whether records are missing from the output."""
        return not self.is_whole or bool(self.unreadable)

    @property
    def elapsed_s(self) -> float:
        """The seconds since it began."""
        return self._clock() - self._started_at

    @property
    def rate(self) -> float:
        """Records per second."""
        return self.records / self.elapsed_s if self.elapsed_s else 0.0

    @property
    def fraction(self) -> float | None:
        """How much of it is done, from 0 to 1; None where that is not known."""
        done = self.records_before + self.records
        return done / self.total if self.total and done <= self.total else None

    @property
    def left_s(self) -> float | None:
        """How many seconds it will go on, as far as can be told."""
        if self.fraction is None or self.total is None or self.records < self.total * _EARLY:
            return None
        return (self.total - self.records_before - self.records) / self.rate if self.rate else None

    @property
    def progress(self) -> str:
        """How far it is, in a few words."""
        done = count_of(self.records_before + self.records, "record")
        parts = [done, f"{self.rate:,.0f}/s"]
        if self.fraction is not None:
            parts = [f"{done} of about {self.total:,}", parts[1], f"{self.fraction:.0%}"]
        if self.is_paused:
            parts.append("paused")
        elif self.left_s is not None:
            parts.append(f"{duration(self.left_s)} left")
        return ", ".join(parts)

    def summary(self, output: Path | None, table: Path | None = None) -> list[str]:
        """Return the lines that say it.

        Args:
            output: Where the records are; None for a stream.
            table: Where the table is, or the folder of the parts, if there is one.
        """
        written = count_of(self.records, "record")
        lines = [f"exported {written} in {duration(self.elapsed_s)} ({self.rate:,.0f}/s)"]
        if output is not None:
            lines[0] += f"; {output} has {self.records_before + self.records:,}"
        if self.again:
            lines.append(f"{count_of(self.again, 'record')} skipped: there already")
        if self.unreadable:
            lines.append(f"{count_of(self.unreadable, 'item')} without an ID left out")
        if self.rows is not None:
            in_parts = "" if self.parts is None else f", in {count_of(self.parts, 'part')}"
            verb = "is" if self.rows == 1 else "are"
            lines.append(f"{count_of(self.rows, 'row')} {verb} in {table}{in_parts}")
        return lines
