"""The token store in Redis."""

import contextlib
import math
import time
import urllib.parse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from thrive_learning.errors import ConfigurationError
from thrive_learning.token_stores import _redis_limits
from thrive_learning.token_stores._extras import require
from thrive_learning.token_stores.stored_token import StoredToken

if TYPE_CHECKING:
    import redis

#: The time limit of one exchange with Redis, and of opening a connection, in seconds.
_REDIS_TIMEOUT_S = 0.5

_SCHEMES = ("redis", "rediss", "unix")

# Comparing the text is enough, because this process has just read it.
_DELETE_IF_SAME = "if redis.call('get', KEYS[1]) == ARGV[1] then redis.call('del', KEYS[1]) end"


class RedisTokenStore:
    """Tokens and rate limits in a Redis server, for all machines that share it.

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
        require("redis", "redis")
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

    def take(self, key: str, *, per_second: float, burst: float, longest_wait_s: float) -> float:
        """Reserve the next request, unless the caller cannot wait until its time."""
        return float(self._change_limit(key, "take", per_second, burst, longest_wait_s))

    def slow(
        self, key: str, *, pause_s: float = 0.0, per_second: float | None = None, for_s: float = 0.0
    ) -> None:
        """Apply a pause or a lower rate."""
        lower = (0.0, 0.0) if per_second is None else (per_second, for_s)
        self._change_limit(key, "slow", pause_s, *lower)

    def _change_limit(self, key: str, operation: str, *numbers: float) -> Any:
        from redis.exceptions import NoScriptError  # noqa: PLC0415 - of an extra

        client: Any = self._client()
        arguments = 1, f"{self._prefix}{key}:limit", operation, *map(repr, map(float, numbers))
        try:
            return client.evalsha(_redis_limits.DIGEST, *arguments)
        except NoScriptError:  # the server has restarted, or this is its first request
            pass
        return client.eval(_redis_limits.SCRIPT, *arguments)

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
        return f"<{type(self).__name__} {_without_secrets(self._server)}>"

    def __reduce__(self) -> "tuple[Callable[..., RedisTokenStore], tuple[Any, ...]]":
        if not callable(self._server) and (
            any(mark in self._server for mark in "@?#") or _without_secrets(self._server).endswith("/...")
        ):
            raise TypeError(
                "A RedisTokenStore whose URL has a password or options cannot be pickled. "
                "Pass a function instead of the URL."
            )
        return _revived, (type(self), self._server, self._prefix)


def _without_secrets(url: str) -> str:
    """Return a URL without the user, the password, and all options but the number of the database."""
    parts = urllib.parse.urlsplit(url)
    start = f"{parts.scheme}://"
    if "@" in parts.path + parts.query + parts.fragment:  # these may be parts of a password with a / ? or #
        return f"{start}..."
    database = urllib.parse.parse_qs(parts.query).get("db", [""])[0]
    option = f"?db={database}" if database.isdecimal() else ""
    host = parts.netloc.rpartition("@")[2]
    number = parts.path.removeprefix("/")
    if parts.scheme != "unix" and number and not number.isdecimal():
        return f"{start}{host}/..."  # not the number of a database, so it may be a password
    return f"{start}{host}{parts.path}{option}"


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
