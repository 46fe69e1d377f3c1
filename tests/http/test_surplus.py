"""No connection is reused on which more arrived than was requested."""

import itertools
import ssl
from socket import socketpair
from typing import Any

import anyio
import httpcore
import pytest
from faults.chaos import Answer, Chaos, Fault, Line, Proxy, Trouble, chunked, two_answers, two_records
from http_engines import Driver, Kind, request_to
from patience import wait_until

from thrive_learning._http.port import run
from thrive_learning._http.surplus import AsyncStream, Guard, bracket_ipv6_target


def one_byte_more(line: Line, answer: Answer) -> None:
    line.send(answer.whole + b"x")


def two_without_bodies(line: Line, _answer: Answer) -> None:
    """The first has an encoding that nobody asked for, so that its body is not looked at."""
    line.send(
        b"HTTP/1.1 204 No\r\ncontent-encoding: br\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
    )


def after_chunks(line: Line, answer: Answer) -> None:
    body = b"".join(chunked(answer.body[:10], answer.body[10:])) + b"0\r\n\r\n"
    line.send(answer.head(content_length=None, transfer_encoding="chunked") + body + answer.whole)


def behind_a_full_read(line: Line, answer: Answer) -> None:
    """Let the first response fill what is read at once to the last byte."""
    size = 8_192 - len(answer.head(content_length="0000"))
    line.send(answer.head(content_length=str(size)) + b"a" * size + answer.whole)


def behind_a_full_read_of_tls(line: Line, answer: Answer) -> None:
    """Let the first response, as encrypted in 4 records, fill what anyio's TLS takes at once."""
    assert line._tls is not None
    size = 65_536 - 4 * 22 - len(answer.head(content_length="00000"))
    whole = answer.head(content_length=str(size)) + b"a" * size
    for start in range(0, len(whole), 16_384):
        line._tls.write(whole[start : start + 16_384])
    first = line._out.read()
    assert len(first) == 65_536
    line._tls.write(answer.whole)
    line._push(first + line._out.read())


def while_idle(line: Line, answer: Answer) -> None:
    line.send(answer.whole)
    line.pause(0.1)
    line.send(answer.whole)


ROUTES = ["TCP", "TLS", "tunnel", "TLS within TLS"]
SURPLUSES = [
    one_byte_more,
    two_answers,
    two_without_bodies,
    after_chunks,
    behind_a_full_read,
    while_idle,
]
SURPLUSES_OF_TLS = [two_records, behind_a_full_read_of_tls]


def has_no_idle_connection(engine: Driver) -> bool:
    """Return whether the engine has noticed data on its connection, or will when it takes the connection."""
    return all(stream.get_extra_info("is_readable") for stream in idle_streams(engine))


def idle_streams(engine: Driver) -> list[Any]:
    connections = [one for transport in engine.engine._idle for one in transport._pool.connections]
    return [stream_of(connection) for connection in connections]


def stream_of(connection: Any) -> Any:
    while not hasattr(connection, "_network_stream"):
        connection = connection._connection
    return connection._network_stream


@pytest.mark.parametrize(
    ("fault", "route"),
    [*itertools.product(SURPLUSES, ROUTES), *itertools.product(SURPLUSES_OF_TLS, ROUTES[1:])],
)
def test_a_connection_with_a_surplus_is_dropped(
    kind: Kind, fault: Fault, route: str, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    tls = None if route == "TCP" else server_context
    with Chaos(tls) as server, Proxy(tls=server_context if route == "TLS within TLS" else None) as proxy:
        scheme = "https" if route == "TLS within TLS" else "http"
        url = f"{scheme}://localhost:{proxy.port}" if route in {"tunnel", "TLS within TLS"} else None
        with kind.stock(client_context, url) as engine:
            request = request_to(server.port, "http" if tls is None else "https")
            first = engine.send(request)[2]
            assert engine.send(request)[2] == first
            assert server.connections == 1
            server.plan(Trouble(fault, times=1))
            engine.send(request)
            if fault in {while_idle, behind_a_full_read, behind_a_full_read_of_tls}:
                wait_until(lambda: has_no_idle_connection(engine))  # a proxy may pass it on in two pieces
            assert engine.send(request)[2] == first
            assert server.connections == 2


@pytest.mark.parametrize("behind", ["close_notify", "garbage"])
def test_a_connection_that_tls_cannot_continue_is_dropped(
    kind: Kind, server_context: ssl.SSLContext, client_context: ssl.SSLContext, behind: str
) -> None:
    def end(line: Line, answer: Answer) -> None:
        assert line._tls is not None
        line._tls.write(answer.whole)
        if behind == "close_notify":
            with pytest.raises(ssl.SSLWantReadError):
                line._tls.unwrap()
        line._push(line._out.read() + (b"not a record" if behind == "garbage" else b""))

    with Chaos(server_context) as server, kind.stock(client_context) as engine:
        server.plan(Trouble(end, times=1))
        for _ in range(2):
            assert engine.send(request_to(server.port, "https"))[0] == 401
        assert server.connections == 2


def whole_in_chunks(line: Line, answer: Answer) -> None:
    body = b"".join(chunked(answer.body[:10], answer.body[10:])) + b"0\r\n\r\n"
    line.send(answer.head(content_length=None, transfer_encoding="chunked") + body)


def a_byte_at_a_time(line: Line, answer: Answer) -> None:
    line.dribble(answer.whole, 0.0005)


def after_100(line: Line, answer: Answer) -> None:
    line.send(b"HTTP/1.1 103 Early\r\n\r\n" + answer.whole)


def without_body(line: Line, _answer: Answer) -> None:
    line.send(b"HTTP/1.1 204 No\r\n\r\n")


@pytest.mark.parametrize("fault", [whole_in_chunks, a_byte_at_a_time, after_100, without_body])
def test_a_connection_without_a_surplus_is_kept(kind: Kind, fault: Fault) -> None:
    with Chaos() as server, kind.stock() as engine:
        server.plan(Trouble(fault, times=2))
        for _ in range(3):
            engine.send(request_to(server.port))
        assert server.connections == 1


def test_the_only_byte_that_arrived_is_not_held_back() -> None:
    guard = Guard()
    assert guard.hold_back(b"") == b""
    assert guard.hold_back(b"a") == b"a"
    assert not guard.held
    assert guard.hold_back(b"abc") == b"ab"
    assert guard.release() == b"c"
    assert not guard.held


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (
            b"CONNECT 2001:db8::1:8443 HTTP/1.1\r\nHost: 2001:db8::1:8443\r\nAccept: */*\r\n\r\n",
            b"CONNECT [2001:db8::1]:8443 HTTP/1.1\r\nHost: [2001:db8::1]:8443\r\nAccept: */*\r\n\r\n",
        ),
        (b"CONNECT ::1:443 HTTP/1.1\r\n", b"CONNECT [::1]:443 HTTP/1.1\r\n"),
        (
            b"CONNECT cafe:443 HTTP/1.1\r\nHost: cafe:443\r\n",
            b"CONNECT cafe:443 HTTP/1.1\r\nHost: cafe:443\r\n",
        ),
        (b"CONNECT 10.0.0.1:443 HTTP/1.1\r\n", b"CONNECT 10.0.0.1:443 HTTP/1.1\r\n"),
        (b"GET / HTTP/1.1\r\nHost: ::1:443\r\n", b"GET / HTTP/1.1\r\nHost: ::1:443\r\n"),
    ],
)
def test_an_address_in_connect_gets_brackets(sent: bytes, expected: bytes) -> None:
    assert bracket_ipv6_target(sent) == expected


def test_the_stream_knows_its_socket(kind: Kind) -> None:
    """Instruments read addresses from the stream that httpcore passes on."""
    streams: list[Any] = []
    with Chaos() as server, kind.stock() as engine:
        engine.send(request_to(server.port))
        [stream] = idle_streams(engine)
        assert stream.get_extra_info("server_addr")[1] == server.port
        assert stream.get_extra_info("client_addr")[1] > 0
        assert stream.get_extra_info("socket").fileno() > 0
        assert stream.get_extra_info("ssl_object") is None
        assert not streams


def test_a_server_that_hung_up_is_a_failed_write() -> None:
    """TLS notices it while it writes. Whether it does so before the write fails depends on the network."""

    class HungUp(httpcore.AsyncNetworkStream):
        def get_extra_info(self, info: str) -> Any:
            assert info == "socket"
            return ours

        async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
            raise anyio.EndOfStream

    ours, theirs = socketpair()
    with (
        ours,
        theirs,
        pytest.raises(httpcore.WriteError, match=r"^the server has closed the connection$") as caught,
    ):
        run(AsyncStream(HungUp()).write(b"x"))
    assert caught.value.__context__ is None
