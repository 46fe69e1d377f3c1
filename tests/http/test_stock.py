"""The default engine against servers on loopback, in sync code, on asyncio, and on trio."""

import concurrent.futures
import contextlib
import functools
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx
from faults.chaos import (
    Answer,
    Chaos,
    GoneError,
    Line,
    Proxy,
    Server,
    Trouble,
    black_hole,
    end_at_once,
    reset_after_reading,
    two_answers,
)
from http_engines import Kind, budget_of, request_to
from patience import PATIENCE_S, wait_until

from thrive_learning import ConfigurationError
from thrive_learning._budget import Budget
from thrive_learning._http import stock
from thrive_learning._http.port import TransportError, run
from thrive_learning._http.stock import AsyncStockEngine, StockEngine


def sockets_open() -> int:
    return sum("socket:" in str(link.readlink()) for link in Path("/dev/fd").iterdir() if link.is_symlink())


@contextlib.contextmanager
def no_socket_left() -> Iterator[None]:
    before = sockets_open()
    yield
    wait_until(lambda: sockets_open() <= before)


def endless_budget() -> Budget:
    """Return a budget that outlasts the patience of these tests."""
    longer_s = 2 * PATIENCE_S
    return budget_of(longer_s, connect=longer_s, read=longer_s)


def test_a_transport_is_closed_while_a_lock_of_httpcore_is_held() -> None:
    """A signal handler that raises while httpcore takes a lock leaves it taken."""
    engine, budget = StockEngine(ssl.create_default_context(), None), budget_of()
    transport = run(engine.take(budget, fresh=False))
    transport._pool._optional_thread_lock._lock.acquire()
    closing = threading.Thread(target=lambda: run(engine.give_back(transport, is_broken=True)), daemon=True)
    closing.start()
    closing.join(PATIENCE_S)
    assert not closing.is_alive()


def test_a_connection_is_used_again_unless_a_fresh_one_is_wanted(kind: Kind) -> None:
    with no_socket_left(), Chaos() as server, kind.stock() as engine:
        request = request_to(server.port)
        for _ in range(3):
            status, headers, body = engine.send(request)
            assert status == 401
            assert dict(headers)[b"content-length"] == b"%d" % len(body)
        assert server.connections == 1
        engine.send(request, fresh=True)
        assert server.connections == 2
        engine.send(request)
        assert server.connections == 2
        first = server.requests[0]
        assert (first.method, first.target) == ("GET", "/rest/v1/activity/a?b=c")
        assert first.headers["accept"] == "application/json"


def test_a_body_is_sent(kind: Kind) -> None:
    with Chaos() as server, kind.stock() as engine:
        engine.send(request_to(server.port, method="POST", body=b"a=b"))
        assert server.requests[0].body == b"a=b"


def test_idle_connections_that_nobody_needs_are_closed(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(stock, "monotonic", lambda: now[0])
    arrived = threading.Semaphore(0)
    may_answer = threading.Event()

    def wait(line: Line, answer: Answer) -> None:
        arrived.release()
        may_answer.wait(PATIENCE_S)
        line.send(answer.whole)

    with no_socket_left(), Chaos() as server, kind.stock() as engine:
        server.plan(Trouble(wait, times=2))
        with concurrent.futures.ThreadPoolExecutor(2) as threads:
            calls = [threads.submit(engine.send, request_to(server.port)) for _ in range(2)]
            arrived.acquire()
            arrived.acquire()
            may_answer.set()
            assert [call.result()[0] for call in calls] == [401, 401]
        assert len(engine.engine._idle) == 2
        now[0] += 4
        engine.send(request_to(server.port))
        assert len(engine.engine._idle) == 2
        now[0] += 4
        engine.send(request_to(server.port))
        assert len(engine.engine._idle) == 1
        assert server.connections == 2


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("fault", [black_hole, None])
def test_closing_wakes_what_waits(
    kind: Kind,
    server_context: ssl.SSLContext,
    client_context: ssl.SSLContext,
    fault: Callable[[Line], None] | None,
    *,
    tls: bool,
) -> None:
    """It waits for the response, or for the handshake if nothing is answered."""
    arrived = threading.Event()

    def silent(line: Line, _answer: Answer) -> None:
        arrived.set()
        line.stay_silent()

    def silent_at_once(line: Line) -> None:
        arrived.set()
        line.stay_silent()

    trouble = Trouble(silent) if fault is None else Trouble(connection=silent_at_once)
    with no_socket_left(), Chaos(server_context if tls else None) as server:
        server.plan(trouble)
        with kind.stock(client_context) as engine, concurrent.futures.ThreadPoolExecutor(1) as threads:
            call = threads.submit(
                engine.send, request_to(server.port, "https" if tls else "http"), endless_budget()
            )
            assert arrived.wait(PATIENCE_S)
            time.sleep(0.05)  # it may not be waiting yet
            engine.close()
            with pytest.raises(TransportError):
                call.result(timeout=PATIENCE_S)
            with pytest.raises(TransportError, match="closed"):
                engine.send(request_to(server.port))


def test_closing_wakes_what_connects(kind: Kind) -> None:
    with Chaos() as server:
        server.plan(Trouble(never_accepts=True))
        with kind.stock() as engine, concurrent.futures.ThreadPoolExecutor(1) as threads:
            call = threads.submit(engine.send, request_to(server.port, host="127.0.0.1"), endless_budget())
            time.sleep(0.3)
            engine.close()
            with pytest.raises(TransportError):
                call.result(timeout=PATIENCE_S)


def test_ending_a_budget_cuts_what_its_thread_waits_for() -> None:
    arrived = threading.Event()

    def silent(line: Line, _answer: Answer) -> None:
        arrived.set()
        line.stay_silent()

    kind = Kind("sync", None)
    with Chaos() as server, kind.stock() as engine, concurrent.futures.ThreadPoolExecutor(1) as threads:
        server.plan(Trouble(silent, times=1))
        budget = endless_budget()
        call = threads.submit(engine.send, request_to(server.port), budget)
        assert arrived.wait(PATIENCE_S)
        time.sleep(0.05)
        budget.end()
        with pytest.raises(TransportError):
            call.result(timeout=PATIENCE_S)
        assert budget.connection is None
        assert engine.send(request_to(server.port))[0] == 401


def test_a_transport_that_was_cut_after_its_response_is_not_kept() -> None:
    with Chaos() as server, Kind("sync", None).stock() as engine:
        budget = budget_of()
        response = engine.engine.send(request_to(server.port), budget)
        assert b"".join(response.chunks)
        assert budget.connection is not None
        budget.connection.cut()
        response.close()
        engine.send(request_to(server.port))
        assert server.connections == 2


def test_more_requests_than_connections_wait(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stock, "MAX_CONNECTIONS", 1)
    arrived, may_answer = threading.Event(), threading.Event()

    def wait(line: Line, answer: Answer) -> None:
        arrived.set()
        may_answer.wait(PATIENCE_S)
        line.send(answer.whole)

    with Chaos() as server, kind.stock() as engine, concurrent.futures.ThreadPoolExecutor(2) as threads:
        server.plan(Trouble(wait, times=1))
        first = threads.submit(engine.send, request_to(server.port))
        assert arrived.wait(PATIENCE_S)
        with pytest.raises(TransportError) as caught:
            engine.send(request_to(server.port), budget_of(pool=0.01))
        assert (caught.value.kind, caught.value.phase) == ("timeout", "pool")
        second = threads.submit(engine.send, request_to(server.port))
        time.sleep(0.05)
        may_answer.set()
        assert [first.result()[0], second.result()[0]] == [401, 401]


def test_without_the_one_private_name_there_is_no_client(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is where httpx keeps the pool of a transport."""
    for transport in (httpx.HTTPTransport, httpx.AsyncHTTPTransport):
        plain = transport()
        assert "_pool" in vars(plain)
        monkeypatch.setattr(transport, "__init__", lambda *_, **__: None)
    with pytest.raises(ConfigurationError, match=r"does not support httpx .* Install httpx 0\.28\.1"):
        (AsyncStockEngine if kind.is_async else StockEngine)(ssl.create_default_context(), None)


def test_a_wrapper_of_httpxs_transport_sees_each_request(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenTelemetry wraps this method."""
    seen: list[str] = []
    whole, whole_async = httpx.HTTPTransport.handle_request, httpx.AsyncHTTPTransport.handle_async_request

    @functools.wraps(whole)
    def handle(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        seen.append(str(request.url))
        return whole(self, request)

    @functools.wraps(whole_async)
    async def handle_async(self: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        seen.append(str(request.url))
        return await whole_async(self, request)

    with Chaos() as server, kind.stock() as engine:
        engine.send(request_to(server.port))
        monkeypatch.setattr(httpx.HTTPTransport, "handle_request", handle)
        monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", handle_async)
        engine.send(request_to(server.port))
        assert seen == [f"http://localhost:{server.port}/rest/v1/activity/a?b=c"]


def test_respx_takes_the_place_of_the_network(kind: Kind) -> None:
    with respx.mock() as router, kind.stock() as engine:
        route = router.post("https://nowhere.invalid/rest/v1/activity/a", params={"b": "c"})
        route.respond(json={"a": 1}, headers={"x-a": "b"})
        status, headers, body = engine.send(
            request_to(443, "https", "nowhere.invalid", method="POST", body=b"d")
        )
        assert (status, body) == (200, b'{"a":1}')
        assert (b"x-a", b"b") in headers
        assert route.calls.last.request.content == b"d"


class Tunnel(Server):
    """A proxy that answers CONNECT, and connects to `::1` whatever it is asked for."""

    def __init__(self, answer: bytes = b"HTTP/1.1 200 OK\r\n\r\n") -> None:
        super().__init__()
        self.head = b""
        self._answer = answer

    def serve(self, line: Line) -> None:
        self.head = line.read()
        with socket.create_connection(
            ("::1", int(self.head.partition(b" HTTP")[0].rpartition(b":")[2]))
        ) as there:
            line.send(self._answer)
            threading.Thread(target=self._back, args=(there, line), daemon=True).start()
            with contextlib.suppress(GoneError, OSError):
                while data := line.read():
                    there.sendall(data)
                    data = b""
            there.shutdown(socket.SHUT_RDWR)

    def _back(self, there: socket.socket, line: Line) -> None:
        with contextlib.suppress(GoneError, OSError):
            while data := there.recv(65536):
                line.send(data)


def test_an_ipv6_address_goes_through_a_proxy_in_brackets(
    kind: Kind, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        port: int = listener.getsockname()[1]

        def serve() -> None:
            sock, _address = listener.accept()
            with server_context.wrap_socket(sock, server_side=True) as tls:
                while tls.recv(65536):
                    tls.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with Tunnel() as proxy, kind.stock(client_context, f"http://127.0.0.1:{proxy.port}") as engine:
            assert engine.send(request_to(port, "https", "::1"))[2] == b"hi"
            assert engine.send(request_to(port, "https", "::1"))[2] == b"hi"
            assert proxy.head.startswith(b"CONNECT [::1]:%d HTTP/1.1\r\nHost: [::1]:%d\r\n" % (port, port))
            engine.close()
            thread.join(PATIENCE_S)


def refusing(text: bytes) -> Callable[[Line], None]:
    def answer(line: Line) -> None:
        line.send(text)
        line.finish()

    return answer


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 407 Who?\r\ncontent-length: 0\r\n\r\n", ("proxy", "407 Who?", True)),
        (b"HTTP/1.1 403 No\r\n\r\n", ("proxy", "403 No", True)),
        (b"HTTP/1.1 503 Later\r\n\r\n", ("proxy", "503 Later", False)),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nand more",
            ("connect", "the proxy sent more than its response", False),
        ),
        (b"HTTP/1.1 200 OK\r\n\r\nand more", ("connect", "the proxy sent more than its response", False)),
    ],
)
def test_a_proxy_that_refuses(
    kind: Kind, client_context: ssl.SSLContext, answer: bytes, expected: tuple[str, str, bool]
) -> None:
    with no_socket_left(), Proxy(refusing(answer)) as proxy:
        with kind.stock(client_context, f"http://a:b@127.0.0.1:{proxy.port}") as engine:
            with pytest.raises(TransportError) as caught:
                engine.send(request_to(443, "https"))
    error = caught.value
    assert (error.kind, error.text, error.is_final) == expected
    assert error.__cause__ is None
    assert error.__context__ is None
    assert b"proxy-authorization: basic ytpi" in proxy.heads[0].lower()


def test_an_unknown_host_is_final(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[int] = []

    def resolve(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(codes[-1], "the reason")

    with kind.stock() as engine:
        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        for code, is_final in [(socket.EAI_NONAME, True), (socket.EAI_AGAIN, False)]:
            codes.append(code)
            with pytest.raises(TransportError, match="the reason") as caught:
                engine.send(request_to(443, host="nowhere.example"))
            assert (caught.value.kind, caught.value.is_final) == ("connect", is_final)


def test_an_invalid_host_name_is_rejected(kind: Kind) -> None:
    with kind.stock() as engine, pytest.raises(TransportError) as caught:
        engine.send(request_to(443, host="a" * 70 + ".example"))
    assert caught.value.kind in {"connect", "other"}


def test_a_certificate_that_is_not_trusted_is_final(kind: Kind, server_context: ssl.SSLContext) -> None:
    with no_socket_left(), Chaos(server_context) as server, kind.stock() as engine:
        with pytest.raises(TransportError, match="CERTIFICATE_VERIFY_FAILED") as caught:
            engine.send(request_to(server.port, "https"))
        assert (caught.value.kind, caught.value.is_final) == ("connect", True)


def test_a_refused_connection_says_so_in_the_same_words(kind: Kind) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with kind.stock() as engine, pytest.raises(TransportError) as caught:
        engine.send(request_to(port, host="127.0.0.1"))
    assert (caught.value.kind, caught.value.text) == ("connect", "[Errno 111] Connection refused")
    assert not caught.value.is_final


def test_a_reset_says_so_in_the_same_words(kind: Kind) -> None:
    with no_socket_left(), Chaos() as server, kind.stock() as engine:
        server.plan(Trouble(reset_after_reading))
        with pytest.raises(TransportError) as caught:
            engine.send(request_to(server.port))
        assert (caught.value.kind, caught.value.text) == ("read", "[Errno 104] Connection reset by peer")


def test_a_missing_client_certificate_says_so_in_the_same_words(
    kind: Kind, ca: Any, client_context: ssl.SSLContext
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(context)
    ca.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED

    def shake(line: Line) -> None:
        with contextlib.suppress(GoneError):
            line.shake_hands(context)
        line.finish()

    with Chaos(context) as server, kind.stock(client_context) as engine:
        server.plan(Trouble(handshake=shake))
        with pytest.raises(TransportError, match="CERTIFICATE_REQUIRED"):
            engine.send(request_to(server.port, "https"))


def test_a_cut_handshake_says_so_in_the_same_words(
    kind: Kind, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    def hang_up(line: Line) -> None:
        line.read()
        line.finish()

    with no_socket_left(), Chaos(server_context) as server, kind.stock(client_context) as engine:
        server.plan(Trouble(handshake=hang_up))
        with pytest.raises(TransportError, match=r"UNEXPECTED_EOF|closed \(EOF\)") as caught:
            engine.send(request_to(server.port, "https"))
        assert caught.value.kind == "connect"


def test_a_server_that_hangs_up_before_the_request_is_an_error_of_ours(
    kind: Kind, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    """anyio's `EndOfStream`, which only reads were expected to raise, once left the call."""

    def hang_up(line: Line) -> None:
        line.shake_hands(server_context)
        line.finish()

    with no_socket_left(), Chaos(server_context) as server, kind.stock(client_context) as engine:
        server.plan(Trouble(handshake=hang_up))
        with pytest.raises(TransportError):
            engine.send(request_to(server.port, "https"))


def test_a_server_that_hangs_up(kind: Kind) -> None:
    with Chaos() as server, kind.stock() as engine:
        server.plan(Trouble(connection=end_at_once))
        with pytest.raises(TransportError) as caught:
            engine.send(request_to(server.port))
        assert caught.value.kind == "protocol"


def endless(line: Line, answer: Answer) -> None:
    line.send(answer.head(content_length=None, transfer_encoding="chunked"))
    line.send_for_ever(b"5\r\nabcde\r\n")


def test_a_body_that_is_left_early_leaves_nothing(kind: Kind) -> None:
    with no_socket_left(), Chaos() as server, kind.stock() as engine:
        server.plan(Trouble(endless, times=1))
        assert engine.send(request_to(server.port), chunks=2)[2]
        assert engine.send(request_to(server.port))[0] == 401
        assert server.connections == 2


def test_a_body_that_is_cut(kind: Kind) -> None:
    def cut(line: Line, answer: Answer) -> None:
        line.send(answer.whole[:-1])
        line.finish()

    with no_socket_left(), Chaos() as server, kind.stock() as engine:
        server.plan(Trouble(cut, times=1))
        with pytest.raises(TransportError) as caught:
            engine.send(request_to(server.port))
        assert caught.value.kind == "protocol"
        engine.send(request_to(server.port))
        assert server.connections == 2


def test_a_call_ends_in_time_whatever_trickles(kind: Kind) -> None:
    def dribble(line: Line, answer: Answer) -> None:
        line.dribble(answer.whole, 0.1)

    with no_socket_left(), Chaos() as server, kind.stock() as engine:
        server.plan(Trouble(dribble))
        with pytest.raises((TransportError, TimeoutError)):
            engine.send(request_to(server.port), budget_of(0.2))


def test_a_time_out_names_its_phase(kind: Kind) -> None:
    def silent(line: Line, _answer: Answer) -> None:
        line.stay_silent()

    with no_socket_left(), Chaos() as server, kind.stock() as engine:
        server.plan(Trouble(silent, times=1))
        with pytest.raises(TransportError) as caught:
            engine.send(request_to(server.port), budget_of(read=0.05))
        assert (caught.value.kind, caught.value.phase) == ("timeout", "read")
        server.plan(Trouble(never_accepts=True))
        with pytest.raises(TransportError) as caught:
            engine.send(request_to(server.port, host="127.0.0.1"), budget_of(connect=0.05), fresh=True)
        assert (caught.value.kind, caught.value.phase) == ("timeout", "connect")


@pytest.mark.parametrize("proxied", [False, True])
def test_a_handshake_that_is_not_finished_leaves_no_socket(
    kind: Kind, client_context: ssl.SSLContext, *, proxied: bool
) -> None:
    def connected_and_silent(line: Line) -> None:
        line.send(b"HTTP/1.1 200 OK\r\n\r\n")
        line.stay_silent()

    with no_socket_left(), Chaos() as server, Proxy(connected_and_silent) as proxy:
        server.plan(Trouble(connection=black_hole))
        url = f"http://127.0.0.1:{proxy.port}" if proxied else None
        with kind.stock(client_context, url) as engine:
            with pytest.raises((TransportError, TimeoutError)):
                engine.send(request_to(server.port, "https"), budget_of(0.2))


def test_an_exchange_that_is_interrupted_costs_its_connection() -> None:
    with no_socket_left(), Chaos() as server, Kind("sync", None).stock() as engine:
        response = engine.engine.send(request_to(server.port), budget_of())
        chunks = response.chunks
        next(chunks)
        with pytest.raises(KeyboardInterrupt):
            chunks.throw(KeyboardInterrupt())
        response.close()
        engine.send(request_to(server.port))
        assert server.connections == 2


def test_a_second_response_is_never_taken_for_the_next(kind: Kind) -> None:
    with Chaos() as server, kind.stock() as engine:
        server.plan(Trouble(two_answers, times=1))
        engine.send(request_to(server.port))
        engine.send(request_to(server.port))
        assert server.connections == 2
