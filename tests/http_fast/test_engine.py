"""Exchanges with servers on loopback, in sync code, on asyncio, and on trio."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import pytest
from patience import PATIENCE_S, growing_limits, wait_until

from http_fast.loopback import (
    OK,
    Reply,
    Sender,
    Server,
    answer,
    budget,
    endless_budget,
    listening,
    read_request,
    request,
    reset,
    silence,
)
from thrive_learning import _sockets
from thrive_learning._http.port import Origin, TransportError, run
from thrive_learning._http_fast import connections, engine

BIG = bytes(20_000_000)


def failure_of(sender: Sender, *arguments: Any, **options: Any) -> TransportError:
    with pytest.raises(TransportError) as caught:
        sender.send(*arguments, **options)
    return caught.value


# Exchanges


def test_a_connection_is_used_again(sender: Sender) -> None:
    with Server(answer(OK)) as server:
        for _ in range(3):
            assert sender.get(server.origin) == Reply(200, b"{}")
        assert server.connections == 1
        assert server.requests == [b"GET /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n"] * 3


def test_a_connection_leads_to_its_origin_only(sender: Sender) -> None:
    with Server(answer(OK)) as one, Server(answer(OK)) as other:
        for server in (one, other, one):
            sender.get(server.origin)
        assert (len(one.requests), one.connections, len(other.requests)) == (2, 1, 1)


def test_a_head_arrives_in_parts(sender: Sender) -> None:
    def handle(peer: socket.socket, _server: Server) -> None:
        read_request(peer)
        for start in range(len(OK)):
            peer.sendall(OK[start : start + 1])
            time.sleep(0.0005)

    with Server(handle) as server:
        assert sender.get(server.origin) == Reply(200, b"{}")


def test_a_body_arrives_in_parts(sender: Sender) -> None:
    arrived = threading.Event()

    def handle(peer: socket.socket, _server: Server) -> None:
        while read_request(peer):
            peer.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n")
            assert arrived.wait(PATIENCE_S)
            peer.sendall(b"1\r\nc\r\n0\r\n\r\n")

    with Server(handle) as server:
        for _ in range(2):
            arrived.clear()
            response = sender.open(request(server.origin))
            assert sender.next_chunk(response) == b"ab"
            arrived.set()
            assert sender.next_chunk(response) == b"c"
            assert sender.next_chunk(response) is None
            sender.end(response)
        assert server.connections == 1


def test_a_body_goes_on_until_the_connection_ends(sender: Sender) -> None:
    with Server(answer(b"HTTP/1.1 200 OK\r\n\r\n", b"{}", times=1)) as server:
        for _ in range(2):
            assert sender.get(server.origin) == Reply(200, b"{}")
        assert server.connections == 2


def test_a_response_to_head_has_no_body(sender: Sender) -> None:
    with Server(answer(OK[:-2])) as server:
        for _ in range(2):
            assert sender.send(request(server.origin, "HEAD")) == Reply(200, b"")
        assert server.connections == 2  # llhttp waits for the body


def test_a_body_is_sent(sender: Sender) -> None:
    with Server(answer(OK)) as server:
        sender.send(request(server.origin, "POST", b"abc"))
        assert server.requests[0].endswith(b"\r\n\r\nabc")


def test_a_large_body_is_sent(sender: Sender) -> None:
    def handle(peer: socket.socket, _server: Server) -> None:
        got = len(read_request(peer))
        while got < len(BIG):
            got += len(peer.recv(1_000_000))
        peer.sendall(OK)

    with Server(handle) as server:
        assert sender.send(request(server.origin, "POST", BIG)) == Reply(200, b"{}")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_host_has_a_name_or_an_address(sender: Sender, host: str) -> None:
    with Server(answer(OK)) as server:
        assert sender.get(Origin("http", host, server.port)) == Reply(200, b"{}")


def test_a_host_has_an_ipv6_address(sender: Sender) -> None:
    with Server(answer(OK), host="::1") as server:
        assert sender.get(server.origin) == Reply(200, b"{}")


def test_an_illegal_request_opens_no_connection(sender: Sender) -> None:
    with Server(answer(OK)) as server:
        error = failure_of(sender, request(server.origin, "GET\r\n"))
        assert (error.kind, error.is_final, server.connections) == ("request", True, 0)


# Which connections are used again


def test_a_fresh_connection_is_opened_on_request(sender: Sender) -> None:
    with Server(answer(OK)) as server:
        sender.get(server.origin)
        sender.get(server.origin, fresh=True)
        assert server.connections == 2


@pytest.mark.parametrize("delay", [0.0, 0.05], ids=["at once", "late"])
def test_a_connection_with_surplus_is_not_used_again(sender: Sender, delay: float) -> None:
    sent = threading.Event()

    def handle(peer: socket.socket, _server: Server) -> None:
        read_request(peer)
        if delay:
            peer.sendall(OK)
            time.sleep(delay)
            peer.sendall(OK)
        else:
            peer.sendall(OK * 2)
        sent.set()
        read_request(peer)

    with Server(handle) as server:
        for number in (1, 2):
            sent.clear()
            assert sender.get(server.origin) == Reply(200, b"{}")
            assert sent.wait(PATIENCE_S)
            assert server.connections == number


def test_a_connection_that_the_server_has_ended_is_not_used_again(sender: Sender) -> None:
    ended = threading.Event()

    def handle(peer: socket.socket, _server: Server) -> None:
        read_request(peer)
        peer.sendall(OK)
        peer.close()
        ended.set()

    with Server(handle) as server:
        for number in (1, 2):
            ended.clear()
            assert sender.get(server.origin) == Reply(200, b"{}")
            assert ended.wait(PATIENCE_S)
            assert server.connections == number


def test_a_connection_that_was_idle_for_long_is_not_used_again(
    sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Server(answer(OK)) as server:
        sender.get(server.origin)
        monkeypatch.setattr(connections, "IDLE_TIMEOUT_S", -1.0)
        sender.get(server.origin)  # on the connection whose limit was set before
        sender.get(server.origin)
        assert server.connections == 2


def test_a_connection_whose_body_was_not_read_is_not_used_again(sender: Sender) -> None:
    with Server(answer(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}")) as server:
        for number in (1, 2):
            sender.end(sender.open(request(server.origin)))
            assert server.connections == number


def test_idle_connections_are_closed_while_others_are_used(
    sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Server(answer(OK)) as server:
        open_ones = [sender.open(request(server.origin)) for _ in range(3)]
        for response in open_ones[:2]:
            monkeypatch.setattr(connections, "IDLE_TIMEOUT_S", -1.0)
            sender.end(response)
        sender.engine._pool._next_look = 0.0
        monkeypatch.undo()
        sender.end(open_ones[2])
        assert len(sender.engine._pool._open) == 1


# Failures


def test_a_reset_is_reported_in_the_words_of_the_system(sender: Sender) -> None:
    def handle(peer: socket.socket, _server: Server) -> None:
        read_request(peer)
        reset(peer)

    with Server(handle) as server:
        error = failure_of(sender, request(server.origin))
    assert (error.kind, error.text) == ("read", "[Errno 104] Connection reset by peer")


def test_a_server_hangs_up_without_a_response(sender: Sender) -> None:
    with Server(answer(b"", times=1)) as server:
        error = failure_of(sender, request(server.origin))
    assert error.kind == "protocol"
    assert error.text == "Server disconnected without sending a response."


def test_a_body_is_cut_off(sender: Sender) -> None:
    with Server(answer(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}", times=1)) as server:
        error = failure_of(sender, request(server.origin))
    assert (error.kind, error.text) == ("protocol", "the connection ended before the body did")


def test_a_response_is_not_http(sender: Sender) -> None:
    with Server(answer(b"SSH-2.0-OpenSSH_9.6\r\n")) as server:
        assert failure_of(sender, request(server.origin)).kind == "protocol"


def test_a_server_that_hangs_up_early_has_said_why(sender: Sender) -> None:
    def handle(peer: socket.socket, _server: Server) -> None:
        read_request(peer)
        peer.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\n\r\nbody")
        peer.shutdown(socket.SHUT_WR)
        time.sleep(0.05)
        reset(peer)

    with Server(handle) as server:
        assert sender.send(request(server.origin, "POST", BIG)) == Reply(413, b"body")
        sender.send(request(server.origin, "POST", BIG))
        assert server.connections == 2


def test_a_server_that_hangs_up_early_has_not_said_why(sender: Sender) -> None:
    def handle(peer: socket.socket, _server: Server) -> None:
        read_request(peer)
        time.sleep(0.05)
        reset(peer)

    with Server(handle) as server:
        error = failure_of(sender, request(server.origin, "POST", BIG))
    assert error.kind in {"read", "write"}
    assert error.text in {"[Errno 104] Connection reset by peer", "[Errno 32] Broken pipe"}


def test_nobody_listens(sender: Sender) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    error = failure_of(sender, request(Origin("http", "127.0.0.1", port)))
    assert (error.kind, error.text, error.is_final) == ("connect", "[Errno 111] Connection refused", False)


@pytest.mark.parametrize(
    ("raised", "is_final"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), True),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"), False),
        (UnicodeError("label too long"), True),
    ],
    ids=["unknown", "try again", "not a name"],
)
def test_a_host_has_no_address(
    sender: Sender, monkeypatch: pytest.MonkeyPatch, raised: Exception, *, is_final: bool
) -> None:
    def getaddrinfo(*_arguments: Any, **_options: Any) -> Any:
        raise raised

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    error = failure_of(sender, request(Origin("http", "nowhere.example", 80)))
    assert (error.kind, error.text, error.is_final) == ("connect", str(raised), is_final)


def test_a_host_has_an_empty_list_of_addresses(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_arguments, **_options: [])
    error = failure_of(sender, request(Origin("http", "nowhere.example", 80)))
    assert (error.kind, error.text) == ("connect", "it has no address")


# Limits


def test_a_silent_server(sender: Sender) -> None:
    with Server(silence) as server:
        error = failure_of(sender, request(server.origin), budget(read=0.05))
    assert (error.kind, error.phase) == ("timeout", "read")


def test_a_call_in_sync_code_ends_with_its_budget(sender: Sender) -> None:
    if not sender.is_sync:
        return  # a cancel scope ends it
    with Server(silence) as server:
        for total in (0.05, 1e-9):
            error = failure_of(sender, request(server.origin), budget(total=total))
            assert error.kind == "timeout"


def test_a_body_in_sync_code_ends_with_its_budget(sender: Sender) -> None:
    if not sender.is_sync:
        return  # a cancel scope ends it

    def handle(peer: socket.socket, server: Server) -> None:
        server.requests.append(read_request(peer))
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not server.closing.wait(0.01):
            peer.sendall(b"x")

    with Server(handle) as server:
        for limit_s in growing_limits(0.1):
            error = failure_of(sender, request(server.origin), budget(total=limit_s))
            if server.requests:
                break
        else:
            pytest.fail("no limit was long enough")
    assert (error.kind, error.phase) == ("timeout", "read")


def test_a_server_that_does_not_read(sender: Sender) -> None:
    with Server(lambda _peer, server: server.closing.wait(2 * PATIENCE_S)) as server:
        error = failure_of(sender, request(server.origin, "POST", BIG), budget(write=0.05))
    assert (error.kind, error.phase) == ("timeout", "write")


def test_a_server_that_does_not_accept(sender: Sender) -> None:
    with listening() as listener:
        error = failure_of(sender, request(Origin("http", *listener.getsockname())), budget(connect=0.05))
    assert (error.kind, error.phase) == ("timeout", "connect")


def test_a_request_waits_for_a_connection(
    open_engine: Callable[..., Sender], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "MAX_CONNECTIONS", 1)
    sender = open_engine()
    with Server(answer(OK)) as server, ThreadPoolExecutor(1) as threads:
        first = sender.open(request(server.origin))
        error = failure_of(sender, request(server.origin), budget(pool=0.05))
        assert (error.kind, error.phase) == ("timeout", "pool")
        waits = threads.submit(sender.get, server.origin)
        time.sleep(0.05)
        sender.end(first)
        assert waits.result() == Reply(200, b"{}")
        assert sender.get(server.origin, budget(pool=0.05)) == Reply(200, b"{}")


# Addresses


def resolving_to(monkeypatch: pytest.MonkeyPatch, *addresses: Any) -> None:
    monkeypatch.setattr(_sockets, "failed_at", {})
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda *_arguments, **_options: [
            (socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_STREAM, 6, "", address)
            for address in addresses
        ],
    )


def test_a_second_address_is_tried_after_a_head_start(
    sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_sockets, "HEAD_START_S", 0.02)
    with listening() as dead, Server(answer(OK)) as server:
        resolving_to(monkeypatch, dead.getsockname(), ("127.0.0.1", server.port))
        assert sender.get(Origin("http", "here.example", 80)) == Reply(200, b"{}")
        monkeypatch.setattr(_sockets, "HEAD_START_S", 100.0)
        assert sender.get(Origin("http", "here.example", 80), fresh=True) == Reply(200, b"{}")
        assert server.connections == 2


def test_a_second_address_is_tried_at_once_after_a_failure(
    sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_sockets, "HEAD_START_S", 100.0)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closed = listener.getsockname()
    with Server(answer(OK)) as server:
        resolving_to(monkeypatch, ("::1", server.port, 0, 0), closed, ("127.0.0.1", server.port))
        assert sender.get(Origin("http", "here.example", 80)) == Reply(200, b"{}")


def test_all_addresses_share_the_limit(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_sockets, "HEAD_START_S", 0.01)
    with listening() as one, listening() as other:
        resolving_to(monkeypatch, one.getsockname(), other.getsockname())
        error = failure_of(sender, request(Origin("http", "here.example", 80)), budget(connect=0.1))
    assert (error.kind, error.phase) == ("timeout", "connect")


# Closing


@pytest.fixture(params=["connecting", "reading", "reading over TLS", "writing", "pool"])
def waiting(
    request: pytest.FixtureRequest,
    open_engine: Callable[..., Sender],
    monkeypatch: pytest.MonkeyPatch,
    serving: ssl.SSLContext,
) -> Iterator[tuple[Sender, Any, Any]]:
    """Is an engine, and a request that waits for what the parameter says."""
    kind = request.param
    if kind == "connecting":
        with listening() as listener:
            yield open_engine(), Origin("http", *listener.getsockname()), b""
        return
    if kind == "pool":
        monkeypatch.setattr(engine, "MAX_CONNECTIONS", 0)
    handler = (lambda _peer, server: server.closing.wait(2 * PATIENCE_S)) if kind == "writing" else silence
    with Server(handler, serving if kind == "reading over TLS" else None) as server:
        yield open_engine(), server.origin, BIG if kind == "writing" else b""


def test_closing_wakes_a_call_that_waits(waiting: tuple[Sender, Origin, bytes]) -> None:
    sender, origin, body = waiting
    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(failure_of, sender, request(origin, "POST", body), endless_budget())
        time.sleep(0.1)  # it may not be waiting yet
        sender.close()
        assert isinstance(call.result(PATIENCE_S), TransportError)
    assert failure_of(sender, request(origin)).text == "the connections are closed"
    assert not sender.engine._pool._open


def test_closing_closes_idle_connections(sender: Sender) -> None:
    ended = threading.Event()

    def handle(peer: socket.socket, _server: Server) -> None:
        read_request(peer)
        peer.sendall(OK)
        if peer.recv(1) == b"":
            ended.set()

    with Server(handle) as server:
        sender.get(server.origin)
        sender.close()
        assert ended.wait(PATIENCE_S)
        assert failure_of(sender, request(server.origin)).kind == "other"


def test_closing_leaves_no_connection_that_comes_back_later(sender: Sender) -> None:
    with Server(answer(OK)) as server:
        complete = sender.open(request(server.origin))
        sender.close()
        sender.end(complete)
        assert not sender.engine._pool._open


def test_a_budget_that_is_ended_cuts_its_connection(sender: Sender) -> None:
    if not sender.is_sync:
        return  # a cancel scope does that
    spent = endless_budget()
    with Server(silence) as server, ThreadPoolExecutor(1) as threads:
        call = threads.submit(failure_of, sender, request(server.origin), spent)
        wait_until(lambda: server.requests)
        spent.end()
        assert call.result(PATIENCE_S).kind in {"protocol", "read"}
    assert spent.connection is None


def test_an_interrupted_connection_is_dropped(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(answer(OK)) as server:
        sender.get(server.origin)
        with monkeypatch.context() as patched:
            patched.setattr(connections.PooledConnection, "_exchange", lambda *_a, **_b: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                sender.get(server.origin)
        assert not sender.engine._pool._open
        sender.get(server.origin)
        assert server.connections == 2


def test_threads_have_a_connection_each(sender: Sender) -> None:
    def handle(peer: socket.socket, server: Server) -> None:
        while read_request(peer):
            wait_until(lambda: server.connections > 1)
            peer.sendall(OK)

    with Server(handle) as server, ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _number: sender.get(server.origin), range(64)))
        assert found == [Reply(200, b"{}")] * 64
        assert 1 < server.connections <= 8


def test_a_coroutine_of_sync_code_must_not_wait() -> None:
    coroutine = anyio.sleep(1)

    class Waits:
        def send(self, _value: object) -> None:
            coroutine.close()

    with pytest.raises(AssertionError, match="suspended"):
        run(Waits())  # type: ignore[arg-type]


# TLS


def test_tls(sender: Sender, serving: ssl.SSLContext) -> None:
    with Server(answer(OK), serving) as server:
        for _ in range(2):
            assert sender.get(server.origin) == Reply(200, b"{}")
        assert server.connections == 1


def test_a_large_exchange_over_tls(sender: Sender, serving: ssl.SSLContext) -> None:
    body = bytes(range(256)) * 4000

    def handle(peer: socket.socket, _server: Server) -> None:
        got = read_request(peer)
        while not got.endswith(body):
            got += peer.recv(1_000_000)
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        peer.recv(1)

    with Server(handle, serving) as server:
        assert sender.send(request(server.origin, "POST", body)) == Reply(200, body)


def test_surplus_over_tls(sender: Sender, serving: ssl.SSLContext) -> None:
    sent = threading.Event()

    def handle(peer: socket.socket, _server: Server) -> None:
        read_request(peer)
        peer.sendall(OK)
        peer.sendall(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
        sent.set()
        read_request(peer)

    with Server(handle, serving) as server:
        for number in (1, 2):
            sent.clear()
            assert sender.get(server.origin) == Reply(200, b"{}")
            assert sent.wait(PATIENCE_S)
            assert server.connections == number


@pytest.mark.parametrize("politely", [True, False])
def test_tls_ends(sender: Sender, serving: ssl.SSLContext, *, politely: bool) -> None:
    def handle(peer: Any, _server: Server) -> None:
        read_request(peer)
        peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n{}")
        if politely:
            peer.unwrap()

    with Server(handle, serving) as server:
        assert sender.get(server.origin) == Reply(200, b"{}")


def test_a_certificate_of_nobody_known(open_engine: Callable[..., Sender], serving: ssl.SSLContext) -> None:
    sender = open_engine(context=ssl.create_default_context())
    with Server(answer(OK), serving) as server:
        error = failure_of(sender, request(server.origin))
    assert (error.kind, error.is_final) == ("connect", True)
    assert error.text.startswith("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")


def test_a_certificate_of_another_host(
    sender: Sender, serving: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Server(answer(OK), serving) as server:
        resolving_to(monkeypatch, ("127.0.0.1", server.port))
        error = failure_of(sender, request(Origin("https", "elsewhere.example", server.port)))
    assert (error.kind, error.is_final) == ("connect", True)
    assert "Hostname mismatch" in error.text


def test_a_client_certificate_is_missing(sender: Sender, serving: ssl.SSLContext, authority: Any) -> None:
    serving.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(serving)
    with Server(answer(OK), serving) as server:
        error = failure_of(sender, request(server.origin))
    assert error.kind == "read"  # with TLS 1.3 the handshake is over for the client
    assert "TLSV13_ALERT_CERTIFICATE_REQUIRED" in error.text


def test_a_server_does_not_speak_tls(sender: Sender) -> None:
    with Server(lambda peer, _server: peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as server:
        error = failure_of(sender, request(Origin("https", "127.0.0.1", server.port)))
    assert (error.kind, error.is_final) == ("connect", False)
    assert "[SSL: " in error.text


def test_garbage_within_tls(sender: Sender, serving: ssl.SSLContext) -> None:
    def handle(peer: Any, _server: Server) -> None:
        read_request(peer)
        peer.sendall(b"HTTP/1.1 200 OK\r\n")
        with socket.socket(fileno=socket.dup(peer.fileno())) as raw:
            raw.sendall(b"this is not a record of TLS")
        time.sleep(0.1)

    with Server(handle, serving) as server:
        error = failure_of(sender, request(server.origin))
    assert error.kind == "read"
    assert "[SSL: " in error.text


@pytest.mark.parametrize("end", ["close", "reset"])
def test_a_handshake_is_cut_off(sender: Sender, end: str) -> None:
    def handle(peer: socket.socket, _server: Server) -> None:
        peer.recv(1000)
        if end == "reset":
            reset(peer)

    with Server(handle) as server:
        error = failure_of(sender, request(Origin("https", "127.0.0.1", server.port)))
    assert error.kind == "connect"
    said = "[Errno 104]" if end == "reset" else "UNEXPECTED_EOF_WHILE_READING"
    assert said in error.text or (end == "close" and "has been closed (EOF)" in error.text)  # up to 3.11.2


def test_a_handshake_has_one_limit(sender: Sender) -> None:
    def handle(peer: socket.socket, _server: Server) -> None:
        peer.sendall(b"\x16\x03\x03\x40\x00")  # a record of 16 KiB begins
        for _ in range(1000):
            peer.sendall(b"\x02")
            time.sleep(0.01)

    with Server(handle) as server:
        error = failure_of(sender, request(Origin("https", "127.0.0.1", server.port)), budget(connect=0.1))
    assert (error.kind, error.phase) == ("timeout", "connect")
