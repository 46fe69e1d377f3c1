"""The Authorization header, for both kinds of credentials; mints access tokens and shares them."""

import base64
import datetime as dt
import functools
import math
import urllib.parse
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import attrs
import httpx

from thrive_learning._outcome import (
    Circumstances,
    Reply,
    cut_response,
    deadline_exceeded,
    error_text,
    json_object,
    quoted,
)
from thrive_learning._token_cache import Flight, Lead, Minted, TokenCache
from thrive_learning.credentials import BasicCredentials, ClientCredentials, Credentials, Scope, scopes_for
from thrive_learning.errors import ConfigurationError, DeadlineExceededError, ThriveError, TokenError
from thrive_learning.models import AccessToken
from thrive_learning.policies import Deadline
from thrive_learning.regions import Region, Service

#: How long a token is taken to live whose response does not say so. Seconds.
#: Source: RFC 6749 section 5.1 makes `expires_in` optional; the vendor's tokens live 3600 s.
ASSUMED_LIFETIME_S = 3600.0

Headers = Sequence[tuple[bytes, bytes]]
Key = tuple[Service, frozenset[Scope]]
Send = Callable[[httpx.Request, Deadline], Reply]
AsyncSend = Callable[[httpx.Request, Deadline], Awaitable[Reply]]


def basic_header(username: str, password: str) -> str:
    """Give the value of an Authorization header for HTTP Basic.

    Source: RFC 7617.
    """
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode("ascii")


@attrs.frozen(eq=False, repr=False)
class TokenEndpoint:
    """What goes to the token endpoint, and what its replies mean. Pure: it moves no bytes.

    Source: RFC 6749 sections 2.3.1, 4.4 and 5.
    """

    region: Region
    credentials: ClientCredentials
    headers: Headers

    def request(self, service: Service, scopes: tuple[Scope, ...]) -> httpx.Request:
        """Build a token request."""
        mine = self.credentials
        form = {"grant_type": "client_credentials"}
        if scopes:
            form["scope"] = " ".join(scopes)
        headers = [*self.headers, (b"Content-Type", b"application/x-www-form-urlencoded")]
        if mine.client_auth == "basic":
            # Section 2.3.1: id and secret are form-encoded first, which httpx.BasicAuth leaves out.
            encoded = (
                urllib.parse.quote_plus(mine.client_id),
                urllib.parse.quote_plus(mine.client_secret.reveal()),
            )
            headers.append((b"Authorization", basic_header(*encoded).encode("ascii")))
        else:
            form |= {"client_id": mine.client_id, "client_secret": mine.client_secret.reveal()}
        url = self.region.token_url(mine.tenant_id, service)
        return httpx.Request(
            "POST", url, headers=headers, content=urllib.parse.urlencode(form).encode("ascii")
        )

    def outcome(self, reply: Reply, scopes: tuple[Scope, ...], requested_at: float) -> Minted | ThriveError:
        """Say what a reply means: a token, or why there is none.

        An error is given, not raised, so that no traceback holds a frame with a token in it.
        """
        if reply.status_code != 200:  # noqa: PLR2004 - section 5.1 knows no other success
            return self._refused(reply, scopes)
        if reply.cut:
            return cut_response(reply, self._circumstances)
        if reply.flaw is not None:
            return self._senseless(reply, reply.flaw)
        read = json_object(reply.body)
        if isinstance(read, str):
            return self._senseless(reply, read)
        _text, fields = read
        problem = _token_problem(fields)
        if problem is not None:
            return self._senseless(reply, problem)
        lifetime_s = float(fields.get("expires_in") or ASSUMED_LIFETIME_S)
        granted = fields.get("scope")
        token = AccessToken(
            value=fields["access_token"],
            expires_at=dt.datetime.now(dt.UTC) + dt.timedelta(seconds=min(lifetime_s, _LONGEST_LIFETIME_S)),
            # Section 5.1: a server that grants what was asked for need not repeat it.
            scopes=scopes if granted is None else tuple(_scope(name) for name in granted.split()),
        )
        return Minted(token, lifetime_s, requested_at)

    @property
    def _circumstances(self) -> Circumstances:
        return Circumstances(
            region=self.region.name,
            subject="an access token",
            credentials="OAuth client credentials",
            allowed="",
        )

    def _senseless(self, reply: Reply, problem: str) -> TokenError:
        return TokenError(
            f"the token endpoint of {self.region.name} answered {reply.status_code}, but {problem}. "
            "Check the region's token URL; if it is right, ask the API's support.",
            status_code=reply.status_code,
        )

    def _refused(self, reply: Reply, scopes: tuple[Scope, ...]) -> TokenError:
        read = json_object(error_text(reply.body, (self.credentials.client_secret.reveal(),)).encode())
        fields = {} if isinstance(read, str) else read[1]
        error, description = (_text_or_none(fields.get(name)) for name in ("error", "error_description"))
        said = ": ".join(quoted(text) for text in (error, description) if text)
        status = f"{reply.status_code} ({said})" if said else f"{reply.status_code}"
        return TokenError(
            f"the token endpoint of {self.region.name} answered {status}. "
            + self._advice(reply.status_code, error, scopes),
            status_code=reply.status_code,
            error=error,
            error_description=description,
        )

    def _advice(self, status: int, error: str | None, scopes: tuple[Scope, ...]) -> str:
        mine = self.credentials
        if error == "invalid_scope":
            return (
                f"The client may not have the scopes that it asked for ({', '.join(scopes)}): choose others."
            )
        if error in {"invalid_client", "unauthorized_client"} or status in {401, 403}:
            return (
                "Check that client ID, client secret and tenant ID belong together and to the region "
                f"{self.region.name!r}, and which client_auth the server wants (now {mine.client_auth!r})."
            )
        if status == 404:  # noqa: PLR2004
            return f"Check the tenant ID: the region {self.region.name!r} seems not to know it."
        if status >= 500 or status in {408, 429}:  # noqa: PLR2004
            return "It is failing or busy; the same call may succeed a little later."
        return "Check the credentials and the region's token URL."


_WAITING = "the token endpoint"

# A year: beyond it, the sum with today's date could leave the calendar.
_LONGEST_LIFETIME_S = 366 * 86_400.0


def _token_problem(fields: dict[str, Any]) -> str | None:
    value = fields.get("access_token")
    # Anything but visible ASCII could not stand in a header, and h11 would repeat it in its error.
    if (
        not isinstance(value, str)
        or not value
        or not value.isascii()
        or not value.isprintable()
        or " " in value
    ):
        return "its access_token is missing or not of visible ASCII characters"
    kind = fields.get("token_type")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        return "its token_type is missing or not Bearer"
    lifetime = fields.get("expires_in")
    if lifetime is not None and not _is_lifetime(lifetime):
        return "its expires_in is not a number of seconds above 0"
    if not isinstance(fields.get("scope", ""), (str, type(None))):
        return "its scope is not text"
    return None


def _is_lifetime(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(float(value)) and value > 0
    except OverflowError:
        return False


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _scope(name: str) -> Scope | str:
    try:
        return Scope(name)
    except ValueError:
        return name


class Authorization:
    """What the two authorizers below decide alike."""

    def __init__(self, region: Region, credentials: Credentials, headers: Headers) -> None:
        self.region = region
        self.credentials = credentials
        self.cache: TokenCache = TokenCache()
        self._basic = b""
        self._endpoint: TokenEndpoint | None = None
        if isinstance(credentials, BasicCredentials):
            self._basic = basic_header(credentials.tenant_id, credentials.api_secret.reveal()).encode("ascii")
        else:
            self._endpoint = TokenEndpoint(region, credentials, headers)

    def header(self, token: AccessToken | None) -> bytes:
        """Give the value of the Authorization header: for a token, or without one for HTTP Basic."""
        return self._basic if token is None else b"Bearer " + token.value.encode("ascii")

    def endpoint(self) -> TokenEndpoint:
        """Give the token endpoint's rules.

        Raises:
            ConfigurationError: The client has HTTP Basic credentials, which no tokens belong to.
        """
        if self._endpoint is None:
            raise ConfigurationError(
                "BasicCredentials have no access tokens, they are sent with every call themselves: "
                "create the client with ClientCredentials to use tokens"
            )
        return self._endpoint

    def scopes(self, service: Service, wanted: Iterable[Scope | str] | None) -> tuple[Scope, ...]:
        """Decide which scopes to ask for, before any I/O."""
        return scopes_for(service, wanted, self.endpoint().credentials.scopes)

    @functools.cached_property
    def api_scopes(self) -> tuple[Scope, ...]:
        """The scopes that calls to the API need."""
        return self.scopes(Service.API, None)

    def circumstances(self, subject: str, attempts: int, token: AccessToken | None) -> Circumstances:
        """Describe a call for the message of its error."""
        if isinstance(self.credentials, BasicCredentials):
            kind = "HTTP Basic credentials"
            allowed = "ask the vendor what this API secret may do"
            secrets = [
                self.credentials.api_secret.reveal(),
                self._basic.decode("ascii").removeprefix("Basic "),
            ]
        else:
            kind = "OAuth client credentials"
            granted = ", ".join(token.scopes) if token is not None else ""
            allowed = (
                f"the token has the scopes {granted or '(none)'}; reading needs {Scope.READ} or {Scope.ALL}"
            )
            secrets = [self.credentials.client_secret.reveal(), *([token.value] if token is not None else [])]
        return Circumstances(
            region=self.region.name,
            subject=subject,
            credentials=kind,
            allowed=allowed,
            attempts=attempts,
            secrets=tuple(secrets),
        )


def _to_share(outcome: Minted | ThriveError, deadline: Deadline) -> Minted | ThriveError | None:
    """Give what the waiters of a flight get: not the end of the leader's own time, which is not theirs."""
    if isinstance(outcome, DeadlineExceededError) and deadline.remaining() <= 0:
        return None
    return outcome


class Authorizer(Authorization):
    """Authorizes the calls of a sync client."""

    def token_for_call(self, deadline: Deadline, send: Send) -> AccessToken | None:
        """Give the token for a call to the API, or None where HTTP Basic needs none."""
        if self._endpoint is None:
            return None
        return self.token(Service.API, self.api_scopes, deadline, send)

    def token(
        self, service: Service, scopes: tuple[Scope, ...], deadline: Deadline, send: Send
    ) -> AccessToken:
        """Give a fresh token, minting one if there is none and nobody else does."""
        key = (service, frozenset(scopes))
        while True:
            claim = self.cache.claim(key)
            if isinstance(claim, AccessToken):
                return claim
            if isinstance(claim, Lead):
                return self._mint(key, claim.flight, scopes, deadline, send)
            if not claim.wait(deadline.remaining()):
                raise deadline_exceeded(deadline, host=_WAITING)
            token = claim.outcome()
            if token is not None:
                return token

    def _mint(
        self, key: Key, flight: Flight, scopes: tuple[Scope, ...], deadline: Deadline, send: Send
    ) -> AccessToken:
        outcome: Minted | ThriveError
        try:
            requested_at = self.cache.clock()
            reply = send(self.endpoint().request(key[0], scopes), deadline)
            outcome = self.endpoint().outcome(reply, scopes, requested_at)
        except ThriveError as error:
            outcome = error
        except BaseException:  # cancelled or interrupted: another caller has to lead
            self.cache.settle(key, flight, None)
            raise
        self.cache.settle(key, flight, _to_share(outcome, deadline))
        if isinstance(outcome, ThriveError):
            raise outcome
        return outcome.token


class AsyncAuthorizer(Authorization):
    """Authorizes the calls of an async client."""

    async def token_for_call(self, deadline: Deadline, send: AsyncSend) -> AccessToken | None:
        """Give the token for a call to the API, or None where HTTP Basic needs none."""
        if self._endpoint is None:
            return None
        return await self.token(Service.API, self.api_scopes, deadline, send)

    async def token(
        self, service: Service, scopes: tuple[Scope, ...], deadline: Deadline, send: AsyncSend
    ) -> AccessToken:
        """Give a fresh token, minting one if there is none and nobody else does."""
        key = (service, frozenset(scopes))
        while True:
            claim = self.cache.claim(key)
            if isinstance(claim, AccessToken):
                return claim
            if isinstance(claim, Lead):
                return await self._mint(key, claim.flight, scopes, deadline, send)
            await claim.wait_async()  # the cancel scope around the call is its deadline
            token = claim.outcome()
            if token is not None:
                return token

    async def _mint(
        self, key: Key, flight: Flight, scopes: tuple[Scope, ...], deadline: Deadline, send: AsyncSend
    ) -> AccessToken:
        outcome: Minted | ThriveError
        try:
            requested_at = self.cache.clock()
            reply = await send(self.endpoint().request(key[0], scopes), deadline)
            outcome = self.endpoint().outcome(reply, scopes, requested_at)
        except ThriveError as error:
            outcome = error
        except BaseException:  # cancelled or interrupted: another caller has to lead
            self.cache.settle(key, flight, None)
            raise
        self.cache.settle(key, flight, _to_share(outcome, deadline))
        if isinstance(outcome, ThriveError):
            raise outcome
        return outcome.token
