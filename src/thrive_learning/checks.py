"""Whether a client's settings work: what `client.check()` finds out, and how it says it.

What decides is in `Examination`, which moves no bytes; the two functions at the end do, and are twins.
"""

import datetime as dt
import email.utils
import enum
import os
import time
import urllib.parse
from typing import Any

import attrs
import httpx

from thrive_learning._http import AsyncHttpClient, Call, HttpClient, Options
from thrive_learning._outcome import Purpose, Reply, unexpected_response
from thrive_learning._transport import proxy_from_environment
from thrive_learning.credentials import BasicCredentials, ClientCredentials, Credentials, Scope
from thrive_learning.errors import NotFoundError, ThriveError, TokenError, UnauthorizedError
from thrive_learning.ids import activity_id as validated
from thrive_learning.models import AccessToken, read_activity
from thrive_learning.policies import Budget, Timeout
from thrive_learning.regions import Region, Service

#: How far this machine's clock may be from the server's before it is worth a warning. Seconds.
TOLERATED_CLOCK_SKEW_S = 30.0

#: An ID that no record has. The answer to it shows whether the credentials are accepted.
PROBE_ID = "0" * 24

_REGIONS = (Region.PRODUCTION, Region.STAGING, Region.PRODUCTION_MEA, Region.STAGING_MEA)
_SUCCESSES = frozenset({200})


class CheckStatus(enum.StrEnum):
    """What became of one part of a check."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@attrs.frozen(kw_only=True)
class CheckFinding:
    """One thing that a check found out.

    Attributes:
        subject: What it is about: `region`, `credentials`, `proxy`, `certificates`, `token`, `scopes`, `api`
            (or `record`, with an ID) or `clock`.
        status: What became of it.
        detail: What was found, and what to do about it; no secret is in it.
        error: The error of a call that failed.
    """

    subject: str
    status: CheckStatus
    detail: str
    error: ThriveError | None = attrs.field(default=None, eq=False, repr=False)


@attrs.frozen(kw_only=True)
class CheckReport:
    """What `client.check()` found out.

    Attributes:
        region: The region's name.
        findings: What was found, in the order in which it was looked at.
    """

    region: str
    findings: tuple[CheckFinding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing failed; there may be warnings."""
        return not any(finding.status is CheckStatus.FAILED for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Give the report as JSON can say it."""
        findings = [
            {"subject": finding.subject, "status": str(finding.status), "detail": finding.detail}
            for finding in self.findings
        ]
        return {"ok": self.ok, "region": self.region, "findings": findings}


class Examination:
    """What a check makes of what it sees. Pure: it moves no bytes.

    Args:
        region: The client's region.
        credentials: Its credentials.
        options: What it was told besides.
        transport: The transport that its caller injected, or None.
        activity_id: The record to read; None to ask for one that is not there.
    """

    def __init__(
        self,
        region: Region,
        credentials: Credentials,
        options: Options,
        transport: object,
        activity_id: str | None,
    ) -> None:
        self.region: Region = region
        self.credentials: Credentials = credentials
        self.activity_id: str | None = activity_id
        self.findings: list[CheckFinding] = []
        self._skew_s: float | None = None
        self._add("region", CheckStatus.OK, f"{region.name}: {', '.join(_hosts(region))}")
        self._add("credentials", CheckStatus.OK, _described(credentials))
        if transport is None:
            self._way_out(options)
        else:
            self._add("proxy", CheckStatus.SKIPPED, "the transport that the client was given decides")
            self._add("certificates", CheckStatus.SKIPPED, "the transport that the client was given decides")

    def _add(self, subject: str, status: CheckStatus, detail: str, error: ThriveError | None = None) -> None:
        if error is not None:
            error.__traceback__ = None  # its frames would live as long as the report
        self.findings.append(CheckFinding(subject=subject, status=status, detail=detail, error=error))

    def _way_out(self, options: Options) -> None:
        plain = self.region.api_url.startswith("http:")
        ways_out = {
            urllib.parse.urlsplit(url).netloc: options.proxy or proxy_from_environment(url)
            for url in self.region.urls
        }
        origin = "proxy=" if options.proxy else "the environment"
        shown = [f"{host} by {_without_password(way)}" for host, way in ways_out.items() if way]
        detail = f"{', '.join(shown)} (from {origin})" if shown else "none: straight to the region's hosts"
        self._add("proxy", CheckStatus.OK, detail)
        if plain:
            self._add("certificates", CheckStatus.SKIPPED, "plain HTTP to this machine needs none")
        elif options.verify is False:
            self._add("certificates", CheckStatus.WARNING, "verify=False trusts any server: for tests alone")
        elif options.verify is True:
            self._add("certificates", CheckStatus.OK, _authorities())
        else:
            self._add("certificates", CheckStatus.OK, "those of the ssl.SSLContext that the client was given")

    @property
    def subject(self) -> str:
        """What is read, in words."""
        return f"activity {self.activity_id or PROBE_ID}"

    def call(self, budget: Budget, token: AccessToken | None) -> Call:
        """Return the call that reads it."""
        call = Call(
            "activities.get", "activity", self.activity_id or PROBE_ID, budget, _SUCCESSES, read_activity
        )
        call.token = token
        return call

    @property
    def path(self) -> str:
        """The path of the record that is read."""
        return f"/activity/{self.activity_id or PROBE_ID}"

    def saw(self, reply: Reply, sent_at: float, received_at: float) -> None:
        """Compare the clock of a reply with this machine's.

        Args:
            reply: The reply.
            sent_at: When the first try of its request began, Unix seconds.
            received_at: When it was there.
        """
        try:
            date = email.utils.parsedate_to_datetime(reply.header(b"date") or "")
        except (ValueError, OverflowError):
            return
        # A date has whole seconds, and may be of any moment between the two.
        at = (date if date.tzinfo else date.replace(tzinfo=dt.UTC)).timestamp()
        self._skew_s = max(0.0, at - received_at) or min(0.0, at + 1 - sent_at)

    def token_given(self, token: AccessToken, wanted: tuple[Scope, ...]) -> None:
        """Note that there is a token, and what it allows."""
        remaining = token.expires_at - dt.datetime.now(dt.UTC)
        self._add(
            "token",
            CheckStatus.OK,
            f"the token endpoint gave one, valid for {remaining.total_seconds():.0f} s",
        )
        granted = token.scopes
        listed = ", ".join(granted) or "none"
        missing = [scope for scope in wanted if scope not in granted and Scope.ALL not in granted]
        if missing:
            detail = f"granted: {listed}; asked for and not granted: {', '.join(missing)}"
            self._add("scopes", CheckStatus.FAILED, detail)
        elif not {Scope.READ, Scope.ALL} & set(granted):
            detail = f"granted: {listed}; reading needs {Scope.READ} or {Scope.ALL}"
            self._add("scopes", CheckStatus.WARNING, detail)
        elif wanted and set(granted) - set(wanted):
            detail = f"granted: {listed}; asked for: {', '.join(wanted)}: the token allows more than that"
            self._add("scopes", CheckStatus.WARNING, detail)
        else:
            self._add("scopes", CheckStatus.OK, f"granted: {listed}")

    def no_token_needed(self) -> None:
        """Note that HTTP Basic goes without a token."""
        self._add("token", CheckStatus.SKIPPED, "HTTP Basic needs none")

    def token_failed(self, error: ThriveError) -> None:
        """Note that there is no token."""
        self._add("token", CheckStatus.FAILED, f"{error}{self._hint(error)}", error)

    def read(self, error: ThriveError | None, request_id: str | None = None) -> None:
        """Note what came of reading the record."""
        subject = "api" if self.activity_id is None else "record"
        quoted = f" (request id {request_id})" if request_id else ""
        if error is None:
            self._add(subject, CheckStatus.OK, f"{self.subject} can be read{quoted}")
        elif isinstance(error, NotFoundError) and self.activity_id is None:
            detail = f"it accepts the credentials; no record was asked for{quoted}"
            self._add(subject, CheckStatus.OK, detail)
        else:
            self._add(subject, CheckStatus.FAILED, f"{error}{self._hint(error)}", error)

    def _hint(self, error: ThriveError) -> str:
        """Say that the credentials may be another region's, where that would explain an error."""
        if not looks_like_another_region(error) or self.region not in _REGIONS:
            return ""
        others = ", ".join(region.name for region in _REGIONS if region != self.region)
        return f" If they were issued for another region ({others}), choose that one."

    def report(self) -> CheckReport:
        """Give what was found."""
        skew_s = self._skew_s
        if skew_s is None:
            self._add("clock", CheckStatus.SKIPPED, "no answer named the server's time")
        elif abs(skew_s) > TOLERATED_CLOCK_SKEW_S:
            side = "behind" if skew_s > 0 else "ahead of"
            detail = f"this machine's clock is {abs(skew_s):.0f} s {side} the server's: set it"
            self._add("clock", CheckStatus.WARNING, detail)
        else:
            self._add("clock", CheckStatus.OK, f"within {max(1.0, abs(skew_s)):.0f} s of the server's")
        return CheckReport(region=self.region.name, findings=tuple(self.findings))


def looks_like_another_region(error: ThriveError | None) -> bool:
    """Whether an error is what credentials get that were issued for another region."""
    if isinstance(error, TokenError):
        return error.error == "invalid_client" or error.status_code in {401, 404}
    return isinstance(error, UnauthorizedError)


def _hosts(region: Region) -> list[str]:
    return list(dict.fromkeys(urllib.parse.urlsplit(url).netloc for url in region.urls))


def _described(credentials: Credentials) -> str:
    if isinstance(credentials, BasicCredentials):
        return f"HTTP Basic, tenant {credentials.tenant_id}"
    return (
        f"OAuth, tenant {credentials.tenant_id}, client {credentials.client_id}, "
        f"client_auth {credentials.client_auth}"
    )


def _without_password(proxy: str) -> str:
    try:
        parts = urllib.parse.urlsplit(proxy)
        port = "" if parts.port is None else f":{parts.port}"
    except ValueError:
        return "a proxy whose URL is none"
    return f"{parts.scheme}://{parts.hostname}{port}"


def _authorities() -> str:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):  # the order in which httpx looks
        if value := os.environ.get(name):
            return f"{value} (from {name})"
    return "certifi's"


def _problem(reply: Reply, call: Call, http: HttpClient | AsyncHttpClient) -> ThriveError | None:
    """Give the error that a call with this reply would raise, or None if it is a record."""
    try:
        http.seam.accept(reply, call, http.authorizer)
    except ThriveError as error:
        return error
    problem = http.seam.rejection(call.reading)
    if problem is None:
        return None
    return unexpected_response(reply, http.authorizer.circumstances(call.subject, call.token), problem)


def checked_id(activity_id: str | None) -> str | None:
    """Give a valid ID or None.

    Raises:
        InvalidIdError: It is neither.
    """
    return None if activity_id is None else validated(activity_id)


def check(http: HttpClient, examination: Examination, timeout: Timeout | float | None) -> CheckReport:
    """Carry out a check with a sync client."""
    budget = http.seam.begin(timeout, None)
    http.authorizer.cache.forget_failures()  # a check reports what is, not what was

    def send(request: httpx.Request, limits: Budget, purpose: Purpose, call: Call | None = None) -> Reply:
        sent_at = time.time()
        reply = http.exchange(request, limits, purpose, call)
        examination.saw(reply, sent_at, time.time())
        return reply

    def read(token: AccessToken | None) -> tuple[Reply, Call]:
        call = examination.call(budget, token)
        request = http.seam.request("GET", examination.path, {}, http.authorizer.header(token))
        return send(request, budget, http.seam.purpose(call, examination.path), call), call

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
    else:
        examination.read(_problem(reply, call, http), reply.request_id)
    return examination.report()


async def check_async(
    http: AsyncHttpClient, examination: Examination, timeout: Timeout | float | None
) -> CheckReport:
    """Carry out a check with an async client."""
    import anyio  # noqa: PLC0415 - sync users need not pay for it

    budget = http.seam.begin(timeout, None)
    http.authorizer.cache.forget_failures()  # a check reports what is, not what was

    async def send(
        request: httpx.Request, limits: Budget, purpose: Purpose, call: Call | None = None
    ) -> Reply:
        sent_at = time.time()
        reply = await http.exchange(request, limits, purpose, call)
        examination.saw(reply, sent_at, time.time())
        return reply

    async def read(token: AccessToken | None) -> tuple[Reply, Call]:
        call = examination.call(budget, token)
        request = http.seam.request("GET", examination.path, {}, http.authorizer.header(token))
        return await send(request, budget, http.seam.purpose(call, examination.path), call), call

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
    else:
        examination.read(_problem(reply, call, http), reply.request_id)
    return examination.report()
