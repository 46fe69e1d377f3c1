"""Interpret the measured numbers for tables, targets, and the chart. Pure."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple


class Summary(NamedTuple):
    """The median, the quartiles, and the size of a sample."""

    median: float
    lower: float
    upper: float
    size: int


def summary(sample: Sequence[float]) -> Summary:
    """Summarize a sample. The quartiles of a single number are that number."""
    if not sample:
        raise ValueError("an empty sample has no median")
    if len(sample) == 1:
        return Summary(sample[0], sample[0], sample[0], 1)
    lower, median, upper = statistics.quantiles(sample, n=4, method="inclusive")
    return Summary(median, lower, upper, len(sample))


class Row(NamedTuple):
    """One contender in one measure.

    Attributes:
        measure: The measure.
        contender: The contender.
        sample: One number for each pair or run; empty if it is not available.
        unit: The unit of the numbers, such as `ratio`.
        note: The reference of the ratios, or why there are no numbers.
        also: Other figures of the same runs, by their names with units.
        kind: See `Contender.kind`.
    """

    measure: str
    contender: str
    sample: tuple[float, ...]
    unit: str = "ratio"
    note: str = ""
    also: Mapping[str, float] = {}
    kind: str = ""

    @property
    def summary(self) -> Summary | None:
        """The summary of the sample; None if it is not available."""
        return summary(self.sample) if self.sample else None


class Target(NamedTuple):
    """A line of the table of targets.

    Attributes:
        what: The measure in words.
        measure: The measure of the row that decides whether the target is met.
        contender: The contender of that row.
        bound: The limit for the median.
        at_least: Whether the median must be at least the bound; otherwise, at most.
        limit: The contender in the same measure that shows the lower bound.
    """

    what: str
    measure: str
    contender: str
    bound: float
    at_least: bool = False
    limit: str = ""

    def is_met(self, median: float) -> bool:
        """Return whether a median meets the target."""
        return median >= self.bound if self.at_least else median <= self.bound


class Pair(NamedTuple):
    """A contender's batch, and the unit's batch beside it, both in seconds per call."""

    cpu_s: float
    unit_cpu_s: float
    wall_s: float
    unit_wall_s: float


def paired_row(measure: str, contender: str, unit: str, pairs: Sequence[Pair], kind: str) -> Row:
    """Return a row of interleaved pairs. The ratio is taken within each pair, before any median."""
    return Row(
        measure,
        contender,
        tuple(pair.cpu_s / pair.unit_cpu_s for pair in pairs),
        note=f"to {unit}",
        also={
            "CPU µs per call": statistics.median(pair.cpu_s for pair in pairs) * 1e6,
            "wall-clock ratio": statistics.median(pair.wall_s / pair.unit_wall_s for pair in pairs),
        },
        kind=kind,
    )


def as_json(rows: Sequence[Row], about: Mapping[str, Any]) -> dict[str, Any]:
    """Return all measurements, for other programs."""
    return {"about": dict(about), "rows": [row._asdict() | {"also": dict(row.also)} for row in rows]}


def ratios(numbers: Sequence[float], units: Sequence[float]) -> tuple[float, ...]:
    """Divide each number by the unit that was measured beside it."""
    return tuple(number / unit for number, unit in zip(numbers, units, strict=True))


Progress = Callable[[str], None]
