"""Decides when a token is fresh, and which of many callers requests the next one.

The cache decides under a lock that is never held during a wait. The caller that it names the leader requests
the token. The others wait for the leader's `Flight`, each until its own deadline. Threads and event loops may
be mixed. A failure is remembered for a while, during which no caller requests another token.
"""

import copy
import math
import os
import random
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from thrive_learning._auth.outcomes import PAUSE_S, Failure, Key, Minted
from thrive_learning._clock import monotonic
from thrive_learning._loops import from_any_thread
from thrive_learning.credentials import Secret
from thrive_learning.errors import ThriveError
from thrive_learning.models import AccessToken

if TYPE_CHECKING:
    from thrive_learning.regions import Service

#: Before a token expires, one caller renews it, this early minus up to the jitter, while the others continue
#: to use it. In its last seconds all callers wait for the new one. Neither is earlier than half of its
#: lifetime.
RENEW_BEFORE_EXPIRY_S, RENEW_JITTER_S, WAIT_BEFORE_EXPIRY_S = 300.0, 60.0, 30.0


class Remembered:
    """A remembered failure. No token is requested until it is forgotten.

    Args:
        failure: The failure.
        since: When it happened, by the cache's clock.
        until: When it is forgotten.
    """

    __slots__ = ("_clock", "failure", "since", "until")

    def __init__(self, failure: Failure, clock: Callable[[], float], pause_s: float) -> None:
        self.failure: Failure = failure
        self._clock = clock
        self.since: float = clock()
        self.until: float = self.since + pause_s

    def error(self) -> ThriveError:
        """Return an error for another caller, which states that it is remembered and for how much longer."""
        now = self._clock()
        wait_s = max(math.ceil(self.until - now), 1)
        error = copy.copy(self.failure.error)
        since_s = now - self.since
        error.args = (
            f"{error} This was {since_s:.0f} s ago, and no token is requested for another {wait_s} s.",
        )
        error.history = ()  # nothing was sent for this caller
        error.retry_after = float(wait_s)
        return error


class Flight:
    """One token request in flight, for which any number of callers wait.

    Args:
        ends_at: When its leader's time ends, by the cache's clock. A leader that has not settled it by then
            never will, such as when its event loop was stopped.
        thread: The thread that its leader occupies; None for a task.
    """

    __slots__ = ("_callbacks", "_lock", "_outcome", "ends_at", "thread")

    def __init__(self, ends_at: float = math.inf, thread: int | None = None) -> None:
        self.ends_at: float = ends_at
        self.thread: int | None = thread
        self._lock = threading.RLock()
        self._outcome: AccessToken | ThriveError | None = None
        self._callbacks: list[Callable[[], object]] | None = []  # None once it is settled

    def settle(self, outcome: AccessToken | ThriveError | None) -> None:
        """Wake the waiting callers with a token, an error, or None if the leader gave up."""
        with self._lock:
            self._outcome = outcome
            callbacks, self._callbacks = self._callbacks or [], None
        for callback in callbacks:
            callback()

    def outcome(self) -> AccessToken | None:
        """Return the token of a settled flight, or None if its leader gave up and another caller must lead.

        Raises:
            ThriveError: The token request failed. Each caller gets its own error.
        """
        if isinstance(self._outcome, ThriveError):
            raise copy.copy(self._outcome)
        return self._outcome

    def _when_settled(self, callback: Callable[[], object]) -> None:
        with self._lock:
            if self._callbacks is not None:
                self._callbacks.append(callback)
                return
        callback()

    def wait(self, timeout_s: float) -> bool:
        """Wait in a thread. Return False if the time ends first."""
        settled = threading.Event()
        self._when_settled(settled.set)
        return settled.wait(min(max(timeout_s, 0.0), threading.TIMEOUT_MAX))

    async def wait_async(self, timeout_s: float = math.inf) -> None:
        """Wait in an event loop, no matter which thread or loop settles the flight."""
        import anyio  # noqa: PLC0415 - not needed by sync code

        settled = anyio.Event()
        self._when_settled(from_any_thread(settled.set))
        with anyio.move_on_after(timeout_s):
            await settled.wait()


class Lead(NamedTuple):
    """The caller must request a token, and must settle the flight in any case.

    Attributes:
        flight: The flight that the others wait for.
        fallback: A token that is valid a little longer, in case the request fails; None without one.
    """

    flight: Flight
    fallback: AccessToken | None


class _Slot:
    __slots__ = ("expires_at", "failure", "flight", "kept_at", "rejected", "renew_at", "replaces", "token")

    def __init__(self) -> None:
        self.token: AccessToken | None = None
        self.kept_at = 0.0
        self.renew_at = 0.0
        self.expires_at = 0.0
        self.flight: Flight | None = None
        self.failure: Remembered | None = None
        self.rejected = False  # the API rejected the last token
        self.replaces = False  # the current token replaces a rejected one


class SingleFlight:
    """The tokens of one client by kind, and the outcomes of its token requests.

    Args:
        clock: A monotonic clock in seconds.
        draw: Returns a random number from 0 to 1.
    """

    def __init__(
        self, clock: Callable[[], float] = monotonic, draw: Callable[[], float] = random.random
    ) -> None:
        # Reentrant, because the garbage collector may end an abandoned leader, which settles, during a claim.
        self._lock = threading.RLock()
        self._slots: dict[Key, _Slot] = {}
        self._failures: dict[Service, Remembered] = {}
        self.clock: Callable[[], float] = clock
        self.draw: Callable[[], float] = draw
        _caches.add(self)

    def claim(
        self, key: Key, time_s: float = math.inf, thread: int | None = None
    ) -> AccessToken | Flight | Lead | Remembered:
        """Return a valid token, the flight to wait for, the lead of a new flight, or a remembered failure.

        Args:
            key: The kind of token.
            time_s: The time of the caller in seconds, in case it becomes the leader.
            thread: The thread that the caller occupies; None for a task. A thread that claims is not
                requesting a token, so a flight that it leads is lost, such as after an exception of a signal
                handler.
        """
        with self._lock:
            slot = self._slots.setdefault(key, _Slot())
            now = self.clock()
            if slot.token is not None and now < slot.renew_at:
                return slot.token
            valid = slot.token if now < slot.expires_at else None
            if slot.flight is not None:
                if now < slot.flight.ends_at and (thread is None or slot.flight.thread != thread):
                    return valid or slot.flight
                slot.flight.settle(None)  # its leader is lost
            for failure in (slot.failure, self._failures.get(key.service)):
                if failure is not None and now < failure.until:
                    return valid or failure
            slot.flight = Flight(now + time_s, thread)
            return Lead(slot.flight, valid)

    def settle(self, key: Key, flight: Flight, outcome: Minted | Failure | None) -> None:
        """End a flight with a token, which is kept, with a failure, or with None if its leader gave up."""
        with self._lock:
            slot = self._slots[key]
            if slot.flight is flight:
                slot.flight = None
            now = self.clock()
            if isinstance(outcome, Minted):
                self._keep(key, slot, outcome)
            elif slot.token is not None and now < slot.expires_at:
                # The valid token remains in use, and no caller tries again at once.
                asked_s = 0.0 if outcome is None else outcome.pause_s or 0.0
                drawn_s = PAUSE_S * (0.8 + 0.4 * self.draw())
                pause_s = asked_s if asked_s > PAUSE_S else drawn_s
                slot.renew_at = min(now + pause_s, slot.expires_at)
                if outcome is not None and not outcome.is_transient:
                    # A renewal has one short attempt, so its transient failure says little to callers without
                    # a token.
                    self._remember(key, slot, outcome)
            elif outcome is not None:
                self._remember(key, slot, outcome)
        if isinstance(outcome, Minted):
            flight.settle(outcome.token)
        else:
            flight.settle(None if outcome is None else outcome.error)

    def _remember(self, key: Key, slot: _Slot, failure: Failure) -> None:
        if failure.pause_s is None:
            return
        remembered = Remembered(failure, self.clock, failure.pause_s)
        if failure.is_about_scopes:
            slot.failure = remembered
        else:
            self._failures[key.service] = remembered

    def _keep(self, key: Key, slot: _Slot, minted: Minted) -> None:
        half = minted.lifetime_s / 2
        end = minted.requested_at + minted.lifetime_s
        slot.token, slot.failure, slot.kept_at = minted.token, None, self.clock()
        slot.replaces, slot.rejected = slot.rejected, False
        self._failures.pop(key.service, None)
        # The jitter keeps clients that started together from renewing together forever.
        slot.renew_at = end - min(RENEW_BEFORE_EXPIRY_S - RENEW_JITTER_S * self.draw(), half)
        slot.expires_at = end - min(WAIT_BEFORE_EXPIRY_S, half)

    def renounce(
        self, key: Key, token: AccessToken, rejection: Failure, *, was_accepted: bool = False
    ) -> bool:
        """Drop a token that the API rejected, unless another one has already replaced it.

        If the token itself replaced a rejected one and the API never accepted it, the rejection is
        remembered, and no other token is requested.

        Args:
            key: The kind of token.
            token: The token.
            rejection: The error of callers while the rejection is remembered.
            was_accepted: Whether the API has accepted the token before.

        Returns:
            Whether the call may be repeated with another token.
        """
        with self._lock:
            slot = self._slots.setdefault(key, _Slot())
            now = self.clock()
            if slot.token is token:
                slot.token, slot.rejected = None, True
                slot.expires_at = 0.0
                if slot.replaces and not was_accepted and now - slot.kept_at < PAUSE_S:
                    slot.failure = Remembered(rejection, self.clock, PAUSE_S)
            return slot.token is not None or slot.failure is None or now >= slot.failure.until

    def forget_failures(self, *, but_of: Secret | None = None) -> None:
        """Forget the failures, except those of requests that were sent with this secret."""
        with self._lock:
            for service, held in list(self._failures.items()):
                if but_of is None or held.failure.secret != but_of:
                    del self._failures[service]
            for slot in self._slots.values():
                if slot.failure and (but_of is None or slot.failure.failure.secret != but_of):
                    slot.failure = None

    def after_fork(self) -> None:
        """Keep the tokens in a forked child, and drop the flights of the parent's other threads."""
        self._lock = threading.RLock()
        for slot in self._slots.values():
            slot.flight = None


_caches: "weakref.WeakSet[SingleFlight]" = weakref.WeakSet()


def _after_fork() -> None:
    for cache in list(_caches):
        cache.after_fork()


# Without fork there is nothing to register, and dict() accepts the keyword silently.
_register: Callable[..., object] = getattr(os, "register_at_fork", dict)
_register(after_in_child=_after_fork)
