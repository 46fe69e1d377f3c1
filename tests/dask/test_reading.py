"""One partition: which records belong to it, whatever the server does."""

import datetime as dt
import importlib
import json
import math
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from harness import ACTIVITY_ID, BASIC, PAGE_EXAMPLE, Kept
from hypothesis import example, given
from hypothesis import strategies as st

from thrive_learning import (
    NotFoundError,
    Region,
    RetryPolicy,
    ThriveClient,
    UnauthorizedError,
    UnexpectedResponseError,
)
from thrive_learning._cluster.reading import Part, plan_parts, read_ids, read_part
from thrive_learning._cluster.windows import Window
from thrive_learning._filters import ActivityFilters

pytest.importorskip("pyarrow")

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
        phase: By how many seconds its steps begin before those of UTC, such as in another time zone.
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
        phase: float = 0,
        totals: str = "right",
        undated: bool = False,
        undated_at: float | None = None,
        unknown_page: bool = False,
    ) -> None:
        self.dates = dates
        self.inclusive = inclusive
        self.step = step
        self.phase = phase
        self.totals = totals
        self.undated = undated
        self.undated_at = undated_at
        self.requests: list[dict[str, str]] = []
        self.by: Callable[[int, float], float] = lambda _number, at: at
        self.unknown_page = unknown_page

    def _floor(self, at: float) -> float:
        return math.floor((at + self.phase) / self.step) * self.step if self.step else at

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


@given(
    dates,
    st.integers(1, 12),
    st.tuples(st.booleans(), st.booleans()),
    st.sampled_from([7, 60, 900, 3600, 7000, 86_400, 2_000_000]),
    st.sampled_from([0, 1800, 43_200]),
    st.sampled_from(["right", "none", "too few", "random", "the whole"]),
)
@example([float(at) for at in range(0, 80_000, 1000)], 5, (False, False), 3600, 1800, "random")
def test_a_server_that_compares_minutes_hours_or_days_loses_nothing(
    found: Dates, bound: int, inclusive: tuple[bool, bool], step: float, phase: float, totals: str
) -> None:
    server = Server(found, inclusive=inclusive, step=step, phase=phase, totals=totals)
    filters = period(-3600, 90_000)
    expected = walked(server, filters)
    try:
        result = numbers(server, filters, bound)[0]
    except UnexpectedResponseError:
        assert inclusive[0] != inclusive[1]
    else:
        assert result == expected


@given(
    st.lists(st.floats(0, 3000), max_size=60),
    st.integers(1, 12),
    st.tuples(st.booleans(), st.booleans()),
    st.sampled_from([-40_000, -500, -4, 30, 500, 40_000]),
    st.sampled_from(["right", "none", "too few"]),
)
def test_a_server_whose_times_are_all_shifted_loses_nothing(
    found: list[float], bound: int, inclusive: tuple[bool, bool], shift: float, totals: str
) -> None:
    server = Server([*found], inclusive=inclusive, totals=totals)
    server.by = lambda _number, at: at + shift  # such as the time in another time zone
    filters = period(-100_000, 100_000)
    assert numbers(server, filters, bound)[0] == walked(server, filters) == [*range(len(found))]


@pytest.mark.parametrize("totals", ["right", "none", "random"])
def test_records_without_dates_are_in_one_part(totals: str) -> None:
    server = Server([None] * 30, undated=True, totals=totals)
    found, sizes = numbers(server, period(0, 90_000), 5)
    assert found == [*range(30)]
    assert [size for size in sizes if size] == [30]
    assert totals == "random" or len(sizes) == 1


class Drifted(Server):
    """A server whose last records, which are on the first page, have dates that cannot be read.

    Args:
        dates: The dates, by which it filters.
        unreadable: How many of them cannot be read.
        most_per_page: The largest page that it returns.
        options: See `Server`.
    """

    def __init__(self, dates: Dates, unreadable: int, most_per_page: int = 1000, **options: Any) -> None:
        super().__init__(dates, **options)
        self.unreadable = unreadable
        self.most_per_page = most_per_page

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if int(request.url.params["perPage"]) > self.most_per_page:
            return httpx.Response(413, json={"error": "Too Large", "message": "page", "status": 413})
        document = json.loads(super().__call__(request).content)
        for record in document["results"]:
            if int(record["id"], 16) >= len(self.dates) - self.unreadable:
                record["date"] = "yesterday"
        return httpx.Response(200, content=json.dumps(document))


@pytest.mark.parametrize(
    ("unreadable", "step", "totals", "is_split"),
    [
        pytest.param(1, 0, "right", True, id="one"),
        pytest.param(10, 0, "right", True, id="page"),
        pytest.param(10, 0, "none", True, id="page-uncounted"),
        pytest.param(35, 0, "none", False, id="bound-uncounted"),
        pytest.param(10, 86_400, "right", False, id="page-days"),
        pytest.param(10, 86_400, "too few", False, id="page-days-too-few"),
    ],
)
def test_planning_requests_pages_of_the_callers_size_and_needs_no_dates_on_the_first(
    unreadable: int, step: float, totals: str, *, is_split: bool
) -> None:
    server = Drifted([at * 1000.0 for at in range(100)], unreadable, 10, step=step, totals=totals)
    filters = period(-90_000, 190_000)
    with reads(server) as client:
        parts = plan_parts(client, filters, 30, per_page=10)
        tables = [read_part(client, part, per_page=10) for part in parts]
    found = sorted(int(value, 16) for table in tables for value in table["id"].to_pylist())
    assert found == [*range(100)]
    assert (len(parts) > 2) is is_split


def test_the_only_known_date_is_tried_with_every_overlap() -> None:
    class Deleting(Server):
        def __call__(self, request: httpx.Request) -> httpx.Response:
            answer = super().__call__(request)
            if request.url.params["perPage"] == "7" and len(self.requests) == 3:  # of the whole period
                return httpx.Response(200, json={"pagination": {}, "results": []})
            return answer

    server = Deleting([3600.0 * at + 1 for at in range(90)], step=3600)
    with reads(server) as client:
        parts = plan_parts(client, period(-3600, 400_000), 30, per_page=7)
    assert {part.window.overlap for part in parts} == {dt.timedelta(hours=2)}
    assert len(parts) > 2


def test_one_odd_record_does_not_keep_a_period_whole() -> None:
    server = Server([float(at) for at in range(100)])
    server.by = lambda number, at: at + 200_000 * (number == 99)  # the first one of a page
    found, sizes = numbers(server, period(-1, 300_000)._replace(since=None), 30)
    assert found == [*range(100)]
    assert len(sizes) > 2


@given(
    dates,
    st.integers(1, 5),
    st.tuples(st.booleans(), st.booleans()),
    st.sampled_from(["always", "never"]) | st.integers(0, 49),
)
def test_a_record_without_a_readable_date_is_in_one_part(
    found: Dates, bound: int, inclusive: tuple[bool, bool], undated: str | int
) -> None:
    server = Server(
        [*found, None, None],
        inclusive=inclusive,
        undated=undated == "always",
        undated_at=undated if isinstance(undated, int) else None,
    )
    filters = period(0, 50)
    assert numbers(server, filters, bound)[0] == walked(server, filters)


def test_parts_are_read_with_few_more_requests_than_one_walk() -> None:
    server = Server([at * 0.9 for at in range(5000)])
    filters = period(0, 4500)
    found, sizes = numbers(server, filters, 1000)
    assert found == list(range(1, 5000))  # this server excludes the beginning
    assert max(sizes) <= 1000
    assert len(sizes) == 6
    assert len(server.requests) <= 12 + 3 * len(sizes)


def test_a_server_that_filters_by_another_time_is_found_out() -> None:
    server = Server([float(at) for at in range(3000)])
    server.by = lambda number, at: at + 500 * (number % 2)  # such as the time at which it got the record
    with pytest.raises(UnexpectedResponseError, match=r"the server returned the record 0{20,}") as caught:
        numbers(server, period(0, 10_000), 1000)
    assert "for the period from 2025-01-01" in str(caught.value).lower()
    assert "Pass a larger rows_per_partition=" in str(caught.value)


@given(
    st.lists(st.floats(1, 3000), max_size=60),
    st.integers(1, 12),
    st.sampled_from([0.5, 1.5, 2, 3, 5]),
)
def test_a_server_that_filters_by_a_slightly_later_time_loses_nothing_silently(
    found: list[float], bound: int, lag: float
) -> None:
    server = Server([*found])
    server.by = lambda _number, at: at + lag
    try:
        result = numbers(server, period(0, 4000), bound)[0]
    except UnexpectedResponseError as error:
        assert "Its filter seems to use another time or coarser steps" in str(error)  # noqa: PT017
    else:
        assert result == [*range(len(found))]


def test_a_record_between_two_windows_is_not_lost_silently() -> None:
    server = Server([9.5])
    server.by = lambda _number, at: at + 2
    with reads(server) as client:
        window = Window(BEGIN + 10 * SECOND, BEGIN + 20 * SECOND, is_first=False)
        with pytest.raises(UnexpectedResponseError, match=r"whose date is 2025-01-01T00:00:09\.5"):
            read_part(client, Part(ActivityFilters(), window))


@given(
    st.sampled_from([1, 7, 40]),
    st.lists(st.tuples(st.integers(0, 59), st.floats(-9, 9)), max_size=3),
    st.tuples(st.booleans(), st.booleans()),
    st.sampled_from([0, 1, 5]),
)
def test_single_records_that_a_server_finds_at_another_time_are_not_lost_silently(
    per_second: int, lags: list[tuple[int, float]], inclusive: tuple[bool, bool], step: float
) -> None:
    server = Server([at / per_second for at in range(60)], inclusive=inclusive, step=step)
    server.by = lambda number, at: at + dict(lags).get(number, 0)
    filters = period(-10, 70)
    try:
        result = numbers(server, filters, 3 * per_second)[0]
    except UnexpectedResponseError as error:
        assert "Its filter seems to use another time or coarser steps" in str(error)  # noqa: PT017
    else:
        assert result == walked(server, filters)


@pytest.mark.parametrize("lag", [2.5, -2.5], ids=["later", "earlier"])
def test_a_record_near_a_boundary_with_many_others_is_not_lost_silently(lag: float) -> None:
    server = Server([at / 40 for at in range(800)])
    odd = 390 if lag > 0 else 410  # within a second of the boundary
    server.by = lambda number, at: at + lag * (number == odd)
    middle = BEGIN + 10 * SECOND
    first = Part(ActivityFilters(), Window(BEGIN - SECOND, middle, is_last=False))
    second = Part(ActivityFilters(), Window(middle, middle + 10 * SECOND, is_first=False))
    finds, other = (second, first) if lag > 0 else (first, second)
    with reads(server) as client:
        assert len(read_part(client, other)) == 399  # the odd record is missing
        with pytest.raises(UnexpectedResponseError, match=f"{odd:x}, whose date is"):
            read_part(client, finds)


@pytest.mark.parametrize(("every_s", "requests"), [(0.001, 15), (0.1, 3), (7, 1)], ids=str)
def test_a_window_has_one_more_request_for_each_end_with_records_near_it(
    every_s: float, requests: int
) -> None:
    server = Server([at * every_s for at in range(int(40 / every_s))])
    with reads(server) as client:
        window = Window(BEGIN + 10 * SECOND, BEGIN + 20 * SECOND, is_first=False, is_last=False)
        read_part(client, Part(ActivityFilters(), window))
    assert len(server.requests) == requests


def test_a_date_at_the_end_of_the_calendar_is_not_asked_for() -> None:
    class Strange(Server):
        def __call__(self, request: httpx.Request) -> httpx.Response:
            document = json.loads(super().__call__(request).content)
            for record in document["results"]:
                record["date"] = "0001-01-01T00:00:00+10:00"
            return httpx.Response(200, content=json.dumps(document))

    with reads(Strange([1.0, 2.0])) as client:
        [whole] = plan_parts(client, period(None, 10), 1)
        assert whole.window.is_over
        part = Part(ActivityFilters(), Window(BEGIN, BEGIN + 9 * SECOND, is_first=False))
        with pytest.raises(UnexpectedResponseError, match=r"0001-01-01T00:00:00\+10:00"):
            read_part(client, part)


def test_a_server_that_repeats_its_last_page_has_no_page_after_it() -> None:
    class Repeating(Server):
        def __call__(self, request: httpx.Request) -> httpx.Response:
            query = parse_qs(request.url.query.decode())
            if query["perPage"] == ["1"] and query["page"] != ["1"]:
                request = httpx.Request("GET", request.url.copy_set_param("page", "1"))
            return super().__call__(request)

    server = Repeating([1.0, 2.0, 3.0], totals="none")
    found, sizes = numbers(server, period(None, 10), 2)
    assert (found, sizes) == ([0, 1, 2], [3])


def test_large_seconds_and_strange_items_are_logged(kept: Kept) -> None:
    class Strange(Server):
        def __call__(self, request: httpx.Request) -> httpx.Response:
            document = json.loads(super().__call__(request).content)
            if "perPage=1000" in str(request.url):
                document["results"].append({"type": "viewed"})
            return httpx.Response(200, content=json.dumps(document))

    server = Strange([1.5] * 5)
    with reads(server) as client:
        [*others, part] = plan_parts(client, period(1, 2), 2)
        assert others == []
        assert len(read_part(client, part)) == 5
    messages = [record.getMessage() for record in kept.records if record.name == "thrive_learning.cluster"]
    second = "the period from 2025-01-01 00:00:01 to 2025-01-01 00:00:02 UTC"
    assert messages == [
        f"{second} has 5 records, more than rows_per_partition=2, and cannot be split further",
        f"{second}: left out 1 items without an ID, which are not records",
    ]
    kept.records.clear()
    with reads(Server([1.5] * 5, totals="none")) as client:
        plan_parts(client, ActivityFilters(until=dt.datetime(1, 1, 1, tzinfo=dt.UTC)), 2)
        plan_parts(client, period(1, 2), 2)
    [message] = [record.getMessage() for record in kept.records if record.name == "thrive_learning.cluster"]
    assert "has an unknown number of records" in message


def about(*content_ids: str) -> httpx.Response:
    results = [
        {"id": f"{number:024x}", "type": "viewed", "date": date_of(1), "contextId": content_id}
        for number, content_id in enumerate(content_ids)
    ]
    return httpx.Response(200, json={"pagination": {"totalResults": len(results)}, "results": results})


def test_more_than_100_content_ids_have_parts_of_their_own() -> None:
    ids = tuple(f"{number:024x}" for number in range(150))
    filters = period(0, 9)._replace(content_ids=ids)
    with reads(lambda request: about(request.url.params["contentIds"].split(",")[0].upper())) as client:
        parts = plan_parts(client, filters, 10)
    assert [len(part.filters.content_ids) for part in parts] == [100, 50]


def test_a_server_that_ignores_content_ids_does_not_repeat_records() -> None:
    ids = tuple(f"{number:024x}" for number in range(150))
    filters = period(0, 9)._replace(content_ids=ids)
    with reads(lambda _request: about(ids[0])) as client:
        assert len(plan_parts(client, filters._replace(content_ids=ids[1:2]), 10)) == 1
        with pytest.raises(
            UnexpectedResponseError, match=f"contextId is '{ids[0]}', which is not among the 50 requested"
        ):
            plan_parts(client, filters, 10)


def by_id(request: httpx.Request) -> httpx.Response:
    identifier = request.url.path.rpartition("/")[2]
    if identifier.startswith("4"):
        error = {"error": "Not Found", "message": "no such record", "status": 404}
        return httpx.Response(404, content=json.dumps(error))
    if identifier.startswith("5"):
        return httpx.Response(
            401, content=json.dumps({"error": "Unauthorized", "message": "no", "status": 401})
        )
    return httpx.Response(200, content=json.dumps(PAGE_EXAMPLE | {"id": identifier}))


def test_ids_have_one_row_each_in_their_order() -> None:
    ids = [f"{number:024x}" for number in range(20)] * 2
    with reads(by_id) as client:
        table = read_ids(client, ids)
        assert table["id"].to_pylist() == ids
        assert "error" not in table.column_names
        assert len(read_ids(client, [])) == 0
        kept = read_ids(client, [ACTIVITY_ID, "4" * 24, "nonsense"], keep_errors=True)
    assert kept["id"].to_pylist() == [ACTIVITY_ID, "4" * 24, "nonsense"]
    assert kept["error_type"].to_pylist() == [None, "NotFoundError", "InvalidIdError"]
    assert kept["type"].to_pylist() == ["viewed", None, None]
    assert "nonsense" in kept["error"].to_pylist()[2]


def test_an_error_that_affects_every_id_is_raised() -> None:
    for keep_errors in (False, True):
        with reads(by_id) as client, pytest.raises(UnauthorizedError):
            read_ids(client, [ACTIVITY_ID, "5" * 24], keep_errors=keep_errors)


def test_the_first_error_is_raised_by_default() -> None:
    with reads(by_id) as client, pytest.raises(NotFoundError, match="4" * 24):
        read_ids(client, [ACTIVITY_ID, "4" * 24, "nonsense"])


def test_tables_of_many_rows_are_built_in_batches() -> None:
    pa: Any = importlib.import_module("pyarrow")
    from thrive_learning._tables.arrow import TableBuilder  # noqa: PLC0415

    builder = TableBuilder()
    for number in range(2500):
        builder.add(json.dumps({"id": str(number)}))
    builder.add(json.dumps({"id": "large", "name": "x" * 2**20}))
    table = builder.table()
    assert isinstance(table, pa.Table)
    assert [len(batch) for batch in table.to_batches()] == [1024, 1024, 453]
    assert table["id"].to_pylist() == [*map(str, range(2500)), "large"]
