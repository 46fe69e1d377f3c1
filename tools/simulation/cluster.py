"""Workers that read parts, and a scheduler that gives the parts of lost workers to others."""

import collections
from collections.abc import Awaitable, Callable

import anyio

from thrive_learning import AsyncThriveClient, ThriveError
from thrive_learning._cluster.reading import Part
from tools.simulation.server import Network

#: How long the scheduler hears nothing of a worker before it gives its part to another one, in seconds.
HEARTBEAT_S = 10.0


class Worker:
    """A machine that reads one part at a time.

    Args:
        client: Its client.
        network: The client's network.
    """

    def __init__(self, client: AsyncThriveClient, network: Network) -> None:
        self.client = client
        self.network = network
        self.scope = anyio.CancelScope()


#: Reads a part with a worker's client, and returns the IDs of its records.
Read = Callable[[AsyncThriveClient, Part], Awaitable[tuple[str, ...]]]


class Scheduler:
    """Gives each part to a worker, and gives it again if it was not read.

    Args:
        parts: The parts.
        read: Reads a part.
        now: Returns the seconds since the start.

    Attributes:
        results: The IDs of the records of each part that was read.
        given: How often a part was given to a worker.
        failures: The errors of parts, which are given again.
        lost: The number of workers that were lost.
        emptied_at: When the last part was given to a worker for the first time.
    """

    def __init__(self, parts: list[Part], read: Read, now: Callable[[], float]) -> None:
        self._waiting = collections.deque(parts)
        self._count = len(parts)
        self._read = read
        self._now = now
        self._working: dict[Worker, Part] = {}
        self._changed = anyio.Event()
        self.results: dict[Part, tuple[str, ...]] = {}
        self.given = 0
        self.failures: list[ThriveError] = []
        self.lost = 0
        self.emptied_at = 0.0

    async def work(self, worker: Worker) -> None:
        """Read parts with one worker, until all are read."""
        with worker.scope:
            while len(self.results) < self._count:
                if not self._waiting:
                    await self._changed.wait()
                    continue
                part = self._working[worker] = self._waiting.popleft()
                self.given += 1
                if not self._waiting:
                    self.emptied_at = self.emptied_at or self._now()
                try:
                    self.results[part] = await self._read(worker.client, part)
                except ThriveError as error:
                    self.failures.append(error)
                    self._waiting.append(part)
                del self._working[worker]
                self._tell()

    async def lose(self, worker: Worker, after_s: float) -> None:
        """Let a worker lose its power after some seconds, and notice it later."""
        await anyio.sleep(after_s)
        worker.network.is_lost = True
        await anyio.sleep(HEARTBEAT_S)
        self.lost += 1
        worker.scope.cancel()
        part = self._working.pop(worker, None)
        if part is not None:
            self._waiting.append(part)
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()
