"""The rate limits that memory, files, and Redis keep, by themselves and shared by real processes."""

import itertools
import json
import math
import os
import pickle
import re
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import filelock
import pytest
import redis
from hypothesis import example, given, settings
from hypothesis import strategies as st
from irregular_files import a_folder, a_link, a_pipe
from loopback_http import unused_port
from patience import PATIENCE_S
from redis.cluster import RedisCluster
from token_servers import RedisServer, redis_server

from thrive_learning import FileTokenStore, MemoryTokenStore, RateLimitStore, RedisTokenStore
from thrive_learning._limits import bucket, memory
from thrive_learning._limits.bucket import BucketState
from thrive_learning.token_stores import _redis_limits, files

KEY, ANOTHER_KEY = "0" * 32, "f" * 32

#: Low enough that no test waits for it.
SLOW = 0.001


@pytest.fixture(scope="session")
def real_redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture(params=["memory", "file", "Redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    if request.param == "memory":
        yield MemoryTokenStore()
    elif request.param == "file":
        monkeypatch.setattr(files, "_LOCK_WAIT_S", PATIENCE_S)  # threads on a busy machine
        yield FileTokenStore(tmp_path / "deep" / "tokens")
    else:
        server: RedisServer = request.getfixturevalue("real_redis")
        found = RedisTokenStore(server.url, prefix=f"{tmp_path}:")
        yield found
        found._client().close()


def take(store: RateLimitStore, key: str = KEY, *, longest_wait_s: float = 1e6, burst: float = 1.0) -> float:
    return store.take(key, per_second=SLOW, burst=burst, longest_wait_s=longest_wait_s)


def test_requests_are_reserved_one_after_another(store: RateLimitStore) -> None:
    assert [round(take(store, burst=2.0) * SLOW, 2) for _ in range(4)] == [0, 0, 1, 2]
    assert take(store, ANOTHER_KEY) == 0


def test_a_request_that_is_too_late_reserves_nothing(store: RateLimitStore) -> None:
    assert take(store, longest_wait_s=0) == 0
    late_s = take(store, longest_wait_s=999)
    assert 999 < late_s <= 1000
    assert take(store, longest_wait_s=0) == pytest.approx(late_s, abs=30)
    assert take(store) == pytest.approx(1000, abs=30)
    assert take(store) == pytest.approx(2000, abs=30)


def test_a_pause_and_a_lower_rate_apply_to_all(store: RateLimitStore) -> None:
    store.slow(KEY, pause_s=600, per_second=0.005, for_s=900)
    waits = [store.take(KEY, per_second=1.0, burst=5.0, longest_wait_s=1e6) for _ in range(4)]
    assert waits == pytest.approx([600, 800, 1000, 1200], abs=30)
    assert [second - first for first, second in itertools.pairwise(waits)] == pytest.approx(
        [200, 200, 200], abs=0.5
    )


def test_a_pause_alone_and_a_rate_alone(store: RateLimitStore) -> None:
    store.slow(KEY, pause_s=600)
    assert take(store) == pytest.approx(600, abs=30)
    store.slow(ANOTHER_KEY, per_second=0.1, for_s=900)
    waits = [store.take(ANOTHER_KEY, per_second=1.0, burst=5.0, longest_wait_s=1e6) for _ in range(2)]
    assert waits == pytest.approx([0, 10], abs=1)


@pytest.mark.parametrize("value", [math.nan, math.inf], ids=str)
def test_a_rate_that_is_not_finite_does_not_end_the_limit(store: RateLimitStore, value: float) -> None:
    take(store)
    store.slow(KEY, per_second=value, for_s=60)
    store.slow(KEY, pause_s=math.nan)
    assert take(store) == pytest.approx(1000, abs=30)


def test_threads_share_a_limit(store: RateLimitStore) -> None:
    gate, waits = threading.Barrier(8), list[float]()

    def work() -> None:
        gate.wait(PATIENCE_S)
        for _ in range(10):
            waits.append(take(store))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(round(wait * SLOW, 1) for wait in waits) == list(range(80))


#: Several processes that begin at once, and print what they reserved.
WORKER = """
import json, sys
import thrive_learning as thrive
from thrive_learning.token_stores import files

files._LOCK_WAIT_S = 60.0  # the processes compete for the processors
store = STORE
print("ready", flush=True)
sys.stdin.readline()
print(json.dumps([store.take("0" * 32, per_second=0.001, burst=1.0, longest_wait_s=1e6) for _ in range(25)]))
"""


def reserved_by_processes(store: str, *, count: int = 4) -> list[float]:
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER.replace("STORE", store)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(count)
    ]
    try:
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
        return [wait for worker in workers for wait in json.loads(worker.communicate()[0])]
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()


@pytest.mark.parametrize("kind", ["file", "Redis"])
def test_processes_share_a_limit(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if kind == "file":
        store = f"thrive.FileTokenStore({str(tmp_path / 'tokens')!r})"
    else:
        server: RedisServer = request.getfixturevalue("real_redis")
        store = f"thrive.RedisTokenStore({server.url!r}, prefix={str(tmp_path)!r})"
    waits = reserved_by_processes(store)
    assert sorted(round(wait * SLOW, 1) for wait in waits) == list(range(100))


# Memory


def test_memory_is_pickled_without_its_limits() -> None:
    store = MemoryTokenStore()
    take(store)
    assert take(pickle.loads(pickle.dumps(store))) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_that_is_forked_while_a_thread_reserves_does_not_hang() -> None:
    store = MemoryTokenStore()
    take(store)
    children: list[int] = []

    def fork() -> None:
        child = os.fork()
        if child == 0:  # in a thread that does not hold the lock
            os._exit(0 if take(store) > 0 else 1)
        children.append(child)

    forking = threading.Thread(target=fork)
    with memory._lock:
        forking.start()
        forking.join()
        [child] = children
        ends_at = time.monotonic() + PATIENCE_S
        while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < ends_at:
            time.sleep(0.01)
    if ended == (0, 0):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert ended == (child, 0)


def test_threads_do_not_reserve_the_same_slot() -> None:
    gate, waits = threading.Barrier(8), list[float]()

    def slow_clock() -> float:
        time.sleep(0.001)  # lets another thread run
        return 100.0

    store = memory.MemoryLimits(slow_clock)

    def work() -> None:
        gate.wait(PATIENCE_S)
        for _ in range(5):
            waits.append(take(store))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(round(wait * SLOW) for wait in waits) == list(range(40))


def test_a_child_gets_a_lock_of_its_own() -> None:
    before = memory._lock
    memory._after_fork()
    assert memory._lock is not before


# Files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "tokens"


def state_of(folder: Path) -> Path:
    return folder / f"thrive-limit-{KEY}.txt"


def lock_of(folder: Path) -> Path:
    return folder / f"thrive-limit-{KEY}.lock"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
@pytest.mark.parametrize("umask", [0o000, 0o077], ids=oct)
def test_files_and_their_folder_are_closed_to_others(folder: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        take(FileTokenStore(folder))
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == {state_of(folder).name: 0o600, lock_of(folder).name: 0o600}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files in folders")
@pytest.mark.parametrize("put_there", [a_link, a_pipe, a_folder], ids=["link", "pipe", "folder"])
@pytest.mark.parametrize("which", [state_of, lock_of], ids=["state", "lock"])
def test_other_kinds_of_files_are_neither_read_nor_written(
    folder: Path, put_there: Callable[[Path], None], which: Callable[[Path], Path]
) -> None:
    store = FileTokenStore(folder)
    take(store)
    put_there(which(folder))
    before = which(folder).lstat()
    with pytest.raises(OSError, match=r"is not a regular file of this user. Remove it"):
        take(store)
    with pytest.raises(OSError, match=r"is not a regular file of this user. Remove it"):
        store.slow(KEY, pause_s=1)
    assert which(folder).lstat() == before


def test_a_file_that_others_may_read_is_not_used(folder: Path) -> None:
    take(FileTokenStore(folder))
    state_of(folder).chmod(0o640)
    with pytest.raises(ValueError, match="its limit is open to other users"):
        take(FileTokenStore(folder))


def test_a_folder_that_others_may_enter_is_not_used(folder: Path) -> None:
    folder.mkdir(mode=0o750)
    with pytest.raises(OSError, match=r"its folder is open to other users \(mode 0750\)"):
        take(FileTokenStore(folder))


@pytest.mark.parametrize("key", ["", "..", "../x", "A" * 32, "0" * 32 + "\n"], ids=ascii)
def test_a_key_cannot_name_another_file(folder: Path, key: str) -> None:
    with pytest.raises(ValueError, match="32 hexadecimal digits"):
        take(FileTokenStore(folder), key)
    assert not folder.exists()


def test_a_lock_that_is_held_is_an_error_soon(folder: Path) -> None:
    store = FileTokenStore(folder)
    take(store)
    with filelock.FileLock(lock_of(folder)):
        with pytest.raises(OSError, match=r"limit-0+.lock in its folder has been locked for 0.5 seconds"):
            take(store)
    assert take(store) > 900


def test_a_failure_releases_the_lock(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FileTokenStore(folder)

    def full(_file: int, _data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space left"):
            take(store)
    assert take(store) == 0  # what was not written was not reserved
    assert take(store) > 900


@pytest.mark.parametrize(
    "damage",
    [
        lambda _text: "",
        lambda text: text[:-1],
        lambda text: text[: len(text) // 2],
        lambda _text: "x" * 10_000,
        lambda _text: "\0" * 100,
        lambda text: "another-boot" + text[text.index(" ") :],
        lambda text: text.split(" ")[0] + " 1 0.0 1e300 .",
        lambda text: text.split(" ")[0] + " 1 1e300 1e300 .",
    ],
    ids=["empty", "cut", "half", "long", "zeros", "another-boot", "far-ahead", "another-clock"],
)
def test_a_file_that_cannot_be_right_is_replaced_and_not_waited_for(
    folder: Path, damage: Callable[[str], str]
) -> None:
    store = FileTokenStore(folder)
    take(store)
    assert take(store) > 900
    state_of(folder).write_text(damage(state_of(folder).read_text()))
    assert take(store) == 0
    assert take(store) > 900


def test_a_long_state_is_replaced_by_a_shorter_one(folder: Path) -> None:
    store = FileTokenStore(folder)
    for number in range(1, 9):
        store.slow(KEY, per_second=number + 1 / 3, for_s=number + 1 / 3)
    lengths = [len(state_of(folder).read_text())]
    state_of(folder).write_text("")
    take(store)
    lengths.append(len(state_of(folder).read_text()))
    assert lengths[1] < lengths[0] < files._LONGEST_STATE_BYTES


def test_a_system_without_a_name_for_its_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_path: Path, **_options: Any) -> str:
        raise FileNotFoundError

    files._boot.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", missing)
        take(FileTokenStore(folder))
        assert take(FileTokenStore(folder)) > 900
    assert state_of(folder).read_text().startswith("- 1 ")
    files._boot.cache_clear()


def test_files_of_a_week_ago_are_removed(folder: Path) -> None:
    store = FileTokenStore(folder)
    take(store, ANOTHER_KEY)
    others = [folder / name for name in (f"thrive-limit-{KEY}.txt.bak", "limit.txt", "thrive-limit-.lock")]
    old = [path for path in folder.iterdir() if ANOTHER_KEY in path.name]
    assert len(old) == 2
    for path in others:
        path.touch()
    week_ago = time.time() - 8 * 86_400
    for path in (*old, *others):
        os.utime(path, (week_ago, week_ago))
    take(store)
    assert set(folder.iterdir()) == {state_of(folder), lock_of(folder), *others}


# Redis


@pytest.fixture
def cache(real_redis: RedisServer, tmp_path: Path) -> Iterator[RedisTokenStore]:
    found = RedisTokenStore(real_redis.url, prefix=f"{tmp_path}:")
    yield found
    found._client().close()


class Script:
    """The script with a clock of the test's, which is its last argument."""

    def __init__(self, client: Any, key: str) -> None:
        self._client, self._key = client, key
        self._script = client.register_script("local now = tonumber(ARGV[#ARGV])" + _redis_limits.REST)

    def __call__(self, operation: str, *numbers: float) -> Any:
        return self._script([self._key], [operation, *map(repr, numbers)])

    def state(self) -> BucketState | None:
        text: bytes | None = self._client.get(self._key)
        return None if text is None else bucket.decode(text.decode())


RATES = st.floats(1e-3, 1e6) | st.floats(0.5, 20) | st.integers(1, 20).map(float)
SECONDS = st.floats(0, 5000) | st.floats(0, 5) | st.integers(0, 5).map(float)
SLOWED = st.tuples(st.just("slow"), SECONDS, SECONDS, RATES, SECONDS)
TAKEN = st.tuples(st.just("take"), SECONDS, RATES, st.floats(1, 100), SECONDS | st.just(1e9))
STEPS = [("slow", 0.0, 0.0, float(number), float(number)) for number in range(1, 7)]


@given(st.lists(SLOWED | TAKEN, min_size=1, max_size=30), st.floats(1e9, 2e9))
@example([*STEPS, *[("take", 0.0, 9.0, 1.0, 9.0)] * 40], 1e9)
@example([("slow", 0.0, 1.0, 0.7, 3.0), *[("take", 0.0, 9.0, 1.0, 9.0)] * 9], 1e9)
@settings(deadline=None)
def test_the_script_does_what_the_bucket_does(
    real_redis: RedisServer, events: list[tuple[str, float, float, float, float]], now: float
) -> None:
    """To the last bit, so that no number loses digits in Lua or Redis."""
    client = redis.Redis(port=real_redis.port)
    client.delete("compared")
    script, state = Script(client, "compared"), None
    for operation, gap_s, *numbers in events:
        now += gap_s
        answer = script(operation, *numbers, now)
        if operation == "take":
            per_second, burst, longest_wait_s = numbers
            wait_s, changed = bucket.take(
                state, now, per_second=per_second, burst=burst, longest_wait_s=longest_wait_s
            )
            state = changed or state
            assert float(answer) == wait_s
        else:
            pause_s, per_second, for_s = numbers
            state = bucket.slow(state, now, pause_s=pause_s, per_second=per_second, for_s=for_s)
        assert script.state() == state
    client.close()


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "x",
            "1 1 .",
            "1 .",
            "2 100 110 .",
            "1 100 x .",
            "1 100 200 300 .",
            "1 100 nan .",
            "1 100 inf .",
            "1 100 200",
        ),
        "1 102 110 .",
        f"1 100 {100 + 368 * 86_400} .",
        "1 100 100 3701 0 .",
        "1 100 100 200 -1 .",
        "1 100 100 201 0 202 0 203 0 204 0 205 0 .",
    ],
    ids=ascii,
)
def test_an_entry_that_cannot_be_right_is_replaced_and_not_waited_for(
    cache: RedisTokenStore, text: str
) -> None:
    client = cache._client()
    script = Script(client, "damaged")
    client.set("damaged", text)
    assert float(script("take", 10.0, 1.0, 0.0, 100.0)) == 0.0
    assert script.state() == BucketState(100.0, 100.1)


def test_an_entry_of_another_kind_is_replaced(cache: RedisTokenStore) -> None:
    cache._client().lpush(f"{cache._prefix}{KEY}:limit", "x")
    assert take(cache) == 0
    assert take(cache) > 900


def test_an_entry_expires_when_it_is_no_different_from_a_new_one(cache: RedisTokenStore) -> None:
    name = f"{cache._prefix}{KEY}:limit"
    take(cache)
    left_ms: Any = cache._client().pttl(name)
    assert 990_000 < left_ms <= 1_001_000
    cache.slow(KEY, pause_s=3000)
    left_ms = cache._client().pttl(name)
    assert 2_990_000 < left_ms <= 3_001_000
    cache.take(ANOTHER_KEY, per_second=1e6, burst=1.0, longest_wait_s=0)
    left_ms = cache._client().pttl(f"{cache._prefix}{ANOTHER_KEY}:limit")
    assert 0 < left_ms <= 1_001


def test_the_clock_is_that_of_the_server(cache: RedisTokenStore) -> None:
    take(cache)
    text: Any = cache._client().get(f"{cache._prefix}{KEY}:limit")
    state = bucket.decode(text.decode())
    seconds, microseconds = cache._client().time()
    assert state is not None
    assert state.written_at == pytest.approx(seconds + microseconds / 1e6, abs=30)
    assert state.free_at - state.written_at == pytest.approx(1000, abs=1e-6)


def test_a_script_that_the_server_forgot_is_sent_again(cache: RedisTokenStore) -> None:
    sent: list[str] = []
    take(cache)
    client: Any = cache._client()
    client.script_flush()
    evaluate = client.eval

    def counted(script: str, *arguments: Any) -> Any:
        sent.append(script)
        return evaluate(script, *arguments)

    client.eval = counted
    assert take(cache) > 900
    assert take(cache) > 1900
    assert sent == [_redis_limits.SCRIPT]


def test_the_script_uses_one_key_as_a_cluster_requires(cache: RedisTokenStore) -> None:
    assert set(_key_names(_redis_limits.SCRIPT)) == {"KEYS[1]"}
    take(cache)
    found: Any = cache._client().keys(f"{cache._prefix}*")
    assert found == [f"{cache._prefix}{KEY}:limit".encode()]


def _key_names(script: str) -> Iterator[str]:
    for line in script.splitlines():
        if "redis.call('" in line or "redis.pcall('" in line:
            arguments = line.split("call('", 1)[1].split(")", 1)[0]
            if not arguments.startswith("TIME'"):
                yield arguments.split(", ")[1]


def test_a_client_of_ones_own_that_decodes(real_redis: RedisServer, tmp_path: Path) -> None:
    own = redis.Redis(port=real_redis.port, decode_responses=True)
    store = RedisTokenStore(lambda: own, prefix=f"{tmp_path}:")
    assert (take(store), round(take(store) * SLOW, 2)) == (0, 1)
    own.close()


def test_a_cluster(tmp_path: Path) -> None:
    options = {"cluster-enabled": "yes", "cluster-port": str(unused_port()), "dir": str(tmp_path)}
    with redis_server(options=options) as server:
        node: Any = redis.Redis(port=server.port)
        node.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
        ends_at = time.monotonic() + PATIENCE_S
        while not re.search(r"cluster_state\W+ok", str(node.execute_command("CLUSTER INFO"))):
            assert time.monotonic() < ends_at
            time.sleep(0.05)
        node.close()
        cluster: Any = RedisCluster(host="127.0.0.1", port=server.port)
        store = RedisTokenStore(lambda: cluster)
        assert [round(take(store) * SLOW, 2) for _ in range(3)] == [0, 1, 2]
        assert round(take(store, ANOTHER_KEY) * SLOW, 2) == 0
        cluster.close()
