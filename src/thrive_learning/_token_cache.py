"""When a token is fresh, and which of many callers fetches the next one.

The cache decides under a lock that is never held while anybody waits. The caller that it names the leader
mints; the others wait for the leader's `Flight`, each until its own deadline. Threads and event loops may be
mixed.
"""

import contextlib
import copy
import sys
import threading
import time
from collections.abc import Callable, Hashable
from typing import NamedTuple

import anyio

from thrive_learning.errors import ThriveError
from thrive_learning.models import AccessToken

#: A token is renewed this long before it expires, but never more than half its life early. Seconds.
RENEW_BEFORE_EXPIRY_S = 300.0


class Minted(NamedTuple):
    """A new token.

    Attributes:
        token: The token.
        lifetime_s: For how long the server said that it is valid, in seconds.
        requested_at: When its request was sent, by the cache's clock: its life is counted from there.
    """

    token: AccessToken
    lifetime_s: float
    requested_at: float


class Flight:
    """One token request that is under way, which any number of callers wait for."""

    __slots__ = ("_callbacks", "_lock", "_outcome")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._outcome: AccessToken | ThriveError | None = None
        self._callbacks: list[Callable[[], object]] | None = []  # None once it is settled

    def settle(self, outcome: AccessToken | ThriveError | None) -> None:
        """Let the waiters go on: with a token, an error, or None for a leader that gave up."""
        with self._lock:
            self._outcome = outcome
            callbacks, self._callbacks = self._callbacks or [], None
        for callback in callbacks:
            callback()

    def outcome(self) -> AccessToken | None:
        """Give the token of a settled flight, or None if its leader gave up and another caller has to lead.

        Raises:
            ThriveError: The token request failed; each caller gets an error of its own.
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
        """Wait in a thread; False when the time is up first."""
        settled = threading.Event()
        self._when_settled(settled.set)
        return settled.wait(max(timeout_s, 0.0))

    async def wait_async(self) -> None:
        """Wait in an event loop, whichever thread or loop settles the flight. A cancel scope may end it."""
        settled = anyio.Event()
        self._when_settled(_from_any_thread(settled.set))
        await settled.wait()


def _from_any_thread(callback: Callable[[], object]) -> Callable[[], object]:
    """Give a function that runs the callback in the event loop that this is called in."""
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_run():
        token = trio.lowlevel.current_trio_token()
        schedule, gone = token.run_sync_soon, trio.RunFinishedError
    else:
        import asyncio  # noqa: PLC0415 - whoever is here has it loaded; those who are not need not pay for it

        schedule, gone = asyncio.get_running_loop().call_soon_threadsafe, RuntimeError

    def run_soon() -> None:
        with contextlib.suppress(gone):  # a loop that has ended has no waiters any more
            schedule(callback)

    return run_soon


class _Slot:
    __slots__ = ("flight", "renew_at", "token")

    def __init__(self) -> None:
        self.token: AccessToken | None = None
        self.renew_at = 0.0
        self.flight: Flight | None = None


class Lead(NamedTuple):
    """The caller has to mint: it settles the flight, whatever happens."""

    flight: Flight


class TokenCache:
    """The tokens of one client, by what they are for.

    Args:
        clock: A clock in seconds that never goes back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._lock = threading.Lock()
        self._slots: dict[Hashable, _Slot] = {}
        self.clock: Callable[[], float] = clock

    def claim(self, key: Hashable) -> AccessToken | Flight | Lead:
        """Give the fresh token, or the flight to wait for, or the lead to take."""
        with self._lock:
            slot = self._slots.setdefault(key, _Slot())
            if slot.token is not None and self.clock() < slot.renew_at:
                return slot.token
            if slot.flight is not None:
                return slot.flight
            slot.flight = Flight()
            return Lead(slot.flight)

    def settle(self, key: Hashable, flight: Flight, outcome: Minted | ThriveError | None) -> None:
        """End a flight: with a token, which is kept; an error; or None if its leader gave up."""
        with self._lock:
            slot = self._slots[key]
            slot.flight = None
            if isinstance(outcome, Minted):
                slot.token = outcome.token
                early = min(RENEW_BEFORE_EXPIRY_S, outcome.lifetime_s / 2)
                slot.renew_at = outcome.requested_at + outcome.lifetime_s - early
        flight.settle(outcome.token if isinstance(outcome, Minted) else outcome)
