"""Connections that answer with given bytes, below both engines: HTTP is written and parsed, without sockets.

`install` lets both engines connect to them instead of a host. They answer with the bytes of `wire`.
"""

import errno
import os
import socket
from typing import TYPE_CHECKING, Any

import httpcore

from thrive_learning._http import deadline
from thrive_learning._http_fast import async_connect, sockets
from tools.fuzz_responses import Exchange

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Wire:
    """The response of all connections: the bytes of an exchange for its requests.

    Attributes:
        sound: The bytes that answer the other requests, by the beginning of the request.
    """

    def __init__(self) -> None:
        self.sound: dict[bytes, bytes] = {}
        self._begins = b""
        self._pieces: list[bytes] = []

    def set(self, exchange: Exchange | None, size: int = 1) -> None:
        """Answer with an exchange in pieces of a size from now on, or with sound responses alone."""
        self._begins, self._pieces = b"", []
        if exchange is not None:
            self._begins = b"GET " if exchange.source == "API" else b"POST "
            raw = exchange.raw
            self._pieces = [raw[start : start + size] for start in range(0, len(raw), size)]

    def answer(self, request: bytes) -> list[bytes]:
        """Return the pieces of the response to what was written, if a request begins there."""
        if self._begins and request.startswith(self._begins):
            return list(self._pieces)
        return [raw for begins, raw in self.sound.items() if request.startswith(begins)]


wire = Wire()


class Connection:
    """A connection that gives the pieces of its responses, and then its end."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._closed = self._ended = False

    def take(self, most: int) -> bytes:
        """Return what arrives next."""
        if self._closed:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        self._ended = not self._pieces
        piece = b"" if self._ended else self._pieces.pop(0)
        if len(piece) > most:
            self._pieces.insert(0, piece[most:])
        return piece[:most]

    def put(self, data: bytes) -> None:
        """Answer what is written, after what has not been read yet."""
        self._pieces += wire.answer(bytes(data))

    def has_arrivals(self) -> bool:
        """Return whether there is something to read, the end included."""
        return self._ended or bool(self._pieces)

    def end(self) -> None:
        """Close it."""
        self._closed = True


class ConnectedSocket(socket.socket):
    """A socket of the default engine. It can be polled, because it is one end of a pair."""

    def __init__(self) -> None:
        near, self._far = socket.socketpair()
        super().__init__(fileno=near.detach())
        self._connection = Connection()

    def recv(self, size: int, flags: int = 0) -> bytes:  # noqa: ARG002 - socket names it
        """See `socket.socket`."""
        data = self._connection.take(size)
        if not data:
            self._far.close()  # from now on, its end can be read
        elif not self._connection.has_arrivals():
            super().recv(1)
        return data

    def send(self, data: "Buffer", flags: int = 0) -> int:  # noqa: ARG002 - socket names it
        """See `socket.socket`."""
        sent = bytes(data)
        had_arrivals = self._connection.has_arrivals()
        self._connection.put(sent)
        if self._connection.has_arrivals() and not had_arrivals:
            self._far.send(b"-")  # from now on, something can be read
        return len(sent)

    def close(self) -> None:
        """See `socket.socket`."""
        self._connection.end()
        self._far.close()
        super().close()


class AsyncConnection(httpcore.AsyncNetworkStream):
    """A stream of httpcore's upon such a socket."""

    def __init__(self) -> None:
        self._sock = ConnectedSocket()

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        """See `httpcore.AsyncNetworkStream`."""
        return self._sock.recv(max_bytes)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        """See `httpcore.AsyncNetworkStream`."""
        self._sock.send(buffer)

    async def aclose(self) -> None:
        """See `httpcore.AsyncNetworkStream`."""
        self._sock.close()

    def get_extra_info(self, info: str) -> Any:
        """See `httpcore.AsyncNetworkStream`."""
        return self._sock if info == "socket" else None


class FastConnection:
    """It stands for a stream of the fast engine, sync or async."""

    def __init__(self) -> None:
        self._connection = Connection()

    async def read(self, _budget: object, _ends: float | None = None) -> bytes:
        """See `Stream`."""
        return self._connection.take(16_384)

    async def write(self, data: bytes, _budget: object, _ends: float | None = None) -> None:
        """See `Stream`."""
        self._connection.put(data)

    def is_readable(self) -> bool:
        """See `Stream`."""
        return self._connection.has_arrivals()

    def cut(self) -> None:
        """See `Stream`."""
        self._connection.end()

    close = cut


def install() -> None:
    """Let both engines connect to the wire."""

    async def connect_tcp(*_arguments: Any, **_options: Any) -> AsyncConnection:
        return AsyncConnection()

    async def connect(*_arguments: Any) -> FastConnection:
        return FastConnection()

    replaced: list[tuple[Any, str, Any]] = [
        (deadline, "connect", lambda *_arguments: ConnectedSocket()),
        (httpcore.AnyIOBackend, "connect_tcp", connect_tcp),
        (sockets, "connect", connect),
        (async_connect, "connect", connect),
    ]
    for owner, name, replacement in replaced:
        getattr(owner, name)  # or it would be put where nothing looks for it
        setattr(owner, name, replacement)
