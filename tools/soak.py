"""Run clients against a failing server for four hours of fake time, and count the resources that leak.

    python -m tools.soak --hours 4          what `nox -s soak` does

Sync threads, asyncio tasks, and trio tasks have one client for each engine, and all clients have one server
on a loopback socket. The clocks of the clients' tokens are fake and move four seconds with each round of
calls, and retries do not wait. The server's tokens last an hour by that clock, or less. The server
throttles, fails, stops in the middle of a body, drops its connections, goes down and comes back, and revokes
its tokens. Callers cancel calls.

At the end the script prints what was counted, and exits with 1 if that is more than the bounds below.
"""

import argparse
import asyncio
import collections
import gc
import random
import resource
import sys
import threading
import time
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio
import trio

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from harness import ACTIVITY_ID, TENANT_ID

from thrive_learning import (
    AsyncThriveClient,
    ClientCredentials,
    Region,
    RetryPolicy,
    ThriveClient,
    ThriveError,
    Timeout,
)
from tools.soak_server import Clock, SoakServer

ENGINES = ("httpx", "fast")
CALLERS_OF_A_CLIENT = 2
CLIENTS = 3 * len(ENGINES)  # in threads, on asyncio, and on trio
CALLERS = CALLERS_OF_A_CLIENT * CLIENTS
STEP_S = 4  # of fake time between two rounds of calls
WARM_UP_H = 0.5
IMPATIENT, PATIENCE_S = 0.05, (0.0005, 0.02)  # the share of callers that cancel, and after how long
# On a busy machine nothing but callers gives up. Retries without waits do not slow down a patient server.
OPTIONS: dict[str, Any] = {
    "timeout": Timeout(total=20, connect=20, pool=20),
    "retry": RetryPolicy(first_delay=0, max_delay=0),
}

# The limits of leaks, and of resources in use.
MORE_FILES, MORE_THREADS, MORE_MEMORY_MIB = 0, 0, 8.0
CONNECTIONS_AT_ONCE = 2 * CALLERS  # a connection whose call was canceled is about to be closed
TOKEN_REQUESTS_PER_HOUR = 40 * CLIENTS  # with four expirations, some revocations, and some retries


def patience(chances: random.Random) -> float:
    """Return how long a caller waits, in seconds."""
    return chances.uniform(*PATIENCE_S) if chances.random() < IMPATIENT else 20.0


class Soak:
    """The callers, and the outcomes of their calls.

    Args:
        server: Their server.
        clock: The clock of the tokens.
        rounds: How many calls each caller makes.
        seed: The seed of all random choices.
    """

    def __init__(self, server: SoakServer, clock: Clock, rounds: int, seed: int) -> None:
        self.server = server
        self.clock = clock
        self.rounds = rounds
        self.seed = seed
        self.over = False
        self.outcomes: collections.Counter[str] = collections.Counter()
        url = "http://{}:{}".format(*server.server_address)
        token_url = f"{url}/token/{{tenant_id}}"
        self.region = Region.custom("soak", api_url=url, token_url=token_url)
        self.credentials = ClientCredentials(TENANT_ID, "fake-client", "fake-client-secret")

    def chances(self, name: str) -> random.Random:
        """Return a random generator for the seed and a name."""
        return random.Random(f"{self.seed} {name}")  # noqa: S311 - nothing secret

    def client(self, client_class: Callable[..., Any], engine: str) -> Any:
        """Create a client whose tokens expire by the fake clock."""
        client = client_class(self.region, self.credentials, engine=engine, **OPTIONS)
        client._http.authorizer.cache.clock = self.clock  # noqa: SLF001 - no client has a clock
        return client

    def note(self, error: ThriveError | None) -> None:
        """Count a call."""
        self.outcomes["success" if error is None else type(error).__name__] += 1
        if error is not None and (error.__cause__ or error.__context__):
            self.outcomes["LINKED"] += 1

    def caller(self, client: ThriveClient, name: str) -> Iterator[None]:
        """Make a call each time that the generator is resumed."""
        chances = self.chances(name)
        while True:
            try:
                client.activities.get(ACTIVITY_ID, timeout=patience(chances))
            except ThriveError as error:
                self.note(error)
            else:
                self.note(None)
            yield

    def sync_round(self, callers: list[Iterator[None]]) -> None:
        """Make a call of each caller in a separate thread."""
        threads = [threading.Thread(target=next, args=(caller,)) for caller in callers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    async def call(self, client: AsyncThriveClient, chances: random.Random) -> None:
        """Make a call in a task, which may be canceled."""
        outcome: ThriveError | None = None
        with anyio.move_on_after(patience(chances)) as scope:
            try:
                await client.activities.get(ACTIVITY_ID)
            except ThriveError as error:
                outcome = error
        if scope.cancelled_caught:
            self.outcomes["canceled"] += 1
        else:
            self.note(outcome)

    async def tasks(self, name: str, turn: Callable[[], Awaitable[bool]]) -> None:
        """Make the calls of one event loop, round by round."""
        chances = self.chances(name)
        clients = [self.client(AsyncThriveClient, engine) for engine in ENGINES]
        while await turn():
            async with anyio.create_task_group() as group:
                for client in clients * CALLERS_OF_A_CLIENT:
                    group.start_soon(self.call, client, chances)
        for client in clients:
            await client.aclose()

    def loop(self, run: Callable[..., Any], name: str, meeting: threading.Barrier) -> threading.Thread:
        """Return a thread for one event loop, whose rounds are those of the others."""

        async def turn() -> bool:
            await anyio.to_thread.run_sync(meeting.wait)
            return not self.over

        def rounds() -> None:
            try:
                run(self.tasks, name, turn)
            except BaseException:
                meeting.abort()  # or the others would wait forever
                raise

        return threading.Thread(target=rounds)

    def weather(self, number: int, chances: random.Random) -> None:
        """Decide what happens to the server in a round."""
        self.clock.now += STEP_S
        self.server.down = number % 450 in range(200, 210)  # for 40 seconds in every half an hour
        if chances.random() < 0.005:
            self.server.restart()
        if chances.random() < 0.004:
            self.server.revoke()

    def run(self) -> None:
        """Make all calls."""
        meeting = threading.Barrier(3)
        loops = [
            self.loop(lambda *args: asyncio.run(args[0](*args[1:])), "asyncio", meeting),
            self.loop(trio.run, "trio", meeting),
        ]
        for loop in loops:
            loop.start()
        chances = self.chances("weather")
        with ExitStack() as stack:
            clients = [stack.enter_context(self.client(ThriveClient, engine)) for engine in ENGINES]
            callers = [
                self.caller(client, f"thread {number}")
                for number, client in enumerate(clients * CALLERS_OF_A_CLIENT)
            ]
            for number in range(self.rounds):
                self.weather(number, chances)
                meeting.wait()
                self.sync_round(callers)
            self.over = True
            meeting.wait()
            for loop in loops:
                loop.join()


class Counts:
    """The resources that this process has now."""

    def __init__(self) -> None:
        gc.collect()
        self.threads = threading.active_count()
        self.files = self.sockets = 0
        self.memory_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        descriptors = Path("/proc/self/fd")
        if descriptors.is_dir():  # Linux
            names = [str(name.readlink()) for name in descriptors.iterdir() if name.is_symlink()]
            self.files = len(names)
            self.sockets = sum(name.startswith("socket:") for name in names)
            pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
            self.memory_mib = pages * resource.getpagesize() / 2**20

    def __str__(self) -> str:
        return (
            f"{self.sockets} sockets, {self.files} file descriptors, {self.threads} threads, "
            f"{self.memory_mib:.1f} MiB"
        )


def main() -> int:
    """Run the soak; the exit status says whether everything is bounded."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--hours", type=float, default=4.0, help="of fake time (default: 4)")
    parser.add_argument("--seed", type=int, default=20261123)
    options = parser.parse_args()
    began = time.monotonic()
    # Modules and caches that are loaded once are not a leak, so the first count comes after a shorter run.
    start, _soak = one_run(WARM_UP_H, options.seed + 1)
    end, soak = one_run(options.hours, options.seed)
    print(f"{options.hours:g} h of fake time in {time.monotonic() - began:.0f} s")
    print(f"at start: {start}")
    print(f"at end:   {end}")
    counts = soak.server.counts
    calls = sum(soak.outcomes[name] for name in soak.outcomes if name != "LINKED")
    most = soak.server.most_open
    sent = f"{counts['API requests']} requests to the API, {counts['token requests']} for tokens"
    print(f"{calls} calls, {sent}")
    print(f"{counts['connections']} connections, at most {most} at once")
    for name, number in sorted((soak.outcomes + counts).items()):
        print(f"  {name}: {number}")
    problems = [
        said
        for said, bounded in {
            "file descriptors, sockets among them": end.files <= start.files + MORE_FILES,
            "threads": end.threads <= start.threads + MORE_THREADS,
            "memory": end.memory_mib <= start.memory_mib + MORE_MEMORY_MIB,
            "connections at once": most <= CONNECTIONS_AT_ONCE,
            "token requests": counts["token requests"] <= TOKEN_REQUESTS_PER_HOUR * max(options.hours, 1.0),
            "calls that never returned": calls == soak.rounds * CALLERS,
            "errors that link to others": not soak.outcomes["LINKED"],
            "successes (too few)": soak.outcomes["success"] >= 0.9 * calls,
        }.items()
        if not bounded
    ]
    print("bounded" if not problems else f"NOT BOUNDED: {', '.join(problems)}")
    return 1 if problems else 0


def one_run(hours: float, seed: int) -> tuple[Counts, Soak]:
    """Run for some hours of fake time with a new server, and count after everything is closed."""
    clock = Clock()
    with SoakServer(clock, seed) as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        serving.start()
        soak = Soak(server, clock, int(hours * 3600 / STEP_S), seed)
        try:
            soak.run()
        finally:
            server.shutdown()
            serving.join()
            server.restart()
    for _ in range(100):  # the server's own threads notice that their connections are gone
        if threading.active_count() <= 1:
            break
        time.sleep(0.05)
    return Counts(), soak


if __name__ == "__main__":
    warnings.simplefilter("error")
    sys.exit(main())
