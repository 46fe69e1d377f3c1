"""Sync connections whose every operation ends with the call. Both engines use them.

A time-out per read starts anew with every byte: a server that sends one byte a second would hold a call for
as long as it likes. In async code a cancel scope around the call ends it; in sync code only the socket can.
Name resolution is outside the deadline, because Python cannot interrupt it.
"""

import collections
import contextlib
import errno
import os
import select
import selectors
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final, TypeVar

from thrive_learning._budget import Budget
from thrive_learning._clock import monotonic

T = TypeVar("T")

#: The clock is read between reads: more bytes at once could hold thousands of tiny chunks to parse.
READ_BYTES: Final = 8_192
# The same for writes, and for encrypted bytes: a record of TLS has up to 16 KiB.
_PIECE_BYTES = 32_768
# After this delay the next address is tried as well. Source: RFC 8305 section 5.
_HEAD_START_S = 0.25

# When an address last failed, or was slower than another: the next attempt does not begin with it.
_failed_at: dict[Any, float] = {}


class Dialer:
    """Opens one connection at a time, for one call at a time, and lets another thread cut it."""

    __slots__ = ("budget", "is_cut", "sockets")

    #: The limits of the current call.
    budget: Budget

    def __init__(self) -> None:
        self.is_cut: bool = False
        self.sockets: list[socket.socket] = []

    def left(self, timeout: float | None) -> float:
        """Return how long an operation may take, in seconds.

        Raises:
            TimeoutError: The call is over, or the time-out of the phase is.
            ConnectionAbortedError: The connection was cut.
        """
        if self.is_cut:
            raise ConnectionAbortedError(errno.ECONNABORTED, os.strerror(errno.ECONNABORTED))
        left = self.budget.remaining()
        if timeout is not None and timeout < left:
            left = timeout
        if left <= 0:
            raise TimeoutError("timed out")
        return left

    def connect(self, host: str, port: int, timeout: float | None) -> "BoundedSocket":
        """Connect to the address of a host that responds first.

        Raises:
            OSError: The host is unknown, or no address responds.
            UnicodeError: The host is not a valid name.
        """
        ends = monotonic() + self.left(timeout)
        waiting = _in_order(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        failure, next_start = OSError(f"{host} has no address"), 0.0
        self.sockets = []
        racing = selectors.DefaultSelector()
        try:
            while waiting or racing.get_map():
                now = monotonic()
                if waiting and now >= next_start:
                    next_start = now + _HEAD_START_S
                    self._start(racing, *waiting.pop(0))
                left = self.left(ends - now)
                for key, _events in racing.select(min(left, next_start - now) if waiting else left):
                    sock: Any = key.fileobj
                    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    racing.unregister(sock)
                    if not code:
                        return BoundedSocket(self, sock)
                    sock.close()
                    _failed_at[key.data] = now
                    failure, next_start = OSError(code, os.strerror(code)), 0.0
        finally:
            for address, loser in [(key.data, key.fileobj) for key in racing.get_map().values()]:
                _failed_at[address] = monotonic()
                loser.close()  # type: ignore[union-attr]  # they are sockets
            racing.close()
        raise failure

    def _start(self, racing: Any, family: int, kind: int, protocol: int, _name: str, address: Any) -> None:
        sock = socket.socket(family, kind, protocol)
        self.sockets.append(sock)
        sock.settimeout(0)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        racing.register(sock, selectors.EVENT_WRITE, address)
        sock.connect_ex(address)  # the selector reports failures

    def cut(self) -> None:
        """Let the thread that waits for the connection fail at once."""
        self.is_cut = True
        for sock in list(self.sockets):
            with contextlib.suppress(OSError):  # it is closed
                sock.shutdown(socket.SHUT_RDWR)  # closing it would not wake the thread

    def close(self) -> None:
        """Close every socket, be it that of a handshake that failed."""
        for sock in self.sockets:
            sock.close()


def _in_order(entries: list[Any]) -> list[Any]:
    """Order addresses: those that failed come last, and families take turns (RFC 8305 section 4)."""
    seen = collections.Counter[int]()

    def rank(entry: Any) -> tuple[float, int]:
        seen[entry[0]] += 1
        return _failed_at.get(entry[4], 0.0), seen[entry[0]]

    return sorted(entries, key=rank)


class BoundedSocket:
    """A TCP connection whose operations end with the call. They raise `OSError`."""

    __slots__ = ("_poll", "dialer", "sock")

    ssl_object: ssl.SSLObject | None = None

    def __init__(self, dialer: Dialer, sock: socket.socket) -> None:
        self.dialer: Dialer = dialer
        self.sock: socket.socket = sock
        self._poll: Any = None

    def read(self, max_bytes: int, timeout: float | None) -> bytes:
        """Return up to so many bytes; none if the connection has ended."""
        self.sock.settimeout(self.dialer.left(timeout))
        return self.sock.recv(max_bytes)

    def write(self, data: bytes, timeout: float | None) -> None:
        """Send all bytes."""
        unsent = memoryview(data)
        while unsent:
            self.sock.settimeout(self.dialer.left(timeout))
            unsent = unsent[self.sock.send(unsent[:_PIECE_BYTES]) :]

    def is_readable(self) -> bool:
        """Return whether something can be read without waiting, be it the end."""
        if not hasattr(select, "poll"):  # Windows
            return bool(select.select([self.sock], [], [], 0)[0])
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(self.sock, select.POLLIN)
        return bool(self._poll.poll(0))


class BoundedTls:
    """TLS upon a connection, or within TLS, whose operations end with the call. They raise `OSError`.

    Creating it shakes hands. A flood of records that hold no data ends with the call as well.
    """

    def __init__(
        self, below: "BoundedSocket | BoundedTls", context: ssl.SSLContext, host: str, timeout: float | None
    ) -> None:
        self._below = below
        self.dialer: Dialer = below.dialer
        self.sock: socket.socket = below.sock
        self._received, self._unsent = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.ssl_object: ssl.SSLObject = context.wrap_bio(self._received, self._unsent, server_hostname=host)
        self._step(timeout, self.ssl_object.do_handshake)

    def _step(self, timeout: float | None, step: Callable[..., T], *arguments: Any) -> T:
        """Take a step of TLS, with the bytes that it sends and those that it waits for."""
        ends = monotonic() + self.dialer.left(timeout)
        while True:
            try:
                return step(*arguments)
            except ssl.SSLWantReadError:
                pass
            finally:
                if self._unsent.pending:
                    self._below.write(self._unsent.read(), ends - monotonic())
            if data := self._below.read(_PIECE_BYTES, ends - monotonic()):
                self._received.write(data)
            else:
                self._received.write_eof()

    def read(self, max_bytes: int, timeout: float | None) -> bytes:
        """Return up to so many bytes; none if the connection has ended."""
        try:
            return self._step(timeout, self.ssl_object.read, max_bytes)
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            return b""

    def write(self, data: bytes, timeout: float | None) -> None:
        """Send all bytes."""
        unsent = memoryview(data)
        while unsent:
            unsent = unsent[self._step(timeout, self.ssl_object.write, unsent) :]

    def is_readable(self) -> bool:
        """Return whether something can be read without waiting, be it the end."""
        return bool(self.ssl_object.pending() or self._received.pending) or self._below.is_readable()
