"""Divides a period into windows of time that can be read independently of each other. Pure.

The API does not document whether the ends of a period are inclusive. So a window requests more at each end
that it shares with another window, usually one second, and keeps only records whose date is in its half-open
interval. At the two ends of the period, the server decides, as for `activities.iterate`.
"""

import datetime as dt
import enum
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Final, NamedTuple

#: The resolution of the API's filters, and how much neighboring windows usually overlap in their requests.
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

#: The earliest beginning of a window, which leaves room for the overlap of one second.
_EARLIEST: Final = dt.datetime(1, 1, 2, tzinfo=dt.UTC)

_CALENDAR: Final = (dt.datetime.min.replace(tzinfo=dt.UTC), dt.datetime.max.replace(tzinfo=dt.UTC))

#: The number of counting requests after which no window is split further: per window that the period needs,
#: in addition to these, and at most. A server that does not count may need the last one.
_REQUESTS_PER_WINDOW: Final = 24
_MORE_REQUESTS: Final = 128
_MOST_REQUESTS: Final = 4096

_FEWEST_PARTS: Final = 2

#: Into how many pieces a window is split. Four need the fewest counts, whether the records are evenly spread
#: or close together: two thirds of those that two would need.
_MOST_PIECES: Final = 4

#: The pieces of a window have its records once, and those in the overlaps between them twice. Fewer would
#: mean that the windows would lose records, although the overlap was found to be enough. More than this share
#: would mean that the server ignores the times, or that nearly all records have the same date.
_MOST_TWICE: Final = 1.9

#: The shortest window of a server that does not count, whose windows cannot be checked. It also works for a
#: server that compares whole hours.
_SHORTEST_UNCOUNTED: Final = dt.timedelta(hours=1)


class Side(enum.Enum):
    """Where a record's date is, in relation to a window."""

    INSIDE = enum.auto()
    #: Shortly before or after the window, in or near the overlap with a neighbor, which has it as well.
    BEFORE = enum.auto()
    AFTER = enum.auto()
    #: Outside the requested time, although the server returned the record.
    STRAY = enum.auto()


class Window(NamedTuple):
    """A part of a period.

    Attributes:
        since: Its beginning, which belongs to it; None for no limit.
        until: Its end, which belongs to the next window.
        is_first: Whether it begins where the period begins. The server then decides about its beginning.
        is_last: Whether it ends where the period ends. The server then decides about its end.
        records: The number of records that the server counted; None if it does not say.
        is_over: Whether it has more records than the bound, because it cannot be split further.
        overlap: How much more it requests at each end that it shares with another window.
    """

    since: dt.datetime | None
    until: dt.datetime
    is_first: bool = True
    is_last: bool = True
    records: int | None = None
    is_over: bool = False
    overlap: dt.timedelta = SECOND

    @property
    def asked_since(self) -> dt.datetime | None:
        """The beginning to request."""
        return self.since if self.since is None or self.is_first else around(self.since, self.overlap)[0]

    @property
    def asked_until(self) -> dt.datetime:
        """The end to request."""
        return self.until if self.is_last else around(self.until, self.overlap)[1]

    def place(self, date: dt.datetime) -> Side:
        """Return where a date is."""
        since, until = self.since, self.until
        tolerance = self.overlap + SECOND  # some servers round the dates of records to seconds
        if since is not None and not self.is_first and date < since:
            return Side.BEFORE if since - date <= tolerance else Side.STRAY
        if not self.is_last and date >= until:
            return Side.AFTER if date - until <= tolerance else Side.STRAY
        return Side.INSIDE


def around(at: dt.datetime, reach: dt.timedelta) -> tuple[dt.datetime, dt.datetime]:
    """Return the times so much before and after a time, or the ends of the calendar."""
    first, last = _CALENDAR
    return at - min(reach, at - first), at + min(reach, last - at)


#: Counts the records of a window; None if the server does not say.
Count = Callable[[Window], int | None]

#: Returns whether a window has more records than the bound, for servers that do not count.
Exceeds = Callable[[Window], bool]

#: Returns how much the requests of neighboring windows must overlap, so that no record is between them; None
#: if no overlap is known to be enough.
Overlap = Callable[[], dt.timedelta | None]


def plan_windows(
    period: Window, bound: int, count: Count, exceeds: Exceeds, overlap: Overlap
) -> list[Window]:
    """Divide a period into windows of at most so many records, in the order of time.

    A window that exceeds the bound is split in up to four, or in two if it is short or the counts of the four
    contradict each other, and the pieces are counted. It stays whole if it has a single second, if the
    counts of the two contradict each other, or if both would request nearly all of its records. In the
    end, small neighbors are joined.

    For a server that does not count, a window is split if the server has a record after the bound, and has at
    least an hour.

    Args:
        period: The whole period.
        bound: The maximum number of records of a window when it is counted.
        count: Counts the records of a window.
        exceeds: Returns whether a window exceeds the bound. Used for windows that the server does not count.
        overlap: Returns the overlap of windows. Used if the period exceeds the bound. Without an overlap, the
            period stays whole.
    """
    return _Planning(period, bound, count, exceeds, overlap).windows()


class _Planning:
    def __init__(self, period: Window, bound: int, count: Count, exceeds: Exceeds, overlap: Overlap) -> None:
        self._period = period
        self._bound = bound
        self._count = count
        self._exceeds = exceeds
        self._overlap = overlap
        self._left = _MORE_REQUESTS

    def windows(self) -> list[Window]:
        whole = self._counted(self._period)
        overlap = self._overlap() if whole.is_over else SECOND
        if overlap is None:
            return [whole]
        whole = whole._replace(overlap=overlap)
        most = _MOST_REQUESTS if whole.records is None else _REQUESTS_PER_WINDOW * self._parts(whole)
        self._left += min(most, _MOST_REQUESTS)
        return _joined(self._split(whole), self._bound)

    def _split(self, whole: Window) -> Iterator[Window]:
        waiting = [whole]
        while waiting:
            window = waiting.pop()
            pieces = None
            if window.is_over and self._left > 0:
                pieces = self._pieces(window) or self._halves(window)
            if pieces is None:
                yield window
            else:
                waiting += reversed(pieces)

    def _pieces(self, window: Window) -> list[Window] | None:
        """Split a window in up to four; None if it is not long, or if the counts contradict each other."""
        since, parts = window.since, self._parts(window)
        number = min(parts, _MOST_PIECES)
        if since is None or window.records is None or number <= _FEWEST_PARTS:
            return None
        length = window.until - since
        if length < _MUCH * number * SECOND:
            return None
        unit = _unit(length * 2 / number)
        times = [_rounded(since + length * (at * parts // number / parts), unit) for at in range(1, number)]
        pieces: list[Window] = []
        counted = 0
        for begin, end in pairwise([since, *dict.fromkeys(at for at in times if at > since), window.until]):
            piece = window._replace(
                since=begin,
                until=end,
                is_first=window.is_first and begin == since,
                is_last=window.is_last and end == window.until,
            )
            pieces.append(self._counted(piece))
            found = pieces[-1].records
            if found is None or (counted := counted + found) > window.records * _MOST_TWICE:
                return None
        return pieces if self._agree(window, counted) else None

    def _halves(self, window: Window) -> tuple[Window, Window] | None:
        """Split a window in two; None if it cannot be split, or if the counts contradict each other."""
        at = self._middle(window)
        if at is None:
            return None
        first, second = self._split_at(window, at)
        if first.records is None or second.records is None or window.records is None:
            return first, second  # nothing can be compared, but the overlap has been found to be enough
        if self._agree(window, first.records + second.records):
            return first, second
        # Or nearly all records are within a second of this time, so that both halves requested them.
        first, second = self._split_at(window, at + (window.until - at) // (2 * SECOND) * SECOND)
        both = (first.records or 0) + (second.records or 0)
        return (first, second) if self._agree(window, both) else None

    def _split_at(self, window: Window, at: dt.datetime) -> tuple[Window, Window]:
        first = window._replace(until=at, is_last=False)
        return self._counted(first), self._counted(window._replace(since=at, is_first=False))

    def _agree(self, window: Window, counted: int) -> bool:
        """Return whether the records of all pieces can be those of the window."""
        records = window.records or 0
        if counted < records:  # some are in no piece, unless they were deleted since
            records = self._counted(window).records or 0
        return records <= counted <= records * _MOST_TWICE

    def _counted(self, window: Window) -> Window:
        self._left -= 1
        found = self._count(window)
        is_over = self._exceeds(window) if found is None else found > self._bound
        return window._replace(records=found, is_over=is_over)

    def _parts(self, window: Window) -> int:
        """Return the number of windows that the records of a window that is split need."""
        most = max(int(self._bound * FILL), 1)
        parts = -(-(window.records or 0) // most)
        return min(max(parts, _FEWEST_PARTS), _MOST_REQUESTS)

    def _middle(self, window: Window) -> dt.datetime | None:
        """Return the time at which to split a window; None if it cannot be split."""
        if window.since is None:
            return self._middle_of_endless(window)
        length = window.until - window.since
        parts = self._parts(window)
        at = window.since + length * (parts // 2 / parts)
        least = max(SECOND if window.records is not None else _SHORTEST_UNCOUNTED, window.overlap)
        at = _rounded(at, max(_unit(length), least))
        if at <= window.since:
            at = _rounded(window.since + least, least)
        return at if window.since < at < window.until else None

    def _middle_of_endless(self, window: Window) -> dt.datetime | None:
        end = self._period.until
        span = (end - window.until) * 2 or _FIRST_SPAN
        at = _rounded(end - span, _UNITS[0]) if end - _EARLIEST > span else _EARLIEST
        return at if at < window.until else None


def _unit(length: dt.timedelta) -> dt.timedelta:
    """Return the unit to which to round the time at which a window of a length is split."""
    return next((one for one in _UNITS if length >= _MUCH * one), SECOND)


def _rounded(at: dt.datetime, unit: dt.timedelta) -> dt.datetime:
    return _EPOCH + (at - _EPOCH) // unit * unit


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
