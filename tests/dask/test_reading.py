"""One partition: which records belong to it, whatever the server does."""

import datetime as dt
import json
import math
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import httpx
from harness import BASIC
from hypothesis import given
from hypothesis import strategies as st

from thrive_learning import (
    Region,
    RetryPolicy,
    ThriveClient,
)
from thrive_learning._cluster.reading import plan_parts, read_part
from thrive_learning._filters import ActivityFilters

BEGIN = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)

#: Seconds after BEGIN at which records are dated; None for a record without a readable date.
Dates = list[float | None]


def date_of(at: float) -> str:
    return (BEGIN + dt.timedelta(seconds=at)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Server:
    """A server whose filter behaves in one of the ways that the API's documents allow.

    Args:
        dates: The dates of its records, whose IDs are their numbers.
        inclusive: Whether a time window includes its ends.
        step: The resolution of its filter, in seconds, to which times and dates are rounded down; 0 for none.
        totals: "right", "none", "too few", "random", or "the whole".
        undated: Whether records without a date are in every window, instead of in none.
        undated_at: By which dates it filters records without a readable one; None for `undated`.
    """

    def __init__(
        self,
        dates: Dates,
        *,
        inclusive: tuple[bool, bool] = (False, False),
        step: float = 0,
        totals: str = "right",
        undated: bool = False,
        undated_at: float | None = None,
        unknown_page: bool = False,
    ) -> None:
        self.dates = dates
        self.inclusive = inclusive
        self.step = step
        self.totals = totals
        self.undated = undated
        self.undated_at = undated_at
        self.requests: list[dict[str, str]] = []
        self.by: Callable[[int, float], float] = lambda _number, at: at
        self.unknown_page = unknown_page

    def _floor(self, at: float) -> float:
        return math.floor(at / self.step) * self.step if self.step else at

    def _matches(self, number: int, since: float, until: float) -> bool:
        date = self.dates[number]
        if date is None:
            if self.undated_at is None:
                return self.undated
            date = self.undated_at
        at = self._floor(self.by(number, date))
        after = at >= since if self.inclusive[0] else at > since
        return after and (at <= until if self.inclusive[1] else at < until)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        query = {name: values[0] for name, values in parse_qs(request.url.query.decode()).items()}
        self.requests.append(query)
        since, until = (
            self._floor((dt.datetime.fromisoformat(query[name] + "+00:00") - BEGIN) / SECOND)
            if name in query
            else otherwise
            for name, otherwise in (("timestampFrom", -math.inf), ("timestampTo", math.inf))
        )
        found = [number for number in reversed(range(len(self.dates))) if self._matches(number, since, until)]
        page, size = int(query["page"]), int(query["perPage"])
        results = [
            {
                "id": f"{number:024x}",
                "type": "viewed",
                "date": "yesterday" if self.dates[number] is None else date_of(self.dates[number] or 0),
            }
            for number in found[(page - 1) * size : page * size]
        ]
        total = {
            "right": len(found),
            "too few": len(found) // 3,
            "random": (len(self.requests) * 7919) % (2 * len(self.dates) + 1),
            "the whole": len(self.dates),
        }.get(self.totals)
        pagination: dict[str, Any] = {"page": page, "perPage": size}
        if total is not None:
            pagination["totalResults"] = total
        if self.totals == "right":
            pagination["totalPages"] = -(-len(found) // size)
        return httpx.Response(200, content=json.dumps({"pagination": pagination, "results": results}))


def reads(handler: Callable[[httpx.Request], httpx.Response]) -> ThriveClient:
    transport = httpx.MockTransport(handler)
    return ThriveClient(
        Region.PRODUCTION, BASIC, transport=transport, timeout=5, retry=RetryPolicy(attempts=1)
    )


def numbers(server: Server, filters: ActivityFilters, bound: int) -> tuple[list[int], list[int]]:
    """The numbers of the records of all parts, in the order of the numbers, and the sizes of the parts."""
    with reads(server) as client:
        parts = plan_parts(client, filters, bound)
        tables = [read_part(client, part) for part in parts]
    found = sorted(int(value, 16) for table in tables for value in table["id"].to_pylist())
    return found, [len(table) for table in tables]


def period(since: float | None, until: float) -> ActivityFilters:
    start = None if since is None else BEGIN + since * SECOND
    return ActivityFilters(since=start, until=BEGIN + until * SECOND)


def walked(server: Server, filters: ActivityFilters) -> list[int]:
    with reads(server) as client:
        return sorted(int(record.id, 16) for record in client.activities.iterate(**filters._asdict()))


dates = st.lists(
    st.integers(-5, 60).flatmap(lambda at: st.sampled_from([at, at + 0.001, at + 0.5, at + 0.999]))
    | st.integers(0, 100_000).map(float),
    max_size=80,
)


@given(
    dates,
    st.integers(1, 12),
    st.tuples(st.booleans(), st.booleans()),
    st.sampled_from([0, 1]),
    st.sampled_from(["right", "none", "too few", "random", "the whole"]),
    st.sampled_from([None, 0, 3]),
)
def test_each_record_is_in_one_part_whatever_the_server_does(
    found: Dates,
    bound: int,
    inclusive: tuple[bool, bool],
    step: float,
    totals: str,
    since: float | None,
) -> None:
    server = Server(found, inclusive=inclusive, step=step, totals=totals)
    filters = period(since, 50)
    expected = walked(server, filters)
    assert numbers(server, filters, bound)[0] == expected
