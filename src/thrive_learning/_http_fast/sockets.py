"""Connections of sync code, whose operations all end with the call. Another thread may cut a connection.

Name resolution is outside the deadline, because Python cannot interrupt it. The system's resolver has its own
limits.
"""

import contextlib
import selectors
import socket

from thrive_learning import _sockets
from thrive_learning._budget import Budget
from thrive_learning._clock import monotonic
from thrive_learning._http_fast.streams import READ_BYTES, Guard, Stream, failed, limit_s, timed_out


class SocketStream(Stream):
    """A connection without TLS. Its socket is nonblocking, because a timeout per operation is slower."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._arrivals = _sockets.Arrivals(sock)

    async def read(self, budget: Budget, ends: float | None = None) -> bytes:
        try:
            if await self._is_ready(budget, limit_s(budget.timeout.read, ends)):
                return self._sock.recv(READ_BYTES)
        except OSError as error:
            failure = failed("read", error)
        else:
            failure = timed_out("read", ends)
        raise failure

    async def write(self, data: bytes, budget: Budget, ends: float | None = None) -> None:
        unsent = memoryview(data)
        is_ready = True
        try:
            while is_ready:
                try:  # noqa: SIM105 - contextlib.suppress is slower than the call
                    unsent = unsent[self._sock.send(unsent) :]
                except BlockingIOError:
                    pass
                if not unsent:
                    return
                limit = limit_s(budget.timeout.write, ends)
                is_ready = await self._is_ready(budget, limit, to_write=True)
        except OSError as error:
            failure = failed("write", error)
        else:
            failure = timed_out("write", ends)
        raise failure

    async def _is_ready(self, budget: Budget, limit: float, *, to_write: bool = False) -> bool:
        """Wait until the socket can be read or written. Return False if the time limit ends first."""
        left = min(budget.remaining(), limit)
        if left <= 0:
            return False
        if not to_write:
            return self._arrivals.wait(left)
        with selectors.DefaultSelector() as selector:
            selector.register(self._sock, selectors.EVENT_WRITE)
            return bool(selector.select(left))

    def is_readable(self) -> bool:
        return self._arrivals.wait(0)

    def cut(self) -> None:
        with contextlib.suppress(OSError):  # it is closed already
            self._sock.shutdown(socket.SHUT_RDWR)  # closing it would not wake the thread

    def close(self) -> None:
        self._sock.close()


async def connect(host: str, port: int, budget: Budget, ends: float, guard: Guard) -> SocketStream:
    """Connect to an address of a host. All attempts share one time limit."""

    def left() -> float:
        left = min(ends - monotonic(), budget.remaining())
        if left <= 0:
            raise TimeoutError
        return left

    try:
        sock = _sockets.connect(host, port, left, lambda sock: guard(SocketStream(sock).cut))
    except (OSError, UnicodeError) as error:
        failure = failed("connect", error)
        if isinstance(error, TimeoutError):
            failure = timed_out("connect")
    else:
        sock.setblocking(False)  # noqa: FBT003
        return SocketStream(sock)
    raise failure
