"""Four hours of fake time, with all that goes wrong in them, and what is left behind.

Sync threads, asyncio tasks and trio tasks have a client each, and one server on a loopback socket. The clocks
of the token caches are fake and move four seconds for each round of calls; waits between tries are not waited
for. The server's tokens last an hour by that clock, or less; it throttles, fails, stops in mid-body, drops
its connections, goes down and comes back, and revokes the tokens that it gave. Callers lose their patience.

At the end it prints what was counted, and exits with 1 if that is more than the bounds below allow.
"""

import argparse
import asyncio
import collections
import contextlib
import gc
import json
import random
import resource
import sys
import threading
import time
import warnings
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import anyio
import trio

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from harness import ACTIVITY_ID, PAGE_EXAMPLE, TENANT_ID

from thrive_learning import AsyncThriveClient, ClientCredentials, Region, ThriveClient, ThriveError, Timeout
from thrive_learning._call import seam as seam_module

THREADS, TASKS = 4, 4  # and as many tasks again on trio
CALLERS = THREADS + 2 * TASKS
STEP_S = 4  # of fake time between two rounds of calls
WARM_UP_H = 0.5
TOKEN_LIFE_S = 3600
IMPATIENT, PATIENCE_S = 0.05, (0.0005, 0.02)  # how many callers give up, and when
SLOW_S = 0.15
PHASES = Timeout(total=20, connect=20, pool=20)  # on a busy machine nothing else shall give up

# What may be left behind, and what may be used meanwhile.
MORE_FILES, MORE_THREADS, MORE_MEMORY_MIB = 0, 0, 8.0
CONNECTIONS_AT_ONCE = 2 * CALLERS  # a connection whose call was cancelled is on its way out
TOKEN_REQUESTS_PER_HOUR = 120  # of three clients; with four expiries, some revocations and some retries


class Clock:
    """A clock in seconds that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Server(ThreadingHTTPServer):
    """The token endpoint and the API on one loopback port, with a mood that changes."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, clock: Clock, seed: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.clock = clock
        self.random = random.Random(seed)  # noqa: S311 - nothing secret
        self.tokens: dict[str, float] = {}
        self.counts: collections.Counter[str] = collections.Counter()
        self.down = False
        self.lock = threading.Lock()
        self.open: set[Any] = set()
        self.most_open = 0

    def process_request(self, request: Any, client_address: Any) -> None:
        with self.lock:
            self.open.add(request)
            self.counts["connections"] += 1
            self.most_open = max(self.most_open, len(self.open))
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self.lock:
            self.open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        self.counts["connections that callers left"] += 1

    def restart(self) -> None:
        """Drop every connection, as a restart does."""
        with self.lock:
            connections = list(self.open)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(2)
        self.counts["restarts"] += 1

    def revoke(self) -> None:
        with self.lock:
            self.tokens.clear()
        self.counts["revocations"] += 1

    def mint(self) -> dict[str, Any]:
        with self.lock:
            self.counts["tokens"] += 1
            value = f"fake-token-{self.counts['tokens']}"
            life = self.random.choice([TOKEN_LIFE_S, TOKEN_LIFE_S, TOKEN_LIFE_S // 4])
            self.tokens[value] = self.clock() + life
        return {"access_token": value, "token_type": "Bearer", "expires_in": life}

    def accepts(self, authorization: str) -> bool:
        with self.lock:
            return self.clock() < self.tokens.get(authorization.removeprefix("Bearer "), 0.0)

    def mood(self) -> str:
        with self.lock:
            [mood] = self.random.choices(
                ["well", "throttles", "fails", "cuts", "slow", "resets"], [90, 3, 3, 2, 1, 1]
            )
        return mood


class Handler(BaseHTTPRequestHandler):
    """Answers one connection's requests."""

    protocol_version = "HTTP/1.1"
    timeout = 30.0
    disable_nagle_algorithm = True

    @property
    def of(self) -> Server:
        return cast("Server", self.server)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def answer(self, status: int, body: Any, *, cut: bool = False, **headers: str) -> None:
        data = json.dumps(body).encode()
        lines = [f"HTTP/1.1 {status} Status", f"Content-Length: {len(data)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.wfile.write("\r\n".join([*lines, "", ""]).encode() + (data[: len(data) // 2] if cut else data))
        self.close_connection = cut

    def moody(self) -> bool:
        if self.of.down:
            self.close_connection = True
            return True
        mood = self.of.mood()
        self.of.counts[f"the server {mood}" if mood != "well" else "the server is well"] += 1
        match mood:
            case "throttles":
                self.answer(429, {}, Retry_After="1")
            case "fails":
                self.answer(503, {})
            case "cuts":
                self.answer(200, PAGE_EXAMPLE, cut=True)
            case "resets":
                self.close_connection = True
            case _:
                if mood == "slow":
                    time.sleep(SLOW_S)
                return False
        return True

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.of.counts["token requests"] += 1
        if not self.moody():
            self.answer(200, self.of.mint())

    def do_GET(self) -> None:
        self.of.counts["API requests"] += 1
        if not self.moody():
            if self.of.accepts(self.headers["Authorization"]):
                self.answer(200, PAGE_EXAMPLE)
            else:
                self.answer(401, {})


def patience(chances: random.Random) -> float:
    """Give how long a caller waits, in seconds."""
    return chances.uniform(*PATIENCE_S) if chances.random() < IMPATIENT else 20.0


class Soak:
    """The callers, and what their calls came to."""

    def __init__(self, server: Server, clock: Clock, rounds: int, seed: int) -> None:
        self.server = server
        self.clock = clock
        self.rounds = rounds
        self.seed = seed
        self.outcomes: collections.Counter[str] = collections.Counter()
        url = "http://{}:{}".format(*server.server_address)
        token_url = f"{url}/token/{{tenant_id}}"
        self.region = Region.custom("soak", api_url=url, token_url=token_url)
        self.credentials = ClientCredentials(TENANT_ID, "fake-client", "fake-client-secret")

    def chances(self, name: str) -> random.Random:
        return random.Random(f"{self.seed} {name}")  # noqa: S311

    def note(self, error: ThriveError | None) -> None:
        self.outcomes["success" if error is None else type(error).__name__] += 1
        if error is not None and (error.__cause__ or error.__context__):
            self.outcomes["LINKED"] += 1

    def thread(self, client: ThriveClient, name: str) -> Iterator[None]:
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
        threads = [threading.Thread(target=next, args=(caller,)) for caller in callers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    async def task(self, client: AsyncThriveClient, chances: random.Random) -> None:
        outcome: ThriveError | None = None
        with anyio.move_on_after(patience(chances)) as scope:
            try:
                await client.activities.get(ACTIVITY_ID)
            except ThriveError as error:
                outcome = error
        if scope.cancelled_caught:
            self.outcomes["cancelled"] += 1
        else:
            self.note(outcome)

    async def tasks(self, name: str, turn: Callable[[], Awaitable[bool]]) -> None:
        chances = self.chances(name)
        async with AsyncThriveClient(self.region, self.credentials, timeout=PHASES) as client:
            client._http.authorizer.cache.clock = self.clock
            wait_for_nothing(client)
            while await turn():
                async with anyio.create_task_group() as group:
                    for _ in range(TASKS):
                        group.start_soon(self.task, client, chances)

    def loop(self, run: Callable[..., Any], name: str, meeting: threading.Barrier) -> threading.Thread:
        """Run the tasks of one event loop, round by round with the others."""

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

    over = False

    def weather(self, number: int, chances: random.Random) -> None:
        """Decide what becomes of the server in this round."""
        self.clock.now += STEP_S
        self.server.down = number % 450 in range(200, 210)  # for 40 seconds in every half an hour
        if chances.random() < 0.005:
            self.server.restart()
        if chances.random() < 0.004:
            self.server.revoke()

    def run(self) -> None:
        meeting = threading.Barrier(3)
        loops = [
            self.loop(lambda *args: asyncio.run(args[0](*args[1:])), "asyncio", meeting),
            self.loop(trio.run, "trio", meeting),
        ]
        for loop in loops:
            loop.start()
        chances = self.chances("weather")
        with ThriveClient(self.region, self.credentials, timeout=PHASES) as client:
            client._http.authorizer.cache.clock = self.clock
            callers = [self.thread(client, f"thread {number}") for number in range(THREADS)]
            for number in range(self.rounds):
                self.weather(number, chances)
                meeting.wait()
                self.sync_round(callers)
            self.over = True
            meeting.wait()
            for loop in loops:
                loop.join()


class Counts:
    """What there is of a process's resources, now."""

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


class Sleepless:
    """Behave as anyio does, and sleep no time at all."""

    async def sleep(self, _delay: float) -> None:
        await anyio.lowlevel.checkpoint()

    def __getattr__(self, name: str) -> Any:
        return getattr(anyio, name)


def wait_for_nothing(client: AsyncThriveClient) -> None:
    """Let the seam of a client not wait between its attempts."""
    seam: Any = client._http
    seam._anyio = Sleepless()


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def main() -> int:
    """Run the soak; the exit status says whether everything is bounded."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--hours", type=float, default=4.0, help="of fake time (default: 4)")
    parser.add_argument("--seed", type=int, default=20261123)
    options = parser.parse_args()
    seam: Any = seam_module
    seam.time = SimpleNamespace(sleep=lambda _delay: None)  # between the tries of sync code
    began = time.monotonic()
    # What is loaded and cached once is no leak: the first count comes after a shorter run.
    start, _soak = one_run(WARM_UP_H, options.seed + 1)
    end, soak = one_run(options.hours, options.seed)
    say(f"{options.hours:g} h of fake time in {time.monotonic() - began:.0f} s")
    say(f"at start: {start}")
    say(f"at end:   {end}")
    counts = soak.server.counts
    calls = sum(soak.outcomes[name] for name in soak.outcomes if name != "LINKED")
    most = soak.server.most_open
    sent = f"{counts['API requests']} requests to the API, {counts['token requests']} for tokens"
    say(f"{calls} calls, {sent}")
    say(f"{counts['connections']} connections, {most} at once at the most")
    for name, number in sorted((soak.outcomes + counts).items()):
        say(f"  {name}: {number}")
    problems = [
        said
        for said, bounded in {
            "file descriptors, sockets among them": end.files <= start.files + MORE_FILES,
            "threads": end.threads <= start.threads + MORE_THREADS,
            "memory": end.memory_mib <= start.memory_mib + MORE_MEMORY_MIB,
            "connections at once": most <= CONNECTIONS_AT_ONCE,
            "token requests": counts["token requests"] <= TOKEN_REQUESTS_PER_HOUR * max(options.hours, 1.0),
            "calls that never came back": calls == soak.rounds * CALLERS,
            "errors that link to others": not soak.outcomes["LINKED"],
            "successes (too few)": soak.outcomes["success"] >= 0.9 * calls,
        }.items()
        if not bounded
    ]
    say("bounded" if not problems else f"NOT BOUNDED: {', '.join(problems)}")
    return 1 if problems else 0


def one_run(hours: float, seed: int) -> tuple[Counts, Soak]:
    """Run for so long in fake time, with a server of its own, and count when all is closed."""
    clock = Clock()
    with Server(clock, seed) as server:
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
