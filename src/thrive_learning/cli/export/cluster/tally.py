"""The counts of an export by a cluster, for the progress and the summary."""

from collections.abc import Sequence
from pathlib import Path

import attrs

from thrive_learning.cli.export.cluster.folder import PartFailure
from thrive_learning.cli.export.cluster.parts import PartFacts
from thrive_learning.cli.export.counts import EARLY, Counts, count_of, missing_line

_MOST_SHOWN = 5  # failures in the summary


@attrs.define
class ClusterTally(Counts):
    """The counts of an export by a cluster. `has_begun` when the plan is saved. See also `Counts`.

    Attributes:
        total: The number of parts.
        planned: The number of records of all parts when they were counted; None if the server does not say.
        parts: How many parts this run has written.
        parts_before: How many parts earlier runs have written.
        unreadable: How many items were left out because they have no ID, by this and earlier runs.
        missing: How many records the server counted that were on no page, by this and earlier runs.
        failures: The parts that failed.
        workers: The number of workers.
    """

    total: int = 0
    planned: int | None = None
    parts: int = 0
    parts_before: int = 0
    unreadable: int = 0
    missing: int = 0
    failures: list[PartFailure] = attrs.field(factory=list[PartFailure])
    workers: int = 0
    _began_at: float = attrs.field(default=0.0, init=False)

    def begin(self, planned: Sequence[int | None], before: Sequence[PartFacts]) -> None:
        """Set the counts of the plan and of earlier runs.

        Args:
            planned: The number of records of each part when it was counted.
            before: The parts that are complete.
        """
        self._began_at = self._clock()
        self.begin_after(sum(facts.rows for facts in before))
        self.total, self.parts_before = len(planned), len(before)
        self.unreadable = sum(facts.unreadable for facts in before)
        self.missing = sum(facts.missing for facts in before)
        known = [count for count in planned if count is not None]
        self.planned = sum(known) if len(known) == len(planned) else None

    def note(self, facts: PartFacts) -> None:
        """Count a part that a worker has written."""
        self.add(facts.rows)
        self.parts += 1
        self.unreadable += facts.unreadable
        self.missing += facts.missing

    @property
    def can_continue(self) -> bool:
        """Whether there is something that a later run can continue: the plan."""
        return self.has_begun

    @property
    def is_whole(self) -> bool:
        """Whether all parts have ended."""
        ended = self.parts_before + self.parts + len(self.failures)
        return self.has_begun and ended == self.total

    @property
    def is_partial(self) -> bool:
        """Whether records are missing from the output."""
        return not self.is_whole or bool(self.failures or self.unreadable or self.missing)

    @property
    def fraction(self) -> float | None:
        """The fraction of the parts that are complete, from 0 to 1; None without parts."""
        return (self.parts_before + self.parts) / self.total if self.total else None

    @property
    def left_s(self) -> float | None:
        """The estimated time left, in seconds; None if there is no estimate."""
        if self.parts < max(self.workers, self.total * EARLY):  # the first parts arrive together
            return None
        left = self.total - self.parts_before - self.parts
        return (self._clock() - self._began_at) / self.parts * left if self.parts else None

    @property
    def progress(self) -> str:
        """The text of the progress."""
        if not self.has_begun:
            return f"counting records, {count_of(self.workers, 'worker')}"
        done = count_of(self.records_before + self.records, "record")
        texts = [
            done if self.planned is None else f"{done} of about {self.planned:,}",
            f"{self.rate:,.0f}/s",
            f"{self.parts_before + self.parts:,} of {count_of(self.total, 'part')}",
            count_of(self.workers, "worker"),
        ]
        if self.failures:
            texts.insert(3, f"{len(self.failures):,} failed")
        return self.progress_of(texts, self.left_s)

    def summary(self, folder: Path, failures: Path) -> list[str]:
        """Return the lines of the summary.

        Args:
            folder: The folder of the parts.
            failures: The file of the failures.
        """
        lines = [f"{self.exported(folder)} in {count_of(self.parts_before + self.parts, 'part')}"]
        if self.parts_before:
            lines.append(f"skipped {count_of(self.parts_before, 'part')}: already exported")
        if self.unreadable:
            lines.append(f"skipped {count_of(self.unreadable, 'item')} without an ID")
        if self.missing:
            lines.append(missing_line(self.missing))
        if self.failures:
            lines.append(f"{count_of(len(self.failures), 'part')} failed: see {failures}")
            lines += [f"  {one.error}, {one.period}: {one.message}" for one in self.failures[:_MOST_SHOWN]]
        return lines
