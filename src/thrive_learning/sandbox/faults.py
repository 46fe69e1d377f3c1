"""Faults of a sandbox, requested by a header or by a script.

A fault is written as `name[:option…]`, such as `503`, `429:3`, `slow:2s`, or `401:1:token`. The table `KINDS`
lists the names. The options, in any order:

- a number: how many requests are affected; by default all that follow
- a duration such as `500ms`, `2s`, `5m`, or `-1h`, if the fault has one
- `token`: affect requests to the token endpoints instead of the API
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

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
        meaning: The effect, for help texts.
        duration: The meaning of the duration; empty if the fault does not have one.
        default_s: The default duration in seconds.
        for_tokens: Whether the fault can affect requests to the token endpoints.
    """

    meaning: str
    duration: str = ""
    default_s: float | None = None
    for_tokens: bool = True


#: The kinds by name. A status is its own name.
KINDS = {
    "400…599": Kind("an error with this status", "Retry-After, in whole seconds"),
    "throttle": Kind("429 with Retry-After", "Retry-After, in whole seconds", 1.0),
    "slow": Kind("the normal response, delayed", "the delay", 1.0),
    "cut": Kind("the connection closes in the middle of the body"),
    "html": Kind("502 with an HTML page, as from a proxy"),
    "expired-token": Kind("401, because the access token has expired", for_tokens=False),
    "revoked-token": Kind("401, because the access token was revoked", for_tokens=False),
    "wrong-scope": Kind("403, because of the access token's scopes", for_tokens=False),
    "clock-skew": Kind("the server's clock is wrong", "how far it is ahead; behind if negative", 300.0),
}
_STATUSES = "400…599"
_STATUS = re.compile(r"[45]\d\d", re.ASCII)
_TIMES = re.compile(r"\d{1,9}", re.ASCII)
_DURATION = re.compile(r"(-?\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h)", re.ASCII)
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_LONGEST_S = 366 * 86_400.0  # far longer durations of clock-skew would leave the calendar

_HTML = b"""<!doctype html>
<html><head><title>502 Bad Gateway</title></head>
<body><center><h1>502 Bad Gateway</h1></center><hr><center>sandbox</center></body></html>
"""


@dataclass(frozen=True, slots=True)
class SandboxReply:
    """A response, and how it is sent.

    Args:
        response: The response.
        delay_s: The delay before the response in seconds.
        is_cut: Whether the connection closes in the middle of the body.
        fault: The fault; None for the normal response.
        arrived: The records that arrived after the response.
        is_over_limit: Whether the response is 429 because of the sandbox's rate limit.
    """

    response: SandboxResponse
    delay_s: float = 0.0
    is_cut: bool = False
    fault: "Fault | None" = None
    arrived: Sequence[Mapping[str, Any]] = ()
    is_over_limit: bool = False


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault. `parse_fault` creates it from text, and `str()` returns the text.

    Args:
        name: One of `KINDS`, or a status from 400 to 599.
        duration_s: The duration in seconds, whose meaning depends on the kind; None without one.
        times: How many requests are affected; None for all that follow.
        for_tokens: Whether the fault affects the token endpoints instead of the API.
    """

    name: str
    duration_s: float | None = None
    times: int | None = None
    for_tokens: bool = False

    def __str__(self) -> str:
        given = self.duration_s is not None and self.duration_s != kind_of(self.name).default_s
        options = [
            *([f"{self.duration_s:.12g}s"] if given else []),
            *([str(self.times)] if self.times is not None else []),
            *(["token"] if self.for_tokens else []),
        ]
        return ":".join([self.name, *options])

    def reply(self, sandbox: Sandbox, request: SandboxRequest, *, now: float) -> SandboxReply:
        """Respond to one request with this fault.

        Args:
            sandbox: The sandbox that gives the normal response.
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
        # Without the number of requests that are left, which would read as another fault each time.
        message = f"{phrase(status)} (fault {replace(self, times=None)})"
        if is_token:
            # RFC 6749, section 5.2, which has no codes for failures of the server.
            errors = {401: "invalid_client", 403: "unauthorized_client"}
            error = errors.get(status, "invalid_request" if status < 500 else "temporarily_unavailable")  # noqa: PLR2004
            body = {"error": error, "error_description": message}
            return json_response(status, body, {**headers, "cache-control": "no-store"})
        return error_response(status, message, headers)


def parse_fault(text: str) -> Fault:
    """Parse a fault such as `429:3` or `slow:2s`.

    Raises:
        ValueError: The text is not a fault. The message says what is wrong, and what is valid.
    """
    name, *options = text.strip().lower().split(":")
    if not _STATUS.fullmatch(name) and (name not in KINDS or name == _STATUSES):
        import difflib  # noqa: PLC0415 - needed only after a mistake

        known = [kind for kind in KINDS if kind != _STATUSES]
        near = difflib.get_close_matches(name[:40], known, n=1)
        question = f" Did you mean {near[0]!r}?" if near else ""
        names = ", ".join(["a status from 400 to 599", *known[:-1], f"or {known[-1]}"])
        raise ValueError(f"unknown fault {name[:40]!r}.{question} Use {names}")
    fault = Fault(name)
    for option in options:
        fault = _with_option(fault, option, text)
    kind = kind_of(name)
    if fault.for_tokens and not kind.for_tokens:
        raise invalid_fault(text, f"{name} affects requests with an access token, so it cannot have 'token'")
    if fault.duration_s is None:
        fault = replace(fault, duration_s=kind.default_s)
    return fault


def _with_option(fault: Fault, option: str, text: str) -> Fault:
    if option == "token" and not fault.for_tokens:
        return replace(fault, for_tokens=True)
    if _TIMES.fullmatch(option) and fault.times is None:
        if int(option) == 0:
            raise invalid_fault(text, "the number of requests must be at least 1")
        return replace(fault, times=int(option))
    duration = _DURATION.fullmatch(option)
    if duration and fault.duration_s is None:
        seconds = round(float(duration[1]) * _UNITS_S[duration[2]], 3)
        if not kind_of(fault.name).duration:
            raise invalid_fault(text, f"{fault.name} does not have a duration, such as {option!r}")
        if seconds < 0 and fault.name != "clock-skew":
            raise invalid_fault(text, f"{option!r} is negative, which is valid only for clock-skew")
        if abs(seconds) > _LONGEST_S:
            raise invalid_fault(text, f"{option!r} is longer than a year")
        return replace(fault, duration_s=seconds)
    if option == "token" or duration or _TIMES.fullmatch(option):
        raise invalid_fault(text, f"{option!r} repeats an option. Remove it")
    raise invalid_fault(
        text,
        f"{option[:40]!r} is not an option. Use a number of requests such as 3, a duration such as 500ms or "
        "2s, or token",
    )


def invalid_fault(text: str, problem: str) -> ValueError:
    """Return the error of a text that is not a fault, and why."""
    return ValueError(f"{text[:80]!r} is not a valid fault: {problem}")


def kind_of(name: str) -> Kind:
    """Return the kind of a fault by its name."""
    return KINDS.get(name) or KINDS[_STATUSES]
