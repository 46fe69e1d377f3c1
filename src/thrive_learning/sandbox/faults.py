"""What goes wrong in front of a sandbox because somebody asked for it: per request, or by a script.

A fault is written as `name[:option…]`, such as `503`, `429:3`, `slow:2s` or `401:1:token`; the table `KINDS`
lists the names. The options, in any order:

- a number: for so many requests; without it, for all that follow
- a duration such as `500ms`, `2s`, `5m` or `-1h`, where the fault has one
- `token`: requests to the token endpoints instead of those to the API
"""

import math
import re
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from http import HTTPStatus

from thrive_learning.sandbox.core import Sandbox, is_token_target
from thrive_learning.sandbox.messages import (
    BASIC_CHALLENGE,
    SandboxRequest,
    SandboxResponse,
    completed,
    error_response,
    insufficient_scope,
    invalid_token,
    json_response,
    phrase,
)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault.

    Args:
        meaning: What it does, for help texts.
        duration: What its duration says; nothing if it takes none.
        default_s: Its duration in seconds when none is given.
        for_tokens: Whether requests to the token endpoints can.
    """

    meaning: str
    duration: str = ""
    default_s: float | None = None
    for_tokens: bool = True


#: The kinds by name. A status stands for itself.
KINDS = {
    "400…599": Kind("an error with this status", "Retry-After, in whole seconds"),
    "throttle": Kind("429 with Retry-After", "Retry-After, in whole seconds", 1.0),
    "slow": Kind("the right answer, late", "how long it takes", 1.0),
    "cut": Kind("the connection ends in the middle of the body"),
    "html": Kind("502 with a page of HTML, as a proxy's"),
    "expired-token": Kind("401, the access token expired", for_tokens=False),
    "revoked-token": Kind("401, the access token was revoked", for_tokens=False),
    "wrong-scope": Kind("403, the access token does not allow it", for_tokens=False),
    "clock-skew": Kind("the server's clock is wrong", "how far it is ahead; behind if negative", 300.0),
}
_STATUSES = "400…599"
_STATUS = re.compile(r"[45]\d\d", re.ASCII)
_TIMES = re.compile(r"\d{1,9}", re.ASCII)
_DURATION = re.compile(r"(-?\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h)", re.ASCII)
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_LONGEST_S = 366 * 86_400.0  # far beyond it, clock-skew would leave the calendar
#: One preference of the list in `Prefer`. Its alternatives begin with different characters, so that it takes
#: linear time on any text.
_PREFERENCE = re.compile(r'(?:[^",]|"(?:[^"\\]|\\.)*"?)+', re.DOTALL)

_HTML = b"""<!doctype html>
<html><head><title>502 Bad Gateway</title></head>
<body><center><h1>502 Bad Gateway</h1></center><hr><center>sandbox</center></body></html>
"""


@dataclass(frozen=True, slots=True)
class SandboxReply:
    """A response, and how it is sent.

    Args:
        response: What is sent.
        delay_s: How long the server waits before it sends.
        is_cut: Whether the connection ends in the middle of the body.
        fault: What went wrong; None for the right answer.
    """

    response: SandboxResponse
    delay_s: float = 0.0
    is_cut: bool = False
    fault: "Fault | None" = None


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong. `parse_fault` makes it of text, `str()` gives that text.

    Args:
        name: One of `KINDS`, or a status between 400 and 599.
        duration_s: What the kind says that it is, in seconds; None where it has none.
        times: For how many requests; None for all that follow.
        for_tokens: Whether it meets requests to the token endpoints, and not those to the API.
    """

    name: str
    duration_s: float | None = None
    times: int | None = None
    for_tokens: bool = False

    def __str__(self) -> str:
        given = self.duration_s is not None and self.duration_s != _kind(self.name).default_s
        options = [
            *([f"{self.duration_s:.12g}s"] if given else []),
            *([str(self.times)] if self.times is not None else []),
            *(["token"] if self.for_tokens else []),
        ]
        return ":".join([self.name, *options])

    def reply(self, sandbox: Sandbox, request: SandboxRequest, *, now: float) -> SandboxReply:
        """Answer one request as this fault has it.

        Args:
            sandbox: What would answer it otherwise.
            request: Any request.
            now: The time in Unix seconds.
        """
        duration_s = self.duration_s or 0.0
        match self.name:
            case "slow":
                return SandboxReply(sandbox.respond(request, now=now), delay_s=duration_s, fault=self)
            case "cut":
                return SandboxReply(sandbox.respond(request, now=now), is_cut=True, fault=self)
            case "clock-skew":
                return SandboxReply(sandbox.respond(request, now=now + duration_s), fault=self)
            case _:
                return SandboxReply(completed(self._refusal(request), request, now), fault=self)

    def _refusal(self, request: SandboxRequest) -> SandboxResponse:
        match self.name:
            case "html":
                length = str(len(_HTML))
                headers = {"content-type": "text/html; charset=utf-8", "content-length": length}
                return SandboxResponse(HTTPStatus.BAD_GATEWAY, headers, _HTML)
            case "expired-token":
                return invalid_token("The access token expired")
            case "revoked-token":
                return invalid_token("The access token was revoked")
            case "wrong-scope":
                return insufficient_scope()
            case name:
                status = HTTPStatus.TOO_MANY_REQUESTS if name == "throttle" else int(name)
                return self._error(status, is_token=is_token_target(request.target))

    def _error(self, status: int, *, is_token: bool) -> SandboxResponse:
        headers: dict[str, str] = {}
        if self.duration_s is not None:
            headers["retry-after"] = str(math.ceil(self.duration_s))
        if status == HTTPStatus.UNAUTHORIZED:
            headers["www-authenticate"] = BASIC_CHALLENGE
        message = f"{phrase(status)}, as the fault {self} has it"
        if is_token:
            # RFC 6749, section 5.2, which has no names for the failures of a server.
            errors = {401: "invalid_client", 403: "unauthorized_client"}
            error = errors.get(status, "invalid_request" if status < 500 else "temporarily_unavailable")  # noqa: PLR2004
            body = {"error": error, "error_description": message}
            return json_response(status, body, {**headers, "cache-control": "no-store"})
        return error_response(status, message, headers)


def parse_fault(text: str) -> Fault:
    """Read a fault such as `429:3` or `slow:2s`.

    Raises:
        ValueError: It is none; the message says what is wrong and what would be right.
    """
    name, *options = text.strip().lower().split(":")
    if not _STATUS.fullmatch(name) and (name not in KINDS or name == _STATUSES):
        import difflib  # noqa: PLC0415 - for mistakes only

        known = [kind for kind in KINDS if kind != _STATUSES]
        near = difflib.get_close_matches(name[:40], known, n=1)
        question = f". Did you mean {near[0]!r}?" if near else ""
        names = ", ".join(["a status from 400 to 599", *known])
        raise _no_fault(text, f"{name[:40]!r} is not one of {names}{question}")
    fault = Fault(name)
    for option in options:
        fault = _with_option(fault, option, text)
    kind = _kind(name)
    if fault.for_tokens and not kind.for_tokens:
        raise _no_fault(text, f"{name} is for requests with an access token, and hence not for 'token'")
    if fault.duration_s is None:
        fault = replace(fault, duration_s=kind.default_s)
    return fault


def _with_option(fault: Fault, option: str, text: str) -> Fault:
    if option == "token" and not fault.for_tokens:
        return replace(fault, for_tokens=True)
    if _TIMES.fullmatch(option) and fault.times is None:
        if int(option) == 0:
            raise _no_fault(text, "it would never happen: the number of requests begins at 1")
        return replace(fault, times=int(option))
    duration = _DURATION.fullmatch(option)
    if duration and fault.duration_s is None:
        seconds = round(float(duration[1]) * _UNITS_S[duration[2]], 3)
        if not _kind(fault.name).duration:
            raise _no_fault(text, f"{fault.name} takes no duration such as {option!r}")
        if seconds < 0 and fault.name != "clock-skew":
            raise _no_fault(text, f"{option!r} is negative, which only clock-skew may be")
        if abs(seconds) > _LONGEST_S:
            raise _no_fault(text, f"{option!r} is longer than a year")
        return replace(fault, duration_s=seconds)
    raise _no_fault(
        text,
        f"{option[:40]!r} is not an option, or stands there twice: a number of requests such as 3, "
        "a duration such as 500ms, 2s, 5m or 1h, or token",
    )


def _no_fault(text: str, problem: str) -> ValueError:
    return ValueError(f"{text[:80]!r} is not a fault: {problem}")


def _kind(name: str) -> Kind:
    return KINDS.get(name) or KINDS[_STATUSES]


class FaultScript:
    """Decides which requests go wrong, and how: the faults in their order, each as often as it says.

    Requests to the API and to the token endpoints are counted apart. `clock-skew` is for both, unless it says
    `token`: a server has one clock. Threads may share a script.

    Args:
        faults: `Fault`s, or what `parse_fault` reads.

    Raises:
        ValueError: A text is no fault, or a fault would never come because the one before it never ends.
    """

    def __init__(self, faults: Iterable[Fault | str] = ()) -> None:
        self._lock = threading.Lock()
        self._faults: dict[bool, deque[Fault]] = {True: deque(), False: deque()}
        for fault in faults:
            self.add(fault)

    def add(self, fault: Fault | str) -> None:
        """Let a fault follow those that are there.

        Raises:
            ValueError: As for the class.
        """
        fault = parse_fault(fault) if isinstance(fault, str) else fault
        queues = [self._faults[fault.for_tokens]]
        if fault.name == "clock-skew" and not fault.for_tokens:
            queues.append(self._faults[True])
        with self._lock:
            for queue in queues:
                if queue and queue[-1].times is None:
                    raise ValueError(
                        f"the fault {fault} would never come, since {queue[-1]} is for all requests: "
                        f"give it a number, as in {queue[-1]}:1"
                    )
            for queue in queues:
                queue.append(fault)

    def next_fault(self, *, is_token: bool) -> Fault | None:
        """Give what goes wrong with the next request, or None.

        Args:
            is_token: Whether it goes to a token endpoint.
        """
        with self._lock:
            queue = self._faults[is_token]
            if not queue:
                return None
            fault = queue[0]
            if fault.times == 1:
                queue.popleft()
            elif fault.times is not None:
                queue[0] = replace(fault, times=fault.times - 1)
            return fault

    def clear(self) -> None:
        """Forget all faults that have not happened."""
        with self._lock:
            for queue in self._faults.values():
                queue.clear()

    def __iter__(self) -> Iterator[Fault]:
        with self._lock:
            return iter([*self._faults[False], *self._faults[True]])

    def __getstate__(self) -> dict[bool, deque[Fault]]:
        # Without the lock, so that the client of a sandbox can travel to another process.
        with self._lock:
            return {is_token: queue.copy() for is_token, queue in self._faults.items()}

    def __setstate__(self, state: dict[bool, deque[Fault]]) -> None:
        self._lock = threading.Lock()
        self._faults = state


class FaultySandbox:
    """A sandbox with faults in front of it. A request asks for one with `Prefer: fault=…`.

    What a request prefers comes before the script, which does not count that request.

    Args:
        sandbox: What answers when nothing goes wrong.
        script: What goes wrong unasked; by default nothing.

    Source:
        RFC 7240, sections 2 and 3
    """

    def __init__(self, sandbox: Sandbox, script: FaultScript | None = None) -> None:
        self.sandbox: Sandbox = sandbox
        self.script: FaultScript = FaultScript() if script is None else script

    def reply(self, request: SandboxRequest, *, now: float) -> SandboxReply:
        """Answer one request, and count it.

        Args:
            request: Anything at all; a preference that makes no sense gets the status 400.
            now: The time in Unix seconds.
        """
        is_token = is_token_target(request.target)
        try:
            preferred = _preferred(request, is_token=is_token)
        except ValueError as error:
            return SandboxReply(completed(error_response(HTTPStatus.BAD_REQUEST, str(error)), request, now))
        if preferred is not None:
            reply = preferred.reply(self.sandbox, request, now=now)
            applied = {"preference-applied": f'fault="{preferred}"'}
            response = replace(reply.response, headers={**reply.response.headers, **applied})
            return replace(reply, response=response)
        fault = self.script.next_fault(is_token=is_token)
        if fault is None:
            return SandboxReply(self.sandbox.respond(request, now=now))
        return fault.reply(self.sandbox, request, now=now)


def _preferred(request: SandboxRequest, *, is_token: bool) -> Fault | None:
    text = _preference_of_a_fault(request.headers.get("prefer", ""))
    if text is None:
        return None
    fault = parse_fault(text)
    if fault.times is not None or fault.for_tokens:
        raise _no_fault(
            str(fault), "a preference is for the request that holds it, with neither number nor 'token'"
        )
    if is_token and not _kind(fault.name).for_tokens:
        raise _no_fault(str(fault), f"{fault.name} is for requests with an access token")
    return fault


def _preference_of_a_fault(prefer: str) -> str | None:
    """Return the value of the preference `fault`, the first one if there are several; None if there is none.

    Source:
        RFC 7240, section 2
    """
    for preference in _PREFERENCE.findall(prefer):
        name, _, value = preference.partition("=")
        if name.partition(";")[0].strip().lower() == "fault":
            # A fault holds neither quotation marks nor semicolons. A colon needs them, which people forget.
            return "" if ";" in name else value.partition(";")[0].strip().strip('"')
    return None
