"""The seam between this SDK and HTTP: objects whose `request()` generated code calls.

It adds the token, makes the attempts, and checks the response. Nothing keeps cookies, follows redirects,
reads netrc, or calls event hooks.
"""

import contextvars
import inspect
import re
import sys
import weakref
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from ssl import SSLContext
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

from _thrive_learning_api import Client

from thrive_learning._auth.authorizer import AsyncAuthorizer, Authorization, Authorizer
from thrive_learning._budget import Budget
from thrive_learning._call.drift_reports import DriftReports
from thrive_learning._call.operation import TOO_MANY_ITEMS, Operation
from thrive_learning._call.requests import RequestTemplate
from thrive_learning._clock import is_replaced
from thrive_learning._exchange.attempts import AsyncAttempts, SyncAttempts, closed_error
from thrive_learning._exchange.body import DEFAULT_PAGE_BYTES, DEFAULT_RECORD_BYTES, body_limit
from thrive_learning._exchange.engines import async_engines, choose, sync_engines
from thrive_learning._exchange.failures import deadline_exceeded, reading_exceeds_deadline
from thrive_learning._exchange.messages import Purpose, api_error, cut_response, unexpected_response
from thrive_learning._exchange.reply import Reply
from thrive_learning._frames import forget_locals
from thrive_learning._http.port import AsyncEngine, Engine, Headers, Request
from thrive_learning._http.routes import LIBRARY, Routes
from thrive_learning._limits.limiter import AsyncLimiter, SyncLimiter
from thrive_learning._loops import limit_by_timer
from thrive_learning._reading import Reading
from thrive_learning._settings.engine_names import DEFAULT_ENGINE, EngineName
from thrive_learning._version import __version__
from thrive_learning.credentials import Credentials, Scope
from thrive_learning.drift import Drift
from thrive_learning.errors import (
    ApiError,
    Attempt,
    ConfigurationError,
    ConnectionFailedError,
    ThriveError,
    UnexpectedResponseError,
)
from thrive_learning.models import AccessToken
from thrive_learning.policies import RetryPolicy, Timeout
from thrive_learning.regions import Region, Service

if TYPE_CHECKING:
    from anyio import CancelScope

    from thrive_learning._limits.reservations import Reservations
    from thrive_learning._observation import Observer
    from thrive_learning.rate_limits import RateLimit
    from thrive_learning.telemetry import OpenTelemetry
    from thrive_learning.token_stores import TokenStore

_PRODUCTS = re.compile(r"[\x21-\x7e]+(?: [\x21-\x7e]+)*")


class Call:
    """The state of one call. Generated functions have no argument for it, so it is passed beside them.

    Attributes:
        operation: The operation.
        key: The requested item in short, such as the ID.
        purpose: The purpose of its request; None until the request is built.
        budget: The time and attempts of the call.
        history: The attempts so far.
        reply: The documented success; None before it arrives.
        reading: The content of its body.
        token: The token that was sent; None with HTTP Basic.
    """

    __slots__ = (
        *("budget", "history", "key", "operation", "purpose", "reading", "reply", "token", "_arguments"),
    )

    def __init__(
        self,
        operation: Operation[Any],
        arguments: Mapping[str, object],
        budget: Budget,
        history: tuple[Attempt, ...] = (),
    ) -> None:
        self.operation: Operation[Any] = operation
        self._arguments = arguments
        self.key: str = operation.key_of(arguments)
        self.purpose: Purpose | None = None
        self.budget: Budget = budget
        self.history: list[Attempt] = list(history)
        self.reply: Reply | None = None
        self.reading: Reading = Reading()
        self.token: AccessToken | None = None

    @property
    def subject(self) -> str:
        """The requested item, in words."""
        return self.operation.subject.format_map(self._arguments)


current_call: contextvars.ContextVar[Call] = contextvars.ContextVar("thrive_learning_call")


class DocumentedResponse:
    """A documented success for the generated parser, with its JSON parsed once.

    Args:
        reply: The reply.
        document: The JSON in a form that the generated parser accepts.
    """

    __slots__ = ("_document", "content", "headers", "status_code")

    def __init__(self, reply: Reply, document: Any) -> None:
        self.status_code: int = reply.status_code
        self.content: bytes = reply.body
        self.headers: dict[str, str] = {}  # the parser requires them, but they are not used
        self._document = document

    def json(self) -> Any:
        """Return the JSON object or array."""
        return self._document


def common_headers(application: object) -> Headers:
    """Return the headers of every request.

    Args:
        application: A name to put before this SDK's in the User-Agent, such as `"reports/1.4"`.

    Raises:
        ConfigurationError: The name has other characters than visible ASCII and single spaces.
    """
    if application is not None and not (isinstance(application, str) and _PRODUCTS.fullmatch(application)):
        raise ConfigurationError(
            f"application is {application!r}. Pass visible ASCII characters such as 'reports/1.4', "
            "with single spaces between words."
        )
    python = ".".join(str(part) for part in sys.version_info[:3])
    agent = f"thrive-learning/{__version__} python/{python} {LIBRARY}"
    return (
        (b"Accept", b"application/json"),
        (b"Accept-Encoding", b"gzip"),
        (b"User-Agent", (f"{application} {agent}" if application else agent).encode("ascii")),
    )


def _validate_callback(name: str, value: object) -> None:
    if value is None:
        return
    if not callable(value):
        raise ConfigurationError(f"{name} is {value!r}. Pass a function, or None.")
    # Also an object that is called.
    if any(map(inspect.iscoroutinefunction, (value, getattr(value, "__call__")))):  # noqa: B004, B009
        raise ConfigurationError(
            f"{name} is an async function, which the client does not await. Pass a plain one."
        )


class Options(NamedTuple):
    """The options that both clients share; see `ThriveClient`."""

    timeout: Timeout
    retry: RetryPolicy
    application: str | None
    proxy: str | None
    verify: bool | SSLContext
    on_attempt: Callable[[Attempt], object] | None
    token_store: "TokenStore | None" = None
    engine: EngineName = DEFAULT_ENGINE
    on_drift: Callable[[Drift], object] | None = None
    strict: bool = False
    max_record_bytes: int = DEFAULT_RECORD_BYTES
    max_page_bytes: int = DEFAULT_PAGE_BYTES
    telemetry: "OpenTelemetry | None" = None
    rate_limit: "RateLimit | None" = None

    def __repr__(self) -> str:
        return "<Options>"  # the proxy's URL may contain a password


class Seam:
    """The decisions that the two callers below share, without I/O.

    Args:
        region: The region that requests go to.
        options: The options of the client.

    Raises:
        ConfigurationError: An option is not valid.
    """

    def __init__(self, region: Region, options: Options) -> None:
        _validate_callback("on_attempt", options.on_attempt)
        _validate_callback("on_drift", options.on_drift)
        self.region: Region = region
        self.timeout: Timeout = options.timeout
        self.retry: RetryPolicy = options.retry
        self.headers: Headers = common_headers(options.application)
        self.closed: bool = False
        self._strict = options.strict
        self._drift = DriftReports(options.on_drift)
        self._record_limit = body_limit("max_record_bytes", options.max_record_bytes)
        self._page_limit = body_limit("max_page_bytes", options.max_page_bytes)
        self._template = RequestTemplate(region.api_url, self.headers)

    def rejection(self, reading: Reading) -> str | None:
        """Return why a JSON object is not accepted as the requested item; None if it is."""
        if reading.flaw is None and self._strict:
            return next((str(drift) for drift in reading.problems if drift.breaks_contract), None)
        return reading.flaw

    def report(self, call: Call, authorization: Authorization) -> None:
        """Report the departures of a call's response from the contract, and mask them in the result."""
        problems = call.reading.problems
        if not problems:
            return

        def secrets() -> tuple[str, ...]:
            return authorization.circumstances(call.subject, call.token).secrets

        shown = self._drift.report(problems, self.region.name, call.operation.name, secrets)
        call.reading.show_as(shown)

    def begin(self, timeout: Timeout | float | None = None, retry: RetryPolicy | None = None) -> Budget:
        """Start the clock of a call.

        Raises:
            ClientClosedError: The client is closed.
            ConfigurationError: The timeout or the retry policy is not valid.
        """
        if self.closed:
            raise closed_error()
        return Budget(
            self.timeout if timeout is None else Timeout.of(timeout, self.timeout),
            self.retry if retry is None else RetryPolicy.of(retry),
        )

    def purpose(self, call: Call, path: str) -> Purpose:
        """Return the purpose of a call's request, and keep it for the errors of the call."""
        operation = call.operation
        call.purpose = Purpose(
            operation.name,
            call.key,
            self.region.api_url + path,
            self._page_limit if operation.is_list else self._record_limit,
            is_idempotent=operation.facts.is_idempotent,
            is_limited=True,
        )
        return call.purpose

    def request(self, method: str, path: str, options: dict[str, Any], authorization: bytes) -> Request:
        """Build the request for a path of the contract."""
        return self._template.request(method, path, options, authorization)

    def too_late(self, budget: Budget, call: Call | None = None) -> ThriveError:
        """Return the error for a call that was canceled at its deadline."""
        if budget.too_late is not None:
            return budget.too_late
        error = deadline_exceeded(budget, host=budget.waits_for or self._template.origin.host)
        return error if call is None else _of_call(error, call)

    def _unread(self, call: Call) -> ThriveError:
        return _of_call(reading_exceeds_deadline(call.budget, host=self._template.origin.host), call)

    def accept(self, reply: Reply, call: Call, authorization: Authorization) -> DocumentedResponse:
        """Return a documented success for the generated parser; raise for any other reply.

        Raises:
            ApiError: The status is not a success.
            UnexpectedResponseError: The success is not documented, or its body is not the documented JSON.
            ConnectionFailedError: The body is incomplete.
            DeadlineExceededError: The time of the call was over before the body was read.
        """
        documented = reply.status_code in call.operation.facts.successes
        problem = reply.flaw if documented else "the contract does not document this status"
        if problem is None:
            read = call.operation.read(reply.body, call.budget.is_over)
            if read is None:
                raise self._unread(call)
            if not isinstance(read, str):
                call.reply, call.reading = reply, read
                return DocumentedResponse(reply, read.document)
            problem = read
        circumstances = authorization.circumstances(call.subject, call.token)
        error: ApiError | ConnectionFailedError | UnexpectedResponseError
        if not 200 <= reply.status_code <= 299:  # noqa: PLR2004 - RFC 9110 section 15.3
            error = api_error(reply, circumstances)
        elif documented and reply.cut:
            error = cut_response(reply, circumstances)
        else:
            is_object = True if problem is TOO_MANY_ITEMS else None
            error = unexpected_response(reply, circumstances, problem, is_object=is_object)
        error.history = tuple(call.history)
        raise error


def _of_call(error: ThriveError, call: Call) -> ThriveError:
    error.history = tuple(call.history)
    if call.purpose is not None:
        error.url, error.operation = call.purpose.url, call.purpose.operation
    return error


def _observer(options: Options, region: Region, tenant_id: str) -> "Observer | None":
    if options.telemetry is None:
        return None
    from thrive_learning._observation import Observer  # noqa: PLC0415 - it loads an extra

    return Observer(options.telemetry, region.name, tenant_id)


def _reservations(options: Options, region: Region, tenant_id: str) -> "Reservations | None":
    if options.rate_limit is None:
        return None
    from thrive_learning._call.limits import reservations  # noqa: PLC0415 - most clients have no limit

    return reservations(options.rate_limit, options.token_store, region, tenant_id)


def observing(
    observer: "Observer | None", operation: str, subject: str | None = None
) -> AbstractContextManager[object]:
    """Observe a call within a block, if the client has an observer."""
    return nullcontext() if observer is None else observer.call(operation, subject)


class Closable(Protocol):
    """An activity between calls that must end with the client."""

    def close(self) -> None:
        """End the activity."""


class AsyncClosable(Protocol):
    """An activity between calls that must end with the client."""

    async def aclose(self) -> None:
        """End the activity."""


class Caller:
    """Makes the calls of a sync client. Generated code calls `request()` on it.

    Args:
        region: The region that requests go to.
        credentials: The credentials that authorize requests.
        options: The other options of the client.
        transport: The client's `transport=`.
    """

    def __init__(self, region: Region, credentials: Credentials, options: Options, transport: object) -> None:
        self.seam: Seam = Seam(region, options)
        self.observer: Observer | None = _observer(options, region, credentials.tenant_id)
        self.api: Client = Client(base_url=region.api_url).set_httpx_client(cast("Any", self))
        self.authorizer: Authorizer = Authorizer(
            region, credentials, self.seam.headers, options.token_store, options.timeout
        )
        self.runs: weakref.WeakSet[Closable] = weakref.WeakSet()
        self.engine: EngineName = choose(options.engine, transport, options.proxy, region.urls)
        routes = Routes[Engine](
            build=sync_engines(self.engine),
            is_async=False,
            urls=region.urls,
            transport=transport,
            proxy=options.proxy,
            verify=options.verify,
        )
        reservations = _reservations(options, region, credentials.tenant_id)
        self.limiter: SyncLimiter | None = None if reservations is None else SyncLimiter(reservations)
        self.attempts: SyncAttempts = SyncAttempts(
            region.name, routes, self.authorizer.sent_with, options.on_attempt, self.observer, self.limiter
        )
        self.authorizer.mask_proxies(routes.proxy_secrets())

    def request(self, method: str, url: str, **options: Any) -> DocumentedResponse:
        """Send the request of the current call, and return its documented success.

        Raises:
            ThriveError: The call failed. The class says why.
        """
        call = current_call.get()
        reply = self._authorized(call, method, url, options)
        if self.authorizer.is_stale(reply, call.token):
            reply = self._authorized(call, method, url, options)
            self.authorizer.is_stale(reply, call.token)  # it remembers the rejection
        return self.seam.accept(reply, call, self.authorizer)

    def _authorized(self, call: Call, method: str, path: str, options: dict[str, Any]) -> Reply:
        call.token = self.authorizer.token_for_call(call.budget, self.attempts.exchange)
        request = self.seam.request(method, path, options, self.authorizer.header(call.token))
        return self.attempts.exchange(request, call.budget, self.seam.purpose(call, path), call.history)

    def token(
        self,
        service: Service,
        scopes: Iterable[Scope | str] | None,
        timeout: Timeout | float | None,
    ) -> AccessToken:
        """Return a valid token for a service."""
        budget = self.seam.begin(timeout, None)
        asked = self.authorizer.scopes(service, scopes)
        try:
            with observing(self.observer, "tokens.get", service.value):
                return self.authorizer.token(service, asked, budget, self.attempts.exchange)
        except BaseException as error:
            forget_locals(error)
            raise

    def close(self) -> None:
        """Close everything that the client has opened. Closing again does nothing."""
        self.seam.closed = self.attempts.closed = True
        if self.limiter is not None:
            self.limiter.close()
        for run in list(self.runs):
            run.close()
        for engine in self.attempts.routes.take_those_to_close():
            engine.close()


class AsyncCaller:
    """Makes the calls of an async client. See `Caller`."""

    def __init__(self, region: Region, credentials: Credentials, options: Options, transport: object) -> None:
        import anyio  # noqa: PLC0415 - not needed by sync code

        self._anyio = anyio
        self.seam: Seam = Seam(region, options)
        self.observer: Observer | None = _observer(options, region, credentials.tenant_id)
        self.api: Client = Client(base_url=region.api_url).set_async_httpx_client(cast("Any", self))
        self.authorizer: AsyncAuthorizer = AsyncAuthorizer(
            region, credentials, self.seam.headers, options.token_store, options.timeout
        )
        self.runs: weakref.WeakSet[AsyncClosable] = weakref.WeakSet()
        self.engine: EngineName = choose(options.engine, transport, options.proxy, region.urls)
        routes = Routes[AsyncEngine](
            build=async_engines(self.engine),
            is_async=True,
            urls=region.urls,
            transport=transport,
            proxy=options.proxy,
            verify=options.verify,
        )
        reservations = _reservations(options, region, credentials.tenant_id)
        self.limiter: AsyncLimiter | None = None if reservations is None else AsyncLimiter(reservations)
        self.attempts: AsyncAttempts = AsyncAttempts(
            region.name, routes, self.authorizer.sent_with, options.on_attempt, self.observer, self.limiter
        )
        self.authorizer.mask_proxies(routes.proxy_secrets())

    async def request(self, method: str, url: str, **options: Any) -> DocumentedResponse:
        """Send the request of the current call, and return its documented success.

        Raises:
            ThriveError: The call failed. The class says why.
        """
        call = current_call.get()
        with self.limit(call.budget):
            reply = await self._authorized(call, method, url, options)
            if self.authorizer.is_stale(reply, call.token):
                reply = await self._authorized(call, method, url, options)
                self.authorizer.is_stale(reply, call.token)  # it remembers the rejection
            return self.seam.accept(reply, call, self.authorizer)
        raise self.seam.too_late(call.budget, call)

    def limit(self, budget: Budget) -> "AbstractContextManager[CancelScope]":
        """Return a cancel scope that ends with a budget, by the real clock."""
        if is_replaced():
            return limit_by_timer(budget.remaining())
        return self._anyio.move_on_after(budget.remaining())

    async def _authorized(self, call: Call, method: str, path: str, options: dict[str, Any]) -> Reply:
        call.token = await self.authorizer.token_for_call(call.budget, self.attempts.exchange)
        request = self.seam.request(method, path, options, self.authorizer.header(call.token))
        return await self.attempts.exchange(request, call.budget, self.seam.purpose(call, path), call.history)

    async def token(
        self,
        service: Service,
        scopes: Iterable[Scope | str] | None,
        timeout: Timeout | float | None,
    ) -> AccessToken:
        """Return a valid token for a service."""
        budget = self.seam.begin(timeout, None)
        asked = self.authorizer.scopes(service, scopes)
        try:
            with observing(self.observer, "tokens.get", service.value):
                with self.limit(budget):
                    return await self.authorizer.token(service, asked, budget, self.attempts.exchange)
                raise self.seam.too_late(budget)  # noqa: TRY301 - its frames must be cleared like those of other errors
        except BaseException as error:
            forget_locals(error)
            raise

    async def aclose(self) -> None:
        """Close everything that the client has opened. Closing again does nothing."""
        self.seam.closed = self.attempts.closed = True
        if self.limiter is not None:
            self.limiter.close()
        for run in list(self.runs):
            await run.aclose()
        for engine in self.attempts.routes.take_those_to_close():
            await engine.aclose()
