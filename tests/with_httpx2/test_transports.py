"""`transport=` takes transports of httpx2 as it takes httpx's. In a session of its own: `nox -s httpx2`."""

import gzip
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import httpx2
import pytest
from harness import ACTIVITY_ID, BASIC, OAUTH, PAGE_EXAMPLE, Flavour

from thrive_learning import (
    AsyncThriveClient,
    Attempt,
    ConfigurationError,
    ConnectionFailedError,
    DeadlineExceededError,
    Region,
    RetryPolicy,
    ThriveClient,
    ThriveError,
    Timeout,
)
from thrive_learning.testing import ServedSandbox

ONCE = RetryPolicy(attempts=1)
AT_ONCE = RetryPolicy(first_delay=0)

#: The exceptions that the transports of both libraries may raise.
FAILURES = [
    "ConnectError",
    "ConnectTimeout",
    "LocalProtocolError",
    "PoolTimeout",
    "ProxyError",
    "ReadError",
    "ReadTimeout",
    "RemoteProtocolError",
    "StreamClosed",
    "UnsupportedProtocol",
    "WriteError",
    "WriteTimeout",
]


def network_of(flavour: Flavour, **options: Any) -> Any:
    """A transport of httpx2 that opens connections."""
    kind = httpx2.HTTPTransport if flavour.name == "sync" else httpx2.AsyncHTTPTransport
    return kind(**options)


def failure(library: Any, name: str) -> Exception:
    kind = getattr(library, name)
    error: Exception = kind() if name == "StreamClosed" else kind("as the system says")
    return error


class Cut:
    """A body that ends with an exception."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __iter__(self) -> Iterator[bytes]:
        yield b'{"id": '
        raise self._error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b'{"id": '
        raise self._error


def cut(library: Any, error: Exception) -> Any:
    streams = (Cut, library.SyncByteStream, library.AsyncByteStream)
    return type("Cut", streams, {})(error)


def outcome(flavour: Flavour, transport: Any) -> tuple[type, str, list[tuple[Any, ...]]]:
    with flavour.open(Region.PRODUCTION, BASIC, transport=transport, retry=AT_ONCE) as client:
        with pytest.raises(ThriveError) as caught:
            client.activities.get(ACTIVITY_ID)
    error = caught.value
    text = re.sub(r"\d+\.\d+ s", "… s", str(error))
    return type(error), text, [(attempt.number, attempt.error) for attempt in error.history]


def test_a_record_over_a_connection_of_httpx2(flavour: Flavour, thrive_server: ServedSandbox) -> None:
    region, credentials = thrive_server.region, thrive_server.sandbox.credentials
    with flavour.open(region, credentials, transport=lambda: network_of(flavour)) as client:
        assert client.engine == "httpx"
        assert client.activities.get(ACTIVITY_ID).id == ACTIVITY_ID
    assert [request.method for request in thrive_server.sandbox.requests] == ["POST", "GET"]


def test_the_transport_gets_requests_of_its_own_library(flavour: Flavour) -> None:
    requests: list[httpx2.Request] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        return httpx2.Response(200, json=PAGE_EXAMPLE)

    transport = httpx2.MockTransport(handler)
    with flavour.open(Region.PRODUCTION, BASIC, transport=transport, timeout=Timeout(read=7)) as client:
        client.activities.get(ACTIVITY_ID)
    [request] = requests
    assert type(request) is httpx2.Request
    assert str(request.url) == f"{Region.PRODUCTION.api_url}/activity/{ACTIVITY_ID}"
    assert request.headers["host"] == "public.api.learn.link"
    assert request.headers["authorization"].startswith("Basic ")
    assert request.extensions["timeout"]["read"] == 7


def test_a_compressed_record(flavour: Flavour) -> None:
    def handler(_request: httpx2.Request) -> httpx2.Response:
        stream = httpx2.ByteStream(gzip.compress(json.dumps(PAGE_EXAMPLE).encode()))
        return httpx2.Response(200, headers={"Content-Encoding": "gzip"}, stream=stream)

    with flavour.open(Region.PRODUCTION, BASIC, transport=httpx2.MockTransport(handler)) as client:
        assert client.activities.get(ACTIVITY_ID).to_dict() == PAGE_EXAMPLE


def test_a_token_that_was_revoked_is_replaced(flavour: Flavour, thrive_server: ServedSandbox) -> None:
    region, credentials = thrive_server.region, thrive_server.sandbox.credentials
    with flavour.open(region, credentials, transport=lambda: network_of(flavour)) as client:
        client.activities.get(ACTIVITY_ID)
        thrive_server.sandbox.revoke_tokens()
        assert client.activities.get(ACTIVITY_ID).id == ACTIVITY_ID
    statuses = [request.status_code for request in thrive_server.sandbox.requests]
    assert statuses == [200, 200, 401, 200, 200]


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_comes_to_the_same_as_that_of_httpx(flavour: Flavour, name: str) -> None:
    def handler(library: Any) -> Callable[[Any], Any]:
        def fail(_request: Any) -> Any:
            raise failure(library, name)

        return fail

    ours = outcome(flavour, httpx2.MockTransport(handler(httpx2)))
    assert ours == outcome(flavour, httpx.MockTransport(handler(httpx)))
    assert issubclass(ours[0], ConnectionFailedError)


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_within_a_body_comes_to_the_same_as_that_of_httpx(flavour: Flavour, name: str) -> None:
    def handler(library: Any) -> Callable[[Any], Any]:
        return lambda _request: library.Response(200, stream=cut(library, failure(library, name)))

    ours = outcome(flavour, httpx2.MockTransport(handler(httpx2)))
    assert ours == outcome(flavour, httpx.MockTransport(handler(httpx)))
    assert issubclass(ours[0], ConnectionFailedError)


def test_the_lists_of_failures_are_complete() -> None:
    """Other exceptions of httpx2 are raised by its client or by a second read, never by a transport."""

    def names(kind: type[Any]) -> set[str]:
        children: list[type[Any]] = kind.__subclasses__()
        return {kind.__name__, *(name for child in children for name in names(child))}

    of_clients = {"HTTPStatusError", "TooManyRedirects", "DecodingError", "SSEError"}
    of_bodies = {"StreamConsumed", "ResponseNotRead", "RequestNotRead"}
    abstract = {"HTTPError", "RequestError", "TransportError", "TimeoutException"}
    abstract |= {"NetworkError", "ProtocolError", "StreamError", "CloseError"}
    found = {
        name
        for name in names(httpx2.HTTPError) | names(httpx2.StreamError)
        if getattr(httpx2, name, None) is not None
    }
    assert found - of_clients - of_bodies - abstract == set(FAILURES)


def test_a_server_that_is_not_there(flavour: Flavour) -> None:
    region = Region.custom(
        "nowhere",
        api_url="http://127.0.0.1:9",
        token_url="http://127.0.0.1:9/{tenant_id}",
        webhooks_token_url="http://127.0.0.1:9/{tenant_id}",
    )
    with flavour.open(region, BASIC, transport=lambda: network_of(flavour), retry=ONCE) as client:
        with pytest.raises(ConnectionFailedError) as caught:
            client.activities.get(ACTIVITY_ID)
    assert not isinstance(caught.value, DeadlineExceededError)


@pytest.mark.parametrize("timeout", [Timeout(read=0.2), Timeout(total=0.2)])
def test_a_server_that_is_slow(flavour: Flavour, timeout: Timeout, thrive_server: ServedSandbox) -> None:
    thrive_server.sandbox.fail_next("slow:2s", token=True)
    region, credentials = thrive_server.region, thrive_server.sandbox.credentials
    options: dict[str, Any] = {"transport": lambda: network_of(flavour), "retry": ONCE, "timeout": timeout}
    with flavour.open(region, credentials, **options) as client:
        with pytest.raises(DeadlineExceededError):
            client.activities.get(ACTIVITY_ID)


def test_attempts_are_counted_and_reported(flavour: Flavour) -> None:
    statuses = iter([503, 503, 200])
    attempts: list[Attempt] = []
    transport = httpx2.MockTransport(lambda _request: httpx2.Response(next(statuses), json=PAGE_EXAMPLE))
    options: dict[str, Any] = {"transport": transport, "retry": AT_ONCE, "on_attempt": attempts.append}
    with flavour.open(Region.PRODUCTION, BASIC, **options) as client:
        client.activities.get(ACTIVITY_ID)
    assert [attempt.status_code for attempt in attempts] == [503, 503, 200]


class Counting(httpx2.BaseTransport, httpx2.AsyncBaseTransport):
    """Counts how often it is closed."""

    def __init__(self) -> None:
        self.closed = 0
        self._inner = httpx2.MockTransport(lambda _request: httpx2.Response(200, json=PAGE_EXAMPLE))

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        return self._inner.handle_request(request)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        return await self._inner.handle_async_request(request)

    def close(self) -> None:
        self.closed += 1

    async def aclose(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("is_given", [True, False])
def test_only_a_transport_that_a_function_returns_is_closed(flavour: Flavour, *, is_given: bool) -> None:
    transport = Counting()
    injected: Any = transport if is_given else lambda: transport
    with flavour.open(Region.PRODUCTION, BASIC, transport=injected) as client:
        client.activities.get(ACTIVITY_ID)
    assert transport.closed == (0 if is_given else 1)


def test_a_transport_for_the_other_kind_of_client_is_rejected(flavour: Flavour) -> None:
    other: Any = httpx2.AsyncHTTPTransport() if flavour.name == "sync" else httpx2.HTTPTransport()
    name = "BaseTransport" if flavour.name == "sync" else "AsyncBaseTransport"
    with pytest.raises(ConfigurationError, match=rf"httpx\.{name} or httpx2\.{name}"):
        flavour.client_class(Region.PRODUCTION, OAUTH, transport=other)


def test_httpx2_is_not_imported_for_nothing() -> None:
    code = (
        "import sys, thrive_learning\n"
        f"thrive_learning.ThriveClient.sandbox().activities.get({ACTIVITY_ID!r})\n"
        "print([name for name in sys.modules if name.partition('.')[0] in ('httpx2', 'httpcore2')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "[]"


def test_type_checkers_accept_transports_of_both_libraries() -> None:
    """`nox -s types` reads this. Nothing is sent."""
    transport, transport2 = httpx.HTTPTransport(), httpx2.HTTPTransport()
    for client in (
        ThriveClient(Region.PRODUCTION, BASIC, transport=transport),
        ThriveClient(Region.PRODUCTION, BASIC, transport=transport2),
        ThriveClient(Region.PRODUCTION, BASIC, transport=httpx.HTTPTransport),
        ThriveClient(Region.PRODUCTION, BASIC, transport=lambda: httpx2.HTTPTransport(http1=True)),
    ):
        client.close()
    transport.close()
    transport2.close()
    AsyncThriveClient(Region.PRODUCTION, BASIC, transport=httpx.AsyncHTTPTransport())
    AsyncThriveClient(Region.PRODUCTION, BASIC, transport=httpx2.AsyncHTTPTransport())
    AsyncThriveClient(Region.PRODUCTION, BASIC, transport=httpx2.AsyncHTTPTransport)


@pytest.mark.parametrize("runtime", ["sync", "asyncio", "trio"])
def test_the_whole_package_runs_on_httpx2_under_the_name_of_httpx(
    runtime: str, thrive_server: ServedSandbox
) -> None:
    """Applications that have moved may let httpx2 take the place of httpx."""
    code = f"""
import httpx2
httpx2.alias_httpx()
import anyio, httpx, thrive_learning

async def main():
    async with thrive_learning.AsyncThriveClient.from_env() as client:
        return await client.activities.get({ACTIVITY_ID!r})

if {runtime!r} == "sync":
    with thrive_learning.ThriveClient.from_env() as client:
        record = client.activities.get({ACTIVITY_ID!r})
else:
    record = anyio.run(main, backend={runtime!r})
assert httpx is httpx2
print(record.id)
"""
    environ = os.environ | dict(thrive_server.environ)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, check=False, env=environ, text=True)
    assert done.stdout.strip() == ACTIVITY_ID, done.stderr
