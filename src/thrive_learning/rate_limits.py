"""A limit on requests per second, for `rate_limit=`."""

import re
import sys
from typing import Any, Protocol, TypeGuard, runtime_checkable

import attrs

from thrive_learning._formats import shown
from thrive_learning.errors import ConfigurationError

#: The lowest rate: one request a day.
_LOWEST = 1 / 86_400

# The burst without a setting of its own, in seconds of the rate.
_BURST_S = 0.1

_NUMBER = r"\d{1,15}(?:\.\d{1,15})?"
_TEXT = re.compile(rf"({_NUMBER})(?::({_NUMBER}))?", re.ASCII)


@runtime_checkable
class RateLimitStore(Protocol):
    """The interface of `RateLimit(store=)`: rate limits by key, shared by all that use the store.

    `MemoryTokenStore`, `FileTokenStore`, and `RedisTokenStore` have it. The methods block, and clients call
    them in threads, each of which they use again within 10 seconds. If one raises, or has not returned after
    5 seconds, the client logs a warning and keeps to the share of the rate that the store gave it before. A
    call whose time ends earlier fails without waiting for the store. A method that never returns leaves its
    thread behind, so give it a time limit of its own. A key is 32 hexadecimal digits and reveals nothing.
    """

    def take(self, key: str, *, per_second: float, burst: float, longest_wait_s: float) -> float:
        """Reserve the next request, unless the caller cannot wait until its time.

        Args:
            key: The limit.
            per_second: The rate of this limit, in requests per second.
            burst: The number of requests that may be sent at once after a quiet time.
            longest_wait_s: How long the caller can wait, in seconds.

        Returns:
            The seconds until the request may be sent. If they exceed `longest_wait_s`, nothing is reserved.
        """
        ...

    def slow(
        self, key: str, *, pause_s: float = 0.0, per_second: float | None = None, for_s: float = 0.0
    ) -> None:
        """Apply a pause or a lower rate that a server asked for. They apply until they expire.

        Args:
            key: The limit.
            pause_s: Nothing is reserved for this many seconds from now.
            per_second: The highest rate for `for_s` seconds from now; None for no other rate.
            for_s: How long that rate applies, in seconds.
        """
        ...


def _is_number(value: object) -> TypeGuard[float]:
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and abs(value) <= sys.float_info.max  # false for NaN as well
    )


def _check_rate(_instance: "RateLimit", _attribute: "attrs.Attribute[float]", value: object) -> None:
    if not _is_number(value) or value < _LOWEST:
        raise ConfigurationError(
            f"RateLimit(per_second) is {shown(value)}. Use a number of requests per second, at least "
            "1/86400 (one a day)."
        )


def _check_burst(_instance: "RateLimit", _attribute: "attrs.Attribute[float]", value: object) -> None:
    if not _is_number(value) or value < 1:
        raise ConfigurationError(
            f"RateLimit(burst) is {shown(value)}. Use a number of requests, 1 or more, or None for the "
            "default."
        )


def _check_store(_instance: "RateLimit", _attribute: "attrs.Attribute[Any]", value: object) -> None:
    if value is None or (isinstance(value, RateLimitStore) and not isinstance(value, type)):
        return
    given = f"the class {value.__name__}" if isinstance(value, type) else f"of type {type(value).__name__}"
    raise ConfigurationError(
        f"RateLimit(store) is {given}. Pass FileTokenStore(), RedisTokenStore(url), or an object with the "
        "methods of RateLimitStore."
    )


def _name_of(store: object) -> str:
    # The repr of a custom store could contain secrets.
    return "None" if store is None else type(store).__name__


@attrs.frozen(init=False)
class RateLimit:
    """A limit on requests per second, for `rate_limit=` of the clients.

    All requests to the API count: single calls, lists, bulk runs, and every retry. Token requests do not. In
    any period of w seconds, at most `per_second` times w plus `burst` requests are sent. Clients that share a
    store share the limit of their tenant.

    Args:
        per_second: The rate, in requests per second.
        burst: The number of requests that may be sent at once after a quiet time. None for as many as the
            rate allows in 0.1 seconds, but at least 1, so that 10 seconds have at most 1 % more than the
            rate, or one request.
        store: Where processes share the limit: `FileTokenStore`, `RedisTokenStore`, or `MemoryTokenStore`.
            None for the client's `token_store`, if it has the methods of `RateLimitStore`, or else for the
            memory of each client.

    Raises:
        ConfigurationError: A value is not valid.
    """

    per_second: float = attrs.field(validator=_check_rate)
    burst: float = attrs.field(validator=_check_burst)
    store: RateLimitStore | None = attrs.field(validator=_check_store, repr=_name_of)

    def __init__(
        self, per_second: float, burst: float | None = None, store: RateLimitStore | None = None
    ) -> None:
        if burst is None:
            burst = max(1.0, per_second * _BURST_S) if _is_number(per_second) else 1.0
        self.__attrs_init__(per_second, burst, store)  # pyright: ignore[reportAttributeAccessIssue,reportUnknownMemberType] - by attrs

    @classmethod
    def parse(cls, text: str, store: RateLimitStore | None = None) -> "RateLimit":
        """Parse the text of a setting: requests per second, such as `20`, or with a burst, `20:5`.

        Args:
            text: The text.
            store: As for `RateLimit`.

        Raises:
            ConfigurationError: The text is not valid.
        """
        found = _TEXT.fullmatch(text)
        if found is not None:
            rate, burst = found.groups()
            try:
                return cls(float(rate), None if burst is None else float(burst), store)
            except ConfigurationError:  # its message names arguments
                pass
        raise ConfigurationError(
            f"The rate limit {text!r} is not valid. Write requests per second, such as 20, or with a burst "
            "of 1 or more, such as 20:5. The lowest rate is 0.00001158, about one request a day."
        )
