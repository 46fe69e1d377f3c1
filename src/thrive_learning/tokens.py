"""Access tokens for calls that the SDK does not make itself, such as those to the webhooks endpoints."""

from collections.abc import Iterable

from thrive_learning._http import AsyncHttpClient, HttpClient
from thrive_learning.credentials import Scope
from thrive_learning.models import AccessToken
from thrive_learning.policies import Timeout
from thrive_learning.regions import Service


class Tokens:
    """Gives access tokens. Found as `client.tokens`."""

    def __init__(self, http: HttpClient) -> None:
        self._http = http

    def get(
        self,
        service: Service = Service.API,
        *,
        scopes: Iterable[Scope | str] | None = None,
        timeout: Timeout | float | None = None,
    ) -> AccessToken:
        """Give a fresh access token, shared with everybody else who asks this client for the same one.

        Args:
            service: What the token is for.
            scopes: What to ask for; None for the scopes of the credentials that the service knows, and for
                webhooks `api/webhooks` if there are none.
            timeout: Time-outs for this call, or seconds for the whole of it; None for those of the client.

        Raises:
            ConfigurationError: The client has HTTP Basic credentials, or the service knows no such scope.
            TokenError: The token endpoint refused, or made no sense.
            ConnectionFailedError: There was no answer, or (`DeadlineExceededError`) none in time.
            ClientClosedError: The client is closed.

        Source: the reference page, "OAuth" and "Scopes"; RFC 6749 section 4.4.
        """
        return self._http.token(service, scopes, timeout)


class AsyncTokens:
    """Gives access tokens. Found as `client.tokens`."""

    def __init__(self, http: AsyncHttpClient) -> None:
        self._http = http

    async def get(
        self,
        service: Service = Service.API,
        *,
        scopes: Iterable[Scope | str] | None = None,
        timeout: Timeout | float | None = None,
    ) -> AccessToken:
        """Give a fresh access token, shared with everybody else who asks this client for the same one.

        Args:
            service: What the token is for.
            scopes: What to ask for; None for the scopes of the credentials that the service knows, and for
                webhooks `api/webhooks` if there are none.
            timeout: Time-outs for this call, or seconds for the whole of it; None for those of the client.

        Raises:
            ConfigurationError: The client has HTTP Basic credentials, or the service knows no such scope.
            TokenError: The token endpoint refused, or made no sense.
            ConnectionFailedError: There was no answer, or (`DeadlineExceededError`) none in time.
            ClientClosedError: The client is closed.

        Source: the reference page, "OAuth" and "Scopes"; RFC 6749 section 4.4.
        """
        return await self._http.token(service, scopes, timeout)
