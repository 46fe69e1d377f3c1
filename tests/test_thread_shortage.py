"""Calls while Python cannot start a thread, because of the pids limit or an exiting interpreter."""

import asyncio
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from command import Call
from harness import ACTIVITY_ID, BASIC, OAUTH, Kept, page_response
from patience import wait_until
from token_servers import TokenServer

from thrive_learning import (
    AsyncThriveClient,
    ConnectionFailedError,
    FileTokenStore,
    MemoryTokenStore,
    Region,
    RetryPolicy,
    Service,
    ThriveClient,
    _threads,
)
from thrive_learning._auth.outcomes import Key
from thrive_learning._auth.sharing import SharedTokens
from thrive_learning._auth.single_flight import SingleFlight
from thrive_learning._threads import arun_in_time
from thrive_learning.sandbox import FaultySandbox, Sandbox
from thrive_learning.sandbox.server import SandboxApp, SandboxServer

IDS = [f"{number:024x}" for number in range(200)]
TWICE = RetryPolicy(attempts=2, first_delay=0.01)
TOO_MANY = "can't start new thread"
EXITING = "can't create new thread at interpreter shutdown"
Run = Callable[[Callable[[], Coroutine[Any, Any, Any]]], Any]
RUN: dict[str, Run] = {"asyncio": lambda work: asyncio.run(work()), "trio": trio.run}


@pytest.fixture(params=["asyncio", "trio"])
def run(request: pytest.FixtureRequest) -> Run:
    return RUN[request.param]


@pytest.fixture
def server() -> Iterator[TokenServer]:
    server = TokenServer()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Limit the number of threads that this thread may start. Servers of the test run in other threads."""

    def limit(allowed: int = 0, problem: str = TOO_MANY) -> None:
        mine, start, started = threading.get_ident(), threading.Thread.start, 0

        def start_if_allowed(thread: threading.Thread) -> None:
            nonlocal started
            if threading.get_ident() == mine:
                started += 1
                if started > allowed:
                    raise RuntimeError(problem)
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", start_if_allowed)
        # Idle threads need not be started. trio keeps its own in a list.
        _threads._end_idle()
        monkeypatch.setattr(trio._core._thread_cache.THREAD_CACHE, "_idle_workers", {})

    return limit


def record(request: httpx.Request) -> httpx.Response:
    return page_response(id=request.url.path.rpartition("/")[2])


def client_of(handler: Callable[[httpx.Request], httpx.Response], **options: Any) -> ThriveClient:
    return ThriveClient(Region.STAGING, BASIC, transport=httpx.MockTransport(handler), **options)


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize(
    ("allowed", "those"), [(0, "the calling thread alone"), (1, "1 thread"), (3, "3 threads")]
)
def test_get_many_continues_with_the_threads_that_there_are(
    limit: Callable[..., None], kept: Kept, allowed: int, those: str, *, ordered: bool
) -> None:
    limit(allowed)
    used: set[int] = set()

    def respond(request: httpx.Request) -> httpx.Response:
        used.add(threading.get_ident())
        return record(request)

    with client_of(respond) as client:
        results = list(client.activities.get_many(IDS, ordered=ordered))
    assert sorted(result.id for result in results) == IDS
    assert all(result.error is None for result in results)
    assert len(used) <= max(allowed, 1)
    said = [entry.getMessage() for entry in kept.records if entry.levelno == logging.WARNING]
    assert said == [f"get_many cannot start another thread ({TOO_MANY}) and continues in {those}"]


def test_get_many_waits_out_a_throttle_in_the_calling_thread(limit: Callable[..., None]) -> None:
    limit()
    answers = iter([httpx.Response(429), httpx.Response(503, headers={"retry-after": "0"})])

    def respond(request: httpx.Request) -> httpx.Response:
        return next(answers, None) or record(request)

    with client_of(respond, retry=RetryPolicy(first_delay=0.01)) as client:
        results = list(client.activities.get_many(IDS[:20]))
    assert sorted(result.id for result in results if result.activity is not None) == IDS[:20]


def test_get_many_takes_threads_as_soon_as_it_can(limit: Callable[..., None], monkeypatch: Any) -> None:
    limit()
    used: list[int] = []

    def respond(request: httpx.Request) -> httpx.Response:
        used.append(threading.get_ident())
        if len(used) == 5:
            monkeypatch.undo()
        if len(used) == 50:
            wait_until(lambda: len(set(used)) > 1)
        return record(request)

    with client_of(respond) as client:
        assert len(list(client.activities.get_many(IDS))) == len(IDS)
    assert set(used[:5]) == {threading.get_ident()}
    assert len(set(used)) > 1


@pytest.mark.parametrize("allowed", [0, 2])
def test_a_run_and_its_client_can_be_closed(limit: Callable[..., None], allowed: int) -> None:
    limit(allowed)
    client = client_of(record)
    stream = client.activities.get_many(IDS)
    next(stream)
    stream.close()
    stream = client.activities.get_many(IDS)
    next(stream)
    client.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "thrive-bulk"]


def test_ctrl_c_ends_a_run_in_the_calling_thread(limit: Callable[..., None]) -> None:
    limit()

    def respond(_request: httpx.Request) -> httpx.Response:
        raise KeyboardInterrupt

    with client_of(respond) as client, pytest.raises(KeyboardInterrupt):
        list(client.activities.get_many(IDS))


def test_the_exception_of_a_signal_handler_is_not_taken_for_a_shortage(
    limit: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_threads, "interruption", lambda error: error)
    limit(problem="of a handler")
    with client_of(record) as client, pytest.raises(RuntimeError, match="of a handler"):
        list(client.activities.get_many(IDS))
    key = Key(Service.API, frozenset())
    shared = SharedTokens(MemoryTokenStore(), Region.STAGING, OAUTH, SingleFlight())
    turn = shared.turn(key, 60, renews=False)
    assert turn.look() == 0
    with pytest.raises(RuntimeError, match="of a handler"):
        turn.abandon()


@pytest.mark.parametrize("engine", ["httpx", "fast"])
@pytest.mark.parametrize("problem", [TOO_MANY, EXITING])
def test_an_async_call_that_cannot_resolve_its_host_says_why(
    limit: Callable[..., None],
    server: TokenServer,
    run: Run,
    engine: Any,
    problem: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    region = Region.custom(
        "here",
        api_url=server.region.api_url.replace("127.0.0.1", "localhost"),
        token_url=server.url + "/token/{tenant_id}",
    )

    async def use() -> ConnectionFailedError:
        async with AsyncThriveClient(region, BASIC, engine=engine, retry=TWICE) as client:
            with pytest.raises(ConnectionFailedError) as caught:
                await client.activities.get(ACTIVITY_ID)
            # A run waits until it works again, as it does if a server is down.
            results = [result async for result in client.activities.get_many([ACTIVITY_ID], deadline=0.1)]
        assert isinstance(results[0].error, ConnectionFailedError)
        monkeypatch.undo()  # asyncio ends its executor in a thread
        return caught.value

    limit(problem=problem)
    error = run(use)
    assert (error.reason, len(error.history)) == ("no_thread", 2)
    assert f"cannot start a thread to resolve the host name ({problem})" in str(error)
    assert error.__cause__ is None
    assert error.__context__ is None


@pytest.mark.parametrize("engine", ["httpx", "fast"])
def test_an_async_call_to_an_address_needs_no_thread(
    limit: Callable[..., None], server: TokenServer, run: Run, engine: Any
) -> None:
    async def use() -> None:
        async with AsyncThriveClient(server.region, BASIC, engine=engine) as client:
            assert (await client.activities.get(ACTIVITY_ID)).id == ACTIVITY_ID

    limit()
    run(use)


def test_a_token_store_is_used_although_no_thread_can_be_started(
    limit: Callable[..., None], server: TokenServer, run: Run, tmp_path: Path
) -> None:
    async def use() -> None:
        for _ in range(2):  # clients
            store = FileTokenStore(tmp_path)
            async with AsyncThriveClient(server.region, OAUTH, token_store=store) as client:
                assert (await client.activities.get(ACTIVITY_ID)).id == ACTIVITY_ID

    limit()
    run(use)
    assert server.count == 1


def test_a_store_that_raises_a_runtime_error_is_not_tried_twice(run: Run) -> None:
    tried: list[int] = []

    def operation() -> None:
        tried.append(1)
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        run(lambda: arun_in_time(operation, 30))
    assert tried == [1]


def test_another_runtime_error_of_a_transport_is_a_defect() -> None:
    def respond(_request: httpx.Request) -> httpx.Response:
        raise RuntimeError("mine")

    with client_of(respond) as client, pytest.raises(RuntimeError, match="mine"):
        client.activities.get(ACTIVITY_ID)


def test_the_sandbox_server_closes_its_port(limit: Callable[..., None]) -> None:
    limit()
    server = SandboxServer(SandboxApp(FaultySandbox(Sandbox())))
    with pytest.raises(RuntimeError, match=TOO_MANY), server:
        pass
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.url)


@pytest.mark.parametrize("is_terminal", [True, False])
def test_an_export_needs_no_thread(
    limit: Callable[..., None],
    call: Call,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_terminal: bool,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ids.txt").write_text(ACTIVITY_ID, encoding="utf-8")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    limit()
    code, _out, err = call("activity", "export", "ids.txt", "-o", "out.ndjson", "--sandbox")
    assert (code, "exported 1 record" in err) == (0, True)


AT_EXIT = f"""
import asyncio, atexit, contextlib, sys
from thrive_learning import *

if sys.argv[1:]:
    import concurrent.futures.thread

IDS = [{ACTIVITY_ID!r}] * 3

async def use():
    async with AsyncThriveClient.sandbox() as client:
        found = [result.activity.id async for result in client.activities.get_many(IDS)]
        return found + [(await client.activities.get(IDS[0])).id]

async def resolve():
    region = Region.custom("here", api_url="http://localhost:9", token_url="http://localhost:9/{{tenant_id}}")
    credentials = BasicCredentials("eu-west-2_AbcdEfghI", "fake-api-secret")
    async with AsyncThriveClient(region, credentials, retry=RetryPolicy(attempts=1)) as client:
        try:
            await client.activities.get(IDS[0])
        except ConnectionFailedError as error:
            print(error.reason)

def at_exit():
    with ThriveClient.sandbox() as client:
        print(client.activities.get(IDS[0]).id == IDS[0])
        print(len(list(client.activities.get_many(IDS))))
    print(len(asyncio.run(use())))
    with contextlib.suppress(RuntimeError):  # Python 3.12 cannot end its executor, and says so here
        asyncio.run(resolve())

atexit.register(at_exit)
"""


@pytest.mark.parametrize("early", [[], ["import concurrent.futures.thread"]])
def test_calls_work_while_the_interpreter_exits(early: list[str]) -> None:
    command = [sys.executable, "-W", "error", "-c", AT_EXIT, *early]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout.split()) == (0, ["True", "3", "4", "no_thread"]), run.stderr


WITHIN_A_LIMIT = f"""
import logging, os, resource
from thrive_learning import ThriveClient

logging.basicConfig()
with ThriveClient.sandbox() as client:
    list(client.activities.get_many([{ACTIVITY_ID!r}]))  # everything is imported now
    if os.geteuid() == 0:  # whom the limit does not bind
        os.setuid(65534)
    resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
    print(len(list(client.activities.get_many([{ACTIVITY_ID!r}] * 3))))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere, the limit does not count threads")
def test_get_many_within_a_limit_of_the_system() -> None:
    command = [sys.executable, "-c", WITHIN_A_LIMIT]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.stdout.strip() == "3", run.stderr
    assert "can't start new thread" in run.stderr
