"""The shared part of the streams of sync code, asyncio, and trio: their interface, limits, and errors.

The methods of sync streams are coroutines as well, which block instead of suspending. So the code that opens
connections and exchanges messages is written once.
"""

from collections.abc import Callable
from typing import Final, Protocol, TypeAlias

from thrive_learning._budget import Budget
from thrive_learning._clock import monotonic
from thrive_learning._http.port import FailureKind, Phase, TransportError
from thrive_learning._interruptions import interruption
from thrive_learning._sockets import explain

#: The size of one read. It holds an activity record or a TLS record, and this many bytes of tiny chunks or of
#: TLS key updates are processed within some milliseconds.
READ_BYTES: Final = 16_384

CLOSED: Final = "the connection was closed"

#: Registers a function that makes a waiting connection fail. Raises `TransportError` if it was already
#: closed.
Guard: TypeAlias = Callable[[Callable[[], None]], None]


class Stream(Protocol):
    """The bytes of a connection in both directions, with or without TLS.

    The limit of an operation is `Timeout.read` or `Timeout.write`, or the end of a handshake on the monotonic
    clock, whose timeout counts as one of connecting. Operations of sync streams also end with the call.
    """

    async def read(self, budget: Budget, ends: float | None = None) -> bytes:
        """Return the data that arrived, or no bytes if the peer has ended the connection."""
        ...

    async def write(self, data: bytes, budget: Budget, ends: float | None = None) -> None:
        """Send all bytes."""
        ...

    def is_readable(self) -> bool:
        """Return whether data or the end of the connection has arrived."""
        ...

    def cut(self) -> None:
        """Make a waiting read or write fail. With sync streams, any thread may call it."""
        ...

    def close(self) -> None:
        """Close the connection without notifying the peer, which might respond late or never."""
        ...


def limit_s(timeout: float, ends: float | None) -> float:
    """Return the seconds that an operation may take: its timeout, or the rest of a handshake."""
    return timeout if ends is None else max(ends - monotonic(), 0.0)


def timed_out(phase: Phase, ends: float | None = None) -> TransportError:
    """Return the error for an exceeded limit of a phase, or of a handshake."""
    return TransportError("timeout", phase=phase if ends is None else "connect")


def failed(kind: FailureKind, error: Exception) -> TransportError:
    """Return the error for an exception of the system or TLS.

    Raises:
        Exception: The exception is from a signal handler. It is raised unchanged.
    """
    if interruption(error) is not None:
        raise error
    text, is_final = explain(error)
    return TransportError(kind, text, is_final=is_final)
