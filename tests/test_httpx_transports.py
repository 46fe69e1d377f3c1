import functools
import subprocess
import sys
from typing import Any

import httpcore
import httpx
import pytest
import respx
from harness import ACTIVITY_ID, BASIC, PAGE_EXAMPLE, Flavour

from thrive_learning import ConnectionFailedError, Region, RetryPolicy
from thrive_learning._httpx_transports import AsyncPooledTransport, PooledTransport
from thrive_learning._transport import tls_context

URL = f"https://public.api.learn.link/rest/v1/activity/{ACTIVITY_ID}"
ERRORS = [
    *("ConnectError", "ConnectTimeout", "LocalProtocolError", "NetworkError", "PoolTimeout", "ProtocolError"),
    *("ProxyError", "ReadError", "ReadTimeout", "RemoteProtocolError", "TimeoutException"),
    *("UnsupportedProtocol", "WriteError", "WriteTimeout"),
]


class Broken:
    """A pool that raises, at once or in the body."""

    is_hooked = False

    def __init__(self, error: Exception, *, in_body: bool) -> None:
        self._error = error
        self._in_body = in_body
        self.closed = False

    def handle_request(self, _request: Any) -> Any:
        if not self._in_body:
            raise self._error
        return httpcore.Response(200, content=self)

    async def handle_async_request(self, request: Any) -> Any:
        return self.handle_request(request)

    def __iter__(self) -> Any:
        yield b"{"
        raise self._error

    async def __aiter__(self) -> Any:
        yield b"{"
        raise self._error

    def close(self) -> None:
        self.closed = True

    async def aclose(self) -> None:
        self.close()


@pytest.mark.anyio
@pytest.mark.parametrize("in_body", [False, True])
@pytest.mark.parametrize(
    ("error", "becomes"),
    [
        *((getattr(httpcore, name)("why"), getattr(httpx, name)) for name in ERRORS),
        (ZeroDivisionError("why"), ZeroDivisionError),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_errors_are_those_of_httpx(
    error: Exception, becomes: type[Exception], *, in_body: bool
) -> None:
    request = httpx.Request("GET", URL)
    transport: Any = PooledTransport(tls_context(verify=True), None)
    transport._own_pool = Broken(error, in_body=in_body)
    with pytest.raises(becomes, match="why") as caught:
        transport.handle_request(request).read()
    assert type(caught.value) is becomes
    transport = AsyncPooledTransport(tls_context(verify=True), None)
    transport._own_pool = Broken(error, in_body=in_body)
    with pytest.raises(becomes, match="why") as caught:
        await (await transport.handle_async_request(request)).aread()
    assert type(caught.value) is becomes


def test_every_error_of_httpcore_has_its_twin() -> None:
    """A new version that adds one has to fail here."""
    theirs = {
        name
        for name in httpcore.__all__
        if isinstance(getattr(httpcore, name), type) and issubclass(getattr(httpcore, name), Exception)
    }
    assert theirs - {"ConnectionNotAvailable"} == set(ERRORS)


@pytest.fixture(params=["httpx", "httpcore"])
def proxied(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Through a proxy, and directly."""
    if request.param == "httpcore":
        monkeypatch.setenv("HTTPS_PROXY", "http://proxy.invalid:3128")
    name: str = request.param
    return name


def test_respx_takes_the_place_of_the_network(flavour: Flavour, proxied: str) -> None:
    with respx.mock() as router, flavour.open(Region.PRODUCTION, BASIC) as client:
        router.get(URL).respond(json=PAGE_EXAMPLE)
        assert client.activities.get(ACTIVITY_ID).id == ACTIVITY_ID, proxied
        assert router.calls.call_count == 1


def test_respx_may_be_there_before_the_first_client() -> None:
    """What sends is loaded with that client: whatever it then finds need not be httpx's own."""
    program = f"""
import asyncio, respx
with respx.mock() as router:
    router.get({URL!r}).respond(json={PAGE_EXAMPLE!r})
    import thrive_learning as t
    credentials = t.BasicCredentials("tenant", "a secret")
    print(t.ThriveClient("production", credentials).activities.get({ACTIVITY_ID!r}).id)
    asynchronous = t.AsyncThriveClient("production", credentials)
    print(asyncio.run(asynchronous.activities.get({ACTIVITY_ID!r})).id)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.split() == [ACTIVITY_ID, ACTIVITY_ID], done.stderr


def test_what_instruments_httpx_sees_each_request(flavour: Flavour, monkeypatch: pytest.MonkeyPatch) -> None:
    """As OpenTelemetry does it: by wrapping the method of httpx's transport."""
    seen: list[str] = []
    whole, whole_async = (
        httpx.HTTPTransport.handle_request,
        httpx.AsyncHTTPTransport.handle_async_request,
    )

    @functools.wraps(whole)
    def handle(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        seen.append(str(request.url))
        return whole(self, request)

    @functools.wraps(whole_async)
    async def handle_async(self: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        seen.append(str(request.url))
        return await whole_async(self, request)

    replaced: list[tuple[type, str, Any]] = [
        (httpx.HTTPTransport, "handle_request", handle),
        (httpx.AsyncHTTPTransport, "handle_async_request", handle_async),
    ]
    for kind, name, function in replaced:
        monkeypatch.setattr(kind, name, function)
    once = RetryPolicy(attempts=1)
    region = Region.custom(
        "here", api_url="http://127.0.0.1:1/rest", token_url="http://127.0.0.1:1/{tenant_id}"
    )
    with flavour.open(region, BASIC, retry=once) as client, pytest.raises(ConnectionFailedError):
        client.activities.get(ACTIVITY_ID)
    assert seen == [f"http://127.0.0.1:1/rest/activity/{ACTIVITY_ID}"]
