"""The Authorization header, for both kinds of credentials; mints access tokens and shares them."""

import base64
import datetime as dt
import functools
import json
import math
import time
import urllib.parse
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar, cast

import httpx

from thrive_learning._outcome import (
    Circumstances,
    Purpose,
    Reply,
    cut_response,
    deadline_exceeded,
    fields_of,
    json_object,
    quoted,
    redirect_advice,
    retry_after,
)
from thrive_learning._request import Headers, whole_request
from thrive_learning._token_cache import LONGEST_LIFETIME_S, Key, Lead, Minted, TokenCache
from thrive_learning.credentials import (
    BasicCredentials,
    ClientCredentials,
    Credentials,
    Scope,
    scope_or_text,
    scopes_for,
)
from thrive_learning.errors import ConfigurationError, DeadlineExceededError, ThriveError, TokenError
from thrive_learning.models import AccessToken
from thrive_learning.policies import Budget
from thrive_learning.regions import Region, Service

if TYPE_CHECKING:
    from thrive_learning._shared_tokens import SharedTokens, Turn
    from thrive_learning.token_caches import TokenStore

#: How long a token is taken to live whose response does not say so. Seconds.
#: Source: RFC 6749 section 5.1 makes `expires_in` optional; the vendor's tokens live 3600 s.
ASSUMED_LIFETIME_S = 3600.0

T = TypeVar("T")
_UNAUTHORIZED = 401
Send = Callable[[httpx.Request, Budget, Purpose], Reply]
AsyncSend = Callable[[httpx.Request, Budget, Purpose], Awaitable[Reply]]


def basic_header(username: str, password: str) -> str:
    """Give the value of an Authorization header for HTTP Basic.

    Source: RFC 7617.
    """
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode("ascii")


class TokenEndpoint:
    """What goes to the token endpoint, and what its replies mean. Pure: it moves no bytes.

    Source: RFC 6749 sections 2.3.1, 4.4 and 5.
    """

    def __init__(self, region: Region, credentials: ClientCredentials, headers: Headers) -> None:
        self.region: Region = region
        self.credentials: ClientCredentials = credentials
        self.headers: Headers = headers

    def request(self, service: Service, scopes: tuple[Scope, ...]) -> httpx.Request:
        """Build a token request."""
        mine = self.credentials
        # First of all, as it may raise: then no local variable holds a secret yet.
        url = self.region.token_url(mine.tenant_id, service)
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
        body = urllib.parse.urlencode(form).encode("ascii")
        return whole_request("POST", url, {"headers": headers, "content": body})

    def purpose(self, service: Service) -> Purpose:
        """Return what a token request is for, as errors, attempts and log records name it."""
        return Purpose("tokens.get", service.value, self.region.token_url_template(service))

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
            expires_at=dt.datetime.now(dt.UTC) + dt.timedelta(seconds=min(lifetime_s, LONGEST_LIFETIME_S)),
            # Section 5.1: a server that grants what was asked for need not repeat it.
            scopes=scopes if granted is None else tuple(scope_or_text(name) for name in granted.split()),
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
        secrets = tuple(_sent(self.credentials))
        error, description = fields_of(reply.body, ("error", "error_description"), secrets)
        said = ": ".join(quoted(text) for text in (error, description) if text)
        status = f"{reply.status_code} ({said})" if said else f"{reply.status_code}"
        wait = retry_after(reply.header(b"retry-after"), dt.datetime.now(dt.UTC))
        return TokenError(
            f"the token endpoint of {self.region.name} answered {status}. "
            + self._advice(reply, error, scopes, wait),
            status_code=reply.status_code,
            error=error,
            error_description=description,
            retry_after=wait,
        )

    def _advice(self, reply: Reply, error: str | None, scopes: tuple[Scope, ...], wait: float | None) -> str:
        mine, status = self.credentials, reply.status_code
        if 300 <= status <= 399:  # noqa: PLR2004 - this range is what a redirect is
            return redirect_advice(reply, "token URL")
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
            pause = "a little later" if wait is None else f"in {wait:g} s"
            return f"It is failing or busy; the same call may succeed {pause}."
        return "Check the credentials and the region's token URL."


_WAITING = "the token endpoint"

# An async call gives a store so long to take a new token, beyond its own time if need be. Seconds.
_SAVING_S = 1.0

# Stands for a header that is not there; no text of a header holds it.
_NOTHING = "\n"


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


def _basic_authorization(credentials: BasicCredentials) -> bytes:
    return basic_header(credentials.tenant_id, credentials.api_secret.reveal()).encode("ascii")


class Authorization:
    """What the two authorizers below decide alike.

    Args:
        region: Where tokens are requested.
        credentials: What proves the client's identity.
        headers: What every request has.
        token_cache: A store that other processes share; None for this client's memory alone.
    """

    def __init__(
        self,
        region: Region,
        credentials: Credentials,
        headers: Headers,
        token_cache: "TokenStore | None" = None,
    ) -> None:
        self.region: Region = region
        self.credentials: Credentials = credentials
        self.cache: TokenCache = TokenCache()
        self._endpoint: TokenEndpoint | None = None
        self._basic: bytes | None = None
        if isinstance(credentials, BasicCredentials):
            if credentials.api_secret.is_fixed:
                self._basic = _basic_authorization(credentials)
        else:
            self._endpoint = TokenEndpoint(region, credentials, headers)
        self.shared: SharedTokens | None = None
        if token_cache is not None:
            from thrive_learning import _shared_tokens  # noqa: PLC0415 - most clients have no store

            store = _shared_tokens.checked(token_cache)
            if isinstance(credentials, ClientCredentials):
                self.shared = _shared_tokens.SharedTokens(store, region, credentials, self.cache)

    def header(self, token: AccessToken | None) -> bytes:
        """Give the value of the Authorization header: for a token, or without one for HTTP Basic."""
        if token is not None:
            return b"Bearer " + token.value.encode("ascii")
        return self._basic or _basic_authorization(cast("BasicCredentials", self.credentials))

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

    def is_stale(self, reply: Reply, token: AccessToken | None) -> bool:
        """Say whether the API refused a token, and give that one up. HTTP Basic has none."""
        if reply.status_code != _UNAUTHORIZED or token is None:
            return False
        key = (Service.API, frozenset(self.api_scopes))
        self.cache.renounce(key, token)
        if self.shared is not None:
            self.shared.refuse(key, token)
        return True

    @staticmethod
    def _told(outcome: Minted | ThriveError, reply: Reply) -> Minted | ThriveError:
        if isinstance(outcome, ThriveError):
            outcome.history = reply.history
            outcome.url, outcome.operation = reply.url, reply.operation
        return outcome

    def turn(self, key: Key, lead: Lead, budget: Budget) -> "Turn | None":
        """Give a leader its turn at the store; None if there is no store."""
        if self.shared is None:
            return None
        return self.shared.turn(key, budget.remaining(), renews=lead.fallback is not None)

    def conclude(
        self, key: Key, lead: Lead, turn: "Turn | None", outcome: Minted | ThriveError | None
    ) -> AccessToken | ThriveError:
        """End a leader's flight: give the token that it goes on with, or the error.

        Args:
            key: What the token is for.
            lead: What the leader was given.
            turn: Its turn at the store.
            outcome: What its token request came to; None if it made none.
        """
        if turn is not None and (
            turn.is_fresh or (lead.fallback is None and not isinstance(outcome, Minted))
        ):
            outcome = turn.token or outcome  # one that is valid still serves on, as with any renewal
        self.cache.settle(key, lead.flight, _to_share(outcome))
        if isinstance(outcome, Minted):
            return outcome.token
        return lead.fallback or cast("ThriveError", outcome)

    def give_up(self, key: Key, lead: Lead, turn: "Turn | None") -> None:
        """End the flight of a leader that was cancelled or interrupted: another caller has to lead."""
        self.cache.settle(key, lead.flight, None)
        if turn is not None:
            turn.abandon()

    def sent_with(self, request: httpx.Request) -> tuple[str, ...]:
        """Give what a response could repeat of the credentials that its request had."""
        return (request.headers.get("authorization", "").partition(" ")[2] or _NOTHING, *self._fixed)

    @functools.cached_property
    def _fixed(self) -> tuple[str, ...]:
        """What is sent of a secret that does not change."""
        mine = self.credentials
        secret = mine.api_secret if isinstance(mine, BasicCredentials) else mine.client_secret
        return tuple(_sent(mine)) if secret.is_fixed else ()

    def circumstances(self, subject: str, token: AccessToken | None) -> Circumstances:
        """Describe a call for the message of its error."""
        if isinstance(self.credentials, BasicCredentials):
            kind = "HTTP Basic credentials"
            allowed = "ask the vendor what this API secret may do"
            secrets = _sent(self.credentials)
        else:
            kind = "OAuth client credentials"
            granted = quoted(", ".join(token.scopes)) if token is not None else ""
            allowed = (
                f"the token has the scopes {granted or '(none)'}; reading needs {Scope.READ} or {Scope.ALL}"
            )
            secrets = _sent(self.credentials) + (_forms(token.value) if token is not None else [])
        return Circumstances(
            region=self.region.name,
            subject=subject,
            credentials=kind,
            allowed=allowed,
            with_token=token is not None,
            secrets=tuple(secrets),
        )


def _to_share(outcome: Minted | ThriveError | None) -> Minted | ThriveError | None:
    """Give what the waiters of a flight get: not a time limit, which was the leader's own and not theirs."""
    return None if isinstance(outcome, DeadlineExceededError) else outcome


def _spending(budget: Budget, turn: "Turn | None") -> Budget:
    """Give what a token request may spend: less if the store has a token that is valid for a while."""
    return budget if turn is None or turn.token is None else budget.for_renewal()


def _sent(credentials: Credentials) -> list[str]:
    """Give what a server that repeats a request could repeat of the credentials, in each of its forms."""
    try:
        if isinstance(credentials, ClientCredentials):
            secret = credentials.client_secret.reveal()
            pair = (urllib.parse.quote_plus(credentials.client_id), urllib.parse.quote_plus(secret))
        else:
            secret = credentials.api_secret.reveal()
            pair = (credentials.tenant_id, secret)
    except ConfigurationError:
        return []  # the function that gives it fails by now: the error to tell of is the call's
    return [basic_header(*pair).removeprefix("Basic "), *_forms(secret)]


def _forms(secret: str) -> list[str]:
    """Give the forms in which text of a request may come back: as it is, in a URL or form, and in JSON."""
    in_json = json.dumps(secret)[1:-1]
    escaped = (
        urllib.parse.quote_plus(secret),
        urllib.parse.quote(secret),
        in_json,
        in_json.replace("/", "\\/"),
    )
    return [secret, *(form for form in escaped if form != secret)]


class Authorizer(Authorization):
    """Authorizes the calls of a sync client."""

    def token_for_call(self, budget: Budget, send: Send) -> AccessToken | None:
        """Give the token for a call to the API, or None where HTTP Basic needs none."""
        if self._endpoint is None:
            return None
        return self.token(Service.API, self.api_scopes, budget, send)

    def token(self, service: Service, scopes: tuple[Scope, ...], budget: Budget, send: Send) -> AccessToken:
        """Give a fresh token, minting one if there is none and nobody else does."""
        key = (service, frozenset(scopes))
        while True:
            claim = self.cache.claim(key, budget.remaining())
            if isinstance(claim, AccessToken):
                return claim
            if isinstance(claim, ThriveError):
                raise claim
            if isinstance(claim, Lead):
                return self._mint(key, claim, scopes, budget, send)
            claim.wait(min(budget.remaining(), claim.ends_at - self.cache.clock()))
            if budget.remaining() <= 0:
                raise deadline_exceeded(budget, host=_WAITING)
            token = claim.outcome()
            if token is not None:
                return token

    def _mint(
        self, key: Key, lead: Lead, scopes: tuple[Scope, ...], budget: Budget, send: Send
    ) -> AccessToken:
        budget = budget if lead.fallback is None else budget.for_renewal()
        turn = self.turn(key, lead, budget)
        minted: Minted | None = None
        outcome: Minted | ThriveError | None = None
        try:
            while turn is not None and (wait_s := turn.look()):
                time.sleep(wait_s)
            if turn is None or turn.leads:
                outcome = self._requested(key, scopes, _spending(budget, turn), send)
                minted = outcome if isinstance(outcome, Minted) else None
        except ThriveError as error:
            outcome = error
        except BaseException:
            self.give_up(key, lead, turn)
            raise
        result = self.conclude(key, lead, turn, outcome)
        if turn is not None:
            turn.end(minted)
        if isinstance(result, ThriveError):
            raise result
        return result

    def _requested(
        self, key: Key, scopes: tuple[Scope, ...], budget: Budget, send: Send
    ) -> Minted | ThriveError:
        requested_at = self.cache.clock()
        endpoint = self.endpoint()
        reply = send(endpoint.request(key[0], scopes), budget, endpoint.purpose(key[0]))
        return self._told(self.endpoint().outcome(reply, scopes, requested_at), reply)


class AsyncAuthorizer(Authorization):
    """Authorizes the calls of an async client."""

    async def token_for_call(self, budget: Budget, send: AsyncSend) -> AccessToken | None:
        """Give the token for a call to the API, or None where HTTP Basic needs none."""
        if self._endpoint is None:
            return None
        return await self.token(Service.API, self.api_scopes, budget, send)

    async def token(
        self, service: Service, scopes: tuple[Scope, ...], budget: Budget, send: AsyncSend
    ) -> AccessToken:
        """Give a fresh token, minting one if there is none and nobody else does."""
        key = (service, frozenset(scopes))
        while True:
            claim = self.cache.claim(key, budget.remaining())
            if isinstance(claim, AccessToken):
                return claim
            if isinstance(claim, ThriveError):
                raise claim
            if isinstance(claim, Lead):
                return await self._mint(key, claim, scopes, budget, send)
            # The cancel scope around the call is the limit of this caller.
            await claim.wait_async(claim.ends_at - self.cache.clock())
            token = claim.outcome()
            if token is not None:
                return token

    async def _mint(
        self, key: Key, lead: Lead, scopes: tuple[Scope, ...], budget: Budget, send: AsyncSend
    ) -> AccessToken:
        import anyio  # noqa: PLC0415 - sync users need not pay for it

        late = deadline_exceeded(budget, host=_WAITING)
        budget = budget if lead.fallback is None else budget.for_renewal()
        turn = self.turn(key, lead, budget)
        minted: Minted | None = None
        outcome: Minted | ThriveError | None = late
        try:
            with anyio.move_on_after(budget.remaining()):
                # Other processes set no event.
                while turn is not None and (wait_s := await _in_thread(turn.look)):  # noqa: ASYNC110
                    await anyio.sleep(wait_s)
                outcome = None
                if turn is None or turn.leads:
                    outcome = late
                    spending = _spending(budget, turn)
                    with anyio.move_on_after(spending.remaining()):
                        outcome = await self._requested(key, scopes, spending, send)
                        minted = outcome if isinstance(outcome, Minted) else None
        except ThriveError as error:
            outcome = error
        except BaseException:
            self.give_up(key, lead, turn)
            raise
        result = self.conclude(key, lead, turn, outcome)
        if turn is not None:
            await _end(turn, minted)
        if isinstance(result, ThriveError):
            raise result
        return result

    async def _requested(
        self, key: Key, scopes: tuple[Scope, ...], budget: Budget, send: AsyncSend
    ) -> Minted | ThriveError:
        requested_at = self.cache.clock()
        endpoint = self.endpoint()
        reply = await send(endpoint.request(key[0], scopes), budget, endpoint.purpose(key[0]))
        return self._told(self.endpoint().outcome(reply, scopes, requested_at), reply)


async def _in_thread(operation: Callable[[], T]) -> T:
    """Run what blocks in a thread that nobody else can keep busy, and leave it behind when cancelled."""
    import anyio.to_thread  # noqa: PLC0415 - most clients have no store

    return await anyio.to_thread.run_sync(operation, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1))


async def _end(turn: "Turn", minted: Minted | None) -> None:
    """Save what was minted, even at the end of the caller's time: the next process would request another."""
    import anyio  # noqa: PLC0415 - sync users need not pay for it

    try:
        with anyio.move_on_after(_SAVING_S, shield=True):
            await _in_thread(functools.partial(turn.end, minted))
    except BaseException:  # cancelled by asyncio's own means, which no shield keeps off
        turn.abandon()
        raise
