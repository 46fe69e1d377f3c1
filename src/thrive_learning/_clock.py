"""The clocks. Pure.

Durations and time limits use a monotonic clock that is always real. freezegun would stop it, and no wait
would end; time-machine has left it alone since version 3. Dates, such as the expiry of a token, come from
`time.time` and `datetime.now`, which both tools may move, because their users expect that.
"""

import functools
import sys
import time
from collections.abc import Callable

# freezegun may be active during this import, and keeps the real functions. It replaces functions of `time` in
# all modules, but not inside containers.
_held: tuple[Callable[[], float]] = (
    getattr(sys.modules.get("freezegun.api"), "real_monotonic", time.monotonic),
)

#: Return the seconds of a monotonic clock.
monotonic: Callable[[], float] = functools.partial(_held[0])


def wall_time() -> float:
    """Return the seconds since 1970-01-01 UTC, which test tools may move."""
    return time.time()


def is_replaced() -> bool:
    """Return whether a test tool has replaced the clock that event loops use for timeouts."""
    return time.monotonic is not _held[0]
