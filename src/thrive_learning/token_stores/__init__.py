"""Stores of access tokens and rate limits that several clients, processes, or machines share.

They are for `token_store=` and `RateLimit(store=)`. A client looks for a token in its own memory first. Only
if it has no valid token there, or must renew it, does it use the store, one caller at a time. A store that
fails never breaks a call.
"""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from thrive_learning.token_stores.files import FileTokenStore as FileTokenStore
from thrive_learning.token_stores.memory import MemoryTokenStore as MemoryTokenStore
from thrive_learning.token_stores.redis import RedisTokenStore as RedisTokenStore
from thrive_learning.token_stores.stored_token import StoredToken as StoredToken


@runtime_checkable
class TokenStore(Protocol):
    """The interface of `token_store=`: tokens by key, with a lock per key.

    Use `MemoryTokenStore`, `FileTokenStore`, `RedisTokenStore`, or a class of your own. The methods block.
    Clients call them in threads, each of which they use again within 10 seconds. If one raises, or has not
    returned after 5 seconds, the client logs a warning, continues with its own memory, and tries the store
    again after half a minute at the earliest. A call whose time ends earlier fails without waiting for the
    store. A method that never returns leaves its thread behind, so give it a time limit of its own. A key is
    32 hexadecimal digits and reveals nothing about its token.
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
