"""Servers on loopback that do what a test says, and engines that tests use as if they were sync ones."""

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple, Self

from anyio.from_thread import BlockingPortal
from patience import PATIENCE_S

from thrive_learning._budget import Budget
from thrive_learning._http.port import Origin, Request, Response
from thrive_learning._http_fast.engine import AsyncFastEngine, FastEngine
from thrive_learning.policies import RetryPolicy, Timeout

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class Reply(NamedTuple):
    status: int
    body: bytes


def reset(peer: socket.socket) -> None:
    """Close a connection with an RST."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def read_request(peer: socket.socket) -> bytes:
    """Read a request up to the end of its head, with whatever came with it; empty at the end."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = peer.recv(65_536)
        if not more:
            return b""
        data += more
    return data


class Server:
    """Runs a handler for each connection, in a thread of its own.

    Args:
        handler: Gets the connection and the server.
        context: For TLS; None for none.
    """

    def __init__(
        self,
        handler: "Callable[[socket.socket, Server], object]",
        context: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self._handler = handler
        self._context = context
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family)
        self.port: int = self._listener.getsockname()[1]
        self.host = host
        self.connections = 0
        self.requests: list[bytes] = []
        self.closing = threading.Event()
        self._threads = [threading.Thread(target=self._accept)]
        self._peers: list[socket.socket] = []
        self._threads[0].start()

    @property
    def origin(self) -> Origin:
        return Origin("http" if self._context is None else "https", self.host, self.port)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the listener is closed
            while True:
                peer, _address = self._listener.accept()
                # Otherwise, what is sent would wait for the acknowledgment of what was sent before.
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.connections += 1
                self._peers.append(peer)
                thread = threading.Thread(target=self._serve, args=(peer,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, peer: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if self._context is not None:
                peer = self._context.wrap_socket(peer, server_side=True)
                self._peers.append(peer)
            self._handler(peer, self)
        peer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for peer in self._peers:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(peer, socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE_S)
        for peer in self._peers:
            peer.close()


def answer(*parts: bytes, times: int = 1000) -> Callable[[socket.socket, Server], None]:
    """Return a handler that answers each request with some bytes, and then closes."""

    def handle(peer: socket.socket, server: Server) -> None:
        for _ in range(times):
            request = read_request(peer)
            if not request:
                return
            server.requests.append(request)
            for part in parts:
                peer.sendall(part)

    return handle


def silence(peer: socket.socket, server: Server) -> None:
    """Read a request, and never answer."""
    server.requests.append(read_request(peer))
    server.closing.wait(2 * PATIENCE_S)


def budget(**limits: float) -> Budget:
    return Budget(Timeout(**limits), RetryPolicy(attempts=1))


def endless_budget() -> Budget:
    """Return a budget that outlasts the patience of these tests."""
    longer_s = 2 * PATIENCE_S
    return budget(total=longer_s, connect=longer_s, read=longer_s, write=longer_s, pool=longer_s)


def request(origin: Origin, method: str = "GET", body: bytes = b"") -> Request:
    headers = [(b"Host", b"a.example"), (b"Content-Length", b"%d" % len(body))]
    return Request(method, origin, b"/x", headers, body)


class Sender:
    """An engine in sync code, on asyncio, or on trio, as if it were in sync code.

    Args:
        portal: Runs coroutines on an event loop; None for sync code.
    """

    def __init__(self, portal: BlockingPortal | None, context: ssl.SSLContext, proxy: str | None) -> None:
        self._portal = portal
        self.is_sync = portal is None
        self.engine: Any = (FastEngine if portal is None else AsyncFastEngine)(context, proxy)

    def call(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Call a function that is a coroutine function unless this is sync code."""
        if self._portal is None:
            return function(*arguments, **options)
        return self._portal.call(partial(function, *arguments, **options))

    def open(self, sent: Request, spent: Budget | None = None, *, fresh: bool = False) -> Response[Any, Any]:
        """Send a request and return the head of its response."""
        opened: Response[Any, Any] = self.call(self.engine.send, sent, spent or budget(), fresh=fresh)
        return opened

    def next_chunk(self, response: Any) -> bytes | None:
        """Return the next chunk of a body, or None at its end."""
        chunks = response.chunks
        if self.is_sync:
            return next(chunks, None)

        async def take() -> bytes | None:
            return await anext(aiter(chunks), None)

        chunk: bytes | None = self.call(take)
        return chunk

    def end(self, response: Any) -> None:
        self.call(response.close)

    def get(self, origin: Origin, spent: Budget | None = None, **options: Any) -> Reply:
        """Send a GET and read its response."""
        return self.send(request(origin), spent, **options)

    def send(self, sent: Request, spent: Budget | None = None, **options: Any) -> Reply:
        response = self.open(sent, spent, **options)
        try:
            body = b""
            while (chunk := self.next_chunk(response)) is not None:
                body += chunk
        finally:
            self.end(response)
        return Reply(response.status, body)

    def close(self) -> None:
        self.call(self.engine.close if self.is_sync else self.engine.aclose)


@contextlib.contextmanager
def listening() -> Iterator[socket.socket]:
    """Yield a socket that listens and never accepts, and whose queue is full: to connect to it hangs."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(8):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)  # noqa: FBT003
            filler.connect_ex(listener.getsockname())
        yield listener
