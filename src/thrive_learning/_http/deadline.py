"""Sync connections for httpcore whose operations all end with the call.

A timeout per read restarts with every byte, so a server that sends one byte a second could hold a call
forever. In async code, a cancel scope around the call ends it. In sync code, only the socket can. Name
resolution is outside the deadline, because Python cannot interrupt it.
"""

import contextlib
import errno
import os
import socket
import ssl
from typing import Any, cast

import httpcore

from thrive_learning._budget import Budget
from thrive_learning._clock import monotonic
from thrive_learning._http.surplus import READ_BYTES, Guard, bracket_ipv6_target
from thrive_learning._interruptions import interruption
from thrive_learning._sockets import Arrivals, connect

# The size of one write, and of one read of TLS, whose records have up to 16 KiB.
_PIECE_BYTES = 32_768
_ADDRESSES = {"client_addr": "getsockname", "server_addr": "getpeername"}


class Backend(httpcore.NetworkBackend):
    """Opens one connection at a time, for one call at a time. Another thread may cut the connection."""

    #: The limits of the current call.
    budget: Budget

    def __init__(self) -> None:
        self.is_cut: bool = False
        self._sock = socket.socket()  # so that there is always a socket to close
        self._sock.close()

    def left(self, timeout: float | None) -> float:
        """Return the seconds that an operation may take, or raise `OSError`."""
        if self.is_cut:
            raise ConnectionAbortedError(errno.ECONNABORTED, os.strerror(errno.ECONNABORTED))
        left = self.budget.remaining()
        if timeout is not None and timeout < left:
            left = timeout
        if left <= 0:
            raise TimeoutError("timed out")
        return left

    def connect_tcp(self, host: str, port: int, timeout: Any = None, *_: Any, **__: Any) -> Any:
        """Connect to an address of a host."""
        try:
            ends = monotonic() + self.left(timeout)
            self._sock = connect(host, port, lambda: self.left(ends - monotonic()), self._use)
            return _SocketStream(self, self._sock)
        except OSError as error:
            failure = _failure_in("Connect", error)
        raise failure

    def _use(self, sock: socket.socket) -> None:
        self._sock = sock
        self.left(None)  # fails after a cut

    def cut(self) -> None:
        """Make a wait for the connection in another thread fail at once."""
        self.is_cut = True
        with contextlib.suppress(OSError):  # it is not connected
            self._sock.shutdown(socket.SHUT_RDWR)  # closing it would not wake the thread

    def close(self) -> None:
        """Close the connection, even if its handshake failed."""
        self._sock.close()


def _failure_in(phase: str, error: OSError) -> Exception:
    if interruption(error) is not None:
        return error
    kind: Any = getattr(httpcore, phase + ("Timeout" if isinstance(error, TimeoutError) else "Error"))
    return cast("Exception", kind(error))


class _SocketStream(Guard, httpcore.NetworkStream):
    ssl_object: ssl.SSLObject | None = None

    def __init__(self, backend: Backend, sock: socket.socket) -> None:
        self.backend, self.sock = backend, sock
        self._arrivals = Arrivals(sock)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            return self.hold_back(self.release() or self.receive(min(max_bytes, READ_BYTES), timeout))
        except OSError as error:
            failure = _failure_in("Read", error)
        raise failure

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.expect_head(buffer)
        try:
            return self.send(bracket_ipv6_target(buffer), timeout)
        except OSError as error:
            failure = _failure_in("Write", error)
        raise failure

    def start_tls(self, ssl_context: ssl.SSLContext, server_hostname: Any = None, timeout: Any = None) -> Any:
        self.check()
        try:
            return _TlsStream(self, ssl_context, server_hostname, timeout)
        except OSError as error:
            failure = _failure_in("Connect", error)
        raise failure

    def close(self) -> None:
        self.sock.close()  # without notifying the server, which might respond late or never

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":
            return bool(self.held) or self.is_readable()
        if info == "ssl_object":
            return self.ssl_object
        return getattr(self.sock, _ADDRESSES[info])() if info in _ADDRESSES else self.sock

    def is_readable(self) -> bool:
        return self._arrivals.wait(0)

    def receive(self, max_bytes: int, timeout: float | None) -> bytes:
        self.sock.settimeout(self.backend.left(timeout))
        return self.sock.recv(max_bytes)

    def send(self, data: Any, timeout: float | None) -> None:
        unsent = memoryview(data)
        while unsent:
            self.sock.settimeout(self.backend.left(timeout))
            unsent = unsent[self.sock.send(unsent[:_PIECE_BYTES]) :]


class _TlsStream(_SocketStream):
    """TLS over a connection, or within TLS. A flood of records without data also ends with the call."""

    def __init__(
        self, below: _SocketStream, context: ssl.SSLContext, host: str, timeout: float | None
    ) -> None:
        super().__init__(below.backend, below.sock)
        self._below = below
        self._received, self._unsent = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = self.ssl_object = context.wrap_bio(self._received, self._unsent, server_hostname=host)
        self._step(timeout, self._tls.do_handshake)

    def _step(self, timeout: float | None, step: Any, *arguments: Any) -> Any:
        ends = monotonic() + self.backend.left(timeout)
        while True:
            try:
                return step(*arguments)
            except ssl.SSLWantReadError:
                pass
            finally:
                if self._unsent.pending:
                    self._below.send(self._unsent.read(), ends - monotonic())
            if data := self._below.receive(_PIECE_BYTES, ends - monotonic()):
                self._received.write(data)
            else:
                self._received.write_eof()

    def is_readable(self) -> bool:
        return bool(self._tls.pending() or self._received.pending) or self._below.is_readable()

    def receive(self, max_bytes: int, timeout: float | None) -> bytes:
        try:
            return cast("bytes", self._step(timeout, self._tls.read, max_bytes))
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            return b""

    def send(self, data: Any, timeout: float | None) -> None:
        unsent = memoryview(data)
        while unsent:
            unsent = unsent[self._step(timeout, self._tls.write, unsent) :]
