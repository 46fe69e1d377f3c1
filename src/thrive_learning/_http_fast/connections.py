"""Opens connections to origins, with TLS and through proxies, and exchanges messages on them."""

import base64
import ssl
import urllib.parse
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from thrive_learning._budget import Budget
from thrive_learning._clock import monotonic
from thrive_learning._http.port import IDLE_TIMEOUT_S, Origin, Request, TransportError
from thrive_learning._http_fast.http11 import RequestWriter, ResponseReader
from thrive_learning._http_fast.streams import CLOSED, Guard, Stream
from thrive_learning._http_fast.tls import TlsStream
from thrive_learning.errors import TRANSIENT_STATUS_CODES

#: Connects to a host and port before a time on the monotonic clock.
Connect: TypeAlias = Callable[[str, int, Budget, float, Guard], Awaitable[Stream]]


class RouteToOrigins:
    """The way connections are opened.

    Args:
        context: The TLS context for servers, and for a proxy whose URL begins with https.
        proxy: The URL of a proxy for https, with its user name and password; None for direct connections.
        connect: Connects to a host.
    """

    def __init__(self, context: ssl.SSLContext, proxy: str | None, connect: Connect) -> None:
        context.set_alpn_protocols(["http/1.1"])
        self.context: ssl.SSLContext = context
        self.connect: Connect = connect
        self.proxy: Origin | None = None
        self._proxy_headers: tuple[tuple[bytes, bytes], ...] = ((b"Accept", b"*/*"),)
        if proxy is None:
            return
        parts = urllib.parse.urlsplit(proxy)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        self.proxy = Origin(parts.scheme, parts.hostname or "", port)
        if parts.username is not None:
            user = urllib.parse.unquote_to_bytes(f"{parts.username}:{parts.password or ''}")
            self._proxy_headers += ((b"Proxy-Authorization", b"Basic " + base64.b64encode(user)),)

    def tunnel_request(self, origin: Origin) -> bytes:
        """Return the request to the proxy for a tunnel. It has none of our headers."""
        host = f"[{origin.host}]" if ":" in origin.host else origin.host
        target = f"{host}:{origin.port}".encode("ascii")
        headers = ((b"Host", target), *self._proxy_headers)
        return RequestWriter().write(Request("CONNECT", origin, target, headers))


class PooledConnection:
    """A connection to an origin, for one request at a time. It is opened at its first use.

    Args:
        origin: The server.
        route: The way to the server.
    """

    __slots__ = ("_cut", "_idle_until", "_is_cut", "_is_sent", "_route", "_stream", "origin", "reader")

    def __init__(self, origin: Origin, route: RouteToOrigins) -> None:
        self.origin: Origin = origin
        self.reader: ResponseReader = ResponseReader()
        self._route: RouteToOrigins | None = route
        self._stream: Any = None
        self._cut: Callable[[], None] | None = None
        self._is_cut = self._is_sent = False
        self._idle_until = 0.0

    async def send(self, message: bytes, budget: Budget, *, has_body: bool) -> None:
        """Send a request, and read the head of its response.

        Raises:
            TransportError: No response arrived.
        """
        if self._route is not None:
            await self._open(self._route, budget)
            self._route = None
        await self._exchange(message, budget, has_body=has_body)

    async def _open(self, route: RouteToOrigins, budget: Budget) -> None:
        origin = self.origin
        proxy = None if origin.scheme == "http" else route.proxy
        _scheme, host, port = proxy or origin
        ends = monotonic() + budget.timeout.connect
        self._use(await route.connect(host, port, budget, ends, self._guard))
        if proxy is not None:
            if proxy.scheme == "https":
                await self._start_tls(route, proxy.host, budget)
            await self._exchange(route.tunnel_request(origin), budget, has_body=False)
            status, reason = self.reader.status or 0, self.reader.reason.decode("ascii", "ignore")
            if not 200 <= status < 300:  # noqa: PLR2004
                is_final = status not in TRANSIENT_STATUS_CODES
                raise TransportError("proxy", f"{status} {reason}", is_final=is_final)
            if self.reader.has_surplus:
                raise TransportError("connect", "the proxy sent more than its response")
            self.reader = ResponseReader()
        if origin.scheme == "https":
            await self._start_tls(route, origin.host, budget)

    async def _start_tls(self, route: RouteToOrigins, host: str, budget: Budget) -> None:
        stream = TlsStream(self._stream, route.context, host)
        await stream.shake_hands(budget, monotonic() + budget.timeout.connect)
        self._use(stream)

    def _use(self, stream: Stream) -> None:
        self._stream = stream
        self._guard(stream.cut)

    def _guard(self, cut: Callable[[], None]) -> None:
        self._cut = cut
        if self._is_cut:
            raise TransportError("connect", CLOSED)

    async def _exchange(self, message: bytes, budget: Budget, *, has_body: bool) -> None:
        stream, reader, failure = self._stream, self.reader, None
        reader.begin(has_body=has_body)
        self._is_sent = True
        try:
            await stream.write(message, budget)
        except TransportError as error:
            if error.kind == "timeout":
                raise
            failure = error  # a server that closes early may have sent a reason
            self._is_sent = False
        while reader.status is None:
            reader.check()
            data = await stream.read(budget)
            if failure is not None and not data:
                raise failure
            reader.feed(data)

    async def read(self, budget: Budget) -> bytes:
        """Return the next piece of the body, or no bytes at its end.

        Raises:
            TransportError: The rest cannot be read.
        """
        reader = self.reader
        while True:
            piece = reader.take()
            if piece or reader.is_complete:
                return piece
            reader.check()
            reader.feed(await self._stream.read(budget))

    def end(self) -> bool:
        """End the exchange, and return whether the connection can be reused."""
        reader = self.reader
        self._idle_until = monotonic() + IDLE_TIMEOUT_S
        return self._is_sent and reader.may_go_on and not (reader.has_surplus or self._is_cut)

    def has_expired(self) -> bool:
        """Return whether it was idle for too long or received unrequested data."""
        expired: bool = monotonic() > self._idle_until or self._stream.is_readable()
        return expired

    def cut(self) -> None:
        """Make the current operation fail."""
        self._is_cut = True
        if self._cut is not None:
            self._cut()

    def close(self) -> None:
        """Close it, if it is open."""
        if self._stream is not None:
            self._stream.close()
