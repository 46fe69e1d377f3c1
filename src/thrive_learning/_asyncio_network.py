"""Async connections on asyncio: bytes go between asyncio's own transports and httpcore, and nothing between.

What arrives is taken from the socket at once, so a call waits once for its response and asks the selector for
nothing. So a connection that is idle may hold what nobody has asked for, or know that the server has gone.
"""

import abc
import asyncio
import ipaddress
import itertools
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import anyio
import httpcore

from thrive_learning._interruptions import interruption
from thrive_learning._network import READ_BYTES, Arrivals, reason

T = TypeVar("T")

# As much is taken from the socket at once. asyncio would make room for 256 KiB with every read, which costs
# more than the read; a record of TLS is a little larger than this, an activity far smaller.
_ARRIVAL_BYTES = 16_384

# Above it nothing more is taken from the socket until some was read: a flood fills no memory.
_UNREAD_BYTES = 65_536

# An address has so long to answer before the next one is tried as well (RFC 8305). Seconds.
_HEAD_START_S = 0.25


class Stream(httpcore.AsyncNetworkStream, abc.ABC):
    """A connection as httpcore uses it, with TLS upon it or not."""

    @abc.abstractmethod
    async def receive(self, max_bytes: int, timeout: float | None) -> bytes:
        """Give what has come, up to so many bytes; nothing if it has ended."""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what has come, up to so many bytes."""
        return await self.receive(min(max_bytes, READ_BYTES), timeout)

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> "TlsStream":
        """Shake hands; the connection is closed if that fails."""
        try:
            stream = TlsStream(self, ssl_context, server_hostname)
            await stream.shake_hands(timeout)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self.aclose()
            raise
        return stream


class TcpStream(asyncio.BufferedProtocol, Stream):
    """A connection without TLS: asyncio's transport tells it what happens."""

    _transport: asyncio.Transport
    _arrivals: Arrivals

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._arrival = bytearray()
        self._unread = bytearray()
        self._is_full = False
        self._has_ended = False
        self._is_lost = False
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._over: type[Exception] = httpcore.ReadTimeout
        self._ends: float = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin."""
        self._transport = transport
        self._arrivals = Arrivals(transport.get_extra_info("socket"))
        transport.set_write_buffer_limits(0)  # who writes waits until the system has all of it

    def get_buffer(self, sizehint: int) -> bytearray:  # noqa: ARG002 - it is asyncio's
        """Give room for what arrives."""
        self._arrival = bytearray(_ARRIVAL_BYTES)
        return self._arrival

    def buffer_updated(self, nbytes: int) -> None:
        """Keep what has arrived."""
        self._unread += self._arrival[:nbytes]
        self._arrival = bytearray()  # an idle connection holds none
        if len(self._unread) > _UNREAD_BYTES:
            self._is_full = True
            self._transport.pause_reading()
        _wake(self._reader)

    def eof_received(self) -> bool:
        """Take note that the server says no more; we may."""
        self._has_ended = True
        _wake(self._reader)
        return True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - it is asyncio's
        """Take note that the connection is no more."""
        self._is_lost = True
        self._end_timer()
        _wake(self._reader)
        _wake(self._writer)

    def pause_writing(self) -> None:
        """Take note that the system takes no more for now."""
        self._writer = self._loop.create_future()

    def resume_writing(self) -> None:
        """Take note that the system has taken all."""
        _wake(self._writer)
        self._writer = None

    async def receive(self, max_bytes: int, timeout: float | None) -> bytes:
        """Give what has come, up to so many bytes; nothing if it has ended."""
        if self._unread or self._has_ended or self._is_lost:
            await asyncio.sleep(0)  # a flood gives way to others, and to a deadline
        else:
            self._reader = self._loop.create_future()
            await self._settled(self._reader, timeout, httpcore.ReadTimeout)
        if not self._unread and self._is_lost:
            raise httpcore.ReadError
        data = bytes(self._unread[:max_bytes])
        del self._unread[:max_bytes]
        if self._is_full and len(self._unread) <= _UNREAD_BYTES:
            self._is_full = False
            self._transport.resume_reading()
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send all bytes."""
        if not buffer:
            return
        if self._transport.is_closing():
            raise httpcore.WriteError
        self._transport.write(buffer)
        if self._writer is not None:
            await self._settled(self._writer, timeout, httpcore.WriteTimeout)
            if self._is_lost:
                raise httpcore.WriteError

    async def _settled(
        self, waiter: asyncio.Future[None], timeout: float | None, over: type[Exception]
    ) -> None:
        if timeout is None:
            await waiter
            return
        self._waiter, self._over, self._ends = waiter, over, self._loop.time() + timeout
        # One timer for all waits: it rings too early for most of them, and is set anew then.
        if self._timer is None or self._timer.when() > self._ends:
            self._set_timer()
        try:
            await waiter
        finally:
            self._waiter = None

    def _set_timer(self) -> None:
        self._end_timer()
        self._timer = self._loop.call_at(self._ends, self._ring)

    def _end_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        self._timer = None
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        if self._loop.time() < self._ends:
            self._set_timer()
        else:
            waiter.set_exception(self._over())

    async def aclose(self) -> None:
        """Close the connection; who waits for it gets an error."""
        self.abort()
        await asyncio.sleep(0)  # the event loop closes the socket

    def abort(self) -> None:
        """Close the connection, which the event loop does in its next round."""
        self._is_lost = True
        self._end_timer()
        self._transport.abort()

    def get_extra_info(self, info: str) -> Any:
        """Give what the connection knows of itself."""
        if info == "is_readable":
            # What has come while the event loop was busy lies in the socket yet.
            return bool(self._unread) or self._has_ended or self._is_lost or self._arrivals.look()
        name = {"socket": "socket", "client_addr": "sockname", "server_addr": "peername"}.get(info)
        return None if name is None else self._transport.get_extra_info(name)


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)


class TlsStream(Stream):
    """TLS upon a connection, which may be TLS itself: that of a proxy.

    asyncio's own TLS would hold 256 KiB for each connection, and wait for a silent server when it closes.
    """

    def __init__(self, stream: Stream, context: ssl.SSLContext, server_hostname: str | None) -> None:
        self._stream = stream
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_hostname)

    async def shake_hands(self, timeout: float | None) -> None:
        """Begin; nothing can be read or written before."""
        try:
            await self._move(timeout, self._tls.do_handshake)
        except (ssl.SSLEOFError, httpcore.NetworkError):
            failure: Exception = httpcore.ConnectError()
        except ssl.SSLError as error:
            failure = httpcore.ConnectError(str(error))
        except httpcore.TimeoutException:
            failure = httpcore.ConnectTimeout()
        else:
            return
        raise failure

    async def _move(self, timeout: float | None, step: Callable[..., T], *arguments: Any) -> T:
        """Take a step of TLS, with the bytes that it has to send and those that it waits for.

        All of it together has the one time-out.
        """
        ends = None if timeout is None else time.monotonic() + timeout
        while True:
            try:
                result = step(*arguments)
            except ssl.SSLWantReadError:
                await self._flush(ends)
                data = await self._stream.receive(_UNREAD_BYTES, _left(ends))
                if data:
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()
            else:
                await self._flush(ends)
                return result

    async def _flush(self, ends: float | None) -> None:
        if self._outgoing.pending:
            await self._stream.write(self._outgoing.read(), _left(ends))

    async def receive(self, max_bytes: int, timeout: float | None) -> bytes:
        """Give what has come, up to so many bytes; nothing if it has ended."""
        if self._tls.pending() or self._incoming.pending:
            await asyncio.sleep(0)  # a flood gives way to others, and to a deadline
        try:
            return await self._move(timeout, self._tls.read, max_bytes)
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            return b""
        except ssl.SSLError as error:
            failure = httpcore.ReadError(str(error))
        raise failure

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send all bytes."""
        view = memoryview(buffer)
        try:
            while view:
                view = view[await self._move(timeout, self._tls.write, view) :]
        except ssl.SSLError as error:
            failure = httpcore.WriteError(str(error))
        else:
            return
        raise failure

    async def aclose(self) -> None:
        """Close the connection, without a word to the server, which might answer late or never."""
        await self._stream.aclose()

    def get_extra_info(self, info: str) -> Any:
        """Give what the connection knows of itself."""
        if info == "ssl_object":
            return self._tls
        if info == "is_readable" and (self._tls.pending() or self._incoming.pending):
            return True
        return self._stream.get_extra_info(info)


def _left(ends: float | None) -> float | None:
    return None if ends is None else ends - time.monotonic()


async def connect_tcp(
    host: str,
    port: int,
    timeout: float | None,
    local_address: str | None,
    socket_options: Iterable[Any] | None,
) -> TcpStream:
    """Connect to the address of a host that answers first; all of them together have the one time-out."""
    try:
        with anyio.fail_after(timeout):
            return await _first_to_answer(host, port, local_address, socket_options or ())
    except OSError as error:
        if interruption(error) is not None:
            raise
        is_late = isinstance(error, TimeoutError)
        failure = httpcore.ConnectTimeout() if is_late else httpcore.ConnectError(reason(error))
    raise failure


async def _first_to_answer(
    host: str, port: int, local_address: str | None, options: Iterable[Any]
) -> TcpStream:
    """Connect, and close what has connected too late."""
    connected: list[TcpStream] = []
    try:
        failure = await _try_in_turn(await _addresses(host, port), port, local_address, connected)
        if not connected:
            raise failure
        for option in options:
            connected[0].get_extra_info("socket").setsockopt(*option)
        return connected.pop(0)
    finally:
        for stream in connected:  # those that nobody gets
            stream.abort()


async def _try_in_turn(
    addresses: Iterable[str], port: int, local_address: str | None, connected: list[TcpStream]
) -> OSError:
    """Try addresses one after the other until one has answered, without waiting long for each.

    asyncio does that too, but other event loops that stand in for its own do not.

    Returns:
        Why the last attempt that failed did so, for whoever finds that none has connected.
    """
    loop = asyncio.get_running_loop()
    source = None if local_address is None else (local_address, 0)
    failure = OSError("it has no address")

    async def attempt(address: str, failed: anyio.Event) -> None:
        nonlocal failure
        try:
            _transport, stream = await loop.create_connection(TcpStream, address, port, local_addr=source)
        except OSError as error:
            failure = error
            failed.set()
        else:
            connected.append(stream)
            attempts.cancel_scope.cancel()

    async with anyio.create_task_group() as attempts:
        for address in addresses:
            failed = anyio.Event()
            attempts.start_soon(attempt, address, failed)
            with anyio.move_on_after(_HEAD_START_S):
                await failed.wait()
    return failure


async def _addresses(host: str, port: int) -> list[str]:
    """Give the addresses of a host, those of IPv6 and IPv4 by turns."""
    try:
        return [ipaddress.ip_address(host).compressed]
    except ValueError:
        found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    six = [entry[4][0] for entry in found if entry[0] == socket.AF_INET6]
    four = [entry[4][0] for entry in found if entry[0] == socket.AF_INET]
    return [address for pair in itertools.zip_longest(six, four) for address in pair if address is not None]
