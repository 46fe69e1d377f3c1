"""Requests and responses as httpx's transports know them, without what httpx's own cost each time. Pure.

httpx parses the URL of every request, encodes and sorts its headers, and wraps its body: more work than all
the rest of a call does above the transport. Here a client's headers are prepared once, and a path goes into a
URL that is parsed already.
"""

import re
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Self

import httpx

#: Names and values as they go on the wire.
Headers = Sequence[tuple[bytes, bytes]]

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


class _HeadersOnDemand:
    """Has `headers` as soon as somebody asks for them: nobody does on the usual way of a call."""

    prepared: Headers

    def __getattr__(self, name: str) -> httpx.Headers:
        if name != "headers":
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        self.headers = httpx.Headers(self.prepared)
        return self.headers


def raw_headers(message: httpx.Request | httpx.Response) -> Headers:
    """Give the headers of a message as they go on the wire, those that somebody has added included."""
    known = message.__dict__
    headers: httpx.Headers | None = known.get("headers")
    return known["prepared"] if headers is None else headers.raw


class Request(_HeadersOnDemand, httpx.Request):
    """A request whose parts are complete: httpx's own __init__ would parse and sort them once more.

    Args:
        method: In capitals.
        url: Where it goes.
        headers: All of them, `Host` and `Content-Length` included.
        body: All of it.
    """

    def __init__(self, method: str, url: httpx.URL, headers: Headers, body: bytes = b"") -> None:
        self.method = method
        self.url = url
        self.prepared = headers
        self.extensions = {}
        self.stream = Content(body)
        self._body = body

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


class Address(httpx.URL):
    """A URL that differs from another in its path alone.

    Args:
        site: The other, without a path.
        path: From its first slash to its end, with nothing to encode in it.
    """

    def __init__(self, site: httpx.URL, path: str) -> None:
        # A private name, which a test guards: the public ways parse the URL anew, at 50 times the cost.
        whole: Any = site
        self._uri_reference = whole._uri_reference._replace(path=path)  # noqa: SLF001


class RequestTemplate:
    """Builds the requests of one client.

    Args:
        api_url: The URL of the API, to which a path is added.
        headers: Those of every request.
    """

    def __init__(self, api_url: str, headers: Headers) -> None:
        self._api_url = api_url
        self._headers = headers
        self._site = httpx.URL(api_url)
        self._path = self._site.raw_path.decode("ascii").rstrip("/")
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
            return Request("GET", Address(self._site, self._path + path), self._for(authorization))
        headers = [
            *self._headers,
            (b"Authorization", authorization),
            *httpx.Headers(options.get("headers")).raw,
        ]
        return whole_request(method, self._api_url + path, options | {"headers": headers})

    def _for(self, authorization: bytes) -> Headers:
        known, headers = self._prepared
        if known != authorization:
            headers = [(b"Host", self._site.netloc), *self._headers, (b"Authorization", authorization)]
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
