"""Streams without an engine: what they do at their edges."""

import asyncio
import contextlib
import signal
import socket
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from patience import PATIENCE_S

from http_fast.loopback import budget, reset
from thrive_learning import _sockets
from thrive_learning._budget import Budget
from thrive_learning._http.port import TransportError, run
from thrive_learning._http_fast import async_connect
from thrive_learning._http_fast.asyncio_streams import AsyncioStream
from thrive_learning._http_fast.sockets import SocketStream
from thrive_learning._http_fast.streams import Stream, failed
from thrive_learning._http_fast.tls import TlsStream
from thrive_learning._sockets import Address

pytestmark = pytest.mark.anyio
LATE = 0.02


class LimitOfTime(TimeoutError):  # noqa: N818 - as job queues name theirs
    """Is what ends a job, of a type that sockets raise as well."""


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        peer, _address = listener.accept()
    with ours, peer:
        yield ours, peer


# Errors


def test_the_exception_of_a_signal_handler_passes_unchanged(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    def handle(*_arguments: object) -> None:
        raise LimitOfTime

    before = signal.signal(signal.SIGALRM, handle)
    pair[0].setblocking(False)  # noqa: FBT003
    stream = SocketStream(pair[0])
    try:
        for start in (lambda: stream.read(budget()), lambda: stream.write(bytes(20_000_000), budget())):
            signal.setitimer(signal.ITIMER_REAL, LATE)
            with pytest.raises(LimitOfTime):
                run(start())
    finally:
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize(
    ("error", "text", "is_final"),
    [
        (
            ConnectionResetError(104, "as asyncio puts it"),
            "[Errno 104] Connection reset by peer",
            False,
        ),
        (OSError("without a number"), "without a number", False),
        (ssl.SSLError(1, "[SSL: X] x"), "('[SSL: X] x',)", False),
        (
            ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] x"),
            "[SSL: CERTIFICATE_VERIFY_FAILED] x",
            True,
        ),
        (socket.gaierror(socket.EAI_AGAIN, "later"), f"[Errno {socket.EAI_AGAIN}] later", False),
        (socket.gaierror(socket.EAI_NONAME, "none"), f"[Errno {socket.EAI_NONAME}] none", True),
        (UnicodeError("not a name"), "not a name", True),
        (RuntimeError("can't start new thread"), "can't start new thread", False),
    ],
)
def test_a_failure_is_described_in_the_words_of_the_system(
    error: Exception, text: str, *, is_final: bool
) -> None:
    failure = failed("connect", error)
    assert failure.kind == "connect"
    assert failure.text == (str(error) if isinstance(error, ssl.SSLError) else text)
    assert failure.is_final == is_final


# Addresses


class Recorded(Stream):
    """A stream that knows whether it was closed."""

    def __init__(self) -> None:
        self.is_closed = False

    async def read(self, budget: Budget, ends: float | None = None) -> bytes:
        raise NotImplementedError

    async def write(self, data: bytes, budget: Budget, ends: float | None = None) -> None:
        raise NotImplementedError

    def is_readable(self) -> bool:
        raise NotImplementedError

    def cut(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self.is_closed = True


async def test_a_connection_that_comes_too_late_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_sockets, "HEAD_START_S", LATE)
    made: list[Recorded] = []
    all_tried = anyio.Event()
    tried: list[object] = []

    async def attempt(address: Address) -> Stream:
        tried.append(address)
        if len(tried) == 3:
            all_tried.set()
        with anyio.CancelScope(shield=True):  # that a first one has answered ends the others too late
            await all_tried.wait()
        made.append(Recorded())
        return made[-1]

    addresses: list[Address] = [(2, ("127.0.0.1", port)) for port in (1, 2, 3)]
    stream = await async_connect._race(addresses, attempt)
    assert stream is made[0]
    assert tried == addresses
    assert [one.is_closed for one in made] == [False, True, True]


# TLS


class Garbage(Recorded):
    """A stream on which nothing that arrives is a record of TLS."""

    async def read(self, budget: Budget, ends: float | None = None) -> bytes:
        del budget, ends
        return b"this is not a record of TLS"

    async def write(self, data: bytes, budget: Budget, ends: float | None = None) -> None:
        del data, budget, ends


async def test_garbage_instead_of_tls(trusting: ssl.SSLContext) -> None:
    stream = TlsStream(Garbage(), trusting, "here.example")
    with pytest.raises(TransportError, match="WRONG_VERSION_NUMBER") as read:
        await stream.read(budget())
    with pytest.raises(TransportError, match="_ssl") as written:
        await stream.write(b"x", budget())
    assert (read.value.kind, written.value.kind) == ("read", "write")


async def test_tls_takes_less_than_all(trusting: ssl.SSLContext) -> None:
    stream = TlsStream(Garbage(), trusting, "here.example")
    taken = bytearray()

    def write(data: memoryview) -> int:
        taken.append(data[0])
        return 1

    tls: Any = SimpleNamespace(write=write)
    stream._tls = tls
    await stream.write(b"abc", budget())
    assert taken == b"abc"


# Sync code


def test_a_write_waits_for_room_in_a_full_socket(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, peer = pair
    ours.setblocking(False)  # noqa: FBT003
    sent = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            sent += ours.send(bytes(1_000_000))
    stream = SocketStream(ours)
    with pytest.raises(TransportError) as caught:
        run(stream.write(b"x", budget(write=LATE)))
    assert (caught.value.kind, caught.value.phase) == ("timeout", "write")
    with ThreadPoolExecutor(1) as threads:
        rest = threads.submit(lambda: peer.recv(sent + 1, socket.MSG_WAITALL))
        run(stream.write(b"x", budget()))
        assert rest.result()[-1:] == b"x"


def test_nothing_is_read_once_the_call_is_over(pair: tuple[socket.socket, socket.socket]) -> None:
    pair[1].sendall(b"x")
    with pytest.raises(TransportError) as caught:
        run(SocketStream(pair[0]).read(budget(total=1e-9)))
    assert (caught.value.kind, caught.value.phase) == ("timeout", "read")


# asyncio

on_asyncio = pytest.mark.parametrize("anyio_backend", ["asyncio"])


class Ends:
    """Both ends of a connection on asyncio. The peer is a plain socket, which acts at once."""

    def __init__(self, stream: AsyncioStream, peer: socket.socket) -> None:
        self.stream = stream
        self.peer = peer


@contextlib.asynccontextmanager
async def connected() -> AsyncIterator[Ends]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        loop = asyncio.get_running_loop()
        _transport, stream = await loop.create_connection(
            lambda: AsyncioStream(loop), *listener.getsockname()
        )
        peer, _address = listener.accept()
        with peer:
            try:
                yield Ends(stream, peer)
            finally:
                stream.close()
                await anyio.lowlevel.checkpoint()
                await anyio.lowlevel.checkpoint()


async def until(happens: Any) -> None:
    with anyio.fail_after(PATIENCE_S):
        while not happens():
            await anyio.lowlevel.checkpoint()


@on_asyncio
async def test_data_from_before_a_failed_write_can_be_read() -> None:
    async with connected() as ends:
        ends.peer.sendall(b"why")
        reset(ends.peer)
        time.sleep(LATE)  # noqa: ASYNC251 - the event loop must not see it
        await ends.stream.write(b"x", budget())
        assert await ends.stream.read(budget()) == b"why"
        with pytest.raises(TransportError, match=r"\[Errno (104|32)\]"):
            await ends.stream.read(budget())


@on_asyncio
async def test_a_socket_that_cannot_be_looked_at_holds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fromfd(*_arguments: object) -> None:
        raise OSError

    monkeypatch.setattr(socket, "fromfd", fromfd)
    async with connected() as ends:
        reset(ends.peer)
        with pytest.raises(TransportError, match=r"\[Errno 104\]"):
            await ends.stream.read(budget())


@on_asyncio
async def test_a_flood_is_not_kept_in_memory() -> None:
    async with connected() as ends:
        ends.peer.setblocking(False)  # noqa: FBT003
        sent = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                sent += ends.peer.send(bytes(100_000))
                await anyio.lowlevel.checkpoint()
        assert sent > 500_000
        assert len(ends.stream._unread) < 100_000
        got = 0
        while got < sent:
            got += len(await ends.stream.read(budget()))
        assert not ends.stream.is_readable()


@on_asyncio
async def test_a_reader_that_always_finds_data_yields_to_others() -> None:
    async with connected() as ends:
        ends.peer.sendall(b"x")
        await until(lambda: ends.stream._unread)
        with anyio.move_on_after(0) as scope:
            await ends.stream.read(budget())
        assert scope.cancelled_caught


@on_asyncio
async def test_one_timer_serves_many_waits() -> None:
    async with connected() as ends:
        stream: Any = ends.stream
        timers: list[Any] = []
        for limit in (20.0, 10.0, 20.0):  # the second is shorter, and replaces the timer of the first
            ends.peer.sendall(b"x")
            assert await stream.read(budget(read=limit)) == b"x"
            timers.append(stream._timer)
        assert timers[0].when() > timers[1].when()
        assert timers[1] is timers[2]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stream.read, budget(read=20))
            await until(lambda: stream._waiter)
            assert stream._timer is timers[2]
            stream._ring()  # too early, so it is set again
            assert stream._timer.when() > timers[2].when()
            ends.peer.sendall(b"x")
            await until(lambda: not stream._waiter)
            stream._ring()  # while nobody waits
        assert stream._timer is None


@on_asyncio
async def test_a_limit_that_has_passed_already() -> None:
    async with connected() as ends:
        with pytest.raises(TransportError) as caught:
            await ends.stream.read(budget(), time.monotonic() - 1)
        assert (caught.value.kind, caught.value.phase) == ("timeout", "connect")


@on_asyncio
async def test_a_stream_that_the_server_has_ended_is_readable_and_writable() -> None:
    async with connected() as ends:
        ends.peer.shutdown(socket.SHUT_WR)
        assert await ends.stream.read(budget()) == b""
        assert ends.stream.is_readable()
        await ends.stream.write(b"x", budget())
        assert ends.peer.recv(1) == b"x"


@on_asyncio
async def test_a_closed_stream_cannot_be_used() -> None:
    async with connected() as ends:
        ends.stream.close()
        assert ends.stream.is_readable()
        for use in (ends.stream.read(budget()), ends.stream.write(b"x", budget())):
            with pytest.raises(TransportError, match="the connection was closed"):
                await use
        assert ends.peer.recv(1) == b""
