"""Keeps tokens and rate limits in the memory of the scheduler, for all workers of a cluster without Redis.

Each operation is one message to the scheduler. See docs/decisions/0041-dask.md.
"""

import asyncio
import pickle
from collections.abc import Callable
from typing import Any

from distributed.diagnostics.plugin import SchedulerPlugin, WorkerPlugin
from distributed.protocol.serialize import ToPickle
from distributed.utils import sync

from thrive_learning.token_stores import MemoryTokenStore, StoredToken

#: The name of the plugin and of the message.
NAME = "thrive_learning_store"

#: The time limit of one message, in seconds.
_TIMEOUT_S = 5.0


class SealedText:
    """Text that distributed does not show when it logs messages."""

    def __init__(self, text: str) -> None:
        self.text: str = text

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class StoreKeeper(SchedulerPlugin):
    """Carries out the operations of the workers in the scheduler, one at a time."""

    name: str = NAME

    def __init__(self) -> None:
        # Not in an attribute with a public name, because dumps of the cluster's state show those.
        self._store = MemoryTokenStore()
        self._locks: dict[int, tuple[str, Callable[[], object]]] = {}
        self._number = 0

    async def start(self, scheduler: Any) -> None:
        """Accept messages from now on."""
        scheduler.handlers[NAME] = self.carry_out

    def carry_out(self, operation: str, key: str, worker: str, **arguments: Any) -> Any:
        """Carry out one operation, and return its result in a form that can be sent."""
        match operation:
            case "load":
                token = self._store.load(key)
                return None if token is None else ToPickle(SealedText(token.to_json()))
            case "save":
                return self._store.save(key, StoredToken.from_json(arguments["token"].text))
            case "forget":
                return self._store.forget(key, arguments["value"].text)
            case "lock":
                return self._lock(key, worker, arguments["lease_s"])
            case "release":
                return self._release(arguments["number"])
            case _:
                return getattr(self._store, operation)(key, **arguments)

    def _lock(self, key: str, worker: str, lease_s: float) -> int | None:
        release = self._store.try_lock(key, lease_s)
        if release is None:
            return None
        self._number += 1
        self._locks[self._number] = worker, release
        return self._number

    def _release(self, number: int) -> None:
        _, release = self._locks.pop(number, ("", None))
        if release is not None:
            release()

    def remove_worker(self, scheduler: Any, worker: str, **_others: Any) -> None:
        """Release the locks of a worker that has left, so that the others need not wait for the lease."""
        del scheduler
        for number, (owner, _) in [*self._locks.items()]:
            if owner == worker:
                self._release(number)


class SchedulerTokenStore:
    """Tokens and rate limits in the memory of the scheduler of this worker.

    Each worker creates its own.

    Args:
        worker: The worker that this process or thread belongs to.
    """

    def __init__(self, worker: Any) -> None:
        self._worker = worker
        self._call_scheduler(
            "register_scheduler_plugin", plugin=pickle.dumps(StoreKeeper()), name=NAME, idempotent=True
        )

    def load(self, key: str) -> StoredToken | None:
        """Return the token of a key."""
        found = self._ask("load", key)
        return None if found is None else StoredToken.from_json(found.text)

    def save(self, key: str, token: StoredToken) -> None:
        """Save a token."""
        self._ask("save", key, token=ToPickle(SealedText(token.to_json())))

    def forget(self, key: str, value: str) -> None:
        """Remove a token, unless another has replaced it."""
        self._ask("forget", key, value=ToPickle(SealedText(value)))

    def try_lock(self, key: str, lease_s: float) -> Callable[[], object] | None:
        """Take the lock of a key, unless it is taken. It is released when this worker leaves the cluster."""
        number = self._ask("lock", key, lease_s=lease_s)
        return None if number is None else lambda: self._ask("release", key, number=number)

    def take(self, key: str, *, per_second: float, burst: float, longest_wait_s: float) -> float:
        """Reserve the next request. See `RateLimitStore`."""
        seconds: float = self._ask(
            "take", key, per_second=per_second, burst=burst, longest_wait_s=longest_wait_s
        )
        return seconds

    def slow(
        self, key: str, *, pause_s: float = 0.0, per_second: float | None = None, for_s: float = 0.0
    ) -> None:
        """Apply a pause or a lower rate. See `RateLimitStore`."""
        self._ask("slow", key, pause_s=pause_s, per_second=per_second, for_s=for_s)

    def _ask(self, operation: str, key: str, **arguments: Any) -> Any:
        return self._call_scheduler(
            NAME, operation=operation, key=key, worker=self._worker.address, **arguments
        )

    def _call_scheduler(self, message: str, **arguments: Any) -> Any:
        call = getattr(self._worker.scheduler, message)
        return sync(self._worker.loop, call, callback_timeout=_TIMEOUT_S, **arguments)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class _End(WorkerPlugin):
    """Runs a function when a worker ends."""

    name: str = "thrive_learning_end"

    def __init__(self, worker: str, at_end: Callable[[str], object]) -> None:
        self._worker = worker
        self._at_end = at_end

    async def teardown(self, worker: Any) -> None:
        """Run the function in a thread, because it may wait for a task of this worker."""
        del worker
        await asyncio.to_thread(self._at_end, self._worker)


def run_at_end(worker: Any, at_end: Callable[[str], object]) -> None:
    """Run a function with the address of a worker when the worker ends."""
    if _End.name not in worker.plugins:
        plugin = _End(worker.address, at_end)
        sync(worker.loop, worker.plugin_add, plugin=plugin, name=_End.name, callback_timeout=_TIMEOUT_S)
