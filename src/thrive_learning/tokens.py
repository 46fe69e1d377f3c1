"""Access tokens for your own calls, such as those to the webhooks endpoints."""

from collections.abc import Iterable

from thrive_learning._call.seam import AsyncCaller, Caller
from thrive_learning.credentials import Scope
from thrive_learning.models import AccessToken
from thrive_learning.policies import Timeout
from thrive_learning.regions import Service


class Tokens:
    """Access tokens for your own calls. Use it as `client.tokens`."""

    def __init__(self, http: Caller) -> None:
        self._http = http

    def get(
        self,
        service: Service = Service.API,
        *,
        scopes: Iterable[Scope | str] | None = None,
        timeout: Timeout | float | None = None,
    ) -> AccessToken:
        """Return a valid access token. All callers of this client with the same service and scopes share it.

        Args:
            service: The service that the token is for.
            scopes: The scopes to request; None for the scopes of the credentials that the service supports,
                or `api/webhooks` for webhooks if the credentials have none.
            timeout: The time limits of this call, or seconds for the whole call; None for the client's.

        Raises:
            ConfigurationError: The client has HTTP Basic credentials, or the service does not support a
                scope.
            TokenError: The token endpoint rejected the request or sent an invalid response, now or in an
                earlier request whose outcome is still remembered.
            UnauthorizedError: The API has just rejected new tokens of this kind, so no token was requested.
            ConnectionFailedError: No response arrived.
            DeadlineExceededError: No response arrived in time.
            ClientClosedError: The client is closed.

        Source: the reference page, "OAuth" and "Scopes"; RFC 6749 section 4.4.
        """
        return self._http.token(service, scopes, timeout)


class AsyncTokens:
    """Access tokens for your own calls. Use it as `client.tokens`."""

    def __init__(self, http: AsyncCaller) -> None:
        self._http = http

    async def get(
        self,
        service: Service = Service.API,
        *,
        scopes: Iterable[Scope | str] | None = None,
        timeout: Timeout | float | None = None,
    ) -> AccessToken:
        """Return a valid access token. All callers of this client with the same service and scopes share it.

        Args:
            service: The service that the token is for.
            scopes: The scopes to request; None for the scopes of the credentials that the service supports,
                or `api/webhooks` for webhooks if the credentials have none.
            timeout: The time limits of this call, or seconds for the whole call; None for the client's.

        Raises:
            ConfigurationError: The client has HTTP Basic credentials, or the service does not support a
                scope.
            TokenError: The token endpoint rejected the request or sent an invalid response, now or in an
                earlier request whose outcome is still remembered.
            UnauthorizedError: The API has just rejected new tokens of this kind, so no token was requested.
            ConnectionFailedError: No response arrived.
            DeadlineExceededError: No response arrived in time.
            ClientClosedError: The client is closed.

        Source: the reference page, "OAuth" and "Scopes"; RFC 6749 section 4.4.
        """
        return await self._http.token(service, scopes, timeout)
