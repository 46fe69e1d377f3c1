"""The socket functions that both engines use: connecting, waiting for data, and explaining failures."""

import os
import select
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from thrive_learning._clock import monotonic
from thrive_learning._interruptions import interruption

#: How long an address may take before the next one is tried, in seconds. Source: RFC 8305 section 5.
HEAD_START_S: Final = 0.25

#: An address of `getaddrinfo`: the family, and the argument of `connect`.
Address: TypeAlias = tuple[int, Any]

#: When each address last failed or was slower than another one. Attempts begin with addresses not in here.
failed_at: dict[Any, float] = {}
_MOST_FAILED = 256

# EAI_NODATA is not on all systems. EAI_AGAIN is not included, because it is transient.
_UNKNOWN_HOST = {getattr(socket, name, socket.EAI_NONAME) for name in ("EAI_NONAME", "EAI_NODATA")}


def note_failure(address: Any) -> None:
    """Make attempts begin with other addresses. If too many addresses have failed, forget all of them."""
    if len(failed_at) >= _MOST_FAILED:
        failed_at.clear()
    failed_at[address] = monotonic()


def in_order(found: list[Any]) -> list[Address]:
    """Sort the result of `getaddrinfo`: alternate IPv6 and IPv4, and put failed addresses last.

    Source: RFC 8305 section 4.
    """
    turns = {socket.AF_INET6: 0, socket.AF_INET: 1}
    ranked: list[tuple[float, int, Address]] = []
    for family, _type, _protocol, _name, address in found:
        ranked.append((failed_at.get(address, 0.0), turns[family], (family, address)))
        turns[family] += 2
    return [address for *_, address in sorted(ranked, key=lambda rank: rank[:2])]


def connect(
    host: str, port: int, left: Callable[[], float], use: Callable[[socket.socket], None]
) -> socket.socket:
    """Connect to an address of a host, without letting one address use up the time of the others.

    A slow address is tried again after the others, with four times as much time.

    Args:
        host: The name or the address.
        port: The port.
        left: Returns the remaining seconds for all addresses; raises if no time is left or after a cut.
        use: Receives a socket before it connects, so that another thread can cut it; raises after a cut.

    Raises:
        OSError: No address responded in time.
    """
    untried = in_order(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    patience, failure = HEAD_START_S, OSError("it has no address")
    while untried:
        for address in untried.copy():
            limit = left()
            try:
                return _connected(address, limit if len(untried) == 1 else min(limit, patience), use)
            except OSError as error:
                if interruption(error) is not None:
                    raise
                note_failure(address[1])
                if not isinstance(error, TimeoutError):
                    untried.remove(address)
                    failure = error
        patience *= 4
    raise failure


def _connected(address: Address, limit: float, use: Callable[[socket.socket], None]) -> socket.socket:
    sock = socket.socket(address[0], socket.SOCK_STREAM)
    try:
        use(sock)
        sock.settimeout(limit)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.connect(address[1])
    except BaseException:
        sock.close()
        raise
    return sock


class Arrivals:
    """Waits for data on a socket. The poll object is created once per connection.

    Args:
        sock: The socket.
    """

    __slots__ = ("_poll", "_sock")

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._poll: Any = None

    def wait(self, seconds: float) -> bool:
        """Return whether data has arrived or the socket is closed, after at most this many seconds."""
        if self._sock.fileno() < 0:
            return True
        if self._poll is None:
            if not hasattr(select, "poll"):  # Windows
                return bool(select.select([self._sock], [], [], seconds)[0])
            self._poll = select.poll()
            self._poll.register(self._sock, select.POLLIN)
        return bool(self._poll.poll(min(seconds * 1000, 2e9)))  # the largest valid timeout, 23 days


def explain(error: BaseException) -> tuple[str, bool]:
    """Return the description of a failure by the system or TLS, and whether it would happen again."""
    text = str(error)
    if isinstance(error, socket.gaierror):
        return text, error.errno in _UNKNOWN_HOST
    if isinstance(error, OSError) and error.errno and not isinstance(error, ssl.SSLError):
        return f"[Errno {error.errno}] {os.strerror(error.errno)}", False  # event loops use different texts
    return text, isinstance(error, UnicodeError) or "CERTIFICATE_VERIFY_FAILED" in text
