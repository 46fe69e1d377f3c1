"""Carries out `client.check()`: sends its requests, and shows `checks.Examination` what comes back."""

import secrets
import time

from thrive_learning._auth.masking import basic_header
from thrive_learning._budget import Budget
from thrive_learning._call.seam import AsyncCaller, Call, Caller
from thrive_learning._checking.examination import Examination
from thrive_learning._exchange.messages import Purpose, unexpected_response
from thrive_learning._exchange.reply import Reply
from thrive_learning._http.port import Request
from thrive_learning._ids import activity_id as validated
from thrive_learning.checks import CheckReport
from thrive_learning.credentials import ClientCredentials
from thrive_learning.errors import Attempt, ThriveError
from thrive_learning.models import AccessToken
from thrive_learning.policies import Timeout
from thrive_learning.regions import Service


def _problem(reply: Reply, call: Call, http: Caller | AsyncCaller) -> ThriveError | None:
    """Give the error that a call with this reply would raise, or None if it is a record."""
    try:
        http.seam.accept(reply, call, http.authorizer)
    except ThriveError as error:
        return error
    problem = http.seam.rejection(call.reading)
    if problem is None:
        return None
    return unexpected_response(reply, http.authorizer.circumstances(call.subject, call.token), problem)


def _made_up(token: AccessToken | None) -> bytes:
    """Return an Authorization header that no server accepts which looks at credentials at all.

    It has the scheme of the client's own. User name and password are new each time, so that nobody can have
    them, and no user of the vendor is locked out.
    """
    name, password = secrets.token_hex(8), secrets.token_urlsafe(24)
    if token is not None:
        return f"Bearer {password}".encode("ascii")
    return basic_header(f"made-up-{name}", password).encode("ascii")


def checked_id(activity_id: str | None) -> str | None:
    """Give a valid ID or None.

    Raises:
        InvalidIdError: It is neither.
    """
    return None if activity_id is None else validated(activity_id)


def check(  # noqa: C901 - its inner functions count
    http: Caller, examination: Examination, timeout: Timeout | float | None
) -> CheckReport:
    """Carry out a check with a sync client."""
    budget = http.seam.begin(timeout, None)
    http.authorizer.cache.forget_failures()  # a check reports what is, not what was

    def send(
        request: Request, limits: Budget, purpose: Purpose, history: list[Attempt] | None = None
    ) -> Reply:
        sent_at = time.time()
        reply = http.attempts.exchange(request, limits, purpose, history)
        examination.saw(reply, sent_at, time.time())
        return reply

    def read(token: AccessToken | None) -> tuple[Reply, Call]:
        call = examination.call(budget, token)
        request = http.seam.request("GET", examination.path, {}, http.authorizer.header(token))
        return send(request, budget, http.seam.purpose(call, examination.path), call.history), call

    def compare() -> Reply | ThriveError:
        call = examination.call(budget, None)
        request = http.seam.request("GET", examination.path, {}, _made_up(given))
        try:
            return send(request, budget, http.seam.purpose(call, examination.path), call.history)
        except ThriveError as error:
            return error

    def token() -> AccessToken:
        return http.authorizer.token(Service.API, http.authorizer.api_scopes, budget, send)

    given: AccessToken | None = None
    if isinstance(examination.credentials, ClientCredentials):
        try:
            given = token()
        except ThriveError as error:
            examination.token_failed(error)
            return examination.report()
        examination.token_given(given, http.authorizer.api_scopes)
    else:
        examination.no_token_needed()
    try:
        reply, call = read(given)
        if http.authorizer.is_stale(reply, given):
            reply, call = read(token())
            http.authorizer.is_stale(reply, call.token)  # which is remembered
    except ThriveError as error:
        examination.read(error)
        return examination.report()
    problem = _problem(reply, call, http)
    if examination.needs_comparison(problem):
        examination.compared(compare())
    examination.read(problem, reply.request_id)
    return examination.report()


async def check_async(  # noqa: C901 - its inner functions count
    http: AsyncCaller, examination: Examination, timeout: Timeout | float | None
) -> CheckReport:
    """Carry out a check with an async client."""
    import anyio  # noqa: PLC0415 - sync users need not pay for it

    budget = http.seam.begin(timeout, None)
    http.authorizer.cache.forget_failures()  # a check reports what is, not what was

    async def send(
        request: Request, limits: Budget, purpose: Purpose, history: list[Attempt] | None = None
    ) -> Reply:
        sent_at = time.time()
        reply = await http.attempts.exchange(request, limits, purpose, history)
        examination.saw(reply, sent_at, time.time())
        return reply

    async def read(token: AccessToken | None) -> tuple[Reply, Call]:
        call = examination.call(budget, token)
        request = http.seam.request("GET", examination.path, {}, http.authorizer.header(token))
        return await send(request, budget, http.seam.purpose(call, examination.path), call.history), call

    async def compare() -> Reply | ThriveError:
        call = examination.call(budget, None)
        request = http.seam.request("GET", examination.path, {}, _made_up(given))
        try:
            with anyio.move_on_after(budget.remaining()):
                return await send(request, budget, http.seam.purpose(call, examination.path), call.history)
        except ThriveError as error:
            return error
        return http.seam.too_late(budget)

    async def token() -> AccessToken:
        with anyio.move_on_after(budget.remaining()):
            return await http.authorizer.token(Service.API, http.authorizer.api_scopes, budget, send)
        raise http.seam.too_late(budget)

    async def read_in_time(given: AccessToken | None) -> tuple[Reply, Call]:
        with anyio.move_on_after(budget.remaining()):
            return await read(given)
        raise http.seam.too_late(budget)

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
        reply, call = await read_in_time(given)
        if http.authorizer.is_stale(reply, given):
            reply, call = await read_in_time(await token())
            http.authorizer.is_stale(reply, call.token)  # which is remembered
    except ThriveError as error:
        examination.read(error)
        return examination.report()
    problem = _problem(reply, call, http)
    if examination.needs_comparison(problem):
        examination.compared(await compare())
    examination.read(problem, reply.request_id)
    return examination.report()
