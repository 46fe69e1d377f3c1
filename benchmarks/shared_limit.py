"""Measure how well four processes keep to a rate limit that they share, as the server counts.

The parent is the server. `python -m benchmarks.shared_limit WHO API_URL STORE` is a process that reads
records in a bulk run until it is killed.
"""

import asyncio
import bisect
import contextlib
import functools
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import fallback_server
from benchmarks.figures import Row
from benchmarks.pairing import Place
from benchmarks.subject import API_PATH, many_ids

PER_SECOND = 100.0
PROCESSES = ("sync", "async", "sync", "async")
WINDOW_S = 10.0
BUSIEST = "requests in the busiest 10 s, 4 processes / their shared limit"
QUIETEST = "requests in the quietest 10 s, 4 processes / their shared limit"
MEASURES = (BUSIEST, QUIETEST)
FILE, REDIS = "FileTokenStore", "RedisTokenStore"
_LATENCY_S = 0.02
_START_S = 30.0
# More than any run reads.
_ENDLESS = 10**9


class Windows(NamedTuple):
    """The busiest and the quietest window of a run, as shares of the limit."""

    busiest: float
    quietest: float


def windows(arrivals: Sequence[float], per_second: float = PER_SECOND) -> Windows:
    """Return the windows of a run.

    Args:
        arrivals: The times of its requests in order, in seconds. Their first and last window are complete.
        per_second: The limit.

    Raises:
        ValueError: The run is shorter than a window.
    """
    allowed = per_second * WINDOW_S
    last_start = arrivals[-1] - WINDOW_S if arrivals else 0.0
    starts = arrivals[: bisect.bisect_right(arrivals, last_start)]
    if not starts:
        raise ValueError(f"the run has no window of {WINDOW_S:g} s")
    # The busiest window begins with a request, and the quietest one just after a request.
    busiest = max(
        bisect.bisect_left(arrivals, start + WINDOW_S) - number for number, start in enumerate(starts)
    )
    quietest = min(
        bisect.bisect_left(arrivals, start + WINDOW_S) - number - 1 for number, start in enumerate(starts)
    )
    return Windows(busiest / allowed, quietest / allowed)


class _Connection(fallback_server.Connection):
    arrivals: list[float] = []  # noqa: RUF012 - of all connections

    def _respond(self, path: bytes) -> bytes:
        self.arrivals.append(time.monotonic())
        return super()._respond(path)


@contextlib.contextmanager
def _counting_server() -> Iterator[tuple[str, list[float]]]:
    """Serve records in a thread. Yield the API's URL, and the times of all requests."""
    _Connection.arrivals = []
    loop = asyncio.new_event_loop()
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    factory = functools.partial(_Connection, _LATENCY_S)
    server = loop.run_until_complete(loop.create_server(factory, sock=listener))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}{API_PATH}", _Connection.arrivals
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextlib.contextmanager
def _redis_server(program: str) -> Iterator[str]:
    """Start Redis without files. Yield its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        ends_at = time.monotonic() + _START_S
        while time.monotonic() < ends_at:
            with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.02)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.kill()
        process.wait()


def run(store: str, seconds: float, place: Place) -> Windows:
    """Let the processes share a limit.

    Args:
        store: The folder or the URL of the store.
        seconds: How long they read after all of them have begun.
        place: Their environment.
    """
    with _counting_server() as (api_url, arrivals):
        commands = [[sys.executable, "-m", __name__, who, api_url, store] for who in PROCESSES]
        workers = [
            subprocess.Popen(command, env=place.environment, stdout=subprocess.PIPE) for command in commands
        ]
        try:
            for worker in workers:
                assert worker.stdout is not None  # noqa: S101 - it is a pipe
                if worker.stdout.readline() != b"reading\n":
                    raise RuntimeError("a process that shares a limit has failed")
            began = time.monotonic()
            time.sleep(seconds)
            ended = time.monotonic()
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()
        return windows([time for time in arrivals if began <= time < ended])


def measure(seconds: float, place: Place) -> list[Row]:
    """Measure the store in files, and the one in Redis."""
    found: dict[str, Windows] = {}
    with tempfile.TemporaryDirectory() as folder:
        place.say(f"shared limit: {FILE}")
        found[FILE] = run(str(Path(folder) / "store"), seconds, place)
    program = shutil.which("redis-server")
    if program is not None:
        place.say(f"shared limit: {REDIS}")
        with _redis_server(program) as url:
            found[REDIS] = run(url, seconds, place)
    about = f"{PER_SECOND:g} requests per second, {seconds:g} s, sync and async bulk runs"
    rows = [
        Row(measure, store, (share,), note=about, kind="ours")
        for store, shares in found.items()
        for measure, share in zip(MEASURES, shares, strict=True)
    ]
    if program is None:
        rows += [
            Row(measure, REDIS, (), note="redis-server is not on PATH", kind="ours") for measure in MEASURES
        ]
    return rows


def _read(who: str, api_url: str, store: str) -> None:
    from benchmarks.ours import our_async_client, our_client
    from thrive_learning import FileTokenStore, RateLimit, RedisTokenStore

    keeper: Any = RedisTokenStore(store) if store.startswith("redis:") else FileTokenStore(store)
    limit = RateLimit(PER_SECOND, store=keeper)

    def count(number: int, error: object) -> None:
        if error is not None:
            raise RuntimeError(f"a record was not read: {error}")
        if number == 0:
            print("reading", flush=True)

    async def read() -> None:
        async with our_async_client(api_url, "httpx", rate_limit=limit) as client:
            number = 0
            async for result in client.activities.get_many(many_ids(_ENDLESS)):
                count(number, result.error)
                number += 1

    if who == "async":
        asyncio.run(read())
    with our_client(api_url, "httpx", rate_limit=limit) as client:
        for number, result in enumerate(client.activities.get_many(many_ids(_ENDLESS))):
            count(number, result.error)


if __name__ == "__main__":
    _read(*sys.argv[1:])
