"""The tools, each as a context manager that lists the URLs of the requests that the tool has seen.

Mocked requests get the response `MOCKED`, so that a test can distinguish it from the sandbox's.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pook  # type: ignore[import-untyped]
import respx
import sentry_sdk
import vcr  # type: ignore[import-untyped]
from harness import PAGE_EXAMPLE
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pytest_httpx import HTTPXMock
from sentry_sdk.envelope import Envelope
from sentry_sdk.integrations.httpx import HttpxIntegration
from sentry_sdk.transport import Transport

Seen = list[str]
Watch = Callable[[], AbstractContextManager[Seen]]

#: The mocked record. The sandbox's has another name.
MOCKED: dict[str, Any] = PAGE_EXAMPLE | {"name": "mocked"}
TOKEN = {"access_token": "mocked", "token_type": "Bearer", "expires_in": 3600}


@contextmanager
def by_respx(url: str, using: str = "httpcore") -> Iterator[Seen]:
    seen: Seen = []
    with respx.mock(assert_all_called=False, using=using) as router:
        router.post(url__startswith=url).respond(json=TOKEN)
        router.get(url__startswith=url).respond(json=MOCKED)
        yield seen
        seen += [str(call.request.url) for call in router.calls]


@contextmanager
def by_pytest_httpx(mock: HTTPXMock) -> Iterator[Seen]:
    seen: Seen = []
    mock.add_response(method="POST", json=TOKEN, is_optional=True)
    mock.add_response(method="GET", json=MOCKED, is_optional=True)
    yield seen
    seen += [str(request.url) for request in mock.get_requests()]


@contextmanager
def by_vcr(cassette: Path) -> Iterator[Seen]:
    seen: Seen = []
    with vcr.use_cassette(str(cassette), record_mode="once") as recorded:
        yield seen
        seen += [request.uri for request in recorded.requests]


@contextmanager
def by_open_telemetry() -> Iterator[Seen]:
    seen: Seen = []
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    HTTPXClientInstrumentor().instrument(tracer_provider=provider)
    try:
        yield seen
    finally:
        HTTPXClientInstrumentor().uninstrument()
    seen += [str((span.attributes or {})["http.url"]) for span in exporter.get_finished_spans()]


class SentEvents(Transport):
    """Keeps what Sentry would send."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[dict[str, Any]] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        self.events += [item.payload.json for item in envelope.items if item.payload.json]

    @property
    def spans(self) -> list[dict[str, Any]]:
        return [span for event in self.events for span in event.get("spans", ())]

    @property
    def breadcrumbs(self) -> list[dict[str, Any]]:
        return [crumb for event in self.events for crumb in event.get("breadcrumbs", {}).get("values", ())]


@contextmanager
def sentry() -> Iterator[SentEvents]:
    """Let Sentry, with its integration of httpx alone, report a transaction and an error within it."""
    sent = SentEvents()
    sentry_sdk.init(
        dsn="http://key@127.0.0.1/1",
        transport=sent,
        traces_sample_rate=1.0,
        default_integrations=False,
        auto_enabling_integrations=False,
        integrations=[HttpxIntegration()],
    )
    try:
        with sentry_sdk.isolation_scope():
            with sentry_sdk.start_transaction(name="a test"):
                yield sent
            sentry_sdk.capture_message("an error")
    finally:
        sentry_sdk.get_client().close()
        sentry_sdk.get_global_scope().set_client(None)


@contextmanager
def by_sentry() -> Iterator[Seen]:
    seen: Seen = []
    with sentry() as sent:
        yield seen
    seen += [span["data"]["url"] for span in sent.spans]
    assert seen == [crumb["data"]["url"] for crumb in sent.breadcrumbs]


@contextmanager
def by_pook(url: str) -> Iterator[Seen]:
    seen: Seen = []
    with pook.use(network=True):
        for mock, body in ((pook.post, TOKEN), (pook.get, MOCKED)):
            matching = mock(pook.regex(f"{url}/.*"))
            matching.callback(lambda request, _mock: seen.append(request.url.geturl()))
            matching.reply(200).json(body)
        yield seen
