"""Each tool sees the requests of each engine that the table in the documents lists."""

import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from harness import ACTIVITY_ID, ROOT, Flavour
from observers import watchers
from observers.watchers import MOCKED, Watch
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from thrive_learning import Attempt, OpenTelemetry, RetryPolicy, ThriveClient
from thrive_learning.testing import ServedSandbox

PAGE = (ROOT / "docs/how-to/observe-requests.md").read_text(encoding="utf-8")
#: Tool → what it sees of httpx's client, of our default engine, of our fast engine.
TABLE = dict[str, list[str]](
    (cells[0], cells[-3:])
    for line in re.findall(r"^\| (.+) \|$", PAGE, re.MULTILINE)
    if len(cells := line.split(" | ")) == 5
)
SENDERS = ["httpx.Client", "httpx", "fast"]
TOOLS = [tool for tool in TABLE if tool not in {"Tool", "---", "mocket"}]


@pytest.fixture(params=TOOLS)
def tool(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def watch(tool: str, request: pytest.FixtureRequest, thrive_server: ServedSandbox, tmp_path: Path) -> Watch:
    url = thrive_server.url
    watches: dict[str, Watch] = {
        "respx": lambda: watchers.by_respx(url),
        'respx with `using="httpx"`': lambda: watchers.by_respx(url, using="httpx"),
        "pytest-httpx": lambda: watchers.by_pytest_httpx(request.getfixturevalue("httpx_mock")),
        "VCR.py": lambda: watchers.by_vcr(tmp_path / "cassette.yaml"),
        "OpenTelemetry": watchers.by_open_telemetry,
        "Sentry": watchers.by_sentry,
        "pook": lambda: watchers.by_pook(url),
    }
    return watches[tool]


def test_the_table_has_every_tool_once() -> None:
    assert len(TOOLS) == 7
    assert "mocket" in TABLE
    assert {cell for tool in TOOLS for cell in TABLE[tool]} == {"every request", "nothing"}


def test_requests_that_a_tool_sees_of_an_httpx_client(
    tool: str, watch: Watch, thrive_server: ServedSandbox
) -> None:
    """The control: as far as a tool sees anything at all, it does so here."""
    with watch() as seen, httpx.Client() as client:
        client.get(f"{thrive_server.url}/rest/v1/activity/{ACTIVITY_ID}")
    assert (len(seen) == 1) == (TABLE[tool][0] == "every request")


@pytest.mark.parametrize("engine", ["httpx", "fast"])
def test_requests_that_a_tool_sees_of_an_engine(
    flavour: Flavour, engine: str, tool: str, watch: Watch, thrive_server: ServedSandbox
) -> None:
    region, credentials = thrive_server.region, thrive_server.sandbox.credentials
    with watch() as seen, flavour.open(region, credentials, engine=engine) as client:
        name = client.activities.get(ACTIVITY_ID).name
    both = [
        f"{thrive_server.url}/oauth2/token/{credentials.tenant_id}",
        f"{thrive_server.url}/rest/v1/activity/{ACTIVITY_ID}",
    ]
    expected = both if TABLE[tool][SENDERS.index(engine)] == "every request" else []
    assert seen == expected
    # Mocked requests were not sent, and requests that no tool saw were.
    assert (name == MOCKED["name"]) == (not thrive_server.sandbox.requests)


def test_a_recorded_cassette_is_played_again(
    flavour: Flavour, thrive_server: ServedSandbox, tmp_path: Path
) -> None:
    region, credentials = thrive_server.region, thrive_server.sandbox.credentials
    records = []
    for _ in range(2):
        with watchers.by_vcr(tmp_path / "cassette.yaml"), flavour.open(region, credentials) as client:
            records.append(client.activities.get(ACTIVITY_ID))
    assert records[0] == records[1]
    assert len(thrive_server.sandbox.requests) == 2  # for the token and the record, once each


@pytest.mark.parametrize("runtime", ["sync", "asyncio", "trio"])
@pytest.mark.parametrize("sender", SENDERS)
def test_requests_that_mocket_sees(sender: str, runtime: str) -> None:
    seen = TABLE["mocket"][SENDERS.index(sender)]
    command = [sys.executable, str(Path(__file__).with_name("through_mocket.py")), sender, runtime]
    done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=120)
    sees = seen == "every request" or runtime in seen.split()
    assert done.stdout.strip() == ("mocked" if sees else "not mocked"), done.stderr


def shown(file: str) -> dict[str, Any]:
    """Run a file that the document shows."""
    [code] = re.findall(rf"```python\n(# {re.escape(file)}\n.+?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {"__name__": file}
    exec(compile(code, file, "exec"), names)  # noqa: S102 - our own document
    return names


def test_the_recipe_for_sentry_reports_each_attempt(flavour: Flavour, thrive_server: ServedSandbox) -> None:
    thrive_server.sandbox.fail_next(503)
    region, credentials = thrive_server.region, thrive_server.sandbox.credentials
    attempts: list[Attempt] = []
    report = shown("sentry_attempts.py")["report"]

    def both(attempt: Attempt) -> None:
        attempts.append(attempt)
        report(attempt)

    with watchers.sentry() as sent:
        without_waits = RetryPolicy(first_delay=0)
        with flavour.open(region, credentials, on_attempt=both, retry=without_waits) as client:
            client.activities.get(ACTIVITY_ID)
    expected = [("tokens.get", 200), ("activities.get", 503), ("activities.get", 200)]
    status = "http.response.status_code"
    assert [(span["description"], span["data"][status]) for span in sent.spans] == expected
    assert [(crumb["message"], crumb["data"][status]) for crumb in sent.breadcrumbs] == expected
    for span, attempt in zip(sent.spans, attempts, strict=True):
        assert span["op"] == "http.client"
        took = datetime.fromisoformat(span["timestamp"]) - datetime.fromisoformat(span["start_timestamp"])
        assert took.total_seconds() == pytest.approx(attempt.elapsed, abs=0.00001)
    assert thrive_server.sandbox.sandbox.tenant_id not in str(sent.events)


@pytest.mark.parametrize("tool", [tool for tool in TOOLS if TABLE[tool][1] == "nothing"])
def test_patches_of_httpx_clients_see_a_client_used_as_transport(
    watch: Watch, thrive_server: ServedSandbox
) -> None:
    transport = shown("through_a_client.py")["ThroughClient"]
    region, credentials = thrive_server.region, thrive_server.sandbox.credentials
    with watch() as seen, ThriveClient(region, credentials, transport=transport) as client:
        client.activities.get(ACTIVITY_ID)
    assert len(seen) == 2


def test_spans_of_httpx_are_children_of_ours(flavour: Flavour, thrive_server: ServedSandbox) -> None:
    thrive_server.sandbox.fail_next(503)
    region, credentials = thrive_server.region, thrive_server.sandbox.credentials
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    options = {"telemetry": OpenTelemetry(provider), "retry": RetryPolicy(first_delay=0)}
    HTTPXClientInstrumentor().instrument(tracer_provider=provider)
    try:
        with flavour.open(region, credentials, **options) as client:
            client.activities.get(ACTIVITY_ID)
            list(client.activities.get_many([ACTIVITY_ID]))
    finally:
        HTTPXClientInstrumentor().uninstrument()
    spans = exporter.get_finished_spans()
    get, run = (span for span in spans if span.name.startswith("thrive."))
    of_httpx = [span for span in spans if span not in {get, run}]
    assert [span.kind for span in of_httpx] == [SpanKind.CLIENT] * 4  # a token, two attempts, and the run's
    assert [span.parent for span in of_httpx] == [get.context] * 3 + [run.context]
    assert len(get.events) == 3
