"""One exchange by libcurl: what is sent and taken, whatever the rest of the package asks for."""

import socket
from pathlib import Path

import certifi
import httpx
import pytest
from faults import chaos
from faults.chaos import Chaos, Trouble

from thrive_learning import ConfigurationError
from thrive_learning import _curl as curl
from thrive_learning._curl import POLLIN, POLLOUT, Transfer, trust
from thrive_learning._fast import FastTransport

TRUST = trust(True)  # noqa: FBT003


def test_whom_to_trust(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    assert trust(True) == (True, certifi.where(), None)  # noqa: FBT003
    assert trust(False) == (False, certifi.where(), None)  # noqa: FBT003
    with pytest.raises(ConfigurationError, match=r"verify is 'ca\.pem'"):
        trust("ca.pem")
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert trust(True) == (True, None, str(tmp_path))  # noqa: FBT003
    monkeypatch.setenv("SSL_CERT_FILE", certifi.where())
    assert trust(True) == (True, certifi.where(), None)  # noqa: FBT003
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    with pytest.raises(ConfigurationError, match="check SSL_CERT_FILE"):
        trust(True)  # noqa: FBT003


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "POST", "DELETE"])
def test_methods(method: str) -> None:
    with Chaos() as server, httpx.Client(transport=FastTransport(TRUST, None)) as client:
        server.plan(Trouble(chaos.status("200 Said", b"" if method == "HEAD" else b"{}")))
        content = b"abc" if method in {"PUT", "POST"} else None
        for _ in range(2):
            url, headers = f"{server.origin}/rest/../v1?a=%20b", {"x-empty": ""}
            response = client.request(method, url, content=content, headers=headers)
            assert response.content == (b"" if method == "HEAD" else b"{}")
            assert response.headers["content-type"] == "application/json"
        client.get(f"{server.origin}/")
    for request in server.requests[:2]:
        assert (request.method, request.body) == (method, content or b"")
        assert "expect" not in request.headers
    assert server.requests[2].method == "GET"
    assert server.connections == 1


@pytest.mark.parametrize(
    "headers",
    [[(b"a", b"b\r\nc: d")], [(b"a", b"b\0")], [(b"a b", b"c")], [(b"", b"c")], [(b"a\r\nb", b"c")]],
)
def test_a_header_that_cannot_be_sent(headers: list[tuple[bytes, bytes]]) -> None:
    with Chaos() as server, FastTransport(TRUST, None) as transport:
        request = httpx.Request("GET", f"{server.origin}/")
        request.headers = httpx.Headers(headers)
        with pytest.raises(httpx.LocalProtocolError) as caught:
            transport.handle_request(request)
        assert str(caught.value) == "illegal header"
        assert not server.connections


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 Said\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 Said\r\ncontent-length: +1\r\n\r\n",
        b"HTTP/1.1 200 Said\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"HTTP/1.1 200 Said\r\na\0b: c\r\n\r\n",
        b"HTTP/2 200 Said\r\na: c\r\n\r\n",
    ],
)
def test_a_head_that_is_none(head: bytes) -> None:
    transfer = Transfer(TRUST, None)
    transfer.on_connected()
    transfer.head.extend(head)
    for look in (transfer.hear, lambda: transfer.response(0, "")):
        with pytest.raises(httpx.RemoteProtocolError, match=r"illegal|bad|only"):
            look()


def test_a_head_is_read_once_it_is_complete() -> None:
    transfer = Transfer(TRUST, None)
    transfer.on_connected()
    for line in (b"HTTP/1.1 103 Hints\r\n", b"\r\n", b"HTTP/1.1 200 Said\r\n", b"A: b\r\n"):
        transfer.head.extend(line)
        assert transfer.hear()
        assert transfer.status is None
    transfer.head.extend(b"\r\n")
    transfer.body.extend(b"{}")
    transfer.head.extend(b"Trailer: 0\r\n")
    response = transfer.response(0, "")
    assert (response.status_code, response.headers["a"], response.read()) == (200, "b", b"{}")


def test_what_a_proxy_said_before_is_not_the_response() -> None:
    transfer = Transfer(TRUST, None)
    transfer.head.extend(b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n")
    transfer.on_connected()
    assert transfer.hear()
    transfer.head.extend(b"HTTP/1.1 404 Not Found\r\nA: b\r\n\r\n")
    response = transfer.response(0, "")
    assert (response.status_code, response.headers["a"]) == (404, "b")


def test_a_body_is_taken_up_to_its_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curl, "MAX_BODY_BYTES", 3)
    transfer = Transfer(TRUST, None)
    transfer.body.extend(b"123")
    assert transfer.hear()
    transfer.body.extend(b"4")
    assert not transfer.hear()


def test_blanks_cost_no_time() -> None:
    """A pattern that tries each way to divide them would take hours."""
    transfer = Transfer(TRUST, None)
    transfer.on_connected()
    transfer.head.extend(b"HTTP/1.1 200 Said\r\na:" + b" " * 250_000 + b"\0\r\n\r\n")
    with pytest.raises(httpx.RemoteProtocolError):
        transfer.response(23, "")


@pytest.mark.parametrize(
    ("code", "said", "kind"),
    [
        (curl.curl.E_SEND_ERROR, "Send failure", httpx.WriteError),
        (curl.curl.E_RECV_ERROR, "Recv failure: reset", httpx.ReadError),
        (curl.curl.E_RECV_ERROR, "chunk hex-length char not a hex digit", httpx.RemoteProtocolError),
        (curl.curl.E_OPERATION_TIMEDOUT, "", httpx.ReadTimeout),
        (0, "", httpx.RemoteProtocolError),
    ],
)
def test_what_went_wrong_after_the_request_was_sent(
    code: int, said: str, kind: type[httpx.TransportError]
) -> None:
    transfer = Transfer(TRUST, None)
    assert transfer.on_connected() == curl.curl.PREREQFUNC_OK
    with pytest.raises(kind):
        transfer.response(code, said)
    assert transfer.on_connected() == curl.curl.PREREQFUNC_ABORT


def test_where_the_system_has_no_poll() -> None:
    poll = curl._Poll()
    assert poll.poll() == []
    here, there = socket.socketpair()
    with here, there:
        poll.register(here.fileno(), POLLIN)
        assert poll.poll(0) == []
        there.send(b"x")
        assert poll.poll() == [(here.fileno(), POLLIN)]
        poll.register(here.fileno(), POLLOUT)
        assert poll.poll(1000) == [(here.fileno(), POLLOUT)]
        poll.unregister(here.fileno())
        assert poll.poll(1) == []


def test_the_engine_goes_without_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thrive_learning._fast.new_poll", curl._Poll)
    monkeypatch.setattr(curl, "new_poll", curl._Poll)
    with Chaos() as server, httpx.Client(transport=FastTransport(TRUST, None)) as client:
        for _ in range(3):
            assert client.get(f"{server.origin}/rest/v1/x").status_code >= 400
        assert server.connections == 1
