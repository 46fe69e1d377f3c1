import contextlib
import datetime as dt
import email.utils
import gzip
import json
import logging
import pickle
import re
import socket
import ssl
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Self

import anyio
import httpx
import pytest
import trustme
from harness import (
    ACTIVITY_ID,
    BASIC,
    OAUTH,
    PAGE_EXAMPLE,
    TENANT_ID,
    Flavour,
    Kept,
    page_response,
    token_response,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from patience import PATIENCE_S, growing_limits

import thrive_learning
from thrive_learning import (
    ApiError,
    AsyncThriveClient,
    Attempt,
    ClientClosedError,
    ConfigurationError,
    ConnectionFailedError,
    DeadlineExceededError,
    Region,
    RetryPolicy,
    ServerError,
    Service,
    ThriveClient,
    ThriveError,
    Timeout,
    UnexpectedResponseError,
)
from thrive_learning._budget import Budget
from thrive_learning._call.generated import GET_ACTIVITY
from thrive_learning._call.operation import MAX_ITEMS
from thrive_learning._call.seam import Call, DocumentedResponse
from thrive_learning._exchange.messages import api_error_class
from thrive_learning._exchange.reply import Reply

ONCE = RetryPolicy(attempts=1)
AT_ONCE = RetryPolicy(attempts=3, first_delay=0, max_delay=0)
CLOSED = "The client is closed. Make the call before closing it, or create a new client."
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


WANTED = f"activities.get {ACTIVITY_ID}"
WANTED_URL = f"https://public.api.learn.link/rest/v1/activity/{ACTIVITY_ID}"


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
                assert type(error) is api_error_class(status, in_api_format=False)
                assert isinstance(error, ApiError)
                assert (error.status_code, error.region, error.attempts) == (status, "production", 1)
                assert error.message == ("m" if body == "JSON" else None)
            assert f"answered {status} " in str(error)
            assert ACTIVITY_ID in str(error)
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


@pytest.mark.parametrize(
    ("application", "named"), [("reports/1.4 (batch)", "reports/1.4 (batch) "), (None, "")]
)
def test_a_request_on_the_wire(flavour: Flavour, application: str | None, named: str) -> None:
    requests: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return page_response()

    with flavour.answering(handler, application=application) as client:
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
        "user-agent": f"{named}thrive-learning/{thrive_learning.__version__} python/{python} "
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
        client.tokens.get(scopes=["api/write"], timeout=0.5)
        client.tokens.get(scopes=["api/all"])
    assert [seen.pop(0), seen.pop(0), seen.pop()] == [{"connect": 1, "read": 2, "write": 3, "pool": 4}] * 3
    assert len(seen) == 2
    assert all(0 < limit <= 0.5 for limits in seen for limit in limits.values())


@pytest.mark.parametrize("application", ["", " a", "a  b", "a\r\nx: y", "\N{EURO SIGN}", "a\tb", 5])
def test_an_invalid_application_name_is_rejected(flavour: Flavour, application: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        flavour.client_class(Region.PRODUCTION, BASIC, application=application)
    assert str(caught.value) == (
        f"application is {application!r}. Pass visible ASCII characters such as 'reports/1.4', with single "
        "spaces between words."
    )


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
    assert "larger than 1048576 bytes; max_record_bytes= raises this limit" in str(error)
    assert len(read) in {2, 3}  # an async read is canceled after it has begun
    assert body.closed


def test_a_cut_body(flavour: Flavour) -> None:
    def handler(_request: httpx.Request) -> httpx.Response:
        return respond(status, Chunks(b'{"message": "m', httpx.RemoteProtocolError("peer closed connection")))

    with flavour.answering(handler) as client:
        status = 200
        error = raised_by(client)
        assert type(error) is ConnectionFailedError
        assert "cut off after 14 bytes (the server broke the HTTP protocol)" in str(error)
        status = 503
        error = raised_by(client)
        assert type(error) is ServerError
        assert error.body == '{"message": "m'


@pytest.mark.parametrize(
    ("cause", "said"),
    [
        (httpx.ConnectError(""), "connecting failed"),
        (httpx.ReadError(""), "reading failed"),
        (
            httpx.RemoteProtocolError("Server disconnected"),
            "the server broke the HTTP protocol: Server disconnected",
        ),
        (OSError("unplugged"), "the transport failed: OSError: unplugged"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_no_response(flavour: Flavour, cause: Exception, said: str) -> None:
    def handler(_request: httpx.Request) -> httpx.Response:
        raise cause

    with flavour.answering(handler) as client:
        error = raised_by(client)
    assert type(error) is ConnectionFailedError
    assert str(error).startswith("The connection to public.api.learn.link failed before a response arrived ")
    assert f"({said})" in str(error)
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
        # It is not a timeout of httpx, and the call is not over.
        limit = "the transport failed" if in_the_body else "the transport failed: TimeoutError: x"
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
    bodies: list[Chunks] = []

    def answer(_request: httpx.Request) -> httpx.Response:
        bodies.append(Chunks(*[b" "] * 1000, before_each=lambda: threading.Event().wait(0.01)))
        return respond(200, bodies[0])

    with flavour.answering(answer) as client:
        for limit_s in growing_limits(0.05):
            error = raised_by(client, timeout=limit_s)
            if bodies:
                break
        else:
            pytest.fail("no limit was long enough")
    assert type(error) is DeadlineExceededError
    assert f"Timeout.total={limit_s:g} s" in str(error)
    assert bodies[0].closed


class Silent(httpx.AsyncBaseTransport):
    """Gives what it has, and then never answers."""

    def __init__(self, *responses: httpx.Response) -> None:
        self.responses = list(responses)
        self.is_silent = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if not self.responses:
            self.is_silent = True
            await anyio.sleep_forever()
            raise AssertionError(request)
        return self.responses.pop(0)


@pytest.mark.anyio
async def test_a_transport_that_never_answers_ends_with_the_call() -> None:
    async with AsyncThriveClient(Region.PRODUCTION, OAUTH, transport=Silent()) as client:
        with pytest.raises(DeadlineExceededError):
            await client.activities.get(ACTIVITY_ID, timeout=0.02)
        with pytest.raises(DeadlineExceededError):
            await client.tokens.get(timeout=0.02)


@pytest.mark.anyio
async def test_a_call_canceled_at_its_deadline_reports_its_attempts() -> None:
    for limit_s in growing_limits(0.5):
        transport = Silent(httpx.Response(503, headers={"x-request-id": "r-1"}))
        async with AsyncThriveClient(Region.PRODUCTION, BASIC, transport=transport, retry=AT_ONCE) as client:
            with pytest.raises(DeadlineExceededError) as caught:
                await client.activities.get(ACTIVITY_ID, timeout=limit_s)
        if transport.is_silent:
            break
    else:
        pytest.fail("no limit was long enough")
    assert re.fullmatch(
        rf"public\.api\.learn\.link did not answer within Timeout\.total={limit_s:g} s, "
        r"so the call ended after \d+\.\d+ s\. Try again later, or allow more time with timeout=\.",
        str(caught.value),
    )
    attempt, late = caught.value.history
    assert (attempt.number, attempt.status_code, attempt.error) == (1, 503, "status 503")
    assert (attempt.delay, attempt.request_id) == (0, "r-1")
    assert (late.number, late.status_code, late.error) == (2, None, "DeadlineExceededError")


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
            with pytest.raises(ClientClosedError) as caught:
                call()
            assert str(caught.value) == CLOSED
            assert caught.value.attempts == 0
    assert len(requests) == sent


class ClosedMeanwhile(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Has its client closed while it answers a request of some method, and then answers."""

    client: Any

    def __init__(self, method: str, answer: Callable[[], httpx.Response]) -> None:
        self.method = method
        self.answer = answer
        self.sent: list[str] = []

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(request.method)
        if request.method == self.method:
            return self.answer()
        return token_response()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == self.method:
            self.client.close()
        return self._answer(request)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == self.method:
            await self.client.aclose()
        return self._answer(request)


def reset() -> httpx.Response:
    raise httpx.ReadError("closed")


def cut() -> httpx.Response:
    return respond(200, Chunks(b"{", httpx.ReadError("closed")))


@pytest.mark.parametrize(
    ("method", "answer", "sent"),
    [
        ("POST", token_response, ["POST"]),
        ("POST", reset, ["POST"]),
        ("POST", cut, ["POST"]),
        ("GET", reset, ["POST", "GET"]),
        ("GET", cut, ["POST", "GET"]),
        ("GET", lambda: respond(503, b""), ["POST", "GET"]),
    ],
)
def test_a_call_whose_client_is_closed_meanwhile(
    flavour: Flavour, method: str, answer: Callable[[], httpx.Response], sent: list[str]
) -> None:
    transport = ClosedMeanwhile(method, answer)
    transport.client = flavour.client_class(Region.PRODUCTION, OAUTH, transport=transport, retry=AT_ONCE)
    error = raised_by(flavour.wrap(transport.client))
    assert type(error) is ClientClosedError
    assert str(error) == CLOSED
    assert (error.__cause__, error.__context__) == (None, None)
    assert transport.sent == sent


def test_a_record_that_arrives_after_the_close_is_given(flavour: Flavour) -> None:
    transport = ClosedMeanwhile("GET", page_response)
    transport.client = flavour.client_class(Region.PRODUCTION, BASIC, transport=transport)
    assert flavour.wrap(transport.client).activities.get(ACTIVITY_ID).id == ACTIVITY_ID


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


class Origin:
    """The API on this machine over TLS, behind a proxy of its own if a test wants one; for one connection."""

    def __init__(self, authority: trustme.CA, name: str, *, proxied: bool) -> None:
        self.heard: list[str] = []
        self.ended = threading.Event()
        self._proxied = proxied
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(self._tls)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(PATIENCE_S)
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        content = json.dumps(PAGE_EXAMPLE).encode()
        response = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(content), content)
        with contextlib.suppress(OSError):  # a client that goes may reset its connection
            connection, _ = self._listener.accept()
            connection.settimeout(PATIENCE_S)
            if self._proxied:
                self._hear(connection)
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            with self._tls.wrap_socket(connection, server_side=True) as tls:
                while self._hear(tls):
                    tls.sendall(response)
        self.ended.set()

    def _hear(self, connection: socket.socket) -> bool:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            received = connection.recv(65_536)
            if not received:
                return False
            head += received
        self.heard.append(head.split(b"\r\n")[0].decode())
        return True


@pytest.mark.parametrize("proxied", [False, True])
def test_a_client_opens_its_own_connections_and_closes_them(
    flavour: Flavour, authority: trustme.CA, *, proxied: bool
) -> None:
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    name = "api.example" if proxied else "127.0.0.1"
    with Origin(authority, name, proxied=proxied) as origin:
        host = name if proxied else f"{name}:{origin.port}"
        region = Region.custom(
            "here", api_url=f"https://{host}/v1", token_url=f"https://{host}/t/{{tenant_id}}"
        )
        proxy = f"http://127.0.0.1:{origin.port}" if proxied else None
        with flavour.open(region, BASIC, verify=trusting, proxy=proxy, retry=ONCE) as client:
            for _ in range(2):
                assert client.activities.get(ACTIVITY_ID).id == ACTIVITY_ID
            assert not origin.ended.is_set()
        assert origin.ended.wait(PATIENCE_S)
    calls = [f"GET /v1/activity/{ACTIVITY_ID} HTTP/1.1"] * 2
    assert origin.heard == [*["CONNECT api.example:443 HTTP/1.1"] * proxied, *calls]


def failing_first(failure: Callable[[], httpx.Response]) -> Callable[[httpx.Request], httpx.Response]:
    """Give a handler that fails once, and has the record then."""
    failures = [failure]
    return lambda _request: failures.pop()() if failures else page_response()


@pytest.mark.parametrize(
    ("failure", "said", "attempt"),
    [
        (
            lambda: httpx.Response(503, headers={"x-request-id": "r-1"}),
            "status 503 after T s, request ID r-1",
            (503, "status 503", "r-1"),
        ),
        (
            lambda: respond(200, Chunks(b"{", httpx.ReadError("x")), {"x-request-id": "r-2"}),
            "cut off after T s, request ID r-2",
            (200, "cut off", "r-2"),
        ),
        (
            reset,
            "ConnectionFailedError after T s, request ID None",
            (None, "ConnectionFailedError", None),
        ),
    ],
    ids=["status", "cut", "reset"],
)
def test_each_request_is_logged_and_recorded(
    flavour: Flavour,
    caplog: pytest.LogCaptureFixture,
    failure: Callable[[], httpx.Response],
    said: str,
    attempt: tuple[int | None, str, str | None],
) -> None:
    caplog.set_level(logging.DEBUG, "thrive_learning")
    seen: list[Attempt] = []
    with flavour.answering(failing_first(failure), retry=AT_ONCE, on_attempt=seen.append) as client:
        assert client.activities.get_with_response(ACTIVITY_ID).history == tuple(seen)
    ours = [record for record in caplog.records if record.name == "thrive_learning.attempts"]
    assert [
        (record.levelname, re.sub(r"after \d+\.\d{3} s", "after T s", record.getMessage())) for record in ours
    ] == [
        ("INFO", f"production: attempt 1 of {WANTED}: {said}, next attempt in 0.000 s, {WANTED_URL}"),
        ("DEBUG", f"production: attempt 2 of {WANTED}: 200 after T s, request ID None, done, {WANTED_URL}"),
    ]
    assert {(a.operation, a.subject) for a in seen} == {("activities.get", ACTIVITY_ID)}
    assert [(a.number, a.status_code, a.error, a.request_id, a.delay) for a in seen] == [
        (1, *attempt, 0),
        (2, 200, None, None, None),
    ]


OAUTH_URL = "https://public.api.learn.link/oauth2/token/{tenant_id}"
USER_URL = "https://user.api.learn.link/oauth2/token/{tenant_id}"
CONNECTION_FAILURE = httpx.ConnectError("refused")


def failing_at(method: str, failure: httpx.Response | Exception) -> Callable[[httpx.Request], httpx.Response]:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.method != method:
            return token_response() if request.method == "POST" else page_response()
        if isinstance(failure, Exception):
            raise failure
        return failure

    return answer


FAILURES = [httpx.Response(503), httpx.Response(404), httpx.Response(200, json=[]), CONNECTION_FAILURE]


@pytest.mark.parametrize("failure", FAILURES, ids=repr)
def test_an_error_names_its_url_and_operation(
    flavour: Flavour, kept: Kept, failure: httpx.Response | Exception
) -> None:
    seen: list[Attempt] = []
    with flavour.answering(failing_at("GET", failure), OAUTH, on_attempt=seen.append) as client:
        [result] = client.activities.get_many([ACTIVITY_ID])
        errors = [raised_by(client), result.error]
    for error in errors:
        assert (error.url, error.operation) == (WANTED_URL, "activities.get")
        assert {(a.operation, a.subject) for a in error.history} == {("activities.get", ACTIVITY_ID)}
        assert pickle.loads(pickle.dumps(error)).url == WANTED_URL
    assert [(a.operation, a.subject) for a in seen[:2]] == [
        ("tokens.get", "api"),
        ("activities.get", ACTIVITY_ID),
    ]
    assert kept.records
    assert any(OAUTH_URL in record.getMessage() for record in kept.records)
    assert not [record for record in kept.records if TENANT_ID in f"{vars(record)}"]


@pytest.mark.parametrize("failure", FAILURES, ids=repr)
def test_a_token_error_names_the_url_of_the_token_endpoint_without_the_tenant_id(
    flavour: Flavour, kept: Kept, failure: httpx.Response | Exception
) -> None:
    errors: list[ThriveError] = []
    with flavour.answering(failing_at("POST", failure), OAUTH) as client:
        errors.append(raised_by(client))
        for service in Service:
            with pytest.raises(ThriveError) as caught:
                client.tokens.get(service)
            errors.append(caught.value)
    assert [(error.url, error.operation) for error in errors] == [
        (OAUTH_URL, "tokens.get"),
        (OAUTH_URL, "tokens.get"),
        (USER_URL, "tokens.get"),
    ]
    assert {(a.operation, a.subject) for error in errors for a in error.history} == {
        ("tokens.get", "api"),
        ("tokens.get", "webhooks"),
    }
    shown = [f"{error} {vars(error)}" for error in errors] + kept.texts()
    assert not [text for text in shown if TENANT_ID in text]


@pytest.mark.parametrize("items", [1000, 3000])
def test_a_page_of_too_many_items_ends_with_the_call(
    flavour: Flavour, monkeypatch: pytest.MonkeyPatch, items: int
) -> None:
    """The time is over after the last byte has arrived."""
    monkeypatch.setattr(Budget, "is_over", lambda _self: True)
    page = httpx.Response(200, json={"results": [{"id": "a"}] * items})
    with flavour.answering(lambda _request: page) as client:
        if items == 1000:
            assert len(client.activities.list()) == items
            return
        with pytest.raises(DeadlineExceededError) as caught:
            client.activities.list(timeout=30)
    assert str(caught.value).startswith(
        "public.api.learn.link sent so many items that they were not read within Timeout.total=30 s"
    )
    assert (caught.value.operation, len(caught.value.history)) == ("activities.list", 1)
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


def test_a_page_of_far_too_many_items_is_rejected_unread(flavour: Flavour) -> None:
    body = b'{"results":[' + b"[]," * (MAX_ITEMS + 9999) + b"and this is not JSON"
    with flavour.answering(lambda _request: httpx.Response(200, content=body)) as client:
        with pytest.raises(UnexpectedResponseError, match="but it has more than 100,000 items") as caught:
            client.activities.list()
    assert caught.value.in_api_format


def test_an_error_names_its_url_when_the_time_is_up(flavour: Flavour) -> None:
    class Never(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:  # noqa: ARG002
            await anyio.sleep_forever()
            raise AssertionError

    if flavour.name == "sync":
        with flavour.answering(failing_at("GET", httpx.ReadTimeout("slow"))) as client:
            error = raised_by(client)
    else:
        with flavour.open("production", BASIC, transport=Never(), timeout=0.05) as client:
            error = raised_by(client)
    assert type(error) is DeadlineExceededError
    assert (error.url, error.operation) == (WANTED_URL, "activities.get")


def test_a_callback_that_fails_is_logged_and_does_not_break_the_call(
    flavour: Flavour, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_attempt: Attempt) -> None:
        raise RuntimeError("a mistake of the caller's")

    with flavour.answering(lambda _request: page_response(), on_attempt=broken) as client:
        assert client.activities.get(ACTIVITY_ID).id == ACTIVITY_ID
    [record] = [record for record in caplog.records if record.name == "thrive_learning.attempts"]
    assert (record.levelname, record.getMessage()) == ("ERROR", "on_attempt= failed; the call continues")
    assert record.exc_info
    assert record.exc_info[0] is RuntimeError


class AsyncCallback:
    async def __call__(self, _report: object) -> None:
        raise NotImplementedError


@pytest.mark.parametrize("name", ["on_attempt", "on_drift"])
@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (5, "5. Pass a function, or None."),
        (AsyncCallback().__call__, "an async function, which the client does not await. Pass a plain one."),
        (AsyncCallback(), "an async function, which the client does not await. Pass a plain one."),
    ],
)
def test_a_callback_that_would_not_run_is_rejected(
    flavour: Flavour, name: str, value: object, problem: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name} is {re.escape(problem)}$"):
        with flavour.answering(lambda _request: page_response(), **{name: value}):
            pass


def test_a_date_after_the_end_of_the_call_is_not_waited_for(flavour: Flavour) -> None:
    date = email.utils.format_datetime(dt.datetime.now(dt.UTC) + dt.timedelta(hours=1), usegmt=True)
    requests: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(503, headers={"retry-after": date})

    with flavour.answering(handler, retry=AT_ONCE) as client:
        error = raised_by(client)
    assert isinstance(error, ServerError)
    assert error.retry_after == pytest.approx(3600, abs=60)
    assert len(requests) == 1


@pytest.mark.parametrize("status", [200, 203, 500])
def test_an_error_keeps_4096_characters_of_the_body(flavour: Flavour, status: int) -> None:
    body = json.dumps(["\N{EURO SIGN}" * 5000], ensure_ascii=False)
    with flavour.answering(lambda _request: respond(status, body.encode())) as client:
        error = raised_by(client)
    assert isinstance(error, (ApiError, UnexpectedResponseError))
    assert error.body == body[:4096]


@pytest.mark.parametrize(
    ("response", "answered", "problem"),
    [
        (
            lambda: respond(203, b"{}"),
            "production answered 203",
            "the contract does not document this status",
        ),
        (
            lambda: respond(200, b"[]"),
            f"{WANTED_URL} answered 200",
            "its body is JSON, but an array and not an object",
        ),
        (
            lambda: respond(200, b"x", {"content-encoding": "br"}),
            f"{WANTED_URL} answered 200",
            "its Content-Encoding was not requested (br)",
        ),
    ],
)
def test_a_success_that_breaks_the_contract(
    flavour: Flavour, response: Callable[[], httpx.Response], answered: str, problem: str
) -> None:
    with flavour.answering(lambda _request: response()) as client:
        error = raised_by(client)
    assert type(error) is UnexpectedResponseError
    assert str(error) == (
        f"{answered} to the request for activity {ACTIVITY_ID}, but {problem}. The response was discarded; "
        "if this persists, inspect `error.body` and ask the API's support."
    )


def test_a_page_in_place_of_a_record_names_its_url_and_server(flavour: Flavour) -> None:
    page = b"<!doctype html><title>Sign in</title>"
    with flavour.answering(lambda _request: respond(200, page, {"server": "portal"})) as client:
        error = raised_by(client)
    assert type(error) is UnexpectedResponseError
    assert not error.in_api_format
    assert str(error) == (
        f"{WANTED_URL} answered 200 to the request for activity {ACTIVITY_ID}, but with an HTML page titled "
        '"Sign in" from "portal". A proxy or a gateway seems to have answered, not the API; check the '
        "region's api_url and the proxy."
    )


def test_the_seam_takes_paths_of_the_contract_only(flavour: Flavour) -> None:
    with flavour.answering(lambda _request: page_response()) as client:
        seam = client._http.seam
        request = seam.request("get", "/x", {"params": {"a": "b"}}, b"x")
        assert request.origin == ("https", "public.api.learn.link", 443)
        assert request.target == b"/rest/v1/x?a=b"
        headers = dict(seam.request("get", "/x", {"headers": {"If-Match": "1"}}, b"x").headers)
        assert (headers[b"If-Match"], headers[b"Authorization"]) == (b"1", b"x")
        assert headers[b"Host"] == b"public.api.learn.link"
        with pytest.raises(ConfigurationError, match="begins with a slash"):
            seam.request("get", "https://evil.example/", {}, b"x")


def test_a_call_that_is_canceled_without_an_attempt_in_progress_names_its_url() -> None:
    client = ThriveClient("production", BASIC)
    seam = client._http.seam
    call = Call(GET_ACTIVITY, {"id": ACTIVITY_ID}, seam.begin(0.001, None))
    assert seam.too_late(call.budget, call).url is None
    seam.purpose(call, f"/activity/{ACTIVITY_ID}")
    error = seam.too_late(call.budget, call)
    assert type(error) is DeadlineExceededError
    assert (error.url, error.operation) == (WANTED_URL, "activities.get")
    client.close()


def test_the_generated_parser_gets_the_parsed_json() -> None:
    reply = Reply(status_code=200, headers=[(b"a", b"b")], body=b"{}")
    response = DocumentedResponse(reply, {"a": 1})
    assert (response.status_code, response.content) == (200, b"{}")
    assert not response.headers  # nobody takes them
    assert response.json() == {"a": 1}


def test_nobody_is_called_in_these_tests() -> None:
    """The suite's own guard: a connection beyond this machine fails at once."""
    with pytest.raises(Exception, match=r"192\.0\.2\.1"), socket.socket() as there:
        there.connect(("192.0.2.1", 443))


def test_the_options_of_a_client_print_no_password(flavour: Flavour) -> None:
    client = flavour.client_class(Region.PRODUCTION, BASIC, proxy="http://me:canary@proxy.example:1")
    assert repr(client._options) == "<Options>"
    flavour.wrap(client).close()
