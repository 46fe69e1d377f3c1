"""A sandbox that a test can program: its records, failures, requests, and clock."""

import datetime as dt
import functools
import itertools
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Unpack

import attrs

from thrive_learning._ids import validate_activity_id
from thrive_learning.client import AsyncThriveClient, SandboxOptions, ThriveClient
from thrive_learning.credentials import ClientAuth, ClientCredentials
from thrive_learning.models import Activity, ActivityFields, ActivityType
from thrive_learning.policies import RetryPolicy
from thrive_learning.regions import Region
from thrive_learning.sandbox import (
    API_URL,
    TOKEN_URL,
    WEBHOOKS_TOKEN_URL,
    Fault,
    FaultySandbox,
    Sandbox,
    SandboxRateLimit,
    SandboxReply,
    SandboxRequest,
    SandboxTransport,
    parse_fault,
)
from thrive_learning.sandbox.core import is_token_target

_numbers = itertools.count(1)
#: The date of the first record that a test makes. Each further one is a minute later.
_FIRST_DATE = dt.datetime(2026, 1, 1, 9, 0, tzinfo=dt.UTC)
_WITHOUT_WAITS = RetryPolicy(first_delay=0)


def make_activity(**fields: Unpack[ActivityFields]) -> Activity:
    """Create a valid and unique record, with the given fields.

    Args:
        **fields: The fields of `Activity` that matter to the test; None omits a field.

    Raises:
        InvalidIdError: The ID is not valid.
        TypeError: A field is unknown.
    """
    number = next(_numbers)
    made = Activity(
        id=f"fa4e{number:020x}",
        type=ActivityType.VIEWED,
        user=f"fa4e0000{number:016x}",
        date=_FIRST_DATE + number * dt.timedelta(minutes=1),
        context_id=f"fa4e0001{number:016x}",
        context_type="content",
        name=f"Example {number}",
    )
    activity = attrs.evolve(made, **fields)
    validate_activity_id(activity.id)
    return activity


class FakeClock:
    """The sandbox's clock, which moves only when a test moves it. It starts at the current time.

    The client has its own clock, which keeps running. It learns from a 401 that a token has expired, and
    requests another.
    """

    def __init__(self) -> None:
        self._now = time.time()

    def __call__(self) -> float:
        """Return the time in Unix seconds."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Advance the clock by a number of seconds."""
        self._now += seconds

    async def advance_async(self, seconds: float) -> None:
        """Advance the clock by a number of seconds, as an awaitable sleep."""
        self.advance(seconds)


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """A request to the sandbox, with the status of its response. The repr does not show headers and body.

    Args:
        method: The method, such as `GET`.
        path: The path and the query, as sent.
        headers: Values by lower-case name.
        body: The whole body.
        status_code: The status of the response.
        fault: The fault that the test requested, or None.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    status_code: int
    fault: Fault | None


@functools.cache
def _fresh() -> Sandbox:
    # A frozen value, so that all tests can share it.
    return Sandbox()


class ThriveSandbox(FaultySandbox):
    """A sandbox in this process that a test can program. The fixture is `thrive_sandbox`.

    At the start, it has the example records of every sandbox.

    Attributes:
        arrivals: The records that arrive after list requests, such as `arrivals.after_each_list = 3`.
        clock: The clock, which decides whether tokens have expired. Slow responses advance it without
            waiting.
        rate_limit: The rate limit, or None. `limit_rate` sets it.
        requests: All requests that the sandbox received.
        sandbox: The current `Sandbox`. Each change replaces it.
    """

    sandbox: Sandbox

    def __init__(self) -> None:
        super().__init__(_fresh())
        self.clock: FakeClock = FakeClock()
        self.requests: list[RecordedRequest] = []
        self._lock = threading.Lock()
        self._asked: list[Fault] = []
        self._revocations = itertools.count(1)

    @property
    def activity_requests(self) -> list[RecordedRequest]:
        """The requests to the API, without token requests."""
        return [request for request in self.requests if not is_token_target(request.path)]

    @property
    def token_requests(self) -> list[RecordedRequest]:
        """The token requests."""
        return [request for request in self.requests if is_token_target(request.path)]

    @property
    def credentials(self) -> ClientCredentials:
        """Credentials that the sandbox accepts, with one authentication method.

        So one fault of a token request is one failure. `client_auth="auto"` would try the other method.
        """
        core = self.sandbox
        client_auth = "post" if core.client_auth == "auto" else core.client_auth
        return ClientCredentials(core.tenant_id, core.client_id, core.client_secret, client_auth=client_auth)

    @property
    def region(self) -> Region:
        """The region of its clients, whose host never resolves."""
        return Region.custom(
            "sandbox", api_url=API_URL, token_url=TOKEN_URL, webhooks_token_url=WEBHOOKS_TOKEN_URL
        )

    def transport(self) -> SandboxTransport:
        """Return a transport for your own client, in any region."""
        return SandboxTransport(
            self, clock=self.clock, sleep=self.clock.advance, async_sleep=self.clock.advance_async
        )

    def client(self, **options: Unpack[SandboxOptions]) -> ThriveClient:
        """Create a client of the sandbox that retries without waiting.

        Args:
            **options: Keyword arguments of `ThriveClient`.
        """
        given: SandboxOptions = {"retry": _WITHOUT_WAITS, **options}
        return ThriveClient(self.region, self.credentials, transport=self.transport(), **given)

    def async_client(self, **options: Unpack[SandboxOptions]) -> AsyncThriveClient:
        """Create an async client of the sandbox that retries without waiting.

        Args:
            **options: Keyword arguments of `AsyncThriveClient`.
        """
        given: SandboxOptions = {"retry": _WITHOUT_WAITS, **options}
        return AsyncThriveClient(self.region, self.credentials, transport=self.transport(), **given)

    def add(self, activity: Activity | None = None, /, **fields: Unpack[ActivityFields]) -> Activity:
        """Add a record, which replaces one with the same ID.

        Args:
            activity: The record; None to create one.
            **fields: The fields of the new record, as for `make_activity`.

        Returns:
            The record.

        Raises:
            TypeError: Both a record and fields are passed, or a field is unknown.
            InvalidIdError: The ID is not valid.
        """
        if activity is not None and fields:
            raise TypeError("add() takes either a record or the fields of a new one, not both")
        added = make_activity(**fields) if activity is None else activity
        document = {validate_activity_id(added.id): added.to_dict()}
        with self._lock:
            self.sandbox = self.sandbox.with_records(document)
        return added

    def remove(self, activity_id: str) -> None:
        """Remove a record.

        Raises:
            KeyError: The sandbox has no record with this ID.
        """
        with self._lock:
            if activity_id.lower() not in self.sandbox.records:
                raise KeyError(activity_id)
            self.sandbox = self.sandbox.with_records({}, without=activity_id)

    def generate(self, count: int) -> None:
        """Replace all records with generated ones.

        They look like real ones, are the same each time, are dated from July 2025 to June 2026, and take no
        memory. `add()` adds to them.

        Args:
            count: The number of records, up to ten digits.

        Raises:
            ValueError: The number is negative or too large.
        """
        with self._lock:
            self.sandbox = replace(self.sandbox, records={}, generated=count)

    def arrive(self, count: int = 1, *, late: int = 0) -> list[str]:
        """Add new records, for example between two pages of a list.

        Args:
            count: The number of records dated now, by `clock`.
            late: The number of records dated from July 2025 to June 2026.

        Returns:
            The IDs of the records.
        """
        return [record["id"] for record in self.arrivals.arrive(count, late=late, now=self.clock())]

    def fail_next(self, fault: int | str = 500, times: int = 1, *, token: bool = False) -> None:
        """Make the next requests fail. A second call affects the requests after those.

        A test with the fixture `thrive_sandbox` fails at its end if no request was affected.

        Args:
            fault: A status, or a value of `thrive sandbox --fault`, such as `"slow:2s"` or `"throttle:5s"`.
            times: The maximum number of requests that fail.
            token: Whether token requests fail instead of API requests.

        Raises:
            ValueError: The fault is unknown. The message lists the known ones.
        """
        options = [str(fault), str(times), *(["token"] if token else [])]
        asked = parse_fault(":".join(options))
        self.script.add(asked)
        with self._lock:
            self._asked.append(asked)

    def limit_rate(self, per_second: float, burst: float | None = None) -> None:
        """Respond with 429 to API requests above a rate. `rate_limit = None` removes the limit.

        Time is `clock`, which moves only when a test moves it, so the limit first allows `burst` requests,
        and more after `clock.advance()`. A `SandboxRateLimit` as `rate_limit` has more options.

        Args:
            per_second: The requests per second.
            burst: How many requests may follow a quiet time at once; by default those of one second, but at
                least 1.

        Raises:
            ValueError: A number is out of range.
        """
        self.rate_limit: SandboxRateLimit | None = SandboxRateLimit(per_second, burst)

    @property
    def unused_faults(self) -> list[Fault]:
        """The faults of `fail_next` that have not affected any request.

        `script.clear()` removes them.
        """
        # The script has the same object until it affects a request, and then at most a changed copy.
        waiting = list(self.script)
        return [fault for fault in self._asked if any(fault is other for other in waiting)]

    def accept_client_auth(self, client_auth: ClientAuth) -> None:
        """Make the token endpoints accept only form fields (`"post"`) or only HTTP Basic (`"basic"`).

        Call this before `client()`, whose credentials use the same method.

        Args:
            client_auth: The accepted method; `"auto"` for both, which is the default.

        Raises:
            ValueError: The method is unknown.
        """
        with self._lock:
            self.sandbox = replace(self.sandbox, client_auth=client_auth)

    def revoke_tokens(self) -> None:
        """Reject all tokens that the sandbox has issued so far."""
        with self._lock:
            key = f"not-a-secret: revocation {next(self._revocations)}".encode()
            self.sandbox = replace(self.sandbox, signing_key=key)

    def reply(self, request: SandboxRequest, *, now: float) -> SandboxReply:
        """Respond to one request, and record it."""
        reply = super().reply(request, now=now)
        if reply.fault is not None:
            # clock-skew is queued for requests of both kinds, but one of them is enough.
            with self._lock:
                self._asked = [fault for fault in self._asked if fault is not reply.fault]
        self.requests.append(
            RecordedRequest(
                request.method,
                request.target,
                request.headers,
                request.body,
                reply.response.status,
                reply.fault,
            )
        )
        return reply


@dataclass(frozen=True, slots=True)
class ServedSandbox:
    """A sandbox on a local port. The fixture is `thrive_server`.

    Args:
        url: The URL of the server, without a slash at the end.
        sandbox: The same as the fixture `thrive_sandbox`. Here, slow responses really wait.
        region: The region for clients of the server.
        environ: The environment variables for a process that uses `from_env()`.
    """

    url: str
    sandbox: ThriveSandbox
    region: Region
    environ: Mapping[str, str] = field(repr=False)
