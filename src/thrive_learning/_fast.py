"""The fast engine: connections of our own, whose responses are read by llhttp. An extra.

The transports are those of the other engine, which also takes over where somebody has put something before
httpx's methods. TLS, proxies, time-outs and the pool are the same; decisions/0017-fast-engine.md.
"""

import base64
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import httpcore
import httpx

from thrive_learning._http11 import RequestWriter, ResponseReader
from thrive_learning._httpx_transports import (
    FAILURES,
    AsyncPooledTransport,
    PooledTransport,
    of_httpx,
    proxy_of,
)
from thrive_learning._network import AsyncBackend, BoundedBackend
from thrive_learning._pool import KEPT_ALIVE_S, AsyncConnections, Connections, origin
from thrive_learning._request import Received, Site, destination, raw_headers

_READ_BYTES = 65_536


class Route:
    """How to get to servers.

    Args:
        context: For TLS with them.
        proxy: The URL of a proxy, for those that speak TLS; None goes directly.
    """

    def __init__(self, context: ssl.SSLContext, proxy: str | None) -> None:
        context.set_alpn_protocols(["http/1.1"])
        self.context: ssl.SSLContext = context
        self._proxy = proxy_of(context, proxy)

    def proxy(self) -> dict[str, Any] | None:
        """Give what httpcore's connection to the proxy is made with, if there is one."""
        if self._proxy is None:
            return None
        url = self._proxy.url
        return {
            "origin": origin(url.raw_scheme, url.raw_host, url.port),
            "ssl_context": self._proxy.ssl_context,
        }

    def tunnel_request(self, host: str, port: int, limits: dict[str, Any]) -> httpcore.Request:
        """Ask the proxy for a tunnel to a server. It gets headers of its own, and none of ours."""
        proxy: Any = self._proxy
        target = f"{host}:{port}".encode("ascii")
        headers = [(b"Host", target), (b"Accept", b"*/*")]
        if proxy.raw_auth is not None:
            headers.append((b"Proxy-Authorization", b"Basic " + base64.b64encode(b":".join(proxy.raw_auth))))
        url = httpcore.URL(
            scheme=proxy.url.raw_scheme, host=proxy.url.raw_host, port=proxy.url.port, target=target
        )
        return httpcore.Request("CONNECT", url, headers=headers, extensions={"timeout": limits})


def tunnel_of(response: httpcore.Response) -> Any:
    """Give the way through a proxy.

    Raises:
        httpcore.ProxyError: The proxy gives none.
    """
    whole: Any = response
    if not 200 <= response.status < 300:  # noqa: PLR2004
        reason = whole.extensions["reason_phrase"].decode("ascii", "ignore")
        raise httpcore.ProxyError(f"{response.status} {reason}")
    return whole.extensions["network_stream"]


class _Line:
    """What is the same in sync and async code: what is sent, what has come, and whether it can go on.

    Args:
        site: Where it goes.
        route: How it gets there.
    """

    def __init__(self, site: Site, route: Route) -> None:
        server = origin(*site)
        self._host = server.host.decode("ascii")
        self._port = server.port
        self._is_secure = server.scheme == b"https"
        self._route = route
        self._stream: Any = None
        self._writer = RequestWriter()
        self.reader: ResponseReader = ResponseReader()
        self._read_s: float | None = None
        self._is_sent = False
        self._is_idle = False
        self._idle_until = 0.0

    def _begin(self, request: httpx.Request, target: bytes, limits: dict[str, Any]) -> bytes:
        """Give what has to be sent."""
        body: Any = request.stream
        self._is_idle = self._is_sent = False
        self._read_s = limits.get("read")
        self.reader.begin(has_body=request.method != "HEAD")
        return self._writer.write(request.method.encode("ascii"), target, raw_headers(request), body)

    def end_exchange(self) -> None:
        """Take note that nobody reads any more."""
        reader = self.reader
        self._is_idle = self._is_sent and reader.may_go_on and not reader.has_surplus
        self._idle_until = time.monotonic() + KEPT_ALIVE_S

    def is_available(self) -> bool:
        """Say whether it can take a request."""
        return self._is_idle

    def has_expired(self) -> bool:
        """Say whether it was idle for long, or something has come that nobody asked for, such as the end."""
        return time.monotonic() > self._idle_until or bool(self._stream.get_extra_info("is_readable"))


class Line(_Line):
    """A connection of sync clients, for one request at a time."""

    def send(self, request: httpx.Request, target: bytes, limits: dict[str, Any]) -> None:
        """Send a request and read the head of its response."""
        message = self._begin(request, target, limits)
        if self._stream is None:
            self._stream = self._open(limits)
        try:
            self._stream.write(message, limits.get("write"))
            self._is_sent = True
        except httpcore.WriteError:
            pass  # who hangs up early may have said why
        while self.reader.status is None:
            self.read()

    def _open(self, limits: dict[str, Any]) -> httpcore.NetworkStream:
        connect_s, proxy = limits.get("connect"), self._route.proxy()
        if proxy is None:
            stream = BoundedBackend().connect_tcp(self._host, self._port, connect_s)
            if self._is_secure:
                stream = stream.start_tls(self._route.context, self._host, connect_s)
            return stream
        connection = httpcore.HTTPConnection(**proxy, network_backend=BoundedBackend())
        try:
            response = connection.handle_request(self._route.tunnel_request(self._host, self._port, limits))
            through: httpcore.NetworkStream = tunnel_of(response).start_tls(
                self._route.context, self._host, connect_s
            )
        except BaseException:
            connection.close()
            raise
        return through

    def read(self) -> None:
        """Read on in the response."""
        self.reader.check()
        self.reader.feed(self._stream.read(_READ_BYTES, self._read_s))

    def close(self) -> None:
        """Close it."""
        if self._stream is not None:
            self._stream.close()


class Body(httpx.SyncByteStream):
    """The body of a response. Closing it gives the connection back."""

    def __init__(self, line: Line, site: Site, lines: Connections[Line]) -> None:
        self._line = line
        self._site = site
        self._lines: Connections[Line] | None = lines

    def __iter__(self) -> Iterator[bytes]:
        reader = self._line.reader
        while True:
            piece = reader.take()
            if piece:
                yield piece
            elif reader.is_complete:
                return
            else:
                self._read()

    def _read(self) -> None:
        try:
            self._line.read()
        except FAILURES as error:
            raise of_httpx(error) from error

    def close(self) -> None:
        """End the exchange, whether or not all was read."""
        lines, self._lines = self._lines, None
        if lines is not None:
            self._line.end_exchange()
            lines.give_back(self._line, self._site)


class FastTransport(PooledTransport):
    """Sends the requests of sync clients. See `PooledTransport`."""

    def __init__(self, context: ssl.SSLContext, proxy: str | None) -> None:
        super().__init__(context, proxy)
        route = Route(context, proxy)
        self._lines = Connections[Line](lambda site: Line(site, route))

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and give the head of its response."""
        if self.is_hooked:
            return super().handle_request(request)
        limits: dict[str, Any] = request.extensions.get("timeout", {})
        site, target = destination(request)
        try:
            line = self._lines.take(site, limits.get("pool"))
            try:
                line.send(request, target, limits)
            except BaseException:
                self._lines.drop(line)
                raise
        except FAILURES as error:
            raise of_httpx(error) from error
        reader: Any = line.reader
        return Received(reader.status, reader.headers, Body(line, site, self._lines))

    def close(self) -> None:
        """Close all connections."""
        self._lines.close()
        super().close()


class AsyncLine(_Line):
    """A connection of async clients. See `Line`."""

    async def send(self, request: httpx.Request, target: bytes, limits: dict[str, Any]) -> None:
        """Send a request and read the head of its response."""
        message = self._begin(request, target, limits)
        if self._stream is None:
            self._stream = await self._open(limits)
        try:
            await self._stream.write(message, limits.get("write"))
            self._is_sent = True
        except httpcore.WriteError:
            pass  # who hangs up early may have said why
        while self.reader.status is None:
            await self.read()

    async def _open(self, limits: dict[str, Any]) -> httpcore.AsyncNetworkStream:
        connect_s, proxy = limits.get("connect"), self._route.proxy()
        if proxy is None:
            stream = await AsyncBackend().connect_tcp(self._host, self._port, connect_s)
            if self._is_secure:
                stream = await stream.start_tls(self._route.context, self._host, connect_s)
            return stream
        connection = httpcore.AsyncHTTPConnection(**proxy, network_backend=AsyncBackend())
        try:
            response = await connection.handle_async_request(
                self._route.tunnel_request(self._host, self._port, limits)
            )
            through: httpcore.AsyncNetworkStream = await tunnel_of(response).start_tls(
                self._route.context, self._host, connect_s
            )
        except BaseException:
            with anyio.CancelScope(shield=True):
                await connection.aclose()
            raise
        return through

    async def read(self) -> None:
        """Read on in the response."""
        self.reader.check()
        self.reader.feed(await self._stream.read(_READ_BYTES, self._read_s))

    async def aclose(self) -> None:
        """Close it."""
        if self._stream is not None:
            await self._stream.aclose()


class AsyncBody(httpx.AsyncByteStream):
    """The body of a response. Closing it gives the connection back.

    No generator: one that is left early would end in a warning, at some other time.
    """

    def __init__(self, line: AsyncLine, site: Site, lines: AsyncConnections[AsyncLine]) -> None:
        self._line = line
        self._site = site
        self._lines: AsyncConnections[AsyncLine] | None = lines

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        reader = self._line.reader
        while True:
            piece = reader.take()
            if piece:
                return piece
            if reader.is_complete:
                raise StopAsyncIteration
            await self._read()

    async def _read(self) -> None:
        try:
            await self._line.read()
        except FAILURES as error:
            raise of_httpx(error) from error

    async def aclose(self) -> None:
        """End the exchange, whether or not all was read."""
        lines, self._lines = self._lines, None
        if lines is not None:
            self._line.end_exchange()
            await lines.give_back(self._line, self._site)


class AsyncFastTransport(AsyncPooledTransport):
    """Sends the requests of async clients. See `PooledTransport`."""

    def __init__(self, context: ssl.SSLContext, proxy: str | None) -> None:
        super().__init__(context, proxy)
        route = Route(context, proxy)
        self._lines = AsyncConnections[AsyncLine](lambda site: AsyncLine(site, route))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and give the head of its response."""
        if self.is_hooked:
            return await super().handle_async_request(request)
        limits: dict[str, Any] = request.extensions.get("timeout", {})
        site, target = destination(request)
        try:
            line = await self._lines.take(site, limits.get("pool"))
            try:
                await line.send(request, target, limits)
            except BaseException:
                await self._lines.drop(line)
                raise
        except FAILURES as error:
            raise of_httpx(error) from error
        reader: Any = line.reader
        return Received(reader.status, reader.headers, AsyncBody(line, site, self._lines))

    async def aclose(self) -> None:
        """Close all connections."""
        await self._lines.aclose()
        await super().aclose()
