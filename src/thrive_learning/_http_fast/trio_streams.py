"""Connections on trio."""

import contextlib
import socket

import trio

from thrive_learning._budget import Budget
from thrive_learning._http.port import TransportError
from thrive_learning._http_fast.sockets import SocketStream
from thrive_learning._http_fast.streams import CLOSED
from thrive_learning._sockets import Address


async def connect(address: Address) -> "TrioStream":
    """Connect to an address."""
    sock = socket.socket(address[0], socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await trio.socket.from_stdlib_socket(sock).connect(address[1])
    except BaseException:
        sock.close()
        raise
    return TrioStream(sock)


class TrioStream(SocketStream):
    """A connection without TLS."""

    async def _is_ready(self, budget: Budget, limit: float, *, to_write: bool = False) -> bool:
        del budget  # a cancel scope ends the call
        wait = trio.lowlevel.wait_writable if to_write else trio.lowlevel.wait_readable
        with contextlib.suppress(trio.ClosedResourceError):
            if self._sock.fileno() >= 0:
                with trio.move_on_after(limit):
                    await wait(self._sock)
                    return True
                return False
        raise TransportError("write" if to_write else "read", CLOSED)

    def cut(self) -> None:
        self.close()

    def close(self) -> None:
        if self._sock.fileno() >= 0:
            trio.lowlevel.notify_closing(self._sock)
        self._sock.close()
