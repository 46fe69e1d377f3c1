"""Access tokens for calls that the SDK does not make itself, such as those to the webhooks endpoints."""

from collections.abc import Iterable

from thrive_learning._call.seam import AsyncCaller, Caller
from thrive_learning.credentials import Scope
from thrive_learning.models import AccessToken
from thrive_learning.policies import Timeout
from thrive_learning.regions import Service


class Tokens:
    """Access tokens for calls that the SDK does not make itself. Found as `client.tokens`."""

    def __init__(self, http: Caller) -> None:
        self._http = http

    def get(
        self,
        service: Service = Service.API,
        *,
        scopes: Iterable[Scope | str] | None = None,
        timeout: Timeout | float | None = None,
    ) -> AccessToken:
        """Return a fresh access token, which all callers of this client that ask for the same one share.

        Args:
            service: The service that the token is for.
            scopes: The scopes to request; None for those of the credentials that the service knows, or
                `api/webhooks` for webhooks if the credentials have none.
            timeout: Time-outs for this call, or seconds for the whole of it; None for those of the client.

        Raises:
            ConfigurationError: The client has HTTP Basic credentials, or the service does not know a scope.
            TokenError: The token endpoint rejected the request or sent an invalid response, now or in an
                earlier request that is remembered.
            UnauthorizedError: The API has just rejected new tokens like this one, so none is requested.
            ConnectionFailedError: There was no response, or (`DeadlineExceededError`) none in time.
            ClientClosedError: The client is closed.

        Source: the reference page, "OAuth" and "Scopes"; RFC 6749 section 4.4.
        """
        return self._http.token(service, scopes, timeout)


class AsyncTokens:
    """Access tokens for calls that the SDK does not make itself. Found as `client.tokens`."""

    def __init__(self, http: AsyncCaller) -> None:
        self._http = http

    async def get(
        self,
        service: Service = Service.API,
        *,
        scopes: Iterable[Scope | str] | None = None,
        timeout: Timeout | float | None = None,
    ) -> AccessToken:
        """Return a fresh access token, which all callers of this client that ask for the same one share.

        Args:
            service: The service that the token is for.
            scopes: The scopes to request; None for those of the credentials that the service knows, or
                `api/webhooks` for webhooks if the credentials have none.
            timeout: Time-outs for this call, or seconds for the whole of it; None for those of the client.

        Raises:
            ConfigurationError: The client has HTTP Basic credentials, or the service does not know a scope.
            TokenError: The token endpoint rejected the request or sent an invalid response, now or in an
                earlier request that is remembered.
            UnauthorizedError: The API has just rejected new tokens like this one, so none is requested.
            ConnectionFailedError: There was no response, or (`DeadlineExceededError`) none in time.
            ClientClosedError: The client is closed.

        Source: the reference page, "OAuth" and "Scopes"; RFC 6749 section 4.4.
        """
        return await self._http.token(service, scopes, timeout)
