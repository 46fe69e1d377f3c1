"""httpcore's network backends, with every sync operation held to what is left of the current call.

httpx's time-outs start anew with every byte: a server that sends one byte a second would hold a call for as
long as it likes. In async code a cancel scope around the call ends it; in sync code only the socket can.

Name resolution stands outside: Python cannot interrupt it. The system's resolver has limits of its own.
"""

import contextlib
import functools
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import anyio
import httpcore
import httpx

from thrive_learning.policies import current_budget

T = TypeVar("T")

# A write is limited piece by piece; a request of ours fits into one.
_PIECE_BYTES = 65_536

# Time is looked at between reads: more than so much at once could hold thousands of tiny chunks to parse.
_READ_BYTES = 8_192


def _left(timeout: float | None, over: type[Exception]) -> float | None:
    """Give the time-out of one operation, or raise when the call is over."""
    budget = current_budget.get(None)
    if budget is None:
        return timeout
    left = budget.remaining()
    if left <= 0:
        raise over
    return left if timeout is None else min(timeout, left)


class BoundedStream(httpcore.NetworkStream):
    """A connection whose operations end with the call.

    Args:
        stream: The connection.
        opened: Called with it, and with what TLS makes of it.
    """

    def __init__(
        self, stream: httpcore.NetworkStream, opened: Callable[[httpcore.NetworkStream], object] | None = None
    ) -> None:
        self._stream = stream
        self._opened = opened
        if opened is not None:
            opened(stream)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what has come, up to so many bytes."""
        return self._stream.read(min(max_bytes, _READ_BYTES), _left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send all bytes."""
        for start in range(0, len(buffer), _PIECE_BYTES):
            piece = buffer[start : start + _PIECE_BYTES]
            self._stream.write(piece, _left(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """Shake hands; CPython holds the handshake as a whole to the time-out."""
        try:
            left = _left(timeout, httpcore.ConnectTimeout)
            if self._stream.get_extra_info("ssl_object") is not None:
                return TlsOverTls(self, ssl_context, server_hostname, timeout)
            return BoundedStream(self._stream.start_tls(ssl_context, server_hostname, left), self._opened)
        except BaseException:
            self._stream.close()
            raise

    def get_extra_info(self, info: str) -> Any:
        """Give what the connection knows of itself."""
        return self._stream.get_extra_info(info)


class BoundedBackend(httpcore.SyncBackend):
    """Opens connections whose operations end with the call."""

    opened: Callable[[httpcore.NetworkStream], object] | None = None

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
            left = _left(timeout, httpcore.ConnectTimeout)
            if timeout is not None and left is not None:
                left = min(left, timeout - (time.monotonic() - began))
                if left <= 0:
                    break
            try:
                stream = super().connect_tcp(address, port, left, local_address, socket_options)
                return BoundedStream(stream, self.opened)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure


def _addresses(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
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
        return self._tls if info == "ssl_object" else self._stream.get_extra_info(info)


class ClosingStream(httpcore.AsyncNetworkStream):
    """A connection that is not left open by a TLS handshake which is cancelled."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what has come, up to so many bytes."""
        return await self._stream.read(min(max_bytes, _READ_BYTES), timeout)

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
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._stream.aclose()
            raise

    def get_extra_info(self, info: str) -> Any:
        """Give what the connection knows of itself."""
        return self._stream.get_extra_info(info)


class ClosingBackend(httpcore.AsyncNetworkBackend):
    """Opens connections that are not left open by a TLS handshake which is cancelled."""

    def __init__(self) -> None:
        self._backend: Any = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to a host."""
        return ClosingStream(
            await self._backend.connect_tcp(host, port, timeout, local_address, socket_options)
        )


class Tunnel(httpcore.ConnectionInterface):
    """A connection through a proxy, which gives its place in the pool back when its TLS handshake fails."""

    def __init__(self, connection: httpcore.ConnectionInterface) -> None:
        self._connection = connection
        vars(self).update({name: getattr(connection, name) for name in ("close", *_PASSED_ON)})

    def handle_request(self, request: httpcore.Request) -> httpcore.Response:
        """Send a request and give the head of its response."""
        try:
            return self._connection.handle_request(request)
        except httpcore.ConnectionNotAvailable:
            raise
        except BaseException:
            self._connection.close()
            raise


class AsyncTunnel(httpcore.AsyncConnectionInterface):
    """A connection through a proxy, which gives its place in the pool back when its TLS handshake fails."""

    def __init__(self, connection: httpcore.AsyncConnectionInterface) -> None:
        self._connection = connection
        vars(self).update({name: getattr(connection, name) for name in ("aclose", *_PASSED_ON)})

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        """Send a request and give the head of its response."""
        try:
            return await self._connection.handle_async_request(request)
        except httpcore.ConnectionNotAvailable:
            raise
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._connection.aclose()
            raise


_PASSED_ON = ("info", "can_handle_request", "is_available", "has_expired", "is_idle", "is_closed")


class SoleConnection:
    """Stands in for the pool of a bulk worker, which sends one request after the other.

    Args:
        create: Makes a connection, as the pool would.
    """

    def __init__(self, create: Callable[[httpcore.Origin], httpcore.ConnectionInterface]) -> None:
        self._create = create
        self._connection: httpcore.ConnectionInterface | None = None

    def handle_request(self, request: httpcore.Request) -> httpcore.Response:
        """Send a request and give the head of its response."""
        connection = self._connection
        if connection is None or not connection.is_idle() or connection.has_expired():
            self.close()
            connection = self._connection = self._create(request.url.origin)
        return connection.handle_request(request)

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()


class AsyncSoleConnection:
    """Stands in for the pool of a bulk worker, which sends one request after the other.

    Args:
        create: Makes a connection, as the pool would.
    """

    def __init__(self, create: Callable[[httpcore.Origin], httpcore.AsyncConnectionInterface]) -> None:
        self._create = create
        self._connection: httpcore.AsyncConnectionInterface | None = None

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        """Send a request and give the head of its response."""
        connection = self._connection
        if connection is None or not connection.is_idle() or connection.has_expired():
            await self.aclose()
            connection = self._connection = self._create(request.url.origin)
        return await connection.handle_async_request(request)

    async def aclose(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            with anyio.CancelScope(shield=True):
                await self._connection.aclose()


def bounded_transport(context: ssl.SSLContext, proxy: str | None) -> httpx.HTTPTransport:
    """Build httpx's own transport upon the backend above.

    httpx has no argument for a backend, so it goes into the transport's pool: two private names, which a test
    guards. A transport of our own would need none, and would lose whoever instruments httpx's.
    """
    transport = httpx.HTTPTransport(verify=context, proxy=_proxy(context, proxy))
    _equip(transport, BoundedBackend(), proxy)
    return transport


class BoundedLane(httpx.HTTPTransport):
    """A transport of one connection, which another thread may cut."""

    def __init__(self, context: ssl.SSLContext, proxy: str | None) -> None:
        super().__init__(verify=context, proxy=_proxy(context, proxy))
        self._stream: httpcore.NetworkStream | None = None
        self._is_cut = False
        backend = BoundedBackend()
        backend.opened = self._keep
        _equip(self, backend, proxy)
        whole: Any = self
        whole._pool = SoleConnection(self._pool.create_connection)  # noqa: SLF001

    def _keep(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream
        if self._is_cut:
            self.cut()

    def cut(self) -> None:
        """Let whatever waits for the connection fail, now and from now on.

        The socket is shut down: closing it would wake no thread that waits for it.
        """
        self._is_cut = True
        if self._stream is not None:
            sock = self._stream.get_extra_info("socket")
            with contextlib.suppress(OSError):  # it is closed already
                socket.socket.shutdown(sock, socket.SHUT_RDWR)  # that of TLS would drop what others read with


def bounded_lane(context: ssl.SSLContext, proxy: str | None) -> BoundedLane:
    """Build a transport of one connection for a bulk worker."""
    return BoundedLane(context, proxy)


def _equip(transport: httpx.HTTPTransport, backend: BoundedBackend, proxy: str | None) -> None:
    pool: Any = transport._pool  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    pool._network_backend = backend  # noqa: SLF001
    if proxy is not None:
        create: Callable[[httpcore.Origin], httpcore.ConnectionInterface] = pool.create_connection

        def tunnel(origin: httpcore.Origin) -> Tunnel:
            return Tunnel(create(origin))

        pool.create_connection = tunnel


def closing_transport(context: ssl.SSLContext, proxy: str | None) -> httpx.AsyncHTTPTransport:
    """Build httpx's own async transport upon the backend above. See `bounded_transport`."""
    transport = httpx.AsyncHTTPTransport(verify=context, proxy=_proxy(context, proxy))
    _equip_async(transport, proxy)
    return transport


def closing_lane(context: ssl.SSLContext, proxy: str | None) -> httpx.AsyncHTTPTransport:
    """Build a transport of one connection for a bulk worker: httpcore's pool costs more, the larger it is."""
    transport = httpx.AsyncHTTPTransport(verify=context, proxy=_proxy(context, proxy))
    _equip_async(transport, proxy)
    whole: Any = transport
    whole._pool = AsyncSoleConnection(whole._pool.create_connection)  # noqa: SLF001
    return transport


def _equip_async(transport: httpx.AsyncHTTPTransport, proxy: str | None) -> None:
    pool: Any = transport._pool  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    pool._network_backend = ClosingBackend()  # noqa: SLF001
    if proxy is not None:
        create: Callable[[httpcore.Origin], httpcore.AsyncConnectionInterface] = pool.create_connection

        def tunnel(origin: httpcore.Origin) -> AsyncTunnel:
            return AsyncTunnel(create(origin))

        pool.create_connection = tunnel


def _proxy(context: ssl.SSLContext, url: str | None) -> httpx.Proxy | None:
    """Describe a proxy; one that speaks TLS itself is verified like everybody else."""
    if url is None:
        return None
    return httpx.Proxy(url, ssl_context=context if httpx.URL(url).scheme == "https" else None)
