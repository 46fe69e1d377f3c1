"""Requests and responses as httpx's transports know them, without what httpx's own cost each time. Pure.

httpx parses the URL of every request, encodes and sorts its headers, and wraps its body: more work than all
the rest of a call does above the transport. Here a client's headers are prepared once, and a path
becomes a URL only if somebody wants one.
"""

import re
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Self

import httpx

#: Names and values as they go on the wire.
Headers = Sequence[tuple[bytes, bytes]]

#: A server that requests go to: scheme, host, and port, which is None for the usual one.
Site = tuple[bytes, bytes, int | None]

# Segments that mean the same in every URL: nothing to encode, and none of dots alone, which URLs resolve.
_PLAIN_PATH = re.compile(r"(?:/[A-Za-z0-9_-]+)+", re.ASCII)


class Content(httpx.SyncByteStream, httpx.AsyncByteStream):
    """The body of a request, in one piece.

    httpx's own is an async generator. One that a failing write leaves half-way ends at some other time, which
    trio warns of.

    Args:
        body: All of it.
    """

    def __init__(self, body: bytes) -> None:
        self._pieces: tuple[bytes, ...] = (body,) if body else ()

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._pieces)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _Pieces(iter(self._pieces))


class _Pieces:
    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        for piece in self._pieces:
            return piece
        raise StopAsyncIteration


class Server:
    """A server that requests go to, with what each of them needs of it.

    Args:
        url: Any URL of its.
    """

    def __init__(self, url: httpx.URL) -> None:
        self.netloc: bytes = url.netloc
        self.site: Site = (url.raw_scheme, url.raw_host, url.port)

    def url(self, target: bytes) -> httpx.URL:
        """Give the URL of something there."""
        return httpx.URL((self.site[0] + b"://" + self.netloc + target).decode("ascii"))


class _HeadersOnDemand:
    """Has `headers` as soon as somebody asks for them: nobody does on the usual way of a call."""

    prepared: Headers

    def __getattr__(self, name: str) -> Any:
        if name != "headers":
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        self.headers = httpx.Headers(self.prepared)
        return self.headers


def raw_headers(message: httpx.Request | httpx.Response) -> Headers:
    """Give the headers of a message as they go on the wire, those that somebody has added included."""
    known = message.__dict__
    headers: httpx.Headers | None = known.get("headers")
    return known["prepared"] if headers is None else headers.raw


def destination(request: httpx.Request) -> tuple[Site, bytes]:
    """Give where a request goes on the wire: the server, and what its first line asks for."""
    known = request.__dict__
    url: httpx.URL | None = known.get("url")
    if url is None:
        return known["server"].site, known["target"]
    return (url.raw_scheme, url.raw_host, url.port), url.raw_path


def netloc(request: httpx.Request) -> bytes:
    """Give the host and port of a request's URL."""
    known = request.__dict__
    url: httpx.URL | None = known.get("url")
    return known["server"].netloc if url is None else url.netloc


class Request(_HeadersOnDemand, httpx.Request):
    """A request whose parts are complete: httpx's own __init__ would parse and sort them once more.

    Args:
        method: In capitals.
        server: Where it goes.
        target: The path and query of its URL, with nothing to encode in it.
        headers: All of them, `Host` and `Content-Length` included.
        body: All of it.
    """

    def __init__(
        self, method: str, server: Server, target: bytes, headers: Headers, body: bytes = b""
    ) -> None:
        self.method = method
        self.server = server
        self.target = target
        self.prepared = headers
        self.extensions = {}
        self.stream = Content(body)
        self._body = body

    def __getattr__(self, name: str) -> Any:
        if name != "url":
            return super().__getattr__(name)
        self.url = self.server.url(self.target)
        return self.url

    @property
    def content(self) -> bytes:
        """The body."""
        return self._body

    def read(self) -> bytes:
        """Give the body."""
        return self._body

    async def aread(self) -> bytes:
        """Give the body."""
        return self._body


class Received(_HeadersOnDemand, httpx.Response):
    """A response as our transports give it to the seam, which reads its body: httpx's __init__ does more.

    Args:
        status_code: The HTTP status.
        headers: As they came.
        stream: The body.
        extensions: What httpcore says besides.
    """

    # Where httpx's __init__ begins, for whoever reads the body in httpx's way.
    is_closed = False
    is_stream_consumed = False
    next_request = None
    default_encoding = "utf-8"
    _request = None
    _num_bytes_downloaded = 0

    def __init__(
        self,
        status_code: int,
        headers: Headers,
        stream: httpx.SyncByteStream | httpx.AsyncByteStream,
        extensions: dict[str, Any] | None = None,
    ) -> None:
        self.status_code = status_code
        self.prepared = headers
        self.stream = stream
        self.extensions = extensions or {}


class RequestTemplate:
    """Builds the requests of one client.

    Args:
        api_url: The URL of the API, to which a path is added.
        headers: Those of every request.
    """

    def __init__(self, api_url: str, headers: Headers) -> None:
        url = httpx.URL(api_url)
        self._api_url = api_url
        self._headers = headers
        self._server = Server(url)
        self._path = url.raw_path.rstrip(b"/")
        # The headers of a GET for an Authorization header: it changes when the token does.
        self._prepared: tuple[bytes, Headers] = (b"", ())

    def request(self, method: str, path: str, options: dict[str, Any], authorization: bytes) -> httpx.Request:
        """Build a request.

        Args:
            method: The HTTP method.
            path: Below the API's URL, beginning with a slash.
            options: What else generated code passes to `httpx.Client.request`.
            authorization: The value of the Authorization header.
        """
        if not options and method == "get" and _PLAIN_PATH.fullmatch(path):
            target = self._path + path.encode("ascii")
            return Request("GET", self._server, target, self._for(authorization))
        headers = [
            *self._headers,
            (b"Authorization", authorization),
            *httpx.Headers(options.get("headers")).raw,
        ]
        return whole_request(method, self._api_url + path, options | {"headers": headers})

    def _for(self, authorization: bytes) -> Headers:
        known, headers = self._prepared
        if known != authorization:
            headers = [(b"Host", self._server.netloc), *self._headers, (b"Authorization", authorization)]
            self._prepared = (authorization, headers)
        return headers


def whole_request(method: str, url: str, options: dict[str, Any]) -> httpx.Request:
    """Build a request in httpx's own way, but for its body, which is in one piece.

    Args:
        method: The HTTP method.
        url: The whole URL.
        options: The other arguments of `httpx.Request`.
    """
    request = httpx.Request(method, url, **options)
    request.stream = Content(request.content)
    return request
