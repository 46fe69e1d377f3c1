"""The rate limit of a sandbox: which requests get 429, and what the headers say.

It shares no code with the rate limit of the client, which is tested against it.
"""

import math
import re
import threading
from collections.abc import Mapping
from fractions import Fraction
from http import HTTPStatus
from typing import Any, Literal

from thrive_learning.sandbox.messages import SandboxResponse, error_response

RateLimitHeaders = Literal["ietf", "x", "none"]

_NUMBER = r"\d{1,9}(?:\.\d{1,6})?"
_RATE = re.compile(rf"({_NUMBER})(?::({_NUMBER}))?", re.ASCII)
_SLOWEST, _FASTEST = 0.001, 1_000_000
# Times in Unix seconds are exact to less than a microsecond, so a request at the exact rate may find slightly
# less than one permit.
_TOLERANCE = 0.001
_SET_BACK_S = 1.0


class SandboxRateLimit:
    """A limit on requests per second, above which the sandbox responds with 429.

    It is a token bucket, which starts full. Each request to the API takes a permit, whatever its path and
    method, and permits return at a fixed rate. Requests to the token endpoints, and requests without valid
    credentials, do not count. Threads may share it. Its clock is that of the sandbox.

    Args:
        per_second: How many permits return per second, from 0.001 to a million.
        burst: The number of requests that may be sent at once after a quiet time; by default those of one
            second, but at least 1. `Retry-After` has whole seconds, so a client that obeys it cannot use the
            full rate with a smaller burst. The default of `RateLimit` is a tenth of that, because a client
            must stay below the limit of its server.
        headers: The headers of each response: `"ietf"`, the default, for `RateLimit` and `RateLimit-Policy`;
            `"x"` for `X-RateLimit-Limit`, `X-RateLimit-Remaining`, and `X-RateLimit-Reset` in Unix seconds;
            or `"none"`. A 429 always has `Retry-After`.

    Raises:
        ValueError: A number is out of range, or the headers are unknown.

    Source:
        draft-ietf-httpapi-ratelimit-headers-10; RFC 6585, section 4; RFC 9110, section 10.2.3
    """

    def __init__(
        self, per_second: float, burst: float | None = None, headers: RateLimitHeaders = "ietf"
    ) -> None:
        if not _SLOWEST <= per_second <= _FASTEST:
            raise ValueError(f"per_second is {per_second}. Choose a number from {_SLOWEST} to {_FASTEST}.")
        if burst is None:
            burst = max(1, per_second)
        if not 1 <= burst <= _FASTEST:
            raise ValueError(f"burst is {burst}. Choose a number from 1 to {_FASTEST}.")
        if headers not in {"ietf", "x", "none"}:
            raise ValueError(f"headers is {headers!r}. Choose 'ietf', 'x', or 'none'.")
        #: How many permits return per second.
        self.per_second: float = per_second
        #: The number of requests that may be sent at once after a quiet time.
        self.burst: float = burst
        #: The kind of headers.
        self.headers: RateLimitHeaders = headers
        self._permits = float(burst)
        self._last: float | None = None
        self._lock = threading.Lock()

    @classmethod
    def parse(cls, text: str, headers: RateLimitHeaders = "ietf") -> "SandboxRateLimit":
        """Create a limit from text such as `20`, or `20:5` with a burst.

        Args:
            text: The requests per second, and optionally the burst.
            headers: As for the class.

        Raises:
            ValueError: The text is not a limit, or a number is out of range.
        """
        found = _RATE.fullmatch(text)
        if found is None:
            raise ValueError(
                f"{text[:40]!r} is not a rate limit. Use requests per second, such as 20, or with a burst, "
                "as in 20:5."
            )
        return cls(float(found[1]), float(found[2]) if found[2] else None, headers)

    def __str__(self) -> str:
        return f"{self.per_second:g} requests per second, at most {self.burst:g} at once"

    def take(self, now: float) -> tuple[SandboxResponse | None, Mapping[str, str]]:
        """Take the permit of one request.

        Args:
            now: The time in Unix seconds.

        Returns:
            A 429 response if the limit is reached, or else None; and the headers to add.
        """
        with self._lock:
            # Threads read the clock before they get here, so times may be slightly out of order. Counting
            # from the latest one, no time counts twice. A clock that was set back is followed.
            if self._last is None or now < self._last - _SET_BACK_S:
                self._last = now
            elapsed = max(0.0, now - self._last)
            self._last += elapsed
            self._permits = min(self.burst, self._permits + elapsed * self.per_second)
            is_allowed = self._permits >= 1 - _TOLERANCE
            if is_allowed:
                self._permits -= 1
            permits = self._permits
        remaining = max(0, math.floor(permits + _TOLERANCE))
        more_in_s = (remaining + 1 - _TOLERANCE - permits) / self.per_second
        headers = self._described(remaining, more_in_s, now)
        if is_allowed:
            return None, headers
        return (
            error_response(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"Rate limit exceeded ({self})",
                {"retry-after": str(math.ceil(more_in_s))},
            ),
            headers,
        )

    def _described(self, remaining: int, more_in_s: float, now: float) -> Mapping[str, str]:
        quota, window_s = self._policy()
        match self.headers:
            case "ietf":
                return {
                    "ratelimit-policy": f'"default";q={quota};w={window_s}',
                    "ratelimit": f'"default";r={remaining};t={math.ceil(more_in_s)}',
                }
            case "x":
                return {
                    "x-ratelimit-limit": str(quota),
                    "x-ratelimit-remaining": str(remaining),
                    "x-ratelimit-reset": str(math.ceil(now + more_in_s)),
                }
            case _:
                return {}

    def _policy(self) -> tuple[int, int]:
        """Return a whole number of requests, at least the burst, and a whole number of seconds for them."""
        rate = Fraction(self.per_second).limit_denominator(1000)
        windows = math.ceil(Fraction(self.burst) / rate.numerator)
        return rate.numerator * windows, rate.denominator * windows

    def __getstate__(self) -> dict[str, Any]:
        # Without the lock, so that a client of the sandbox can be pickled.
        with self._lock:
            return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._lock = threading.Lock()
