"""Thrive Learning's activity records in Python."""

from _thrive_learning_api.models import ActivityType

from thrive_learning._version import __version__
from thrive_learning.activities import Activities, AsyncActivities
from thrive_learning.client import AsyncThriveClient, ThriveClient
from thrive_learning.credentials import BasicCredentials, ClientCredentials, Credentials, Scope, Secret
from thrive_learning.errors import (
    ApiError,
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
    ThriveError,
    TokenError,
    UnauthorizedError,
    UnexpectedResponseError,
    UnprocessableError,
)
from thrive_learning.models import AccessToken, Activity, ApiResponse
from thrive_learning.policies import Timeout
from thrive_learning.regions import Region, Service
from thrive_learning.tokens import AsyncTokens, Tokens

__all__ = [
    "AccessToken",
    "Activities",
    "Activity",
    "ActivityType",
    "ApiError",
    "ApiResponse",
    "AsyncActivities",
    "AsyncThriveClient",
    "AsyncTokens",
    "BadRequestError",
    "BasicCredentials",
    "ClientClosedError",
    "ClientCredentials",
    "ConfigurationError",
    "ConflictError",
    "ConnectionFailedError",
    "Credentials",
    "DeadlineExceededError",
    "ForbiddenError",
    "InvalidIdError",
    "NotFoundError",
    "RateLimitedError",
    "Region",
    "Scope",
    "Secret",
    "ServerError",
    "Service",
    "ThriveClient",
    "ThriveError",
    "Timeout",
    "TokenError",
    "Tokens",
    "UnauthorizedError",
    "UnexpectedResponseError",
    "UnprocessableError",
    "__version__",
]
