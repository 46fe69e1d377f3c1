"""What the streams of sync code, asyncio, and trio share: their interface, their limits, and their errors.

The methods of sync streams are coroutines as well, which block instead of waiting. So what opens connections
and exchanges messages is written once; `engine.run` runs it in a thread.
"""

import errno
import os
import select
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final, Protocol, TypeAlias

from thrive_learning._budget import Budget
from thrive_learning._clock import monotonic
from thrive_learning._http.port import FailureKind, Phase, TransportError
from thrive_learning._interruptions import interruption

#: So much is taken from a socket at once. It holds an activity record, and a record of TLS; as much of tiny
#: chunks, or of TLS that asks for new keys, is processed within some milliseconds.
READ_BYTES: Final = 16_384

#: An address has so long to answer before the next one is tried as well. Seconds. Source: RFC 8305 section 5.
HEAD_START_S: Final = 0.25

CLOSED: Final = "the connection was closed"

#: An address as `getaddrinfo` returns it: the family, and what `connect` takes.
Address: TypeAlias = tuple[int, Any]

#: Takes what makes a connection fail while it waits; raises `TransportError` if it was closed before.
Guard: TypeAlias = Callable[[Callable[[], None]], None]


class Stream(Protocol):
    """The bytes of a connection, in both directions, with or without TLS.

    A limit is `Timeout.read` or `Timeout.write`, or an end on the monotonic clock that a handshake has as a
    whole; then a time-out is one of connecting. Sync streams end with the call, too.
    """

    async def read(self, budget: Budget, ends: float | None = None) -> bytes:
        """Return what has arrived; nothing if the peer has ended the connection."""
        ...

    async def write(self, data: bytes, budget: Budget, ends: float | None = None) -> None:
        """Send all bytes."""
        ...

    def is_readable(self) -> bool:
        """Return whether something has arrived, the end of the connection included."""
        ...

    def cut(self) -> None:
        """Make a read or a write that waits fail. With sync streams, any thread may do so."""
        ...

    def close(self) -> None:
        """Close the connection without a word to the peer, which might answer late or never."""
        ...


def limit_s(timeout: float, ends: float | None) -> float:
    """Return how long an operation may take: so many seconds, or what is left of a handshake."""
    return timeout if ends is None else max(ends - monotonic(), 0.0)


def timed_out(phase: Phase, ends: float | None = None) -> TransportError:
    """Return the error for a limit that has passed, of a phase or of a handshake that has an end."""
    return TransportError("timeout", phase=phase if ends is None else "connect")


def failed(kind: FailureKind, error: Exception) -> TransportError:
    """Return the error for what the system or TLS has raised.

    Raises:
        Exception: A signal handler has raised it; it passes unchanged.
    """
    if interruption(error) is not None:
        raise error
    code: int = getattr(error, "errno", None) or 0
    if isinstance(error, (ssl.SSLCertVerificationError, UnicodeError)):
        is_final = True
    elif isinstance(error, socket.gaierror):
        is_final = code in _UNKNOWN_HOST
    else:
        is_final = False
        if code in errno.errorcode and not isinstance(error, ssl.SSLError):
            return TransportError(kind, f"[Errno {code}] {os.strerror(code)}")  # event loops add to it
    return TransportError(kind, str(error), is_final=is_final)


# EAI_NODATA is not on all systems. EAI_AGAIN, which may pass, is not among them.
_UNKNOWN_HOST = {getattr(socket, name, socket.EAI_NONAME) for name in ("EAI_NONAME", "EAI_NODATA")}


class Arrivals:
    """Waits for something to arrive on a socket. The poll object is made once for each connection."""

    __slots__ = ("_poll", "_sock")

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._poll: Any = None
        if hasattr(select, "poll"):  # not on Windows
            self._poll = select.poll()
            self._poll.register(sock, select.POLLIN)

    def wait(self, seconds: float) -> bool:
        """Return whether something has arrived, after at most so many seconds."""
        if self._poll is None:
            return bool(select.select([self._sock], [], [], seconds)[0])
        return bool(self._poll.poll(min(seconds * 1000, 2e9)))  # which is what fits: 23 days


#: When an address last failed, or was slower than another one. Attempts begin with those not in here.
failed_at: dict[Any, float] = {}
_MOST_FAILED = 256


def note_failure(address: Any) -> None:
    """Let attempts begin with other addresses. Before there are too many failed ones, all are forgotten."""
    if len(failed_at) >= _MOST_FAILED:
        failed_at.clear()
    failed_at[address] = monotonic()


def in_order(found: list[Any]) -> list[Address]:
    """Sort what `getaddrinfo` returned: by turns of IPv6 and IPv4, and addresses that have failed last.

    Source: RFC 8305 section 4.
    """
    turns = {socket.AF_INET6: 0, socket.AF_INET: 1}
    ranked: list[tuple[float, int, Address]] = []
    for family, _type, _protocol, _name, address in found:
        ranked.append((failed_at.get(address, 0.0), turns[family], (family, address)))
        turns[family] += 2
    return [address for *_, address in sorted(ranked, key=lambda rank: rank[:2])]
