"""Rate limits in the memory of a process."""

import os
import threading
from collections.abc import Callable

from thrive_learning._clock import monotonic
from thrive_learning._limits import bucket


class MemoryLimits:
    """The methods of `RateLimitStore`, for all threads of a process. A forked child continues with a copy.

    Args:
        clock: Returns the seconds of a monotonic clock.
        like: Other limits, of which a copy is used; None to begin without any.
    """

    def __init__(self, clock: Callable[[], float] = monotonic, like: "MemoryLimits | None" = None) -> None:
        self._clock = clock
        # Plain tuples, because creating a `BucketState` takes three times as long.
        self._states: dict[str, tuple[float, float, tuple[bucket.Step, ...]]] = {}
        if like is not None:
            with _lock:
                self._states.update(like._states)  # noqa: SLF001 - of the same class

    def take(self, key: str, *, per_second: float, burst: float, longest_wait_s: float) -> float:
        """Reserve the next request, unless its time is too late."""
        with _lock:
            wait_s, state = bucket.take(
                self._state(key),
                self._clock(),
                per_second=per_second,
                burst=burst,
                longest_wait_s=longest_wait_s,
            )
            if state is not None:
                self._states[key] = state
        return wait_s

    def reserver(self, key: str, *, per_second: float, burst: float) -> Callable[[], bool]:
        """Return a function that reserves the next request if it may be sent now.

        It is what `take` does without a wait, for half of the instructions.
        """
        states, clock = self._states, self._clock
        interval_s, early_s = 1 / per_second, (burst - 1) / per_second

        def reserve() -> bool:
            with _lock:
                state, now = states.get(key), clock()
                if state is None or state[2] or state[1] > now + early_s:  # [2] are the steps
                    return self.take(key, per_second=per_second, burst=burst, longest_wait_s=0.0) == 0
                free_at = state[1]
                if free_at < now:  # noqa: PLR1730 - `max` is slower
                    free_at = now
                states[key] = now, free_at + interval_s, ()
            return True

        return reserve

    def _state(self, key: str) -> bucket.BucketState | None:
        found = self._states.get(key)
        return None if found is None else bucket.BucketState(*found)

    def slow(
        self, key: str, *, pause_s: float = 0.0, per_second: float | None = None, for_s: float = 0.0
    ) -> None:
        """Apply a pause or a lower rate."""
        with _lock:
            self._states[key] = bucket.slow(
                self._state(key), self._clock(), pause_s=pause_s, per_second=per_second, for_s=for_s
            )


# One lock for all, because it is held for microseconds. A signal handler may make a call while its thread
# holds it.
_lock = threading.RLock()


def _after_fork() -> None:
    """Replace the lock in a forked child, because a thread that it does not have may hold it."""
    global _lock  # noqa: PLW0603
    _lock = threading.RLock()


# Without fork there is nothing to register, and dict() accepts the keyword silently.
_register: Callable[..., object] = getattr(os, "register_at_fork", dict)
_register(after_in_child=_after_fork)
