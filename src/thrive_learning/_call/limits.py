"""Connects the client's rate limit with the place where its requests are counted."""

import functools
import hashlib
import json

from thrive_learning._limits.memory import MemoryLimits
from thrive_learning._limits.reservations import Limit, Reservations
from thrive_learning._log import fields, logger_of
from thrive_learning._store_reports import describe_store
from thrive_learning.errors import ConfigurationError
from thrive_learning.rate_limits import RateLimit, RateLimitStore
from thrive_learning.regions import Region
from thrive_learning.token_stores import MemoryTokenStore

logger = logger_of("limits")


def limit_key(region: Region, tenant_id: str) -> str:
    """Return the name of a tenant's limit in a store. The vendor limits a tenant, as far as is known."""
    parts = ["thrive-learning rate limit 1", region.api_url, tenant_id]
    return hashlib.sha256(json.dumps(parts).encode("ascii")).hexdigest()[:32]


def reservations(rate_limit: object, token_store: object, region: Region, tenant_id: str) -> Reservations:
    """Return the reservations of a client.

    Args:
        rate_limit: The client's `rate_limit=`.
        token_store: The client's `token_store=`, which also keeps the limit if it can.
        region: The region that requests go to.
        tenant_id: The tenant ID.

    Raises:
        ConfigurationError: `rate_limit` is not a RateLimit.
    """
    if not isinstance(rate_limit, RateLimit):
        raise ConfigurationError(
            f"rate_limit is {rate_limit!r}. Pass RateLimit(per_second=20), or None for no limit."
        )
    limit = Limit(limit_key(region, tenant_id), rate_limit.per_second, rate_limit.burst)
    store: object = token_store if rate_limit.store is None else rate_limit.store
    if not isinstance(store, RateLimitStore):
        if store is not None:
            _warn_of(describe_store(store, "token store"))
        return Reservations(limit, MemoryLimits())
    if isinstance(store, MemoryTokenStore) and type(store).take is MemoryTokenStore.take:
        return Reservations(limit, store)  # it neither blocks nor fails
    return Reservations(limit, MemoryLimits(), store)


@functools.cache
def _warn_of(store: str) -> None:
    """Warn that a custom token store keeps no limits, once for each class."""
    logger.warning(
        "%s: has no methods of RateLimitStore; each client keeps to the rate limit on its own",
        store,
        extra=fields("limit_not_shared", store=store),
    )
