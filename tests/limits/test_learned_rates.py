"""Clients against servers with other limits, in simulated time."""

import heapq
import itertools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pytest

from thrive_learning._limits.memory import MemoryLimits
from thrive_learning._limits.server_limits import ServerLimits
from thrive_learning.sandbox import SandboxRateLimit

BEGINNING, LASTS_S, ROUND_TRIP_S = 1.8e9, 300.0, 0.05

#: Takes the time, and returns a response that is a refusal, or None, and the headers.
Server = Callable[[float], tuple[Any, Mapping[str, str]]]


class Refusal(NamedTuple):
    headers: Mapping[str, str]


class FixedWindows:
    """A server that counts the requests of each window."""

    def __init__(self, quota: int, window_s: float) -> None:
        self._quota, self._window_s = quota, window_s
        self._window, self._count = 0, 0

    def take(self, now: float) -> tuple[Any, Mapping[str, str]]:
        window = int(now // self._window_s)
        if window != self._window:
            self._window, self._count = window, 0
        reset = str(int((window + 1) * self._window_s - now) + 1)
        if self._count >= self._quota:
            return Refusal({"retry-after": reset}), {"x-ratelimit-remaining": "0", "x-ratelimit-reset": reset}
        self._count += 1
        remaining = str(self._quota - self._count)
        return None, {"x-ratelimit-remaining": remaining, "x-ratelimit-reset": reset}


class Outcome(NamedTuple):
    """The requests of a run, per second."""

    accepted: float
    refused: float


def run(per_second: float, server: Server, processes: int = 1) -> Outcome:
    """Let processes that share a limit send as much as they may. Each pause makes a reservation void."""
    burst = max(1.0, per_second / 10)
    now = BEGINNING
    store = MemoryLimits(lambda: now)
    known = [ServerLimits(per_second, lambda: now) for _ in range(processes)]
    order, pauses, accepted, refused = itertools.count(), 0, 0, 0
    events: list[tuple[float, int, str, int, Any]] = []

    def schedule(after_s: float, event: str, process: int, data: Any = None) -> None:
        heapq.heappush(events, (now + after_s, next(order), event, process, data))

    for process in range(processes):
        schedule(0.0, "wait", process)
    while now < BEGINNING + LASTS_S:
        now, _, event, process, data = heapq.heappop(events)
        if event == "wait" or (event == "send" and data != pauses):
            wait_s = store.take("", per_second=per_second, burst=burst, longest_wait_s=1e9)
            schedule(wait_s, "send", process, pauses)
        elif event == "send":
            schedule(ROUND_TRIP_S / 2, "arrive", process)
            schedule(0.0, "wait", process)
        elif event == "arrive":
            refusal, headers = server(now)
            accepted, refused = accepted + (refusal is None), refused + (refusal is not None)
            schedule(ROUND_TRIP_S / 2, "return", process, (refusal, headers))
        else:
            refusal, headers = data
            fields = {name.encode(): value.encode() for name, value in headers.items()}
            asked = None if refusal is None else float(refusal.headers["retry-after"])
            slow = known[process].after(200 if refusal is None else 429, fields, now, asked)
            if slow is not None:
                store.slow("", pause_s=slow.pause_s, per_second=slow.per_second, for_s=slow.for_s)
                pauses += slow.pause_s > 0
    return Outcome(accepted / LASTS_S, refused / LASTS_S)


@pytest.mark.parametrize("headers", ["ietf", "x", "none"])
@pytest.mark.parametrize(
    ("own", "servers", "burst", "processes"),
    [
        (20, 20, None, 1),
        (40, 20, None, 1),
        (40, 20, None, 4),
        (40, 20, 5, 1),
        (100, 20, None, 1),
        (40, 2, None, 1),
    ],
    ids=["equal", "half", "half-with-4-processes", "half-with-small-burst", "fifth", "twentieth"],
)
def test_the_limit_of_a_leaky_bucket_is_used(
    own: float, servers: float, burst: float | None, processes: int, headers: Any
) -> None:
    outcome = run(own, SandboxRateLimit(servers, burst, headers).take, processes)
    assert outcome.accepted >= (0.9 if own <= 5 * servers else 0.7) * servers
    assert outcome.refused <= 0.1


@pytest.mark.parametrize(
    ("own", "quota", "window_s", "processes"),
    [
        (40, 20, 1, 1),
        (40, 200, 10, 1),
        (40, 1200, 60, 1),
        (100, 120, 60, 4),
        (18, 20, 1, 1),
        (20, 1200, 60, 1),
    ],
    ids=str,
)
def test_the_limit_of_fixed_windows_is_used(own: float, quota: int, window_s: float, processes: int) -> None:
    outcome = run(own, FixedWindows(quota, window_s).take, processes)
    assert outcome.accepted >= 0.88 * min(own, quota / window_s)
    assert outcome.refused <= 0.1


def test_a_server_without_a_limit_is_sent_the_own_rate() -> None:
    outcome = run(20, lambda _now: (None, {}))
    assert outcome.accepted == pytest.approx(20, rel=0.01)
