"""The HTTP interface of the code above: a request, a response, and an engine that exchanges them. Pure."""

import urllib.parse
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from typing import Any, Final, Generic, Literal, NamedTuple, Protocol, TypeAlias, TypeVar

from thrive_learning._budget import Budget

T = TypeVar("T")
ChunksT = TypeVar("ChunksT")
EndT = TypeVar("EndT")

#: Names and values in wire format.
Headers: TypeAlias = Sequence[tuple[bytes, bytes]]


class Origin(NamedTuple):
    """A server that requests are sent to.

    Attributes:
        scheme: `https` or `http`.
        host: The host name in ASCII, or the address; IPv6 addresses without brackets.
        port: The TCP port, which may be the scheme's default.

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
    """A complete request in wire format.

    Args:
        method: The method, in capitals.
        origin: The server.
        target: The path and query in origin form, percent-encoded.
        headers: All headers, `Host` first, and `Content-Length` if there is a body. Requests of one client
            with the same headers share this object, so that an engine can encode it once.
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
        return f"<Request {self.method} {self.origin.host}>"  # headers, body, and token URL contain secrets


class Response(Generic[ChunksT, EndT]):
    """The status and the headers of a response, and its body as it arrives.

    Args:
        status: The status code.
        headers: As received.
        chunks: The body as received, not decompressed. Iteration may raise `TransportError`.
        close: Ends the exchange, whether or not the body was read. The connection is kept only if it can be
            reused. Called once. In async code, its result is awaited.
    """

    __slots__ = ("chunks", "close", "headers", "status")

    def __init__(self, status: int, headers: Headers, chunks: ChunksT, close: Callable[[], EndT]) -> None:
        self.status: int = status
        self.headers: Headers = headers
        self.chunks: ChunksT = chunks
        self.close: Callable[[], EndT] = close


SyncResponse: TypeAlias = Response[Iterator[bytes], None]
AsyncResponse: TypeAlias = Response[AsyncIterator[bytes], Awaitable[None]]


#: The step that failed. "request" is a request that cannot be sent, and "thread" one that cannot be started.
FailureKind: TypeAlias = Literal[
    "connect", "proxy", "read", "write", "protocol", "request", "thread", "timeout", "other"
]

#: The time limit that was exceeded, as a field of `Timeout`.
Phase: TypeAlias = Literal["connect", "read", "write", "pool"]


class TransportError(Exception):
    """An exchange failed. It never leaves this SDK, because its frames hold the Authorization header.

    Args:
        kind: The step that failed.
        text: The reason, in the words of the system or of the peer, not masked.
        phase: For a timeout, the limit that was exceeded.
        is_final: Whether the same attempt would fail again, such as for an unknown host.
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
    """Return an error without frames, which would hold headers and form a cycle with the caller's."""
    error.__traceback__ = error.__cause__ = error.__context__ = None
    return error


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine of sync code, which blocks instead of suspending, and return its result."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError("a coroutine of sync code suspended")


class Engine(Protocol):
    """Sends requests for threads. Any number of threads may share it."""

    def send(self, request: Request, budget: Budget, *, fresh: bool = False) -> SyncResponse:
        """Send a request once, and return the head of its response.

        Args:
            request: The request.
            budget: The limits of the call. Every operation on a socket ends with it, including the body's.
            fresh: Whether to open a new connection, because an idle one has failed.

        Raises:
            TransportError: No response arrived.
        """
        ...

    def close(self) -> None:
        """Close all connections. A thread that waits for one of them gets a `TransportError` at once."""
        ...


class AsyncEngine(Protocol):
    """Sends requests for the tasks of one event loop. A cancel scope around the call is its deadline."""

    async def send(self, request: Request, budget: Budget, *, fresh: bool = False) -> AsyncResponse:
        """Send a request once, and return the head of its response. See `Engine.send`."""
        ...

    async def aclose(self) -> None:
        """Close all connections. A task that waits for one of them gets a `TransportError` at once."""
        ...


#: How long a server is expected to keep an idle connection, in seconds; httpx's default.
IDLE_TIMEOUT_S: Final = 5.0
