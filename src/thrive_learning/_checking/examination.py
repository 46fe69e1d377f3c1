"""Draws the conclusions of a check. It sends nothing; `run` does that."""

import datetime as dt
import os
import urllib.parse

from thrive_learning._budget import Budget
from thrive_learning._call.generated import GET_ACTIVITY
from thrive_learning._call.seam import Call, Options
from thrive_learning._exchange.reply import Reply, is_json_object
from thrive_learning._formats import http_date
from thrive_learning._http.port import parse_url
from thrive_learning._settings.proxies import choose_proxies, show_proxy
from thrive_learning.checks import CheckFinding, CheckReport, CheckStatus
from thrive_learning.credentials import BasicCredentials, Credentials, Scope
from thrive_learning.errors import (
    TRANSIENT_STATUS_CODES,
    ApiError,
    ConnectionFailedError,
    NotFoundError,
    ThriveError,
    TokenError,
    UnauthorizedError,
)
from thrive_learning.models import AccessToken
from thrive_learning.regions import Region

#: The clock skew above which a check warns, in seconds.
TOLERATED_CLOCK_SKEW_S = 30.0

#: An ID that no record has, for a check without an ID.
PROBE_ID = "0" * 24

_REJECTIONS = frozenset({401, 403})


class Examination:
    """Draws the conclusions of a check from what it is shown. Pure.

    Args:
        region: The client's region.
        credentials: The client's credentials.
        options: The other options of the client.
        transport: The transport that the caller passed, or None.
        activity_id: The record to read; None to request a record that does not exist.

    Attributes:
        path: The path of the requested record.
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
        self._requested_id = activity_id or PROBE_ID
        self.path: str = f"/activity/{self._requested_id}"
        self._options = options
        self._is_injected = transport is not None
        self._findings: list[CheckFinding] = []
        self._skew_s: float | None = None
        self._has_answer = False
        self._no_answer: ConnectionFailedError | None = None
        self._doubt: str = "the API was not reached"
        self._access: tuple[CheckStatus, str, ThriveError | None] = (
            CheckStatus.UNKNOWN,
            "not verified, because the API was not reached",
            None,
        )

    def _add(self, subject: str, status: CheckStatus, detail: str, error: ThriveError | None = None) -> None:
        self._findings.append(_finding(subject, status, detail, error))

    def _failed(self, subject: str, error: ThriveError) -> None:
        """Add an error as failed, or as unknown if the server is only busy."""
        is_busy = error.is_transient and not isinstance(error, ConnectionFailedError)
        status = CheckStatus.UNKNOWN if is_busy else CheckStatus.FAILED
        if isinstance(error, ConnectionFailedError):
            self._no_answer = error
        self._add(subject, status, f"{error}{self._hint(error)}", error)

    def _settings(self) -> list[CheckFinding]:
        """Return the findings about settings, which follow from their use."""
        hosts = f"{self.region.name}: {', '.join(_hosts(self.region))}"
        if self._doubt:
            region = _finding("region", CheckStatus.UNKNOWN, f"{hosts}; {self._doubt}")
        else:
            region = _finding("region", CheckStatus.OK, hosts)
        status, said, error = self._access
        access = _finding("credentials", status, f"{_described(self.credentials)}; {said}", error)
        return [region, access, *self._route()]

    def _route(self) -> list[CheckFinding]:
        if self._is_injected:
            detail = "the transport that was passed to the client decides"
            return [_finding(subject, CheckStatus.SKIPPED, detail) for subject in ("proxy", "certificates")]
        reason = self._no_answer.reason if self._no_answer is not None else None
        origins = [parse_url(url)[0] for url in self.region.urls]
        proxies = choose_proxies(origins, self._options.proxy)
        by_host = {origin.host: proxy for origin, proxy in proxies.items()}
        setting = "proxy=" if self._options.proxy else "the environment"
        shown = [f"{host} by {show_proxy(proxy)}" for host, proxy in by_host.items() if proxy]
        detail = (
            f"{', '.join(shown)} (from {setting})"
            if shown
            else "not used; connections go directly to the region's hosts"
        )
        proxy = self._by_use("proxy", detail, is_cause=(reason or "").startswith("proxy"))
        verify = self._options.verify
        if self.region.api_url.startswith("http:"):
            detail = "not needed for plain HTTP to this machine"
            certificates = _finding("certificates", CheckStatus.SKIPPED, detail)
        elif verify is False:
            detail = "verify=False trusts every server, so use it only in tests"
            certificates = _finding("certificates", CheckStatus.WARNING, detail)
        else:
            passed = "those of the ssl.SSLContext that was passed to the client"
            detail = _authorities() if verify is True else passed
            certificates = self._by_use("certificates", detail, is_cause=reason == "certificate")
        return [proxy, certificates]

    def _by_use(self, subject: str, detail: str, *, is_cause: bool) -> CheckFinding:
        """Return a finding about something that every response passes through."""
        if is_cause:
            return _finding(subject, CheckStatus.FAILED, detail, self._no_answer)
        if self._has_answer:
            return _finding(subject, CheckStatus.OK, detail)
        return _finding(subject, CheckStatus.UNKNOWN, f"{detail}; no response arrived that way")

    def call(self, budget: Budget, token: AccessToken | None) -> Call:
        """Return the call that requests the record."""
        call = Call(GET_ACTIVITY, {"id": self._requested_id}, budget)
        call.token = token
        return call

    def saw(self, reply: Reply, sent_at: float, received_at: float) -> None:
        """Add that a server responded, and compare its clock with this machine's.

        Args:
            reply: The reply.
            sent_at: When the first attempt of its request began, in Unix seconds.
            received_at: When the reply arrived, in Unix seconds.
        """
        self._has_answer = True
        date = http_date(reply.only_value(b"date"))
        if date is None:
            return
        # A date has whole seconds, and may be of any moment between sending and receiving.
        at = date.timestamp()
        self._skew_s = max(0.0, at - received_at) or min(0.0, at + 1 - sent_at)

    def token_given(self, token: AccessToken, wanted: tuple[Scope, ...]) -> None:
        """Add that a token was issued, and its scopes."""
        left_s = (token.expires_at - dt.datetime.now(dt.UTC)).total_seconds()
        self._add("token", CheckStatus.OK, f"the token endpoint issued one, valid for {left_s:.0f} s")
        granted = token.scopes
        listed = ", ".join(granted) or "none"
        missing = [scope for scope in wanted if scope not in granted and Scope.ALL not in granted]
        if missing:
            detail = f"granted: {listed}; requested but not granted: {', '.join(missing)}"
            self._add("scopes", CheckStatus.FAILED, detail)
        elif not {Scope.READ, Scope.ALL} & set(granted):
            detail = f"granted: {listed}; reading needs {Scope.READ} or {Scope.ALL}"
            self._add("scopes", CheckStatus.WARNING, detail)
        elif wanted and set(granted) - set(wanted):
            detail = f"granted: {listed}; more than requested ({', '.join(wanted)})"
            self._add("scopes", CheckStatus.WARNING, detail)
        else:
            self._add("scopes", CheckStatus.OK, f"granted: {listed}")

    def no_token_needed(self) -> None:
        """Add that HTTP Basic needs no token."""
        self._add("token", CheckStatus.SKIPPED, "not needed for HTTP Basic")

    def token_failed(self, error: ThriveError) -> None:
        """Add that no token was issued, so nothing was read."""
        self._failed("token", error)
        if isinstance(error, TokenError) and _rejects_credentials(error):
            self._access = CheckStatus.FAILED, "the token endpoint does not accept them", error
        elif isinstance(error, TokenError):
            self._access = CheckStatus.UNKNOWN, "not verified, because no token was issued", None
        for subject in ("scopes", "api" if self.activity_id is None else "record"):
            self._add(subject, CheckStatus.SKIPPED, "not reached, because no token was issued")

    def needs_comparison(self, error: ThriveError | None) -> bool:
        """Return whether a comparison with made-up credentials is needed to interpret this result."""
        return error is None or isinstance(error, NotFoundError)

    def compared(self, outcome: Reply | ThriveError) -> None:
        """Add the outcome of the same request with made-up credentials."""
        comparison = "the comparison with made-up credentials got"
        if isinstance(outcome, ThriveError):
            why = f"{comparison} no response"
        elif outcome.status_code in _REJECTIONS and is_json_object(outcome):
            self._access = CheckStatus.OK, "the API accepts them, and rejects made-up ones", None
            return
        elif outcome.status_code in _REJECTIONS:
            why = f"{comparison} status {outcome.status_code} without JSON, as from a proxy or a firewall"
        elif outcome.status_code in TRANSIENT_STATUS_CODES:
            why = f"{comparison} status {outcome.status_code}"
        else:
            why = f"the server accepts made-up credentials as well (status {outcome.status_code})"
        self._access = CheckStatus.UNKNOWN, f"not verified, because {why}", None

    def read(self, error: ThriveError | None, request_id: str | None = None) -> None:
        """Add the outcome of reading the record, after `compared` if a comparison was needed."""
        subject = "api" if self.activity_id is None else "record"
        shown_id = f" (request ID {request_id})" if request_id else ""
        if error is None or (isinstance(error, ApiError) and error.in_api_format):
            self._doubt = ""
        elif not isinstance(error, ConnectionFailedError):
            self._doubt = "the response was not in the API's own format"
        is_verified = self._access[0] is CheckStatus.OK
        if error is None:
            self._add(subject, CheckStatus.OK, f"activity {self._requested_id} can be read{shown_id}")
        elif isinstance(error, NotFoundError) and self.activity_id is None:
            if is_verified:
                self._add(subject, CheckStatus.OK, f"it responds in its own format{shown_id}")
            else:
                self._doubt = "the server that responded may not be the API"
                detail = f"a server that may not be the API responded 404 in the API's format{shown_id}"
                self._add(subject, CheckStatus.UNKNOWN, detail)
        else:
            self._failed(subject, error)
            if not self.needs_comparison(error):
                self._access = self._access_after(error)

    def _access_after(self, error: ThriveError) -> tuple[CheckStatus, str, ThriveError | None]:
        """Return what an error implies about the credentials."""
        if isinstance(error, ConnectionFailedError):
            return self._access
        if self._doubt:
            said = "not verified, because the response was not in the API's own format"
            return CheckStatus.UNKNOWN, said, None
        if isinstance(error, UnauthorizedError):
            return CheckStatus.FAILED, "the API does not accept them", error
        return CheckStatus.UNKNOWN, "not verified, because the API did not return a record", None

    def _hint(self, error: ThriveError) -> str:
        """Return advice to try another region, if that would explain an error."""
        if not looks_like_another_region(error) or self.region not in Region.VENDOR:
            return ""
        others = ", ".join(region.name for region in Region.VENDOR if region != self.region)
        return f" If they were issued for another region ({others}), choose that one."

    def report(self) -> CheckReport:
        """Return the report."""
        skew_s = self._skew_s
        if skew_s is None:
            self._add("clock", CheckStatus.SKIPPED, "no response had the server's time")
        elif abs(skew_s) > TOLERATED_CLOCK_SKEW_S:
            side = "behind" if skew_s > 0 else "ahead of"
            detail = f"this machine's clock is {abs(skew_s):.0f} s {side} the server's. Set it"
            self._add("clock", CheckStatus.WARNING, detail)
        else:
            self._add("clock", CheckStatus.OK, f"within {max(1.0, abs(skew_s)):.0f} s of the server's")
        return CheckReport(region=self.region.name, findings=(*self._settings(), *self._findings))


def _finding(
    subject: str, status: CheckStatus, detail: str, error: ThriveError | None = None
) -> CheckFinding:
    if error is not None:
        error.__traceback__ = None  # its frames would live as long as the report
    return CheckFinding(subject=subject, status=status, detail=detail, error=error)


def _rejects_credentials(error: TokenError) -> bool:
    """Return whether a token endpoint rejects the client with its own error, and not with a gateway's."""
    return error.error in {"invalid_client", "unauthorized_client", "unauthorized"}


def looks_like_another_region(error: ThriveError | None) -> bool:
    """Return whether credentials of another region would explain an error."""
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


def _authorities() -> str:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):  # the order in which httpx looks
        if value := os.environ.get(name):
            return f"{value} (from {name})"
    return "certifi's"
