"""Spans and metrics, read from the in-memory exporters of OpenTelemetry's SDK."""

import contextvars
import copy
import gc
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import httpx
import pytest
from harness import ACTIVITY_ID, BASIC, OAUTH, PAGE_EXAMPLE, TENANT_ID, Flavour, page_response, token_response
from opentelemetry import trace
from opentelemetry.sdk import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from patience import PATIENCE_S, wait_until

from thrive_learning import (
    AsyncThriveClient,
    Attempt,
    ConfigurationError,
    ConnectionFailedError,
    NotFoundError,
    OpenTelemetry,
    RateLimit,
    Region,
    RetryPolicy,
    ServerError,
    ThriveClient,
    TokenError,
    UnexpectedResponseError,
)
from thrive_learning._observation import MAX_EVENTS, Observation, Observer

AT_ONCE = RetryPolicy(attempts=3, first_delay=0)
IDS = [f"{number:024x}" for number in range(8)]
NOT_FOUND = {"message": "no such activity", "error": "Not Found"}


class Telemetry:
    """Providers of the SDK, and what they have received."""

    def __init__(self, **options: Any) -> None:
        self._exporter, self._reader = InMemorySpanExporter(), InMemoryMetricReader()
        self.tracers = TracerProvider(**options)
        self.tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.settings = OpenTelemetry(self.tracers, MeterProvider([self._reader]))

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())

    def only_span(self) -> ReadableSpan:
        [span] = self.spans
        return span

    def points(self, name: str) -> list[tuple[dict[str, Any], Any]]:
        """Return the attributes and the value (a histogram's sum) of each point of a metric."""
        data = self._reader.get_metrics_data()
        metrics = [
            metric
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == f"thrive.client.{name}"
        ]
        points: list[Any] = [point for metric in metrics for point in metric.data.data_points]
        return [
            (dict(point.attributes), point.value if hasattr(point, "value") else point.sum)
            for point in points
        ]


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    found = Telemetry()
    yield found
    shown = repr([(span.to_json(), span.events) for span in found.spans])
    assert TENANT_ID not in shown
    assert "fake" not in shown  # as in all credentials and tokens of these tests
    assert "http" not in shown.replace("http.re", "")  # a URL


def events(span: ReadableSpan) -> list[dict[str, Any]]:
    assert {event.name for event in span.events} <= {"thrive.attempt"}
    return [dict(event.attributes or {}) for event in span.events]


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def is_error(span: ReadableSpan) -> bool:
    return span.status.status_code is trace.StatusCode.ERROR


def in_turn(*responses: httpx.Response | type[Exception]) -> Callable[[httpx.Request], httpx.Response]:
    """Answer with these, one after the other. Token requests are answered with `fake-token`."""
    left = iter(responses)

    def respond(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return token_response()
        response = next(left)
        if isinstance(response, httpx.Response):
            return response
        raise response("no")

    return respond


def test_a_success_is_a_span(flavour: Flavour, telemetry: Telemetry) -> None:
    response = page_response()
    response.headers["X-Request-Id"] = "request-1"
    with flavour.answering(in_turn(response), telemetry=telemetry.settings) as client:
        client.activities.get(ACTIVITY_ID)
    span = telemetry.only_span()
    assert (span.name, span.kind) == ("thrive.activities.get", trace.SpanKind.INTERNAL)
    assert span.instrumentation_scope is not None
    assert span.instrumentation_scope.name == "thrive_learning"
    assert attributes(span) == {
        "thrive.operation": "activities.get",
        "thrive.region": "production",
        "thrive.subject": ACTIVITY_ID,
        "http.response.status_code": 200,
    }
    [event] = events(span)
    assert event.pop("thrive.attempt.duration") >= 0
    assert event == {
        "thrive.operation": "activities.get",
        "thrive.subject": ACTIVITY_ID,
        "thrive.request_id": "request-1",
        "http.response.status_code": 200,
    }
    operation = {"thrive.operation": "activities.get", "thrive.region": "production"}
    [(of_duration, seconds)] = telemetry.points("call.duration")
    assert of_duration == operation
    assert 0 <= seconds < 60
    assert telemetry.points("attempts") == [(operation | {"http.response.status_code": 200}, 1)]
    assert not telemetry.points("token_requests")
    assert not telemetry.points("throttles")


def test_a_request_id_with_the_tenant_id_is_masked(flavour: Flavour, telemetry: Telemetry) -> None:
    response = page_response()
    response.headers["X-Request-Id"] = f"{TENANT_ID.upper()}/request-1"
    with flavour.answering(in_turn(response), telemetry=telemetry.settings) as client:
        client.activities.get(ACTIVITY_ID)
    [event] = events(telemetry.only_span())
    assert event["thrive.request_id"] == "{tenant_id}/request-1"


def test_a_region_with_the_tenant_id_is_masked(flavour: Flavour, telemetry: Telemetry) -> None:
    region = Region.custom(
        f"our_{TENANT_ID}", api_url="https://a.test", token_url="https://b.test/{tenant_id}"
    )
    transport = httpx.MockTransport(in_turn(page_response()))
    with flavour.open(region, BASIC, transport=transport, telemetry=telemetry.settings) as client:
        client.activities.get(ACTIVITY_ID)
    assert attributes(telemetry.only_span())["thrive.region"] == "our_{tenant_id}"


def test_waits_for_the_rate_limit_are_measured(flavour: Flavour, telemetry: Telemetry) -> None:
    responses = in_turn(httpx.Response(503), page_response())
    limit = RateLimit(per_second=4, burst=1)
    with flavour.answering(
        responses, retry=AT_ONCE, telemetry=telemetry.settings, rate_limit=limit
    ) as client:
        client.activities.get(ACTIVITY_ID)
    first, second = events(telemetry.only_span())
    assert "thrive.attempt.waited" not in first
    operation = {"thrive.operation": "activities.get", "thrive.region": "production"}
    assert telemetry.points("rate_limit.wait") == [(operation, second["thrive.attempt.waited"])]


def test_retries_are_events_and_throttles_are_counted(flavour: Flavour, telemetry: Telemetry) -> None:
    responses = in_turn(httpx.Response(429), httpx.ReadError, page_response())
    with flavour.answering(responses, retry=AT_ONCE, telemetry=telemetry.settings) as client:
        client.activities.get(ACTIVITY_ID)
    span = telemetry.only_span()
    assert not is_error(span)
    assert attributes(span)["http.request.resend_count"] == 2
    assert attributes(span)["http.response.status_code"] == 200
    found = [(event.get("error.type"), event.get("http.request.resend_count")) for event in events(span)]
    assert found == [("429", None), ("ConnectionFailedError", 1), (None, 2)]
    assert [event.get("thrive.attempt.delay") for event in events(span)] == [0.0, 0.0, None]
    assert [value for _attributes, value in telemetry.points("throttles")] == [1]
    assert sum(value for _attributes, value in telemetry.points("attempts")) == 3


def test_a_rejected_token_is_replayed_in_one_span(flavour: Flavour, telemetry: Telemetry) -> None:
    responses = in_turn(httpx.Response(401, json=NOT_FOUND), page_response())
    with flavour.answering(responses, OAUTH, telemetry=telemetry.settings) as client:
        client.activities.get(ACTIVITY_ID)
    span = telemetry.only_span()
    assert [
        (event["thrive.operation"], event["http.response.status_code"], event.get("error.type"))
        for event in events(span)
    ] == [
        ("tokens.get", 200, None),
        ("activities.get", 401, "401"),
        ("tokens.get", 200, None),
        ("activities.get", 200, None),
    ]
    assert attributes(span)["http.request.resend_count"] == 1
    [(of_tokens, count)] = telemetry.points("token_requests")
    assert (of_tokens["thrive.operation"], count) == ("tokens.get", 2)


@pytest.mark.parametrize(
    ("response", "error", "status"),
    [
        (httpx.Response(404, json=NOT_FOUND), NotFoundError, 404),
        (httpx.Response(500), ServerError, 500),
        (httpx.Response(200, text="[]"), UnexpectedResponseError, 200),
        (httpx.ConnectError, ConnectionFailedError, None),
    ],
)
def test_a_failure_has_its_type_and_no_message(
    flavour: Flavour,
    telemetry: Telemetry,
    response: httpx.Response | type[Exception],
    error: type[Exception],
    status: int | None,
) -> None:
    with flavour.answering(in_turn(response), telemetry=telemetry.settings) as client:
        with pytest.raises(error):
            client.activities.get(ACTIVITY_ID)
    span = telemetry.only_span()
    assert is_error(span)
    assert span.status.description is None
    assert attributes(span)["error.type"] == error.__name__
    assert attributes(span).get("http.response.status_code") == status
    [(of_duration, _seconds)] = telemetry.points("call.duration")
    assert of_duration["error.type"] == error.__name__


def test_each_operation_has_a_span(flavour: Flavour, telemetry: Telemetry) -> None:
    page = {"results": [PAGE_EXAMPLE], "pagination": {}}
    rejection = httpx.Response(401, json=NOT_FOUND)
    responses = in_turn(httpx.Response(200, json=page), page_response(), page_response(), rejection)
    with flavour.answering(responses, OAUTH, telemetry=telemetry.settings) as client:
        client.tokens.get()
        client.activities.list(page=2)
        client.activities.get_with_response(ACTIVITY_ID)
        client.check(ACTIVITY_ID)
    assert [(span.name, attributes(span).get("thrive.subject")) for span in telemetry.spans] == [
        ("thrive.tokens.get", "api"),
        ("thrive.activities.list", "page 2"),
        ("thrive.activities.get", ACTIVITY_ID),
        ("thrive.check", None),
    ]
    assert not any(is_error(span) for span in telemetry.spans)


def test_a_failed_token_request_is_an_error_of_its_call(flavour: Flavour, telemetry: Telemetry) -> None:
    failing = httpx.Response(503)
    with flavour.answering(lambda _request: failing, OAUTH, telemetry=telemetry.settings) as client:
        for call in (client.tokens.get, lambda: client.activities.get(ACTIVITY_ID)):
            with pytest.raises(TokenError):
                call()
    assert [attributes(span)["error.type"] for span in telemetry.spans] == ["TokenError", "TokenError"]


def test_resends_of_a_token_request_count_for_that_request_alone(
    flavour: Flavour, telemetry: Telemetry
) -> None:
    tokens = iter([httpx.Response(503), token_response(), httpx.Response(503), token_response()])

    def respond(request: httpx.Request) -> httpx.Response:
        return next(tokens) if request.method == "POST" else page_response()

    calls: list[Callable[[Any], object]] = [
        lambda client: client.tokens.get(),
        lambda client: client.activities.get(ACTIVITY_ID),
    ]
    for call in calls:
        with flavour.answering(respond, OAUTH, retry=AT_ONCE, telemetry=telemetry.settings) as client:
            call(client)
    assert [attributes(span).get("http.request.resend_count") for span in telemetry.spans] == [1, None]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_canceled_call_ends_its_span_once(backend: str, telemetry: Telemetry) -> None:
    class Stuck(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:  # noqa: ARG002
            scopes[0].cancel()
            await anyio.sleep_forever()
            raise AssertionError

    scopes = list[anyio.CancelScope]()

    async def call() -> None:
        options: Any = {"transport": Stuck(), "telemetry": telemetry.settings}
        async with AsyncThriveClient(Region.PRODUCTION, BASIC, **options) as client:
            with anyio.CancelScope() as scope:
                scopes.append(scope)
                await client.activities.get(ACTIVITY_ID)
        assert trace.get_current_span() is trace.INVALID_SPAN

    anyio.run(call, backend=backend)
    span = telemetry.only_span()
    assert is_error(span)
    assert attributes(span)["error.type"] == "cancelled"


def test_an_interrupted_call_ends_its_span_once(telemetry: Telemetry) -> None:
    def respond(_request: httpx.Request) -> httpx.Response:
        raise KeyboardInterrupt

    options: Any = {"transport": httpx.MockTransport(respond), "telemetry": telemetry.settings}
    with ThriveClient(Region.PRODUCTION, BASIC, **options) as client, pytest.raises(KeyboardInterrupt):
        client.activities.get(ACTIVITY_ID)
    assert attributes(telemetry.only_span())["error.type"] == "KeyboardInterrupt"
    assert trace.get_current_span() is trace.INVALID_SPAN


def by_id(request: httpx.Request) -> httpx.Response:
    """Answer with the record of the requested ID."""
    return page_response(id=request.url.path.rpartition("/")[2])


def run_span(telemetry: Telemetry) -> dict[str, Any]:
    span = telemetry.only_span()
    assert span.name == "thrive.activities.get_many"
    return attributes(span)


def test_a_bulk_run_is_one_span(flavour: Flavour, telemetry: Telemetry) -> None:
    failed_once = set[str]()

    def respond(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith(IDS[1]):
            return httpx.Response(404, json=NOT_FOUND)
        if request.url.path.endswith(IDS[2]) and request.url.path not in failed_once:
            failed_once.add(request.url.path)
            return httpx.Response(503)
        return by_id(request)

    retry = RetryPolicy(attempts=3, first_delay=0)
    with flavour.answering(respond, retry=retry, telemetry=telemetry.settings) as client:
        assert len(list(client.activities.get_many(IDS))) == 8
    found = run_span(telemetry)
    assert found == {
        "thrive.operation": "activities.get_many",
        "thrive.region": "production",
        "thrive.run.records": 7,
        "thrive.run.failures": 1,
        "thrive.run.is_complete": True,
        "http.request.resend_count": 1,
    }
    assert sorted(event["error.type"] for event in events(telemetry.only_span())) == ["404", "503"]
    operation = {"thrive.operation": "activities.get_many", "thrive.region": "production"}
    assert telemetry.points("run.records") == [(operation, 7)]
    [(of_duration, _seconds)] = telemetry.points("call.duration")
    assert of_duration == operation
    assert sum(value for _attributes, value in telemetry.points("attempts")) == 9


def test_a_run_that_fails_has_the_type_of_its_error(flavour: Flavour, telemetry: Telemetry) -> None:
    response = httpx.Response(401, json={"message": "no", "status": 401})
    with flavour.answering(lambda _request: response, telemetry=telemetry.settings) as client:
        with pytest.raises(Exception, match="401"):
            list(client.activities.get_many(IDS))
    found = run_span(telemetry)
    assert found["error.type"] == "UnauthorizedError"
    assert found["thrive.run.is_complete"] is False


def test_an_error_of_the_ids_is_that_of_the_run(flavour: Flavour, telemetry: Telemetry) -> None:
    def ids() -> Iterator[str]:
        yield IDS[0]
        raise LookupError

    with flavour.answering(by_id, telemetry=telemetry.settings) as client:
        with pytest.raises(LookupError):
            list(client.activities.get_many(ids()))
    assert run_span(telemetry)["error.type"] == "LookupError"
    assert run_span(telemetry)["thrive.run.records"] == 1


@pytest.mark.parametrize("ending", ["close", "drop", "client"])
def test_an_abandoned_run_ends_its_span_once(flavour: Flavour, telemetry: Telemetry, ending: str) -> None:
    with flavour.answering(by_id, telemetry=telemetry.settings) as client:
        stream = client.activities.get_many(IDS)
        next(stream)
        if ending == "close":
            stream.close()
            stream.close()
        elif ending == "drop":
            del stream
        else:
            client.close()
        wait_until(lambda: telemetry.spans)  # a run that was dropped is ended by its threads or tasks
        assert len(telemetry.spans) == 1
    found = run_span(telemetry)
    assert found["thrive.run.records"] == 1
    assert found["thrive.run.is_complete"] is False


def test_a_run_that_was_not_started_has_no_span(flavour: Flavour, telemetry: Telemetry) -> None:
    with flavour.answering(by_id, telemetry=telemetry.settings) as client:
        client.activities.get_many(IDS).close()
    assert not telemetry.spans


def test_requests_of_a_run_belong_to_its_span_and_that_to_the_callers(
    flavour: Flavour, telemetry: Telemetry
) -> None:
    seen = list[Any]()

    def respond(request: httpx.Request) -> httpx.Response:
        seen.append(trace.get_current_span().get_span_context())
        return by_id(request)

    tracer = telemetry.tracers.get_tracer("test")
    with flavour.answering(respond, telemetry=telemetry.settings) as client:
        with tracer.start_as_current_span("caller") as caller:
            client.activities.get(ACTIVITY_ID)
            list(client.activities.get_many(IDS, concurrency=3))
            assert trace.get_current_span() is caller
    get, run, outer = telemetry.spans
    assert outer.name == "caller"
    for span in (get, run):
        assert span.parent == caller.get_span_context()
    assert seen[0] == get.get_span_context()
    assert set(map(repr, seen[1:])) == {repr(run.get_span_context())}


def test_a_worker_that_cannot_be_stopped_does_not_keep_the_span_open(telemetry: Telemetry) -> None:
    has_begun, may_end = threading.Event(), threading.Event()

    def respond(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith(IDS[1]):
            has_begun.set()
            may_end.wait(PATIENCE_S)
        return by_id(request)

    options: Any = {"transport": httpx.MockTransport(respond), "telemetry": telemetry.settings}
    with ThriveClient(Region.PRODUCTION, BASIC, **options) as client:
        stream = client.activities.get_many(IDS[:2])
        next(stream)
        assert has_begun.wait(PATIENCE_S)
        stream._run.close(0)
        assert run_span(telemetry)["thrive.run.records"] == 1
        may_end.set()
    assert len(telemetry.spans) == 1


def test_a_forked_child_does_not_end_the_span_of_its_parent(
    telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: Any = {"transport": httpx.MockTransport(by_id), "telemetry": telemetry.settings}
    with ThriveClient(Region.PRODUCTION, BASIC, **options) as client:
        stream = client.activities.get_many(IDS)
        next(stream)
        with monkeypatch.context() as child:
            child.setattr(os, "getpid", lambda: -1)
            stream.close()
        assert not telemetry.spans
        stream.close()
    assert run_span(telemetry)["thrive.run.records"] == 1


def test_a_run_without_threads_belongs_to_its_span(
    telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    seen = list[Any]()

    def respond(request: httpx.Request) -> httpx.Response:
        seen.append(trace.get_current_span().get_span_context())
        return by_id(request)

    options: Any = {"transport": httpx.MockTransport(respond), "telemetry": telemetry.settings}
    with ThriveClient(Region.PRODUCTION, BASIC, **options) as client:
        monkeypatch.setattr(threading.Thread, "start", start)
        stream = client.activities.get_many(IDS)
        next(stream)
        assert trace.get_current_span() is trace.INVALID_SPAN
        stream._run.stop()  # as when it is dropped
        assert len(telemetry.spans) == 1
    assert seen == [telemetry.only_span().get_span_context()]


def test_a_walk_through_pages_is_one_span(flavour: Flavour, telemetry: Telemetry) -> None:
    pages = [[PAGE_EXAMPLE | {"id": id} for id in ids] for ids in (IDS[:3], IDS[3:5], [])]  # noqa: A001

    def respond(request: httpx.Request) -> httpx.Response:
        number = int(request.url.params["page"])
        return httpx.Response(200, json={"results": pages[number - 1], "pagination": {}})

    with flavour.answering(respond, telemetry=telemetry.settings) as client:
        assert len(list(client.activities.iterate(per_page=3))) == 5
    span = telemetry.only_span()
    assert span.name == "thrive.activities.iterate"
    assert attributes(span)["thrive.run.records"] == 5
    [(operation, records)] = telemetry.points("run.records")
    assert (operation["thrive.operation"], records) == ("activities.iterate", 5)


def endless(request: httpx.Request) -> httpx.Response:
    """Answer with a page of one record, of any number of pages."""
    number = int(request.url.params["page"])
    record = PAGE_EXAMPLE | {"id": f"{number:024x}"}
    return httpx.Response(200, json={"results": [record], "pagination": {"totalPages": 1000}})


@pytest.mark.parametrize("ending", ["close", "drop"])
@pytest.mark.parametrize("taken", [1, 3])
def test_an_abandoned_walk_ends_its_span_once(
    flavour: Flavour, telemetry: Telemetry, ending: str, taken: int
) -> None:
    with flavour.answering(endless, telemetry=telemetry.settings) as client:
        stream = client.activities.iterate(per_page=1)
        for _ in range(taken):
            next(stream)
        if ending == "close":
            stream.close()
        del stream
        gc.collect()
    found = attributes(telemetry.only_span())
    assert found["thrive.run.records"] == taken
    assert found["thrive.run.is_complete"] is False
    assert "error.type" not in found


def test_a_walk_that_fails_has_the_type_of_its_error(flavour: Flavour, telemetry: Telemetry) -> None:
    with flavour.answering(
        in_turn(httpx.Response(404, json=NOT_FOUND)), telemetry=telemetry.settings
    ) as client:
        with pytest.raises(NotFoundError):
            list(client.activities.iterate())
    found = attributes(telemetry.only_span())
    assert (found["error.type"], found["thrive.run.failures"]) == ("NotFoundError", 1)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("method", ["get_many", "iterate"])
def test_a_run_is_cut_off_by_the_cancellation_of_its_caller(
    backend: str, method: str, telemetry: Telemetry
) -> None:
    class Stuck(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:  # noqa: ARG002
            scopes[0].cancel()
            await anyio.sleep_forever()
            raise AssertionError

    scopes = list[anyio.CancelScope]()

    async def take() -> None:
        options: Any = {"transport": Stuck(), "telemetry": telemetry.settings}
        async with AsyncThriveClient(Region.PRODUCTION, BASIC, **options) as client:
            stream: Any = getattr(client.activities, method)(*([IDS] if method == "get_many" else []))
            with anyio.CancelScope() as scope:
                scopes.append(scope)
                await anext(stream)

    anyio.run(take, backend=backend)
    found = attributes(telemetry.only_span())
    assert (found["error.type"], found["thrive.run.is_complete"]) == ("cancelled", False)


def attempt(number: int = 1, error: str | None = "status 503") -> Attempt:
    return Attempt(number, 503, error, None, 0.1, None, "activities.get", ACTIVITY_ID)


def test_a_run_has_a_limited_number_of_events(telemetry: Telemetry) -> None:
    observation = Observation(Observer(telemetry.settings, "staging"), "activities.get_many", is_run=True)
    for _ in range(MAX_EVENTS + 1):
        observation.attempted(attempt())
    observation.end()
    observation.attempted(attempt())  # too late, of a thread that cannot be stopped
    observation.end(KeyboardInterrupt)
    span = telemetry.only_span()
    assert len(span.events) == MAX_EVENTS == 100
    assert span.dropped_events == 0
    assert not is_error(span)


def test_an_attempt_outside_a_call_is_counted(telemetry: Telemetry) -> None:
    Observer(telemetry.settings, "staging").attempted(attempt())
    assert [value for _attributes, value in telemetry.points("attempts")] == [1]


def test_a_span_that_is_not_sampled_has_no_events_and_is_measured(flavour: Flavour) -> None:
    telemetry = Telemetry(sampler=ALWAYS_OFF)
    with flavour.answering(by_id, telemetry=telemetry.settings) as client:
        client.activities.get(ACTIVITY_ID)
    assert not telemetry.spans
    assert len(telemetry.points("call.duration")) == 1


def test_the_global_providers_are_the_default(flavour: Flavour) -> None:
    with flavour.answering(by_id, telemetry=OpenTelemetry()) as client:
        assert client.activities.get(ACTIVITY_ID).id == ACTIVITY_ID


def test_invalid_telemetry_is_rejected() -> None:
    with pytest.raises(ConfigurationError, match=r"telemetry is 'otel'\. Pass OpenTelemetry\(\) or None\."):
        ThriveClient(Region.PRODUCTION, BASIC, telemetry="otel")  # type: ignore[arg-type]


def test_an_invalid_provider_is_rejected() -> None:
    for name in ("tracer", "meter"):
        settings: Any = {f"{name}_provider": "x"}
        message = f"{name}_provider is 'x'. Pass a {name.title()}Provider or None."
        with pytest.raises(ConfigurationError, match=message):
            ThriveClient.sandbox(telemetry=OpenTelemetry(**settings))


class Failing(SpanProcessor):
    """A span processor that fails when a span begins or ends."""

    def __init__(self, name: str) -> None:
        setattr(self, name, self.fail)

    def fail(self, *_arguments: object, **_options: object) -> None:
        raise RuntimeError("the exporter failed")


@pytest.mark.parametrize("name", ["on_start", "on_end"])
def test_a_failure_of_a_span_processor_fails_no_call(
    flavour: Flavour, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    tracers = TracerProvider()
    tracers.add_span_processor(Failing(name))
    with flavour.answering(by_id, telemetry=OpenTelemetry(tracers)) as client:
        assert client.activities.get(IDS[0]).id == IDS[0]
        assert len(list(client.activities.get_many(IDS))) == len(IDS)
    with flavour.answering(endless, telemetry=OpenTelemetry(tracers)) as client:
        with client.activities.iterate(per_page=1) as stream:
            next(stream)
    found = [record.getMessage() for record in caplog.records if record.name == "thrive_learning.telemetry"]
    assert found == ["telemetry= failed; the call continues"] * 2  # once for each client


def test_a_failure_of_a_metric_fails_no_call(
    telemetry: Telemetry, flavour: Flavour, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for instrument, method in ((metrics.Counter, "add"), (metrics.Histogram, "record")):
        monkeypatch.setattr(instrument, method, Failing("on_start").fail)
    with flavour.answering(by_id, telemetry=telemetry.settings) as client:
        assert client.activities.get(IDS[0]).id == IDS[0]
        assert len(list(client.activities.get_many(IDS))) == len(IDS)
    assert len(telemetry.spans) == 2
    assert len(caplog.records) == 1


def test_a_coroutine_that_is_dropped_leaves_no_complaint(
    telemetry: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    async def hang(_request: httpx.Request) -> httpx.Response:
        await anyio.sleep_forever()
        raise NotImplementedError

    async def main() -> None:
        transport = httpx.MockTransport(hang)
        client = AsyncThriveClient(
            Region.PRODUCTION, BASIC, transport=transport, telemetry=telemetry.settings
        )
        call: Any = client.activities.get(ACTIVITY_ID)
        contextvars.copy_context().run(call.send, None)
        call.close()

    anyio.run(main)
    assert telemetry.only_span().attributes is not None
    assert caplog.records == []


def test_an_observed_run_does_not_end_in_a_forked_child(
    telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Observer(telemetry.settings, "production").run("activities.iterate")
    with monkeypatch.context() as child:
        child.setattr("os.getpid", lambda: -1)
        run.end()
    assert telemetry.spans == []
    run.end()
    assert len(telemetry.spans) == 1


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'thrive-learning\[otel\]'\.$") as caught:
        ThriveClient(Region.PRODUCTION, BASIC, telemetry=OpenTelemetry())
    assert caught.value.__context__ is None


def test_a_client_with_the_global_providers_can_be_pickled(telemetry: Telemetry) -> None:
    assert pickle.loads(pickle.dumps(OpenTelemetry())) == OpenTelemetry()
    with pytest.raises(TypeError, match="an OpenTelemetry with a provider cannot be pickled"):
        pickle.dumps(telemetry.settings)


def test_a_copy_has_the_same_providers(telemetry: Telemetry) -> None:
    copied = copy.deepcopy({"telemetry": copy.copy(telemetry.settings)})
    assert copied["telemetry"] == telemetry.settings


def test_without_telemetry_nothing_of_opentelemetry_is_loaded() -> None:
    code = f"""
import sys
from thrive_learning import OpenTelemetry, ThriveClient
with ThriveClient.sandbox() as client:
    client.activities.get("{ACTIVITY_ID}")
    list(client.activities.get_many(["{ACTIVITY_ID}"]))
print(*(name for name in sys.modules if name.startswith("opentelemetry")))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
