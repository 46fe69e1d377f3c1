"""Where access tokens may lie so that several clients, processes or machines share one: `token_store=`.

A client asks its own memory first. Only when it has no valid token there, or has to renew one, does it look
into the store, one caller at a time. Nothing that a store does or fails to do breaks a call.
"""

import contextlib
import importlib.util
import json
import math
import os
import re
import stat
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, cast, runtime_checkable

import attrs

from thrive_learning._busy_files import when_free
from thrive_learning._clock import monotonic
from thrive_learning._home import cache_folder, expand_home
from thrive_learning.errors import ConfigurationError

if TYPE_CHECKING:
    import redis


class _EntryError(ValueError):
    """An entry of a store that is not to be used. The message holds nothing of it."""


class _FolderError(OSError):
    """A folder that is not to be used."""


def _corrupt() -> _EntryError:
    return _EntryError("its entry is not one that this package wrote")


def _mask(_value: str) -> str:
    return "'**********'"


def _check_value(_instance: "StoredToken", _attribute: "attrs.Attribute[str]", value: object) -> None:
    # Nothing else may stand in a header: who can write to the store must not be able to add a header.
    if (
        not isinstance(value, str)
        or not value.isascii()
        or not value.isprintable()
        or value.split() != [value]
    ):
        raise _corrupt()


# The year 9999, which is where datetime ends.
_END_OF_TIME = 253_402_214_400.0


def _check_seconds(_instance: "StoredToken", _attribute: "attrs.Attribute[float]", value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < _END_OF_TIME:
        raise _corrupt()


def _check_scopes(_instance: "StoredToken", _attribute: "attrs.Attribute[Any]", value: object) -> None:
    if not isinstance(value, tuple) or not all(
        isinstance(scope, str) for scope in cast("tuple[object, ...]", value)
    ):
        raise _corrupt()


@attrs.frozen(kw_only=True)
class StoredToken:
    """An access token as a `TokenStore` keeps it. It prints masked, and does not pickle.

    Attributes:
        value: The token itself.
        expires_at: When it expires, in seconds since 1970-01-01 UTC (`time.time()`).
        lifetime_s: For how long it was valid when it was new, in seconds.
        scopes: What it allows.

    Raises:
        ValueError: A value cannot be what it is given as.
    """

    value: str = attrs.field(repr=_mask, validator=_check_value)
    expires_at: float = attrs.field(validator=_check_seconds)
    lifetime_s: float = attrs.field(validator=_check_seconds)
    scopes: tuple[str, ...] = attrs.field(validator=_check_scopes)

    def to_json(self) -> str:
        """Give it as text, the token in clear, for a store to keep."""
        return json.dumps(attrs.asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> "StoredToken":
        """Read what `to_json` gave.

        Raises:
            ValueError: It is something else; the message does not repeat it.
        """
        try:
            fields: Any = json.loads(text)
            scopes: Any = fields["scopes"]
            return cls(**fields | {"scopes": tuple(scopes) if isinstance(fields["scopes"], list) else None})
        except (ValueError, TypeError, KeyError, RecursionError):
            problem = _corrupt()
        raise problem  # outside, as the other error would come with it, and its frames with the token

    def __reduce__(self) -> NoReturn:
        raise TypeError("a StoredToken is not pickled by accident: to_json() gives it as text")


@runtime_checkable
class TokenStore(Protocol):
    """What `token_store=` takes: a place for tokens, with a lock for each.

    `MemoryTokenStore`, `FileTokenStore` and `RedisTokenStore` are stores; a class of your own may be one.
    Its methods block (async clients call them in a thread), may be called from any thread, and may raise: the
    client then logs a warning, goes on with its own memory, and tries the store again half a minute later at
    the earliest. A key is 32 hexadecimal digits, and tells nothing of what it stands for.
    """

    def load(self, key: str) -> StoredToken | None:
        """Give the token that was saved under a key last, expired or not; None if there is none.

        Raises:
            ValueError: What lies there is no token. It will be replaced.
        """
        ...

    def save(self, key: str, token: StoredToken) -> None:
        """Keep a token in place of the one that there was, until it expires or for a week."""
        ...

    def forget(self, key: str, value: str) -> None:
        """Remove the token under a key if it is still the one with this value."""
        ...

    def try_lock(self, key: str, lease_s: float) -> Callable[[], object] | None:
        """Take the lock of a key, without waiting: who holds it requests the next token.

        Args:
            key: Which lock.
            lease_s: After so many seconds it is free again, should its holder be lost.

        Returns:
            A function that gives it back, to be called once, from any thread; it does nothing if the lease
            has run out. None if somebody else holds the lock.
        """
        ...


class MemoryTokenStore:
    """Tokens in the memory of this process, for all clients that it is given to. It pickles as an empty one.

    A client has a memory of its own without it.
    """

    def __init__(self) -> None:
        # Each step is one operation of a dict, which threads may share. A fork could leave a lock locked.
        self._tokens: dict[str, StoredToken] = {}
        self._locks: dict[str, tuple[object, float]] = {}

    def load(self, key: str) -> StoredToken | None:
        """Give the token of a key."""
        return self._tokens.get(key)

    def save(self, key: str, token: StoredToken) -> None:
        """Keep a token."""
        self._tokens[key] = token

    def forget(self, key: str, value: str) -> None:
        """Remove a token, unless another one has taken its place."""
        token = self._tokens.get(key)
        if token is not None and token.value == value:
            self._tokens.pop(key, None)

    def try_lock(self, key: str, lease_s: float) -> Callable[[], object] | None:
        """Take the lock of a key, unless somebody holds it."""
        now = monotonic()
        mine = (object(), now + lease_s)
        held = self._locks.setdefault(key, mine)
        if held is not mine and now < held[1]:
            return None
        self._locks[key] = mine

        def release() -> None:
            if self._locks.get(key) is mine:
                self._locks.pop(key, None)

        return release

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def __reduce__(self) -> "tuple[type[MemoryTokenStore], tuple[()]]":
        return type(self), ()


_LONGEST_ENTRY_BYTES = 1 << 20
_KEPT_S = 7 * 86_400.0
_OTHERS = stat.S_IRWXG | stat.S_IRWXO

# A name that no other program uses, since the folder may be one that other programs use as well.
_ENTRY, _LOCK, _NEW = "thrive-token-{}.json", "thrive-token-{}.lock", "thrive-token-{}."
_KEY = re.compile(r"[0-9a-f]{32}")
_OURS = re.compile(r"thrive-token-[0-9a-f]{32}\.(?:json|lock|[a-z0-9_]{8}\.new)")


class FileTokenStore:
    """Tokens in files of this user, for all processes of this user on this machine.

    The folder has mode 0700 and the files 0600, because each file holds a token in plain text. The cache
    does not use a folder that is a link, that belongs to another user, or that other users may enter. It
    replaces and deletes only regular files of this user whose names it chose itself: other files in the
    folder stay as they are. On Windows, the user's own folder keeps other users out.

    Args:
        folder: Where the files are; `~` stands for the home folder. None for `thrive-learning/tokens` in the
            platform's cache folder.

    Raises:
        ConfigurationError: The extra `cache` is not installed, or there is no home folder.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        _require("cache", "filelock")
        if folder is None:
            own = cache_folder(os.environ, sys.platform)
            found = "there is no home folder for its files" if own is None else own / "tokens"
        else:
            found = expand_home(os.fspath(folder))
        if isinstance(found, str):
            raise ConfigurationError(f"FileTokenStore(folder): {found}. Pass the path of a folder")
        self._folder = found

    @property
    def folder(self) -> Path:
        """Where the files are."""
        return self._folder

    def load(self, key: str) -> StoredToken | None:
        """Read the token of a key."""
        if not os.path.lexists(self._folder):
            return None
        self._check_folder()
        entry = self._path(_ENTRY, key)
        _check_replaceable(entry)
        try:
            opened = when_free(lambda: os.open(entry, os.O_RDONLY | _NO_LINK | _NO_WAIT))
        except FileNotFoundError:
            return None
        try:
            _check_mine(os.fstat(opened), stat.S_ISREG, "its entry", _EntryError)
            with os.fdopen(opened, "rb", closefd=False) as file:  # after the check: it rejects a folder
                text = file.read(_LONGEST_ENTRY_BYTES)
        finally:
            os.close(opened)
        return StoredToken.from_json(text)

    def save(self, key: str, token: StoredToken) -> None:
        """Write a token. A process that reads at the same time finds the old token or the new one, whole."""
        self._make_folder()
        self._sweep()
        entry = self._path(_ENTRY, key)
        _check_replaceable(entry)
        # It has mode 0600. A crash of the machine may leave it empty, which is no worse than none.
        opened, name = tempfile.mkstemp(".new", _NEW.format(key), self._folder)
        try:
            with os.fdopen(opened, "w", encoding="ascii") as file:
                file.write(token.to_json())
            when_free(lambda: Path(name).replace(entry))
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def forget(self, key: str, value: str) -> None:
        """Remove a token, unless another one has taken its place."""
        token = self.load(key)
        if token is not None and token.value == value:
            entry = self._path(_ENTRY, key)
            when_free(lambda: entry.unlink(missing_ok=True))

    def try_lock(self, key: str, lease_s: float) -> Callable[[], object] | None:
        """Take the lock of a key, unless another process holds it. It is free when its holder ends."""
        import filelock  # noqa: PLC0415 - of an extra

        del lease_s  # no process can take a lock of the system away from another
        self._make_folder()
        path = self._path(_LOCK, key)
        _check_replaceable(path)
        # A new object each time: the lock is given back by whichever thread comes by.
        lock = filelock.FileLock(path, mode=0o600, thread_local=False)
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout:
            return None
        return lock.release

    def _path(self, name: str, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise ValueError("a key of a token store is 32 hexadecimal digits")
        return self._folder / name.format(key)

    def _make_folder(self) -> None:
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        if not os.path.lexists(self._folder):
            self._folder.mkdir(mode=0o700, exist_ok=True)
        self._check_folder()

    def _check_folder(self) -> None:
        status = self._folder.lstat()
        if stat.S_ISLNK(status.st_mode):
            raise _FolderError("its folder is a link: pass the folder that it points to")
        _check_mine(status, stat.S_ISDIR, "its folder", _FolderError)

    def _sweep(self) -> None:
        """Remove old entries, which no client needs any more, and files that crashes left."""
        oldest = time.time() - _KEPT_S
        for path in self._folder.iterdir():
            if not _OURS.fullmatch(path.name):
                continue
            with contextlib.suppress(OSError):  # another process may have been quicker
                status = path.lstat()
                if status.st_mtime < oldest and _is_file_of_mine(status):
                    path.unlink()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._folder)!r})"


# Windows has neither links that anybody may make, nor FIFOs in folders.
_NO_LINK: int = getattr(os, "O_NOFOLLOW", 0)
_NO_WAIT: int = getattr(os, "O_NONBLOCK", 0)


def _is_file_of_mine(status: os.stat_result) -> bool:
    is_mine = not hasattr(os, "geteuid") or status.st_uid == os.geteuid()
    return is_mine and stat.S_ISREG(status.st_mode)


def _check_replaceable(path: Path) -> None:
    """Raise `_FolderError` for a path that is neither free nor a file that this user may replace."""
    if os.path.lexists(path) and not _is_file_of_mine(path.lstat()):
        raise _FolderError(f"{path.name} in its folder is not a regular file of this user: remove it")


def _check_mine(
    status: os.stat_result, is_kind: Callable[[int], bool], what: str, error: Callable[[str], Exception]
) -> None:
    if not is_kind(status.st_mode):
        raise error(f"{what} is of another kind")
    if hasattr(os, "geteuid"):
        if status.st_uid != os.geteuid():
            raise error(f"{what} belongs to another user")
        if status.st_mode & _OTHERS:
            raise error(
                f"{what} is open to other users (mode {stat.S_IMODE(status.st_mode):04o}): chmod go= it"
            )


#: What one exchange with Redis may take, and opening a connection before it. Seconds.
_REDIS_TIMEOUT_S = 0.5

_SCHEMES = ("redis", "rediss", "unix")

# The text is compared, and not the token in it: the text was read by this very process a moment ago.
_DELETE_IF_SAME = "if redis.call('get', KEYS[1]) == ARGV[1] then redis.call('del', KEYS[1]) end"


class RedisTokenStore:
    """Tokens in a Redis server, for all machines that share it.

    Each entry holds a token in clear, until it expires: whoever can read the server's data has the tokens. A
    URL with `rediss://` is encrypted on its way.

    Args:
        server: The server's URL, such as `rediss://cache.example:6379/0`; or a function without arguments
            that gives a `redis.Redis`, for a cluster, say, or a password that is kept elsewhere. It pickles
            by its name, while a URL with a password does not pickle.
        prefix: What the names of all keys begin with.

    Raises:
        ConfigurationError: The extra `redis` is not installed, or the URL is none.
    """

    def __init__(
        self, server: "str | Callable[[], redis.Redis]", *, prefix: str = "thrive-learning:token:"
    ) -> None:
        _require("redis", "redis")
        problem = None if callable(server) else _problem_of_url(server)
        self._server: str | Callable[[], redis.Redis] = "" if problem else server
        self._prefix = prefix
        self._connected: redis.Redis | None = None
        if problem:
            del server  # a traceback may show local variables
            raise ConfigurationError(problem)

    def load(self, key: str) -> StoredToken | None:
        """Read the token of a key."""
        text = self._text(key)
        return None if text is None else StoredToken.from_json(text)

    def save(self, key: str, token: StoredToken) -> None:
        """Write a token, which the server deletes when it expires."""
        left_ms = max(math.ceil((token.expires_at - time.time()) * 1000), 1)
        self._client().set(self._prefix + key, token.to_json(), px=left_ms)

    def forget(self, key: str, value: str) -> None:
        """Remove a token, unless another one has taken its place."""
        text = self._text(key)
        if text is not None and StoredToken.from_json(text).value == value:
            self._client().eval(_DELETE_IF_SAME, 1, self._prefix + key, text)

    def try_lock(self, key: str, lease_s: float) -> Callable[[], object] | None:
        """Take the lock of a key, unless somebody holds it: an entry with an owner and an expiry."""
        from redis.exceptions import LockError  # noqa: PLC0415 - of an extra

        lock = self._client().lock(f"{self._prefix}{key}:lock", timeout=lease_s, thread_local=False)
        if not lock.acquire(blocking=False):
            return None

        def release() -> None:
            with contextlib.suppress(LockError):  # the lease has run out: it is another's by now
                lock.release()

        return release

    def _text(self, key: str) -> bytes | str | None:
        # A client with decode_responses gives text, any other bytes.
        return self._client().get(self._prefix + key)

    def _client(self) -> "redis.Redis":
        client = self._connected
        if client is None:
            client = self._connected = self._server() if callable(self._server) else _connected(self._server)
        return client

    def __repr__(self) -> str:
        if callable(self._server):
            return f"<{type(self).__name__}>"
        # Neither user nor password nor options, which may hold them too.
        url = urllib.parse.urlsplit(self._server)
        return f"<{type(self).__name__} {url.scheme}://{url.hostname or ''}{url.path}>"

    def __reduce__(self) -> "tuple[Callable[..., RedisTokenStore], tuple[Any, ...]]":
        if not callable(self._server) and ("@" in self._server or "?" in self._server):
            raise TypeError(
                "a RedisTokenStore whose URL has a password or options does not pickle: "
                "give it a function in place of the URL"
            )
        return _revived, (type(self), self._server, self._prefix)


def _revived(
    cls: type[RedisTokenStore], server: "str | Callable[[], redis.Redis]", prefix: str
) -> RedisTokenStore:
    return cls(server, prefix=prefix)


def _connected(url: str) -> "redis.Redis":
    import redis  # noqa: PLC0415 - of an extra
    from redis.backoff import NoBackoff  # noqa: PLC0415
    from redis.retry import Retry  # noqa: PLC0415

    return redis.Redis.from_url(  # pyright: ignore[reportUnknownMemberType] - it takes any option
        url,
        socket_timeout=_REDIS_TIMEOUT_S,
        socket_connect_timeout=_REDIS_TIMEOUT_S,
        retry=Retry(NoBackoff(), 1),  # the server may have closed a connection that lay idle for an hour
    )


def _problem_of_url(url: object) -> str | None:
    if not isinstance(url, str):
        return f"server is {type(url).__name__}: pass a Redis URL, or a function that gives a redis.Redis"
    try:
        parts = urllib.parse.urlsplit(url)
        valid = (
            parts.scheme in _SCHEMES and (parts.scheme == "unix" or bool(parts.hostname)) and parts.port != 0
        )
    except ValueError:
        valid = False
    return None if valid else "the Redis URL is none: pass one such as 'rediss://cache.example:6379/0'"


def _require(extra: str, module: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise ConfigurationError(
            f"{module} is not installed, which this token store needs: "
            f"python3 -m pip install 'thrive-learning[{extra}]'"
        )
