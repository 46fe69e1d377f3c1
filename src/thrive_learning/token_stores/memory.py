"""The token store in memory."""

from collections.abc import Callable

from thrive_learning._clock import monotonic
from thrive_learning._limits.memory import MemoryLimits
from thrive_learning.token_stores.stored_token import StoredToken


class MemoryTokenStore(MemoryLimits):
    """Tokens and rate limits in the memory of this process, for all clients that it is passed to.

    It is pickled empty. Without any store, each client has its own memory.
    """

    def __init__(self) -> None:
        super().__init__()
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
