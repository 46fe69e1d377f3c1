"""Connections on trio, on its sockets."""

import socket

import trio

from thrive_learning._budget import Budget
from thrive_learning._http.port import TransportError
from thrive_learning._http_fast import streams
from thrive_learning._http_fast.streams import Address, failed, limit_s, timed_out


async def connect(address: Address) -> "TrioStream":
    """Connect to an address."""
    sock = trio.socket.socket(address[0], socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await sock.connect(address[1])
    except BaseException:
        sock.close()
        raise
    return TrioStream(sock)


class TrioStream:
    """A connection without TLS."""

    __slots__ = ("_arrivals", "_sock")

    def __init__(self, sock: trio.socket.SocketType) -> None:
        self._sock = sock
        self._arrivals = streams.Arrivals(sock)

    async def read(self, budget: Budget, ends: float | None = None) -> bytes:
        """See `Stream`."""
        try:
            with trio.move_on_after(limit_s(budget.timeout.read, ends)):
                return await self._sock.recv(streams.READ_BYTES)
        except trio.ClosedResourceError:
            failure = TransportError("read", streams.CLOSED)
        except OSError as error:
            failure = failed("read", error)
        else:
            failure = timed_out("read", ends)
        raise failure

    async def write(self, data: bytes, budget: Budget, ends: float | None = None) -> None:
        """See `Stream`."""
        unsent = memoryview(data)
        try:
            with trio.move_on_after(limit_s(budget.timeout.write, ends)):
                while unsent:
                    unsent = unsent[await self._sock.send(unsent) :]
                return
        except trio.ClosedResourceError:
            failure = TransportError("write", streams.CLOSED)
        except OSError as error:
            failure = failed("write", error)
        else:
            failure = timed_out("write", ends)
        raise failure

    def is_readable(self) -> bool:
        """See `Stream`."""
        return self._sock.fileno() < 0 or self._arrivals.wait(0)

    def cut(self) -> None:
        """See `Stream`."""
        self._sock.close()

    def close(self) -> None:
        """See `Stream`."""
        self._sock.close()
