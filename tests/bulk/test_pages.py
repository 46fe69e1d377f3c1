import asyncio
import datetime as dt
import gc
import itertools
import json
import logging
import os
import re
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import parse_qs, parse_qsl

import anyio
import httpx
import pytest
from faults import chaos
from faults.chaos import Chaos, Trouble
from faults.watch import nothing_left
from harness import BASIC, OAUTH, Flavour, Kept, token_response
from patience import PATIENCE_S, growing_limits, wait_until
from workers import tasks, until_it_is, workers

from thrive_learning import (
    Activity,
    ActivityStream,
    ApiError,
    AsyncActivityStream,
    AsyncThriveClient,
    Attempt,
    BasicCredentials,
    ClientClosedError,
    ConfigurationError,
    DeadlineExceededError,
    Drift,
    RateLimitedError,
    Region,
    RetryPolicy,
    ServerError,
    ThriveClient,
    ThriveError,
    UnauthorizedError,
    UnexpectedResponseError,
)
from thrive_learning.testing import ThriveSandbox

QUICK = RetryPolicy(first_delay=0.01, max_delay=0.02)


class Pages:
    """A transport that serves numbered records in pages, and counts the requests.

    Args:
        count: How many records there are.
        pagination: What it says of all pages; the truth, if it is left out.
        troubles: What it answers instead, by the number of the request, counted from 1.
    """

    def __init__(
        self, count: int, pagination: Any = ..., troubles: dict[int, httpx.Response] | None = None
    ) -> None:
        self.count = count
        self.requests: list[dict[str, str]] = []
        self.tokens = 0
        self._pagination = pagination
        self._troubles = troubles or {}

    @property
    def numbers(self) -> list[int]:
        return [int(query["page"]) for query in self.requests]

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            self.tokens += 1
            return token_response()
        query = dict(parse_qsl(request.url.query.decode()))
        self.requests.append(query)
        page, per_page = int(query["page"]), int(query["perPage"])
        trouble = self._troubles.get(len(self.requests))
        if trouble is not None:
            return trouble
        last = min(page * per_page, self.count)
        results = [{"id": str(number)} for number in range((page - 1) * per_page, last)]
        pagination = {
            "totalResults": self.count,
            "totalPages": -(-self.count // per_page),
            "page": page,
            "perPage": per_page,
        }
        said = pagination if self._pagination is ... else self._pagination
        return httpx.Response(200, json={"results": results, "pagination": said})


def identifiers(records: Any) -> list[int]:
    return [int(record.id) for record in records]


def failing(status: int, **headers: str) -> httpx.Response:
    body = {"status": status, "message": "m"}
    return httpx.Response(status, json=body, headers={k.replace("_", "-"): v for k, v in headers.items()})


# Results


def test_five_thousand_records_take_five_requests_and_one_token(flavour: Flavour) -> None:
    server = Pages(5000)
    with nothing_left(flavour), flavour.answering(server, OAUTH) as client:
        assert identifiers(client.activities.iterate()) == [*range(5000)]
    assert server.numbers == [1, 2, 3, 4, 5]
    assert server.tokens == 1
    assert {query["perPage"] for query in server.requests} == {"1000"}


@pytest.mark.parametrize("count", [0, 9, 10, 11])
@pytest.mark.parametrize(
    "pagination",
    [..., None, {}, {"totalPages": "2"}, {"totalPages": None}, {"totalPages": 0}, [], 7, {"totalPages": 99}],
)
def test_every_record_comes_whatever_the_server_says_of_its_pages(
    flavour: Flavour, count: int, pagination: Any
) -> None:
    server = Pages(count, pagination)
    with flavour.answering(server) as client:
        assert identifiers(client.activities.iterate(per_page=10)) == [*range(count)]
    assert server.numbers[: count // 10 + 1] == [*range(1, count // 10 + 2)][: len(server.numbers)]
    assert len(server.numbers) <= count // 10 + (1 if pagination == {"totalPages": 99} else 0) + 3


def test_a_page_without_what_the_server_says_of_all_pages_is_read(flavour: Flavour) -> None:
    page = httpx.Response(200, json={"results": [{"id": "1"}]})
    empty = httpx.Response(200, json={"results": []})
    with flavour.answering(Pages(0, troubles={1: page, 2: empty})) as client:
        stream = client.activities.iterate()
        assert identifiers(stream) == [1]
        assert stream.pagination.total_pages is None


def test_a_walk_begins_where_it_is_asked_to(flavour: Flavour) -> None:
    server = Pages(45)
    with flavour.answering(server) as client:
        stream = client.activities.iterate(page=3, per_page=10)
        assert stream.page == 0
        assert stream.pagination is None
        assert identifiers(stream) == [*range(20, 45)]
        assert stream.page == 5
        assert getattr(stream.pagination, "total_results", None) == 45
    assert server.numbers == [3, 4, 5]


def test_all_pages_have_the_same_window(flavour: Flavour) -> None:
    server = Pages(30)
    since = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    before = dt.datetime.now(dt.UTC)
    with flavour.answering(server) as client:
        stream = client.activities.iterate(per_page=10, since=since, types=(t for t in ["viewed", "liked"]))
        assert before <= stream.until <= dt.datetime.now(dt.UTC) + dt.timedelta(seconds=1)
        assert len(list(stream)) == 30
        fixed = client.activities.iterate(until=stream.until, since=since)
        assert fixed.until == stream.until
    rest = [{name: value for name, value in query.items() if name != "page"} for query in server.requests]
    assert (
        rest
        == [
            {
                "perPage": "10",
                "actions": "viewed,liked",
                "timestampFrom": "2026-01-01 00:00:00",
                "timestampTo": f"{stream.until:%Y-%m-%d %H:%M:%S}",
            }
        ]
        * 3
    )


def test_the_page_is_the_one_that_the_last_record_came_from(flavour: Flavour) -> None:
    with flavour.answering(Pages(5)) as client:
        stream = client.activities.iterate(per_page=2)
        assert [stream.page for _record in stream] == [1, 1, 2, 2, 3]


def test_many_content_ids_take_several_walks(flavour: Flavour) -> None:
    server = Pages(15)
    content_ids = [f"{number:024x}" for number in range(250)]
    with nothing_left(flavour), flavour.answering(server) as client:
        stream = client.activities.iterate(per_page=10, content_ids=iter(content_ids))
        # The server ignores the IDs, so the walks after the first one have nothing new.
        assert identifiers(stream) == [*range(15)]
    assert server.numbers == [1, 2] * 3
    sent = [query["contentIds"].split(",") for query in server.requests]
    assert sent[0] + sent[2] + sent[4] == content_ids
    assert sent[0::2] == sent[1::2]
    assert len({query["timestampTo"] for query in server.requests}) == 1


def test_each_part_of_many_content_ids_ends_with_its_empty_page(flavour: Flavour) -> None:
    server = Pages(15, {"totalPages": 99})
    content_ids = [f"{number:024x}" for number in range(101)]
    with nothing_left(flavour), flavour.answering(server) as client:
        assert identifiers(client.activities.iterate(per_page=10, content_ids=content_ids)) == [*range(15)]
    numbers: dict[str, list[int]] = {}
    for query in server.requests:
        numbers.setdefault(query["contentIds"], []).append(int(query["page"]))
    assert len(numbers) == 2
    for asked in numbers.values():
        assert asked[:3] == [1, 2, 3]
        assert asked == [*range(1, len(asked) + 1)]
        assert len(asked) <= 5  # a page or two may have been requested ahead


def test_an_end_before_the_last_page_leaves_nothing_behind(flavour: Flavour) -> None:
    server = Pages(15, {"totalPages": 99})

    def slow_at_last(request: httpx.Request) -> httpx.Response:
        if len(server.requests) >= 3:
            time.sleep(0.2)
        return server(request)

    with nothing_left(flavour), flavour.answering(slow_at_last) as client:
        stream = client.activities.iterate(per_page=10)
        with nothing_left(flavour):
            assert identifiers(stream) == [*range(15)]
            assert workers() == 0  # the stream is still there, and has waited for them
        assert list(stream) == []
        sent = len(server.requests)
        time.sleep(0.01)
        assert len(server.requests) == sent


def test_two_streams_at_once(flavour: Flavour) -> None:
    server = Pages(40)
    with nothing_left(flavour), flavour.answering(server) as client:
        streams = [client.activities.iterate(per_page=10) for _ in range(2)]
        pairs = [identifiers(pair) for pair in zip(*streams, strict=True)]
    assert pairs == [[number, number] for number in range(40)]
    assert len(server.requests) == 8


def test_records_that_arrive_meanwhile_lose_none(flavour: Flavour) -> None:
    sandbox = ThriveSandbox()
    sandbox.generate(300)
    with flavour.open(sandbox.region, sandbox.credentials, transport=sandbox.transport) as client:
        original = [record.id for record in client.activities.iterate()]
        found: list[str] = []
        for record in client.activities.iterate(per_page=20):
            found.append(record.id)
            if len(found) % 17 == 0:
                sandbox.arrive(1, late=2)
    assert len({*found}) == len(found)
    assert {*original} <= {*found}


# How far ahead


def test_pages_are_requested_a_little_ahead_and_never_beyond_the_last(flavour: Flavour) -> None:
    server = Pages(100)
    with flavour.answering(server) as client:
        stream = client.activities.iterate(per_page=10)
        assert server.requests == []
        for _record in stream:
            time.sleep(0.001)
            assert server.numbers == [*range(1, len(server.numbers) + 1)]
            assert stream.page <= len(server.numbers) <= stream.page + 2
        assert server.numbers == [*range(1, 11)]


def test_the_next_page_is_requested_while_the_caller_is_busy(flavour: Flavour) -> None:
    server = Pages(100)
    with flavour.answering(server) as client:
        stream = client.activities.iterate(per_page=10)
        taken = [*itertools.islice(stream, 11)]
        wait_until(lambda: len(server.requests) >= 3)
        assert len(taken) == 11


def test_a_page_is_requested_after_the_response_to_the_one_before(flavour: Flavour) -> None:
    server, busy, most = Pages(60), [0], [0]

    def slow(request: httpx.Request) -> httpx.Response:
        busy[0] += 1
        most[0] = max(most[0], busy[0])
        time.sleep(0.002)
        busy[0] -= 1
        return server(request)

    with flavour.answering(slow) as client:
        assert len(list(client.activities.iterate(per_page=5))) == 60
    assert most == [1]


# Failures


@pytest.mark.parametrize(
    "trouble",
    [failing(429, retry_after="0.05"), failing(429), failing(503), failing(500), httpx.Response(503)],
    ids=["429 with Retry-After", "429", "503", "500", "a proxy's 503"],
)
@pytest.mark.parametrize("request_number", [1, 3])
def test_a_transient_failure_pauses_the_walk(
    flavour: Flavour, kept: Kept, trouble: httpx.Response, request_number: int
) -> None:
    seen: list[Attempt] = []
    server = Pages(35, troubles={request_number: trouble, request_number + 1: trouble})
    with nothing_left(flavour), flavour.answering(server, retry=QUICK, on_attempt=seen.append) as client:
        assert identifiers(client.activities.iterate(per_page=10)) == [*range(35)]
    again = min(request_number, 4)
    assert server.numbers == sorted([1, 2, 3, 4, again, again])
    assert [attempt.error is not None for attempt in seen].count(True) == 2
    pauses = [record for record in kept.records if "pausing all requests" in record.getMessage()]
    assert {record.levelname for record in pauses} == {"WARNING"}


def test_as_long_as_the_server_asks(flavour: Flavour) -> None:
    asked: list[float] = []
    server = Pages(20, troubles={2: failing(429, retry_after="0.3")})

    def timed(request: httpx.Request) -> httpx.Response:
        asked.append(time.monotonic())
        return server(request)

    with flavour.answering(timed, retry=QUICK) as client:
        assert len(list(client.activities.iterate(per_page=10))) == 20
    assert asked[2] - asked[1] >= 0.3


@pytest.mark.parametrize(
    ("trouble", "kind"),
    [
        (failing(400), ApiError),
        (failing(403), ApiError),
        (failing(404), ApiError),
        (failing(422), ApiError),
        (httpx.Response(200, html="<p>Maintenance</p>"), UnexpectedResponseError),
        (httpx.Response(200, json={"pagination": {}}), UnexpectedResponseError),
        (httpx.Response(200, json={"results": {}}), UnexpectedResponseError),
        (httpx.Response(200, json={"results": None}), UnexpectedResponseError),
        (httpx.Response(200, json=[]), UnexpectedResponseError),
        (httpx.Response(200, content=b'{"results": [{"id": "1"}'), UnexpectedResponseError),
        (httpx.Response(204), UnexpectedResponseError),
    ],
    ids=str,
)
def test_a_page_that_fails_permanently_is_raised_after_earlier_records(
    flavour: Flavour, trouble: httpx.Response, kind: type[ThriveError]
) -> None:
    records: list[Activity] = []
    server = Pages(40, troubles={3: trouble})
    with nothing_left(flavour), flavour.answering(server, retry=QUICK) as client:
        stream = client.activities.iterate(per_page=10)
        with pytest.raises(kind) as caught:
            records.extend(stream)
        assert list(stream) == []
        assert stream.page == 2
    assert identifiers(records) == [*range(20)]
    assert caught.value.operation == "activities.list"
    assert caught.value.__cause__ is caught.value.__context__ is None
    assert {*server.numbers} == {1, 2, 3}


@pytest.mark.parametrize("status", [429, 503])
def test_with_one_attempt_nothing_is_tried_again(flavour: Flavour, status: int) -> None:
    server = Pages(40, troubles={2: failing(status)})
    with nothing_left(flavour), flavour.answering(server) as client:
        stream = client.activities.iterate(per_page=10)
        assert identifiers(itertools.islice(stream, 10)) == [*range(10)]
        with pytest.raises(RateLimitedError if status == 429 else ServerError):
            next(stream)
    assert server.numbers == [1, 2]


def test_a_page_that_fails_again_and_again_is_given_up_at_its_time_limit(flavour: Flavour) -> None:
    for limit_s in growing_limits(0.8):
        server = Pages(40, troubles=dict.fromkeys(range(2, 100_000), failing(503)))
        with nothing_left(flavour), flavour.answering(server, retry=QUICK) as client:
            records: list[Activity] = []
            with pytest.raises((ServerError, DeadlineExceededError)) as caught:  # it may end an attempt
                records.extend(client.activities.iterate(per_page=10, timeout=limit_s))
        if len(server.numbers) > 2:
            break
    else:
        pytest.fail("no limit was long enough")
    assert len(records) == 10
    assert caught.value.attempts > 1
    assert {*server.numbers} == {1, 2}


def test_a_pause_that_outlasts_the_time_limit_is_not_waited_for(flavour: Flavour) -> None:
    server = Pages(40, troubles={1: failing(429, retry_after="3000")})
    with flavour.answering(server, retry=QUICK) as client, pytest.raises(RateLimitedError) as caught:
        list(client.activities.iterate())
    assert caught.value.retry_after == 3000
    assert server.numbers == [1]


def test_a_401_is_replayed_once_with_a_new_token(flavour: Flavour) -> None:
    server = Pages(30, troubles={2: failing(401)})
    with flavour.answering(server, OAUTH) as client:
        assert identifiers(client.activities.iterate(per_page=10)) == [*range(30)]
    assert server.numbers == [1, 2, 2, 3]
    assert server.tokens == 2


def test_credentials_that_are_rejected_end_the_walk(flavour: Flavour) -> None:
    server = Pages(30, troubles=dict.fromkeys(range(2, 9), failing(401)))
    records: list[Activity] = []
    with nothing_left(flavour), flavour.answering(server, retry=QUICK) as client:
        stream = client.activities.iterate(per_page=10)
        with pytest.raises(UnauthorizedError):
            records.extend(stream)
        assert list(stream) == []
    assert len(records) == 10
    assert server.numbers == [1, 2]


def test_a_list_without_an_end_is_given_up(flavour: Flavour) -> None:
    def same(request: httpx.Request) -> httpx.Response:
        numbers.append(parse_qs(request.url.query.decode())["page"][0])
        return httpx.Response(200, json={"results": [{"id": "1"}], "pagination": {"totalPages": 10**9}})

    numbers: list[str] = []
    records: list[Activity] = []
    with nothing_left(flavour), flavour.answering(same) as client:
        stream = client.activities.iterate()
        with pytest.raises(UnexpectedResponseError, match="pages 2 to 11 have no record"):
            records.extend(stream)
        assert list(stream) == []
    assert identifiers(records) == [1]
    assert len(numbers) <= 13


# Records that are not well

BAD: list[Any] = [
    {},
    {"id": None},
    {"id": 7},
    {"id": ["x"]},
    None,
    "text",
    7,
    True,
    [],
    [[{"id": "1"}]],
    {"ID": "1", "data": {"id": "2"}},
]


def spoiled(bad: Any, **fields: Any) -> httpx.Response:
    results = [{"id": "1"}, bad, {"id": "2"} | fields]
    return httpx.Response(200, json={"results": results, "pagination": {"totalPages": 1}})


@pytest.mark.parametrize("bad", BAD, ids=json.dumps)
def test_a_bad_record_does_not_lose_the_others(flavour: Flavour, bad: Any, kept: Kept) -> None:
    seen: list[Drift] = []
    with flavour.answering(lambda _request: spoiled(bad, name=7), on_drift=seen.append) as client:
        page = client.activities.list()
        assert identifiers(page) == [1, 2]
        (problem,) = page.problems
        assert (problem.kind, problem.field, problem.operation) == (
            "unreadable_item",
            "results[1]",
            "activities.list",
        )
        assert page.to_dict()["results"][1] == bad
        assert [drift.kind for drift in page[1].problems] == ["wrong_type"]
        stream = client.activities.iterate()
        assert stream.unreadable == 0
        assert identifiers(stream) == [1, 2]
        assert stream.unreadable == 1
    assert sorted(drift.kind for drift in seen) == ["unreadable_item", "wrong_type"]
    logged = [
        record for record in kept.records if "the item results[1] cannot be read" in record.getMessage()
    ]
    assert [record.levelno for record in logged] == [logging.WARNING]


@pytest.mark.parametrize(("pages", "missing"), [(1, 20), (5, 10), (None, 10)])
def test_records_that_are_on_no_page_are_counted_and_logged(
    flavour: Flavour, caplog: pytest.LogCaptureFixture, pages: int | None, missing: int
) -> None:
    counts = {"totalResults": 30, "totalPages": pages}
    empty = httpx.Response(200, json={"results": [], "pagination": counts})
    with flavour.answering(Pages(30, counts, troubles={3: empty})) as client:
        stream = client.activities.iterate(per_page=10)
        assert identifiers(stream) == [*range(30 - missing)]
        assert stream.missing == missing
    [text] = [record.getMessage() for record in caplog.records if record.name == "thrive_learning.bulk"]
    assert text == f"activities.iterate: the server counted {missing} records that were on no page"


def test_unreadable_records_are_counted_over_all_pages(flavour: Flavour) -> None:
    last = httpx.Response(200, json={"results": [None, 1], "pagination": {"totalPages": 2}})
    first = httpx.Response(200, json={"results": [{"id": "1"}, {}, {}], "pagination": {"totalPages": 2}})
    with flavour.answering(Pages(0, troubles={1: first, 2: last})) as client:
        stream = client.activities.iterate()
        assert [stream.unreadable for _record in stream] == [2]
        assert stream.unreadable == 4


@pytest.mark.parametrize("bad", BAD, ids=json.dumps)
def test_a_strict_client_rejects_a_page_with_a_bad_record(flavour: Flavour, bad: Any) -> None:
    with flavour.answering(lambda _request: spoiled(bad), strict=True) as client:
        for call in (client.activities.list, lambda: list(client.activities.iterate())):
            with pytest.raises(UnexpectedResponseError, match=r"page 1 of the activities.* results\[1\]"):
                call()


def test_the_text_of_a_record_is_as_received(flavour: Flavour) -> None:
    texts = [
        r'{"id":"1","data":{"score":1.10,"max":1E2,"min":-0,"é":"\u00e9\/","id":1,"id":2}}',
        r'{"id":"2","new":"\ud800","with":{"a":[1, 2 ,{"b": "}]"}]}}',
    ]
    body = f'\n{{ "results" : [ {texts[0]} ,\t{texts[1]}\r\n] , "pagination":{{"page":1.0}} }} '
    page = httpx.Response(200, content=body.encode())
    with flavour.answering(lambda _request: page) as client:
        found = client.activities.list()
        streamed = [*itertools.islice(client.activities.iterate(), 2)]
    expected = [re.sub(r"(?<=[\[,\d]) | (?=[,\]])|(?<=:) ", "", text) for text in texts]
    for records in (found, streamed):
        assert [record.to_json() for record in records] == expected
        assert [record.to_dict() for record in records] == [json.loads(text) for text in texts]
    assert found.to_dict() == json.loads(body)


def test_the_body_of_a_page_may_be_larger_than_that_of_a_record(flavour: Flavour) -> None:
    record = {"id": "1", "data": {"text": "x" * 2_000_000}}

    def answer(request: httpx.Request) -> httpx.Response:
        is_list = request.url.path.endswith("/activities")
        return httpx.Response(200, json={"results": [record] * 3} if is_list else record)

    with flavour.answering(answer) as client:
        assert len(client.activities.list()) == 3
        with pytest.raises(UnexpectedResponseError, match="max_record_bytes"):
            client.activities.get("0" * 24)
    with flavour.answering(answer, max_page_bytes=5_000_000) as client:
        for call in (client.activities.list, lambda: list(client.activities.iterate())):
            with pytest.raises(UnexpectedResponseError, match="max_page_bytes"):
                call()


# Endings


@pytest.mark.parametrize("taken", [1, 10, 11, 15])
def test_a_break_leaves_nothing_behind(flavour: Flavour, taken: int) -> None:
    with nothing_left(flavour), flavour.answering(Pages(1000)) as client:
        for number, _record in enumerate(client.activities.iterate(per_page=10), start=1):
            if number == taken:
                break
        wait_until(lambda: workers() == 0)


def test_an_exception_in_the_loop_leaves_nothing_behind(flavour: Flavour) -> None:
    with nothing_left(flavour), flavour.answering(Pages(1000)) as client:
        stream = client.activities.iterate(per_page=10)
        with pytest.raises(LookupError), stream:  # noqa: PT012 - the loop is what it is about
            for number, _record in enumerate(stream):
                if number == 15:
                    raise LookupError
        assert workers() == 0
        assert list(stream) == []


def test_close_ends_a_stream(flavour: Flavour) -> None:
    with nothing_left(flavour), flavour.answering(Pages(1000)) as client:
        for taken in (0, 1, 11):
            stream = client.activities.iterate(per_page=10)
            assert len([*itertools.islice(stream, taken)]) == taken
            stream.close()
            stream.close()
            assert list(stream) == []
            assert workers() == 0
        stream = client.activities.iterate()
        with stream:
            pass
        assert list(stream) == []


def test_a_stream_gives_its_records_one_by_one_and_then_none(flavour: Flavour) -> None:
    with flavour.answering(Pages(12)) as client:
        stream = client.activities.iterate(per_page=10)
        assert identifiers(next(stream) for _ in range(11)) == [*range(11)]
        assert identifiers(stream) == [11]
        for _ in range(2):
            with pytest.raises(StopIteration):
                next(stream)


def test_a_stream_that_was_never_read_sends_nothing(flavour: Flavour) -> None:
    server = Pages(10)
    with nothing_left(flavour), flavour.answering(server) as client:
        client.activities.iterate()
    assert server.requests == []


@pytest.mark.parametrize("taken", [0, 1, 10, 15])
def test_the_client_closes_in_between(flavour: Flavour, taken: int) -> None:
    with nothing_left(flavour), flavour.answering(Pages(1000)) as client:
        stream = client.activities.iterate(per_page=10)
        assert len([*itertools.islice(stream, taken)]) == taken
        client.close()
        with pytest.raises(ClientClosedError):
            list(stream)
        assert list(stream) == []
        with pytest.raises(ClientClosedError):
            client.activities.iterate()
        with pytest.raises(ClientClosedError):
            client.activities.list()


@pytest.fixture
def server() -> Iterator[Chaos]:
    with Chaos() as server:
        yield server


def here(server: Chaos) -> Region:
    return Region.custom(
        "here", api_url=f"{server.origin}/rest/v1", token_url=server.origin + "/oauth2/token/{tenant_id}"
    )


SANDBOX_BASIC = BasicCredentials(chaos.SANDBOX.tenant_id, chaos.SANDBOX.api_secret)


def silent_after(answers: int) -> Trouble:
    calls = itertools.count()

    def play(line: chaos.Line, answer: chaos.Answer) -> None:
        if next(calls) < answers:
            line.send(answer.whole)
        else:
            chaos.silence(line, answer)

    return Trouble(play)


def test_a_page_that_does_not_come_holds_up_no_end(flavour: Flavour, server: Chaos) -> None:
    server.plan(silent_after(2))
    with nothing_left(flavour), flavour.open(here(server), SANDBOX_BASIC) as client:
        with client.activities.iterate(per_page=2) as stream:
            assert len([*itertools.islice(stream, 3)]) == 3
        stream = client.activities.iterate(per_page=2, timeout=PATIENCE_S)
        closing = threading.Timer(0.2, client.close)
        closing.start()
        with pytest.raises(ClientClosedError):
            list(stream)
        closing.join()


def test_a_walk_over_the_network(flavour: Flavour, server: Chaos) -> None:
    count = len(chaos.SANDBOX.collection) - 1  # a record without a date is in no window
    with nothing_left(flavour), flavour.open(here(server), SANDBOX_BASIC) as client:
        records = list(client.activities.iterate(per_page=3))
    assert len(records) == count
    assert server.connections == 1
    assert len(server.requests) == -(-count // 3)


def test_a_time_limit_for_each_page(flavour: Flavour, server: Chaos) -> None:
    records: list[Activity] = []
    with nothing_left(flavour), flavour.open(here(server), SANDBOX_BASIC) as client:
        for limit_s in growing_limits(0.4):
            server.plan(silent_after(1))
            stream = client.activities.iterate(per_page=2, timeout=limit_s)
            with pytest.raises(DeadlineExceededError):
                records.extend(stream)
            if records:
                break
    assert len(records) == 2


# Arguments


def test_arguments_are_checked_before_anything_is_sent(flavour: Flavour) -> None:
    server = Pages(10)
    many = [f"{number:024x}" for number in range(101)]
    wrong: list[dict[str, Any]] = [
        {"types": "viewed"},
        {"types": ["a,b"]},
        {"types": ["viewed"], "omit_types": ["liked"]},
        {"content_ids": ["x"]},
        {"content_type": ""},
        {"since": dt.datetime(2026, 1, 1)},  # noqa: DTZ001
        {"until": dt.date(2026, 1, 1)},
        {"page": 0},
        {"page": True},
        {"per_page": 1001},
        {"timeout": -1},
        {"retry": 3},
    ]
    with flavour.answering(server) as client:
        for name in ("list", "iterate"):
            alone = {"content_ids": many} if name == "list" else {"content_ids": many, "page": 2}
            for arguments in [*wrong, alone]:
                with pytest.raises(ThriveError) as caught:
                    getattr(client.activities, name)(**arguments)
                assert type(caught.value).__name__ in {"ConfigurationError", "InvalidIdError"}
            with pytest.raises(TypeError):
                getattr(client.activities, name)("viewed")
    assert server.requests == []


# Only in threads


def test_a_stream_that_another_thread_collects() -> None:
    with ThriveClient(Region.PRODUCTION, BASIC, transport=httpx.MockTransport(Pages(1000))) as client:
        streams = [client.activities.iterate(per_page=10)]
        assert len([*itertools.islice(streams[0], 11)]) == 11
        thread = threading.Thread(target=streams.clear)
        thread.start()
        thread.join()
        gc.collect()
        wait_until(lambda: workers() == 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_cannot_continue_a_stream() -> None:
    with ThriveClient(Region.PRODUCTION, BASIC, transport=httpx.MockTransport(Pages(1000))) as client:
        stream = client.activities.iterate(per_page=10)
        assert len([*itertools.islice(stream, 11)]) == 11
        child = os.fork()
        if child == 0:  # pragma: no cover - in the child
            code = 1
            try:
                list(stream)
            except ConfigurationError as error:
                code = 0 if "a run of iterate stays in its process" in str(error) else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert identifiers(stream) == [*range(11, 1000)]


# Only in event loops


@pytest.fixture
async def client(anyio_backend: str) -> AsyncIterator[AsyncThriveClient]:  # noqa: ARG001
    async with AsyncThriveClient(
        Region.PRODUCTION, BASIC, transport=httpx.MockTransport(Pages(1000))
    ) as client:
        yield client


@pytest.mark.anyio
async def test_a_break_in_an_event_loop(client: AsyncThriveClient) -> None:
    before = tasks()
    async for record in client.activities.iterate(per_page=10):
        if record.id == "10":
            break
    await until_it_is(before)
    async with client.activities.iterate(per_page=10) as stream:
        async for record in stream:
            if record.id == "10":
                break
        assert tasks() > before
    await until_it_is(before)
    assert [record async for record in stream] == []


@pytest.mark.anyio
async def test_cancellation_ends_a_walk(server: Chaos) -> None:
    server.plan(silent_after(1))
    async with AsyncThriveClient(here(server), SANDBOX_BASIC) as client:
        before = tasks()
        taken = 0
        with anyio.move_on_after(PATIENCE_S) as scope:
            async for _record in client.activities.iterate(per_page=2):
                taken += 1
                if taken == 2:
                    scope.deadline = anyio.current_time() + 0.1  # the next page does not come
        assert scope.cancelled_caught
        assert taken == 2
        assert tasks() <= before + 1  # the task that reported the end


@pytest.mark.anyio
async def test_an_end_before_the_last_page_waits_for_the_tasks(anyio_backend: str) -> None:  # noqa: ARG001
    server = Pages(15, {"totalPages": 99})

    async def silent_at_last(request: httpx.Request) -> httpx.Response:
        if len(server.requests) >= 3:
            await anyio.sleep_forever()
        return server(request)

    transport = httpx.MockTransport(silent_at_last)
    async with AsyncThriveClient(Region.PRODUCTION, BASIC, transport=transport) as client:
        before = tasks()
        stream = client.activities.iterate(per_page=10)
        assert len([record async for record in stream]) == 15
        assert tasks() <= before + 1  # the task that reported the end


@pytest.mark.anyio
async def test_records_may_be_asked_for_within_any_scope(client: AsyncThriveClient) -> None:
    stream = client.activities.iterate(per_page=2)
    with anyio.fail_after(PATIENCE_S):
        await anext(stream)
    async with anyio.create_task_group() as group:
        group.start_soon(anext, stream)
    with anyio.CancelScope() as scope:
        await anext(stream)
        scope.cancel()
    assert len([record async for record in stream]) == 997


def test_a_walk_stays_in_its_event_loop() -> None:
    client = AsyncThriveClient(Region.PRODUCTION, BASIC, transport=httpx.MockTransport(Pages(1000)))
    kept: list[AsyncActivityStream] = []

    async def first() -> None:
        kept.append(client.activities.iterate(per_page=1))
        await anext(kept[0])
        await anext(kept[0])

    async def second() -> None:
        with pytest.raises(ConfigurationError, match="a run of iterate stays in its event loop"):
            async for _record in kept[0]:
                pass
        await client.aclose()

    asyncio.run(first())
    asyncio.run(second())
    kept.clear()
    gc.collect()


def test_results_have_the_exported_types() -> None:
    with ThriveClient.sandbox() as client:
        assert isinstance(client.activities.iterate(), ActivityStream)
    assert isinstance(AsyncThriveClient.sandbox().activities.iterate(), AsyncActivityStream)
