"""Connections on asyncio, on its transports.

Data is read from the socket as it arrives, so a call waits once for its response and does not use the
selector. An idle connection may therefore hold unrequested data, or know that the server has closed it.
"""

import asyncio
import contextlib
import socket
from typing import Any, TypeAlias

from thrive_learning._budget import Budget
from thrive_learning._http.port import Phase, TransportError
from thrive_learning._http_fast import streams
from thrive_learning._http_fast.streams import Stream, failed, limit_s, timed_out
from thrive_learning._sockets import Address, Arrivals

#: Receives the data that arrived, or None after its time limit.
Waiter: TypeAlias = asyncio.Future[bytes | None]

# Above it, nothing more is read from the socket until the caller reads, so that a flood does not fill the
# memory.
_UNREAD_BYTES = 65_536


async def connect(address: Address) -> "AsyncioStream":
    """Connect to an address."""
    host, port = address[1][:2]
    loop = asyncio.get_running_loop()
    _transport, stream = await loop.create_connection(lambda: AsyncioStream(loop), host, port)
    return stream


class AsyncioStream(asyncio.BufferedProtocol, Stream):
    """A connection without TLS. asyncio's transport reports its events."""

    _transport: asyncio.Transport
    _arrivals: Arrivals

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._arrival = bytearray()
        self._unread = b""
        self._is_full = False
        self._has_ended = False
        self._lost: str | None = None  # the reason of the loss
        self._reader: Waiter | None = None
        self._writer: Waiter | None = None
        # The current wait and its end.
        self._waiter: Waiter | None = None
        self._ends = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._arrivals = Arrivals(transport.get_extra_info("socket"))
        transport.set_write_buffer_limits(0)  # a write waits until the system has accepted all data

    def get_buffer(self, sizehint: int) -> bytearray:  # noqa: ARG002 - from asyncio
        self._arrival = bytearray(streams.READ_BYTES)  # asyncio's default is 256 KiB per read
        return self._arrival

    def buffer_updated(self, nbytes: int) -> None:
        data = bytes(memoryview(self._arrival)[:nbytes])
        self._arrival = _NOTHING  # an idle connection has no buffer
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(data)
            return
        self._unread += data
        if len(self._unread) > _UNREAD_BYTES:
            self._is_full = True
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        self._has_ended = True
        _wake(self._reader)
        return True  # the server has finished sending, but we may still send

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:  # a write may have failed before all received data was read
            self._unread += _left_in(self._transport.get_extra_info("socket"))
        if self._lost is None:
            self._lost = streams.CLOSED if exc is None else failed("read", exc).text
        _wake(self._reader)
        _wake(self._writer)
        self._ring()

    def pause_writing(self) -> None:
        self._writer = self._loop.create_future()

    def resume_writing(self) -> None:
        _wake(self._writer)
        self._writer = None

    async def read(self, budget: Budget, ends: float | None = None) -> bytes:
        if self._unread or self._has_ended or self._lost is not None:
            await asyncio.sleep(0)  # let other tasks and the deadline run during a flood
        else:
            self._reader = self._loop.create_future()
            data = await self._settled(self._reader, "read", budget.timeout.read, ends)
            if data:
                return data
        data, self._unread = self._unread, b""
        if self._is_full:
            self._is_full = False
            self._transport.resume_reading()
        if not data and self._lost is not None:
            raise TransportError("read", self._lost)
        return data

    async def write(self, data: bytes, budget: Budget, ends: float | None = None) -> None:
        if self._lost is None:
            self._transport.write(data)
            if self._writer is not None:
                await self._settled(self._writer, "write", budget.timeout.write, ends)
        if self._lost is not None:
            raise TransportError("write", self._lost)

    async def _settled(self, waiter: Waiter, phase: Phase, timeout: float, ends: float | None) -> bytes:
        """Wait for the timeout, or for the rest of a handshake."""
        self._waiter, self._ends = waiter, self._loop.time() + limit_s(timeout, ends)
        if self._timer is None or self._timer.when() > self._ends:
            self._ring()
        try:
            data = await waiter
        finally:
            self._waiter = None
        if data is None:
            raise timed_out(phase, ends)
        return data

    def _ring(self) -> None:
        """End the wait if its time is over, or else check again at its end.

        One timer serves all waits. It fires too early for most of them, and is then set again.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        if self._loop.time() < self._ends:
            self._timer = self._loop.call_at(self._ends, self._ring)
        else:
            waiter.set_result(None)

    def is_readable(self) -> bool:
        # Data that arrived while the event loop was busy is still in the socket.
        return bool(self._unread) or self._has_ended or self._lost is not None or self._arrivals.wait(0)

    def cut(self) -> None:
        self.close()

    def close(self) -> None:
        if self._lost is None:
            self._lost = streams.CLOSED
        self._transport.abort()  # the event loop closes the socket in its next iteration


_NOTHING = bytearray()


def _wake(waiter: Waiter | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(b"")


def _left_in(sock: Any) -> bytes:
    """Return the data that arrived on the socket of a transport that no longer reads."""
    with contextlib.suppress(OSError), socket.fromfd(sock.fileno(), sock.family, sock.type) as copy:
        copy.setblocking(False)  # noqa: FBT003
        return copy.recv(streams.READ_BYTES)
    return b""
