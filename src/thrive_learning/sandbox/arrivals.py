"""Add records while a sandbox is in use, so that the pages of a list shift."""

import threading
from collections.abc import Mapping
from typing import Any

from thrive_learning.sandbox.collection import Arrived
from thrive_learning.sandbox.generation import (
    LATE_PREFIX,
    ArrivedSeries,
    late_date_ms,
    made_record,
    numbered_id,
)


class RecordArrivals:
    """The records that have arrived. Threads may share it.

    A new record is dated now, so it is first in the list. A late record is dated from July 2025 to June 2026,
    like a generated one, so it shifts pages even if `timestampTo` is fixed. The fields of a record depend
    only on its number.

    Args:
        after_each_list: How many new records arrive after each successful list request.
        late_after_each_list: How many late records arrive after each successful list request.

    Attributes:
        after_each_list: See Args. It can be changed at any time.
        late_after_each_list: See Args. It can be changed at any time.
        arrived: The records that have arrived.
    """

    def __init__(self, after_each_list: int = 0, late_after_each_list: int = 0) -> None:
        self.after_each_list: int = after_each_list
        self.late_after_each_list: int = late_after_each_list
        self.arrived: Arrived = Arrived()
        self._lock = threading.Lock()

    def arrive(self, count: int, *, late: int = 0, now: float) -> tuple[Mapping[str, Any], ...]:
        """Add records, and return them.

        Args:
            count: The number of new records, dated now.
            late: The number of late records, dated in the past.
            now: The time in Unix seconds.
        """
        if not (count or late):
            return ()
        with self._lock:
            before = self.arrived
            # The clock may go back, but dates must increase in the order of arrival.
            now_ms = max([int(now * 1000), *before.dates_ms[-1:]])
            after = Arrived((*before.dates_ms, *[now_ms] * count), before.late + late)
            self.arrived = after
        series = ArrivedSeries(after.dates_ms)
        numbers = range(len(before.dates_ms) + 1, series.count + 1)
        late_numbers = range(before.late + 1, after.late + 1)
        return (
            *(
                made_record(numbered_id(series.prefix, number), number, series.date_ms(number))
                for number in numbers
            ),
            *(
                made_record(numbered_id(LATE_PREFIX, number), number, late_date_ms(number))
                for number in late_numbers
            ),
        )

    def after_list(self, now: float) -> tuple[Mapping[str, Any], ...]:
        """Add the records that arrive after a list request, and return them.

        Args:
            now: The time in Unix seconds.
        """
        return self.arrive(self.after_each_list, late=self.late_after_each_list, now=now)

    def __getstate__(self) -> dict[str, Any]:
        # Without the lock, so that a client of the sandbox can be pickled.
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._lock = threading.Lock()
