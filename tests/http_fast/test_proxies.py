"""Tunnels through proxies, in sync code, on asyncio, and on trio."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any

import pytest
import trustme
from patience import PATIENCE_S

from http_fast.loopback import OK, Reply, Sender, Server, answer, budget, read_request, request, silence
from http_fast.test_engine import failure_of
from thrive_learning._http.port import Origin


def pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def tunnel(said: bytes = b"HTTP/1.1 200 Connected\r\n\r\n") -> Callable[[socket.socket, Server], None]:
    """Return the handler of a proxy that opens the tunnels it is asked for."""

    def handle(peer: socket.socket, server: Server) -> None:
        connect = read_request(peer)
        server.requests.append(connect)
        host, _, port = connect.split()[1].decode().rpartition(":")
        with socket.create_connection((host.strip("[]"), int(port))) as upstream:
            peer.sendall(said)
            back = threading.Thread(target=pump, args=(upstream, peer))
            back.start()
            pump(peer, upstream)
            back.join()

    return handle


def url_of(proxy: Server, credentials: str = "") -> str:
    return f"{proxy.origin.scheme}://{credentials}127.0.0.1:{proxy.port}"


def test_a_tunnel_is_used_again(open_engine: Callable[..., Sender], serving: ssl.SSLContext) -> None:
    with Server(answer(OK), serving) as server, Server(tunnel()) as proxy:
        sender = open_engine(url_of(proxy, "us%40er:p%3Aw@"))
        for _ in range(2):
            assert sender.get(server.origin) == Reply(200, b"{}")
        assert (server.connections, proxy.connections) == (1, 1)
        target = b"127.0.0.1:%d" % server.port
        assert proxy.requests == [
            b"CONNECT " + target + b" HTTP/1.1\r\nHost: " + target + b"\r\nAccept: */*\r\n"
            b"Proxy-Authorization: Basic dXNAZXI6cDp3\r\n\r\n"
        ]


def test_a_proxy_speaks_tls(open_engine: Callable[..., Sender], serving: ssl.SSLContext) -> None:
    body = bytes(1_000_000)
    large = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    # One SSL socket must not be used by two threads at once, so the server answers all at once.
    sent = threading.Event()

    def handle(peer: Any, server: Server) -> None:
        server.requests.append(read_request(peer))
        peer.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        within = serving.wrap_bio(incoming, outgoing, server_side=True)

        def step(function: Callable[..., Any], *arguments: Any) -> Any:
            while True:
                try:
                    result = function(*arguments)
                except ssl.SSLWantReadError:
                    peer.sendall(outgoing.read())
                    incoming.write(peer.recv(65_536))
                else:
                    peer.sendall(outgoing.read())
                    return result

        step(within.do_handshake)
        for _ in range(2):
            step(within.read, 65_536)
            step(within.write, large)
        sent.set()
        server.closing.wait(2 * PATIENCE_S)

    with Server(handle, serving) as proxy:
        sender = open_engine(url_of(proxy))
        for _ in range(2):
            assert sender.get(Origin("https", "localhost", 1)) == Reply(200, body)
        assert sent.wait(PATIENCE_S)
        assert proxy.connections == 1


def test_an_ipv6_literal_has_brackets(open_engine: Callable[..., Sender]) -> None:
    with Server(answer(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")) as proxy:
        failure_of(open_engine(url_of(proxy)), request(Origin("https", "2001:db8::1", 8443)))
        assert proxy.requests[0].startswith(
            b"CONNECT [2001:db8::1]:8443 HTTP/1.1\r\nHost: [2001:db8::1]:8443\r\n"
        )


def test_plain_http_goes_directly(open_engine: Callable[..., Sender]) -> None:
    with Server(answer(OK)) as server, Server(answer(OK)) as proxy:
        assert open_engine(url_of(proxy)).get(server.origin) == Reply(200, b"{}")
        assert proxy.connections == 0


@pytest.mark.parametrize("url", ["http://proxy.example", "https://proxy.example"])
def test_a_proxy_has_the_usual_port(
    open_engine: Callable[..., Sender], monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    ports: list[object] = []

    def getaddrinfo(_host: str, port: object, *_arguments: Any, **_options: Any) -> Any:
        ports.append(port)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    failure_of(open_engine(url), request(Origin("https", "a.example", 443)))
    assert ports == [443 if url.startswith("https") else 80]


@pytest.mark.parametrize(
    ("said", "text", "is_final"),
    [
        (b"407 Proxy Authentication Required", "407 Proxy Authentication Required", True),
        (b"403 Forbidden", "403 Forbidden", True),
        (b"502 Bad Gateway", "502 Bad Gateway", False),
        (b"503", "503 ", False),
        (b"302 F\xc3\xbcr", "302 Fr", True),
    ],
)
def test_a_proxy_opens_no_tunnel(
    open_engine: Callable[..., Sender], said: bytes, text: str, *, is_final: bool
) -> None:
    def handle(peer: socket.socket, _server: Server) -> None:
        read_request(peer)
        head = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 " + said + b"\r\n"
        for start in range(len(head)):
            peer.sendall(head[start : start + 1])
        peer.sendall(b"Content-Length: 5\r\n\r\nabcde")

    with Server(handle) as proxy:
        error = failure_of(open_engine(url_of(proxy)), request(Origin("https", "a.example", 443)))
    assert (error.kind, error.text, error.is_final) == ("proxy", text, is_final)


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
    ],
)
def test_a_proxy_sends_more_than_its_response(open_engine: Callable[..., Sender], said: bytes) -> None:
    def handle(peer: socket.socket, _server: Server) -> None:
        read_request(peer)
        peer.sendall(said)
        read_request(peer)

    with Server(handle) as proxy:
        error = failure_of(open_engine(url_of(proxy)), request(Origin("https", "a.example", 443)))
    assert (error.kind, error.text) == ("connect", "the proxy sent more than its response")


def test_a_proxy_hangs_up(open_engine: Callable[..., Sender]) -> None:
    with Server(answer(b"", times=1)) as proxy:
        error = failure_of(open_engine(url_of(proxy)), request(Origin("https", "a.example", 443)))
    assert error.kind == "protocol"


def test_a_proxy_is_silent(open_engine: Callable[..., Sender]) -> None:
    with Server(silence) as proxy:
        sender = open_engine(url_of(proxy))
        error = failure_of(sender, request(Origin("https", "a.example", 443)), budget(read=0.05))
    assert (error.kind, error.phase) == ("timeout", "read")


def test_the_certificate_of_a_proxy_is_checked(
    open_engine: Callable[..., Sender], authority: trustme.CA, serving: ssl.SSLContext
) -> None:
    del authority
    with Server(tunnel(), serving) as proxy:
        sender = open_engine(url_of(proxy), ssl.create_default_context())
        error = failure_of(sender, request(Origin("https", "a.example", 443)))
        assert (error.kind, error.is_final, proxy.requests) == ("connect", True, [])
