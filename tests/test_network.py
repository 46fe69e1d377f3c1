import concurrent.futures
import contextlib
import errno
import os
import select
import socket
import ssl
import subprocess
import sys
import threading
import time
from types import SimpleNamespace
from typing import Any

import httpcore
import pytest
import trustme
from harness import ACTIVITY_ID, BASIC, OAUTH, Flavour, page_response, token_response

from thrive_learning import ClientClosedError, ConnectionFailedError, Region, RetryPolicy, Timeout, _network
from thrive_learning._budget import Budget, current_budget
from thrive_learning._call.seam import Options
from thrive_learning._exchange.body import TOKEN_LIMIT, Body
from thrive_learning._network import BoundedBackend, BoundedStream, TlsOverTls, reason


class Peer(httpcore.NetworkStream):
    """A connection in memory, behind which a TLS server repeats what it is told."""

    def __init__(self, authority: trustme.CA, name: str = "here.example") -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(context)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._shaken = False
        self.heard = b""
        self.timeouts: list[float | None] = []
        self.closed = False

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.timeouts.append(timeout)
        self._incoming.write(buffer)
        try:
            if not self._shaken:
                self._tls.do_handshake()
                self._shaken = True
            while data := self._tls.read(65_536):
                self.heard += data
                self._tls.write(data)
        except ssl.SSLError:
            pass  # it waits for more, or has nothing more to say

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self.timeouts.append(timeout)
        return self._outgoing.read(max_bytes)

    def close(self) -> None:
        self.closed = True

    def get_extra_info(self, info: str) -> Any:
        return f"the peer's {info}"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def test_tls_within_tls(authority: trustme.CA, context: ssl.SSLContext) -> None:
    peer = Peer(authority)
    stream = TlsOverTls(peer, context, "here.example", 7)
    message = b"x" * 200_000
    stream.write(message, 5)
    assert peer.heard == message
    got = b""
    while len(got) < len(message):
        got += stream.read(65_536, 5)
    assert got == message
    assert set(peer.timeouts) == {7, 5}
    assert isinstance(stream.get_extra_info("ssl_object"), ssl.SSLObject)
    assert stream.get_extra_info("socket") == "the peer's socket"
    assert stream.read(1, 5) == b""  # the peer has nothing more to say
    stream.close()
    assert peer.closed


def test_tls_within_tls_checks_the_name(authority: trustme.CA, context: ssl.SSLContext) -> None:
    with pytest.raises(httpcore.ConnectError, match="Hostname mismatch"):
        TlsOverTls(Peer(authority, "there.example"), context, "here.example", None)


def test_a_handshake_that_is_cut_or_late(authority: trustme.CA, context: ssl.SSLContext) -> None:
    class Silent(Peer):
        def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
            del max_bytes
            if timeout is None:
                return b""
            raise httpcore.ReadTimeout

    with pytest.raises(httpcore.ConnectError):
        TlsOverTls(Silent(authority), context, "here.example", None)
    with pytest.raises(httpcore.ConnectTimeout):
        TlsOverTls(Silent(authority), context, "here.example", 1)


def test_garbage_within_tls(authority: trustme.CA, context: ssl.SSLContext) -> None:
    peer = Peer(authority)
    stream = TlsOverTls(peer, context, "here.example", None)
    while peer._outgoing.pending:  # the session tickets
        peer._outgoing.read()
    peer._outgoing.write(b"this is no record of TLS")
    with pytest.raises(httpcore.ReadError):
        stream.read(1)
    broken: Any = SimpleNamespace(write=raising(ssl.SSLError("broken")))
    stream._tls = broken
    with pytest.raises(httpcore.WriteError, match="broken"):
        stream.write(b"x")


def raising(error: BaseException) -> Any:
    def function(*_arguments: Any, **_options: Any) -> Any:
        raise error

    return function


class Socket:
    """A socket that notes its time-outs, and takes or gives a byte at a time, or fails."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.timeouts: list[float | None] = []
        self.sent = b""

    def settimeout(self, seconds: float | None) -> None:
        self.timeouts.append(seconds)

    def recv(self, size: int) -> bytes:
        if self.failure:
            raise self.failure
        return b"x" * size

    def send(self, data: bytes) -> int:
        if self.failure:
            raise self.failure
        self.sent += data[:1]
        return 1

    @property
    def stream(self) -> BoundedStream:
        inner: Any = SimpleNamespace(get_extra_info={"socket": self}.get)
        return BoundedStream(inner)


def test_outside_a_call_the_given_limit_holds() -> None:
    sock = Socket()
    assert sock.stream.read(1, 3) == b"x"
    assert len(sock.stream.read(1_000_000)) == _network.READ_BYTES
    sock.stream.write(b"", 7)
    sock.stream.write(b"ab", 5)
    assert sock.sent == b"ab"
    assert sock.timeouts == [3, None, 5, 5]


def test_within_a_call_what_is_left_of_it() -> None:
    sock = Socket()
    outer = current_budget.set(Budget(Timeout(total=2), RetryPolicy()))
    try:
        sock.stream.read(1, 3)
        sock.stream.read(1, None)
        sock.stream.write(b"x", 3)
        sock.stream.read(1, 1)
    finally:
        current_budget.reset(outer)
    first, second, third, fourth = (float(seconds or 0) for seconds in sock.timeouts)
    assert 0 < third <= second <= first <= 2
    assert fourth == 1


@pytest.mark.parametrize(
    ("failure", "reads", "writes"),
    [
        (TimeoutError("timed out"), httpcore.ReadTimeout, httpcore.WriteTimeout),
        (ConnectionResetError(104, "reset"), httpcore.ReadError, httpcore.WriteError),
        (ssl.SSLError(1, "bad record"), httpcore.ReadError, httpcore.WriteError),
    ],
)
def test_what_fails_at_the_socket_has_httpcores_name(
    failure: Exception, reads: type[Exception], writes: type[Exception]
) -> None:
    with pytest.raises(reads) as told:
        Socket(failure).stream.read(1)
    assert str(told.value) == str(failure)
    with pytest.raises(writes) as told:
        Socket(failure).stream.write(b"x")
    assert str(told.value) == str(failure)


def test_all_addresses_of_a_host_share_one_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens there
        port = taken.getsockname()[1]
        monkeypatch.setattr(_network, "_addresses", lambda *_: ["127.0.0.1"] * 3)
        now = iter([0.0, 0.1, 5.0])
        monkeypatch.setattr(_network, "time", SimpleNamespace(monotonic=lambda: next(now)))
        with pytest.raises(httpcore.ConnectError, match="refused"):
            BoundedBackend().connect_tcp("here.example", port, timeout=1)
        assert not list(now)
        monkeypatch.setattr(_network, "time", SimpleNamespace(monotonic=lambda: 0.0))
        with pytest.raises(httpcore.ConnectError, match="refused"):
            BoundedBackend().connect_tcp("here.example", port)


def test_a_host_that_has_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", raising(socket.gaierror(-2, "Name or service not known")))
    with pytest.raises(httpcore.ConnectError, match="Name or service not known"):
        BoundedBackend().connect_tcp("nowhere.example", 443)


def test_a_connection_that_is_refused_says_so_in_the_same_words(flavour: Flavour) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
    here = Region.custom("here", api_url=origin, token_url=origin + "/{tenant_id}")
    options: Any = {"engine": "httpx", "retry": RetryPolicy(attempts=1)}
    with (
        flavour.open(here, BASIC, **options) as client,
        pytest.raises(
            ConnectionFailedError, match=r"refused the connection \(\[Errno \d+\] Connection refused\)"
        ),
    ):
        client.activities.get(ACTIVITY_ID)


def test_the_reason_is_at_the_end_of_the_causes() -> None:
    last, whole = OSError(errno.EHOSTUNREACH, "by trio's words"), OSError("all attempts failed")
    whole.__cause__ = ExceptionGroup("attempts", [OSError(errno.ECONNREFUSED, ""), last])
    outer = httpcore.ConnectError()
    outer.__cause__ = whole
    assert reason(outer) == reason(last) == f"[Errno {errno.EHOSTUNREACH}] {os.strerror(errno.EHOSTUNREACH)}"
    # Their numbers are no system errors.
    assert reason(ssl.SSLError(1, "the certificate has expired")) == "the certificate has expired"
    assert reason(socket.gaierror(8, "no such name")) == "[Errno 8] no such name"


def test_asyncio_needs_no_trio() -> None:
    script = """
import sys
sys.modules["trio"] = None
import asyncio, socket
from thrive_learning._network import AsyncBackend

async def main(port):
    await (await AsyncBackend().connect_tcp("127.0.0.1", port, 5)).aclose()

with socket.create_server(("127.0.0.1", 0)) as listener:
    asyncio.run(main(listener.getsockname()[1]))
print("connected")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False, text=True)
    assert (done.stdout, done.stderr) == ("connected\n", "")


def test_a_client_that_is_closed_between_token_and_call_sends_nothing_more(flavour: Flavour) -> None:
    sent: list[str] = []

    def handler(request: Any) -> Any:
        sent.append(request.method)
        client._http.seam.closed = True
        return token_response() if request.method == "POST" else page_response()

    with flavour.answering(handler, OAUTH) as client, pytest.raises(ClientClosedError):
        client.activities.get(ACTIVITY_ID)
    assert sent == ["POST"]


def test_the_options_do_not_print_the_proxys_password() -> None:
    proxy = "http://me:canary@proxy:1"
    options = Options(Timeout(), RetryPolicy(), None, proxy, verify=True, on_attempt=None)
    assert "canary" not in repr(options)


def test_the_first_flaw_of_a_body_remains() -> None:
    body = Body("br", TOKEN_LIMIT)
    body.cut_off("ReadError")
    assert not body.cut
    assert "br" in str(body.flaw)


@pytest.mark.parametrize("waits_already", [True, False])
def test_who_ends_a_budget_cuts_what_its_thread_waits_for(*, waits_already: bool) -> None:
    budget = Budget(Timeout(total=20), RetryPolicy())
    waiting = threading.Event()

    def wait() -> bytes:
        current_budget.set(budget)
        stream = BoundedStream(httpcore.SyncBackend().connect_tcp("127.0.0.1", port))
        waiting.set()
        with contextlib.closing(stream):
            return stream.read(1)

    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        with concurrent.futures.ThreadPoolExecutor(1) as threads:
            if not waits_already:
                budget.end()
            call = threads.submit(wait)
            waiting.wait()
            while waits_already and budget.connection is None:
                time.sleep(0.001)
            budget.end()
            if waits_already:
                assert call.result(timeout=10) == b""
            else:
                with pytest.raises(httpcore.ReadTimeout):
                    call.result(timeout=10)


def test_a_connection_that_is_closed_is_cut_without_a_word() -> None:
    ours, theirs = socket.socketpair()
    stream = BoundedStream(SimpleNamespace(get_extra_info=lambda _info: ours))  # type: ignore[arg-type]
    ours.close()
    theirs.close()
    stream.cut()


@pytest.mark.parametrize("has_poll", [True, False])
def test_what_tls_holds_back_is_seen(
    authority: trustme.CA, context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch, *, has_poll: bool
) -> None:
    """A record of TLS is read as a whole: nothing is left of it in the socket, where one looks."""
    if not has_poll:  # as on Windows
        monkeypatch.delattr(select, "poll")
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.num_tickets = 0
    authority.issue_cert("here.example").configure_cert(serving)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stream = BoundedBackend().connect_tcp("127.0.0.1", listener.getsockname()[1], 5)
        peer, _address = listener.accept()
        with concurrent.futures.ThreadPoolExecutor(1) as threads:
            shaken = threads.submit(serving.wrap_socket, peer, server_side=True)
            stream = stream.start_tls(context, "here.example", 5)
            peer = shaken.result()
        with peer:
            assert not stream.get_extra_info("is_readable")
            peer.sendall(b"answer, surplus")
            assert stream.read(6, 5) == b"answer"
            assert stream.get_extra_info("is_readable")
            assert stream.read(100, 5) == b", surplus"
            assert not stream.get_extra_info("is_readable")
            peer.sendall(b"more")
            select.select([stream.get_extra_info("socket")], [], [], 5)
            assert stream.get_extra_info("is_readable")
        stream.close()
