"""Stores of access tokens that several clients, processes, or machines share, for `token_store=`.

A client looks in its own memory first. Only if it has no valid token there, or must renew it, does it use the
store, one caller at a time. A store that fails never breaks a call.
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
    """An entry of a store cannot be used. The message contains nothing of it."""


class _FolderError(OSError):
    """A folder cannot be used."""


def _corrupt() -> _EntryError:
    return _EntryError("its entry was not written by this package")


def _mask(_value: str) -> str:
    return "'**********'"


def _check_value(_instance: "StoredToken", _attribute: "attrs.Attribute[str]", value: object) -> None:
    # Only these characters may be in a header, so that a writer of the store cannot inject headers.
    if (
        not isinstance(value, str)
        or not value.isascii()
        or not value.isprintable()
        or value.split() != [value]
    ):
        raise _corrupt()


# The end of the year 9999, which is the limit of datetime.
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
    """An access token as a `TokenStore` keeps it. It prints masked and cannot be pickled.

    Attributes:
        value: The token itself.
        expires_at: When it expires, in seconds since 1970-01-01 UTC (`time.time()`).
        lifetime_s: The time from its issue to its expiry, in seconds.
        scopes: The scopes that it has.

    Raises:
        ValueError: A value is not valid.
    """

    value: str = attrs.field(repr=_mask, validator=_check_value)
    expires_at: float = attrs.field(validator=_check_seconds)
    lifetime_s: float = attrs.field(validator=_check_seconds)
    scopes: tuple[str, ...] = attrs.field(validator=_check_scopes)

    def to_json(self) -> str:
        """Return the token as JSON text for a store. The text contains the token unmasked."""
        return json.dumps(attrs.asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> "StoredToken":
        """Read text that `to_json` returned.

        Raises:
            ValueError: The text is anything else. The message does not repeat it.
        """
        try:
            fields: Any = json.loads(text)
            scopes: Any = fields["scopes"]
            return cls(**fields | {"scopes": tuple(scopes) if isinstance(fields["scopes"], list) else None})
        except (ValueError, TypeError, KeyError, RecursionError):
            problem = _corrupt()
        raise problem  # outside `except`, whose error's frames hold the token

    def __reduce__(self) -> NoReturn:
        raise TypeError("A StoredToken cannot be pickled. Use to_json() to get it as text.")


@runtime_checkable
class TokenStore(Protocol):
    """The interface of `token_store=`: tokens by key, with a lock per key.

    Use `MemoryTokenStore`, `FileTokenStore`, `RedisTokenStore`, or a class of your own. The methods block
    (async clients call them in a thread), must allow calls from any thread, and may raise. The client then
    logs a warning, continues with its own memory, and tries the store again after half a minute at the
    earliest. A key is 32 hexadecimal digits and reveals nothing about its token.
    """

    def load(self, key: str) -> StoredToken | None:
        """Return the token that was last saved under a key, expired or not; None if there is no token.

        Raises:
            ValueError: The entry is not a token. It will be replaced.
        """
        ...

    def save(self, key: str, token: StoredToken) -> None:
        """Save a token, replacing the previous one, until it expires or for a week."""
        ...

    def forget(self, key: str, value: str) -> None:
        """Remove the token under a key if it is still the one with this value."""
        ...

    def try_lock(self, key: str, lease_s: float) -> Callable[[], object] | None:
        """Take the lock of a key without waiting. The holder of the lock requests the next token.

        Args:
            key: The key to lock.
            lease_s: The seconds after which the lock is released if its holder is lost.

        Returns:
            A function that releases the lock, to be called once, from any thread. It does nothing if the
            lease has expired. None if the lock is taken.
        """
        ...


class MemoryTokenStore:
    """Tokens in the memory of this process, for all clients that it is passed to. It is pickled empty.

    Without any store, each client has its own memory.
    """

    def __init__(self) -> None:
        # Each step is one operation of a dict, which is thread-safe. A lock could be held across a fork.
        self._tokens: dict[str, StoredToken] = {}
        self._locks: dict[str, tuple[object, float]] = {}

    def load(self, key: str) -> StoredToken | None:
        """Return the token of a key."""
        return self._tokens.get(key)

    def save(self, key: str, token: StoredToken) -> None:
        """Save a token."""
        self._tokens[key] = token

    def forget(self, key: str, value: str) -> None:
        """Remove a token, unless another has replaced it."""
        token = self._tokens.get(key)
        if token is not None and token.value == value:
            self._tokens.pop(key, None)

    def try_lock(self, key: str, lease_s: float) -> Callable[[], object] | None:
        """Take the lock of a key, unless it is taken."""
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

# Names that no other program uses, because other programs may use the same folder.
_ENTRY, _LOCK, _NEW = "thrive-token-{}.json", "thrive-token-{}.lock", "thrive-token-{}."
_KEY = re.compile(r"[0-9a-f]{32}")
_OURS = re.compile(r"thrive-token-[0-9a-f]{32}\.(?:json|lock|[a-z0-9_]{8}\.new)")


class FileTokenStore:
    """Tokens in files, for all processes of one user on this machine.

    The folder has mode 0700 and the files 0600, because each file contains a token in plain text. The store
    does not use a folder that is a link, belongs to another user, or is accessible to other users. It
    replaces and deletes only regular files of this user whose names it chose itself. On Windows, the
    permissions of the user's own folder apply.

    Args:
        folder: The folder of the files; `~` stands for the home folder. None for `thrive-learning/tokens` in
            the platform's cache folder.

    Raises:
        ConfigurationError: The extra `cache` is not installed, or the home folder is unknown.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        _require("cache", "filelock")
        if folder is None:
            own = cache_folder(os.environ, sys.platform)
            found = "the home folder is unknown" if own is None else own / "tokens"
        else:
            found = expand_home(os.fspath(folder))
        if isinstance(found, str):
            raise ConfigurationError(f"FileTokenStore(folder): {found}. Pass the path of a folder.")
        self._folder = found

    @property
    def folder(self) -> Path:
        """The folder of the files."""
        return self._folder

    def load(self, key: str) -> StoredToken | None:
        """Return the token of a key."""
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
            with os.fdopen(
                opened, "rb", closefd=False
            ) as file:  # after the check, because it rejects folders
                text = file.read(_LONGEST_ENTRY_BYTES)
        finally:
            os.close(opened)
        return StoredToken.from_json(text)

    def save(self, key: str, token: StoredToken) -> None:
        """Write a token. A process that reads at the same time gets the old token or the new one."""
        self._make_folder()
        self._sweep()
        entry = self._path(_ENTRY, key)
        _check_replaceable(entry)
        # The file has mode 0600. A crash of the machine may leave it empty, which counts as no token.
        opened, name = tempfile.mkstemp(".new", _NEW.format(key), self._folder)
        try:
            with os.fdopen(opened, "w", encoding="ascii") as file:
                file.write(token.to_json())
            when_free(lambda: Path(name).replace(entry))
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def forget(self, key: str, value: str) -> None:
        """Remove a token, unless another has replaced it."""
        token = self.load(key)
        if token is not None and token.value == value:
            entry = self._path(_ENTRY, key)
            when_free(lambda: entry.unlink(missing_ok=True))

    def try_lock(self, key: str, lease_s: float) -> Callable[[], object] | None:
        """Take the lock of a key, unless another process holds it. It is released when its holder exits."""
        import filelock  # noqa: PLC0415 - of an extra

        del lease_s  # only the holder can release a lock of the system
        self._make_folder()
        path = self._path(_LOCK, key)
        _check_replaceable(path)
        # A new object each time, because any thread may release the lock.
        lock = filelock.FileLock(path, mode=0o600, thread_local=False)
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout:
            return None
        return lock.release

    def _path(self, name: str, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise ValueError("A key of a token store has 32 hexadecimal digits.")
        return self._folder / name.format(key)

    def _make_folder(self) -> None:
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        if not os.path.lexists(self._folder):
            self._folder.mkdir(mode=0o700, exist_ok=True)
        self._check_folder()

    def _check_folder(self) -> None:
        status = self._folder.lstat()
        if stat.S_ISLNK(status.st_mode):
            raise _FolderError("its folder is a link. Pass the folder that it points to")
        _check_mine(status, stat.S_ISDIR, "its folder", _FolderError)

    def _sweep(self) -> None:
        """Remove expired entries and files that crashes left."""
        oldest = time.time() - _KEPT_S
        for path in self._folder.iterdir():
            if not _OURS.fullmatch(path.name):
                continue
            with contextlib.suppress(OSError):  # another process may have removed it
                status = path.lstat()
                if status.st_mtime < oldest and _is_file_of_mine(status):
                    path.unlink()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._folder)!r})"


# On Windows, ordinary users cannot create links, and folders have no FIFOs.
_NO_LINK: int = getattr(os, "O_NOFOLLOW", 0)
_NO_WAIT: int = getattr(os, "O_NONBLOCK", 0)


def _is_file_of_mine(status: os.stat_result) -> bool:
    is_mine = not hasattr(os, "geteuid") or status.st_uid == os.geteuid()
    return is_mine and stat.S_ISREG(status.st_mode)


def _check_replaceable(path: Path) -> None:
    """Raise `_FolderError` unless a path is free or is a file that this user may replace."""
    if os.path.lexists(path) and not _is_file_of_mine(path.lstat()):
        raise _FolderError(f"{path.name} in its folder is not a regular file of this user. Remove it")


def _check_mine(
    status: os.stat_result, is_kind: Callable[[int], bool], what: str, error: Callable[[str], Exception]
) -> None:
    if not is_kind(status.st_mode):
        raise error(f"{what} is not of the expected kind")
    if hasattr(os, "geteuid"):
        if status.st_uid != os.geteuid():
            raise error(f"{what} belongs to another user")
        if status.st_mode & _OTHERS:
            raise error(
                f"{what} is open to other users (mode {stat.S_IMODE(status.st_mode):04o}). "
                "Run chmod go= on it"
            )


#: The time limit of one exchange with Redis, and of opening a connection, in seconds.
_REDIS_TIMEOUT_S = 0.5

_SCHEMES = ("redis", "rediss", "unix")

# Comparing the text is enough, because this process has just read it.
_DELETE_IF_SAME = "if redis.call('get', KEYS[1]) == ARGV[1] then redis.call('del', KEYS[1]) end"


class RedisTokenStore:
    """Tokens in a Redis server, for all machines that share it.

    Each entry contains a token in plain text until it expires, so anyone who can read the server's data can
    use the tokens. Use a `rediss://` URL to encrypt the connection.

    Args:
        server: The server's URL, such as `rediss://cache.example:6379/0`; or a function without arguments
            that returns a `redis.Redis`, such as for a cluster or a password kept elsewhere. A function is
            pickled by its name. A URL with a password cannot be pickled.
        prefix: The prefix of all keys.

    Raises:
        ConfigurationError: The extra `redis` is not installed, or the URL is not valid.
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
        """Return the token of a key."""
        text = self._text(key)
        return None if text is None else StoredToken.from_json(text)

    def save(self, key: str, token: StoredToken) -> None:
        """Write a token. The server deletes it when it expires."""
        left_ms = max(math.ceil((token.expires_at - time.time()) * 1000), 1)
        self._client().set(self._prefix + key, token.to_json(), px=left_ms)

    def forget(self, key: str, value: str) -> None:
        """Remove a token, unless another has replaced it."""
        text = self._text(key)
        if text is not None and StoredToken.from_json(text).value == value:
            self._client().eval(_DELETE_IF_SAME, 1, self._prefix + key, text)

    def try_lock(self, key: str, lease_s: float) -> Callable[[], object] | None:
        """Take the lock of a key, unless it is taken. The lock is an entry with an owner and an expiry."""
        from redis.exceptions import LockError  # noqa: PLC0415 - of an extra

        lock = self._client().lock(f"{self._prefix}{key}:lock", timeout=lease_s, thread_local=False)
        if not lock.acquire(blocking=False):
            return None

        def release() -> None:
            with contextlib.suppress(LockError):  # the lease has expired, and another may hold the lock
                lock.release()

        return release

    def _text(self, key: str) -> bytes | str | None:
        # A client with decode_responses returns text, any other bytes.
        return self._client().get(self._prefix + key)

    def _client(self) -> "redis.Redis":
        client = self._connected
        if client is None:
            client = self._connected = self._server() if callable(self._server) else _connected(self._server)
        return client

    def __repr__(self) -> str:
        if callable(self._server):
            return f"<{type(self).__name__}>"
        # Without user, password, and options, which may contain secrets.
        url = urllib.parse.urlsplit(self._server)
        return f"<{type(self).__name__} {url.scheme}://{url.hostname or ''}{url.path}>"

    def __reduce__(self) -> "tuple[Callable[..., RedisTokenStore], tuple[Any, ...]]":
        if not callable(self._server) and ("@" in self._server or "?" in self._server):
            raise TypeError(
                "A RedisTokenStore whose URL has a password or options cannot be pickled. "
                "Pass a function instead of the URL."
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
        retry=Retry(NoBackoff(), 1),  # the server may have closed an idle connection
    )


def _problem_of_url(url: object) -> str | None:
    if not isinstance(url, str):
        return (
            f"server is of type {type(url).__name__}. Pass a Redis URL, or a function that returns a client."
        )
    try:
        parts = urllib.parse.urlsplit(url)
        valid = (
            parts.scheme in _SCHEMES and (parts.scheme == "unix" or bool(parts.hostname)) and parts.port != 0
        )
    except ValueError:
        valid = False
    return None if valid else "The Redis URL is not valid. Write it as rediss://cache.example:6379/0."


def _require(extra: str, module: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise ConfigurationError(
            f"This token store needs {module}, which is not installed. "
            f"Run python3 -m pip install 'thrive-learning[{extra}]'."
        )
