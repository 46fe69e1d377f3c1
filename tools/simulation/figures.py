"""The outcome of a simulation, as numbers and as problems. Pure."""

import itertools
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

#: The time over which a rate is measured, in seconds.
PERIOD_S = 10.0

#: The lowest and the highest rate, as shares of the limit, and the same if the shared store fails.
RATES, RATES_OF_AN_OUTAGE = (0.9, 1.05), (0.7, 1.3)

#: The highest share of rejected requests, if the server does not say what its limit is.
MOST_REJECTED = 0.2


class Arrival(NamedTuple):
    """A request that arrived at the server.

    Attributes:
        at: When, in seconds since the start.
        kind: "page", "count", or "token".
        status: The status of the response.
    """

    at: float
    kind: str
    status: int


class Outcome(NamedTuple):
    """The outcome of a simulation.

    Attributes:
        arrivals: All requests, in the order of arrival.
        limit: The limit of the server, in requests per second.
        results: The IDs of the records of each window.
        windows: The number of windows.
        expected: The IDs of all records in the period.
        given: How often a window was given to a worker.
        lost: The number of workers that were lost.
        busy: The time in which there were more windows than workers, in seconds since the start.
        token_lifetime_s: The lifetime of a token in seconds.
        is_known: Whether the workers know the limit, from their settings or from the server.
        allowed: The lowest and the highest rate, as shares of the limit, if they know it.
    """

    arrivals: Sequence[Arrival]
    limit: float
    results: Mapping[Any, Sequence[str]]
    windows: int
    expected: frozenset[str]
    given: int
    lost: int
    busy: tuple[float, float]
    token_lifetime_s: float
    is_known: bool
    allowed: tuple[float, float]

    @property
    def requests(self) -> list[float]:
        """The times of all requests to the API, including rejected ones."""
        return [arrival.at for arrival in self.arrivals if arrival.kind != "token"]

    @property
    def tokens(self) -> list[float]:
        """The times of all token requests."""
        return [arrival.at for arrival in self.arrivals if arrival.kind == "token"]

    @property
    def rejected(self) -> int:
        """The number of requests that the server rejected with 429."""
        return sum(arrival.status == 429 for arrival in self.arrivals)

    @property
    def highest_share(self) -> float:
        """The highest rate over any period, as a share of the limit."""
        return most_in_a_period(self.requests) / (self.limit * PERIOD_S)

    @property
    def lowest_share(self) -> float:
        """The lowest rate over any period in which there is work, as a share of the limit."""
        return fewest_in_a_period(self.requests, self.busy) / (self.limit * PERIOD_S)


def most_in_a_period(times: Sequence[float]) -> int:
    """Return the highest number of times in a period, wherever it begins.

    Args:
        times: The times in ascending order.
    """
    # A period with the most begins with one of them.
    counts = [bisect_left(times, begin + PERIOD_S) - first for first, begin in enumerate(times)]
    return max(counts, default=0)


def fewest_in_a_period(times: Sequence[float], within: tuple[float, float]) -> int:
    """Return the lowest number of times in a period, wherever it begins.

    Args:
        times: The times in ascending order.
        within: The earliest beginning and the latest end of the period.
    """
    earliest, latest = within
    begins = [earliest, *(time for time in times if time > earliest)]  # or right after one of them
    counts = [
        bisect_left(times, begin + PERIOD_S) - bisect_right(times, begin)
        for begin in begins
        if begin + PERIOD_S <= latest
    ]
    return min(counts, default=0)


def problems(outcome: Outcome) -> Iterator[str]:
    """Yield what is wrong with an outcome."""
    unread = outcome.windows - len(outcome.results)
    if unread:
        yield f"{unread} windows were lost"
    counts = Counter(record for records in outcome.results.values() for record in records)
    if missing := outcome.expected - counts.keys():
        yield f"{len(missing)} records are missing"
    if extra := counts.keys() - outcome.expected:
        yield f"{len(extra)} records do not belong to the period"
    if repeated := sum(count > 1 for count in counts.values()):
        yield f"{repeated} records are there more than once"
    yield from _problems_of_rate(outcome)
    # A token is renewed in the second half of its life. The time until its request arrives varies.
    tokens, soonest_s = outcome.tokens, 0.45 * outcome.token_lifetime_s
    if any(later - earlier < soonest_s for earlier, later in itertools.pairwise(tokens)):
        yield f"{len(tokens)} tokens were requested, some of them long before the previous one expired"
    if rejected := sum(arrival.status == 401 for arrival in outcome.arrivals):
        yield f"{rejected} requests had an expired token"


def _problems_of_rate(outcome: Outcome) -> Iterator[str]:
    if not outcome.is_known:
        if outcome.rejected > MOST_REJECTED * len(outcome.requests):
            yield f"{outcome.rejected} requests were rejected, which is more than {MOST_REJECTED:.0%}"
        return
    least, most = outcome.allowed
    if outcome.highest_share > most:
        yield f"the rate was {outcome.highest_share:.3f} of the limit, which is more than {most}"
    if outcome.lowest_share < least:
        yield f"the rate was {outcome.lowest_share:.3f} of the limit, which is less than {least}"


def described(outcome: Outcome) -> Iterator[tuple[str, str]]:
    """Yield the figures of an outcome, each with its name."""
    requests = outcome.requests
    lost = f", {outcome.lost} workers lost" if outcome.lost else ""
    again = outcome.given - outcome.windows
    yield "windows", f"{len(outcome.results)} of {outcome.windows}, {again} of them given twice{lost}"
    records = sum(map(len, outcome.results.values()))
    yield "records", f"{records} of {len(outcome.expected)}"
    yield "requests", f"{len(requests)} in {requests[-1]:.0f} s, {outcome.rejected} of them rejected with 429"
    rates = f"{outcome.lowest_share:.3f} to {outcome.highest_share:.3f}"
    yield f"over any {PERIOD_S:.0f} s", f"{rates} of {outcome.limit:g} requests per second"
    yield "token requests", str(len(outcome.tokens))
