"""Divides a period into windows of time that can be read independently of each other. Pure.

The API does not document whether the ends of a period are inclusive. So a window requests one second more at
each end that it shares with another window, and keeps only records whose date is in its half-open interval.
At the two ends of the period, the server decides, as for `activities.iterate`.
"""

import datetime as dt
import enum
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

#: The resolution of the API's filters, and how much neighboring windows overlap in their requests.
SECOND: Final = dt.timedelta(seconds=1)

#: How full windows are planned, as a share of the bound, so that an uneven distribution rarely exceeds it.
FILL: Final = 0.9

#: The units to whose multiples windows are rounded while they are much longer. A server that compares whole
#: days or minutes instead of seconds then agrees with the windows.
_UNITS: Final = (dt.timedelta(days=1), dt.timedelta(hours=1), dt.timedelta(minutes=1), SECOND)
_MUCH: Final = 16

#: How far back the first window of a period without a beginning is split off. It doubles each time.
_FIRST_SPAN: Final = dt.timedelta(days=365)

_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

#: The earliest beginning of a window, which leaves room for the overlap.
_EARLIEST: Final = dt.datetime(1, 1, 2, tzinfo=dt.UTC)

#: How far outside the requested time the date of a record may be: the overlap, and a server that rounds the
#: dates of records to seconds.
_TOLERANCE: Final = 2 * SECOND

#: The number of counting requests after which no window is split further: per window that the period needs,
#: in addition to these, and at most. A server that does not count may need the last one.
_REQUESTS_PER_WINDOW: Final = 6
_MORE_REQUESTS: Final = 32
_MOST_REQUESTS: Final = 4096

#: The two halves of a window must not have so many times its records. A server that ignores the times would
#: return all records for each half.
_CONTRADICTION: Final = 1.9


class Place(enum.Enum):
    """Where a record's date is, in relation to a window."""

    INSIDE = enum.auto()
    #: In or near the overlap with a neighbor, which has the record as well.
    NEIGHBOR = enum.auto()
    #: Outside the requested time, although the server returned the record.
    BEFORE = enum.auto()
    AFTER = enum.auto()


class Window(NamedTuple):
    """A part of a period.

    Attributes:
        since: Its beginning, which belongs to it; None for no limit.
        until: Its end, which belongs to the next window.
        is_first: Whether it begins where the period begins. The server then decides about its beginning.
        is_last: Whether it ends where the period ends. The server then decides about its end.
        records: The number of records that the server counted; None if it does not say.
        is_over: Whether it has more records than the bound, because it cannot be split further.
    """

    since: dt.datetime | None
    until: dt.datetime
    is_first: bool = True
    is_last: bool = True
    records: int | None = None
    is_over: bool = False

    @property
    def asked_since(self) -> dt.datetime | None:
        """The beginning to request."""
        return self.since if self.since is None or self.is_first else self.since - SECOND

    @property
    def asked_until(self) -> dt.datetime:
        """The end to request."""
        return self.until if self.is_last else self.until + SECOND

    def place(self, date: dt.datetime) -> Place:
        """Return where a date is."""
        since, until = self.since, self.until
        if since is not None and not self.is_first and date < since:
            return Place.NEIGHBOR if since - date <= _TOLERANCE else Place.BEFORE
        if not self.is_last and date >= until:
            return Place.NEIGHBOR if date - until <= _TOLERANCE else Place.AFTER
        return Place.INSIDE


#: Counts the records of a window; None if the server does not say.
Count = Callable[[Window], int | None]

#: Returns whether a window has more records than the bound, for servers that do not count.
Exceeds = Callable[[Window], bool]


def plan_windows(period: Window, bound: int, count: Count, exceeds: Exceeds) -> list[Window]:
    """Divide a period into windows of at most so many records, in the order of time.

    A window that exceeds the bound is split in two, unless it has a single second. The second part is counted
    only if it may be small enough. In the end, small neighbors are joined.

    Args:
        period: The whole period.
        bound: The maximum number of records of a window when it is counted.
        count: Counts the records of a window.
        exceeds: Returns whether a window exceeds the bound. Used for windows that the server does not count.
    """
    return _Planning(period, bound, count, exceeds).windows()


class _Planning:
    def __init__(self, period: Window, bound: int, count: Count, exceeds: Exceeds) -> None:
        self._period = period
        self._bound = bound
        self._count = count
        self._exceeds = exceeds
        self._left = _MORE_REQUESTS

    def windows(self) -> list[Window]:
        whole = self._counted(self._period)
        most = _MOST_REQUESTS if whole.records is None else _REQUESTS_PER_WINDOW * self._parts(whole)
        self._left += min(most, _MOST_REQUESTS)
        return _joined(self._split(whole), self._bound)

    def _split(self, whole: Window) -> Iterator[Window]:
        waiting = [whole]
        while waiting:
            window = waiting.pop()
            halves = self._halves(window) if window.is_over and self._left > 0 else None
            if halves is None:
                yield window
            else:
                waiting += reversed(halves)

    def _halves(self, window: Window) -> tuple[Window, Window] | None:
        """Split a window in two; None if it cannot be split."""
        at = self._middle(window)
        if at is None:
            return None
        halves = self._split_at(window, at)
        if not _contradicts(window, halves):
            return halves
        # Or nearly all records are within a second of this time, so that both halves requested them.
        halves = self._split_at(window, at + (window.until - at) // (2 * SECOND) * SECOND)
        return None if _contradicts(window, halves) else halves

    def _split_at(self, window: Window, at: dt.datetime) -> tuple[Window, Window]:
        first = self._counted(window._replace(until=at, is_last=False))
        second = window._replace(since=at, is_first=False)
        if window.records is not None and first.records is not None:
            rest = window.records - first.records
            if rest > self._bound:
                return first, second._replace(records=rest)
        return first, self._counted(second)

    def _counted(self, window: Window) -> Window:
        self._left -= 1
        found = self._count(window)
        is_over = self._exceeds(window) if found is None else found > self._bound
        return window._replace(records=found, is_over=is_over)

    def _parts(self, window: Window) -> int:
        """Return the number of windows that the records of a window need, at least 2."""
        most = max(int(self._bound * FILL), 1)
        return 2 if window.records is None else min(max(-(-window.records // most), 2), _MOST_REQUESTS)

    def _middle(self, window: Window) -> dt.datetime | None:
        """Return the time at which to split a window; None if it cannot be split."""
        if window.since is None:
            return self._middle_of_endless(window)
        length = window.until - window.since
        parts = self._parts(window)
        at = window.since + length * (parts // 2 / parts)
        unit = next((one for one in _UNITS if length >= _MUCH * one), SECOND)
        at = max(_EPOCH + (at - _EPOCH) // unit * unit, window.since + SECOND)
        return at if at < window.until else None

    def _middle_of_endless(self, window: Window) -> dt.datetime | None:
        end = self._period.until
        span = (end - window.until) * 2 or _FIRST_SPAN
        at = max(_midnight(end) - span, _EARLIEST) if end - _EARLIEST > span else _EARLIEST
        return at if at < window.until else None


def _contradicts(window: Window, halves: tuple[Window, Window]) -> bool:
    """Return whether the counts of two halves show that the server ignores the times."""
    counts = [half.records for half in halves]
    is_short = window.since is not None and window.until - window.since <= _MUCH * SECOND
    if is_short or window.records is None or None in counts:
        return False
    return sum(filter(None, counts)) > window.records * _CONTRADICTION


def _midnight(at: dt.datetime) -> dt.datetime:
    return at.replace(hour=0, minute=0, second=0, microsecond=0)


def _joined(windows: Iterator[Window], bound: int) -> list[Window]:
    """Join neighbors that together do not exceed the bound."""
    joined: list[Window] = []
    for window in windows:
        both = _join(joined[-1], window, bound) if joined else None
        if both is None:
            joined.append(window)
        else:
            joined[-1] = both
    return joined


def _join(first: Window, second: Window, bound: int) -> Window | None:
    if first.records is None or second.records is None or first.records + second.records > bound:
        return None
    return second._replace(since=first.since, is_first=first.is_first, records=first.records + second.records)
