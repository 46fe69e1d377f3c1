"""Where the next run of an export begins, and which records of this run it will see again. Pure.

The next run begins a little before the newest record of this one, for records that arrive late. It skips
records that it sees again, by their keys.
"""

import datetime as dt

#: How long before the beginning of a run records are remembered, in seconds. A server that compares rounded
#: times, such as whole minutes, returns them although they are earlier.
ROUNDED_S = 60

#: The maximum number of remembered records without a valid date, which are rare.
MAX_UNDATED = 10_000

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_SECOND = dt.timedelta(seconds=1)
_FEWEST_PRUNED = 1000


class Overlap:
    """The information about the records so far that the next run needs.

    Memory grows with the number of records within the overlap and `ROUNDED_S` before it, in any order.

    Args:
        since: The beginning of this run's period, in whole seconds. The next run does not begin earlier.
        until: The end of this run's period. A later date counts as this one.
        length: How long before the newest record the next run begins.
        keys: The keys from the previous run.
    """

    def __init__(
        self, since: dt.datetime, until: dt.datetime, length: dt.timedelta, keys: dict[bytes, int | None]
    ) -> None:
        self._first = self._begin = _seconds(since)
        self._last = _seconds(until)
        self._length = length // _SECOND
        self._undated = dict.fromkeys(key for key, second in keys.items() if second is None)
        self._dated = {key: second for key, second in keys.items() if second is not None}
        self._prune_at = 0

    def note(self, key: bytes, date: dt.datetime | None) -> None:
        """Add a record, new or not."""
        if date is None:
            self._undated[key] = None
            if len(self._undated) > MAX_UNDATED:
                del self._undated[next(iter(self._undated))]
            return
        second = min(_seconds(date), self._last)
        self._begin = max(self._begin, second - self._length)
        if second >= self._begin - ROUNDED_S:
            self._dated[key] = second
            if len(self._dated) > self._prune_at:
                self._prune()

    def _prune(self) -> None:
        self._dated = {
            key: second for key, second in self._dated.items() if second >= self._begin - ROUNDED_S
        }
        self._prune_at = 2 * len(self._dated) + _FEWEST_PRUNED

    @property
    def since(self) -> dt.datetime:
        """The beginning of the next run, in whole seconds."""
        return _EPOCH + self._begin * _SECOND

    @property
    def keys(self) -> dict[bytes, int | None]:
        """The keys that the next run needs, each with the second of its record, or None without a date."""
        self._prune()
        return {**self._dated, **self._undated}


def _seconds(moment: dt.datetime) -> int:
    return (moment - _EPOCH) // _SECOND
