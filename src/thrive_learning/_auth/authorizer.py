"""Makes the Authorization header for both kinds of credentials, and requests and shares access tokens."""

import copy
import functools
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, TypeVar, cast

from thrive_learning._auth.endpoint import Method, Minting, TokenEndpoint
from thrive_learning._auth.masking import basic_header, forms_sent
from thrive_learning._auth.outcomes import Failure, Key, Minted
from thrive_learning._auth.single_flight import Flight, Lead, Remembered, SingleFlight
from thrive_learning._budget import Budget
from thrive_learning._clock import is_replaced
from thrive_learning._exchange.failures import deadline_exceeded
from thrive_learning._exchange.messages import Circumstances, Purpose, api_error
from thrive_learning._exchange.reply import Reply
from thrive_learning._exchange.server_text import show
from thrive_learning._http.port import Headers, Request
from thrive_learning._log import fields, logger_of
from thrive_learning._loops import sleep_by_timer
from thrive_learning._store_reports import ANSWER_S
from thrive_learning._threads import arun_in_time, run_in_time
from thrive_learning.credentials import (
    BasicCredentials,
    ClientCredentials,
    Credentials,
    Scope,
    Secret,
)
from thrive_learning.errors import ConfigurationError, DeadlineExceededError, ThriveError
from thrive_learning.models import AccessToken
from thrive_learning.policies import Timeout
from thrive_learning.regions import Region, Service

if TYPE_CHECKING:
    from thrive_learning._auth.sharing import SharedTokens, Turn
    from thrive_learning.token_stores import TokenStore

logger = logger_of("auth")

T = TypeVar("T")
_OK, _UNAUTHORIZED = 200, 401
Send = Callable[[Request, Budget, Purpose], Reply]
AsyncSend = Callable[[Request, Budget, Purpose], Awaitable[Reply]]

_WAITING = "the token endpoint"

# How long a call lets a store save a new token, even beyond its own limit, in seconds.
_SAVING_S = 1.0

# A phase whose limit is the rest of the call may end this much before the call, in seconds.
_TOLERANCE_S = 0.05


def _basic_authorization(credentials: BasicCredentials) -> bytes:
    return basic_header(credentials.tenant_id, credentials.api_secret.reveal()).encode("ascii")


class Authorization:
    """The decisions that the two authorizers below share.

    Args:
        region: The region whose token endpoints are used.
        credentials: The credentials of the client.
        headers: The headers of every request.
        token_store: A store that other processes share; None for the memory of this client.
        timeout: The client's time limits. A phase that exceeds its limit indicates a slow token endpoint only
            if the limit is the client's own.
    """

    def __init__(
        self,
        region: Region,
        credentials: Credentials,
        headers: Headers,
        token_store: "TokenStore | None",
        timeout: Timeout,
    ) -> None:
        self.region: Region = region
        self.credentials: Credentials = credentials
        self.cache: SingleFlight = SingleFlight()
        self._timeout = timeout
        self._methods: dict[Service, Method] = {}  # the methods that worked
        self._remarked: set[str] = set()
        self._accepted: AccessToken | None = None  # the last one that the API accepted
        self._endpoint: TokenEndpoint | None = None
        self._basic: bytes | None = None
        self._proxy_secrets: tuple[str, ...] = ()
        if isinstance(credentials, BasicCredentials):
            if credentials.api_secret.is_fixed:
                self._basic = _basic_authorization(credentials)
        else:
            self._endpoint = TokenEndpoint(region, credentials, headers)
        self.shared: SharedTokens | None = None
        if token_store is not None:
            from thrive_learning._auth import sharing  # noqa: PLC0415 - most clients have no store

            store = sharing.checked(token_store)
            if isinstance(credentials, ClientCredentials):
                self.shared = sharing.SharedTokens(store, region, credentials, self.cache)

    def mask_proxies(self, secrets: tuple[str, ...]) -> None:
        """Mask the credentials of proxies as well, in case a proxy repeats its own."""
        self._proxy_secrets = secrets
        if self._endpoint is not None:
            self._endpoint.proxy_secrets = secrets

    def header(self, token: AccessToken | None) -> bytes:
        """Return the value of the Authorization header, for a token or for HTTP Basic."""
        if token is not None:
            return b"Bearer " + token.value.encode("ascii")
        return self._basic or _basic_authorization(cast("BasicCredentials", self.credentials))

    def endpoint(self) -> TokenEndpoint:
        """Return the client's token endpoint.

        Raises:
            ConfigurationError: The client has HTTP Basic credentials, which have no tokens.
        """
        if self._endpoint is None:
            raise ConfigurationError(
                "BasicCredentials have no access tokens, because they are sent with every call. "
                "Create the client with ClientCredentials to use tokens."
            )
        return self._endpoint

    def scopes(self, service: Service, wanted: Iterable[Scope | str] | None) -> tuple[Scope, ...]:
        """Return the scopes to request, before any I/O."""
        return self.endpoint().credentials.scopes_for(service, wanted)

    @functools.cached_property
    def api_scopes(self) -> tuple[Scope, ...]:
        """The scopes that calls to the API need."""
        return self.scopes(Service.API, None)

    def is_stale(self, reply: Reply, token: AccessToken | None) -> bool:
        """Return whether the API rejected a token, so that the call may be repeated with another one.

        Always False for HTTP Basic. Call it for the reply to the repeated call as well, so that a rejection
        is remembered.
        """
        if token is None:
            return False
        if reply.status_code != _UNAUTHORIZED:
            if token is not self._accepted and reply.status_code == _OK:
                self._accepted = token
            return False
        key = Key(Service.API, frozenset(self.api_scopes))
        error = api_error(reply, self.circumstances("a record", token))
        error.url = self.region.api_url  # the URL of the reply belongs to a record of this caller
        rejection = Failure(error, secret=self._secret_now())
        may_repeat = self.cache.renounce(key, token, rejection, was_accepted=token is self._accepted)
        if self.shared is not None:
            self.shared.refuse(key, token)
        return may_repeat

    def _secret_now(self) -> Secret | None:
        try:
            return cast("ClientCredentials", self.credentials).client_secret.fixed()
        except ConfigurationError:
            return None  # the next token request reports it

    def claim(self, key: Key, budget: Budget, thread: int | None = None) -> AccessToken | Flight | Lead:
        """Return a valid token, the flight to wait for, or the lead of a new flight.

        Raises:
            ThriveError: A recent token request with the same secret failed.
            ConfigurationError: The function that returns the secret fails.
        """
        claim = self.cache.claim(key, budget.remaining(), thread)
        if isinstance(claim, Remembered):
            secret = self.endpoint().credentials.client_secret
            if not secret.is_fixed and claim.failure.secret != (now := secret.fixed()):
                self.cache.forget_failures(but_of=now)
                return self.claim(key, budget, thread)
            raise claim.error()
        return claim

    def minting(self, key: Key, scopes: tuple[Scope, ...]) -> Minting:
        """Return the token requests of a leader."""
        endpoint = self.endpoint()
        setting, known = endpoint.credentials.client_auth, self._methods.get(key.service)
        if setting != "auto":
            return Minting(endpoint, key, scopes, setting, None, self.cache.clock)
        other: Method | None = "basic" if known is None else None
        return Minting(endpoint, key, scopes, known or "post", other, self.cache.clock)

    def outcome(self, key: Key, minting: Minting, budget: Budget) -> Minted | Failure:
        """Return the outcome of a leader's token requests."""
        outcome = minting.outcome
        if isinstance(outcome, Minted):
            self._learn(key, minting)
            return outcome
        if isinstance(outcome, ThriveError) and (
            budget.is_ended or (isinstance(outcome, DeadlineExceededError) and self._is_own(budget))
        ):
            return Failure(outcome, is_own=True)
        return minting.failure

    def _is_own(self, budget: Budget) -> bool:
        """Return whether a time limit is the call's own, and does not indicate a slow token endpoint."""
        mine, usual = budget.timeout, self._timeout
        phases = ("connect", "read", "write", "pool")
        is_usual = all(getattr(mine, phase) == getattr(usual, phase) for phase in phases)
        return not is_usual or budget.remaining() <= _TOLERANCE_S

    def _learn(self, key: Key, minting: Minting) -> None:
        if self.endpoint().credentials.client_auth == "auto" and key.service not in self._methods:
            self._methods[key.service] = minting.method
            if minting.method == "basic":
                logger.info(
                    "%s: the token endpoint for %s rejects form fields and accepts HTTP Basic; "
                    "client_auth='basic' avoids the first request",
                    self.region.name,
                    key.service.value,
                    extra=fields("client_auth", region=self.region.name, subject=key.service.value),
                )
        for remark in minting.remarks:
            if remark.kind not in self._remarked:
                self._remarked.add(remark.kind)
                logger.warning(
                    "%s: the token endpoint sent a token whose %s is %s; %s",
                    self.region.name,
                    remark.name,
                    remark.value,
                    remark.consequence,
                    extra=fields("token_remark", region=self.region.name, kind=remark.kind),
                )

    def turn(self, key: Key, lead: Lead, budget: Budget) -> "Turn | None":
        """Return a leader's turn at the store; None without a store."""
        if self.shared is None:
            return None
        return self.shared.turn(key, budget.remaining(), renews=lead.fallback is not None)

    def conclude(
        self, key: Key, lead: Lead, turn: "Turn | None", outcome: Minted | Failure | None
    ) -> AccessToken | ThriveError:
        """End a leader's flight, and return its token or raise the error.

        Args:
            key: The kind of token.
            lead: The lead that `claim` returned.
            turn: The leader's turn at the store.
            outcome: The outcome of its token request; None if it sent none.
        """
        if turn is not None and (
            turn.is_fresh or (lead.fallback is None and not isinstance(outcome, Minted))
        ):
            outcome = turn.token or outcome  # a token that is still valid is used, as with any renewal
        self.cache.settle(key, lead.flight, _to_share(outcome))
        if isinstance(outcome, Minted):
            return outcome.token
        return lead.fallback or cast("Failure", outcome).error

    def give_up(self, key: Key, lead: Lead, turn: "Turn | None") -> None:
        """End the flight of a leader that was canceled or interrupted. Another caller must lead."""
        self.cache.settle(key, lead.flight, None)
        if turn is not None:
            turn.abandon()

    def sent_with(self, request: Request) -> tuple[str, ...]:
        """Return the secrets of a request that its response could repeat."""
        headers = (value for name, value in request.headers if name == b"Authorization")
        sent = next(headers, b"").partition(b" ")[2].decode("ascii")
        return (sent, *self._fixed, *self._proxy_secrets)

    @functools.cached_property
    def _fixed(self) -> tuple[str, ...]:
        """The secrets that are sent with requests, for a secret that does not change."""
        mine = self.credentials
        secret = mine.api_secret if isinstance(mine, BasicCredentials) else mine.client_secret
        return tuple(forms_sent(mine)) if secret.is_fixed else ()

    def circumstances(self, subject: str, token: AccessToken | None) -> Circumstances:
        """Return the facts of a call for an error message."""
        if isinstance(self.credentials, BasicCredentials):
            kind = "HTTP Basic credentials"
            allowed = "The API secret does not allow this; ask the vendor what it allows."
            secrets = forms_sent(self.credentials)
        else:
            kind = "OAuth client credentials"
            granted = show(", ".join(token.scopes), ()) if token is not None else ""
            allowed = (
                f"The scopes of the token ({granted or 'none'}) do not allow this; request {Scope.READ} or "
                f"{Scope.ALL} with scopes=."
            )
            secrets = forms_sent(self.credentials) + ([token.value] if token is not None else [])
        return Circumstances(
            region=self.region.name,
            subject=subject,
            credentials=kind,
            allowed=allowed,
            with_token=token is not None,
            secrets=(*secrets, *self._proxy_secrets),
        )


def _to_share(outcome: Minted | Failure | None) -> Minted | Failure | None:
    """Return the part of an outcome that others share, without a leader's own time limit or traceback."""
    if not isinstance(outcome, Failure):
        return outcome
    # A remembered error must not keep the leader's frames, which are in its traceback.
    return None if outcome.is_own else outcome._replace(error=copy.copy(outcome.error))


def _spending(budget: Budget, turn: "Turn | None") -> Budget:
    """Return the budget of a token request, which is smaller if the store has a token that is still valid."""
    return budget if turn is None or turn.token is None else budget.for_renewal()


class Authorizer(Authorization):
    """Authorizes the calls of a sync client."""

    def token_for_call(self, budget: Budget, send: Send) -> AccessToken | None:
        """Return the token for a call to the API, or None for HTTP Basic."""
        if self._endpoint is None:
            return None
        return self.token(Service.API, self.api_scopes, budget, send)

    def token(self, service: Service, scopes: tuple[Scope, ...], budget: Budget, send: Send) -> AccessToken:
        """Return a valid token. Request one if no caller has or requests one."""
        key = Key(service, frozenset(scopes))
        while True:
            claim = self.claim(key, budget, threading.get_ident())
            if isinstance(claim, AccessToken):
                return claim
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
        outcome: Minted | Failure | None = None
        try:
            turn = _consult(turn, budget)
            if turn is None or turn.leads:
                outcome = self._requested(key, scopes, _spending(budget, turn), send)
        except ThriveError as error:
            outcome = Failure(error)
        except BaseException:
            self.give_up(key, lead, turn)
            raise
        result = self.conclude(key, lead, turn, outcome)
        if turn is not None:
            _end(turn, outcome if isinstance(outcome, Minted) else None)
        if isinstance(result, ThriveError):
            raise result
        return result

    def _requested(self, key: Key, scopes: tuple[Scope, ...], budget: Budget, send: Send) -> Minted | Failure:
        minting = self.minting(key, scopes)
        try:
            while minting.saw(send(minting.request(), budget, minting.purpose)):
                pass
        except ThriveError as error:
            minting.failed(error)
        return self.outcome(key, minting, budget)


def _consult(turn: "Turn | None", budget: Budget) -> "Turn | None":
    """Look into the store until the caller has a token or must request one.

    None without a store that answers.
    """
    if turn is not None:
        turn.identify()  # here, because a function that returns the secret may need this thread
    while turn is not None:
        limit_s = min(budget.remaining(), ANSWER_S)
        answers = run_in_time(turn.look, limit_s)
        if not answers:
            turn.late(limit_s)
            return None
        if not answers[0]:
            break
        time.sleep(answers[0])  # other processes cannot set an event, so poll
    return turn


def _end(turn: "Turn", minted: Minted | None) -> None:
    """Save a new token even at the end of the caller's time, so that other processes can use it."""
    if not run_in_time(functools.partial(turn.end, minted), _SAVING_S):
        turn.abandon()


class AsyncAuthorizer(Authorization):
    """Authorizes the calls of an async client."""

    async def token_for_call(self, budget: Budget, send: AsyncSend) -> AccessToken | None:
        """Return the token for a call to the API, or None for HTTP Basic."""
        if self._endpoint is None:
            return None
        return await self.token(Service.API, self.api_scopes, budget, send)

    async def token(
        self, service: Service, scopes: tuple[Scope, ...], budget: Budget, send: AsyncSend
    ) -> AccessToken:
        """Return a valid token. Request one if no caller has or requests one."""
        key = Key(service, frozenset(scopes))
        while True:
            claim = self.claim(key, budget)
            if isinstance(claim, AccessToken):
                return claim
            if isinstance(claim, Lead):
                return await self._mint(key, claim, scopes, budget, send)
            # The cancel scope around the call limits this wait.
            budget.waits_for = _WAITING
            await claim.wait_async(claim.ends_at - self.cache.clock())
            budget.waits_for = None
            token = claim.outcome()
            if token is not None:
                return token

    async def _mint(
        self, key: Key, lead: Lead, scopes: tuple[Scope, ...], budget: Budget, send: AsyncSend
    ) -> AccessToken:
        import anyio  # noqa: PLC0415 - not needed by sync code

        late = Failure(deadline_exceeded(budget, host=_WAITING), is_own=True)
        budget = budget if lead.fallback is None else budget.for_renewal()
        turn = self.turn(key, lead, budget)
        outcome: Minted | Failure | None = late
        try:
            with anyio.move_on_after(budget.remaining()):
                turn = await _aconsult(turn, budget)
                outcome = None
                if turn is None or turn.leads:
                    outcome = late
                    spending = _spending(budget, turn)
                    with anyio.move_on_after(spending.remaining()):
                        outcome = await self._requested(key, scopes, spending, send)
                    if outcome is late:
                        outcome = late._replace(error=spending.too_late or late.error)
        except ThriveError as error:
            outcome = Failure(error)
        except BaseException:
            self.give_up(key, lead, turn)
            raise
        result = self.conclude(key, lead, turn, outcome)
        if turn is not None:
            await _aend(turn, outcome if isinstance(outcome, Minted) else None)
        if isinstance(result, ThriveError):
            raise result
        return result

    async def _requested(
        self, key: Key, scopes: tuple[Scope, ...], budget: Budget, send: AsyncSend
    ) -> Minted | Failure:
        minting = self.minting(key, scopes)
        try:
            while minting.saw(await send(minting.request(), budget, minting.purpose)):
                pass
        except ThriveError as error:
            minting.failed(error)
        return self.outcome(key, minting, budget)


async def _aconsult(turn: "Turn | None", budget: Budget) -> "Turn | None":
    """Look into the store. See `_consult`."""
    import anyio  # noqa: PLC0415 - not needed by sync code

    while turn is not None:
        limit_s = min(budget.remaining(), ANSWER_S)
        answers = await arun_in_time(turn.look, limit_s)
        if not answers:
            turn.late(limit_s)
            return None
        if not answers[0]:
            break
        await (sleep_by_timer if is_replaced() else anyio.sleep)(answers[0])
    return turn


async def _aend(turn: "Turn", minted: Minted | None) -> None:
    """Save a new token. See `_end`."""
    import anyio  # noqa: PLC0415 - not needed by sync code

    ended: list[None] = []
    try:
        with anyio.CancelScope(shield=True):
            ended = await arun_in_time(functools.partial(turn.end, minted), _SAVING_S)
    finally:
        if not ended:  # or canceled by asyncio, which ignores anyio's shields
            turn.abandon()
