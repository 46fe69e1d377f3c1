"""Uses a token store that several processes share, on behalf of a caller that needs a new token.

All functions block, and none raises because of the store. A store that fails counts as empty and its lock as
taken, so the caller continues without it.
"""

import collections
import datetime as dt
import hashlib
import json
import math
import threading
from collections.abc import Callable
from typing import TypeVar, cast

from thrive_learning._auth.outcomes import LONGEST_LIFETIME_S, Key, Minted, scope_or_text
from thrive_learning._auth.single_flight import (
    RENEW_BEFORE_EXPIRY_S,
    WAIT_BEFORE_EXPIRY_S,
    SingleFlight,
)
from thrive_learning._clock import wall_time
from thrive_learning._interruptions import interruption
from thrive_learning._log import fields, logger_of
from thrive_learning._store_reports import ANSWER_S, describe_failure, describe_lateness, describe_store
from thrive_learning._threads import start_thread
from thrive_learning.credentials import ClientCredentials, Scope, Secret
from thrive_learning.errors import ConfigurationError
from thrive_learning.models import AccessToken
from thrive_learning.regions import Region, Service
from thrive_learning.token_stores import StoredToken, TokenStore

logger = logger_of("auth")

T = TypeVar("T")
D = TypeVar("D")

#: The seconds after which the lock of a lost process is released.
LEASE_S = 10.0

#: How long a caller without a token waits for another process, in seconds, or half of the rest of its call.
#: It is longer than the lease, so that only one of the waiting processes replaces a lost one.
PATIENCE_S = 2 * LEASE_S

#: The interval between two looks, varied by up to a half, in seconds.
LOOK_AGAIN_AFTER_S = 0.1

#: How long a store is not used after a failure, in seconds.
LEFT_ALONE_S = 30.0

# If a token's remaining lifetime exceeds its total lifetime by more than this, another clock wrote it.
# Seconds.
_CLOCK_SKEW_S = 60.0

# The number of remembered rejected tokens per key, because a store may return with one from before its
# outage.
_REFUSED_KEPT = 8

# The cost of each guess at the secret, and of a cold start: some 50 ms.
_ITERATIONS = 200_000


def store_key(
    region: Region, credentials: ClientCredentials, service: Service, scopes: frozenset[Scope]
) -> str:
    """Return the name of a token in a store, which depends on everything that the token depends on.

    It is a slow hash of the secret, salted with everything else. The name reveals nothing, and each guess at
    the secret is expensive.

    Source: RFC 8018 section 5.2 (PBKDF2).
    """
    parts = [
        "thrive-learning 1",
        region.api_url,
        region.token_url(credentials.tenant_id, service),
        credentials.tenant_id,
        credentials.client_id,
        sorted(scopes),
    ]
    salt = hashlib.sha256(json.dumps(parts).encode("ascii")).digest()
    secret = credentials.client_secret
    return hashlib.pbkdf2_hmac("sha256", secret.reveal().encode(), salt, _ITERATIONS, dklen=16).hex()


class SharedTokens:
    """One client's use of a store.

    Args:
        store: The token store.
        region: The region whose token endpoints are used.
        credentials: The credentials of the client.
        cache: The client's own cache, whose clock and random numbers this uses.
    """

    def __init__(
        self, store: TokenStore, region: Region, credentials: ClientCredentials, cache: SingleFlight
    ) -> None:
        self.store: TokenStore = store
        self.cache: SingleFlight = cache
        #: Returns the seconds since 1970, which all processes share.
        self.wall_clock: Callable[[], float] = wall_time
        self._region = region
        self._credentials = credentials
        self._names: dict[Key, tuple[Secret, str]] = {}
        self._refused: dict[Key, collections.deque[str]] = {}
        self._left_alone_until = 0.0
        self._silent_since = math.inf  # when the first of the unanswered looks began
        self._failing: set[str] = set()  # the operations that failed the last time
        self._corrupt: set[str] = set()  # the names of entries that were not valid the last time

    def turn(self, key: Key, time_s: float, *, renews: bool) -> "Turn":
        """Return a turn for a caller that must get a token. See `Turn`."""
        return Turn(self, key, time_s, renews=renews)

    def name(self, key: Key) -> str:
        """Return the name of a token in the store, for the current secret."""
        secret = Secret(self._credentials.client_secret.reveal())
        known = self._names.get(key)
        if known is None or known[0] != secret:
            known = (secret, store_key(self._region, self._credentials, *key))
            self._names[key] = known
        return known[1]

    def refuse(self, key: Key, token: AccessToken) -> None:
        """Reject a token of the store that the API did not accept, from now on. No I/O."""
        self._refused.setdefault(key, collections.deque(maxlen=_REFUSED_KEPT)).append(token.value)

    def is_refused(self, key: Key, value: str) -> bool:
        """Return whether the API did not accept a token."""
        return value in self._refused.get(key, ())

    def read(self, key: Key, name: str) -> tuple[Minted | None, str | None]:
        """Return the store's token if it is valid, or the value of one that must be removed."""
        stored = self._guarded("load", lambda: self._loaded(name), None)
        if stored is None:
            return None, None
        if self.is_refused(key, stored.value):
            return None, stored.value
        left_s = stored.expires_at - self.wall_clock()
        if left_s > stored.lifetime_s + _CLOCK_SKEW_S:
            return None, None
        left_s = min(left_s, stored.lifetime_s)
        if left_s <= min(WAIT_BEFORE_EXPIRY_S, stored.lifetime_s / 2):
            return None, None
        token = AccessToken(
            value=stored.value,
            expires_at=dt.datetime.fromtimestamp(stored.expires_at, dt.UTC),
            scopes=tuple(scope_or_text(scope) for scope in stored.scopes),
        )
        return Minted(token, stored.lifetime_s, self.cache.clock() + left_s - stored.lifetime_s), None

    def _loaded(self, name: str) -> StoredToken | None:
        try:
            stored = cast("object", self.store.load(name))
        except ValueError as error:
            if name not in self._corrupt:
                self._warn(describe_failure(error), "it is replaced")
            self._corrupt.add(name)
            return None
        self._corrupt.discard(name)
        if stored is None or isinstance(stored, StoredToken):
            return stored
        raise TypeError  # a custom store

    def write(self, name: str, minted: Minted) -> None:
        """Save a new token in the store."""
        lifetime_s = min(minted.lifetime_s, LONGEST_LIFETIME_S)
        since_request_s = self.cache.clock() - minted.requested_at
        stored = StoredToken(
            value=minted.token.value,
            expires_at=self.wall_clock() - since_request_s + lifetime_s,
            lifetime_s=lifetime_s,
            scopes=tuple(str(scope) for scope in minted.token.scopes),
        )
        self._guarded("save", lambda: self.store.save(name, stored), None)

    def forget(self, name: str, value: str) -> None:
        """Remove a rejected token from the store."""
        self._guarded("forget", lambda: self.store.forget(name, value), None)

    def try_lock(self, name: str) -> Callable[[], object] | None:
        """Take the lock of a token, or return None if another process has it."""
        otherwise: Callable[[], object] = _nothing  # without a store, every process leads
        return self._guarded("lock", lambda: self.store.try_lock(name, LEASE_S), otherwise)

    def release(self, release: Callable[[], object]) -> None:
        """Release a lock, even in a store that failed, because nothing else releases a lock of the system."""
        self._tried("release", release, None)

    def _guarded(self, what: str, operation: Callable[[], T], otherwise: D) -> T | D:
        if self.cache.clock() < self._left_alone_until:
            return otherwise
        return self._tried(what, operation, otherwise)

    def _tried(self, what: str, operation: Callable[[], T], otherwise: D) -> T | D:
        began = self.cache.clock()
        try:
            result = operation()
        except Exception as error:  # a store may raise anything, which must not break a call
            if interruption(error) is not None:
                raise
            self._fail(what, describe_failure(error))
            return otherwise
        if what in self._failing and began >= self._left_alone_until:  # not an answer that came too late
            self._failing.discard(what)
            if not self._failing:
                store = describe_store(self.store, "token store")
                logger.info("%s: works again", store, extra=fields("token_store_recovered", store=store))
        return result

    def _fail(self, what: str, reason: str) -> None:
        self._left_alone_until = self.cache.clock() + LEFT_ALONE_S
        if not self._failing:  # once per outage
            self._warn(reason, "this process continues with its own tokens and tries again later")
        self._failing.add(what)

    def late(self, waited_s: float) -> None:
        """Record that a look has not ended after so many seconds, and will not be waited for."""
        # Several calls with short time limits may have waited one after the other.
        now = self.cache.clock()
        self._silent_since = min(self._silent_since, now - waited_s)
        if waited_s >= ANSWER_S or now - self._silent_since >= ANSWER_S:
            self._fail("load", describe_lateness())

    def looked(self, began: float) -> None:
        """Record that a look that began at a time has ended."""
        now = self.cache.clock()
        if now < began + ANSWER_S and now >= self._left_alone_until:
            self._silent_since = math.inf

    def _warn(self, reason: str, consequence: str) -> None:
        store = describe_store(self.store, "token store")
        extra = fields("token_store_failed", store=store, error=reason)
        logger.warning("%s: %s; %s", store, reason, consequence, extra=extra)


def _nothing() -> None:
    """Release nothing, in place of a lock."""


class Turn:
    """One caller's turn at the store, from its first look until it releases the lock.

    All methods except `abandon` block. `abandon` may be called at any time, even during another method.

    Args:
        shared: The client's use of the store.
        key: The kind of token.
        renews: Whether the caller has a token that is still valid.
        time_s: The rest of the call's time, in seconds.

    Attributes:
        token: A valid token from the store; None if it has none.
        is_fresh: Whether the token need not be renewed yet.
        leads: Whether the caller must request a token.
    """

    def __init__(self, shared: SharedTokens, key: Key, time_s: float, *, renews: bool) -> None:
        self.token: Minted | None = None
        self.is_fresh: bool = False
        self.leads: bool = False
        self._shared = shared
        self._key = key
        self._name = ""
        self._renews = renews
        self._patience_ends = shared.cache.clock() + min(PATIENCE_S, time_s / 2)
        self._mutex = threading.Lock()
        self._release: Callable[[], object] | None = None
        self._ended = False

    def identify(self) -> None:
        """Find out the name of the token in the store.

        Raises:
            ConfigurationError: The function that returns the secret fails.
        """
        self._name = self._name or self._shared.name(self._key)

    def look(self) -> float:
        """Look for a token, and take the lock if it is missing or due for renewal.

        Returns:
            The seconds after which to look again, because another process is requesting a token; 0 if `token`
            and `leads` are final.

        Raises:
            ConfigurationError: The function that returns the secret fails.
        """
        began = self._shared.cache.clock()
        again_s = self._look()
        self._shared.looked(began)
        return again_s

    def _look(self) -> float:
        shared = self._shared
        self.identify()
        self._read()
        if self.is_fresh:
            return 0.0
        release = shared.try_lock(self._name)
        if release is not None:
            self._hold(release)
            # Another process may have saved a token between that look and the lock.
            self._read(forget=True)
            self.leads = not self.is_fresh
            if self.is_fresh:
                self.end(None)
            return 0.0
        if self._renews or self.token is not None:
            return 0.0  # another process renews it, and this token is still valid
        left_s = self._patience_ends - shared.cache.clock()
        if left_s <= 0:
            self.leads = True
            return 0.0
        return min(LOOK_AGAIN_AFTER_S * (0.5 + shared.cache.draw()), left_s)

    def _read(self, *, forget: bool = False) -> None:
        self.token, refused = self._shared.read(self._key, self._name)
        if refused is not None and forget:
            self._shared.forget(self._name, refused)
        if self.token is not None:
            left_s = self.token.requested_at + self.token.lifetime_s - self._shared.cache.clock()
            self.is_fresh = left_s > min(RENEW_BEFORE_EXPIRY_S, self.token.lifetime_s / 2)

    def _hold(self, release: Callable[[], object]) -> None:
        with self._mutex:
            if not self._ended:
                self._release = release
                return
        self._shared.release(release)  # the caller was canceled meanwhile

    def _let_go(self) -> Callable[[], object] | None:
        with self._mutex:
            self._ended = True
            release, self._release = self._release, None
            return release

    def end(self, minted: Minted | None) -> None:
        """Save the new token, if any, and release the lock."""
        try:
            if minted is not None:
                self._shared.write(self._name, minted)
        finally:
            release = self._let_go()
            if release is not None:
                self._shared.release(release)

    def late(self, waited_s: float) -> None:
        """End the turn of a caller that has waited this many seconds for the store in vain."""
        self._shared.late(waited_s)
        self.abandon()

    def abandon(self) -> None:
        """Release the lock in a thread, from code that must neither block nor wait.

        If no thread can be started, it blocks, because the lock of a file has no lease that would expire.
        """
        release = self._let_go()
        if release is None:
            return
        thread = threading.Thread(target=self._shared.release, args=(release,))
        if start_thread(thread) is not None:
            self._shared.release(release)


def checked(store: object) -> TokenStore:
    """Return a token store that was passed to a client, after a check.

    Raises:
        ConfigurationError: The value is not a token store.
    """
    if isinstance(store, TokenStore) and not isinstance(store, type):
        return store
    given = f"the class {store.__name__}" if isinstance(store, type) else f"of type {type(store).__name__}"
    raise ConfigurationError(
        f"token_store is {given}. Pass FileTokenStore(), RedisTokenStore(url), or an object with the methods "
        "of TokenStore."
    )
