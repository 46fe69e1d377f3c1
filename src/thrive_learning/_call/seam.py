"""The one seam between this SDK and HTTP: the httpx clients that the generated code calls.

They override `request`, the one method that generated code uses, and talk to httpx *transports*. The rest of
httpx's client is left out on purpose: nothing keeps cookies, follows redirects, reads netrc or calls event
hooks. Here, and nowhere else, a call meets its deadline, its credentials, the network, and what came back.
"""

import contextlib
import contextvars
import functools
import logging
import re
import sys
import time
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from ssl import SSLContext
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

import httpx

from thrive_learning._auth.authorizer import AsyncAuthorizer, Authorization, Authorizer
from thrive_learning._budget import Budget, current_budget
from thrive_learning._call.drift_reports import DriftReports
from thrive_learning._exchange.body import DEFAULT_RECORD_BYTES, TOKEN_LIMIT, Body, BodyLimit, record_limit
from thrive_learning._exchange.engines import Asked, choose
from thrive_learning._exchange.failures import connection_failure, deadline_exceeded, is_thread_shortage
from thrive_learning._exchange.messages import Purpose, api_error, cut_response, unexpected_response
from thrive_learning._exchange.reply import Reply, json_object
from thrive_learning._exchange.retries import Retries, RetryQuota, may_pass
from thrive_learning._frames import forget_locals
from thrive_learning._interruptions import interruption
from thrive_learning._loops import current_loop, current_process, unsupported_loop
from thrive_learning._reading import Reading
from thrive_learning._request import Headers, RequestTemplate, raw_headers
from thrive_learning._settings.engine_names import DEFAULT_ENGINE, EngineName
from thrive_learning._transport import Transports, drop_surplus
from thrive_learning._version import __version__
from thrive_learning.credentials import Credentials, Scope
from thrive_learning.drift import Drift
from thrive_learning.errors import (
    ApiError,
    Attempt,
    ClientClosedError,
    ConfigurationError,
    ConnectionFailedError,
    ThriveError,
    UnexpectedResponseError,
)
from thrive_learning.models import AccessToken
from thrive_learning.policies import RetryPolicy, Timeout
from thrive_learning.regions import Region, Service

if TYPE_CHECKING:
    from thrive_learning.token_stores import TokenStore

logger = logging.getLogger("thrive_learning")

_PRODUCTS = re.compile(r"[\x21-\x7e]+(?: [\x21-\x7e]+)*")


class Call:
    """What belongs to one call. Generated functions have no argument for it, so it travels beside them.

    Attributes:
        operation: The method that it is, such as `activities.get`.
        noun: What is asked for, such as `activity`.
        identifier: The ID of it.
        purpose: What its request is for; None before that is built.
        budget: When the call has to be over.
        successes: The statuses that the contract documents as successes.
        history: What each request came to.
        reply: The documented success, once there is one.
        text: Its JSON as received.
        read: Compares its JSON object with the contract.
        reading: What that came to.
        token: The token that was sent; None with HTTP Basic.
    """

    __slots__ = (
        "budget",
        "history",
        "identifier",
        "noun",
        "operation",
        "purpose",
        "read",
        "reading",
        "reply",
        "successes",
        "text",
        "token",
    )

    def __init__(  # noqa: PLR0913, PLR0917 - what makes up a call
        self,
        operation: str,
        noun: str,
        identifier: str,
        budget: Budget,
        successes: frozenset[int],
        read: Callable[[dict[str, Any]], Reading],
        history: tuple[Attempt, ...] = (),
    ) -> None:
        self.operation: str = operation
        self.noun: str = noun
        self.identifier: str = identifier
        self.purpose: Purpose | None = None
        self.budget: Budget = budget
        self.successes: frozenset[int] = successes
        self.history: list[Attempt] = list(history)
        self.reply: Reply | None = None
        self.text: str = ""
        self.read: Callable[[dict[str, Any]], Reading] = read
        self.reading: Reading = Reading({}, {}, (), None)
        self.token: AccessToken | None = None

    @property
    def subject(self) -> str:
        """What is asked for, in words."""
        return f"{self.noun} {self.identifier}"


current_call: contextvars.ContextVar[Call] = contextvars.ContextVar("thrive_learning_call")


# The generated parser passes headers on, and nobody takes them.
_NO_HEADERS = httpx.Headers()


class DocumentedResponse(httpx.Response):
    """A documented success as the generated parser sees it: its body read, its JSON parsed once and for all.

    It has just what that parser reads. httpx's own __init__ would decode the body once more.
    """

    def __init__(self, reply: Reply, document: dict[str, Any]) -> None:
        self.status_code = reply.status_code
        self.headers = _NO_HEADERS
        self.extensions = {}
        self._body = reply.body
        self._document = document

    @property
    def content(self) -> bytes:
        """The body, decompressed."""
        return self._body

    def json(self, **_options: Any) -> dict[str, Any]:
        """Give the JSON that the seam has parsed."""
        return self._document


def common_headers(application: object) -> Headers:
    """Give the headers of every request.

    Args:
        application: What to name before this SDK in the User-Agent, such as `"reports/1.4"`.

    Raises:
        ConfigurationError: It is not made of visible ASCII characters and single spaces.
    """
    if application is not None and not (isinstance(application, str) and _PRODUCTS.fullmatch(application)):
        raise ConfigurationError(
            f"application is {application!r}: pass visible ASCII characters such as 'reports/1.4', "
            "with single spaces between words"
        )
    python = ".".join(str(part) for part in sys.version_info[:3])
    agent = f"thrive-learning/{__version__} python/{python} httpx/{httpx.__version__}"
    return (
        (b"Accept", b"application/json"),
        (b"Accept-Encoding", b"gzip"),
        (b"User-Agent", (f"{application} {agent}" if application else agent).encode("ascii")),
    )


class _Unused(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Stands where httpx's clients keep their transport: what would use it would go around the seam."""


class Options(NamedTuple):
    """What both clients can be told alike; see `ThriveClient`."""

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

    def __repr__(self) -> str:
        return "<Options>"  # the proxy's URL may hold a password


class Seam:
    """What the two clients below decide alike. Pure: it moves no bytes.

    Args:
        region: Where requests go.
        options: What a client can be told.
    """

    def __init__(self, region: Region, options: Options) -> None:
        self.region: Region = region
        self.timeout: Timeout = options.timeout
        self.retry: RetryPolicy = options.retry
        self.headers: Headers = common_headers(options.application)
        self.closed: bool = False
        self._quota = RetryQuota()
        self._on_attempt = options.on_attempt
        self._strict = options.strict
        self._drift = DriftReports(options.on_drift)
        self._record_limit = record_limit(options.max_record_bytes)
        self._template = RequestTemplate(region.api_url, self.headers)

    def body_limit(self, call: Call | None) -> BodyLimit:
        """Return how large a body may be: that of a record, or that of a token."""
        return TOKEN_LIMIT if call is None else self._record_limit

    def rejection(self, reading: Reading) -> str | None:
        """Say why a JSON object is not accepted as what was asked for; None if it is."""
        if reading.flaw is None and self._strict:
            return next((str(drift) for drift in reading.problems if drift.breaks_contract), None)
        return reading.flaw

    def report(self, call: Call, authorization: Authorization) -> tuple[Drift, ...]:
        """Report how the response of a call departs from the contract, and return it fit for that."""
        if not call.reading.problems:
            return ()

        def secrets() -> tuple[str, ...]:
            return authorization.circumstances(call.subject, call.token).secrets

        return self._drift.report(call.reading.problems, self.region.name, call.operation, secrets)

    def begin(self, timeout: Timeout | float | None, retry: RetryPolicy | None) -> Budget:
        """Start the clock of a call.

        Raises:
            ClientClosedError: The client is closed.
            ConfigurationError: The time-out or the retry policy is none.
        """
        if self.closed:
            raise closed_error()
        return Budget(Timeout.of(timeout, self.timeout), RetryPolicy.of(retry, self.retry))

    def retries(self, budget: Budget, purpose: Purpose, call: Call | None) -> Retries:
        """Start the tries of one request."""
        return Retries(
            budget,
            self._quota,
            functools.partial(self._report, purpose.url),
            [] if call is None else call.history,
            operation=purpose.operation,
            subject=purpose.subject,
        )

    def purpose(self, call: Call, path: str) -> Purpose:
        """Return what the request of a call is for, and keep it for the errors of the call."""
        call.purpose = Purpose(call.operation, call.identifier, self.region.api_url + path)
        return call.purpose

    def _report(self, url: str, attempt: Attempt) -> None:
        # The URL is that of the purpose: the one that is sent holds the tenant ID. No header: they hold the
        # credentials.
        logger.log(
            logging.DEBUG if attempt.delay is None else logging.INFO,
            "%s: attempt %d of %s %s: %s after %.3f s, request ID %s, %s, %s",
            self.region.name,
            attempt.number,
            attempt.operation,
            attempt.subject,
            attempt.error or attempt.status_code,
            attempt.elapsed,
            attempt.request_id,
            "done" if attempt.delay is None else f"next attempt in {attempt.delay:.3f} s",
            url,
        )
        if self._on_attempt is not None:
            try:
                self._on_attempt(attempt)
            except Exception as error:
                if interruption(error) is not None:
                    raise
                logger.exception("on_attempt= failed; the call goes on")

    def after(
        self,
        outcome: Reply | ThriveError,
        retries: Retries,
        request: httpx.Request,
        authorization: Authorization,
    ) -> float | None:
        """Say how long to wait before a request is tried again; None if it is not."""
        if isinstance(outcome, ThriveError):
            name = type(outcome).__name__
            return retries.after(status_code=None, error=name, may_pass=outcome.is_transient)
        if outcome.has_request_id():
            outcome.request_id = outcome.shown_request_id(authorization.sent_with(request))
        status, request_id = outcome.status_code, outcome.request_id
        if httpx.codes.is_success(status):
            error = "cut off" if outcome.cut else None
            return retries.after(status_code=status, error=error, may_pass=outcome.cut, request_id=request_id)
        return retries.after(
            status_code=status,
            error=f"status {status}",
            may_pass=may_pass(status),
            retry_after=outcome.retry_after(),
            request_id=request_id,
        )

    @staticmethod
    def result(outcome: Reply | ThriveError, retries: Retries, purpose: Purpose) -> Reply:
        """Return the last reply, or raise the last error, with what was tried and where."""
        _describe(outcome, retries, purpose)
        if isinstance(outcome, ThriveError):
            raise outcome
        return outcome

    def cut_off(
        self,
        request: httpx.Request,
        budget: Budget,
        retries: Retries,
        purpose: Purpose,
        authorization: Authorization,
    ) -> None:
        """Note an attempt that the deadline has cut off. An attempt that the caller cancels is not reported.

        The error is kept in the budget, because it is raised outside the cancel scope.
        """
        if budget.remaining() > _NEARLY_OVER_S:
            return
        error = deadline_exceeded(budget, host=request.url.host)
        self.after(error, retries, request, authorization)
        _describe(error, retries, purpose)
        budget.too_late = error

    def too_late(self, budget: Budget, call: Call | None = None) -> ThriveError:
        """Return the error for a call that was cancelled at its deadline."""
        if budget.too_late is not None:
            return budget.too_late
        error = deadline_exceeded(budget, host=budget.waits_for or httpx.URL(self.region.api_url).host)
        if call is not None:
            error.history = tuple(call.history)
            if call.purpose is not None:
                error.url, error.operation = call.purpose.url, call.purpose.operation
        return error

    def request(self, method: str, path: str, options: dict[str, Any], authorization: bytes) -> httpx.Request:
        """Build the request for a path of the contract. It can only go to the region's own host."""
        if not path.startswith("/"):
            raise ConfigurationError(f"{path!r} is not a path of the contract: those begin with a slash")
        return self._template.request(method, path, options, authorization)

    def accept(self, reply: Reply, call: Call, authorization: Authorization) -> httpx.Response:
        """Let a documented success through to the generated parser, and nothing else.

        Raises:
            ApiError: The status is no success.
            UnexpectedResponseError: It is another success, or its body is no JSON object.
            ConnectionFailedError: The body did not arrive whole.
        """
        documented = reply.status_code in call.successes
        problem = reply.flaw if documented else "the contract does not document this status"
        if problem is None:
            read = json_object(reply.body)
            if not isinstance(read, str):
                call.reply = reply
                call.text, document = read
                call.reading = call.read(document)
                return DocumentedResponse(reply, call.reading.document)
            problem = read
        circumstances = authorization.circumstances(call.subject, call.token)
        error: ApiError | ConnectionFailedError | UnexpectedResponseError
        if not httpx.codes.is_success(reply.status_code):
            error = api_error(reply, circumstances)
        elif documented and reply.cut:
            error = cut_response(reply, circumstances)
        else:
            error = unexpected_response(reply, circumstances, problem)
        error.history = tuple(call.history)
        raise error


#: What a transport raises if it fails. Anything else passes unchanged: the exception of a signal handler is
#: not the transport's failure, and other exceptions are defects.
TRANSPORT_FAILURES = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, UnicodeError)

# So close to its end, a call that is cancelled was cut off by its deadline: clocks differ. Seconds.
_NEARLY_OVER_S = 0.05


def _describe(outcome: Reply | ThriveError, retries: Retries, purpose: Purpose) -> None:
    outcome.history = tuple(retries.history)
    outcome.url, outcome.operation = purpose.url, purpose.operation


def closed_error() -> ClientClosedError:
    """Give the error for a call that begins or goes on after the client was closed."""
    return ClientClosedError("the client is closed: make the call before that, or create a new client")


def _whole(reply: Reply, body: Body) -> Reply:
    reply.body = body.end()
    reply.flaw, reply.cut = body.flaw, body.cut
    return reply


def _left(
    error: Exception, reply: Reply | None, body: Body | None, *, closed: bool
) -> Reply | ThriveError | None:
    """Say what is left of an exchange that failed: a response cut off in its body; None if there is none."""
    if closed:
        return closed_error()
    if reply is None or body is None or isinstance(error, (TimeoutError, httpx.TimeoutException)):
        return None
    body.cut_off(type(error).__name__)
    return _whole(reply, body)


def _transport(context: SSLContext, proxy: str | None) -> httpx.BaseTransport:
    from thrive_learning._httpx_transports import PooledTransport  # noqa: PLC0415 - it loads httpcore

    return PooledTransport(context, proxy)


def _async_transport(context: SSLContext, proxy: str | None) -> httpx.AsyncBaseTransport:
    from thrive_learning._httpx_transports import AsyncPooledTransport  # noqa: PLC0415 - it loads httpcore

    return AsyncPooledTransport(context, proxy)


def _fast_transport(context: SSLContext, proxy: str | None) -> httpx.BaseTransport:
    from thrive_learning._fast import FastTransport  # noqa: PLC0415 - an extra

    return FastTransport(context, proxy)


def _async_fast_transport(context: SSLContext, proxy: str | None) -> httpx.AsyncBaseTransport:
    from thrive_learning._fast import AsyncFastTransport  # noqa: PLC0415 - an extra

    return AsyncFastTransport(context, proxy)


def _engine(region: Region, options: Options, transport: object) -> EngineName:
    return choose(Asked(options.engine, transport, options.proxy, region.urls))


class Closable(Protocol):
    """What goes on between calls, and has to end with the client."""

    def close(self) -> None:
        """End it."""


class AsyncClosable(Protocol):
    """What goes on between calls, and has to end with the client."""

    async def aclose(self) -> None:
        """End it."""


class HttpClient(httpx.Client):
    """The seam of a sync client.

    Args:
        region: Where requests go.
        credentials: What authorizes them.
        options: What the client is told besides.
        transport: See `Transports`.
    """

    def __init__(
        self,
        region: Region,
        credentials: Credentials,
        options: Options,
        transport: httpx.BaseTransport | Callable[[], httpx.BaseTransport] | None,
    ) -> None:
        super().__init__(transport=_Unused(), trust_env=False)
        self.seam: Seam = Seam(region, options)
        self.authorizer: Authorizer = Authorizer(
            region, credentials, self.seam.headers, options.token_store, options.timeout
        )
        self.runs: weakref.WeakSet[Closable] = weakref.WeakSet()
        self.engine: EngineName = _engine(region, options, transport)
        self._transports = Transports[httpx.BaseTransport](
            kind=httpx.BaseTransport,
            build=_fast_transport if self.engine == "fast" else _transport,
            place=current_process,
            urls=region.urls,
            injected=transport,
            proxy=options.proxy,
            verify=options.verify,
        )
        self.authorizer.mask_proxies(self._transports.proxy_secrets())

    def request(self, method: str, url: httpx.URL | str, **options: Any) -> httpx.Response:
        """Send the request of the current call, and give its documented success.

        Raises:
            ThriveError: There is none; the class says why.
        """
        call = current_call.get()
        reply = self._authorized(call, method, str(url), options)
        if self.authorizer.is_stale(reply, call.token):
            reply = self._authorized(call, method, str(url), options)
            self.authorizer.is_stale(reply, call.token)  # which is remembered
        return self.seam.accept(reply, call, self.authorizer)

    def _authorized(self, call: Call, method: str, path: str, options: dict[str, Any]) -> Reply:
        call.token = self.authorizer.token_for_call(call.budget, self.exchange)
        request = self.seam.request(method, path, options, self.authorizer.header(call.token))
        return self.exchange(request, call.budget, self.seam.purpose(call, path), call)

    def token(
        self,
        service: Service,
        scopes: Iterable[Scope | str] | None,
        timeout: Timeout | float | None,
    ) -> AccessToken:
        """Return a fresh token for a service."""
        budget = self.seam.begin(timeout, None)
        asked = self.authorizer.scopes(service, scopes)
        try:
            return self.authorizer.token(service, asked, budget, self.exchange)
        except BaseException as error:
            forget_locals(error)
            raise

    def exchange(
        self, request: httpx.Request, budget: Budget, purpose: Purpose, call: Call | None = None
    ) -> Reply:
        """Send a request as often as it takes and the budget allows.

        Raises:
            ConnectionFailedError: There is no response.
        """
        retries = self.seam.retries(budget, purpose, call)
        while True:
            outcome = self._attempt(request, budget, self.seam.body_limit(call))
            delay = self.seam.after(outcome, retries, request, self.authorizer)
            if delay is None:
                return self.seam.result(outcome, retries, purpose)
            time.sleep(delay)

    def _attempt(self, request: httpx.Request, budget: Budget, limit: BodyLimit) -> Reply | ThriveError:
        """Send a request once and read its response, up to the cap and within the deadline.

        An error is given, not raised: raised in an `except` block it would chain the cause, whose frames hold
        the credentials.
        """
        if self.seam.closed:
            return closed_error()
        reply, body = None, None
        request.extensions["timeout"] = budget.phases()
        outer = current_budget.set(budget)
        try:
            budget.check()
            response = self._transports.for_request(request).handle_request(request)
            reply = Reply(status_code=response.status_code, headers=raw_headers(response))
            body = Body(reply.header(b"content-encoding") or "", limit)
            stream = cast("httpx.SyncByteStream", response.stream)
            try:
                for chunk in stream:
                    if not body.feed(chunk):
                        break
                    budget.check()
                if body.flaw is None:
                    drop_surplus(response)
            finally:
                stream.close()
            return _whole(reply, body)
        except (*TRANSPORT_FAILURES, RuntimeError) as error:
            if not isinstance(error, TRANSPORT_FAILURES) and not is_thread_shortage(error):
                raise
            interrupted = interruption(error)
            if interrupted is None:
                return _left(error, reply, body, closed=self.seam.closed) or connection_failure(
                    error,
                    host=request.url.host,
                    budget=budget,
                    route=self._transports.route(request),
                    secrets=self.authorizer.sent_with(request),
                )
        finally:
            budget.connection = None
            current_budget.reset(outer)
        raise interrupted

    def close(self) -> None:
        """Close what the client has opened. It is safe to do so twice."""
        self.seam.closed = True
        for run in list(self.runs):
            run.close()
        for transport in self._transports.take_those_to_close():
            transport.close()


class AsyncHttpClient(httpx.AsyncClient):
    """The seam of an async client. See `HttpClient`."""

    def __init__(
        self,
        region: Region,
        credentials: Credentials,
        options: Options,
        transport: httpx.AsyncBaseTransport | Callable[[], httpx.AsyncBaseTransport] | None,
    ) -> None:
        import anyio  # noqa: PLC0415 - sync users need not pay for it, nor async ones with every call

        super().__init__(transport=_Unused(), trust_env=False)
        self._anyio = anyio
        self.seam: Seam = Seam(region, options)
        self.authorizer: AsyncAuthorizer = AsyncAuthorizer(
            region, credentials, self.seam.headers, options.token_store, options.timeout
        )
        self.runs: weakref.WeakSet[AsyncClosable] = weakref.WeakSet()
        self.engine: EngineName = _engine(region, options, transport)
        self._transports = Transports[httpx.AsyncBaseTransport](
            kind=httpx.AsyncBaseTransport,
            build=_async_fast_transport if self.engine == "fast" else _async_transport,
            place=current_loop,
            urls=region.urls,
            injected=transport,
            proxy=options.proxy,
            verify=options.verify,
        )
        self.authorizer.mask_proxies(self._transports.proxy_secrets())

    async def request(self, method: str, url: httpx.URL | str, **options: Any) -> httpx.Response:
        """Send the request of the current call, and give its documented success.

        Raises:
            ThriveError: There is none; the class says why.
        """
        call = current_call.get()
        with self._anyio.move_on_after(call.budget.remaining()):
            reply = await self._authorized(call, method, str(url), options)
            if self.authorizer.is_stale(reply, call.token):
                reply = await self._authorized(call, method, str(url), options)
                self.authorizer.is_stale(reply, call.token)  # which is remembered
            return self.seam.accept(reply, call, self.authorizer)
        raise self.seam.too_late(call.budget, call)

    async def _authorized(self, call: Call, method: str, path: str, options: dict[str, Any]) -> Reply:
        call.token = await self.authorizer.token_for_call(call.budget, self.exchange)
        request = self.seam.request(method, path, options, self.authorizer.header(call.token))
        return await self.exchange(request, call.budget, self.seam.purpose(call, path), call)

    async def token(
        self,
        service: Service,
        scopes: Iterable[Scope | str] | None,
        timeout: Timeout | float | None,
    ) -> AccessToken:
        """Return a fresh token for a service."""
        budget = self.seam.begin(timeout, None)
        asked = self.authorizer.scopes(service, scopes)
        try:
            with self._anyio.move_on_after(budget.remaining()):
                return await self.authorizer.token(service, asked, budget, self.exchange)
            raise self.seam.too_late(budget)  # noqa: TRY301 - its frames are to be cleared like those of others
        except BaseException as error:
            forget_locals(error)
            raise

    async def exchange(
        self, request: httpx.Request, budget: Budget, purpose: Purpose, call: Call | None = None
    ) -> Reply:
        """Send a request as often as it takes and the budget allows.

        Raises:
            ConnectionFailedError: There is no response.
            ConfigurationError: The installed trio is in use and too old.
        """
        if (problem := unsupported_loop()) is not None:
            raise ConfigurationError(problem)
        retries = self.seam.retries(budget, purpose, call)
        while True:
            try:
                outcome = await self._attempt(request, budget, self.seam.body_limit(call))
            except self._anyio.get_cancelled_exc_class():
                self.seam.cut_off(request, budget, retries, purpose, self.authorizer)
                raise
            delay = self.seam.after(outcome, retries, request, self.authorizer)
            if delay is None:
                return self.seam.result(outcome, retries, purpose)
            await self._anyio.sleep(delay)

    async def _attempt(self, request: httpx.Request, budget: Budget, limit: BodyLimit) -> Reply | ThriveError:
        """Send a request once and read its response, up to the cap. A cancel scope around the call ends it.

        An error is given, not raised: raised in an `except` block it would chain the cause, whose frames hold
        the credentials.
        """
        if self.seam.closed:
            return closed_error()
        reply, body = None, None
        request.extensions["timeout"] = budget.phases()
        try:
            budget.check()
            response = await self._transports.for_request(request).handle_async_request(request)
            reply = Reply(status_code=response.status_code, headers=raw_headers(response))
            body = Body(reply.header(b"content-encoding") or "", limit)
            stream = cast("httpx.AsyncByteStream", response.stream)
            chunks = aiter(stream)
            try:
                async for chunk in chunks:
                    if not body.feed(chunk):
                        await self._leave(chunks)
                        break
                drop_surplus(response)
            finally:
                if isinstance(chunks, AsyncGenerator):
                    await chunks.aclose()  # one that is left early would end in a warning, at some other time
                await stream.aclose()
            return _whole(reply, body)
        except (*TRANSPORT_FAILURES, RuntimeError) as error:
            if not isinstance(error, TRANSPORT_FAILURES) and not is_thread_shortage(error):
                raise
            interrupted = interruption(error)
            if interrupted is None:
                return _left(error, reply, body, closed=self.seam.closed) or connection_failure(
                    error,
                    host=request.url.host,
                    budget=budget,
                    route=self._transports.route(request),
                    secrets=self.authorizer.sent_with(request),
                )
        raise interrupted

    async def _leave(self, chunks: AsyncIterator[bytes]) -> None:
        """Read no further.

        The next read is cancelled, and with it each generator in between ends: one that is left early would
        end in a warning, at some other time.
        """
        # What fails on the way says nothing new: why the body cannot be used is known.
        with self._anyio.CancelScope() as reading, contextlib.suppress(*TRANSPORT_FAILURES):
            reading.cancel()
            async for _chunk in chunks:
                pass

    async def aclose(self) -> None:
        """Close what the client has opened. It is safe to do so twice."""
        self.seam.closed = True
        for run in list(self.runs):
            await run.aclose()
        for transport in self._transports.take_those_to_close():
            await transport.aclose()
