"""Decides when a bulk run asks for its next slot under the client's rate limit. Pure.

A run waits in line like one call, whatever the number of its requests in flight. It asks for a permit for its
next request before that request begins, so no time limit of an item includes the wait.

It uses no clock. `now` is the time of the caller's clock, in seconds.
"""

import math

#: How many items are read ahead while the rate limit holds the run up.
READ_AHEAD = 16

#: How soon the time limit of an item that waits for a permit is checked again, in seconds.
CHECK_AGAIN_S = 0.1


class Permits:
    """The permits of a run: at most one that has not been used.

    Args:
        is_limited: Whether the client has a rate limit. Without one, there is always a permit.

    Attributes:
        refused: Whether the run ends before the next permit.
    """

    def __init__(self, *, is_limited: bool) -> None:
        self.is_limited: bool = is_limited
        self.refused: bool = False
        self._waited_s: float | None = None  # of the permit that has not been used
        self._is_asking = False
        self._held_s = 0.0
        self._held_since = math.inf

    @property
    def is_ready(self) -> bool:
        """Whether a request may begin."""
        return not self.is_limited or self._waited_s is not None

    @property
    def may_ask(self) -> bool:
        """Whether the run must ask for a permit, and does not yet."""
        return self.is_limited and self._waited_s is None and not self._is_asking and not self.refused

    def ask(self, now: float) -> None:
        """Record that the run waits in line."""
        self._is_asking, self._held_since = True, now

    def answer(self, waited_s: float | None, now: float) -> None:
        """Record the permit, or None if none comes before the run ends."""
        self._held_s, self._held_since = self.held_s(now), math.inf
        self._is_asking, self.refused, self._waited_s = False, waited_s is None, waited_s

    def use(self) -> float | None:
        """Use the permit. Return how long the run waited for it, in seconds; None without a rate limit."""
        waited_s, self._waited_s = self._waited_s, None
        return waited_s

    def pause(self, until: float, now: float) -> None:
        """Record that the run pauses for another reason, so that only later waits count as held up."""
        if self._is_asking:
            self._held_s = self.held_s(now)
            self._held_since = max(until, now, self._held_since)

    def held_s(self, now: float) -> float:
        """Return how long the rate limit alone has held up the run so far, in seconds."""
        return self._held_s + max(now - self._held_since, 0.0)
