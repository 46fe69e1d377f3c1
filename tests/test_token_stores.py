"""The three token stores by themselves, and shared by real processes."""

import importlib.util
import os
import pickle
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import trustme
from hypothesis import given
from hypothesis import strategies as st
from irregular_files import a_folder, a_link, a_pipe
from patience import PATIENCE_S
from redis.exceptions import LockNotOwnedError
from token_servers import PATIENT, Machine, RedisServer, TokenServer, cold_start, redis_server

from thrive_learning import (
    AsyncThriveClient,
    BasicCredentials,
    ConfigurationError,
    FileTokenStore,
    MemoryTokenStore,
    RedisTokenStore,
    Region,
    Secret,
    StoredToken,
    ThriveClient,
    TokenStore,
)
from thrive_learning.token_stores import redis as redis_store

KEY, ANOTHER_KEY = "0" * 32, "f" * 32


def token(value: str = "canary-1", lifetime_s: float = 3600.0) -> StoredToken:
    return StoredToken(
        value=value, expires_at=time.time() + lifetime_s, lifetime_s=lifetime_s, scopes=("api/read", "other")
    )


class FakeLock:
    def __init__(self, entries: dict[str, Any], name: str, timeout: float) -> None:
        self._entries, self._name = entries, name
        self._lease_ends = time.monotonic() + timeout

    def acquire(self, *, blocking: bool) -> bool:
        assert not blocking
        held = self._entries.get(self._name)
        if held is not None and time.monotonic() < held._lease_ends:
            return False
        self._entries[self._name] = self
        return True

    def release(self) -> None:
        if self._entries.get(self._name) is not self:
            raise LockNotOwnedError
        del self._entries[self._name]


class FakeRedis:
    """The methods of `redis.Redis` that the cache uses, for where there is no server to test with."""

    def __init__(self) -> None:
        self.entries: dict[str, Any] = {}

    def get(self, name: str) -> bytes | None:
        value: str | None = self.entries.get(name)
        return None if value is None else value.encode()

    def set(self, name: str, value: str, *, px: int) -> None:
        assert px > 0
        self.entries[name] = value

    def eval(self, script: str, numkeys: int, name: str, value: bytes) -> None:
        assert (script, numkeys) == (redis_store._DELETE_IF_SAME, 1)
        if self.get(name) == value:
            del self.entries[name]

    def lock(self, name: str, *, timeout: float, thread_local: bool) -> FakeLock:
        assert not thread_local  # async clients come back from another thread
        return FakeLock(self.entries, name, timeout)


@pytest.fixture(scope="session")
def real_redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture(params=["memory", "file", "Redis", "a real Redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TokenStore]:
    if request.param == "memory":
        yield MemoryTokenStore()
    elif request.param == "file":
        yield FileTokenStore(tmp_path / "tokens")
    elif request.param == "Redis":
        fake: Any = FakeRedis()
        yield RedisTokenStore(lambda: fake)
    else:
        server: RedisServer = request.getfixturevalue("real_redis")
        cache = RedisTokenStore(server.url, prefix=f"{tmp_path}:")
        yield cache
        cache._client().close()


def test_a_store_keeps_tokens_apart(store: TokenStore) -> None:
    assert isinstance(store, TokenStore)
    first, second = token("one"), token("two")
    assert store.load(KEY) is None
    store.save(KEY, first)
    store.save(ANOTHER_KEY, second)
    assert (store.load(KEY), store.load(ANOTHER_KEY)) == (first, second)
    store.save(KEY, second)
    assert store.load(KEY) == second


def test_a_store_forgets_a_token_unless_another_has_taken_its_place(store: TokenStore) -> None:
    store.forget(KEY, "one")
    store.save(KEY, token("one"))
    store.forget(KEY, "another")
    assert store.load(KEY) is not None
    store.forget(KEY, "one")
    assert store.load(KEY) is None


def test_a_lock_has_one_holder(store: TokenStore) -> None:
    release = store.try_lock(KEY, 60)
    assert release is not None
    assert store.try_lock(KEY, 60) is None
    other = store.try_lock(ANOTHER_KEY, 60)
    assert other is not None
    thread = threading.Thread(target=release)  # async clients give it back from any thread
    thread.start()
    thread.join()
    again = store.try_lock(KEY, 60)
    assert again is not None
    again()
    other()


def test_a_lock_is_free_after_its_lease_and_given_back_by_its_owner_alone(store: TokenStore) -> None:
    late = store.try_lock(KEY, 0.01)
    assert late is not None
    time.sleep(0.05)  # the lease runs out in the server
    if isinstance(store, FileTokenStore):  # the system's locks have no lease: they end with their process
        assert store.try_lock(KEY, 60) is None
        late()
    owner = store.try_lock(KEY, 60)
    assert owner is not None
    late()  # once more, for a file
    assert store.try_lock(KEY, 60) is None
    owner()


def test_one_of_many_threads_gets_the_lock(store: TokenStore) -> None:
    gate, got = threading.Barrier(16), list[Callable[[], object]]()

    def work() -> None:
        gate.wait(PATIENCE_S)
        release = store.try_lock(KEY, 60)
        if release is not None:
            got.append(release)

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [release] = got
    release()


# Stored data


@given(
    st.from_regex(r"[!-~]+", fullmatch=True),
    st.floats(1, 2e11),
    st.floats(1e-3, 1e9),
    st.lists(st.text()),
)
def test_a_stored_token_comes_back_as_it_was(
    value: str, expires_at: float, lifetime_s: float, scopes: list[str]
) -> None:
    stored = StoredToken(value=value, expires_at=expires_at, lifetime_s=lifetime_s, scopes=tuple(scopes))
    assert StoredToken.from_json(stored.to_json()) == stored
    assert StoredToken.from_json(stored.to_json().encode()) == stored


GOOD = '{"value": "canary", "expires_at": 1.0, "lifetime_s": 1.0, "scopes": []}'


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "canary",
            "[]",
            "null",
            '"canary"',
            "{}",
            "[" * 100_000,
            '{"value": "canary"}',
            b"\xff\xfe\xff",
        ),
        GOOD.replace('"canary"', '"canary\\r\\nX-Header: 1"'),
        GOOD.replace('"canary"', '"canary canary"'),
        GOOD.replace('"canary"', '"canäry"'),
        GOOD.replace('"canary"', '""'),
        GOOD.replace('"canary"', "1"),
        GOOD.replace("1.0", "NaN"),
        GOOD.replace("1.0", "Infinity"),
        GOOD.replace("1.0", "-1"),
        GOOD.replace("1.0", "true"),
        GOOD.replace("1.0", '"1"'),
        GOOD.replace("[]", '"canary"'),
        GOOD.replace("[]", "[1]"),
        GOOD.replace("[]", "null"),
        GOOD.replace("{", '{"more": 1, '),
    ],
)
def test_an_invalid_stored_token_is_rejected(text: str | bytes) -> None:
    with pytest.raises(ValueError, match="not written by this package") as caught:
        StoredToken.from_json(text)
    assert "canary" not in str(caught.value)
    assert caught.value.__context__ is None


def test_a_stored_token_shows_nothing() -> None:
    assert "canary" not in repr(token())
    with pytest.raises(TypeError, match="to_json"):
        pickle.dumps(token())


# Pickles and reprs


def redis_of_this_machine() -> redis.Redis:
    return redis.Redis(host="127.0.0.1", password="canary")


@pytest.mark.parametrize(
    ("cache", "shown"),
    [
        (MemoryTokenStore(), "MemoryTokenStore()"),
        (FileTokenStore(Path("folder")), "FileTokenStore('folder')"),
        (RedisTokenStore("redis://127.0.0.1:1/3"), "<RedisTokenStore redis://127.0.0.1:1/3>"),
        (RedisTokenStore("unix:///run/redis.sock"), "<RedisTokenStore unix:///run/redis.sock>"),
        (RedisTokenStore(redis_of_this_machine), "<RedisTokenStore>"),
    ],
    ids=str,
)
@pytest.mark.parametrize("cls", [ThriveClient, AsyncThriveClient])
def test_a_client_travels_with_its_token_store(cls: type, cache: Any, shown: str) -> None:
    assert repr(cache) == shown
    if isinstance(cache, MemoryTokenStore):
        cache.save(KEY, token())
    data = pickle.dumps(cls(Region.STAGING, basic(), token_store=cache))
    assert b"canary" not in data
    revived = pickle.loads(data)._options.token_store
    assert (type(revived), repr(revived)) == (type(cache), shown)
    assert revived is not cache
    if isinstance(cache, MemoryTokenStore):
        assert revived.load(KEY) is None
    if isinstance(cache, RedisTokenStore):
        assert (revived._server, revived._prefix) == (cache._server, cache._prefix)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://cache.example", "redis://cache.example"),
        ("rediss://me:canary@cache.example:6380/3?ssl_ca_certs=ca.pem", "rediss://cache.example:6380/3"),
        ("redis://:canary@[::1]:6380?password=canary&db=4", "redis://[::1]:6380?db=4"),
        ("unix://me:canary@/run/redis.sock?db=2", "unix:///run/redis.sock?db=2"),
        ("redis://cache.example?db=canary", "redis://cache.example"),
        ("redis://cache.example/canary?db=4", "redis://cache.example/..."),
        ("redis://cache.example/", "redis://cache.example/"),
        # A password that is not percent-encoded, part of which counts as the host, the port, or the path.
        ("redis://me:1/canary@cache.example", "redis://..."),
        ("redis://canary:1?x@cache.example", "redis://..."),
        ("redis://:x@canary#x@cache.example", "redis://..."),
    ],
)
def test_a_redis_store_shows_its_server_without_secrets(url: str, shown: str) -> None:
    assert repr(RedisTokenStore(url)) == f"<RedisTokenStore {shown}>"


def basic() -> Any:
    return BasicCredentials("tenant", Secret("allowed", may_pickle=True))


@pytest.mark.parametrize(
    "url",
    [
        "redis://me:canary@127.0.0.1",
        "rediss://127.0.0.1?password=canary",
        "redis://:canary@127.0.0.1/",
        "redis://127.0.0.1/canary",
        "redis://127.0.0.1#canary",
    ],
)
def test_a_redis_url_with_a_password_neither_shows_nor_travels(url: str) -> None:
    cache = RedisTokenStore(url)
    assert "canary" not in repr(cache)
    with pytest.raises(TypeError, match=r"cannot be pickled. Pass a function") as caught:
        pickle.dumps(cache)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "canary",
        "http://canary",
        "redis://",
        "redis://[canary",
        "redis://canary:0",
        "redis://canary:x",
        None,
        6379,
    ],
)
def test_an_invalid_redis_url_is_rejected(url: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"(Pass|Write it as) ") as caught:
        RedisTokenStore(url)
    assert "canary" not in str(caught.value)
    frame = caught.tb.tb_next
    assert frame is not None
    assert "canary" not in repr(frame.tb_frame.f_locals)


@pytest.mark.parametrize(
    ("create", "module", "extra"),
    [
        (FileTokenStore, "filelock", "cache"),
        (lambda: RedisTokenStore("redis://127.0.0.1"), "redis", "redis"),
    ],
)
def test_an_extra_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, create: Callable[[], object], module: str, extra: str
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == module else find(name))
    with pytest.raises(
        ConfigurationError, match=rf"needs {module}, which is not installed.+thrive-learning\[{extra}\]"
    ):
        create()


# Files


@pytest.fixture
def files(tmp_path: Path) -> FileTokenStore:
    return FileTokenStore(tmp_path / "deep" / "tokens")


def entry(files: FileTokenStore, key: str = KEY) -> Path:
    return files.folder / f"thrive-token-{key}.json"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_files_and_their_folder_are_closed_to_others(files: FileTokenStore, umask: int) -> None:
    before = os.umask(umask)
    try:
        release = files.try_lock(KEY, 1)
        assert release is not None
        files.save(KEY, token())
        release()
    finally:
        os.umask(before)
    assert mode(files.folder) == 0o700
    assert {mode(path) for path in files.folder.iterdir()} == {0o600}


def test_the_folder_is_the_platforms(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if sys.platform == "linux":
        assert FileTokenStore().folder == tmp_path / "thrive-learning" / "tokens"
    assert FileTokenStore().folder.name == "tokens"


@pytest.mark.skipif(os.name == "nt", reason="the home folder is another variable's there")
@pytest.mark.parametrize("home", [None, "", "relative"])
def test_without_a_home_folder_the_cache_needs_a_folder_or_xdg(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, home: str | None
) -> None:
    monkeypatch.setattr("os.getuid", lambda: 2**31 - 7)  # without a name, as in a container
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HOME")
    if home is not None:
        monkeypatch.setenv("HOME", home)
    with pytest.raises(
        ConfigurationError, match=r"FileTokenStore\(folder\): the home folder is unknown"
    ) as caught:
        FileTokenStore()
    assert caught.value.__context__ is None
    with pytest.raises(ConfigurationError, match=r"'~/x' begins with ~, and there is no home folder"):
        FileTokenStore("~/x")
    assert FileTokenStore("x").folder == Path("x")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if sys.platform != "darwin":
        assert FileTokenStore().folder == tmp_path / "thrive-learning" / "tokens"


def test_the_folder_may_begin_with_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    assert FileTokenStore("~/.myapp").folder == tmp_path / ".myapp"
    for folder, problem in (
        ("~no-such-user/x", "the user is unknown"),
        ("", "'' is not a path"),
        ("a\0", "not a path"),
    ):
        with pytest.raises(ConfigurationError, match=problem):
            FileTokenStore(folder)


def test_reading_creates_nothing(files: FileTokenStore) -> None:
    assert files.load(KEY) is None
    files.forget(KEY, "one")
    assert not files.folder.exists()


def test_a_folder_that_others_may_enter_is_not_used(files: FileTokenStore) -> None:
    files.save(KEY, token())
    files.folder.chmod(0o750)
    for operation in (
        lambda: files.load(KEY),
        lambda: files.save(KEY, token()),
        lambda: files.forget(KEY, "canary-1"),
        lambda: files.try_lock(KEY, 1),
    ):
        with pytest.raises(OSError, match=r"its folder is open to other users \(mode 0750\)"):
            operation()


def test_a_folder_of_somebody_else_is_not_used(
    files: FileTokenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.save(KEY, token())
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    with pytest.raises(OSError, match="its folder belongs to another user"):
        files.load(KEY)


def test_a_file_in_the_place_of_the_folder_is_not_used(files: FileTokenStore) -> None:
    files.folder.parent.mkdir()
    files.folder.write_text("x")
    with pytest.raises(OSError, match="its folder is not of the expected kind"):
        files.load(KEY)
    with pytest.raises(OSError, match="its folder is not of the expected kind"):
        files.save(KEY, token())


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
@pytest.mark.parametrize("exists", [True, False])
def test_a_folder_that_is_a_link_is_not_followed(
    files: FileTokenStore,
    tmp_path: Path,
    exists: bool,  # noqa: FBT001
) -> None:
    target = tmp_path / "elsewhere"
    if exists:
        target.mkdir(mode=0o700)
    files.folder.parent.mkdir()
    files.folder.symlink_to(target)
    for operation in (
        lambda: files.load(KEY),
        lambda: files.save(KEY, token()),
        lambda: files.forget(KEY, "canary-1"),
        lambda: files.try_lock(KEY, 1),
    ):
        with pytest.raises(OSError, match=r"its folder is a link. Pass the folder that it points to"):
            operation()
    assert not exists or list(target.iterdir()) == []


@pytest.mark.parametrize("key", ["", "..", "../x", "A" * 32, "0" * 31, "0" * 32 + "\n"])
def test_a_key_cannot_name_another_file(files: FileTokenStore, key: str) -> None:
    files.save(KEY, token())
    for operation in (
        lambda: files.load(key),
        lambda: files.save(key, token()),
        lambda: files.try_lock(key, 1),
    ):
        with pytest.raises(ValueError, match="32 hexadecimal digits"):
            operation()


def open_to_others(path: Path) -> None:
    path.chmod(0o640)


def too_long(path: Path) -> None:
    path.write_text(" " * (1 << 20) + path.read_text())


@pytest.mark.parametrize(
    ("break_it", "problem"),
    [
        (open_to_others, "open to other users"),
        (too_long, "not written by this package"),
        (lambda path: path.write_text(""), "not written by this package"),
        (lambda path: path.write_text(path.read_text()[:20]), "not written by this package"),
    ],
    ids=["open to others", "too long", "empty", "cut"],
)
def test_an_entry_that_is_not_right_is_replaced(
    files: FileTokenStore, break_it: Callable[[Path], object], problem: str
) -> None:
    files.save(KEY, token("canary-old"))
    break_it(entry(files))
    with pytest.raises(ValueError, match=problem):
        files.load(KEY)
    files.save(KEY, token("new"))
    loaded = files.load(KEY)
    assert loaded is not None
    assert loaded.value == "new"
    assert mode(entry(files)) == 0o600


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files in folders")
@pytest.mark.parametrize("put_there", [a_link, a_pipe, a_folder])
def test_other_kinds_of_files_are_neither_read_nor_replaced(
    files: FileTokenStore, put_there: Callable[[Path], object]
) -> None:
    files.save(KEY, token("canary-old"))
    lock = files.folder / f"thrive-token-{KEY}.lock"
    lock.touch()
    for path in (entry(files), lock):
        put_there(path)
    before = [path.lstat() for path in (entry(files), lock)]
    with pytest.raises(OSError, match=r"is not a regular file of this user. Remove it"):
        files.load(KEY)
    with pytest.raises(OSError, match=r"is not a regular file of this user. Remove it"):
        files.save(KEY, token("new"))
    with pytest.raises(OSError, match=r"is not a regular file of this user. Remove it"):
        files.try_lock(KEY, 1)
    after = [path.lstat() for path in (entry(files), lock)]
    assert [(one.st_ino, one.st_mode) for one in after] == [(one.st_ino, one.st_mode) for one in before]


def test_a_file_of_somebody_else_is_not_read(files: FileTokenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    files.save(KEY, token())
    real = os.fstat

    def foreign(opened: int) -> os.stat_result:
        fields = list(real(opened))
        fields[4] += 1
        return os.stat_result(fields)

    monkeypatch.setattr(os, "fstat", foreign)
    with pytest.raises(ValueError, match="its entry belongs to another user"):
        files.load(KEY)


def test_where_the_system_knows_no_owners(files: FileTokenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    files.save(KEY, token())
    files.folder.chmod(0o755)
    monkeypatch.delattr(os, "geteuid")
    assert files.load(KEY) is not None


def test_a_full_disk_leaves_the_old_entry_and_nothing_else(
    files: FileTokenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.save(KEY, token("old"))

    def full(_self: Path, _target: Path) -> Path:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(OSError, match="No space"):
            files.save(KEY, token("new"))
    loaded = files.load(KEY)
    assert loaded is not None
    assert loaded.value == "old"
    assert list(files.folder.iterdir()) == [entry(files)]


def test_entries_and_leftovers_of_a_week_ago_are_removed_and_nothing_else(files: FileTokenStore) -> None:
    """The folder may be one that another program uses as well."""
    files.save(ANOTHER_KEY, token())
    old = [
        entry(files, ANOTHER_KEY),
        files.folder / f"thrive-token-{ANOTHER_KEY}.lock",
        files.folder / f"thrive-token-{ANOTHER_KEY}.abcd_123.new",
    ]
    recent = files.folder / "thrive-token-{}.lock".format("a" * 32)
    others = [
        files.folder / name
        for name in (
            *("settings.json", "uv.lock", "tmp1.new", f"{KEY}.json", f"{KEY}.lock", "thrive-token-.json"),
            *(f"thrive-token-{KEY}.json.bak", f"my-thrive-token-{KEY}.json", f"thrive-token-{KEY}.jsonx"),
            f"thrive-token-{'A' * 32}.json",
        )
    ]
    if os.name != "nt":
        others.append(files.folder / f"thrive-token-{KEY}.lock\n")
    for path in (*old, recent, *others):
        path.touch()
    folder = files.folder / f"thrive-token-{'b' * 32}.json"
    folder.mkdir()
    link = files.folder / f"thrive-token-{'c' * 32}.json"
    link.symlink_to(others[0])
    week_ago = time.time() - 8 * 86_400
    for path in (*old, *others, folder, link):
        os.utime(path, (week_ago, week_ago), follow_symlinks=path is not link)
    files.save(KEY, token())
    assert set(files.folder.iterdir()) == {entry(files), recent, folder, link, *others}


def test_a_file_of_another_user_is_not_removed(
    files: FileTokenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.save(ANOTHER_KEY, token())
    os.utime(entry(files, ANOTHER_KEY), (0, 0))
    real = Path.lstat

    def foreign(path: Path) -> os.stat_result:
        fields = list(real(path))
        fields[4] += path.suffix == ".json"
        return os.stat_result(fields)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "lstat", foreign)
        files.save(KEY, token())
        with pytest.raises(OSError, match="is not a regular file of this user"):
            files.save(KEY, token())
    assert entry(files, ANOTHER_KEY).exists()


def test_a_reader_during_a_write_finds_a_complete_token(files: FileTokenStore) -> None:
    files.save(KEY, token("x" * 5000))
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            files.save(KEY, token("y" * 5000))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(200):
            loaded = files.load(KEY)
            assert loaded is not None
            assert len(loaded.value) == 5000
    finally:
        stop.set()
        writer.join()


# Redis


def test_redis_deletes_what_has_expired(real_redis: RedisServer) -> None:
    cache = RedisTokenStore(real_redis.url, prefix="expiry:")
    cache.save(KEY, token(lifetime_s=100))
    left_ms: Any = cache._client().pttl(f"expiry:{KEY}")
    assert 90_000 < left_ms <= 100_000
    cache.save(KEY, token(lifetime_s=0.001))
    time.sleep(0.05)  # in the server
    assert cache.load(KEY) is None
    cache._client().close()


def test_a_client_of_ones_own_that_decodes(real_redis: RedisServer) -> None:
    own = redis.Redis(port=real_redis.port, decode_responses=True)
    cache = RedisTokenStore(lambda: own, prefix="decoded:")
    cache.save(KEY, token("one"))
    loaded = cache.load(KEY)
    assert loaded is not None
    assert loaded.value == "one"
    cache.forget(KEY, "one")
    assert cache.load(KEY) is None
    own.close()


def test_a_connection_is_opened_when_it_is_needed_and_has_its_limits() -> None:
    cache = RedisTokenStore("rediss://127.0.0.1:1/0?socket_timeout=3")
    assert cache._connected is None
    options = cache._client().connection_pool.connection_kwargs
    assert (options["socket_connect_timeout"], options["socket_timeout"]) == (0.5, 3)
    assert cache._client() is cache._client()
    with pytest.raises(redis.ConnectionError):
        cache.load(KEY)


@pytest.mark.parametrize("has_our_name", [True, False])
def test_the_hostname_of_the_certificate_is_checked(tmp_path: Path, has_our_name: bool) -> None:  # noqa: FBT001
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1" if has_our_name else "cache.example")
    files = {name: tmp_path / f"{name}.pem" for name in ("tls-cert-file", "tls-key-file", "tls-ca-cert-file")}
    certificate.cert_chain_pems[0].write_to_path(str(files["tls-cert-file"]))
    certificate.private_key_pem.write_to_path(str(files["tls-key-file"]))
    authority.cert_pem.write_to_path(str(files["tls-ca-cert-file"]))
    with redis_server("fake", tls_files=files | {"tls-auth-clients": Path("no")}) as server:
        trusted = files["tls-ca-cert-file"]
        cache = RedisTokenStore(f"rediss://:fake@127.0.0.1:{server.port}/0?ssl_ca_certs={trusted}&{PATIENT}")
        if has_our_name:
            cache.save(KEY, token("one"))
            loaded = cache.load(KEY)
            assert loaded is not None
            assert loaded.value == "one"
        else:
            with pytest.raises(redis.ConnectionError, match="certificate verify failed"):
                cache.save(KEY, token("one"))
        cache._client().close()


# Processes


@pytest.fixture
def server() -> Iterator[TokenServer]:
    server = TokenServer()
    server.takes_s = 0.3  # long enough for all to be cold
    try:
        yield server
    finally:
        server.stop()


FILES = "return thrive.FileTokenStore()"
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@forks
def test_12_processes_that_start_cold_request_one_token(server: TokenServer, tmp_path: Path) -> None:
    assert cold_start(server, FILES, tmp_path, processes=12) == ["Bearer token-1"] * 12
    assert server.count == 1


@forks
def test_two_machines_with_one_redis_request_one_token(
    server: TokenServer, real_redis: RedisServer, tmp_path: Path
) -> None:
    cache = f"return thrive.RedisTokenStore({real_redis.url!r}, prefix={f'{tmp_path}:'!r})"
    homes = (tmp_path / "one", tmp_path / "another")
    assert cold_start(server, cache, *homes, processes=6) == ["Bearer token-1"] * 12
    assert server.count == 1


@forks
def test_without_a_store_each_process_requests_its_own(server: TokenServer, tmp_path: Path) -> None:
    """So that the two tests above show something."""
    assert len(set(cold_start(server, "return None", tmp_path, processes=3))) == 3
    assert server.count == 3


@forks
@pytest.mark.parametrize("kind", ["file", "Redis"])
def test_a_process_that_is_killed_while_it_holds_the_lock_holds_nobody_for_long(
    server: TokenServer, tmp_path: Path, request: pytest.FixtureRequest, kind: str
) -> None:
    cache = of_victim = FILES
    if kind == "Redis":
        real: RedisServer = request.getfixturevalue("real_redis")
        cache = f"return thrive.RedisTokenStore({real.url!r}, prefix='killed:')"
        of_victim = f"sharing.LEASE_S = 1.0; {cache}"  # runs out within the test
    server.answers.clear()
    victim = Machine(server, of_victim, tmp_path, processes=1)
    try:
        assert victim.line() == "ready"
        victim.go()
        assert server.asked.wait(PATIENCE_S)
    finally:
        victim.kill()
        server.answers.set()
    assert cold_start(server, cache, tmp_path, processes=3) == ["Bearer token-2"] * 3
    assert server.count == 2
