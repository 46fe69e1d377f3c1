"""httpcore's network backends, with every sync operation held to what is left of the current call.

httpx's time-outs start anew with every byte: a server that sends one byte a second would hold a call for as
long as it likes. In async code a cancel scope around the call ends it; in sync code only the socket can.

Name resolution stands outside: Python cannot interrupt it. The system's resolver has limits of its own.
"""

import contextlib
import functools
import os
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, cast

import anyio
import httpcore

from thrive_learning._budget import current_budget
from thrive_learning._interruptions import interruption
from thrive_learning._loops import current_loop

T = TypeVar("T")

# A write is limited piece by piece; a request of ours fits into one.
_PIECE_BYTES = 65_536

# Time is looked at between reads: more than so much at once could hold thousands of tiny chunks to parse.
READ_BYTES = 8_192


def _left(stream: "BoundedStream | None", timeout: float | None, over: type[Exception]) -> float | None:
    """Give the time-out of one operation on a connection, or raise when the call is over."""
    budget = current_budget.get(None)
    if budget is None:
        return timeout
    budget.connection = stream
    left = budget.remaining()
    if left <= 0:
        raise over
    return left if timeout is None else min(timeout, left)


class Arrivals:
    """Tells whether something has come on a socket, its end included. httpcore makes a poll for each look.

    Args:
        sock: The socket, which has to be open when it is looked at.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._poll: Any = None

    def look(self) -> bool:
        """Say whether something can be read without waiting."""
        if not hasattr(select, "poll"):  # Windows
            return bool(select.select([self._sock], [], [], 0)[0])
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(self._sock, select.POLLIN)
        return bool(self._poll.poll(0))


class BoundedStream(httpcore.NetworkStream):
    """A connection whose operations end with the call."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream
        self._sock: socket.socket = stream.get_extra_info("socket")
        self._arrivals = Arrivals(self._sock)

    # Reading and writing is done here: httpcore's own ways there cost as much as the system calls.

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what has come, up to so many bytes."""
        try:
            self._sock.settimeout(_left(self, timeout, httpcore.ReadTimeout))
            return self._sock.recv(min(max_bytes, READ_BYTES))
        except OSError as error:
            if interruption(error) is not None:
                raise
            over = isinstance(error, TimeoutError)
            raise (httpcore.ReadTimeout if over else httpcore.ReadError)(str(error)) from error

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send all bytes."""
        unsent = memoryview(buffer)
        try:
            while unsent:
                self._sock.settimeout(_left(self, timeout, httpcore.WriteTimeout))
                unsent = unsent[self._sock.send(unsent[:_PIECE_BYTES]) :]
        except OSError as error:
            if interruption(error) is not None:
                raise
            over = isinstance(error, TimeoutError)
            raise (httpcore.WriteTimeout if over else httpcore.WriteError)(str(error)) from error

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def cut(self) -> None:
        """Let whatever waits for the connection fail.

        The socket is shut down: closing it would wake no thread that waits for it.
        """
        with contextlib.suppress(OSError):  # it is closed already
            # That of TLS would drop what others read with.
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """Shake hands; CPython holds the handshake as a whole to the time-out."""
        try:
            left = _left(self, timeout, httpcore.ConnectTimeout)
            if self._stream.get_extra_info("ssl_object") is not None:
                return TlsOverTls(self, ssl_context, server_hostname, timeout)
            return BoundedStream(self._stream.start_tls(ssl_context, server_hostname, left))
        except BaseException:
            self._stream.close()
            raise

    def get_extra_info(self, info: str) -> Any:
        """Give what the connection knows of itself."""
        if info == "is_readable":
            # TLS may hold what was sent together with what was read.
            return (
                isinstance(self._sock, ssl.SSLSocket) and self._sock.pending() > 0
            ) or self._arrivals.look()
        return self._stream.get_extra_info(info)


class BoundedBackend(httpcore.SyncBackend):
    """Opens connections whose operations end with the call."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address of a host that answers; all of them together have the one time-out."""
        began = time.monotonic()
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in _addresses(host, port):
            left = _left(None, timeout, httpcore.ConnectTimeout)
            if timeout is not None and left is not None:
                left = min(left, timeout - (time.monotonic() - began))
                if left <= 0:
                    break
            try:
                return BoundedStream(super().connect_tcp(address, port, left, local_address, socket_options))
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                if interruption(error) is not None:
                    raise
                failure = error
        raise failure


def _addresses(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        if interruption(error) is not None:
            raise
        failure = httpcore.ConnectError(str(error))
    else:
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))
    raise failure


class TlsOverTls(httpcore.NetworkStream):
    """TLS within the TLS of a proxy. httpcore's own starts its time-out anew with each piece that arrives."""

    def __init__(
        self,
        stream: httpcore.NetworkStream,
        context: ssl.SSLContext,
        server_hostname: str | None,
        timeout: float | None,
    ) -> None:
        self._stream = stream
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_hostname)
        failure: Exception | None = None
        try:
            self._move(self._tls.do_handshake, timeout)
        except ssl.SSLError as error:
            failure = httpcore.ConnectError(str(error))
        except httpcore.ReadTimeout as error:
            failure = httpcore.ConnectTimeout(str(error))
        if failure is not None:
            raise failure

    def _move(self, step: Callable[[], T], timeout: float | None) -> T | None:
        """Take a step of TLS, with the bytes that it has to send and those that it waits for."""
        while True:
            try:
                result, waits = step(), False
            except ssl.SSLWantReadError:
                result, waits = None, True
            if self._outgoing.pending:
                self._stream.write(self._outgoing.read(), timeout)
            if not waits:
                return result
            data = self._stream.read(_PIECE_BYTES, timeout)
            if data:
                self._incoming.write(data)
            else:
                self._incoming.write_eof()

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what has come, up to so many bytes."""
        try:
            return self._move(lambda: self._tls.read(max_bytes), timeout) or b""
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            return b""
        except ssl.SSLError as error:
            failure = httpcore.ReadError(str(error))
        raise failure

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send all bytes."""
        view = memoryview(buffer)
        try:
            while view:
                view = view[self._move(functools.partial(self._tls.write, view), timeout) or 0 :]
        except ssl.SSLError as error:
            failure = httpcore.WriteError(str(error))
        else:
            return
        raise failure

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        """Give what the connection knows of itself."""
        if info == "ssl_object":
            return self._tls
        if info == "is_readable" and (self._tls.pending() or self._incoming.pending):
            return True
        return self._stream.get_extra_info(info)


def _holds_back(stream: object) -> bool:
    """Say whether TLS on trio has bytes that nobody has read; no socket shows them any more.

    Two private names, which the fault table guards: httpcore has one for trio's stream, and trio one for what
    it has not decrypted.
    """
    layer: Any = getattr(stream, "_stream", None)
    while hasattr(layer, "transport_stream"):
        if layer.pending() or layer._incoming.pending:  # noqa: SLF001
            return True
        layer = layer.transport_stream
    return False


class ClosingStream(httpcore.AsyncNetworkStream):
    """A connection that is not left open by a TLS handshake which is cancelled."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what has come, up to so many bytes."""
        return await self._stream.read(min(max_bytes, READ_BYTES), timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send all bytes."""
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        """Shake hands."""
        try:
            return ClosingStream(await self._stream.start_tls(ssl_context, server_hostname, timeout))
        except BaseException as error:
            with anyio.CancelScope(shield=True):
                await self._stream.aclose()
            if not isinstance(error, httpcore.ConnectError) or interruption(error) is not None:
                raise
            failure = httpcore.ConnectError(reason(error))
        raise failure

    def get_extra_info(self, info: str) -> Any:
        """Give what the connection knows of itself."""
        if info == "is_readable" and _holds_back(self._stream):
            return True
        return self._stream.get_extra_info(info)


def reason(error: BaseException) -> str:
    """Say in the system's words why there is no connection; trio keeps them in the causes of its errors."""
    while (cause := error.__cause__) is not None:
        error = cause
    if isinstance(error, BaseExceptionGroup):  # of an attempt for each address
        attempts: tuple[BaseException, ...] = cast("Any", error).exceptions
        return reason(attempts[-1])
    if isinstance(error, OSError) and error.errno and not isinstance(error, (ssl.SSLError, socket.gaierror)):
        return f"[Errno {error.errno}] {os.strerror(error.errno)}"
    return str(error)


class AsyncBackend(httpcore.AsyncNetworkBackend):
    """Opens connections that are not left open by a TLS handshake which is cancelled.

    On asyncio they are our own, which cost a third of what httpcore's do there; on trio they are httpcore's.
    """

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to a host."""
        _process, loop = current_loop()
        if hasattr(loop, "create_connection"):
            from thrive_learning import _asyncio_network  # noqa: PLC0415 - sync code does without asyncio

            return await _asyncio_network.connect_tcp(host, port, timeout, local_address, socket_options)
        try:
            backend: Any = httpcore.TrioBackend()
            return ClosingStream(
                await backend.connect_tcp(host, port, timeout, local_address, socket_options)
            )
        except httpcore.ConnectError as error:
            if interruption(error) is not None:
                raise
            failure = httpcore.ConnectError(reason(error))
        raise failure
