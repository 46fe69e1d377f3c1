"""Builds the requests to a token endpoint and interprets its replies, without I/O. Pure.

A leader asks `Minting` for a request and passes it the reply. Only `client_auth="auto"` can lead to a second
request.
"""

import datetime as dt
import urllib.parse
from collections.abc import Callable
from typing import Literal, cast

from thrive_learning._auth.masking import basic_header, client_forms, client_pair
from thrive_learning._auth.outcomes import PAUSE_S, Failure, Key, Minted, scope_or_text
from thrive_learning._auth.token_reply import Answer, Granted, Remark
from thrive_learning._exchange.messages import Circumstances, Purpose, cut_response, redirect_advice
from thrive_learning._exchange.reply import Reply
from thrive_learning._exchange.server_text import show
from thrive_learning._http.port import Headers, Request, parse_url
from thrive_learning.credentials import ClientCredentials, Scope, Secret
from thrive_learning.errors import (
    TRANSIENT_STATUS_CODES,
    Attempt,
    ConnectionFailedError,
    ThriveError,
    TokenError,
)
from thrive_learning.models import AccessToken
from thrive_learning.regions import Region, Service

Method = Literal["post", "basic"]

#: The names of the two authentication methods in messages.
METHOD_NAMES: dict[Method, str] = {"post": "form fields", "basic": "HTTP Basic"}

#: The range of pauses that a `Retry-After` header can request, in seconds.
SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 3600.0

_OK = 200  # the only success in RFC 6749 section 5.1


class TokenEndpoint:
    """The token endpoints of a region, as used by one client.

    Args:
        region: The region of the endpoints.
        credentials: The credentials of the client.
        headers: The headers of every request.

    Source: RFC 6749 sections 2.3.1 and 4.4.
    """

    def __init__(self, region: Region, credentials: ClientCredentials, headers: Headers) -> None:
        self.region: Region = region
        self.credentials: ClientCredentials = credentials
        self.headers: Headers = headers
        #: The credentials of the client's proxies, which a proxy could repeat.
        self.proxy_secrets: tuple[str, ...] = ()

    def request(self, service: Service, scopes: tuple[Scope, ...], method: Method, secret: Secret) -> Request:
        """Build a token request that contains the secret only once."""
        mine = self.credentials
        # First, because it may raise, and no local variable holds a secret yet.
        url = self.region.token_url(mine.tenant_id, service)
        form = {"grant_type": "client_credentials"}
        if scopes:
            form["scope"] = " ".join(scopes)
        origin, host, target = parse_url(url)
        headers = [(b"Host", host), *self.headers, (b"Content-Type", b"application/x-www-form-urlencoded")]
        if method == "basic":
            value = basic_header(*client_pair(mine.client_id, secret))
            headers.append((b"Authorization", value.encode("ascii")))
        else:
            form |= {"client_id": mine.client_id, "client_secret": secret.reveal()}
        body = urllib.parse.urlencode(form).encode("ascii")
        headers.append((b"Content-Length", b"%d" % len(body)))
        return Request("POST", origin, target, headers, body)


class Minting:
    """The token requests of one leader, and their outcome.

    Args:
        endpoint: The token endpoint.
        key: The kind of token.
        scopes: The scopes to request, in this order.
        method: The first authentication method.
        other: The method to try if the server rejects the client with the first one; None for no second try.
        clock: The cache's clock.

    Attributes:
        outcome: The outcome of the last request.
        method: The authentication method of the last request.
        remarks: Assumptions about the token, for the log.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - everything that a token request depends on
        self,
        endpoint: TokenEndpoint,
        key: Key,
        scopes: tuple[Scope, ...],
        method: Method,
        other: Method | None,
        clock: Callable[[], float],
    ) -> None:
        self.outcome: Minted | ThriveError | None = None
        self.method: Method = method
        self.remarks: tuple[Remark, ...] = ()
        self._endpoint = endpoint
        self._key = key
        self._scopes = scopes
        self._other: Method | None = other
        self._clock = clock
        self._requested_at = 0.0
        self._secret: Secret | None = None
        self._history: tuple[Attempt, ...] = ()
        self._rejected = ""  # the server's response to the first method

    def request(self) -> Request:
        """Build the next request.

        Raises:
            ConfigurationError: The function that returns the secret fails, or the region lacks this endpoint.
        """
        self._secret = self._endpoint.credentials.client_secret.fixed()
        self._requested_at = self._clock()
        return self._endpoint.request(self._key.service, self._scopes, self.method, self._secret)

    @property
    def purpose(self) -> Purpose:
        """The purpose of the requests, as errors, attempts, and log records name it."""
        service = self._key.service
        return Purpose("tokens.get", service.value, self._endpoint.region.token_url_template(service))

    def saw(self, reply: Reply) -> bool:
        """Process a reply, and return whether another request must be sent.

        Errors are stored and not raised, so that no traceback has a frame with a token.
        """
        done = len(self._history)
        self._history += tuple(
            attempt._replace(number=number) for number, attempt in enumerate(reply.history, done + 1)
        )
        answer = Answer(reply, self._secrets)
        self.outcome = self._error(answer) if answer.granted is None else self._token(answer.granted)
        if isinstance(self.outcome, Minted):
            return False
        self.outcome.history = self._history
        self.outcome.url, self.outcome.operation = reply.url, reply.operation
        if self._other is None or not answer.rejects_the_client:
            return False
        self._rejected = f"{answer.said} to {METHOD_NAMES[self.method]}"
        self.method = self._other
        self._other = None
        return True

    def failed(self, error: ThriveError) -> None:
        """Store an error that occurred instead of a reply."""
        if self._rejected:
            before = f"Before that, the token endpoint answered {self._rejected}{self._setting}."
            error.args = (f"{error} {before}",)
        self.outcome = error

    @property
    def failure(self) -> Failure:
        """The failure to share with other callers, if the outcome is not a token."""
        error = cast("ThriveError", self.outcome)
        if not isinstance(error, (TokenError, ConnectionFailedError)):
            return Failure(error)  # nothing was sent
        asked_s = min(max(error.retry_after or 0.0, SHORTEST_PAUSE_S), LONGEST_PAUSE_S)
        if error.retry_after is None or (not error.is_transient and asked_s < PAUSE_S):
            asked_s = PAUSE_S
        return Failure(
            error,
            pause_s=asked_s,
            secret=self._secret,
            is_transient=error.is_transient,
            is_about_scopes=isinstance(error, TokenError) and error.error == "invalid_scope",
        )

    @property
    def _secrets(self) -> tuple[str, ...]:
        """The secrets that a server or a proxy could repeat."""
        client_id = self._endpoint.credentials.client_id
        return (*client_forms(client_id, cast("Secret", self._secret)), *self._endpoint.proxy_secrets)

    @property
    def _setting(self) -> str:
        return f" (client_auth={self._endpoint.credentials.client_auth!r})"

    def _token(self, given: Granted) -> Minted:
        self.remarks = given.remarks
        # RFC 6749 section 5.1: a server that grants the requested scopes may omit them.
        names = self._scopes if given.scopes is None else given.scopes
        scopes = tuple(self._scope(name, given.value) for name in names)
        expires_at = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=given.lifetime_s)
        token = AccessToken(value=given.value, expires_at=expires_at, scopes=scopes)
        return Minted(token, given.lifetime_s, self._requested_at)

    def _scope(self, name: str, token: str) -> Scope | str:
        """Return a scope. An unknown name comes from the server, so it may repeat a secret."""
        known = scope_or_text(name)
        return known if isinstance(known, Scope) else show(name, (token, *self._secrets))

    def _error(self, answer: Answer) -> ThriveError:
        reply, region = answer.reply, self._endpoint.region
        if reply.status_code == _OK and reply.cut:
            subject = "an access token"
            return cut_response(
                reply, Circumstances(region=region.name, subject=subject, credentials="", allowed="")
            )
        to = ""
        if self._rejected or answer.is_explained or 400 <= reply.status_code <= 499:  # noqa: PLR2004
            after = f", after {self._rejected}" if self._rejected else ""
            to = f" to {METHOD_NAMES[self.method]}{after}{self._setting}"
        url = region.token_url_template(self._key.service)
        if reply.status_code == _OK and not answer.is_explained:
            said = f"200{to}, but {answer.problem}"
            advice = f"Check the region's token URL {url}. If it is right, ask the API's support."
        else:
            said = f"{answer.said}{to}"
            advice = self._advice(answer, url)
        return TokenError(
            f"the token endpoint of {region.name} answered {said}. {advice}",
            status_code=reply.status_code,
            error=answer.error,
            error_description=answer.description,
            retry_after=answer.wait_s,
        )

    def _advice(self, answer: Answer, url: str) -> str:  # noqa: PLR0911 - a table whose first matching row counts
        region, status = self._endpoint.region.name, answer.status
        if 300 <= status <= 399:  # noqa: PLR2004 - the range of redirects
            return redirect_advice(answer.reply, "token URL", self._secrets)
        if answer.error == "invalid_scope":
            return (
                f"The client may not have the requested scopes ({', '.join(self._scopes)}). "
                "Choose others with scopes=."
            )
        if answer.reply.status_code in TRANSIENT_STATUS_CODES:
            pause = "later" if answer.wait_s is None else f"in {answer.wait_s:g} s"
            return f"It is failing or busy. Try again {pause}."
        if status >= 500 or status in TRANSIENT_STATUS_CODES:  # noqa: PLR2004
            return f"It failed. Check the region's token URL {url}, or try again later."
        if status in {401, 403, 404} and answer.error is None:
            return (
                f"A proxy or a gateway may have answered instead of {url}. Check that URL, the tenant ID, "
                "and the credentials."
            )
        if answer.rejects_the_client or status in {401, 403}:
            return (
                "Check that client ID, client secret, and tenant ID belong together and to the region "
                f"{region!r}."
            )
        if status == 404:  # noqa: PLR2004
            return f"Check the tenant ID, which the region {region!r} does not seem to know."
        return f"Check the credentials and the region's token URL {url}."
