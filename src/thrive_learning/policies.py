"""How long a call may take."""

import math
import time

import attrs

from thrive_learning.errors import ConfigurationError


def _seconds(_instance: "Timeout", attribute: "attrs.Attribute[float]", value: object) -> None:
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not math.isfinite(value)
        or not value > 0
    ):
        raise ConfigurationError(
            f"Timeout.{attribute.name} is {value!r}: it must be a number of seconds above 0. "
            "A call without a limit could hang for ever, so there is no way to ask for one; "
            "pass a large number instead."
        )


@attrs.frozen
class Timeout:
    """How long one call and its phases may take, in seconds.

    Args:
        total: The whole call: token, connection, waits and every byte of the response.
        connect: Opening one connection, TLS included.
        read: Waiting for the next bytes of a response.
        write: Sending the next bytes of a request.
        pool: Waiting for a free connection.

    Raises:
        ConfigurationError: A value is no finite number above 0.
    """

    total: float = attrs.field(default=60.0, validator=_seconds)
    connect: float = attrs.field(default=5.0, validator=_seconds)
    read: float = attrs.field(default=30.0, validator=_seconds)
    write: float = attrs.field(default=10.0, validator=_seconds)
    pool: float = attrs.field(default=10.0, validator=_seconds)

    @classmethod
    def of(cls, value: "Timeout | float | None", default: "Timeout") -> "Timeout":
        """Give the time-outs of one call.

        Args:
            value: Time-outs, or seconds for the whole call, or None for those of the client.
            default: The client's time-outs.

        Raises:
            ConfigurationError: The value is none of these.
        """
        if value is None:
            return default
        if isinstance(value, Timeout):
            return value
        return attrs.evolve(default, total=value)


class Deadline:
    """The end of one call, counted from the moment that this is made.

    Args:
        timeout: How long the call and its phases may take.
    """

    __slots__ = ("_ends", "_started", "timeout")

    def __init__(self, timeout: Timeout) -> None:
        self.timeout: Timeout = timeout
        self._started = time.monotonic()
        self._ends = self._started + timeout.total

    def elapsed(self) -> float:
        """Give the seconds since the call began."""
        return time.monotonic() - self._started

    def remaining(self) -> float:
        """Give the seconds that are left; 0 or less when the call is over."""
        return self._ends - time.monotonic()

    def check(self) -> None:
        """Raise the built-in TimeoutError when the call is over."""
        if self.remaining() <= 0:
            raise TimeoutError

    def phases(self) -> dict[str, float]:
        """Give each phase's limit in seconds, none of them longer than what is left of the call.

        The names are those of httpx's `timeout` extension.
        """
        left = max(self.remaining(), 0.0)
        timeout = self.timeout
        return {
            "connect": min(timeout.connect, left),
            "read": min(timeout.read, left),
            "write": min(timeout.write, left),
            "pool": min(timeout.pool, left),
        }
