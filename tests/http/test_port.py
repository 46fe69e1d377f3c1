"""The classes of the port hold what they are built with, and show no secret."""

from collections.abc import AsyncIterator, Generator
from types import coroutine
from typing import Any

import pytest

from thrive_learning._http.port import (
    Origin,
    Request,
    Response,
    TransportError,
    parse_url,
    run,
    without_frames,
)


@pytest.mark.parametrize(
    ("url", "origin", "host", "target"),
    [
        ("https://a.example", Origin("https", "a.example", 443), b"a.example", b"/"),
        ("http://a.example/b?c=d", Origin("http", "a.example", 80), b"a.example", b"/b?c=d"),
        ("https://A.example:8443/b", Origin("https", "a.example", 8443), b"A.example:8443", b"/b"),
        ("https://[::1]:1/", Origin("https", "::1", 1), b"[::1]:1", b"/"),
    ],
)
def test_a_url_is_taken_apart(url: str, origin: Origin, host: bytes, target: bytes) -> None:
    assert parse_url(url) == (origin, host, target)


def test_a_request_shows_no_secret() -> None:
    origin = Origin("https", "a.example", 443)
    request = Request("GET", origin, b"/canary", [(b"Authorization", b"canary")], b"canary")
    assert repr(request) == "<Request GET a.example>"
    assert (request.method, request.origin, request.target) == ("GET", origin, b"/canary")
    assert (request.headers, request.body) == ([(b"Authorization", b"canary")], b"canary")
    assert Request("GET", origin, b"/", ()).body == b""


def test_a_response_holds_what_it_was_built_with() -> None:
    chunks, headers = iter([b"a"]), [(b"a", b"b")]
    response = Response(200, headers, chunks, lambda: None)
    assert (response.status, response.headers, response.chunks) == (200, headers, chunks)
    assert response.close() is None

    async def close() -> None:
        pass

    async def pieces() -> AsyncIterator[bytes]:
        yield b"a"

    arriving = pieces()
    later = Response(200, headers, arriving, close)
    assert (later.status, later.headers, later.chunks, later.close) == (200, headers, arriving, close)


def test_a_transport_error_keeps_no_frames() -> None:
    error = TransportError("timeout", "late", phase="read", is_final=True)
    assert (error.kind, error.text, error.phase, error.is_final, str(error)) == (
        *("timeout", "late", "read", True, "late"),
    )
    plain = TransportError("other")
    assert (plain.text, plain.phase, plain.is_final) == ("", None, False)
    with pytest.raises(TransportError) as caught:
        raise error from ValueError("canary")
    assert without_frames(caught.value) is error
    assert (error.__traceback__, error.__cause__, error.__context__) == (None, None, None)


def test_sync_code_runs_coroutines_that_do_not_wait() -> None:
    async def answer() -> int:
        return 42

    async def failure() -> None:
        raise TransportError("read")

    assert run(answer()) == 42
    with pytest.raises(TransportError):
        run(failure())


def test_a_coroutine_of_sync_code_must_not_wait() -> None:
    @coroutine
    def wait() -> Generator[None]:
        yield

    waiting: Any = wait()
    with pytest.raises(AssertionError, match=r"^a coroutine of sync code suspended$"):
        run(waiting)
