"""Measure contenders relative to a unit, in interleaved pairs of batches in random order."""

import contextlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

from benchmarks.contenders import Contender
from benchmarks.figures import Pair, Progress, Row, paired_row

#: The duration of a batch. Shorter ones measure cold caches, longer ones changes of the machine's load.
_BATCH_CPU_S = 0.03
_CALIBRATION_CALLS = 50
_FEWEST_CALLS = 20


class Place(NamedTuple):
    """The environment of measured processes.

    Attributes:
        api_url: The API's URL on the fast server.
        environment: Their environment variables.
        shuffle: Decides the order of contenders.
        say: Shows progress.
    """

    api_url: str
    environment: Mapping[str, str]
    shuffle: random.Random
    say: Progress


def environment(peers: str = "") -> dict[str, str]:
    """Return the environment of every measured process, without proxies and settings of ours."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy") and not name.startswith(("THRIVE_", "PYTHONDONTWRITE"))
    }
    path = [part for part in (kept.get("PYTHONPATH", ""), peers) if part]
    return kept | {"PYTHONPATH": os.pathsep.join(path)}


class UnavailableError(Exception):
    """A contender is not available. The message says why."""


class Worker:
    """A contender in a separate process, which waits between its batches."""

    def __init__(self, group: str, contender: Contender, place: Place) -> None:
        self.contender = contender
        self.calls = _CALIBRATION_CALLS
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", group, contender.name, place.api_url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # the reason is JSON; the rest are messages about closing sockets
            text=True,
            env=place.environment,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._process:  # it closes stdin, which ends the process, and waits for it
            pass

    def _answer(self) -> Any:
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        line = self._process.stdout.readline()
        if not line:
            raise UnavailableError("its process has ended")
        return json.loads(line)

    def get_ready(self) -> None:
        """Wait for the client, and choose how many calls a batch has.

        Raises:
            UnavailableError: The contender is not available.
        """
        answer = self._answer()
        if not answer["ready"]:
            raise UnavailableError(answer["reason"])
        self.batch()
        per_call_s = self.batch()[0]
        self.calls = max(_FEWEST_CALLS, round(_BATCH_CPU_S / max(per_call_s, 1e-7)))

    def batch(self) -> tuple[float, float]:
        """Run a batch: seconds of CPU time and of wall-clock time per call."""
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        self._process.stdin.write(f"{self.calls}\n")
        self._process.stdin.flush()
        took = self._answer()
        return took["cpu_s"] / self.calls, took["wall_s"] / self.calls


def pair(worker: Worker, unit: Worker, *, unit_first: bool) -> Pair:
    """Run a batch of each, one right after the other."""
    if unit_first:
        unit_took, took = unit.batch(), worker.batch()
    else:
        took, unit_took = worker.batch(), unit.batch()
    return Pair(took[0], unit_took[0], took[1], unit_took[1])


@contextlib.contextmanager
def _workers(group: str, contenders: Sequence[Contender], place: Place) -> Iterator[list[Worker]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Worker(group, contender, place)) for contender in contenders]


def measure_pairs(
    measure: str, group: str, contenders: Sequence[Contender], place: Place, rounds: int
) -> list[Row]:
    """Measure contenders against the first of them, which is the unit.

    Args:
        measure: The measure of the rows.
        group: `sync`, `async`, or `walk`.
        contenders: The unit, and the others.
        place: The environment of the processes.
        rounds: The number of pairs for each contender.
    """
    missing: dict[str, str] = {}
    with _workers(group, contenders, place) as workers:
        ready: list[Worker] = []
        for worker in workers:
            try:
                worker.get_ready()
            except UnavailableError as reason:
                missing[worker.contender.name] = str(reason)
            else:
                ready.append(worker)
        if not ready or ready[0] is not workers[0]:
            raise RuntimeError(f"{measure}: the unit does not work: {missing[contenders[0].name]}")
        unit, others = ready[0], ready[1:]
        pairs: dict[str, list[Pair]] = {worker.contender.name: [] for worker in others}
        for number in range(rounds):
            place.say(f"{measure}: round {number + 1} of {rounds}")
            place.shuffle.shuffle(others)
            for worker in others:
                pairs[worker.contender.name].append(
                    pair(worker, unit, unit_first=place.shuffle.random() < 0.5)
                )
    return [
        Row(
            measure, contender.name, (), note=f"not available: {missing[contender.name]}", kind=contender.kind
        )
        if contender.name in missing
        else paired_row(measure, contender.name, contenders[0].name, pairs[contender.name], contender.kind)
        for contender in contenders[1:]
    ]
