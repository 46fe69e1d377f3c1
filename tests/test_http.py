import gzip
import json
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anyio
import httpx
import pytest
from harness import ACTIVITY_ID, BASIC, OAUTH, PAGE_EXAMPLE, Flavour, page_response, token_response
from hypothesis import given, settings
from hypothesis import strategies as st

import thrive_learning
from thrive_learning import (
    ApiError,
    AsyncThriveClient,
    ClientClosedError,
    ConfigurationError,
    ConnectionFailedError,
    DeadlineExceededError,
    Region,
    RetryPolicy,
    ServerError,
    ThriveClient,
    ThriveError,
    Timeout,
    UnexpectedResponseError,
)
from thrive_learning._http import DocumentedResponse
from thrive_learning._outcome import Reply
from thrive_learning.errors import api_error_class

ONCE = RetryPolicy(attempts=1)
GZIP = {"content-encoding": "gzip"}
#: Bodies that no record can be read from, with the headers that they come with.
BODIES: dict[str, tuple[bytes, dict[str, str]]] = {
    "JSON": (json.dumps({"status": 1, "error": "e", "message": "m"}).encode(), {}),
    "HTML": (b"<!doctype html><h1>Bad Gateway</h1>", {"content-type": "text/html"}),
    "empty": (b"", {}),
    "null": (b"null", {}),
    "[]": (b"[]", {}),
    '"x"': (b'"x"', {}),
    "[1]": (b"[1]", {}),
    "truncated gzip": (gzip.compress(json.dumps(PAGE_EXAMPLE).encode())[:-12], GZIP),
}


class Chunks(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that arrives in pieces, the last of which may be an exception."""

    def __init__(self, *chunks: bytes | Exception, before_each: Callable[[], object] = lambda: None) -> None:
        self._chunks = chunks
        self._before_each = before_each
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self._before_each()
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self:
            await anyio.lowlevel.checkpoint()
            yield chunk

    def close(self) -> None:
        self.closed += 1

    async def aclose(self) -> None:
        self.closed += 1


def respond(status: int, body: bytes | Chunks, headers: dict[str, str] | None = None) -> httpx.Response:
    """Build a response as a transport gives it: not read yet."""
    stream = httpx.ByteStream(body) if isinstance(body, bytes) else body
    return httpx.Response(status, headers=headers, stream=stream)


def raised_by(client: Any, **options: Any) -> ThriveError:
    with pytest.raises(ThriveError) as caught:
        client.activities.get(ACTIVITY_ID, **options)
    return caught.value


@pytest.mark.parametrize("body", BODIES)
def test_every_status_but_200_gives_its_error(flavour: Flavour, body: str) -> None:
    content, headers = BODIES[body]
    status = 0
    with flavour.answering(lambda _request: respond(status, content, headers)) as client:
        for status in range(100, 1000):
            if status == 200:
                continue
            error = raised_by(client)
            if 200 <= status <= 299:
                assert type(error) is UnexpectedResponseError
                assert error.status_code == status
            else:
                assert type(error) is api_error_class(status)
                assert isinstance(error, ApiError)
                assert (error.status_code, error.region, error.attempts) == (status, "production", 1)
                assert error.message == ("m" if body == "JSON" else None)
            assert f"production answered {status} to the request for activity {ACTIVITY_ID}" in str(error)
            assert (error.__cause__, error.__context__) == (None, None)


@pytest.mark.parametrize("body", BODIES)
def test_a_200_without_a_record_is_never_one(flavour: Flavour, body: str) -> None:
    content, headers = BODIES[body]
    with flavour.answering(lambda _request: respond(200, content, headers)) as client:
        error = raised_by(client)
    expected = ConnectionFailedError if body == "truncated gzip" else UnexpectedResponseError
    assert type(error) is expected
    assert (error.__cause__, error.__context__) == (None, None)


@pytest.mark.parametrize("backend", [None, "asyncio", "trio"])
@settings(max_examples=50)
@given(
    status=st.integers(100, 999) | st.just(200),
    body=st.binary()
    | st.recursive(
        st.none() | st.booleans() | st.text() | st.floats() | st.integers(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*PAGE_EXAMPLE]) | st.text(), inner),
    ).map(lambda value: json.dumps(value).encode()),
    encoding=st.sampled_from(["", "gzip", "deflate", "br"]),
    retry_after=st.text(st.characters(codec="ascii"), max_size=10),
)
def test_no_response_at_all_gives_another_exception(
    backend: str | None, status: int, body: bytes, encoding: str, retry_after: str
) -> None:
    headers = {"content-encoding": encoding, "retry-after": retry_after, "x-request-id": "\x7f"}
    transport = httpx.MockTransport(lambda _request: respond(status, body, headers))

    async def get() -> None:
        async with AsyncThriveClient(Region.STAGING, BASIC, transport=transport, retry=ONCE) as client:
            await client.activities.get(ACTIVITY_ID)

    error: ThriveError | None = None
    try:
        if backend is None:
            with ThriveClient(Region.STAGING, BASIC, transport=transport, retry=ONCE) as client:
                client.activities.get(ACTIVITY_ID)
        else:
            anyio.run(get, backend=backend)
    except ThriveError as caught:
        error = caught
    if error is not None:
        assert str(error).isprintable()
        assert (error.__cause__, error.__context__) == (None, None)


def test_a_request_on_the_wire(flavour: Flavour) -> None:
    requests: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return page_response()

    with flavour.answering(handler, application="reports/1.4 (batch)") as client:
        client.activities.get(ACTIVITY_ID)
    [request] = requests
    python = ".".join(map(str, sys.version_info[:3]))
    authorization = request.headers.pop("authorization")
    assert authorization.startswith("Basic ")
    assert (request.method, str(request.url)) == (
        "GET",
        f"https://public.api.learn.link/rest/v1/activity/{ACTIVITY_ID}",
    )
    assert dict(request.headers) == {
        "host": "public.api.learn.link",
        "accept": "application/json",
        "accept-encoding": "gzip",
        "user-agent": f"reports/1.4 (batch) thrive-learning/{thrive_learning.__version__} python/{python} "
        f"httpx/{httpx.__version__}",
    }
    assert request.content == b""


def test_every_phase_has_its_limit(flavour: Flavour) -> None:
    seen: list[dict[str, float]] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.extensions["timeout"])
        return token_response() if request.method == "POST" else page_response()

    with flavour.answering(
        handler, OAUTH, timeout=Timeout(total=50, connect=1, read=2, write=3, pool=4)
    ) as client:
        client.activities.get(ACTIVITY_ID)
        client.activities.get(ACTIVITY_ID, timeout=0.5)
    assert seen[:2] == [{"connect": 1, "read": 2, "write": 3, "pool": 4}] * 2
    assert all(0 < limit <= 0.5 for limit in seen[2].values())


@pytest.mark.parametrize("application", ["", " a", "a  b", "a\r\nx: y", "\N{EURO SIGN}", "a\tb", 5])
def test_what_cannot_stand_in_a_user_agent(flavour: Flavour, application: Any) -> None:
    with pytest.raises(ConfigurationError, match="application is"):
        flavour.client_class(Region.PRODUCTION, BASIC, application=application)


def test_cookies_are_neither_kept_nor_sent(flavour: Flavour) -> None:
    sent: list[str | None] = []

    def handler(request: httpx.Request) -> httpx.Response:
        sent.append(request.headers.get("cookie"))
        return httpx.Response(200, json=PAGE_EXAMPLE, headers={"set-cookie": "a=b"})

    with flavour.answering(handler) as client:
        client.activities.get(ACTIVITY_ID)
        client.activities.get(ACTIVITY_ID)
    assert sent == [None, None]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(flavour: Flavour, status: int) -> None:
    urls: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        urls.append(str(request.url))
        return httpx.Response(status, headers={"location": "https://evil.example/x"})

    with flavour.answering(handler) as client:
        error = raised_by(client)
        assert type(error) is ApiError
        assert "redirects to https://evil.example" in str(error)
    assert len(urls) == 1


def test_a_compressed_record(flavour: Flavour) -> None:
    content = gzip.compress(json.dumps(PAGE_EXAMPLE).encode())
    body = Chunks(content[:10], content[10:])
    with flavour.answering(lambda _request: respond(200, body, GZIP)) as client:
        assert client.activities.get(ACTIVITY_ID).to_dict() == PAGE_EXAMPLE
    assert body.closed


def test_a_body_need_not_be_a_generator(flavour: Flavour) -> None:
    class Pieces(Chunks):
        def __aiter__(self) -> AsyncIterator[bytes]:
            pieces = iter(self)

            class Iterator(AsyncIterator[bytes]):
                async def __anext__(self) -> bytes:
                    try:
                        return next(pieces)
                    except StopIteration:
                        raise StopAsyncIteration from None

            return Iterator()

    body = Pieces(json.dumps(PAGE_EXAMPLE).encode())
    with flavour.answering(lambda _request: respond(200, body)) as client:
        assert client.activities.get(ACTIVITY_ID).to_dict() == PAGE_EXAMPLE
    assert body.closed


def test_a_body_above_the_cap_is_not_read_to_its_end(flavour: Flavour) -> None:
    read = []
    body = Chunks(*[bytes(1024 * 1024)] * 1000, before_each=lambda: read.append(1))
    with flavour.answering(lambda _request: respond(200, body)) as client:
        error = raised_by(client)
    assert type(error) is UnexpectedResponseError
    assert "larger than 10485760 bytes" in str(error)
    assert len(read) in {11, 12}  # an async read is cancelled when it has begun
    assert body.closed


def test_a_cut_body(flavour: Flavour) -> None:
    def handler(_request: httpx.Request) -> httpx.Response:
        return respond(status, Chunks(b'{"message": "m', httpx.RemoteProtocolError("peer closed connection")))

    with flavour.answering(handler) as client:
        status = 200
        error = raised_by(client)
        assert type(error) is ConnectionFailedError
        assert "cut off after 14 bytes (RemoteProtocolError)" in str(error)
        status = 503
        error = raised_by(client)
        assert type(error) is ServerError
        assert error.body == '{"message": "m'


@pytest.mark.parametrize(
    "cause",
    [
        httpx.ConnectError("[Errno 111] Connection refused"),
        httpx.ReadError(""),
        httpx.RemoteProtocolError("Server disconnected"),
        httpx.ProxyError("407 Proxy Authentication Required"),
        OSError("unplugged"),
        RuntimeError("a broken transport"),
    ],
    ids=lambda cause: type(cause).__name__,
)
def test_no_response(flavour: Flavour, cause: Exception) -> None:
    def handler(_request: httpx.Request) -> httpx.Response:
        raise cause

    with flavour.answering(handler) as client:
        error = raised_by(client)
    assert type(error) is ConnectionFailedError
    assert f"no response from public.api.learn.link: {type(cause).__name__}" in str(error)
    assert str(cause) in str(error)
    assert (error.__cause__, error.__context__) == (None, None)


@pytest.mark.parametrize(
    ("cause", "limit"),
    [
        (httpx.ConnectTimeout("x"), "Timeout.connect=5 s"),
        (httpx.ReadTimeout("x"), "Timeout.read=30 s"),
        (httpx.WriteTimeout("x"), "Timeout.write=10 s"),
        (httpx.PoolTimeout("x"), "Timeout.pool=10 s"),
        (TimeoutError("x"), "Timeout.total=60 s"),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("in_the_body", [False, True])
def test_a_phase_that_takes_too_long(
    flavour: Flavour, cause: Exception, limit: str, *, in_the_body: bool
) -> None:
    def handler(_request: httpx.Request) -> httpx.Response:
        if in_the_body:
            return respond(200, Chunks(b"{", cause))
        raise cause

    with flavour.answering(handler) as client:
        error = raised_by(client)
    if type(cause) is TimeoutError:
        limit = "TimeoutError"  # no phase of httpx's, and the call is not over
        assert type(error) is ConnectionFailedError
    else:
        assert type(error) is DeadlineExceededError
    assert limit in str(error)


def test_a_call_that_is_over_before_it_sends_anything(flavour: Flavour) -> None:
    requests: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return page_response()

    with flavour.answering(handler) as client:
        error = raised_by(client, timeout=1e-9)
    assert type(error) is DeadlineExceededError
    assert "Timeout.total=1e-09 s" in str(error)
    assert not requests


def test_a_body_that_dribbles_past_the_deadline(flavour: Flavour) -> None:
    body = Chunks(*[b" "] * 1000, before_each=lambda: threading.Event().wait(0.01))
    with flavour.answering(lambda _request: respond(200, body)) as client:
        error = raised_by(client, timeout=0.05)
    assert type(error) is DeadlineExceededError
    assert "Timeout.total=0.05 s" in str(error)
    assert body.closed


@pytest.mark.anyio
async def test_a_transport_that_never_answers_ends_with_the_call() -> None:
    class Silent(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            await anyio.sleep_forever()
            raise AssertionError(request)

    async with AsyncThriveClient(Region.PRODUCTION, OAUTH, transport=Silent()) as client:
        with pytest.raises(DeadlineExceededError):
            await client.activities.get(ACTIVITY_ID, timeout=0.02)
        with pytest.raises(DeadlineExceededError):
            await client.tokens.get(timeout=0.02)


def test_after_close_nothing_is_sent(flavour: Flavour) -> None:
    requests: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return token_response() if request.method == "POST" else page_response()

    with flavour.answering(handler, OAUTH) as client:
        client.activities.get(ACTIVITY_ID)
        sent = len(requests)
        client.close()
        for call in (lambda: client.activities.get(ACTIVITY_ID), client.tokens.get):
            with pytest.raises(ClientClosedError, match="create a new client"):
                call()
    assert len(requests) == sent


def test_the_seam_takes_paths_of_the_contract_only(flavour: Flavour) -> None:
    with flavour.answering(lambda _request: page_response()) as client:
        seam = client._http.seam
        assert (
            seam.request("get", "/x", {"params": {"a": "b"}}, b"x").url
            == "https://public.api.learn.link/rest/v1/x?a=b"
        )
        headers = seam.request("get", "/x", {"headers": {"If-Match": "1"}}, b"x").headers
        assert (headers["if-match"], headers["authorization"]) == ("1", "x")
        with pytest.raises(ConfigurationError, match="begin with a slash"):
            seam.request("get", "https://evil.example/", {}, b"x")


def test_nothing_goes_around_the_seam(flavour: Flavour) -> None:
    with flavour.answering(lambda _request: page_response()) as client:
        http = client._http
        with pytest.raises(NotImplementedError):
            http.send(httpx.Request("GET", "https://evil.example/"))


def test_what_the_generated_parser_sees() -> None:
    reply = Reply(status_code=200, headers=httpx.Headers({"a": "b"}), body=b"{}")
    response = DocumentedResponse(reply, {"a": 1})
    assert (response.status_code, response.headers["a"], response.content) == (200, "b", b"{}")
    assert response.json() == {"a": 1}
    assert repr(response) == "<Response [200 OK]>"


def test_nobody_is_called_in_these_tests() -> None:
    """The suite's own guard: a connection beyond this machine fails at once."""
    with pytest.raises(Exception, match=r"192\.0\.2\.1"), socket.socket() as there:
        there.connect(("192.0.2.1", 443))
