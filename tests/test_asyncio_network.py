import asyncio
import contextlib
import select
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from types import SimpleNamespace
from typing import Any

import anyio
import anyio.lowlevel
import httpcore
import pytest
import trustme

from thrive_learning import _asyncio_network
from thrive_learning._asyncio_network import Stream, TcpStream, TlsStream, connect_tcp
from thrive_learning._network import READ_BYTES, AsyncBackend, ClosingStream

pytestmark = pytest.mark.anyio

#: So long nobody waits for what has to happen at once.
SOON = 10.0
LATE = 0.02
#: More than the buffers of a connection take, at both ends.
MUCH = 30_000_000


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def serving(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("here.example").configure_cert(context)
    return context


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
def port(listener: socket.socket) -> int:
    number: int = listener.getsockname()[1]
    return number


async def until(happens: Callable[[], bool]) -> None:
    with anyio.fail_after(SOON):
        while not happens():
            await anyio.lowlevel.checkpoint()


class Pair:
    """Both ends of a connection; the server's is a plain socket, which does what it is told at once."""

    def __init__(self, stream: TcpStream, peer: socket.socket) -> None:
        self.stream = stream
        self.peer = peer

    def is_readable(self) -> bool:
        known: bool = self.stream.get_extra_info("is_readable")
        return known

    async def arrival(self) -> None:
        """Wait until the event loop has taken from the socket what the peer has sent."""
        await until(lambda: bool(self.stream._unread))

    def reset(self) -> None:
        self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.peer.close()


@pytest.fixture
async def pair(listener: socket.socket, port: int) -> AsyncIterator[Pair]:
    stream = await connect_tcp("127.0.0.1", port, SOON, None, None)
    peer, _address = listener.accept()
    with peer:
        yield Pair(stream, peer)
    await stream.aclose()


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


@contextlib.asynccontextmanager
async def server_of(handler: Handler, **options: Any) -> AsyncIterator[int]:
    tasks: set[asyncio.Task[Any]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with contextlib.suppress(OSError, ssl.SSLError, asyncio.CancelledError):
            await handler(reader, writer)
        writer.transport.abort()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, **options)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()


async def read_exactly(stream: Stream, size: int) -> bytes:
    got = bytearray()
    while len(got) < size and (data := await stream.read(65_536, SOON)):
        assert len(data) <= READ_BYTES
        got += data
    return bytes(got)


def is_closed(stream: TcpStream) -> bool:
    return bool(stream._transport.get_extra_info("socket").fileno() == -1)


# Which connections there are.


@pytest.mark.parametrize(("library", "kind"), [("asyncio", TcpStream), ("trio", ClosingStream)])
def test_each_event_loop_has_connections_of_its_kind(library: str, kind: type, port: int) -> None:
    async def connect() -> httpcore.AsyncNetworkStream:
        stream = await AsyncBackend().connect_tcp("127.0.0.1", port, SOON)
        await stream.aclose()
        return stream

    assert type(anyio.run(connect, backend=library)) is kind


async def test_what_a_connection_knows_of_itself(pair: Pair) -> None:
    info = pair.stream.get_extra_info
    assert info("client_addr") == pair.peer.getpeername()
    assert info("server_addr") == pair.peer.getsockname()
    assert info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert info("ssl_object") is None
    assert info("anything else") is None


# To read.


async def test_bytes_go_there_and_come_back() -> None:
    message = bytes(range(256)) * 40_000  # more than goes at once
    async with server_of(echo) as port:
        stream = await connect_tcp("127.0.0.1", port, SOON, None, None)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stream.write, message, SOON)
            assert await read_exactly(stream, len(message)) == message
        await stream.aclose()


async def test_the_end_comes_behind_what_was_sent(pair: Pair) -> None:
    pair.peer.sendall(b"the last words")
    pair.peer.shutdown(socket.SHUT_WR)
    assert await pair.stream.read(3, SOON) == b"the"
    assert await pair.stream.read(100) == b" last words"
    assert await pair.stream.read(100, SOON) == b""
    assert await pair.stream.read(100, SOON) == b""
    await pair.stream.write(b"still heard", SOON)
    assert pair.peer.recv(100) == b"still heard"


async def test_a_reset_comes_behind_what_was_sent(pair: Pair) -> None:
    pair.peer.sendall(b"the last words")
    await pair.arrival()
    pair.reset()
    await until(lambda: pair.stream._is_lost)
    assert await pair.stream.read(100, SOON) == b"the last words"
    with pytest.raises(httpcore.ReadError, match=r"^$"):
        await pair.stream.read(100, SOON)
    with pytest.raises(httpcore.WriteError, match=r"^$"):
        await pair.stream.write(b"x", SOON)


async def test_a_read_has_its_limit(pair: Pair) -> None:
    with pytest.raises(httpcore.ReadTimeout, match=r"^$"):
        await pair.stream.read(100, LATE)
    pair.peer.sendall(b"late")
    assert await pair.stream.read(100, SOON) == b"late"


@pytest.fixture
async def timers(monkeypatch: pytest.MonkeyPatch) -> list[asyncio.TimerHandle]:
    """Keep the timers that a connection asks the event loop for."""
    loop = asyncio.get_running_loop()
    schedule, kept = loop.call_at, list[asyncio.TimerHandle]()

    def call_at(*arguments: Any, **options: Any) -> asyncio.TimerHandle:
        timer = schedule(*arguments, **options)
        if arguments[1].__name__ == "_ring":
            kept.append(timer)
        return timer

    monkeypatch.setattr(loop, "call_at", call_at)
    return kept


async def test_reads_share_a_timer_that_ends_with_the_connection(
    pair: Pair, timers: list[asyncio.TimerHandle]
) -> None:
    for _ in range(3):
        reading = asyncio.create_task(pair.stream.read(1, SOON))
        await anyio.lowlevel.checkpoint()
        pair.peer.sendall(b"x")
        assert await reading == b"x"
    assert [timer.cancelled() for timer in timers] == [False]
    await pair.stream.aclose()
    assert [timer.cancelled() for timer in timers] == [True]


async def test_a_timer_of_an_earlier_read_does_not_end_a_later_one(
    pair: Pair, timers: list[asyncio.TimerHandle]
) -> None:
    with anyio.move_on_after(0.001):
        await pair.stream.read(1, 2 * LATE)
    reading = asyncio.create_task(pair.stream.read(1, SOON))
    await anyio.sleep(3 * LATE)
    assert len(timers) == 2  # it rang, and was set anew
    pair.peer.sendall(b"x")
    assert await reading == b"x"
    with pytest.raises(httpcore.ReadTimeout):
        await pair.stream.read(1, LATE)  # and one that is due sooner comes sooner
    assert [timer.cancelled() for timer in timers] == [False, True, False]


async def test_a_timer_may_ring_while_nobody_waits(pair: Pair, timers: list[asyncio.TimerHandle]) -> None:
    with anyio.move_on_after(0.001):
        await pair.stream.read(1, LATE)
    await anyio.sleep(2 * LATE)
    pair.peer.sendall(b"x")
    await pair.arrival()
    assert await pair.stream.read(1, SOON) == b"x"
    assert [timer.cancelled() for timer in timers] == [False]


async def test_a_read_that_is_cancelled_loses_nothing(pair: Pair) -> None:
    with anyio.move_on_after(LATE) as scope:
        await pair.stream.read(100, SOON)
    assert scope.cancelled_caught
    pair.peer.sendall(b"late")
    assert await pair.stream.read(100, SOON) == b"late"


async def test_who_comes_too_late_changes_nothing(pair: Pair) -> None:
    """A time-out that is due in the round in which the bytes come may find them there."""
    reading = asyncio.create_task(pair.stream.read(1, SOON))
    await anyio.lowlevel.checkpoint()
    pair.stream.get_buffer(-1)
    pair.stream.buffer_updated(1)
    pair.stream._ends = 0.0
    pair.stream._ring()
    assert await reading == b"\0"


async def test_whoever_always_finds_something_gives_way(pair: Pair) -> None:
    pair.peer.sendall(b"x" * 1000)
    await pair.arrival()
    with anyio.move_on_after(0) as scope:
        await pair.stream.read(1, SOON)
    assert scope.cancelled_caught
    assert await pair.stream.read(1000, SOON) == b"x" * 1000


async def test_a_flood_fills_no_memory(pair: Pair) -> None:
    sent = 0
    pair.peer.setblocking(False)  # noqa: FBT003
    with contextlib.suppress(BlockingIOError):
        while True:
            sent += pair.peer.send(bytes(65_536))
            await anyio.lowlevel.checkpoint()
    for _ in range(100):
        await anyio.lowlevel.checkpoint()
    assert 65_536 < len(pair.stream._unread) <= 65_536 + 16_384 < sent
    assert await read_exactly(pair.stream, sent) == bytes(sent)
    pair.peer.sendall(b"and it goes on")
    assert await pair.stream.read(100, SOON) == b"and it goes on"


# Connections that are idle.


async def test_nothing_comes_while_a_connection_is_idle(pair: Pair) -> None:
    assert not pair.is_readable()
    pair.peer.sendall(b"x")
    assert await pair.stream.read(1, SOON) == b"x"
    assert not pair.is_readable()


@pytest.mark.parametrize("event", ["surplus", "end", "reset"])
@pytest.mark.parametrize("loop_is_busy", [True, False])
@pytest.mark.parametrize("has_poll", [True, False])
async def test_what_comes_while_a_connection_is_idle_is_seen(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, *, event: str, loop_is_busy: bool, has_poll: bool
) -> None:
    if not has_poll:  # as on Windows
        monkeypatch.delattr(select, "poll")
    if event == "surplus":
        pair.peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    elif event == "end":
        pair.peer.close()
    else:
        pair.reset()
    if loop_is_busy:
        select.select([pair.stream.get_extra_info("socket")], [], [], SOON)
    else:
        await anyio.sleep(0.01)
        monkeypatch.setattr(pair.stream._arrivals, "look", lambda: False)  # nothing is in the socket any more
    assert pair.is_readable()


# To write.


async def test_nothing_to_write_is_no_use_of_the_connection(pair: Pair) -> None:
    await pair.stream.aclose()
    await pair.stream.write(b"", SOON)


async def test_who_writes_waits_for_who_reads(pair: Pair) -> None:
    with pytest.raises(httpcore.WriteTimeout, match=r"^$"):
        await pair.stream.write(bytes(MUCH), LATE)


async def test_who_writes_waits_until_the_system_has_all(pair: Pair) -> None:
    with contextlib.suppress(httpcore.WriteTimeout):
        while True:
            await pair.stream.write(bytes(10_000), LATE)
    assert 0 < pair.stream._transport.get_write_buffer_size() <= 10_000


@pytest.mark.parametrize("end", ["closed", "reset"])
async def test_a_write_ends_with_the_connection(pair: Pair, end: str) -> None:
    async def write() -> None:
        with pytest.raises(httpcore.WriteError, match=r"^$"):
            await pair.stream.write(bytes(MUCH), SOON)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write)
        await until(lambda: pair.stream._writer is not None)
        if end == "closed":
            await pair.stream.aclose()
        else:
            pair.reset()


# To close.


async def test_closing_ends_a_read_of_another_task(pair: Pair) -> None:
    async def read() -> None:
        with pytest.raises(httpcore.ReadError, match=r"^$"):
            await pair.stream.read(100, SOON)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        await until(lambda: pair.stream._reader is not None)
        await pair.stream.aclose()
    assert is_closed(pair.stream)
    assert pair.is_readable()
    await pair.stream.aclose()
    with pytest.raises(httpcore.ReadError):
        await pair.stream.read(100, SOON)
    with pytest.raises(httpcore.WriteError):
        await pair.stream.write(b"x", SOON)


# TLS.


async def test_tls_and_tls_within_it(
    serving: ssl.SSLContext, trusting: ssl.SSLContext, authority: trustme.CA
) -> None:
    within = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("there.example").configure_cert(within)

    async def echo_within(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(7))
        await writer.start_tls(within)
        await echo(reader, writer)

    message = bytes(range(256)) * 1000
    async with server_of(echo_within, ssl=serving) as port:
        tcp = await connect_tcp("127.0.0.1", port, SOON, None, None)
        tls = await tcp.start_tls(trusting, "here.example", SOON)
        await tls.write(b"CONNECT", SOON)
        assert await read_exactly(tls, 7) == b"CONNECT"
        stream = await tls.start_tls(trusting, "there.example")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stream.write, message, SOON)
            assert await read_exactly(stream, len(message)) == message
        assert stream.get_extra_info("ssl_object").getpeercert()["subjectAltName"] == (
            ("DNS", "there.example"),
        )
        assert stream.get_extra_info("server_addr")[1] == port
        assert not stream.get_extra_info("is_readable")
        await stream.aclose()
    assert is_closed(tcp)


async def test_surplus_that_is_decrypted_already_is_seen(
    serving: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    async with server_of(echo, ssl=serving) as port:
        tcp = await connect_tcp("127.0.0.1", port, SOON, None, None)
        stream = await tcp.start_tls(trusting, "here.example", SOON)
        await stream.write(b"one two", SOON)
        assert await stream.read(3, SOON) == b"one"
        assert not tcp.get_extra_info("is_readable")
        assert stream.get_extra_info("is_readable")
        with anyio.move_on_after(0) as scope:
            await stream.read(3, SOON)
        assert scope.cancelled_caught
        assert await stream.read(100, SOON) == b" two"
        assert not stream.get_extra_info("is_readable")
        await stream.aclose()


async def test_whoever_always_finds_a_record_of_tls_gives_way(
    serving: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    async def send_records(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        for _ in range(100):
            writer.write(b"x")
        await writer.drain()
        await echo(reader, writer)

    async with server_of(send_records, ssl=serving) as port:
        tcp = await connect_tcp("127.0.0.1", port, SOON, None, None)
        stream = await tcp.start_tls(trusting, "here.example", SOON)
        await stream.write(b"x", SOON)
        await until(lambda: len(tcp._unread) > 100 * 20)
        got = [await stream.read(1, SOON)]
        with anyio.move_on_after(0) as scope:
            while len(got) < 100:
                got.append(await stream.read(1, SOON))
        assert scope.cancelled_caught
        assert got == [b"x"]
        await stream.aclose()


@pytest.mark.parametrize("politely", [True, False])
async def test_the_end_of_tls(serving: ssl.SSLContext, trusting: ssl.SSLContext, *, politely: bool) -> None:
    async def end(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"the last words")
        await writer.drain()
        if politely:  # with a word of TLS
            writer.close()
            await writer.wait_closed()

    async with server_of(end, ssl=serving) as port:
        tcp = await connect_tcp("127.0.0.1", port, SOON, None, None)
        stream = await tcp.start_tls(trusting, "here.example", SOON)
        assert await read_exactly(stream, 100) == b"the last words"
        assert await stream.read(100, SOON) == b""
        await stream.aclose()


async def test_garbage_instead_of_tls(pair: Pair, trusting: ssl.SSLContext) -> None:
    pair.peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(httpcore.ConnectError, match="WRONG_VERSION_NUMBER"):
        await pair.stream.start_tls(trusting, "here.example", SOON)
    assert is_closed(pair.stream)


async def test_another_hosts_certificate(serving: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    async with server_of(echo, ssl=serving) as port:
        tcp = await connect_tcp("127.0.0.1", port, SOON, None, None)
        with pytest.raises(httpcore.ConnectError, match="Hostname mismatch"):
            await tcp.start_tls(trusting, "elsewhere.example", SOON)
    assert is_closed(tcp)


@pytest.mark.parametrize("end", ["end", "reset", "closed"])
async def test_a_handshake_that_is_cut(pair: Pair, trusting: ssl.SSLContext, end: str) -> None:
    async def cut() -> None:
        await until(lambda: pair.stream._reader is not None)
        if end == "end":
            pair.peer.shutdown(socket.SHUT_WR)
        elif end == "reset":
            pair.reset()
        else:
            await pair.stream.aclose()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(cut)
        with pytest.raises(httpcore.ConnectError, match=r"^$"):
            await pair.stream.start_tls(trusting, "here.example", SOON)
    assert is_closed(pair.stream)


async def test_a_handshake_has_its_limit_as_a_whole(pair: Pair, trusting: ssl.SSLContext) -> None:
    async def dribble() -> None:
        pair.peer.sendall(b"\x16\x03\x03\x40\x00")  # a record of 16 KiB begins
        while True:
            pair.peer.sendall(b"\x02")
            await anyio.sleep(LATE / 4)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(dribble)
        with anyio.fail_after(SOON), pytest.raises(httpcore.ConnectTimeout, match=r"^$"):
            await pair.stream.start_tls(trusting, "here.example", LATE)
        tasks.cancel_scope.cancel()
    assert is_closed(pair.stream)


async def test_a_handshake_that_is_cancelled(pair: Pair, trusting: ssl.SSLContext) -> None:
    with anyio.move_on_after(LATE) as scope:
        await pair.stream.start_tls(trusting, "here.example", SOON)
    assert scope.cancelled_caught
    assert is_closed(pair.stream)


class Broken(Stream):
    """A connection on which nothing that comes is a record of TLS."""

    async def receive(self, max_bytes: int, timeout: float | None) -> bytes:
        del timeout
        return b"this is no record of TLS"[:max_bytes]

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        del buffer, timeout


async def test_garbage_within_tls(trusting: ssl.SSLContext) -> None:
    stream = TlsStream(Broken(), trusting, "here.example")
    with pytest.raises(httpcore.ReadError, match="WRONG_VERSION_NUMBER"):
        await stream.read(1)
    with pytest.raises(httpcore.WriteError, match="_ssl"):
        await stream.write(b"x")


async def test_tls_may_take_less_than_all(trusting: ssl.SSLContext) -> None:
    stream = TlsStream(Broken(), trusting, "here.example")
    taken = bytearray()

    def write(data: memoryview) -> int:
        taken.append(data[0])
        return 1

    tls: Any = SimpleNamespace(write=write)
    stream._tls = tls
    await stream.write(b"abc")
    assert taken == b"abc"


# To connect.


async def test_nobody_listens(listener: socket.socket, port: int) -> None:
    listener.close()
    with pytest.raises(httpcore.ConnectError, match=r"^\[Errno \d+\] Connection refused$"):
        await connect_tcp("127.0.0.1", port, SOON, None, None)


async def test_a_host_that_has_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    async def getaddrinfo(*_arguments: Any, **_options: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(anyio, "getaddrinfo", getaddrinfo)
    with pytest.raises(httpcore.ConnectError, match="Name or service not known"):
        await connect_tcp("nowhere.example", 443, SOON, None, None)


def resolves_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    async def getaddrinfo(_host: str, port: int, **_options: Any) -> Any:
        family = {True: socket.AF_INET6, False: socket.AF_INET}
        return [(family[":" in known], socket.SOCK_STREAM, 6, "", (known, port)) for known in addresses]

    monkeypatch.setattr(anyio, "getaddrinfo", getaddrinfo)


async def test_both_families_have_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    resolves_to(monkeypatch, "10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::1", "fd00::2")
    expected = ["fd00::1", "10.0.0.1", "fd00::2", "10.0.0.2", "10.0.0.3"]
    assert await _asyncio_network._addresses("here.example", 443) == expected


async def test_the_next_address_is_tried(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    resolves_to(monkeypatch, "::1", "127.0.0.1")  # it listens to the second alone
    monkeypatch.setattr(_asyncio_network, "_HEAD_START_S", 10 * SOON)
    stream = await connect_tcp("here.example", port, SOON, None, None)
    assert stream.get_extra_info("server_addr") == ("127.0.0.1", port)
    await stream.aclose()


async def test_a_slow_address_keeps_no_other_waiting(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    resolves_to(monkeypatch, "127.0.0.1", "127.0.0.2", "127.0.0.3")
    monkeypatch.setattr(_asyncio_network, "_HEAD_START_S", LATE)
    loop = asyncio.get_running_loop()
    connect, answers = loop.create_connection, anyio.Event()
    tried: list[str] = []
    made: list[tuple[Any, TcpStream]] = []

    async def connect_slowly(kind: Any, address: str, *_arguments: Any, **_options: Any) -> Any:
        tried.append(address)
        if len(tried) == 3:
            answers.set()
        with anyio.CancelScope(shield=True):  # that a first one has answered ends the others too late
            await answers.wait()
            made.append(await connect(kind, "127.0.0.1", port))
        return made[-1]

    monkeypatch.setattr(loop, "create_connection", connect_slowly)
    stream = await connect_tcp("here.example", port, SOON, None, None)
    assert tried == ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
    await anyio.lowlevel.checkpoint()
    assert stream is made[0][1]
    assert [is_closed(other) for _transport, other in made] == [False, True, True]
    await stream.aclose()


async def test_an_address_that_never_answers_keeps_nobody_waiting(
    monkeypatch: pytest.MonkeyPatch, port: int
) -> None:
    resolves_to(monkeypatch, "127.0.0.1", "127.0.0.2")
    monkeypatch.setattr(_asyncio_network, "_HEAD_START_S", LATE)
    loop = asyncio.get_running_loop()
    connect = loop.create_connection

    async def connect_to_the_second(kind: Any, address: str, *_arguments: Any, **_options: Any) -> Any:
        if address == "127.0.0.1":
            await anyio.sleep_forever()
        return await connect(kind, "127.0.0.1", port)

    monkeypatch.setattr(loop, "create_connection", connect_to_the_second)
    stream = await connect_tcp("here.example", port, SOON, None, None)
    await stream.aclose()


async def test_all_addresses_of_a_host_share_one_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_arguments: Any, **_options: Any) -> Any:
        await anyio.sleep_forever()

    resolves_to(monkeypatch, "127.0.0.1", "127.0.0.2", "127.0.0.3")
    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", never)
    with pytest.raises(httpcore.ConnectTimeout, match=r"^$"):
        await connect_tcp("here.example", 443, LATE, None, None)


@pytest.fixture
def _one_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connect without a race: coverage on Python 3.11 loses sight of who is cancelled, as its host is."""

    async def connect(
        addresses: list[str], port: int, local_address: str, connected: list[TcpStream]
    ) -> None:
        [address] = addresses
        connection = asyncio.get_running_loop().create_connection(
            TcpStream, address, port, local_addr=(local_address, 0)
        )
        connected.append((await connection)[1])

    monkeypatch.setattr(_asyncio_network, "_try_in_turn", connect)


@pytest.mark.parametrize("way", ["race", "one address"])
async def test_the_options_of_a_socket(request: pytest.FixtureRequest, port: int, way: str) -> None:
    if way == "one address":
        request.getfixturevalue("_one_address")
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    stream = await connect_tcp("127.0.0.1", port, SOON, "127.0.0.1", options)
    assert stream.get_extra_info("socket").getsockopt(*options[0][:2])
    assert stream.get_extra_info("client_addr")[0] == "127.0.0.1"
    await stream.aclose()


@pytest.mark.parametrize("way", ["race", "one address"])
async def test_an_option_that_the_system_refuses_leaves_no_connection(
    request: pytest.FixtureRequest, listener: socket.socket, port: int, way: str
) -> None:
    if way == "one address":
        request.getfixturevalue("_one_address")
    with pytest.raises(httpcore.ConnectError, match="Protocol not available"):
        await connect_tcp("127.0.0.1", port, SOON, "127.0.0.1", [(socket.SOL_SOCKET, 9999, 1)])
    await anyio.lowlevel.checkpoint()
    peer, _address = listener.accept()
    with peer:
        assert peer.recv(1) == b""
