"""Uses any transport of httpx or httpx2 as an engine: httpx's own, the sandbox's, or the caller's."""

import contextlib
import re
import sys
from collections.abc import Iterator
from typing import Any, Self, cast

from thrive_learning._budget import Budget
from thrive_learning._http import port
from thrive_learning._interruptions import interruption
from thrive_learning._sockets import explain
from thrive_learning.errors import TRANSIENT_STATUS_CODES

_LIBRARIES = {"httpx", "httpx2"}
# The exceptions that a transport may raise. Other exceptions are defects and are not converted.
_FAILURES: dict[port.FailureKind, str] = {
    "timeout": "ConnectTimeout ReadTimeout WriteTimeout PoolTimeout TimeoutException",
    "connect": "ConnectError",
    "read": "ReadError SSLError",
    "write": "WriteError",
    "proxy": "ProxyError",
    "protocol": "RemoteProtocolError",
    "request": "LocalProtocolError UnsupportedProtocol InvalidURL",
    "other": "HTTPError StreamError OSError UnicodeError ClosedResourceError",
}
_KINDS: dict[str, port.FailureKind] = {
    name: kind for kind, names in _FAILURES.items() for name in names.split()
}
_HUNG_UP = "[SSL: UNEXPECTED_EOF_WHILE_READING] EOF occurred in violation of protocol"
_REJECTED_BY_SOCKS = re.compile(r"username/password|but got|not allowed|not supported", re.IGNORECASE)


def library_of(transport: object) -> str | None:
    """Return the library that a transport belongs to, `httpx` or `httpx2`; None if it is not a transport."""
    for kind in type(transport).__mro__:
        library = kind.__module__.partition(".")[0]
        if library in _LIBRARIES and kind.__name__ in {"BaseTransport", "AsyncBaseTransport"}:
            return library
    return None


def failure_of(error: BaseException) -> BaseException:
    """Return the exception to raise for a transport's: a `TransportError`, or the exception unchanged."""
    causes = list(_causes(error))
    for cause in causes:
        interrupted = interruption(cause)
        if interrupted is not None:
            return interrupted
    for kind in type(error).__mro__:
        name, library = kind.__name__, kind.__module__.partition(".")[0]
        if name in _KINDS and library in {*_LIBRARIES, "builtins", "ssl", "anyio"}:
            text, is_lasting = explain(causes[-1])
            if type(causes[-1]).__name__ == "EndOfStream":  # anyio's exception during a handshake
                text = _HUNG_UP
            text = text or str(error)
            if library == "builtins":  # from the caller's transport
                text = f"{type(error).__name__}: {text}"
            phase = cast("port.Phase", name.removesuffix("Timeout").lower()) if "Timeout" in name else None
            is_final = _is_final(_KINDS[name], text, is_lasting=is_lasting)
            return port.TransportError(_KINDS[name], text, phase=phase, is_final=is_final)
    return error


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and its causes. httpcore's pool clears causes, but they remain in the arguments."""
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):  # one attempt per address
            error = cast("BaseException", error.exceptions[-1])
        else:
            error = error.__cause__ or next((it for it in error.args if isinstance(it, BaseException)), None)


def _is_final(kind: port.FailureKind, text: str, *, is_lasting: bool) -> bool:
    """Return whether the same attempt would fail again, or, after a proxy's rejection, lock an account."""
    if kind == "proxy" and text[:3].isdigit():
        return int(text[:3]) not in TRANSIENT_STATUS_CODES
    if kind == "proxy":
        return _REJECTED_BY_SOCKS.search(text) is not None
    return kind == "connect" and is_lasting


class _Content:
    """The body of a request, in one piece.

    httpx's own is an async generator, which causes a warning if a failed write leaves it unfinished.
    """

    def __init__(self, body: bytes) -> None:
        self._pieces: tuple[bytes, ...] = (body,) if body else ()

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._pieces)

    def __aiter__(self) -> Self:
        self._unsent = iter(self._pieces)
        return self

    async def __anext__(self) -> bytes:
        for piece in self._unsent:
            return piece
        raise StopAsyncIteration


class Adapter:
    """An engine over transports of httpx or httpx2. In sync code, its coroutines block."""

    is_async: bool

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._library: Any = sys.modules[library_of(transport) or "httpx"]
        streams = (_Content, self._library.SyncByteStream, self._library.AsyncByteStream)
        self._content: Any = type("Content", streams, {})
        self._known: tuple[port.Headers, Any] = ((), None)

    async def exchange(
        self, request: port.Request, budget: Budget, *, fresh: bool
    ) -> tuple[Any, Any, "_Body"]:
        """Send a request once. Return the status and the headers of its response, and its body."""
        transport = await self.take(budget, fresh=fresh)
        try:
            if self.is_async:
                response = await transport.handle_async_request(self._build(request, budget))
            else:
                response = transport.handle_request(self._build(request, budget))
            return response.status_code, response.headers.raw, _Body(self, transport, response.stream)
        except BaseException as error:  # noqa: BLE001 - it is raised below
            await self.give_back(transport, is_broken=True)
            failure = failure_of(error)
        raise failure

    def _build(self, request: port.Request, budget: Budget) -> Any:
        """Return a request for the transport. Its URL is text, which httpx parses fastest."""
        known, headers = self._known
        if known is not request.headers:
            headers = self._library.Headers(request.headers)
            self._known = (request.headers, headers)
        scheme, host, number = request.origin
        return self._library.Request(
            request.method,
            f"{scheme}://{f'[{host}]' if ':' in host else host}:{number}{request.target.decode('ascii')}",
            headers=headers,
            stream=self._content(request.body),
            extensions={"timeout": budget.phases()},
        )

    async def take(self, budget: Budget, *, fresh: bool) -> Any:
        """Return the transport for a request, which must be given back."""
        del budget, fresh  # another library's transport manages its connections
        return self._transport

    async def give_back(self, transport: Any, *, is_broken: bool) -> None:
        """Take a transport back after its response has ended."""

    async def end(self, transport: Any) -> None:
        """Close a transport."""
        if self.is_async:
            await transport.aclose()
        else:
            transport.close()

    async def end_all(self) -> None:
        """Close all connections."""
        await self.end(self._transport)


class _Body:
    """The body of a response. An unfinished async generator would cause a warning."""

    def __init__(self, engine: Adapter, transport: Any, stream: Any) -> None:
        self._engine, self._transport, self._stream = engine, transport, stream
        self._chunks: Any = aiter(stream) if engine.is_async else None
        self._has_ended = self._is_broken = False

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._stream
        except BaseException as error:  # noqa: BLE001 - it is raised below
            self._is_broken = True
            failure = failure_of(error)
        else:
            return
        raise failure

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            return cast("bytes", await anext(self._chunks))
        except StopAsyncIteration:
            self._has_ended = True
            raise
        except BaseException as error:  # noqa: BLE001 - it is raised below
            self._has_ended = self._is_broken = True
            failure = failure_of(error)
        raise failure

    async def end(self) -> None:
        """End the exchange."""
        try:
            if not self._engine.is_async:
                self._stream.close()
            else:
                if not self._has_ended:
                    await self._leave()
                await self._stream.aclose()
        except BaseException as error:  # noqa: BLE001 - it is raised below
            self._is_broken = True
            failure = failure_of(error)
        else:
            return
        finally:
            await self._engine.give_back(self._transport, is_broken=self._is_broken)
        raise failure

    async def _leave(self) -> None:
        """Cancel the next read, and with it each waiting generator of httpx and httpcore."""
        import anyio  # noqa: PLC0415 - not needed by sync code

        with anyio.CancelScope() as reading, contextlib.suppress(port.TransportError):
            reading.cancel()
            async for _chunk in self:
                pass


class HttpxEngine(Adapter):
    """Sends the requests of threads through one transport of httpx or httpx2. See `port.Engine`."""

    is_async = False

    def send(self, request: port.Request, budget: Budget, *, fresh: bool = False) -> port.SyncResponse:
        """Send a request once. See `port.Engine.send`."""
        status, headers, body = port.run(self.exchange(request, budget, fresh=fresh))
        return port.Response(status, headers, iter(body), lambda: port.run(body.end()))

    def close(self) -> None:
        """Close all connections. See `port.Engine.close`."""
        port.run(self.end_all())


class AsyncHttpxEngine(Adapter):
    """Sends the requests of tasks through one transport of httpx or httpx2. See `port.AsyncEngine`."""

    is_async = True

    async def send(self, request: port.Request, budget: Budget, *, fresh: bool = False) -> port.AsyncResponse:
        """Send a request once. See `port.Engine.send`."""
        status, headers, body = await self.exchange(request, budget, fresh=fresh)
        return port.Response(status, headers, body, body.end)

    async def aclose(self) -> None:
        """Close all connections. See `port.Engine.close`."""
        await self.end_all()
