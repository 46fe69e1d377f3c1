"""How long a call may take, and how often it may try. Pure."""

import math
from typing import TypedDict

import attrs

from thrive_learning.errors import ConfigurationError

_LONGEST_S = 366 * 86_400.0


def _seconds(_instance: "Timeout", attribute: "attrs.Attribute[float]", value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= _LONGEST_S:
        raise ConfigurationError(
            f"Timeout.{attribute.name} is {value!r}: it must be a number of seconds above 0, at most a year. "
            "A call without a limit could hang for ever, so there is no way to ask for one; "
            "pass a large number instead."
        )


@attrs.frozen
class Timeout:
    """How long one call and its phases may take, in seconds.

    Args:
        total: The whole call: token, connection, waits and every byte of the response.
        connect: Opening one connection; TLS has as much again.
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


def _attempts(_instance: "RetryPolicy", attribute: "attrs.Attribute[int]", value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigurationError(
            f"RetryPolicy.{attribute.name} is {value!r}: it must be a whole number above 0; 1 turns retries "
            "off"
        )


def _delay(_instance: "RetryPolicy", attribute: "attrs.Attribute[float]", value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise ConfigurationError(
            f"RetryPolicy.{attribute.name} is {value!r}: it must be a number of seconds, 0 or above"
        )


@attrs.frozen
class RetryPolicy:
    """How often a request is tried again after a failure that may pass.

    Those are connection failures, bodies that are cut off, and the statuses 408, 429, 500, 502, 503, 504 and
    520 to 524. The wait before try number n + 1 is drawn evenly from 0 to first_delay times 2 to the power
    n - 1, at most max_delay; a `Retry-After` of the server is its floor. No wait outlasts `Timeout.total`.

    Args:
        attempts: How many requests may be sent at the most; 1 turns retries off.
        first_delay: The longest wait before the second request, in seconds.
        max_delay: The longest wait before any request, in seconds, unless the server asks for more.

    Raises:
        ConfigurationError: A value makes no sense.
    """

    attempts: int = attrs.field(default=3, validator=_attempts)
    first_delay: float = attrs.field(default=0.5, validator=_delay)
    max_delay: float = attrs.field(default=8.0, validator=_delay)

    @classmethod
    def of(cls, value: object) -> "RetryPolicy":
        """Return a retry policy.

        Raises:
            ConfigurationError: The value is not a policy.
        """
        if not isinstance(value, RetryPolicy):
            raise ConfigurationError(
                f"retry is {value!r}: pass a RetryPolicy; RetryPolicy(attempts=1) turns retries off"
            )
        return value


class CallOptions(TypedDict, total=False):
    """The keyword arguments that every call takes besides its own.

    Attributes:
        timeout: Time-outs for this call, or seconds for the whole of it; None for those of the client.
        retry: How often to try; None for the client's policy.
    """

    timeout: Timeout | float | None
    retry: RetryPolicy | None
