"""Windows of time. Each moment is in one of them, and few requests plan them."""

import bisect
import datetime as dt
import math
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from thrive_learning._cluster.windows import SECOND, Side, Window, plan_windows

BEGIN = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)
YEAR = dt.timedelta(days=365)


class Counter:
    """Counts moments, which are seconds after BEGIN, as a server does."""

    def __init__(self, moments: list[float], *, says: str = "all") -> None:
        self.moments = sorted(moments)
        self.requests: list[Window] = []
        self.probes: list[Window] = []
        self.overlaps = 0
        self.says = says

    def exact(self, window: Window) -> int:
        since = None if window.asked_since is None else (window.asked_since - BEGIN) / SECOND
        first = 0 if since is None else bisect.bisect_left(self.moments, since)
        return bisect.bisect_right(self.moments, (window.asked_until - BEGIN) / SECOND) - first

    def count(self, window: Window) -> int | None:
        self.requests.append(window)
        number = len(self.requests)
        silent = {
            "nothing": True,
            "nothing at first": number == 1,
            "nothing later": number > 1,
            "sometimes": number % 5 in (4, 0),
        }
        if silent.get(self.says):
            return None
        match self.says:
            case "a maximum":
                return min(self.exact(window), 50)
            case "the whole":  # it ignores the filter
                return len(self.moments)
            case "nonsense":
                return 10**30
            case _:
                return self.exact(window)

    def overlap(self) -> dt.timedelta:
        self.overlaps += 1
        return SECOND

    def exceeds(self, bound: int) -> "Bound":
        return Bound(self, bound)


class Bound:
    def __init__(self, counter: Counter, bound: int) -> None:
        self.counter = counter
        self.bound = bound

    def __call__(self, window: Window) -> bool:
        self.counter.probes.append(window)
        return self.counter.exact(window) > self.bound


def planned(period: Window, bound: int, counter: Counter) -> list[Window]:
    return plan_windows(period, bound, counter.count, counter.exceeds(bound), counter.overlap)


def check_that_they_cover(period: Window, windows: list[Window]) -> None:
    assert windows[0].since == period.since
    assert windows[-1].until == period.until
    assert [window.is_first for window in windows] == [True] + [False] * (len(windows) - 1)
    assert [window.is_last for window in windows] == [False] * (len(windows) - 1) + [True]
    for one, other in pairwise(windows):
        assert one.until == other.since
        assert one.since is None or one.since < one.until


def evenly(count: int, seconds: float) -> list[float]:
    return [number * seconds / count for number in range(count)]


def bursts(count: int, seconds: float) -> list[float]:
    """Working hours, with a growing number of users."""
    return [
        seconds * math.sqrt(number / count) // 86_400 * 86_400 + number % 28_800 for number in range(count)
    ]


@pytest.mark.parametrize("spread", [evenly, bursts], ids=["evenly", "bursts"])
def test_a_million_records_are_planned_with_at_most_20_requests(spread: object) -> None:
    make = evenly if spread is evenly else bursts
    counter = Counter(make(1_000_000, YEAR / SECOND))
    period = Window(BEGIN, BEGIN + YEAR)
    windows = planned(period, 100_000, counter)
    check_that_they_cover(period, windows)
    assert len(counter.requests) + counter.overlaps <= 20
    assert not counter.probes
    counts = [counter.exact(window) for window in windows]
    assert max(counts) <= 100_000
    assert not any(window.is_over for window in windows)
    in_windows = sum(-(-count // 1000) for count in counts)  # including pages that are not full
    assert in_windows + len(counter.requests) <= 1.05 * 1000
    # They are rounded to days, which servers that compare whole days agree with.
    assert all(window.until == window.until.replace(hour=0, minute=0) for window in windows)


seconds = st.integers(0, 200_000) | st.integers(0, 30)
moments = st.lists(seconds.map(float) | seconds.map(lambda at: at + 0.25), max_size=300)


@given(
    moments,
    st.integers(1, 300_000),
    st.integers(1, 40),
    st.sampled_from(
        [
            "all",
            "nothing",
            "nothing later",
            "sometimes",
            "sometimes not",
            "a maximum",
            "the whole",
            "nonsense",
        ]
    ),
    st.sampled_from([BEGIN, None]),
)
@example([5.0] * 50, 300_000, 1, "all", BEGIN)
@example([5.0] * 50, 300_000, 1, "nothing", None)
@example([*[50.0] * 50, 60.0, 90.0], 101, 1, "all", BEGIN)  # nearly all are in the middle
@example([*range(0, 200_000, 4000)], 200_000, 3, "sometimes", BEGIN)
@example([25e3, 25e3, 75e3, 125e3, 175e3, 175e3], 200_000, 2, "all", BEGIN)  # the middle two are joined
@example([1.0, 1.0], 1, 1, "all", None)  # the only records are in the last second of all time
def test_windows_cover_the_period_whatever_the_server_says(
    found: list[float], length: int, bound: int, says: str, since: dt.datetime | None
) -> None:
    counter = Counter(found, says=says)
    period = Window(since, BEGIN + length * SECOND)
    windows = planned(period, bound, counter)
    check_that_they_cover(period, windows)
    assert len(counter.requests) + len(counter.probes) < 10_000
    if says == "nothing":
        assert all(window.until.minute == 0 for window in windows[:-1])
    for window in windows:
        assert window.until.microsecond == 0
        assert says != "all" or counter.exact(window) <= (window.records or 0)
        is_short = window.since is not None and window.until - window.since <= 10 * SECOND
        if says == "all" and not is_short:
            assert not window.is_over
            assert counter.exact(window) <= bound  # when it was counted, with the overlap
        if says == "nothing" and window.is_over and window.since is not None:
            assert window.until - window.since < 2 * 3600 * SECOND
        if says == "all" and is_short:
            assert window.is_over == (window.records is not None and window.records > bound)
    if says == "all":
        for one, other in pairwise(windows):  # no two could be one
            assert one.records is not None
            assert other.records is not None
            assert one.records + other.records > bound


def test_an_empty_period_is_one_window() -> None:
    counter = Counter([])
    period = Window(BEGIN, BEGIN + YEAR)
    assert planned(period, 10, counter) == [period._replace(records=0)]
    assert (len(counter.requests), counter.overlaps) == (1, 0)


def test_a_server_that_ignores_the_times_gets_one_window() -> None:
    counter = Counter(evenly(1000, YEAR / SECOND), says="the whole")
    period = Window(BEGIN, BEGIN + YEAR)
    assert planned(period, 10, counter) == [period._replace(records=1000, is_over=True)]
    assert len(counter.requests) == 7


def test_windows_overlap_by_what_the_server_needs() -> None:
    counter = Counter(evenly(1000, 86_400))
    period = Window(BEGIN, BEGIN + 86_400 * SECOND)
    hours = dt.timedelta(hours=2)
    windows = plan_windows(period, 300, counter.count, counter.exceeds(300), lambda: hours)
    check_that_they_cover(period, windows)
    assert len(windows) > 3
    assert {window.overlap for window in windows} == {hours}
    assert windows[1].since is not None
    assert windows[1].asked_since == windows[1].since - hours
    assert windows[0].asked_until == windows[0].until + hours
    whole = plan_windows(period, 300, counter.count, counter.exceeds(300), lambda: None)
    assert whole == [period._replace(records=1000, is_over=True)]


def test_the_ends_of_the_calendar_limit_the_overlap() -> None:
    first, last = dt.datetime.min.replace(tzinfo=dt.UTC), dt.datetime.max.replace(tzinfo=dt.UTC)
    hours = dt.timedelta(hours=2)
    window = Window(first + SECOND, last - SECOND, is_first=False, is_last=False, overlap=hours)
    assert (window.asked_since, window.asked_until) == (first, last)


def test_a_second_with_too_many_records_says_so() -> None:
    counter = Counter([100.5] * 20)
    windows = planned(Window(BEGIN, BEGIN + 1000 * SECOND), 10, counter)
    [over] = [window for window in windows if window.is_over]
    assert over.records == 20
    assert over.since is not None
    # Not alone in a window of a second, whose two neighbors would request it as well.
    assert over.since + 3 * SECOND <= over.until <= over.since + 10 * SECOND
    assert over.since < BEGIN + 100 * SECOND < over.until
    assert [window.records for window in windows] == [0, 20, 0]


@pytest.mark.parametrize("count", [1, 1000])
def test_a_period_without_a_beginning_is_split_from_its_end(count: int) -> None:
    # Half of the records are a thousand years old.
    counter = Counter([-1000 * 365 * 86_400.0] * count + evenly(count, 86_400))
    period = Window(None, BEGIN + 86_400 * SECOND)
    windows = planned(period, count, counter)
    check_that_they_cover(period, windows)
    assert len(windows) == (1 if count == 1 and len(windows) == 1 else 2)
    assert len(counter.requests) < 20


def test_each_window_without_a_beginning_goes_back_twice_as_far_to_a_midnight() -> None:
    end = BEGIN + 100_000.0 * SECOND
    counter = Counter([(dt.datetime(1, 1, 1, tzinfo=dt.UTC) - BEGIN) / SECOND] * 2)
    planned(Window(None, end), 1, counter)
    ends = [window.until for window in counter.requests if window.since is None]
    assert ends[0] == end
    assert ends[-1] == dt.datetime(1, 1, 2, tzinfo=dt.UTC)
    back = [YEAR, *((end - at) * 2 for at in ends[1:-2])]
    for expected, at in zip(back, ends[1:-1], strict=True):
        assert at == at.replace(hour=0, minute=0, second=0, microsecond=0)
        assert expected <= end - at < expected + dt.timedelta(days=1)


@pytest.mark.parametrize(("is_counted", "most"), [(True, 24 * 112 + 128), (False, 4096 + 128)])
def test_the_number_of_requests_has_a_bound_whatever_the_server_says(*, is_counted: bool, most: int) -> None:
    requests: list[Window] = []

    def count(window: Window) -> int | None:
        requests.append(window)
        assert window.since is not None
        depth = math.log2(YEAR / (window.until - window.since))
        return int(1000 * 0.9**depth) if is_counted else None  # each half has nine tenths of the records

    period = Window(BEGIN, BEGIN + YEAR)
    windows = plan_windows(period, 10, count, lambda _window: True, lambda: SECOND)
    check_that_they_cover(period, windows)
    assert most <= len(requests) <= most + 3


def test_a_window_is_split_although_the_server_did_not_count_it() -> None:
    counter = Counter(evenly(100, YEAR / SECOND), says="nothing at first")
    windows = planned(Window(BEGIN, BEGIN + YEAR), 10, counter)
    assert not any(window.is_over for window in windows)


def test_records_that_are_deleted_meanwhile_do_not_stop_the_planning() -> None:
    class Shrinking(Counter):
        def count(self, window: Window) -> int | None:
            found = super().count(window)
            del self.moments[100:]
            return found

    counter = Shrinking(evenly(200, YEAR / SECOND))
    period = Window(BEGIN, BEGIN + YEAR)
    windows = planned(period, 10, counter)
    check_that_they_cover(period, windows)
    assert not any(window.is_over for window in windows)


def test_a_period_that_begins_with_the_calendar_does_not_overflow() -> None:
    earliest = dt.datetime(1, 1, 1, tzinfo=dt.UTC)
    counter = Counter([(earliest - BEGIN) / SECOND] * 20)
    for since in (None, earliest):
        period = Window(since, earliest + dt.timedelta(days=3))
        windows = planned(period, 1, counter)
        check_that_they_cover(period, windows)
        assert any(window.is_over for window in windows)
    # A period that ends before any window could begin.
    [only] = planned(Window(None, earliest + SECOND), 1, counter)
    assert only.is_over


@pytest.mark.parametrize(
    ("offset", "place"),
    [
        (-2.1, Side.STRAY),
        (-2, Side.BEFORE),
        (-0.001, Side.BEFORE),
        (0, Side.INSIDE),
        (9.999, Side.INSIDE),
        (10, Side.AFTER),
        (12, Side.AFTER),
        (12.1, Side.STRAY),
    ],
)
def test_the_place_of_a_date(offset: float, place: Side) -> None:
    window = Window(BEGIN, BEGIN + 10 * SECOND, is_first=False, is_last=False)
    assert (window.asked_since, window.asked_until) == (BEGIN - SECOND, BEGIN + 11 * SECOND)
    assert window.place(BEGIN + dt.timedelta(seconds=offset)) is place
    whole = Window(BEGIN, BEGIN + 10 * SECOND)
    assert whole.place(BEGIN + dt.timedelta(seconds=offset)) is Side.INSIDE
    assert (whole.asked_since, whole.asked_until) == (whole.since, whole.until)
