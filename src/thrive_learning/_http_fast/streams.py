"""What the streams of sync code, asyncio, and trio share: their interface, their limits, and their errors.

The methods of sync streams are coroutines as well, which block instead of waiting. So what opens connections
and exchanges messages is written once; `engine.run` runs it in a thread.
"""

from collections.abc import Callable
from typing import Final, Protocol, TypeAlias

from thrive_learning._budget import Budget
from thrive_learning._clock import monotonic
from thrive_learning._http.port import FailureKind, Phase, TransportError
from thrive_learning._interruptions import interruption
from thrive_learning._sockets import explain

#: So much is taken from a socket at once. It holds an activity record, and a record of TLS; as much of tiny
#: chunks, or of TLS that asks for new keys, is processed within some milliseconds.
READ_BYTES: Final = 16_384

CLOSED: Final = "the connection was closed"

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
    text, is_final = explain(error)
    return TransportError(kind, text, is_final=is_final)
