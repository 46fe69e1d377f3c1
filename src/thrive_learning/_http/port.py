"""What the code above knows of HTTP: a request, a response, and an engine that exchanges them. Pure."""

import urllib.parse
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeAlias, TypeVar

from thrive_learning._budget import Budget

T = TypeVar("T")

#: Names and values as they go on the wire.
Headers: TypeAlias = Sequence[tuple[bytes, bytes]]


class Origin(NamedTuple):
    """A server that requests go to.

    Attributes:
        scheme: `https` or `http`.
        host: The host name in ASCII, or the address; IPv6 addresses stand without brackets.
        port: The TCP port, the scheme's default included.

    Source: RFC 6454 section 4.
    """

    scheme: str
    host: str
    port: int


def parse_url(url: str) -> tuple[Origin, bytes, bytes]:
    """Return the origin of a valid URL, its `Host` header, and its target."""
    parts = urllib.parse.urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return (
        Origin(parts.scheme, parts.hostname or "", port),
        parts.netloc.encode("ascii"),
        target.encode("ascii"),
    )


class Request:
    """A request, complete as it goes on the wire.

    Args:
        method: In capitals.
        origin: The server.
        target: The path and query in origin form, with nothing left to encode.
        headers: All of them, `Host` first, and `Content-Length` if there is a body. Requests of one client
            with the same headers have the same object here, so that an engine need encode it only once.
        body: The whole body.
    """

    __slots__ = ("body", "headers", "method", "origin", "target")

    def __init__(
        self, method: str, origin: Origin, target: bytes, headers: Headers, body: bytes = b""
    ) -> None:
        self.method: str = method
        self.origin: Origin = origin
        self.target: bytes = target
        self.headers: Headers = headers
        self.body: bytes = body

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.origin.host}>"  # headers, body, and token URL hold secrets


class Response:
    """The status and the headers of a response, and its body as it arrives.

    Args:
        status: The status code.
        headers: As received.
        chunks: The body as received, not decompressed; it raises `TransportError`.
        close: Ends the exchange, whether or not the body was read; the connection is kept only if nothing
            speaks against its next use. It is called once.
    """

    __slots__ = ("chunks", "close", "headers", "status")

    def __init__(
        self, status: int, headers: Headers, chunks: Iterator[bytes], close: Callable[[], None]
    ) -> None:
        self.status: int = status
        self.headers: Headers = headers
        self.chunks: Iterator[bytes] = chunks
        self.close: Callable[[], None] = close


class AsyncResponse:
    """See `Response`."""

    __slots__ = ("aclose", "chunks", "headers", "status")

    def __init__(
        self,
        status: int,
        headers: Headers,
        chunks: AsyncIterator[bytes],
        aclose: Callable[[], Awaitable[None]],
    ) -> None:
        self.status: int = status
        self.headers: Headers = headers
        self.chunks: AsyncIterator[bytes] = chunks
        self.aclose: Callable[[], Awaitable[None]] = aclose


#: What an exchange failed at. "request" is ours: it cannot be sent as it is. "thread" is that of a resolver.
FailureKind: TypeAlias = Literal[
    "connect", "proxy", "read", "write", "protocol", "request", "thread", "timeout", "other"
]

#: The limit that a time-out belongs to: a field of `Timeout`.
Phase: TypeAlias = Literal["connect", "read", "write", "pool"]


class TransportError(Exception):
    """An exchange failed. It never leaves this SDK, because its frames hold the Authorization header.

    Args:
        kind: What the exchange failed at.
        text: Why, in the words of the system or of the peer, not masked.
        phase: The limit that passed, of a time-out.
        is_final: Whether the same attempt would fail in the same way: the host is unknown, say.
    """

    def __init__(
        self, kind: FailureKind, text: str = "", *, phase: Phase | None = None, is_final: bool = False
    ) -> None:
        super().__init__(text)
        self.kind: FailureKind = kind
        self.text: str = text
        self.phase: Phase | None = phase
        self.is_final: bool = is_final

    @property
    def may_have_been_sent(self) -> bool:
        """Whether the server may have received the request."""
        before = self.kind in {"connect", "proxy", "request", "thread"}
        return not before and self.phase not in {"connect", "pool"}


def without_frames(error: TransportError) -> TransportError:
    """Return an error that keeps no frames: theirs hold headers, and would form a cycle with the caller's."""
    error.__traceback__ = error.__cause__ = error.__context__ = None
    return error


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine of sync code, which blocks instead of waiting, and return what it returns."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError("a coroutine of sync code waits")


class Engine(Protocol):
    """Sends requests for threads. It may be used by any number of them at once."""

    def send(self, request: Request, budget: Budget, *, fresh: bool = False) -> Response:
        """Send a request once and return the head of its response.

        Args:
            request: The request.
            budget: The limits of the call; every operation on a socket ends with it, those of the body too.
            fresh: Whether to open a new connection, because an idle one has failed.

        Raises:
            TransportError: There is no response.
        """
        ...

    def close(self) -> None:
        """Close all connections. A thread that waits for one of them gets a `TransportError` at once."""
        ...


class AsyncEngine(Protocol):
    """Sends requests for the tasks of one event loop. A cancel scope around the call is its deadline."""

    async def send(self, request: Request, budget: Budget, *, fresh: bool = False) -> AsyncResponse:
        """Send a request once and return the head of its response. See `Engine.send`."""
        ...

    async def aclose(self) -> None:
        """Close all connections. A task that waits for one of them gets a `TransportError` at once."""
        ...


#: How long a server may be expected to keep an idle connection, in seconds; httpx's default.
IDLE_TIMEOUT_S: Final = 5.0
