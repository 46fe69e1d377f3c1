"""Merge records from several sources, newest first, without a list of all of them. Pure.

A source counts its records since a moment, and yields them backward from a moment. So a page is found by
bisection over time, and every page costs the same.
"""

import functools
import heapq
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, NamedTuple, TypeAlias

from thrive_learning.sandbox.generation import CYCLE, Series, made_record, numbered_id

#: The date of records without one, which is before any other date, so that they are the oldest.
UNDATED_MS = -(10**14)
#: A date after any other date.
END_OF_TIME_MS = 10**15

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class DatedRecord(NamedTuple):
    """A record in the order.

    Attributes:
        date_ms: The date in Unix milliseconds.
        id: The ID in lower case, which orders records of the same date.
        record: Returns the record.
    """

    date_ms: int
    id: str
    record: Callable[[], Mapping[str, Any]]


class ListedRecords:
    """Records in memory.

    Args:
        entries: The records, ordered by date and then by ID.
    """

    def __init__(self, entries: Sequence[DatedRecord]) -> None:
        self._entries = entries

    def count_since(self, date_ms: int) -> int:
        """Return the number of records dated at or after a moment."""
        return len(self._entries) - self._first_since(date_ms)

    def newest_first(self, date_ms: int) -> Iterator[DatedRecord]:
        """Yield the records dated at or before a moment, newest first."""
        return map(self._entries.__getitem__, range(self._first_since(date_ms + 1) - 1, -1, -1))

    def _first_since(self, date_ms: int) -> int:
        return bisect_left(self._entries, date_ms, key=lambda entry: entry.date_ms)


class NumberedRecords:
    """Records that are generated on demand.

    Args:
        series: All records of the source.
        remainders: The remainders of (number - 1) divided by `CYCLE` of the records that are included, in
            ascending order.
        without: The numbers of records that are excluded, in ascending order.
    """

    def __init__(self, series: Series, remainders: Sequence[int], without: Sequence[int] = ()) -> None:
        self._series = series
        self._remainders = remainders
        self._without = without
        self._excluded = frozenset(without)

    def count_since(self, date_ms: int) -> int:
        """Return the number of records dated at or after a moment."""
        first, end = self._series.first_since(date_ms), self._series.count + 1
        excluded = bisect_left(self._without, end) - bisect_left(self._without, first)
        return self._count_below(end) - self._count_below(first) - excluded

    def newest_first(self, date_ms: int) -> Iterator[DatedRecord]:
        """Yield the records dated at or before a moment, newest first."""
        for position in range(self._count_below(self._series.first_since(date_ms + 1)) - 1, -1, -1):
            cycles, index = divmod(position, len(self._remainders))
            number = cycles * CYCLE + self._remainders[index] + 1
            if number not in self._excluded:
                yield numbered_entry(self._series.prefix, number, self._series.date_ms(number))

    def _count_below(self, number: int) -> int:
        """Return how many numbers below this one have one of the remainders."""
        cycles, remainder = divmod(number - 1, CYCLE)
        return cycles * len(self._remainders) + bisect_left(self._remainders, remainder)


#: The records of one source.
RecordSource: TypeAlias = ListedRecords | NumberedRecords


def numbered_entry(prefix: str, number: int, date_ms: int) -> DatedRecord:
    """Return the entry of a record that is generated on demand."""
    record_id = numbered_id(prefix, number)
    return DatedRecord(date_ms, record_id, functools.partial(made_record, record_id, number, date_ms))


def sorted_entries(records: Mapping[str, Mapping[str, Any]]) -> list[DatedRecord]:
    """Return the entries of records in memory, oldest first. Their IDs are in lower case."""
    entries = [
        DatedRecord(_date_ms(record), key, functools.partial(records.__getitem__, key))
        for key, record in records.items()
    ]
    return sorted(entries, key=order)


def newest_first(
    runs: Iterable[RecordSource], *, first_ms: int, last_ms: int, offset: int, limit: int
) -> tuple[int, list[Mapping[str, Any]]]:
    """Return the number of records in a window, and some of them.

    Args:
        runs: The sources.
        first_ms: The beginning of the window, inclusive.
        last_ms: The end of the window, inclusive.
        offset: How many of the newest records to skip.
        limit: The maximum number of records to return.
    """
    runs = tuple(runs)

    def count_since(date_ms: int) -> int:
        return sum(run.count_since(date_ms) for run in runs)

    newer = count_since(last_ms + 1)
    total = max(count_since(first_ms) - newer, 0)
    wanted = min(limit, total - offset)
    if wanted <= 0:
        return total, []
    # The date of the first record to return. At least `offset` records and this one are dated then or later.
    before = newer + offset
    moments = range(UNDATED_MS, END_OF_TIME_MS)
    date_ms = moments[bisect_left(moments, 1, key=lambda moment: count_since(moment) <= before)] - 1
    of_that_date = before - count_since(date_ms + 1)
    merged = heapq.merge(*(run.newest_first(date_ms) for run in runs), key=order, reverse=True)
    return total, [entry.record() for entry in islice(merged, of_that_date, of_that_date + wanted)]


def order(entry: DatedRecord) -> tuple[int, str]:
    """Return the sort key of an entry: the date, then the ID."""
    return entry.date_ms, entry.id


def _date_ms(record: Mapping[str, Any]) -> int:
    """Return the date of a record, which may not be valid, in Unix milliseconds."""
    try:
        date = datetime.fromisoformat(record.get("date", ""))
    except (TypeError, ValueError):
        return UNDATED_MS
    return ((date if date.tzinfo else date.replace(tzinfo=UTC)) - _EPOCH) // _MILLISECOND
