"""Any transport of httpx or httpx2 as an engine."""

import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import httpcore
import httpx
import pytest
from http_engines import HEADERS, Kind, budget_of, request_to

from thrive_learning._http.httpx_adapter import failure_of, library_of
from thrive_learning._http.port import Origin, Request, TransportError


@pytest.fixture(params=["httpx", "httpx2"])
def library(request: pytest.FixtureRequest) -> Any:
    return pytest.importorskip(request.param, reason="`nox -s httpx2` has it")


def test_a_request_arrives_as_the_library_knows_it(kind: Kind, library: Any) -> None:
    seen: list[Any] = []

    def handler(request: Any) -> Any:
        seen.append(request)
        return library.Response(201, headers={"X-A": "b"}, content=b"c")

    with kind.adapted(library.MockTransport(handler)) as engine:
        status, headers, body = engine.send(
            request_to(8443, "https", "here.example", method="POST", body=b"d"), budget_of(20)
        )
        assert (status, body) == (201, b"c")
        assert (b"X-A", b"b") in headers
        engine.send(request_to(443, "https", "::1"))
    first, second = seen
    assert type(first) is library.Request
    assert (first.method, first.content) == ("POST", b"d")
    assert str(first.url) == "https://here.example:8443/rest/v1/activity/a?b=c"
    assert first.headers.raw == [*HEADERS, (b"Content-Length", b"1")]
    assert 0 < first.extensions["timeout"]["read"] <= 20
    assert first.extensions["timeout"]["connect"] == 5
    assert str(second.url) == "https://[::1]/rest/v1/activity/a?b=c"
    assert second.headers.raw == HEADERS
    assert second.content == b""


def test_the_headers_of_a_client_are_encoded_once(kind: Kind) -> None:
    handled: list[Any] = []

    def handler(request: httpx.Request) -> httpx.Response:
        handled.append(request.headers)
        return httpx.Response(200)

    with kind.adapted(httpx.MockTransport(handler)) as engine:
        others = [(b"Host", b"there.example")]
        for headers in (HEADERS, HEADERS, others, HEADERS):
            engine.send(Request("GET", Origin("https", "here.example", 443), b"/", headers))
    assert [headers.raw for headers in handled] == [HEADERS, HEADERS, others, HEADERS]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ConnectTimeout", ("timeout", "connect")),
        ("ReadTimeout", ("timeout", "read")),
        ("WriteTimeout", ("timeout", "write")),
        ("PoolTimeout", ("timeout", "pool")),
        ("ConnectError", ("connect", None)),
        ("ReadError", ("read", None)),
        ("WriteError", ("write", None)),
        ("CloseError", ("other", None)),
        ("ProxyError", ("proxy", None)),
        ("UnsupportedProtocol", ("request", None)),
        ("LocalProtocolError", ("request", None)),
        ("RemoteProtocolError", ("protocol", None)),
        ("DecodingError", ("other", None)),
        ("TooManyRedirects", ("other", None)),
        ("InvalidURL", ("request", None)),
        ("StreamError", ("other", None)),
    ],
)
def test_a_failure_of_a_library(
    kind: Kind, library: Any, name: str, expected: tuple[str, str | None]
) -> None:
    def handler(_request: Any) -> Any:
        raise getattr(library, name)("the reason")

    with kind.adapted(library.MockTransport(handler)) as engine, pytest.raises(TransportError) as caught:
        engine.send(request_to(443, "https"))
    error = caught.value
    assert (error.kind, error.phase, error.text, error.is_final) == (*expected, "the reason", False)
    assert error.__cause__ is None
    assert error.__context__ is None


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (TimeoutError("late"), ("other", "TimeoutError: late")),
        (ConnectionResetError(104, "gone"), ("other", "[Errno 104] Connection reset by peer")),
        (UnicodeEncodeError("idna", "a", 0, 1, "why"), ("other", "why")),
        (ssl.SSLError(1, "bad record"), ("read", "bad record")),
    ],
)
def test_a_failure_of_the_system_in_a_transport(
    kind: Kind, raised: Exception, expected: tuple[str, str]
) -> None:
    def handler(_request: Any) -> Any:
        raise raised

    with kind.adapted(httpx.MockTransport(handler)) as engine, pytest.raises(TransportError) as caught:
        engine.send(request_to(443, "https"))
    assert caught.value.kind == expected[0]
    assert expected[1] in caught.value.text


def test_an_interruption_passes_unchanged() -> None:
    """In async code it would end the event loop."""
    test_anything_else_passes_unchanged(Kind("sync", None), KeyboardInterrupt())


@pytest.mark.parametrize("raised", [ValueError("a defect"), httpcore.ConnectError("a")])
def test_anything_else_passes_unchanged(kind: Kind, raised: BaseException) -> None:
    def handler(_request: Any) -> Any:
        raise raised

    with kind.adapted(httpx.MockTransport(handler)) as engine, pytest.raises(type(raised)) as caught:
        engine.send(request_to(443, "https"))
    assert caught.value is raised


@pytest.mark.parametrize(
    ("error", "is_final"),
    [
        (httpx.ProxyError("407 Proxy Authentication Required"), True),
        (httpx.ProxyError("403 Forbidden"), True),
        (httpx.ProxyError("502 Bad Gateway"), False),
        (httpx.ProxyError("Invalid username/password"), True),
        (
            httpx.ProxyError(
                "Requested NO AUTHENTICATION REQUIRED from proxy server, but got NO ACCEPTABLE METHODS."
            ),
            True,
        ),
        (httpx.ProxyError("Proxy Server could not connect: Connection not allowed by ruleset."), True),
        (httpx.ProxyError("Proxy Server could not connect: Host unreachable."), False),
        (httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"), True),
        (httpx.ConnectError("[Errno 111] Connection refused"), False),
        (httpx.ReadError("CERTIFICATE_VERIFY_FAILED"), False),
    ],
)
def test_a_failure_that_would_repeat_is_final(error: Exception, *, is_final: bool) -> None:
    failure = failure_of(error)
    assert isinstance(failure, TransportError)
    assert failure.is_final is is_final


@pytest.mark.parametrize("code", [socket.EAI_NONAME, socket.EAI_AGAIN])
def test_an_unknown_host_is_final_and_a_dns_server_that_is_down_is_not(code: int) -> None:
    error = httpx.ConnectError("it failed")
    error.__cause__ = httpcore.ConnectError(socket.gaierror(code, "why"))
    failure = failure_of(error)
    assert isinstance(failure, TransportError)
    assert failure.is_final is (code == socket.EAI_NONAME)
    assert failure.text == f"[Errno {code}] why"


def test_the_reason_of_several_attempts_is_that_of_the_last() -> None:
    error = httpx.ConnectError("All connection attempts failed")
    last = OSError(113, "by other words")
    error.__cause__ = OSError("all")
    error.__cause__.__cause__ = ExceptionGroup("attempts", [OSError(111, ""), last])
    failure = failure_of(error)
    assert isinstance(failure, TransportError)
    assert failure.text == "[Errno 113] No route to host"


class Stream(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that fails, or counts how often it is closed."""

    def __init__(self, *pieces: Any) -> None:
        self._pieces = pieces
        self.closed = 0
        self.ended = 0
        self.failure: Exception | None = None

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            for piece in self:
                yield piece
                await anyio.lowlevel.checkpoint()
        finally:
            self.ended += 1

    def close(self) -> None:
        self.closed += 1
        if self.failure:
            raise self.failure

    async def aclose(self) -> None:
        self.close()


def test_a_body_is_passed_on_as_it_arrives_and_closed_once(kind: Kind) -> None:
    stream = Stream(b"a", b"bc")
    transport = httpx.MockTransport(
        lambda _: httpx.Response(200, headers={"content-encoding": "gzip"}, stream=stream)
    )
    with kind.adapted(transport) as engine:
        assert engine.send(request_to(443, "https"))[2] == b"abc"
    assert stream.closed == 1


def test_a_body_that_fails(kind: Kind) -> None:
    stream = Stream(b"a", httpx.ReadError("gone"))
    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=stream))
    with kind.adapted(transport) as engine, pytest.raises(TransportError, match="gone"):
        engine.send(request_to(443, "https"))
    assert stream.closed == 1


def test_a_body_that_is_left_early_is_closed(kind: Kind) -> None:
    for rest in ([b"b"] * 5, [httpx.ReadError("gone")]):
        stream = Stream(b"a", b"b", *rest)
        transport = httpx.MockTransport(lambda _, stream=stream: httpx.Response(200, stream=stream))
        with kind.adapted(transport) as engine:
            assert engine.send(request_to(443, "https"), chunks=1)[2] == b"a"
        assert stream.closed == 1
        assert stream.ended == kind.is_async


def test_a_body_that_cannot_be_closed(kind: Kind) -> None:
    stream = Stream(b"a")
    stream.failure = httpx.ReadError("still gone")
    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=stream))
    with kind.adapted(transport) as engine, pytest.raises(TransportError, match="still gone"):
        engine.send(request_to(443, "https"))


def test_the_library_of_a_transport(library: Any) -> None:
    class Ours(library.BaseTransport):  # type: ignore[misc]
        pass

    assert library_of(Ours()) == library.__name__
    assert library_of(library.AsyncHTTPTransport()) == library.__name__
    assert library_of(lambda: None) is None
    assert library_of(library.Client()) is None


def test_httpx2_is_not_loaded_unless_it_is_used() -> None:
    program = "import sys, thrive_learning._http.routes; print('httpx2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == "False\n", done.stderr
