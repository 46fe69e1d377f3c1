"""Time limits and retries of a call. Pure."""

import math
from typing import TypedDict

import attrs

from thrive_learning.errors import ConfigurationError

_LONGEST_S = 366 * 86_400.0


def _seconds(_instance: "Timeout", attribute: "attrs.Attribute[float]", value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= _LONGEST_S:
        raise ConfigurationError(
            f"Timeout.{attribute.name} is {value!r}. Use a number of seconds above 0 and at most a year; a "
            "call without a limit could hang forever."
        )


@attrs.frozen
class Timeout:
    """The time limits of a call and its phases, in seconds.

    Args:
        total: The whole call, including the token, the connection, all waits, and every byte of the response.
        connect: Opening one connection. The TLS handshake has the same limit again.
        read: Waiting for the next bytes of a response.
        write: Sending the next bytes of a request.
        pool: Waiting for a free connection.

    Raises:
        ConfigurationError: A value is not a finite number above 0, or exceeds a year.
    """

    total: float = attrs.field(default=60.0, validator=_seconds)
    connect: float = attrs.field(default=5.0, validator=_seconds)
    read: float = attrs.field(default=30.0, validator=_seconds)
    write: float = attrs.field(default=10.0, validator=_seconds)
    pool: float = attrs.field(default=10.0, validator=_seconds)

    @classmethod
    def of(cls, value: "Timeout | float | None", default: "Timeout") -> "Timeout":
        """Return the time limits of one call.

        Args:
            value: A `Timeout`, seconds for the whole call, or None for the client's limits.
            default: The client's limits.

        Raises:
            ConfigurationError: The value is not one of these.
        """
        if value is None:
            return default
        if isinstance(value, Timeout):
            return value
        return attrs.evolve(default, total=value)


def _attempts(_instance: "RetryPolicy", attribute: "attrs.Attribute[int]", value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigurationError(
            f"RetryPolicy.{attribute.name} is {value!r}. Use a whole number above 0; 1 turns retries off."
        )


def _delay(_instance: "RetryPolicy", attribute: "attrs.Attribute[float]", value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise ConfigurationError(
            f"RetryPolicy.{attribute.name} is {value!r}. Use a number of seconds, 0 or above."
        )


@attrs.frozen
class RetryPolicy:
    """How often a request is sent again after a transient failure.

    Transient failures are connection failures, incomplete bodies, and the statuses 408, 429, 500, 502, 503,
    504, and 520 to 524. The wait before attempt n + 1 is random between 0 and `first_delay` times 2 to the
    power n - 1, at most `max_delay`, and never shorter than the server's `Retry-After`. No wait exceeds
    `Timeout.total`.

    Args:
        attempts: The number of requests in total; 1 turns retries off.
        first_delay: The longest wait before the second request, in seconds.
        max_delay: The longest wait before any request, in seconds, unless the server asks for more.

    Raises:
        ConfigurationError: A value is not valid.
    """

    attempts: int = attrs.field(default=3, validator=_attempts)
    first_delay: float = attrs.field(default=0.5, validator=_delay)
    max_delay: float = attrs.field(default=8.0, validator=_delay)

    @classmethod
    def of(cls, value: object) -> "RetryPolicy":
        """Return the value as a retry policy.

        Raises:
            ConfigurationError: The value is not a RetryPolicy.
        """
        if not isinstance(value, RetryPolicy):
            raise ConfigurationError(
                f"retry is {value!r}. Pass a RetryPolicy; RetryPolicy(attempts=1) turns retries off."
            )
        return value


class CallOptions(TypedDict, total=False):
    """The keyword arguments that every call accepts.

    Attributes:
        timeout: The time limits of this call, or seconds for the whole call; None for the client's.
        retry: How often this call sends a request again; None for the client's policy.
    """

    timeout: Timeout | float | None
    retry: RetryPolicy | None
