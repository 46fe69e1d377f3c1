"""Connections are taken, given back and closed: with stand-ins for httpcore's, on a clock that is ours."""

import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import httpcore
import pytest

from thrive_learning import _pool
from thrive_learning._pool import KEPT_ALIVE_S, AsyncPool, Connections
from thrive_learning._pool import Pool as SyncPool


class Connection:
    """A connection as httpcore makes it: idle between requests, until it is closed or has expired."""

    def __init__(self) -> None:
        self.expired = False
        self.closed = 0
        self.busy = False
        self.fails: BaseException | None = None
        self.breaks = False
        self.requests = 0

    def handle_request(self, _request: httpcore.Request) -> httpcore.Response:
        assert not self.busy
        if self.fails is not None:
            raise self.fails
        self.requests += 1
        self.busy = True
        return httpcore.Response(200, content=Body(self))

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        await anyio.lowlevel.checkpoint()
        return self.handle_request(request)

    def has_expired(self) -> bool:
        return self.expired

    def is_available(self) -> bool:
        return not (self.busy or self.closed)

    def close(self) -> None:
        self.closed += 1

    async def aclose(self) -> None:
        self.close()


class Body:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __iter__(self) -> Iterator[bytes]:
        yield b"body"

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"body"

    def close(self) -> None:
        self._connection.busy = self._connection.breaks
        if self._connection.fails is not None:
            raise self._connection.fails

    async def aclose(self) -> None:
        self.close()


class Opening:
    fails: Exception | None = None

    def __init__(self) -> None:
        super().__init__()
        self.made: list[Any] = []

    def create_connection(self, origin: httpcore.Origin) -> Any:  # noqa: ARG002
        if self.fails is not None:
            raise self.fails
        self.made.append(Connection())
        return self.made[-1]


class Opener(Opening, httpcore.ConnectionPool):
    pass


class AsyncOpener(Opening, httpcore.AsyncConnectionPool):
    pass


class Pool:
    """Either kind of pool behind one face."""

    def __init__(self, kind: str) -> None:
        self._opener: Any = (Opener if kind == "sync" else AsyncOpener)()
        pools: dict[str, Any] = {"sync": SyncPool, "async": AsyncPool}
        self._pool: Any = pools[kind](self._opener)
        self.made: list[Connection] = self._opener.made
        self._sync = kind == "sync"

    async def send(self, host: str = "a.example", limit_s: float | None = None) -> Any:
        extensions = {} if limit_s is None else {"timeout": {"pool": limit_s}}
        request = httpcore.Request("GET", f"https://{host}/x", extensions=extensions)
        if self._sync:
            response = self._pool.handle_request(request)
            assert list(response.stream) == [b"body"]
        else:
            response = await self._pool.handle_async_request(request)
            assert [chunk async for chunk in response.stream] == [b"body"]
        return response.stream

    async def end(self, stream: Any) -> None:
        stream.close() if self._sync else await stream.aclose()

    async def close(self) -> None:
        self._pool.close() if self._sync else await self._pool.aclose()


@pytest.fixture(params=["sync", "async"])
def pool(request: pytest.FixtureRequest) -> Pool:
    return Pool(request.param)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(_pool, "monotonic", lambda: now[0])
    return now


@pytest.mark.anyio
async def test_the_one_given_back_last_is_taken_first(pool: Pool) -> None:
    first, second = await pool.send(), await pool.send()
    await pool.end(second)
    await pool.end(first)
    await pool.end(await pool.send())
    assert [connection.requests for connection in pool.made] == [2, 1]


@pytest.mark.anyio
async def test_hosts_do_not_share_connections(pool: Pool) -> None:
    await pool.end(await pool.send("a.example"))
    await pool.end(await pool.send("b.example"))
    await pool.end(await pool.send("a.example"))
    assert [connection.requests for connection in pool.made] == [2, 1]


@pytest.mark.anyio
async def test_an_expired_one_is_closed_and_not_used(pool: Pool) -> None:
    await pool.end(await pool.send())
    pool.made[0].expired = True
    await pool.end(await pool.send())
    assert [connection.closed for connection in pool.made] == [1, 0]
    assert [connection.requests for connection in pool.made] == [1, 1]


@pytest.mark.anyio
async def test_idle_ones_are_closed_while_others_are_in_use(pool: Pool, clock: list[float]) -> None:
    streams = [await pool.send() for _ in range(4)]
    for stream in streams:
        await pool.end(stream)
    for connection in pool.made[:2]:
        connection.expired = True
    await pool.end(await pool.send())
    assert [connection.closed for connection in pool.made] == [0, 0, 0, 0]
    clock[0] += KEPT_ALIVE_S
    await pool.end(await pool.send())
    assert [connection.closed for connection in pool.made] == [1, 1, 0, 0]


@pytest.mark.anyio
@pytest.mark.parametrize("error", [httpcore.ConnectError("x"), KeyboardInterrupt()], ids=["error", "ctrl-c"])
async def test_a_failed_request_leaves_nothing(
    pool: Pool, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_pool, "MAX_CONNECTIONS", 1)
    pool = Pool("sync" if pool._sync else "async")
    await pool.end(await pool.send())
    pool.made[0].fails = error
    with pytest.raises(type(error)):
        await pool.send(limit_s=0.001)
    assert pool.made[0].closed == 1
    await pool.end(await pool.send(limit_s=0.001))  # there is a place for it
    assert len(pool.made) == 2


@pytest.mark.anyio
async def test_a_connection_that_cannot_be_made_takes_no_place(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_pool, "MAX_CONNECTIONS", 1)
    pool = Pool("sync" if pool._sync else "async")
    pool._opener.fails = ValueError("no")
    with pytest.raises(ValueError, match="no"):
        await pool.send(limit_s=0.001)
    pool._opener.fails = None
    await pool.end(await pool.send(limit_s=0.001))


@pytest.mark.anyio
async def test_all_idle_ones_may_have_expired(pool: Pool, clock: list[float]) -> None:
    stream = await pool.send()
    clock[0] += KEPT_ALIVE_S
    pool.made[0].expired = True
    await pool.end(stream)
    assert pool.made[0].closed == 1


@pytest.mark.anyio
async def test_an_exchange_that_broke_off_is_not_used_again(pool: Pool) -> None:
    stream = await pool.send()
    pool.made[0].breaks = True
    await pool.end(stream)
    await pool.end(stream)  # twice is fine
    await pool.end(await pool.send())
    assert [connection.closed for connection in pool.made] == [1, 0]


@pytest.mark.anyio
async def test_a_body_that_fails_to_end_gives_its_place_back(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_pool, "MAX_CONNECTIONS", 1)
    pool = Pool("sync" if pool._sync else "async")
    stream = await pool.send()
    pool.made[0].fails = httpcore.ReadError("x")
    with pytest.raises(httpcore.ReadError):
        await pool.end(stream)
    pool.made[0].expired = True
    await pool.end(await pool.send(limit_s=0.001))


@pytest.mark.anyio
async def test_who_waits_too_long_for_a_place_is_told(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_pool, "MAX_CONNECTIONS", 1)
    pool = Pool("sync" if pool._sync else "async")
    stream = await pool.send()
    with pytest.raises(httpcore.PoolTimeout, match="requests are on their way"):
        await pool.send(limit_s=0.001)
    await pool.end(stream)
    await pool.end(await pool.send(limit_s=0.001))
    assert len(pool.made) == 1


@pytest.mark.anyio
async def test_who_waits_gets_the_next_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_pool, "MAX_CONNECTIONS", 1)
    pool = Pool("async")

    async def one() -> None:
        await pool.end(await pool.send())

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(one)
    assert [connection.requests for connection in pool.made] == [5]


@pytest.mark.anyio
async def test_close_ends_those_in_use_too(pool: Pool) -> None:
    idle, used = await pool.send(), await pool.send()
    await pool.end(idle)
    await pool.close()
    assert [connection.closed for connection in pool.made] == [1, 1]
    await pool.end(used)
    await pool.close()
    assert [connection.closed for connection in pool.made] == [1, 2]


def test_threads_never_share_a_connection() -> None:
    opener = Opener()
    pool = SyncPool(opener)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(500):
                request = httpcore.Request("GET", "https://a.example/x")
                pool.handle_request(request).stream.close()  # type: ignore[union-attr]
        except BaseException as error:  # noqa: BLE001 - the main thread looks at it
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures  # a stand-in that is busy refuses
    assert len(opener.made) <= 8


class Vanishing:
    """A stack that another thread empties between the look and the take."""

    def __init__(self) -> None:
        self.looks = 0
        self.kept: list[Any] = []

    def append(self, connection: Any) -> None:
        self.kept.append(connection)

    def __bool__(self) -> bool:
        self.looks += 1
        return True

    def pop(self) -> Any:
        raise IndexError

    popleft = pop


def test_another_thread_may_be_quicker() -> None:
    connections = Connections(lambda _site: Connection())
    idle = Vanishing()
    site = (b"https", b"a.example", None)
    whole: Any = connections
    whole._idle[site] = idle
    connection = connections.take(site, 1)
    connections.give_back(connection, site)
    assert (idle.looks, idle.kept) == (2, [connection])


ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody"


@pytest.mark.anyio
@pytest.mark.parametrize("proxied", [False, True])
async def test_a_connection_for_one_request_at_a_time_needs_no_locks(proxied: bool) -> None:  # noqa: FBT001
    """Their names are httpcore's own: a version that has others makes calls slower, and this fail."""
    said = [b"HTTP/1.1 200 Connected\r\n\r\n"] * proxied + [ANSWER, ANSWER]
    backend = httpcore.AsyncMockBackend(said)
    opener: httpcore.AsyncConnectionPool = httpcore.AsyncConnectionPool(network_backend=backend)
    if proxied:
        opener = httpcore.AsyncHTTPProxy("http://proxy.example", network_backend=backend)
    pool = AsyncPool(opener)
    for _ in range(2):
        request = httpcore.Request("GET", "https://api.example/", headers={"Host": "api.example"})
        response = await pool.handle_async_request(request)
        assert await response.aread() == b"body"
        await response.aclose()
    [connection] = pool._connections._open
    part: Any = connection
    locks: list[Any] = []
    while part is not None:
        locks += [value for name, value in vars(part).items() if name.endswith("_lock")]
        part = getattr(part, "_connection", None)
    assert len(locks) == 2
    assert all(isinstance(lock, _pool._Unlocked) for lock in locks)
    await pool.aclose()
