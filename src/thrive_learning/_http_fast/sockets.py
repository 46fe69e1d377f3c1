"""Connections of sync code. Every operation on a socket ends with the call, and another thread may cut it.

Name resolution is outside: Python cannot interrupt it. The system's resolver has limits of its own.
"""

import collections
import contextlib
import errno
import selectors
import socket
import time
from collections.abc import Iterable
from typing import Any

from thrive_learning._budget import Budget
from thrive_learning._http.port import TransportError
from thrive_learning._http_fast import streams
from thrive_learning._http_fast.streams import Address, Guard, failed, limit_s, timed_out


class SocketStream:
    """A connection without TLS. Its socket never blocks: to set a time-out for each operation costs more.

    Args:
        sock: A connected socket.
    """

    __slots__ = ("_arrivals", "_sock")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._arrivals = streams.Arrivals(sock)

    async def read(self, budget: Budget, ends: float | None = None) -> bytes:
        """See `Stream`."""
        left = min(budget.remaining(), limit_s(budget.timeout.read, ends))
        try:
            if left > 0 and self._arrivals.wait(left):
                return self._sock.recv(streams.READ_BYTES)
        except OSError as error:
            failure = failed("read", error)
        else:
            failure = timed_out("read", ends)
        raise failure

    async def write(self, data: bytes, budget: Budget, ends: float | None = None) -> None:
        """See `Stream`."""
        unsent = memoryview(data)
        try:
            while True:
                try:  # noqa: SIM105 - contextlib.suppress costs more than the call
                    unsent = unsent[self._sock.send(unsent) :]
                except BlockingIOError:
                    pass
                if not unsent:
                    return
                left = min(budget.remaining(), limit_s(budget.timeout.write, ends))
                if left <= 0:
                    break
                with selectors.DefaultSelector() as selector:
                    selector.register(self._sock, selectors.EVENT_WRITE)
                    if not selector.select(left):
                        break
        except OSError as error:
            failure = failed("write", error)
        else:
            failure = timed_out("write", ends)
        raise failure

    def is_readable(self) -> bool:
        """See `Stream`."""
        return self._arrivals.wait(0)

    def cut(self) -> None:
        """See `Stream`."""
        shut_down(self._sock)

    def close(self) -> None:
        """See `Stream`."""
        self._sock.close()


def shut_down(sock: socket.socket) -> None:
    """Let whatever waits for a socket fail. Closing the socket would not wake it."""
    with contextlib.suppress(OSError):  # it is closed already
        sock.shutdown(socket.SHUT_RDWR)


async def connect(host: str, port: int, budget: Budget, ends: float, guard: Guard) -> SocketStream:
    """Connect to the address of a host that answers first; all of them together have the one limit."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        failure = failed("connect", error)
    else:
        race = _Race(streams.in_order(found))
        guard(race.cut)
        return SocketStream(race.winner(budget, ends))
    raise failure


class _Race:
    """Connects to several addresses, each of which has a head start before the next one."""

    def __init__(self, addresses: Iterable[Address]) -> None:
        self._waiting = collections.deque(addresses)
        self._started: dict[socket.socket, Any] = {}
        self._next_start = 0.0
        self._failure = TransportError("connect", "it has no address")
        self._is_cut = False

    def cut(self) -> None:
        """Let it fail."""
        self._is_cut = True
        for sock in tuple(self._started):
            shut_down(sock)

    def winner(self, budget: Budget, ends: float) -> socket.socket:
        """Return the socket that has connected first."""
        with selectors.DefaultSelector() as selector:
            try:
                while not self._is_cut:
                    now = time.monotonic()
                    left = min(ends - now, budget.remaining())
                    if left <= 0:
                        raise timed_out("connect")
                    if self._waiting and now >= self._next_start:
                        self._next_start = now + streams.HEAD_START_S
                        self._start(selector, *self._waiting.popleft())
                        continue
                    if not self._started:
                        raise self._failure
                    if self._waiting:
                        left = min(left, self._next_start - now)
                    for key, _events in selector.select(left):
                        sock: Any = key.fileobj
                        selector.unregister(sock)
                        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                        if not code:
                            streams.note_outcome(self._started.pop(sock), has_failed=False)
                            winner: socket.socket = sock
                            return winner
                        self._give_up(sock, OSError(code, ""))
            finally:
                for sock, address in self._started.items():
                    streams.note_outcome(address, has_failed=True)
                    sock.close()
        raise TransportError("connect", streams.CLOSED)

    def _start(self, selector: selectors.BaseSelector, family: int, address: Any) -> None:
        try:
            sock = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:  # IPv6 may be turned off
            self._next_start, self._failure = 0.0, failed("connect", error)
            return
        self._started[sock] = address
        sock.setblocking(False)  # noqa: FBT003
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            code = sock.connect_ex(address)
            selector.register(sock, selectors.EVENT_WRITE)
        except OSError as error:
            self._give_up(sock, error)
        else:
            if code not in {0, errno.EINPROGRESS, errno.EWOULDBLOCK}:
                selector.unregister(sock)
                self._give_up(sock, OSError(code, ""))

    def _give_up(self, sock: socket.socket, error: OSError) -> None:
        """Note why an attempt has failed, and let the next one begin."""
        streams.note_outcome(self._started.pop(sock), has_failed=True)
        sock.close()
        self._next_start, self._failure = 0.0, failed("connect", error)
