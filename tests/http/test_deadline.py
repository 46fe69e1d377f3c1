"""Sync connections end with the call, whatever a server does."""

import hashlib
import hmac
import select
import signal
import socket
import ssl
import threading
import time
from pathlib import Path
from typing import Any

import httpcore
import pytest
import trustme
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from faults.chaos import Answer, Chaos, Line, Trouble
from http_engines import Kind, budget_of, request_to
from patience import PATIENCE_S

from thrive_learning import _sockets
from thrive_learning._http.deadline import Backend, _SocketStream
from thrive_learning._http.port import TransportError

Address = tuple[str, int]


@pytest.fixture(autouse=True)
def _no_address_has_failed() -> None:
    _sockets.failed_at.clear()


def resolving_to(monkeypatch: pytest.MonkeyPatch, *addresses: Address) -> None:
    entries = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: list(entries))


def test_a_host_whose_first_address_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = Kind("sync", None)
    with Chaos() as dead, Chaos() as alive, kind.stock() as engine:
        dead.plan(Trouble(never_accepts=True))
        resolving_to(monkeypatch, ("127.0.0.1", dead.port), ("127.0.0.1", alive.port))
        assert engine.send(request_to(443))[0] == 401
        # An attempt that began with the dead address again would fail.
        monkeypatch.setattr(_sockets, "HEAD_START_S", 2 * PATIENCE_S)
        assert engine.send(request_to(443), fresh=True)[0] == 401


def test_a_retry_does_not_begin_with_the_dead_address(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = Kind("sync", None)
    with Chaos() as dead, Chaos() as alive, kind.stock() as engine:
        dead.plan(Trouble(never_accepts=True))
        resolving_to(monkeypatch, ("127.0.0.1", dead.port), ("127.0.0.1", alive.port))
        with pytest.raises(TransportError) as caught:
            engine.send(request_to(443), budget_of(connect=0.1))
        assert caught.value.phase == "connect"
        monkeypatch.setattr(_sockets, "HEAD_START_S", 2 * PATIENCE_S)
        assert engine.send(request_to(443))[0] == 401


def test_an_address_that_is_slow_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_sockets, "HEAD_START_S", 0.01)
    kind = Kind("sync", None)
    with Chaos() as slow, Chaos() as dead, kind.stock() as engine:
        for server in (slow, dead):
            server.plan(Trouble(never_accepts=True))
        resolving_to(monkeypatch, ("127.0.0.1", slow.port), ("127.0.0.1", dead.port))
        timer = threading.Timer(0.3, slow.plan, [Trouble(times=0)])
        timer.start()
        assert engine.send(request_to(443), budget_of(connect=PATIENCE_S))[0] == 401
        timer.join()


def test_the_last_refusal_is_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    resolving_to(monkeypatch, ("127.0.0.1", port), ("127.0.0.1", port))
    with Kind("sync", None).stock() as engine, pytest.raises(TransportError, match="Connection refused"):
        engine.send(request_to(443))


def test_addresses_share_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    with Chaos() as dead, Kind("sync", None).stock() as engine:
        dead.plan(Trouble(never_accepts=True))
        resolving_to(monkeypatch, *[("127.0.0.1", dead.port)] * 200)
        began = time.monotonic()
        with pytest.raises(TransportError) as caught:
            engine.send(request_to(443), budget_of(connect=0.4))
        assert time.monotonic() - began < 40  # one after another, they would take longer
        assert (caught.value.kind, caught.value.phase) == ("timeout", "connect")


def test_an_address_that_fails_at_once_is_not_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    with Chaos() as alive, Kind("sync", None).stock() as engine:
        resolving_to(monkeypatch, ("127.0.0.1", 1), ("127.0.0.1", alive.port))
        assert engine.send(request_to(443))[0] == 401
        assert list(_sockets.failed_at) == [("127.0.0.1", 1)]


def test_nothing_is_opened_after_a_cut() -> None:
    backend = Backend()
    backend.budget = budget_of()
    backend.cut()
    with pytest.raises(httpcore.ConnectError, match="abort"):
        backend.connect_tcp("127.0.0.1", 1)


class InterruptionError(OSError):
    """The exception of a signal handler."""


@pytest.mark.parametrize("place", ["settimeout", "connect", "send", "recv"])
def test_the_exception_of_a_signal_handler_passes_unchanged(
    monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """It looks like a failure of the socket."""

    class Socket(socket.socket):
        pass

    whole = getattr(socket.socket, place)

    def interrupt(*arguments: Any) -> Any:
        if threading.current_thread() is threading.main_thread():  # the server has threads of its own
            signal.raise_signal(signal.SIGUSR1)
        return whole(*arguments)

    def handle(*_: Any) -> None:
        raise InterruptionError

    monkeypatch.setattr(socket, "socket", Socket)
    setattr(Socket, place, interrupt)
    before = signal.signal(signal.SIGUSR1, handle)
    try:
        with Chaos() as server, Kind("sync", None).stock() as engine:
            with pytest.raises(InterruptionError):
                engine.send(request_to(server.port, host="127.0.0.1"))
            delattr(Socket, place)
            assert engine.send(request_to(server.port, host="127.0.0.1"))[0] == 401
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("has_poll", [True, False])
def test_readable_data_is_noticed(monkeypatch: pytest.MonkeyPatch, *, has_poll: bool) -> None:
    if not has_poll:  # as on Windows
        monkeypatch.delattr(select, "poll")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        backend = Backend()
        backend.budget = budget_of()
        stream = backend.connect_tcp("127.0.0.1", listener.getsockname()[1])
        peer, _address = listener.accept()
        with peer:
            assert not stream.get_extra_info("is_readable")
            peer.sendall(b"abc")
            select.select([stream.get_extra_info("socket")], [], [], PATIENCE_S)
            assert stream.get_extra_info("is_readable")
            assert stream.read(10) + stream.read(10) == b"abc"
            assert not stream.get_extra_info("is_readable")
        stream.close()


def test_a_large_body_is_sent_piece_by_piece(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    body = bytes(1_000_000)
    for tls in (None, server_context):
        with Chaos(tls) as server, Kind("sync", None).stock(client_context) as engine:
            engine.send(request_to(server.port, "https" if tls else "http", method="POST", body=body))
            assert server.requests[0].body == body


def test_a_body_that_nobody_reads_ends_with_the_call(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    def never_reads(line: Line) -> None:
        line.pause(2 * PATIENCE_S)

    for tls in (None, server_context):
        with Chaos(tls) as server, Kind("sync", None).stock(client_context) as engine:
            trouble = Trouble(connection=never_reads) if tls is None else Trouble()
            server.plan(trouble)
            request = request_to(
                server.port, "https" if tls else "http", method="POST", body=bytes(30_000_000)
            )
            with pytest.raises(TransportError) as caught:
                engine.send(request, budget_of(0.3))
            assert caught.value.kind == "timeout"


def test_a_server_that_ends_within_tls(
    kind: Kind, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    def cut(line: Line, answer: Answer) -> None:
        line.send(answer.whole[:-1])
        line.finish()

    with Chaos(server_context) as server, kind.stock(client_context) as engine:
        server.plan(Trouble(cut, times=1))
        with pytest.raises(TransportError) as caught:
            engine.send(request_to(server.port, "https"))
        assert caught.value.kind == "protocol"


def test_garbage_within_tls(
    kind: Kind, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    def garbage(line: Line, _answer: Answer) -> None:
        line._push(b"this is not a record of TLS")
        line.finish()

    with Chaos(server_context) as server, kind.stock(client_context) as engine:
        server.plan(Trouble(garbage, times=1))
        with pytest.raises(TransportError, match="SSL") as caught:
            engine.send(request_to(server.port, "https"))
        assert caught.value.kind == "read"


class KeyUpdates:
    """Encrypts records of TLS 1.3 that only ask for new keys. Source: RFC 8446 sections 5.2, 7.1, and 7.2."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def _expand(self, label: bytes, length: int) -> bytes:
        label = b"tls13 " + label
        info = length.to_bytes(2, "big") + bytes([len(label)]) + label + b"\x00\x01"
        return hmac.digest(self._secret, info, hashlib.sha384)[:length]

    def record(self) -> bytes:
        key, nonce = self._expand(b"key", 32), self._expand(b"iv", 12)
        head = b"\x17\x03\x03\x00\x16"
        sealed = AESGCM(key).encrypt(nonce, b"\x18\x00\x00\x01\x00\x16", head)
        self._secret = self._expand(b"traffic upd", 48)
        return head + sealed


def server_secret(file: Path) -> bytes:
    [line] = [line for line in file.read_text().splitlines() if line.startswith("SERVER_TRAFFIC_SECRET_0")]
    return bytes.fromhex(line.split()[2])


def test_a_flood_of_key_updates_ends_with_the_call(
    ca: trustme.CA, client_context: ssl.SSLContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They hold no data, so TLS alone would go on reading them. Async code has a cancel scope for that."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0
    ca.issue_cert("localhost").configure_cert(context)
    context.keylog_filename = str(tmp_path / "keys")

    def flood(line: Line, _answer: Answer) -> None:
        assert line._tls is not None
        assert line._tls.cipher() == ("TLS_AES_256_GCM_SHA384", "TLSv1.3", 256)
        updates = KeyUpdates(server_secret(tmp_path / "keys"))
        is_flooding.set()
        line._push(b"".join(updates.record() for _ in range(10_000)))
        line.stay_silent()

    def receive(stream: _SocketStream, max_bytes: int, timeout: float | None) -> bytes:
        data = plain(stream, max_bytes, timeout)
        if is_flooding.is_set():
            flooded.append(data)
            budget._ends = 0.0
        return data

    is_flooding = threading.Event()
    flooded: list[bytes] = []
    plain = _SocketStream.receive
    monkeypatch.setattr(_SocketStream, "receive", receive)
    budget: Any = budget_of()
    with Chaos(context) as server, Kind("sync", None).stock(client_context) as engine:
        server.plan(Trouble(flood, times=1))
        with pytest.raises(TransportError) as caught:
            engine.send(request_to(server.port, "https"), budget)
    assert len(flooded) == 1
    assert caught.value.kind == "timeout"
