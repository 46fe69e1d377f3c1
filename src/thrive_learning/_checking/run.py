"""Runs `client.check()`: sends its requests, and passes the replies to `Examination`."""

import secrets
import time
from collections.abc import Awaitable, Callable

from thrive_learning._auth.masking import basic_header
from thrive_learning._budget import Budget
from thrive_learning._call.seam import AsyncCaller, Call, Caller, observing
from thrive_learning._checking.examination import Examination
from thrive_learning._exchange.messages import Purpose, unexpected_response
from thrive_learning._exchange.reply import Reply
from thrive_learning._frames import forget_locals
from thrive_learning._http.port import Request, run
from thrive_learning.checks import CheckReport
from thrive_learning.credentials import ClientCredentials
from thrive_learning.errors import Attempt, ThriveError
from thrive_learning.models import AccessToken
from thrive_learning.policies import Timeout
from thrive_learning.regions import Service


def _problem(reply: Reply, call: Call, http: Caller | AsyncCaller) -> ThriveError | None:
    """Return the error that a call with this reply would raise, or None for a record."""
    try:
        http.seam.accept(reply, call, http.authorizer)
    except ThriveError as error:
        return error
    problem = http.seam.rejection(call.reading)
    if problem is None:
        return None
    return unexpected_response(reply, http.authorizer.circumstances(call.subject, call.token), problem)


def _made_up(token: AccessToken | None) -> bytes:
    """Return an Authorization header that every server which checks credentials rejects.

    It uses the same scheme as the client. User name and password are random each time, so that they belong to
    no one, and no user of the vendor is locked out.
    """
    name, password = secrets.token_hex(8), secrets.token_urlsafe(24)
    if token is not None:
        return f"Bearer {password}".encode("ascii")
    return basic_header(f"made-up-{name}", password).encode("ascii")


def check(http: Caller, examination: Examination, timeout: Timeout | float | None) -> CheckReport:
    """Run a check with a sync client."""
    budget = http.seam.begin(timeout, None)

    def exchange(
        request: Request, limits: Budget, purpose: Purpose, history: list[Attempt] | None = None
    ) -> Reply:
        sent_at = time.time()
        reply = http.attempts.exchange(request, limits, purpose, history)
        examination.saw(reply, sent_at, time.time())
        return reply

    async def send(request: Request, purpose: Purpose, history: list[Attempt]) -> Reply:
        return exchange(request, budget, purpose, history)

    async def token() -> AccessToken:
        return http.authorizer.token(Service.API, http.authorizer.api_scopes, budget, exchange)

    try:
        with observing(http.observer, "check"):
            return run(_carry_out(http, examination, budget, send, token))
    except BaseException as error:
        forget_locals(error)
        raise


async def check_async(
    http: AsyncCaller, examination: Examination, timeout: Timeout | float | None
) -> CheckReport:
    """Run a check with an async client."""
    import anyio  # noqa: PLC0415 - not needed by sync code

    budget = http.seam.begin(timeout, None)

    async def exchange(
        request: Request, limits: Budget, purpose: Purpose, history: list[Attempt] | None = None
    ) -> Reply:
        sent_at = time.time()
        reply = await http.attempts.exchange(request, limits, purpose, history)
        examination.saw(reply, sent_at, time.time())
        return reply

    async def send(request: Request, purpose: Purpose, history: list[Attempt]) -> Reply:
        with anyio.move_on_after(budget.remaining()):
            return await exchange(request, budget, purpose, history)
        raise http.seam.too_late(budget)

    async def token() -> AccessToken:
        with anyio.move_on_after(budget.remaining()):
            return await http.authorizer.token(Service.API, http.authorizer.api_scopes, budget, exchange)
        raise http.seam.too_late(budget)

    try:
        with observing(http.observer, "check"):
            return await _carry_out(http, examination, budget, send, token)
    except BaseException as error:
        forget_locals(error)
        raise


async def _carry_out(
    http: Caller | AsyncCaller,
    examination: Examination,
    budget: Budget,
    send: Callable[[Request, Purpose, list[Attempt]], Awaitable[Reply]],
    token: Callable[[], Awaitable[AccessToken]],
) -> CheckReport:
    """Send the requests of a check. In sync code, this coroutine never suspends, because its awaits block."""

    async def read(given: AccessToken | None, header: bytes) -> tuple[Reply, Call]:
        call = examination.call(budget, given)
        request = http.seam.request("GET", examination.path, {}, header)
        return await send(request, http.seam.purpose(call, examination.path), call.history), call

    async def compare() -> Reply | ThriveError:
        try:
            return (await read(None, _made_up(given)))[0]
        except ThriveError as error:
            return error

    http.authorizer.cache.forget_failures()  # a check reports the current state
    given: AccessToken | None = None
    if isinstance(examination.credentials, ClientCredentials):
        try:
            given = await token()
        except ThriveError as error:
            examination.token_failed(error)
            return examination.report()
        examination.token_given(given, http.authorizer.api_scopes)
    else:
        examination.no_token_needed()
    try:
        reply, call = await read(given, http.authorizer.header(given))
        if http.authorizer.is_stale(reply, given):
            renewed = await token()
            reply, call = await read(renewed, http.authorizer.header(renewed))
            http.authorizer.is_stale(reply, call.token)  # it remembers the rejection
    except ThriveError as error:
        examination.read(error)
        return examination.report()
    problem = _problem(reply, call, http)
    if examination.needs_comparison(problem):
        examination.compared(await compare())
    examination.read(problem, reply.request_id)
    return examination.report()
