"""Decides which request under a rate limit is next, in the order in which they come, without waiting.

The first request in line has the next reservation, and the others wait behind it, so a client has at most one
reserved slot that it has not used. A request that gives up passes its slot to the next one. No lock is held,
because a forked child would inherit it. A request whose thread or task is lost is dropped from the line.
"""

import contextlib
import math
import os
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol

from thrive_learning._clock import monotonic
from thrive_learning._limits.reservations import Reservations
from thrive_learning._limits.server_limits import ServerLimits

#: How often a request looks whether those before it were lost, in seconds.
LOOK_AGAIN_AFTER_S = 5.0

#: A request that does not use its slot for this long is lost, such as when its event loop was stopped, in
#: seconds.
LOST_AFTER_S = 5.0

#: A slot that is at most this much later than the next one is the next one. Seconds.
_SAME_SLOT_S = 1e-3

#: A pause that ends at most this much later than the known one is the same pause. Seconds.
_SAME_PAUSE_S = 0.05

#: The step of a turn that reserves a slot.
RESERVE: Final = -1.0


class TooLong(NamedTuple):
    """The request cannot be sent in time. Nothing is reserved.

    Attributes:
        wait_s: The seconds of its wait, or more.
        left_s: The seconds that it could have waited.
    """

    wait_s: float
    left_s: float


class Place(Protocol):
    """Where a thread or task waits in line."""

    def cut(self) -> object:
        """Wake it, from any thread."""
        ...


class Patience(Protocol):
    """How long a request can wait: the budget of its call.

    Attributes:
        connection: The place where the request waits, which another thread may `cut`; see `Budget`.
    """

    connection: Any

    def remaining(self) -> float:
        """Return the remaining seconds; 0 or less at the end."""
        ...


class LimitTurn:
    """The wait of one request.

    Args:
        limiter: The limiter.
        patience: How long the request can wait.
        place: Wakes the thread or task of the request.

    Attributes:
        outcome: The seconds that it waited, or why it cannot be sent; None as long as it waits.
    """

    __slots__ = (
        *("__weakref__", "_asks_at", "_began", "_due", "_ends_at", "_epoch", "_limiter", "_line", "_news"),
        *("_patience", "_ref", "outcome", "place"),
    )

    def __init__(self, limiter: "Limiter", patience: Patience, place: Place) -> None:
        self.outcome: float | TooLong | None = None
        self.place: Place = place
        self._limiter = limiter
        self._patience = patience
        self._began = limiter.clock()
        self._ends_at = self._began + patience.remaining()
        self._due: float | None = None
        self._asks_at = -math.inf  # when it reserves a slot, if it has none
        self._epoch = self._news = -1
        self._line = limiter.line()
        self._ref: weakref.ref[LimitTurn] = weakref.ref(self)

    def begin(self) -> None:
        """Join the line. Call `end` afterwards, whatever happens."""
        self._patience.connection = self.place
        self._line.append(self._ref)

    def step(self) -> float | None:
        """Return the seconds to wait before the next step, RESERVE, or None if there is an outcome."""
        limiter, now, left_s = self._limiter, self._limiter.clock(), self._patience.remaining()
        if self._due is not None and self._epoch != limiter.epoch:
            self._due = None  # a pause has begun since the slot was reserved
            if self._ref not in list(self._line):  # it was taken for lost
                self._line.append(self._ref)
        wait_s = LOOK_AGAIN_AFTER_S
        if self.outcome is not None:
            pass
        elif self._due is not None and now >= self._due:
            self.outcome = now - self._began
        elif limiter.closed or left_s <= 0:
            self.outcome = TooLong(0.0, 0.0)
        elif self._due is None and limiter.first(self._line) is not self:
            self._wait_behind(now, left_s)
        else:
            if self._due is None:
                self._due, self._epoch = limiter.spare_slot(now), limiter.epoch
            tries_again_at = limiter.tries_again_at
            goes_on_at = self._asks_at if self._due is None else self._due
            if now >= min(goes_on_at, tries_again_at):
                return RESERVE
            wait_s = min(goes_on_at, tries_again_at) - now
            if wait_s > left_s:
                self.outcome = TooLong(goes_on_at - now, left_s)
        return None if self.outcome is not None else min(wait_s, left_s)

    def _wait_behind(self, now: float, left_s: float) -> None:
        if self._news != self._limiter.news:
            self._news = self._limiter.news
            wait_s = self._least_wait_s(now)
            if wait_s > left_s:
                self.outcome = TooLong(wait_s, left_s)

    def _least_wait_s(self, now: float) -> float:
        """Return the seconds that the request waits at least, as far as this process knows."""
        return self._limiter.not_before(self._count_before(), now) - now

    def _count_before(self) -> int:
        line = self._line
        if line and line[-1] is self._ref:  # thousands may join at once, and need not look for their places
            return len(line) - 1
        refs = list(line)
        return refs.index(self._ref) if self._ref in refs else 0  # it may have been taken for lost

    @property
    def longest_s(self) -> float:
        """The seconds that it can still wait."""
        return max(self._patience.remaining(), 0.0)

    def reserved(self, wait_s: float | None, longest_s: float) -> None:
        """Record what the store answered; None without an answer.

        Without one, the request reserves a slot in memory, unless it has one from before. If that is too
        late, it waits until the store is asked again, because the slots of the store may be earlier.
        """
        if wait_s is None:
            if self._due is not None or self._patience.remaining() <= 0:
                return
            wait_s = self._limiter.reservations.take_here(longest_s)
        if wait_s > longest_s:
            self._asks_at = self._limiter.tries_again_at
            if self._asks_at >= self._ends_at:
                self.outcome = TooLong(wait_s, longest_s)
            return
        now = self._limiter.clock()
        self._due = now + wait_s
        if wait_s > 0:
            self._limiter.is_reserved(self._due, now)

    def look_again(self, before: int, now: float) -> None:
        """Wake it if it has a slot, which may be void, or if it can no longer be sent in time.

        Args:
            before: How many requests are before it.
            now: The time.
        """
        limiter = self._limiter
        if self._due is not None or limiter.closed or limiter.not_before(before, now) > self._ends_at:
            self.place.cut()
        else:
            self._news = limiter.news

    def is_lost(self, now: float) -> bool:
        """Return whether it should have ended long ago, so that the thread or task of the request is lost."""
        ends_at = self._ends_at if self._due is None else min(self._due, self._ends_at)
        return now > ends_at + LOST_AFTER_S

    def end(self) -> None:
        """Leave the line, and wake the next one. A reserved slot that is not used goes to the next one."""
        limiter = self._limiter
        if self._due is not None and not isinstance(self.outcome, float) and self._epoch == limiter.epoch:
            limiter.spare_at = self._due
        with contextlib.suppress(ValueError):  # it was taken for lost
            self._line.remove(self._ref)
        self._patience.connection = None
        following = limiter.first(self._line)
        if following is not None:
            following.place.cut()


class Limiter:
    """The line of one client, and the decisions that sync and async code share.

    Args:
        reservations: Where slots are reserved.
        clock: A monotonic clock in seconds.

    Attributes:
        closed: Whether the client is closed.
        epoch: The number of pauses that have made reserved slots void.
        server: What responses say of the server's limit.
        news: Changes when requests in line must look again whether they can be sent in time.
        spare_at: The time of a reserved slot whose request gave up.
    """

    def __init__(self, reservations: Reservations, clock: Callable[[], float] = monotonic) -> None:
        self.clock: Callable[[], float] = clock
        self.closed: bool = False
        self.epoch: int = 0
        self.news: int = 0
        self.spare_at: float = -math.inf
        self.reservations: Reservations = reservations
        self._take_now = reservations.take_now
        self.server: ServerLimits
        reservations.on_switch = self._switched
        self._line: deque[weakref.ref[LimitTurn]] = deque()
        self._process = os.getpid()
        self._paused_until = -math.inf
        self._reserved_until: float  # the last reserved slot, unless it was free at once
        self._switched()

    def line(self) -> "deque[weakref.ref[LimitTurn]]":
        """Return the requests of this process in the order in which they came."""
        if os.getpid() != self._process:  # a forked child, without the threads of its parent
            self._line, self._process = deque(), os.getpid()
        return self._line

    def _switched(self) -> None:
        """Forget what applies only with the store, or only without it."""
        self._reserved_until = -math.inf
        # The share of the limit that one process finds alone, while a store fails, would stall all others.
        self.server = ServerLimits(self.reservations.limit.per_second)

    def goes_at_once(self) -> bool:
        """Return whether a request may be sent now, because no other one waits, and count it.

        False with a store, which may block.
        """
        return not self._line and self._take_now()

    def first(self, line: "deque[weakref.ref[LimitTurn]]") -> LimitTurn | None:
        """Return the first request in a line. Drop those that are lost."""
        while True:
            try:
                ref = line[0]
            except IndexError:
                return None
            turn = ref()
            if turn is not None and not turn.is_lost(self.clock()):
                return turn
            with contextlib.suppress(ValueError):  # another thread was faster
                line.remove(ref)

    def spare_slot(self, now: float) -> float | None:
        """Return the time of a reserved slot whose request gave up, if it has not passed."""
        spare_at, self.spare_at = self.spare_at, -math.inf
        return spare_at if spare_at > now else None

    @property
    def tries_again_at(self) -> float:
        """When the store is asked again after a failure; infinity if it works."""
        # It may not know of a pause that has begun since it failed.
        return max(self.reservations.tries_again_at, self._paused_until)

    def not_before(self, before: int, now: float) -> float:
        """Return the earliest time at which a request behind so many others may be sent."""
        # When a store that fails is asked again, its slots may be earlier than the reserved one.
        reserved_until = min(self._reserved_until, self.tries_again_at)
        slot = reserved_until + before / self.reservations.limit.per_second
        return max(now, self._paused_until, slot)

    def is_reserved(self, due: float, now: float) -> None:
        """Record that a slot in the future was reserved."""
        expected_at = self._reserved_until + 1 / self.reservations.limit.per_second
        self._reserved_until = due
        if due > expected_at + _SAME_SLOT_S:  # after a quiet time, or others have taken slots
            self._tell(now)

    def _tell(self, now: float) -> None:
        """Let the requests in line look again, but wake only those that must do something."""
        self.news += 1
        for before, ref in enumerate(list(self._line)):
            turn = ref()
            if turn is not None:
                turn.look_again(before, now)

    def paused(self, pause_s: float) -> None:
        """Record a pause, or none, that has been passed to the store. Slots within it are void."""
        now = self.clock()
        until = now + pause_s
        if pause_s > 0 and until > self._paused_until + _SAME_PAUSE_S:
            self._paused_until = until
            self.epoch += 1
            self.spare_at = -math.inf
            self._tell(now)

    @property
    def is_paused(self) -> bool:
        """Whether the server has asked this process for a pause that is not over."""
        return self._paused_until > self.clock()

    def close(self) -> None:
        """End all waits."""
        self.closed = True
        self._tell(self.clock())
