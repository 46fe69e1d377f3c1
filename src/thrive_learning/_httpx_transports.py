"""httpx's own transports, upon our pool and our network backends.

They are subclasses, because OpenTelemetry's instrumentation and others replace methods of httpx's: where
somebody has, a request takes httpx's whole way. Where nobody has, it takes one that builds and checks less.
"""

import ssl
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any, cast

import httpcore
import httpx

from thrive_learning._exchange.engines import is_own
from thrive_learning._network import AsyncBackend, BoundedBackend
from thrive_learning._pool import AsyncPool, Pool, origin
from thrive_learning._request import Received, Site, destination, raw_headers

# What httpcore raises goes by the same name in httpx.
_ERRORS: dict[type[Exception], type[httpx.TransportError]] = {
    getattr(httpcore, name): getattr(httpx, name)
    for name in (
        *("ConnectError", "ConnectTimeout", "LocalProtocolError", "NetworkError", "PoolTimeout"),
        *("ProtocolError", "ProxyError", "ReadError", "ReadTimeout", "RemoteProtocolError"),
        *("TimeoutException", "UnsupportedProtocol", "WriteError", "WriteTimeout"),
    )
}


#: What httpcore raises. Nothing else is caught: it may come from a signal handler.
FAILURES: tuple[type[Exception], ...] = tuple(_ERRORS)


def of_httpx(error: Exception) -> Exception:
    return _ERRORS[type(error)](str(error))


class _Target(httpcore.URL):
    """An address whose parts are known to be bytes: httpcore's own __init__ would check each of them."""

    def __init__(self, site: Site, target: bytes) -> None:
        self.scheme, self.host, self.port = site
        self.target = target

    @property
    def origin(self) -> httpcore.Origin:
        """The server; connections ask for it with every request."""
        return origin(self.scheme, self.host, self.port)


class _Message(httpcore.Request):
    """A request whose parts are known to be of the right types."""

    def __init__(self, request: httpx.Request) -> None:
        self.method = request.method.encode("ascii")
        self.url = _Target(*destination(request))
        self.headers = cast("list[tuple[bytes, bytes]]", raw_headers(request))
        self.stream = cast("Iterable[bytes]", request.stream)
        self.extensions = request.extensions


class _Body(httpx.SyncByteStream):
    """The body of a response, with httpx's errors in the place of httpcore's."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._stream
        except FAILURES as error:
            raise of_httpx(error) from error

    def close(self) -> None:
        self._stream.close()


class PooledTransport(httpx.HTTPTransport):
    """Sends the requests of sync clients, each operation held to what is left of the call.

    Args:
        context: For TLS.
        proxy: The URL of a proxy; None goes directly.
    """

    def __init__(self, context: ssl.SSLContext, proxy: str | None) -> None:
        super().__init__(verify=context, proxy=proxy_of(context, proxy))
        # Two private names, which a test guards: httpx has no argument for a backend, nor for a pool.
        opener: Any = self._pool
        opener._network_backend = BoundedBackend()  # noqa: SLF001
        self._own_pool = Pool(opener)
        pool: Any = self._own_pool
        self._pool = pool

    @property
    def is_hooked(self) -> bool:
        """Whether somebody has put something before httpx's transports, or before httpcore's pools."""
        return self._own_pool.is_hooked or not is_own(httpx.HTTPTransport.handle_request, "httpx")

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and give the head of its response."""
        if not is_own(httpx.HTTPTransport.handle_request, "httpx"):
            return super().handle_request(request)
        try:
            response = self._own_pool.handle_request(_Message(request))
        except FAILURES as error:
            raise of_httpx(error) from error
        whole: Any = response
        return Received(response.status, response.headers, _Body(response.stream), whole.extensions)


class _AsyncBody(httpx.AsyncByteStream):
    """The body of a response, with httpx's errors in the place of httpcore's."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._stream:
                yield chunk
        except FAILURES as error:
            raise of_httpx(error) from error

    async def aclose(self) -> None:
        await self._stream.aclose()


class AsyncPooledTransport(httpx.AsyncHTTPTransport):
    """Sends the requests of async clients. See `PooledTransport`."""

    def __init__(self, context: ssl.SSLContext, proxy: str | None) -> None:
        super().__init__(verify=context, proxy=proxy_of(context, proxy))
        opener: Any = self._pool
        opener._network_backend = AsyncBackend()  # noqa: SLF001
        self._own_pool = AsyncPool(opener)
        pool: Any = self._own_pool
        self._pool = pool

    @property
    def is_hooked(self) -> bool:
        """See `PooledTransport.is_hooked`."""
        return self._own_pool.is_hooked or not is_own(httpx.AsyncHTTPTransport.handle_async_request, "httpx")

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and give the head of its response."""
        if not is_own(httpx.AsyncHTTPTransport.handle_async_request, "httpx"):
            return await super().handle_async_request(request)
        try:
            response = await self._own_pool.handle_async_request(_Message(request))
        except FAILURES as error:
            raise of_httpx(error) from error
        whole: Any = response
        return Received(response.status, response.headers, _AsyncBody(response.stream), whole.extensions)


def proxy_of(context: ssl.SSLContext, url: str | None) -> httpx.Proxy | None:
    """Describe a proxy; one that speaks TLS itself is verified like everybody else."""
    if url is None:
        return None
    return httpx.Proxy(url, ssl_context=context if httpx.URL(url).scheme == "https" else None)
