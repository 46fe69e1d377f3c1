"""Decides how to slow down after a response, by its status and headers. Pure.

A server only lowers the client's own limit, and only for a while, because headers may be wrong:

- A 429 pauses all requests as long as `Retry-After` asks, or for a second without it, and at most 30 seconds.
  Then requests show whether the server still refuses. If it does, the pause begins again. So a wrong value
  costs half a minute, and a right one is obeyed except for a few requests in each half minute.
- A quota without remaining requests pauses until its reset, with the same limit. A reset within a second says
  nothing, because it may be any part of that. If the rate is too high, a 429 follows.
- A quota that the client could use up within a minute is spread over the time until its reset, but not below
  the rate that its policy allows in the long run. Each response renews that rate for ten seconds.
- A policy with a window of up to a minute is a rate. A longer one is not, as long as requests remain.
- A 429 without such a rate lowers the client's rate to 80 %, and to half of that if another one follows soon.
  Every 20 seconds without a 429, it rises by a quarter.

Source: RFC 6585, section 4; RFC 9110, section 10.2.3; draft-ietf-httpapi-ratelimit-headers-10, sections 5 and
    6 (clients should cap what they believe).
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from thrive_learning._clock import wall_time
from thrive_learning._limits.quota_headers import NAMES, Policy, Quota, read_limits

#: The longest pause, in seconds. A call with the default time limit survives it.
LONGEST_PAUSE_S = 30.0

#: The pause after a 429 that names none, in seconds.
REFUSED_PAUSE_S = 1.0

#: How long a rate that follows from headers applies unless a response renews it, in seconds.
LEARNED_S = 10.0

#: A quota is spread if the client could use it up within this time. A policy with a longer window is not a
#: rate. Seconds.
SPREAD_S = 60.0

#: A reset that is nearer than this says little about a rate, because it is in whole seconds.
SHORTEST_RESET_S = 5.0

#: The resolution of a reset, in seconds.
RESOLUTION_S = 1.0

#: The share of the rate that is left after a 429, and after another one within `RECOVER_S`.
MILD, HARD = 0.8, 0.5

#: The smallest share of the client's own rate, and the seconds without a 429 after which the share is divided
#: by `MILD`.
LEAST_SHARE, RECOVER_S = 1 / 64, 20.0

#: How long a share applies, in seconds. It overlaps with the next one, because only a response brings that.
HOLD_S = 1.5 * RECOVER_S

# For this long, further 429s belong to requests that were sent before the rate was lowered. Seconds.
_SETTLE_S = 2.0

# Smaller changes are not worth an exchange with a store: of a rate as a share, and of a pause in seconds.
_SAME_RATE, _SAME_PAUSE_S = 0.9, 0.5

_TOO_MANY_REQUESTS = 429


class Slow(NamedTuple):
    """How a client must slow down. The fields are the arguments of `RateLimitStore.slow`.

    Attributes:
        pause_s: Nothing is sent for this many seconds.
        per_second: The highest rate for `for_s` seconds; None for no other rate.
        for_s: How long that rate applies, in seconds.
    """

    pause_s: float
    per_second: float | None
    for_s: float


class ServerLimits:
    """The limit of a server as far as a client knows it.

    Threads may share it. If two of them read responses at once, one may be lost, which the next one corrects.

    Args:
        per_second: The client's own limit, in requests per second.
        wall_clock: Returns the seconds since 1970, for responses without a `Date`.
    """

    def __init__(self, per_second: float, wall_clock: Callable[[], float] = wall_time) -> None:
        self._per_second = per_second
        self._wall_clock = wall_clock
        self._share = 1.0
        self._lowered_at = -math.inf
        self._rises_at = math.inf
        self._paused_until = -math.inf
        self._last_rate, self._renews_at = math.inf, -math.inf

    def is_quiet(self, status_code: int, fields: Mapping[bytes, bytes]) -> bool:
        """Return whether a response says nothing of a limit, and nothing is left of earlier ones.

        `after` then returns None, which takes longer.
        """
        return status_code != _TOO_MANY_REQUESTS and self._rises_at == math.inf and NAMES.isdisjoint(fields)

    def after(
        self, status_code: int, fields: Mapping[bytes, bytes], now: float, retry_after_s: float | None = None
    ) -> Slow | None:
        """Return how to slow down after a response; None if nothing changes.

        Args:
            status_code: Its status.
            fields: Its headers by their lowercase names, with the values of one name joined by commas.
            now: The time of a monotonic clock, in seconds.
            retry_after_s: The seconds that its `Retry-After` asks to wait; None without one.
        """
        is_refusal = status_code == _TOO_MANY_REQUESTS
        speaks = not NAMES.isdisjoint(fields)
        if not speaks and not is_refusal and now < self._rises_at:
            return None
        quotas, policies = read_limits(fields, self._wall_clock()) if speaks else ([], [])
        resets = [quota.reset_s for quota in quotas if quota.remaining < 1 and quota.reset_s > RESOLUTION_S]
        pause_s = max(resets, default=0.0)
        if is_refusal:
            pause_s = retry_after_s if retry_after_s is not None else pause_s or REFUSED_PAUSE_S
        pause_s = self._news_of_pause(min(pause_s, LONGEST_PAUSE_S), now)
        rate = self._rate(quotas, policies)
        if rate is None:
            return _slow(pause_s, self._share_after(now, is_refusal=is_refusal), HOLD_S)
        return _slow(pause_s, self._news_of_rate(rate, now), LEARNED_S)

    def _rate(self, quotas: list[Quota], policies: list[Policy]) -> float | None:
        """Return the rate that headers ask for; None if the client's own limit is lower."""
        rates = [
            max(quota.remaining / quota.reset_s, quota.long_run)
            for quota in quotas
            if quota.reset_s >= SHORTEST_RESET_S and 1 <= quota.remaining < self._per_second * SPREAD_S
        ]
        rates += [policy.per_second for policy in policies if policy.window_s <= SPREAD_S]
        lowest = min(rates, default=math.inf)
        return lowest if lowest < self._per_second else None

    def _share_after(self, now: float, *, is_refusal: bool) -> float | None:
        """Return the rate after a refusal, or after some time without one; None if it does not change."""
        if is_refusal and now >= self._lowered_at + _SETTLE_S:
            is_soon = now < self._lowered_at + RECOVER_S
            self._share = max(self._share * (HARD if is_soon else MILD), LEAST_SHARE)
            self._lowered_at, self._rises_at = now, now + RECOVER_S
        elif not is_refusal and now >= self._rises_at:
            # Once it has lapsed, others may have sent at the whole rate, and must not be slowed again.
            has_lapsed = now >= self._rises_at - RECOVER_S + HOLD_S
            self._share = 1.0 if has_lapsed else min(self._share / MILD, 1.0)
            self._rises_at = now + RECOVER_S if self._share < 1 else math.inf
        else:
            return None
        return self._per_second * self._share if self._share < 1 else None

    def _news_of_rate(self, rate: float, now: float) -> float | None:
        if now < self._renews_at and rate >= _SAME_RATE * self._last_rate:
            return None
        self._last_rate, self._renews_at = rate, now + LEARNED_S / 2
        return rate

    def _news_of_pause(self, pause_s: float, now: float) -> float:
        if now + pause_s <= self._paused_until + _SAME_PAUSE_S:
            return 0.0
        self._paused_until = now + pause_s
        return pause_s


def _slow(pause_s: float, per_second: float | None, for_s: float) -> Slow | None:
    if per_second is None:
        return Slow(pause_s, None, 0.0) if pause_s else None
    return Slow(pause_s, per_second, for_s)
