"""Sends a request in attempts under one deadline: wait for the rate limit, send, read, decide, try again."""

import functools
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar, cast

from thrive_learning._budget import Budget
from thrive_learning._clock import is_replaced
from thrive_learning._exchange.body import Body
from thrive_learning._exchange.failures import (
    connection_failure,
    deadline_exceeded,
    explain,
    is_thread_shortage,
    limit_exceeds_deadline,
)
from thrive_learning._exchange.messages import Purpose
from thrive_learning._exchange.reply import Reply
from thrive_learning._exchange.retries import Retries, RetryQuota
from thrive_learning._http.port import AsyncEngine, Engine, Request, TransportError, without_frames
from thrive_learning._http.routes import Routes
from thrive_learning._interruptions import interruption
from thrive_learning._limits.limiter import AsyncLimiter, SyncLimiter
from thrive_learning._limits.line import TooLong
from thrive_learning._limits.server_limits import Slow
from thrive_learning._log import fields, logger_of
from thrive_learning._loops import sleep_by_timer, unsupported_loop
from thrive_learning.errors import (
    TRANSIENT_STATUS_CODES,
    Attempt,
    ClientClosedError,
    ConfigurationError,
    ThriveError,
)

if TYPE_CHECKING:
    from thrive_learning._observation import Observer

logger = logger_of("attempts")

limits_logger = logger_of("limits")

EngineT = TypeVar("EngineT", Engine, AsyncEngine)
LimiterT = TypeVar("LimiterT", SyncLimiter, AsyncLimiter)

# A call canceled this close to its end was cut off by its deadline, because clocks differ. Seconds.
_NEARLY_OVER_S = 0.05

# A wait for the rate limit from which on it is logged at INFO, in seconds.
_LONG_WAIT_S = 1.0


class Failed(NamedTuple):
    """An attempt without a reply.

    Attributes:
        error: The reason. It is returned and not raised, because raising it in an `except` block would chain
            its cause, whose frames hold the credentials.
        may_pass: Whether another attempt may succeed.
        was_sent: Whether the server may have received and processed the request.
    """

    error: ThriveError
    may_pass: bool
    was_sent: bool = False


class Attempts(Generic[EngineT, LimiterT]):
    """The decisions that sync and async attempts share, without I/O.

    Args:
        region: The region's name.
        routes: The source of engines.
        find_secrets: Returns the secrets of a request that its response could repeat.
        on_attempt: The client's `on_attempt=`.
        observer: Reports the attempts to OpenTelemetry; None if the client does not.
        limiter: The client's rate limit; None without one.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - all that attempts need
        self,
        region: str,
        routes: Routes[EngineT],
        find_secrets: Callable[[Request], tuple[str, ...]],
        on_attempt: Callable[[Attempt], object] | None,
        observer: "Observer | None" = None,
        limiter: LimiterT | None = None,
    ) -> None:
        self.closed: bool = False
        self.routes: Routes[EngineT] = routes
        self._region = region
        self._find_secrets = find_secrets
        self._on_attempt = on_attempt
        self._observer = observer
        self.limiter: LimiterT | None = limiter
        self._quota = RetryQuota()

    def _retries(self, budget: Budget, purpose: Purpose, history: list[Attempt] | None) -> Retries:
        return Retries(
            budget,
            self._quota,
            functools.partial(self._report, purpose.url),
            [] if history is None else history,
            operation=purpose.operation,
            subject=purpose.subject,
            is_idempotent=purpose.is_idempotent,
        )

    def _report(self, url: str, attempt: Attempt) -> None:
        # The URL of the purpose, because the requested URL contains the tenant ID. Headers are not logged,
        # because they contain the credentials.
        level = logging.DEBUG if attempt.delay is None else logging.INFO
        if logger.isEnabledFor(level):
            logger.log(
                level,
                "%s: attempt %d of %s %s: %s after %.3f s, request ID %s, %s, %s",
                self._region,
                attempt.number,
                attempt.operation,
                attempt.subject,
                attempt.error or attempt.status_code,
                attempt.elapsed,
                attempt.request_id,
                "done" if attempt.delay is None else f"next attempt in {attempt.delay:.3f} s",
                url,
                extra=fields("attempt", region=self._region, url=url, **attempt._asdict()),
            )
        if self._observer is not None:
            self._observer.attempted(attempt)
        if self._on_attempt is not None:
            try:
                self._on_attempt(attempt)
            except Exception as error:
                if interruption(error) is not None:
                    raise
                extra = fields("callback_failed", region=self._region, operation=attempt.operation)
                logger.exception("on_attempt= failed; the call continues", extra=extra)

    def _delay(self, outcome: Reply | Failed, retries: Retries, request: Request) -> float | None:
        """Return the seconds to wait before the next attempt; None to stop."""
        if isinstance(outcome, Failed):
            name = type(outcome.error).__name__
            return retries.after(
                status_code=None, error=name, may_pass=outcome.may_pass, was_sent=outcome.was_sent
            )
        if outcome.has_request_id():
            outcome.request_id = outcome.shown_request_id(self._find_secrets(request))
        status, request_id = outcome.status_code, outcome.request_id
        if 200 <= status <= 299:  # noqa: PLR2004 - RFC 9110 section 15.3
            error = "cut off" if outcome.cut else None
            return retries.after(status_code=status, error=error, may_pass=outcome.cut, request_id=request_id)
        return retries.after(
            status_code=status,
            error=f"status {status}",
            may_pass=status in TRANSIENT_STATUS_CODES,
            retry_after=outcome.retry_after(),
            request_id=request_id,
        )

    def _outcome(
        self,
        received: tuple[Reply, Body] | None,
        failure: TransportError | None,
        request: Request,
        budget: Budget,
    ) -> Reply | Failed:
        """Return the outcome of an attempt.

        Args:
            received: The reply and its body, if the head of a response arrived.
            failure: The failure that ended the attempt early, if any.
            request: The request.
            budget: The call's time and attempts.
        """
        if failure is not None:
            if self.closed:
                return Failed(closed_error(), may_pass=False)
            if received is None or failure.kind == "timeout":
                return self._failed(failure, request, budget)
            received[1].cut_off(explain(failure))
        reply, body = cast("tuple[Reply, Body]", received)
        reply.body = body.end()
        reply.flaw, reply.cut = body.flaw, body.cut
        return reply

    def _failed(self, failure: TransportError, request: Request, budget: Budget) -> Failed:
        error = connection_failure(
            failure,
            host=request.origin.host,
            budget=budget,
            route=self.routes.route(request.origin),
            secrets=self._find_secrets(request),
        )
        return Failed(error, error.is_transient and not failure.is_final, failure.may_have_been_sent)

    def _late(self, found: TooLong, budget: Budget, retries: Retries) -> Failed:
        """Return the outcome of a request that would wait for the rate limit for too long."""
        if self.closed:
            return Failed(closed_error(), may_pass=False)
        return Failed(self._limit_error(found, budget, retries), may_pass=False)

    def _limit_error(self, found: TooLong, budget: Budget, retries: Retries) -> ThriveError:
        limiter = cast("LimiterT", self.limiter)
        return limit_exceeds_deadline(
            budget,
            per_second=limiter.reservations.limit.per_second,
            is_paused=limiter.is_paused,
            wait_s=found.wait_s,
            left_s=found.left_s,
            sent=len(retries.history),
        )

    def _waited(self, waited_s: float, retries: Retries, purpose: Purpose) -> None:
        """Record how long a request waited for the rate limit."""
        retries.waited(waited_s)
        level = logging.INFO if waited_s >= _LONG_WAIT_S else logging.DEBUG
        if limits_logger.isEnabledFor(level):
            limits_logger.log(
                level,
                "%s: %s %s waited %.3f s for the rate limit",
                self._region,
                purpose.operation,
                purpose.subject,
                waited_s,
                extra=fields(
                    "rate_limit_wait",
                    region=self._region,
                    operation=purpose.operation,
                    subject=purpose.subject,
                    waited=waited_s,
                ),
            )

    def _cut_off_wait(self, budget: Budget, retries: Retries, purpose: Purpose) -> None:
        """Keep the error of a call whose deadline came while it waited for the rate limit. See `cut_off`."""
        if budget.remaining() > _NEARLY_OVER_S:
            return
        error = self._limit_error(TooLong(0.0, 0.0), budget, retries)
        _describe(error, retries, purpose)
        budget.too_late = error

    def _slow(self, limiter: LimiterT, outcome: Reply | Failed) -> Slow | None:
        """Return how a response asks to slow down, if that is new."""
        if isinstance(outcome, Failed):
            return None
        asked_s = outcome.retry_after()
        slow = limiter.server.after(outcome.status_code, outcome.fields, limiter.clock(), asked_s)
        if slow is not None:
            self._log_slow(slow)
        return slow

    def _log_slow(self, slow: Slow) -> None:
        pause_s, per_second, for_s = slow
        if pause_s > 0:
            limits_logger.warning(
                "%s: no requests for %.3g s, because the server asks for that",
                self._region,
                pause_s,
                extra=fields("rate_limit_pause", region=self._region, delay=pause_s),
            )
        if per_second is not None:
            limits_logger.info(
                "%s: at most %.3g requests per second for %.3g s, because the server allows no more",
                self._region,
                per_second,
                for_s,
                extra=fields("rate_limit_learned", region=self._region, per_second=per_second, lasts=for_s),
            )

    def cut_off(self, request: Request, budget: Budget, retries: Retries, purpose: Purpose) -> None:
        """Record an attempt that the deadline cut off. A canceled attempt is not recorded.

        The error is kept in the budget, because it is raised outside the cancel scope.
        """
        if budget.remaining() > _NEARLY_OVER_S:
            return
        error = deadline_exceeded(budget, host=request.origin.host)
        self._delay(Failed(error, may_pass=True), retries, request)
        _describe(error, retries, purpose)
        budget.too_late = error


def _result(outcome: Reply | Failed, retries: Retries, purpose: Purpose) -> Reply:
    """Return the last reply, or raise the last error, with its history and URL."""
    found = outcome.error if isinstance(outcome, Failed) else outcome
    _describe(found, retries, purpose)
    if isinstance(found, ThriveError):
        raise found
    return found


def _describe(found: Reply | ThriveError, retries: Retries, purpose: Purpose) -> None:
    found.history = tuple(retries.history)
    found.url, found.operation = purpose.url, purpose.operation


def closed_error() -> ClientClosedError:
    """Return the error for a call that begins or continues after the client was closed."""
    return ClientClosedError("The client is closed. Make the call before closing it, or create a new client.")


class SyncAttempts(Attempts[Engine, SyncLimiter]):
    """The attempts of sync clients."""

    def exchange(
        self, request: Request, budget: Budget, purpose: Purpose, history: list[Attempt] | None = None
    ) -> Reply:
        """Send a request until a reply can be returned, or the policy or the budget ends the attempts.

        Args:
            request: The request.
            budget: The call's time and attempts.
            purpose: The purpose of the request.
            history: The previous attempts of the call; the new attempts are appended.

        Raises:
            ConnectionFailedError: No response arrived.
            ClientClosedError: The client is closed.
        """
        retries = self._retries(budget, purpose, history)
        limiter = self.limiter if purpose.is_limited else None
        fresh = False
        while True:
            if limiter is not None and (budget.permit is not None or not limiter.goes_at_once()):
                late = self._wait(limiter, budget, retries, purpose)
                if late is not None:
                    return _result(late, retries, purpose)
            outcome = self._attempt(request, budget, purpose, fresh=fresh)
            if limiter is not None and not (
                isinstance(outcome, Reply) and limiter.server.is_quiet(outcome.status_code, outcome.fields)
            ):
                slow = self._slow(limiter, outcome)
                if slow is not None:
                    limiter.slow(slow, max(budget.remaining(), 0.0))
            delay = self._delay(outcome, retries, request)
            if delay is None:
                return _result(outcome, retries, purpose)
            fresh = isinstance(outcome, Failed)  # other idle connections may be dead as well
            time.sleep(delay)

    def _wait(
        self, limiter: SyncLimiter, budget: Budget, retries: Retries, purpose: Purpose
    ) -> Failed | None:
        """Wait for the rate limit. Return a failure if that takes too long."""
        permit, budget.permit = budget.permit, None
        waited = limiter.wait(budget) if permit is None else permit
        if isinstance(waited, TooLong):
            return self._late(waited, budget, retries)
        self._waited(waited, retries, purpose)
        return None

    def _attempt(self, request: Request, budget: Budget, purpose: Purpose, *, fresh: bool) -> Reply | Failed:
        if self.closed:
            return Failed(closed_error(), may_pass=False)
        if budget.remaining() <= 0:
            return Failed(deadline_exceeded(budget, host=request.origin.host), may_pass=False)
        received, failure = None, None
        try:
            response = self.routes.engine(request.origin).send(request, budget, fresh=fresh)
            reply = Reply(status_code=response.status, headers=response.headers)
            body = Body(reply.header(b"content-encoding") or "", purpose.limit)
            received = reply, body
            try:
                for chunk in response.chunks:
                    if not body.feed(chunk):
                        break
                    if budget.remaining() <= 0:
                        raise TransportError("timeout")
            finally:
                response.close()
        except TransportError as error:
            failure = without_frames(error)
        finally:
            budget.connection = None
        return self._outcome(received, failure, request, budget)


class AsyncAttempts(Attempts[AsyncEngine, AsyncLimiter]):
    """The attempts of async clients. A cancel scope around the call is their deadline."""

    async def exchange(
        self, request: Request, budget: Budget, purpose: Purpose, history: list[Attempt] | None = None
    ) -> Reply:
        """Send a request until a reply can be returned. See `SyncAttempts.exchange`.

        Raises:
            ConfigurationError: The installed trio is in use and too old.
        """
        import anyio  # noqa: PLC0415 - not needed by sync code

        if (problem := unsupported_loop()) is not None:
            raise ConfigurationError(problem)
        retries = self._retries(budget, purpose, history)
        limiter = self.limiter if purpose.is_limited else None
        fresh = False
        while True:
            if limiter is not None and (budget.permit is not None or not limiter.goes_at_once()):
                late = await self._wait(limiter, budget, retries, purpose)
                if late is not None:
                    return _result(late, retries, purpose)
            try:
                outcome = await self._attempt(request, budget, purpose, fresh=fresh)
            except anyio.get_cancelled_exc_class():
                self.cut_off(request, budget, retries, purpose)
                raise
            if limiter is not None and not (
                isinstance(outcome, Reply) and limiter.server.is_quiet(outcome.status_code, outcome.fields)
            ):
                slow = self._slow(limiter, outcome)
                if slow is not None:
                    await limiter.slow(slow, max(budget.remaining(), 0.0))
            delay = self._delay(outcome, retries, request)
            if delay is None:
                return _result(outcome, retries, purpose)
            fresh = isinstance(outcome, Failed)
            await (sleep_by_timer if is_replaced() else anyio.sleep)(delay)

    async def _wait(
        self, limiter: AsyncLimiter, budget: Budget, retries: Retries, purpose: Purpose
    ) -> Failed | None:
        """Wait for the rate limit. See `SyncAttempts._wait`."""
        import anyio  # noqa: PLC0415 - not needed by sync code

        permit, budget.permit = budget.permit, None
        try:
            waited = await limiter.wait(budget) if permit is None else permit
        except anyio.get_cancelled_exc_class():
            self._cut_off_wait(budget, retries, purpose)
            raise
        if isinstance(waited, TooLong):
            return self._late(waited, budget, retries)
        self._waited(waited, retries, purpose)
        return None

    async def _attempt(
        self, request: Request, budget: Budget, purpose: Purpose, *, fresh: bool
    ) -> Reply | Failed:
        if self.closed:
            return Failed(closed_error(), may_pass=False)
        if budget.remaining() <= 0:
            return Failed(deadline_exceeded(budget, host=request.origin.host), may_pass=False)
        received, failure = None, None
        try:
            response = await self.routes.engine(request.origin).send(request, budget, fresh=fresh)
            reply = Reply(status_code=response.status, headers=response.headers)
            body = Body(reply.header(b"content-encoding") or "", purpose.limit)
            received = reply, body
            try:
                async for chunk in response.chunks:
                    if not body.feed(chunk):
                        break
            finally:
                await response.close()
        except TransportError as error:
            failure = without_frames(error)
        except RuntimeError as error:
            if not is_thread_shortage(error):
                raise
            failure = TransportError("thread", str(error))
        return self._outcome(received, failure, request, budget)
