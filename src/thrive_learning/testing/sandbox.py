"""A sandbox that a test can program: its records, its failures, what it was asked, its clock."""

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
    SandboxReply,
    SandboxRequest,
    SandboxTransport,
    parse_fault,
)
from thrive_learning.sandbox.core import is_token_target

_numbers = itertools.count(1)
#: The date of the first record that is made; each further one is a minute later.
_FIRST_DATE = dt.datetime(2026, 1, 1, 9, 0, tzinfo=dt.UTC)
_WITHOUT_WAITS = RetryPolicy(first_delay=0)


def make_activity(**fields: Unpack[ActivityFields]) -> Activity:
    """Make a record that is valid and like no other, but for what is given.

    Args:
        **fields: Those of `Activity` that matter to the test; None leaves a field out.

    Raises:
        InvalidIdError: The ID is none.
        TypeError: There is no such field.
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
    """The sandbox's clock: it stands still until a test moves it. It starts at the time of its creation.

    The client has a clock of its own, which goes on: it learns from a 401 that a token expired, and gets
    another.
    """

    def __init__(self) -> None:
        self._now = time.time()

    def __call__(self) -> float:
        """Give the time in Unix seconds."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let so many seconds pass."""
        self._now += seconds

    async def advance_async(self, seconds: float) -> None:
        """Let so many seconds pass, for those who await a sleep."""
        self.advance(seconds)


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """A request that the sandbox got, and what it answered. Its repr shows no header and no body.

    Args:
        method: The method, such as `GET`.
        path: The path and the query, as sent.
        headers: Values by lower-case name.
        body: The whole body.
        status_code: The status of the answer.
        fault: What went wrong because the test asked for it, or None.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    status_code: int
    fault: Fault | None


@functools.cache
def _fresh() -> Sandbox:
    # A frozen value, which each test can begin with.
    return Sandbox()


class ThriveSandbox(FaultySandbox):
    """A sandbox in this process that a test can program. Found as the fixture `thrive_sandbox`.

    It holds the records that every sandbox holds from the start.

    Attributes:
        arrivals: The records that arrive after list requests: `arrivals.after_each_list = 3`.
        clock: Tokens expire by it; slow answers move it and take no time.
        requests: Every request that it got.
        sandbox: What it is at the moment; each change puts another one here.
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
        """The requests to the API, without those for tokens."""
        return [request for request in self.requests if not is_token_target(request.path)]

    @property
    def token_requests(self) -> list[RecordedRequest]:
        """The requests for tokens."""
        return [request for request in self.requests if is_token_target(request.path)]

    @property
    def credentials(self) -> ClientCredentials:
        """Credentials that it accepts, with one way of authenticating.

        So one fault of a token request is one failure. `client_auth="auto"` would try the other way.
        """
        core = self.sandbox
        client_auth = "post" if core.client_auth == "auto" else core.client_auth
        return ClientCredentials(core.tenant_id, core.client_id, core.client_secret, client_auth=client_auth)

    @property
    def region(self) -> Region:
        """Where its clients believe it to be: a host that nothing can reach."""
        return Region.custom(
            "sandbox", api_url=API_URL, token_url=TOKEN_URL, webhooks_token_url=WEBHOOKS_TOKEN_URL
        )

    def transport(self) -> SandboxTransport:
        """Give a transport for a client of your own, whatever its region."""
        return SandboxTransport(
            self, clock=self.clock, sleep=self.clock.advance, async_sleep=self.clock.advance_async
        )

    def client(self, **options: Unpack[SandboxOptions]) -> ThriveClient:
        """Create a client of it, which tries again without waiting.

        Args:
            **options: Keyword arguments of `ThriveClient`.
        """
        given: SandboxOptions = {"retry": _WITHOUT_WAITS, **options}
        return ThriveClient(self.region, self.credentials, transport=self.transport(), **given)

    def async_client(self, **options: Unpack[SandboxOptions]) -> AsyncThriveClient:
        """Create an async client of it, which tries again without waiting.

        Args:
            **options: Keyword arguments of `AsyncThriveClient`.
        """
        given: SandboxOptions = {"retry": _WITHOUT_WAITS, **options}
        return AsyncThriveClient(self.region, self.credentials, transport=self.transport(), **given)

    def add(self, activity: Activity | None = None, /, **fields: Unpack[ActivityFields]) -> Activity:
        """Let it hold a record, in the place of one with the same ID.

        Args:
            activity: The record; None for a new one.
            **fields: What the new one has, as for `make_activity`.

        Returns:
            The record.

        Raises:
            TypeError: A record and fields are given, or there is no such field.
            InvalidIdError: The ID is none.
        """
        if activity is not None and fields:
            raise TypeError("add() takes a record, or fields of a new one: give one of the two")
        added = make_activity(**fields) if activity is None else activity
        document = {validate_activity_id(added.id): added.to_dict()}
        with self._lock:
            self.sandbox = self.sandbox.with_records(document)
        return added

    def remove(self, activity_id: str) -> None:
        """Let it no longer hold a record.

        Raises:
            KeyError: It holds none with this ID.
        """
        with self._lock:
            if activity_id.lower() not in self.sandbox.records:
                raise KeyError(activity_id)
            self.sandbox = self.sandbox.with_records({}, without=activity_id)

    def generate(self, count: int) -> None:
        """Let it hold so many generated records, and no other.

        They look like real ones, are the same each time, are dated from July 2025 to June 2026, and take no
        memory. `add()` adds to them.

        Args:
            count: How many, up to ten digits.

        Raises:
            ValueError: There cannot be so many.
        """
        with self._lock:
            self.sandbox = replace(self.sandbox, records={}, generated=count)

    def arrive(self, count: int = 1, *, late: int = 0) -> list[str]:
        """Let records arrive now, such as between two pages of a list.

        Args:
            count: How many are dated now, by `clock`.
            late: How many are dated somewhere from July 2025 to June 2026.

        Returns:
            Their IDs.
        """
        return [record["id"] for record in self.arrivals.arrive(count, late=late, now=self.clock())]

    def fail_next(self, fault: int | str = 500, times: int = 1, *, token: bool = False) -> None:
        """Let the next requests fail. A second call is about the requests after those.

        A test that uses the fixture `thrive_sandbox` fails at its end if no request has met the fault.

        Args:
            fault: A status, or what `thrive sandbox --fault` takes, such as `"slow:2s"` or `"throttle:5s"`.
            times: How many requests fail, at most.
            token: Whether requests for tokens fail, and not those to the API.

        Raises:
            ValueError: There is no such fault. The message lists the faults that exist.
        """
        options = [str(fault), str(times), *(["token"] if token else [])]
        asked = parse_fault(":".join(options))
        self.script.add(asked)
        with self._lock:
            self._asked.append(asked)

    @property
    def unused_faults(self) -> list[Fault]:
        """The faults that `fail_next` was asked for, and that no request has met.

        `script.clear()` drops them.
        """
        # The script holds a fault itself until a request meets it, and then at most a changed copy.
        waiting = list(self.script)
        return [fault for fault in self._asked if any(fault is other for other in waiting)]

    def accept_client_auth(self, client_auth: ClientAuth) -> None:
        """Let its token endpoints accept clients by form fields (`"post"`) or HTTP Basic (`"basic"`) only.

        Call it before `client()`, whose credentials follow it.

        Args:
            client_auth: The way to accept; `"auto"` for both, as at the start.

        Raises:
            ValueError: There is no such way.
        """
        with self._lock:
            self.sandbox = replace(self.sandbox, client_auth=client_auth)

    def revoke_tokens(self) -> None:
        """Let it accept none of the tokens that it gave so far."""
        with self._lock:
            key = f"not-a-secret: revocation {next(self._revocations)}".encode()
            self.sandbox = replace(self.sandbox, signing_key=key)

    def reply(self, request: SandboxRequest, *, now: float) -> SandboxReply:
        """Answer one request, and remember it."""
        reply = super().reply(request, now=now)
        if reply.fault is not None:  # clock-skew waits for requests of both kinds, and one is enough
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
    """A sandbox on a port of this machine. Found as the fixture `thrive_server`.

    Args:
        url: Where it is, without a slash at its end.
        sandbox: The same as the fixture `thrive_sandbox`. Its slow answers take their time here.
        region: For clients of it.
        environ: The variables for a process whose client comes from `from_env()`.
    """

    url: str
    sandbox: ThriveSandbox
    region: Region
    environ: Mapping[str, str] = field(repr=False)
