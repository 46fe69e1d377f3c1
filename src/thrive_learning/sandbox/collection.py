"""All records of a sandbox: stored, generated, and arrived. Pure."""

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
    """The number and the dates of the records that have arrived.

    Args:
        dates_ms: The dates of new records in Unix milliseconds, in ascending order.
        late: The number of late records, which are dated in the past.
    """

    dates_ms: tuple[int, ...] = ()
    late: int = 0


class Collection:
    """All records of a sandbox. A stored record replaces a generated one with the same ID.

    Args:
        held: The stored records, by ID in lower case.
        entries: Returns the stored records, sorted.
        generated: The number of generated records.
        arrived: The records that have arrived.
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
        """Return the number of records that match a filter, and some of them, newest first.

        Args:
            keeps: Returns whether a record matches. For generated records, it is called once per pattern.
            first_ms: The beginning of the window in Unix milliseconds, inclusive.
            last_ms: The end of the window, inclusive.
            offset: How many of the newest records to skip.
            limit: The maximum number of records to return.
        """
        remainders = [index for index, template in enumerate(templates()) if keeps(template)]
        runs: list[RecordSource] = [
            ListedRecords([entry for entry in self._entries() if keeps(entry.record())]),
            ListedRecords(self._late_entries(keeps)),
            *(NumberedRecords(series, remainders, self._replaced(series, keeps)) for series in self._series),
        ]
        return newest_first(runs, first_ms=first_ms, last_ms=last_ms, offset=offset, limit=limit)

    def some(self, limit: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield the first records with their IDs, stored records before generated ones."""
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
        """Return the numbers of generated records that stored records replace."""
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
