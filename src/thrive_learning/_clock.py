"""The clocks. Pure.

Durations and time limits count by a monotonic clock that is always the real one. freezegun would stop it, and
then no wait would ever end; time-machine leaves it alone. Dates, such as the expiry of a token, come from
`time.time` and `datetime.now`, which both tools may move, because users of these tools expect that.
"""

import functools
import sys
import time
from collections.abc import Callable

# freezegun may be at work when this is imported, and keeps the real function. It replaces functions of `time`
# in all modules, but not what holds one of them.
_held: tuple[Callable[[], float]] = (
    getattr(sys.modules.get("freezegun.api"), "real_monotonic", time.monotonic),
)

#: Return the seconds of a clock that never goes back.
monotonic: Callable[[], float] = functools.partial(_held[0])


def wall_time() -> float:
    """Return the seconds since 1970-01-01 UTC, which test tools may move."""
    return time.time()


def is_replaced() -> bool:
    """Return whether a test tool has replaced the clock by which event loops end their waits."""
    return time.monotonic is not _held[0]
