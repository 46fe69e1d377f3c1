"""The counts that all kinds of exports share, and how they are written."""

from collections.abc import Callable
from pathlib import Path

import attrs

from thrive_learning._clock import monotonic

#: The share of an export before which an estimate of the time left would be a guess.
EARLY = 0.01

_MINUTE_S, _HOUR_S = 60, 3600


def count_of(number: int, noun: str) -> str:
    """Return a number and a noun in singular or plural, such as "2 records"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def missing_line(number: int) -> str:
    """Return the line of the summary about records that the server counted, but that were on no page."""
    are = "is" if number == 1 else "are"
    return (
        f"{count_of(number, 'record')} that the server counted {are} missing, on no page. Export shorter "
        "periods. If that does not help, ask the API's support about the count"
    )


def duration(seconds: float) -> str:
    """Return a duration for people, such as "1 min 05 s"."""
    if seconds < _MINUTE_S:
        return f"{seconds:.1f} s"
    if seconds < _HOUR_S:
        return f"{seconds // _MINUTE_S:.0f} min {seconds % _MINUTE_S:02.0f} s"
    return f"{seconds // _HOUR_S:.0f} h {seconds % _HOUR_S // _MINUTE_S:02.0f} min"


@attrs.define
class Counts:
    """The counts of an export.

    Attributes:
        has_begun: Whether the output is open.
        records: How many records this run has written.
        records_before: How many records earlier runs have written.
        is_paused: Whether all requests are paused, because the server is overloaded or down.
        is_sure: Whether the output has these records, and no incomplete ones.
    """

    has_begun: bool = False
    records: int = 0
    records_before: int = 0
    is_paused: bool = False
    is_sure: bool = True
    _clock: Callable[[], float] = attrs.field(default=monotonic, alias="clock")
    _started_at: float = attrs.field(factory=monotonic, alias="started_at")

    def begin_after(self, records: int) -> None:
        """Note that the output is open, and how many records earlier runs have written."""
        self.has_begun = True
        self.records_before = records

    def end_with(self, records: int, *, is_kept: bool | None) -> None:
        """Note what is in the output when it is closed, which a failed write may not have reached.

        Args:
            records: The number of records.
            is_kept: Whether the output is still there, as it was written; None if that is unknown.
        """
        self.records = records - self.records_before
        self.is_sure = is_kept is True
        if is_kept is False:  # there is nothing to say about its records
            self.has_begun = False

    def add(self, records: int) -> None:
        """Count records that this run has written."""
        self.is_paused = False
        self.records += records

    @property
    def can_continue(self) -> bool:
        """Whether there is something that a later run can continue."""
        return bool(self.records or self.records_before)

    @property
    def results(self) -> int:
        """How many results this run has, for the rate."""
        return self.records

    @property
    def elapsed_s(self) -> float:
        """The seconds since the export began."""
        return self._clock() - self._started_at

    @property
    def rate(self) -> float:
        """The number of results per second."""
        return self.results / self.elapsed_s if self.elapsed_s else 0.0

    def progress_of(self, parts: list[str], left_s: float | None) -> str:
        """Return the text of the progress.

        Args:
            parts: The parts of the text before its end.
            left_s: The estimated time left, in seconds; None if there is no estimate.
        """
        if self.is_paused:
            parts = [*parts, "paused"]
        elif left_s is not None:
            parts = [*parts, f"{duration(left_s)} left"]
        return ", ".join(parts)

    def exported(self, output: Path | None) -> str:
        """Return the first line of the summary.

        Args:
            output: Where the records are; None for a stream.
        """
        took = f"{duration(self.elapsed_s)} ({self.rate:,.0f}/s)"
        text = f"exported {count_of(self.records, 'record')} in {took}"
        return (
            text
            if output is None or not self.is_sure
            else f"{text}; {output} has {self.records_before + self.records:,}"
        )
