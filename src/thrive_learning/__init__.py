"""Thrive Learning's activity records in Python."""

import importlib
from typing import TYPE_CHECKING, Any

from thrive_learning._version import __version__

if TYPE_CHECKING:
    from thrive_learning._bulk.pages import ActivityStream, AsyncActivityStream
    from thrive_learning._bulk.tasks import AsyncResultStream
    from thrive_learning._bulk.threads import ResultStream
    from thrive_learning.activities import Activities, AsyncActivities
    from thrive_learning.checks import CheckFinding, CheckReport, CheckStatus
    from thrive_learning.client import (
        AsyncClientOptions,
        AsyncThriveClient,
        AsyncTransport,
        ClientOptions,
        SandboxOptions,
        ThriveClient,
        Transport,
    )
    from thrive_learning.credentials import (
        BasicCredentials,
        ClientAuth,
        ClientCredentials,
        Credentials,
        Scope,
        Secret,
    )
    from thrive_learning.drift import Drift
    from thrive_learning.errors import (
        TRANSIENT_STATUS_CODES,
        ApiError,
        Attempt,
        BadRequestError,
        ClientClosedError,
        ConfigurationError,
        ConflictError,
        ConnectionFailedError,
        DeadlineExceededError,
        ForbiddenError,
        InvalidIdError,
        NotFoundError,
        RateLimitedError,
        ServerError,
        SignatureError,
        ThriveError,
        TokenError,
        UnauthorizedError,
        UnexpectedResponseError,
        UnprocessableError,
        WebhookError,
    )
    from thrive_learning.models import (
        AccessToken,
        Activity,
        ActivityFailed,
        ActivityFound,
        ActivityPage,
        ActivityResult,
        ActivityType,
        ApiResponse,
        Pagination,
    )
    from thrive_learning.policies import CallOptions, RetryPolicy, Timeout
    from thrive_learning.rate_limits import RateLimit, RateLimitStore
    from thrive_learning.regions import Region, Service
    from thrive_learning.telemetry import OpenTelemetry
    from thrive_learning.token_stores import TokenStore
    from thrive_learning.token_stores.files import FileTokenStore
    from thrive_learning.token_stores.memory import MemoryTokenStore
    from thrive_learning.token_stores.redis import RedisTokenStore
    from thrive_learning.token_stores.stored_token import StoredToken
    from thrive_learning.tokens import AsyncTokens, Tokens

__all__ = [
    "TRANSIENT_STATUS_CODES",
    "AccessToken",
    "Activities",
    "Activity",
    "ActivityFailed",
    "ActivityFound",
    "ActivityPage",
    "ActivityResult",
    "ActivityStream",
    "ActivityType",
    "ApiError",
    "ApiResponse",
    "AsyncActivities",
    "AsyncActivityStream",
    "AsyncClientOptions",
    "AsyncResultStream",
    "AsyncThriveClient",
    "AsyncTokens",
    "AsyncTransport",
    "Attempt",
    "BadRequestError",
    "BasicCredentials",
    "CallOptions",
    "CheckFinding",
    "CheckReport",
    "CheckStatus",
    "ClientAuth",
    "ClientClosedError",
    "ClientCredentials",
    "ClientOptions",
    "ConfigurationError",
    "ConflictError",
    "ConnectionFailedError",
    "Credentials",
    "DeadlineExceededError",
    "Drift",
    "FileTokenStore",
    "ForbiddenError",
    "InvalidIdError",
    "MemoryTokenStore",
    "NotFoundError",
    "OpenTelemetry",
    "Pagination",
    "RateLimit",
    "RateLimitStore",
    "RateLimitedError",
    "RedisTokenStore",
    "Region",
    "ResultStream",
    "RetryPolicy",
    "SandboxOptions",
    "Scope",
    "Secret",
    "ServerError",
    "Service",
    "SignatureError",
    "StoredToken",
    "ThriveClient",
    "ThriveError",
    "Timeout",
    "TokenError",
    "TokenStore",
    "Tokens",
    "Transport",
    "UnauthorizedError",
    "UnexpectedResponseError",
    "UnprocessableError",
    "WebhookError",
    "__version__",
]

# Each name is loaded when it is first used, so that code which only catches an error, or prints the version,
# does not wait for httpx. Type checkers see the imports above. A test compares the two.
_NAMES = {
    "thrive_learning._bulk.pages": (
        "ActivityStream",
        "AsyncActivityStream",
    ),
    "thrive_learning._bulk.tasks": ("AsyncResultStream",),
    "thrive_learning._bulk.threads": ("ResultStream",),
    "thrive_learning.activities": (
        "Activities",
        "AsyncActivities",
    ),
    "thrive_learning.checks": (
        "CheckFinding",
        "CheckReport",
        "CheckStatus",
    ),
    "thrive_learning.client": (
        "AsyncClientOptions",
        "AsyncThriveClient",
        "AsyncTransport",
        "ClientOptions",
        "SandboxOptions",
        "ThriveClient",
        "Transport",
    ),
    "thrive_learning.credentials": (
        "BasicCredentials",
        "ClientAuth",
        "ClientCredentials",
        "Credentials",
        "Scope",
        "Secret",
    ),
    "thrive_learning.drift": ("Drift",),
    "thrive_learning.errors": (
        "ApiError",
        "Attempt",
        "BadRequestError",
        "ClientClosedError",
        "ConfigurationError",
        "ConflictError",
        "ConnectionFailedError",
        "DeadlineExceededError",
        "ForbiddenError",
        "InvalidIdError",
        "NotFoundError",
        "RateLimitedError",
        "ServerError",
        "SignatureError",
        "TRANSIENT_STATUS_CODES",
        "ThriveError",
        "TokenError",
        "UnauthorizedError",
        "UnexpectedResponseError",
        "UnprocessableError",
        "WebhookError",
    ),
    "thrive_learning.policies": (
        "CallOptions",
        "RetryPolicy",
        "Timeout",
    ),
    "thrive_learning.rate_limits": (
        "RateLimit",
        "RateLimitStore",
    ),
    "thrive_learning.regions": (
        "Region",
        "Service",
    ),
    "thrive_learning.telemetry": ("OpenTelemetry",),
    "thrive_learning.token_stores": ("TokenStore",),
    "thrive_learning.token_stores.files": ("FileTokenStore",),
    "thrive_learning.token_stores.memory": ("MemoryTokenStore",),
    "thrive_learning.token_stores.redis": ("RedisTokenStore",),
    "thrive_learning.token_stores.stored_token": ("StoredToken",),
    "thrive_learning.tokens": (
        "AsyncTokens",
        "Tokens",
    ),
}
_IN_ROWS = {name: module for module, names in _NAMES.items() for name in names}
# Names without a row are in the module of models, to which new operations add.
_HOMES = {name: _IN_ROWS.get(name, "thrive_learning.models") for name in __all__ if name != "__version__"}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(home), name)
    return value


def __dir__() -> list[str]:
    return __all__
