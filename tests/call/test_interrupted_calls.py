"""Calls that are interrupted at any moment: what comes out of them, what shows, and what is left."""

import asyncio
import base64
import gc
import itertools
import signal
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any

import anyio
import httpx
import pytest
import trio
from faults import chaos
from faults.chaos import Chaos, Trouble
from harness import ACTIVITY_ID, BASIC, OAUTH, Flavour, page_response, token_response
from patience import PATIENCE_S, growing_limits, wait_until

from thrive_learning import (
    AsyncThriveClient,
    Attempt,
    BasicCredentials,
    ClientCredentials,
    DeadlineExceededError,
    Region,
    RetryPolicy,
    ThriveClient,
    ThriveError,
    UnexpectedResponseError,
)

TENANT, SECRET, TOKEN = "canary-tenant", "canary%secret&1", "canary-token-2"
CANARIES = tuple(
    form
    for text in (SECRET, TOKEN, f"{TENANT}:{SECRET}", f"client:{urllib.parse.quote_plus(SECRET)}")
    for form in (text, urllib.parse.quote_plus(text), base64.b64encode(text.encode()).decode())
)
CREDENTIALS: dict[str, Any] = {
    "Basic": BasicCredentials(TENANT, SECRET),
    "form": ClientCredentials(TENANT, "client", SECRET, client_auth="post"),
    "header": ClientCredentials(TENANT, "client", SECRET, client_auth="basic"),
}
ENGINES = ["httpx", "fast"]
# The standard library leaves the socket of an interrupted connect to the garbage collector, which warns.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
needs_signals = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs setitimer")
TOKEN_ANSWER = token_response(TOKEN).content


class Limit(Exception):  # noqa: N818 - as Celery's SoftTimeLimitExceeded
    """An ordinary exception that ends a job."""


class LimitOfTime(TimeoutError):  # noqa: N818
    """An exception that ends a job, of a type that sockets raise as well."""


class Slow(chaos.Server):
    """Answers piece by piece, with a pause before each: token requests with a token, others with an echo."""

    def __init__(self, pause_s: float, pieces: int = 3) -> None:
        super().__init__()
        self.pause_s = pause_s
        self.pieces = pieces
        self.requests = 0

    def serve(self, line: chaos.Line) -> None:
        while True:
            request = line.read_request()
            self.requests += 1
            echo = "".join(f", {name!r}: {value!r}" for name, value in request.headers.items())
            body = TOKEN_ANSWER if request.method == "POST" else f'{{"id": 7, "x": "{echo}"}}'.encode()
            answer = f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body
            size = len(answer) // self.pieces + 1
            for start in range(0, len(answer), size):
                line.pause(self.pause_s)
                line.send(answer[start : start + size])

    @property
    def region(self) -> Region:
        origin = f"http://127.0.0.1:{self.port}"
        return Region.custom("here", api_url=origin, token_url=origin + "/token/{tenant_id}")


def links(error: BaseException | None) -> Iterator[BaseException]:
    pending, seen = [error], set[int]()
    while pending:
        link = pending.pop()
        if link is None or id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        pending += [link.__cause__, link.__context__]
        if isinstance(link, BaseExceptionGroup):
            pending += link.exceptions


def serialized(value: object, depth: int = 6) -> Iterator[str]:
    """Show a local variable as an error tracker does, with containers opened and bytes decoded."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        yield bytes(value).decode("latin-1")
    elif isinstance(value, str) or not depth:
        yield repr(value)
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from serialized(name, depth - 1)
            yield from serialized(item, depth - 1)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from serialized(item, depth - 1)
    else:
        yield repr(value)


def leaks(error: BaseException) -> list[str]:
    """Name the frames beneath this module in which a canary shows."""
    found = []
    for link in links(error):
        traceback = link.__traceback__
        while traceback is not None:
            frame = traceback.tb_frame
            if frame.f_code.co_filename != __file__:
                for name, value in frame.f_locals.items():
                    if any(canary in text for text in serialized(value) for canary in CANARIES):
                        found.append(f"{name} in {frame.f_code.co_qualname}, {frame.f_code.co_filename}")
            traceback = traceback.tb_next
        if any(canary in f"{link!r} {link} {vars(link)!r}" for canary in CANARIES):
            found.append(repr(link))
    return found


def test_the_search_finds_what_is_there() -> None:
    namespace: dict[str, Any] = {"TOKEN": TOKEN}
    code = "def leak():\n head = [(b'x', b'Bearer ' + TOKEN.encode())]\n raise ValueError"
    exec(compile(code, "elsewhere.py", "exec"), namespace)  # noqa: S102
    with pytest.raises(ValueError, match="^$") as caught:  # noqa: RUF043
        namespace["leak"]()
    assert leaks(caught.value) == ["head in leak, elsewhere.py"]


# Signals


def interrupted(
    call: Callable[[], object], after_s: float, kind: type[BaseException]
) -> tuple[BaseException | None, BaseException | None]:
    """Run a call, and raise an exception in this thread after some time, as job queues do.

    Returns:
        What the call raised, and what the handler raised.
    """
    raised: list[BaseException] = []
    is_armed = True

    def interrupt(_number: int, frame: FrameType | None) -> None:
        if not is_armed:
            return
        if frame is not None and frame.f_globals.get("__name__", "").startswith(LOCKING):
            # An exception would leave a lock taken: for httpcore, see docs/explanation/why-a-seam.md.
            signal.setitimer(signal.ITIMER_REAL, 0.0001)
            return
        raised.append(kind("over"))
        raise raised[0]

    # Python swallows an exception in a callback of the garbage collector.
    gc.collect()
    gc.disable()
    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, after_s)
    came_out: BaseException | None = None
    try:
        try:
            call()
        finally:
            is_armed = False
    except BaseException as error:  # noqa: BLE001
        came_out = error
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        gc.enable()
    return came_out, (raised[0] if raised else None)


LOCKING = ("coverage.", "httpcore._synchronization")
MOMENTS = [0.0005 + 0.004 * moment for moment in range(12)]


@needs_signals
@pytest.mark.parametrize("kind", [Limit, LimitOfTime, KeyboardInterrupt])
@pytest.mark.parametrize("credentials", CREDENTIALS)
@pytest.mark.parametrize("engine", ENGINES)
def test_the_exception_of_a_signal_handler_passes_unchanged_and_shows_nothing(
    engine: Any, credentials: str, kind: type[BaseException]
) -> None:
    seen: list[Attempt] = []
    with Slow(0.006) as server:
        # An import may take the exception of a handler for its own. So the first call does all imports.
        with ThriveClient(server.region, CREDENTIALS[credentials], engine=engine) as client:
            with pytest.raises(UnexpectedResponseError):
                client.activities.get(ACTIVITY_ID)
        for moment in MOMENTS:
            with ThriveClient(
                server.region, CREDENTIALS[credentials], engine=engine, on_attempt=seen.append
            ) as client:
                error, raised = interrupted(lambda: client.activities.get(ACTIVITY_ID), moment, kind)
                assert error is not None
                # Python's codec for host names raises a copy with a text of its own.
                assert type(error) is kind or (raised is None and isinstance(error, UnexpectedResponseError))
                assert error is raised or raised is None or "codec" in str(error)
                assert leaks(error) == []
                # Nothing is locked, half read, or waited for in vain.
                with pytest.raises(UnexpectedResponseError) as after:
                    client.activities.get(ACTIVITY_ID, timeout=PATIENCE_S)
                assert leaks(after.value) == []
            del error, raised, after
    assert {attempt.status_code for attempt in seen} == {200}


@needs_signals
@pytest.mark.parametrize("engine", ENGINES)
def test_an_interrupted_call_leaves_no_connection_behind(engine: Any) -> None:
    with Slow(0.004) as server, ThriveClient(server.region, BASIC, engine=engine) as client:
        for moment in MOMENTS:
            interrupted(lambda: client.activities.get(ACTIVITY_ID), moment, Limit)
        gc.collect()
        with pytest.raises(UnexpectedResponseError):
            client.activities.get(ACTIVITY_ID)
        before = server.connections  # only now has the server accepted those of interrupted calls as well
        with pytest.raises(UnexpectedResponseError):
            client.activities.get(ACTIVITY_ID)
        assert server.connections == before


@needs_signals
@pytest.mark.parametrize("kind", [Limit, LimitOfTime])
def test_a_wait_between_two_attempts_can_be_interrupted(kind: type[BaseException]) -> None:
    transport = httpx.MockTransport(lambda _request: httpx.Response(503, headers={"retry-after": "20"}))
    with ThriveClient(Region.PRODUCTION, BASIC, transport=transport) as client:
        error, raised = interrupted(lambda: client.activities.get(ACTIVITY_ID), 0.05, kind)
    assert error is not None
    assert error is raised


@needs_signals
@pytest.mark.parametrize("kind", [Limit, LimitOfTime])
def test_a_wait_for_a_token_of_another_thread_can_be_interrupted(kind: type[BaseException]) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def handler(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            asked.set()
            assert go_on.wait(PATIENCE_S)
            return token_response()
        return page_response()

    with ThriveClient(Region.PRODUCTION, OAUTH, transport=httpx.MockTransport(handler)) as client:
        other = threading.Thread(target=client.activities.get, args=(ACTIVITY_ID,))
        other.start()
        assert asked.wait(PATIENCE_S)
        error, raised = interrupted(lambda: client.activities.get(ACTIVITY_ID), 0.05, kind)
        assert error is not None
        assert error is raised
        go_on.set()
        other.join()
        assert client.activities.get(ACTIVITY_ID).id == ACTIVITY_ID


@needs_signals
@pytest.mark.parametrize("kind", [Limit, LimitOfTime])
def test_an_interrupted_leader_lets_another_caller_lead(kind: type[BaseException]) -> None:
    answers = iter([20.0, 0.0])

    def handler(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            leads.set()
            time.sleep(next(answers))
            return token_response()
        return page_response()

    def follow() -> None:
        assert leads.wait(PATIENCE_S)
        got.append(client.activities.get(ACTIVITY_ID))

    leads = threading.Event()
    got: list[object] = []
    with ThriveClient(Region.PRODUCTION, OAUTH, transport=httpx.MockTransport(handler)) as client:
        other = threading.Thread(target=follow)
        other.start()
        error, raised = None, None
        for limit_s in growing_limits(0.15):
            error, raised = interrupted(lambda: client.activities.get(ACTIVITY_ID), limit_s, kind)
            if leads.is_set():
                break
        assert error is not None
        assert error is raised
        other.join()
    assert len(got) == 1


@needs_signals
@pytest.mark.parametrize("kind", [Limit, LimitOfTime])
def test_code_of_the_caller_that_a_call_runs_can_be_interrupted(kind: type[BaseException]) -> None:
    """A function that returns a secret, `on_attempt`, `on_drift`, a token store, and a source of IDs."""

    def slow(*_args: object) -> Any:
        time.sleep(20)

    class Store:
        load = try_lock = save = forget = slow

    def ids() -> Iterator[str]:
        yield ACTIVITY_ID
        slow()

    plain = httpx.MockTransport(lambda _request: page_response())
    drifting = httpx.MockTransport(lambda _request: page_response(name=5))
    asked = BasicCredentials(TENANT, slow)
    store: Any = Store()
    calls: list[Callable[[], object]] = [
        lambda: ThriveClient(Region.PRODUCTION, asked, transport=plain).activities.get(ACTIVITY_ID),
        lambda: ThriveClient(Region.PRODUCTION, BASIC, transport=plain, on_attempt=slow).activities.get(
            ACTIVITY_ID
        ),
        lambda: ThriveClient(Region.PRODUCTION, BASIC, transport=drifting, on_drift=slow).activities.get(
            ACTIVITY_ID
        ),
        ThriveClient(Region.PRODUCTION, OAUTH, transport=plain, token_store=store).tokens.get,
        lambda: list(ThriveClient(Region.PRODUCTION, BASIC, transport=plain).activities.get_many(ids())),
    ]
    for call in calls:
        error, raised = interrupted(call, 0.1, kind)
        assert error is not None
        assert error is raised


def assert_bulk_threads_end() -> None:
    """Wait for a thread that was about to start when the exception came, because it ends a little later."""
    # One that Python was about to start, and never did, stays in its list.
    wait_until(
        lambda: (
            not [
                thread
                for thread in threading.enumerate()
                if thread.name == "thrive-bulk" and thread.is_alive()
            ]
        )
    )


@needs_signals
@pytest.mark.parametrize("kind", [Limit, LimitOfTime, KeyboardInterrupt])
@pytest.mark.parametrize("engine", ENGINES)
def test_a_bulk_run_can_be_interrupted_at_any_moment(engine: Any, kind: type[BaseException]) -> None:
    ids = (f"{number:024x}" for number in itertools.count())
    with Slow(0.004) as server:
        for moment in MOMENTS:
            with ThriveClient(server.region, CREDENTIALS["form"], engine=engine) as client:
                stream = client.activities.get_many(ids, concurrency=4)
                error, raised = interrupted(lambda: list(stream), moment + 0.03, kind)  # noqa: B023
                assert error is not None
                assert error is raised
                assert leaks(error) == []
                assert_bulk_threads_end()
                with pytest.raises(UnexpectedResponseError):
                    client.activities.get(ACTIVITY_ID)


@pytest.mark.parametrize("kind", [Limit, RuntimeError, AssertionError])
def test_other_exceptions_of_the_callers_transport_pass_unchanged(
    flavour: Flavour, kind: type[Exception]
) -> None:
    raised = kind("broken")
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        raise raised

    with flavour.answering(handler, retry=RetryPolicy()) as client:
        with pytest.raises(kind) as caught:
            client.activities.get(ACTIVITY_ID)
        assert caught.value is raised
        assert caught.value.__cause__ is None
        with pytest.raises(kind):
            list(client.activities.get_many([ACTIVITY_ID]))
    assert len(seen) == 2
    assert leaks(caught.value) == []


# Tasks


async def on_asyncio(client: AsyncThriveClient, moment: float, way: str) -> BaseException | None:
    try:
        if way == "timeout":
            async with asyncio.timeout(moment):
                await client.activities.get(ACTIVITY_ID)
        elif way == "wait_for":
            await asyncio.wait_for(client.activities.get(ACTIVITY_ID), moment)
        else:
            task = asyncio.create_task(client.activities.get(ACTIVITY_ID))
            asyncio.get_running_loop().call_later(moment, task.cancel)
            await task
    except (TimeoutError, asyncio.CancelledError, ThriveError) as error:
        return error
    return None


async def on_trio(client: AsyncThriveClient, moment: float, way: str) -> BaseException | None:
    kept: list[BaseException] = []
    try:
        with trio.fail_after(moment):
            try:
                await client.activities.get(ACTIVITY_ID)
            except BaseException as error:
                kept.append(error)
                raise
    except (trio.TooSlowError, ThriveError) as error:
        return BaseExceptionGroup(way, [error, *kept])
    return None


@pytest.mark.parametrize(
    ("backend", "way"),
    [("asyncio", "timeout"), ("asyncio", "wait_for"), ("asyncio", "cancel"), ("trio", "fail_after")],
)
@pytest.mark.parametrize("credentials", CREDENTIALS)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_canceled_call_shows_nothing(engine: Any, credentials: str, backend: str, way: str) -> None:
    attempt = on_asyncio if backend == "asyncio" else on_trio

    async def main() -> None:
        async with AsyncThriveClient(server.region, CREDENTIALS[credentials], engine=engine) as client:
            for moment in MOMENTS:
                error = await attempt(client, moment, way)
                assert error is not None
                assert leaks(error) == []
            with pytest.raises(UnexpectedResponseError) as caught:
                await client.activities.get(ACTIVITY_ID)
            assert leaks(caught.value) == []
            with pytest.raises(ThriveError) as late:
                await client.activities.get(ACTIVITY_ID, timeout=0.008)
            assert leaks(late.value) == []

    with Slow(0.006) as server:
        anyio.run(main, backend=backend)


@pytest.mark.parametrize("credentials", CREDENTIALS)
@pytest.mark.parametrize("engine", ENGINES)
def test_an_echo_that_violates_the_contract_shows_nothing(
    flavour: Flavour, engine: Any, credentials: str
) -> None:
    with Slow(0.0) as server:
        with flavour.open(server.region, CREDENTIALS[credentials], engine=engine) as client:
            with pytest.raises(UnexpectedResponseError) as caught:
                client.activities.get(ACTIVITY_ID)
    assert leaks(caught.value) == []


# The call's own time limit


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("at_the_token_endpoint", [False, True], ids=["API", "token endpoint"])
def test_an_attempt_that_the_deadline_cuts_off_is_reported(
    flavour: Flavour, kept: Any, engine: Any, *, at_the_token_endpoint: bool
) -> None:
    seen: list[Attempt] = []
    credentials: Any = OAUTH if at_the_token_endpoint else BASIC
    with Chaos() as server:
        server.plan(Trouble(chaos.silence))
        region = Region.custom("here", api_url=server.origin, token_url=server.origin + "/{tenant_id}")
        with flavour.open(region, credentials, engine=engine, on_attempt=seen.append) as client:
            for limit_s in growing_limits(0.2):
                seen.clear()
                kept.records.clear()
                with pytest.raises(DeadlineExceededError) as caught:
                    client.activities.get(ACTIVITY_ID, timeout=limit_s)
                if server.requests:
                    break
            else:
                pytest.fail("no limit was long enough")
    error = caught.value
    assert (error.attempts, list(error.history)) == (1, seen)
    (attempt,) = seen
    operation = "tokens.get" if at_the_token_endpoint else "activities.get"
    assert (attempt.number, attempt.status_code, attempt.delay) == (1, None, None)
    assert (attempt.error, attempt.operation) == ("DeadlineExceededError", operation)
    assert attempt.elapsed > 0
    assert error.operation == operation
    assert str(error).startswith(f"127.0.0.1 did not answer within Timeout.total={limit_s:g} s")
    assert sum("DeadlineExceededError" in record.getMessage() for record in kept.records) == 1


@pytest.mark.anyio
async def test_a_call_that_its_caller_cancels_is_not_reported_as_too_late() -> None:
    seen: list[Attempt] = []
    with Chaos() as server:
        server.plan(Trouble(chaos.silence))
        region = Region.custom("here", api_url=server.origin, token_url=server.origin + "/{tenant_id}")
        async with AsyncThriveClient(region, BASIC, on_attempt=seen.append) as client:
            with anyio.move_on_after(0.1) as scope:
                await client.activities.get(ACTIVITY_ID)
    assert scope.cancelled_caught
    assert seen == []
