"""All records of a sandbox: those that it holds, those that it generates, and those that arrived. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from thrive_learning.sandbox.generation import (
    CYCLE,
    LATE_PREFIX,
    ArrivedSeries,
    GeneratedSeries,
    Series,
    late_date_ms,
    made_record,
    number_in,
    numbered_id,
    templates,
)
from thrive_learning.sandbox.timeline import (
    DatedRecord,
    ListedRecords,
    NumberedRecords,
    RecordSource,
    newest_first,
    numbered_entry,
    order,
)

Filter = Callable[[Mapping[str, Any]], bool]


@dataclass(frozen=True, slots=True)
class Arrived:
    """How many records have arrived, and when.

    Args:
        dates_ms: The moments at which records arrived that are dated then, in Unix milliseconds. They never
            go down.
        late: How many arrived that have a date in the past.
    """

    dates_ms: tuple[int, ...] = ()
    late: int = 0


class Collection:
    """All records of a sandbox. One that it holds replaces a generated one with the same ID.

    Args:
        held: Those that it holds, by ID in lower case.
        entries: Returns the same, sorted.
        generated: How many it generates.
        arrived: Those that arrived.
    """

    def __init__(
        self,
        held: Mapping[str, Mapping[str, Any]],
        entries: Callable[[], Sequence[DatedRecord]],
        generated: int,
        arrived: Arrived,
    ) -> None:
        self._held = held
        self._entries = entries
        self._series: tuple[Series, ...] = (GeneratedSeries(generated), ArrivedSeries(arrived.dates_ms))
        self._late = arrived.late

    def find(self, record_id: str) -> Mapping[str, Any] | None:
        """Return the record with an ID in lower case, or None."""
        if record_id in self._held:
            return self._held[record_id]
        for series in self._series:
            number = number_in(record_id, series.prefix, series.count)
            if number is not None:
                return made_record(record_id, number, series.date_ms(number))
        number = number_in(record_id, LATE_PREFIX, self._late)
        return None if number is None else made_record(record_id, number, late_date_ms(number))

    def page(
        self, keeps: Filter, *, first_ms: int, last_ms: int, offset: int, limit: int
    ) -> tuple[int, list[Mapping[str, Any]]]:
        """Return how many records pass a filter, and some of them, newest first.

        Args:
            keeps: Whether a record passes. Of generated records, it gets only what repeats.
            first_ms: The first moment of the window, in Unix milliseconds.
            last_ms: Its last moment.
            offset: How many of the newest records to leave out.
            limit: How many to return after those, at most.
        """
        remainders = [index for index, template in enumerate(templates()) if keeps(template)]
        runs: list[RecordSource] = [
            ListedRecords([entry for entry in self._entries() if keeps(entry.record())]),
            ListedRecords(self._late_entries(keeps)),
            *(NumberedRecords(series, remainders, self._replaced(series, keeps)) for series in self._series),
        ]
        return newest_first(runs, first_ms=first_ms, last_ms=last_ms, offset=offset, limit=limit)

    def some(self, limit: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield the first records with their IDs: those that are held come before generated ones."""
        generated, _ = self._series
        made = (
            (record_id, made_record(record_id, number, generated.date_ms(number)))
            for number in range(1, generated.count + 1)
            if (record_id := numbered_id(generated.prefix, number)) not in self._held
        )
        return islice(chain(self._held.items(), made), limit)

    def __len__(self) -> int:
        replaced = sum(len(self._replaced(series, _keep_all)) for series in self._series)
        numbered = sum(series.count for series in self._series) - replaced
        return len(self._held) + numbered + len(self._late_entries(_keep_all))

    def _replaced(self, series: Series, keeps: Filter) -> list[int]:
        """Return the numbers whose records are held in another form."""
        numbers = (number_in(record_id, series.prefix, series.count) for record_id in self._held)
        return sorted(number for number in numbers if number is not None and keeps(_template(number)))

    def _late_entries(self, keeps: Filter) -> list[DatedRecord]:
        entries = (
            numbered_entry(LATE_PREFIX, number, late_date_ms(number))
            for number in range(1, self._late + 1)
            if keeps(_template(number))
        )
        return sorted((entry for entry in entries if entry.id not in self._held), key=order)


def _keep_all(_record: Mapping[str, Any]) -> bool:
    return True


def _template(number: int) -> Mapping[str, Any]:
    return templates()[(number - 1) % CYCLE]
