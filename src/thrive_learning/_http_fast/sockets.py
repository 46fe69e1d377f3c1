"""Connections of sync code. Every operation on a socket ends with the call, and another thread may cut it.

Name resolution is outside: Python cannot interrupt it. The system's resolver has limits of its own.
"""

import contextlib
import errno
import selectors
import socket
from typing import Any, Self

from thrive_learning._budget import Budget
from thrive_learning._clock import monotonic
from thrive_learning._http.port import TransportError
from thrive_learning._http_fast import streams
from thrive_learning._http_fast.streams import Address, Guard, Stream, failed, limit_s, timed_out


class SocketStream(Stream):
    """A connection without TLS. Its socket never blocks: to set a time-out for each operation costs more."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._arrivals = streams.Arrivals(sock)

    async def read(self, budget: Budget, ends: float | None = None) -> bytes:
        try:
            if await self._is_ready(budget, limit_s(budget.timeout.read, ends)):
                return self._sock.recv(streams.READ_BYTES)
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
                try:  # noqa: SIM105 - contextlib.suppress costs more than the call
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
        """Wait until the socket can be read or written, and return whether that was in time."""
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
            self._sock.shutdown(socket.SHUT_RDWR)  # closing it would wake nobody

    def close(self) -> None:
        self._sock.close()


async def connect(host: str, port: int, budget: Budget, ends: float, guard: Guard) -> SocketStream:
    """Connect to the address of a host that answers first; all of them together have the one limit."""
    try:
        waiting = streams.in_order(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except (OSError, UnicodeError) as error:
        failure = failed("connect", error)
    else:
        with _Race(waiting) as race:
            guard(race.cut)
            return SocketStream(race.winner(min(ends, monotonic() + budget.remaining())))
    raise failure


class _Race:
    """Attempts to connect, each of which has a head start before the next one."""

    def __init__(self, waiting: list[Address]) -> None:
        self._waiting = waiting
        self._started: dict[socket.socket, Any] = {}
        self._selector = selectors.DefaultSelector()
        self._failure = TransportError("connect", "it has no address")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        for sock in list(self._started):
            self._give_up(sock)
        self._selector.close()

    def cut(self) -> None:
        """Let it fail, in another thread."""
        self._waiting.clear()
        for sock in list(self._started):
            SocketStream(sock).cut()

    def winner(self, ends: float) -> socket.socket:
        """Return the socket that has connected first."""
        next_start = 0.0
        while self._waiting or self._started:
            now = monotonic()
            if now >= ends:
                raise timed_out("connect")
            if self._waiting and now >= next_start:
                next_start = now + streams.HEAD_START_S
                try:
                    self._start(*self._waiting.pop(0))
                except OSError as error:
                    self._failure, next_start = failed("connect", error), 0.0
                continue
            for key, _events in self._selector.select(
                (min(next_start, ends) if self._waiting else ends) - now
            ):
                sock: Any = key.fileobj
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if not code:
                    del self._started[sock]
                    winner: socket.socket = sock
                    return winner
                self._give_up(sock)
                self._failure, next_start = failed("connect", OSError(code, "")), 0.0
        raise self._failure

    def _start(self, family: int, address: Any) -> None:
        sock = socket.socket(family, socket.SOCK_STREAM)
        self._started[sock] = address
        sock.setblocking(False)  # noqa: FBT003
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = sock.connect_ex(address)
        if code not in {0, errno.EINPROGRESS, errno.EWOULDBLOCK}:
            self._give_up(sock)
            raise OSError(code, "")
        self._selector.register(sock, selectors.EVENT_WRITE)

    def _give_up(self, sock: socket.socket) -> None:
        """Close a socket whose address has failed or was too slow."""
        streams.note_failure(self._started.pop(sock))
        with contextlib.suppress(KeyError):  # it was never registered
            self._selector.unregister(sock)
        sock.close()
