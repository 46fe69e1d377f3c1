"""What goes wrong in front of a sandbox because somebody asked for it: per request, or by a script.

A fault is written as `name[:option…]`, such as `503`, `429:3`, `slow:2s` or `401:1:token`; the table `KINDS`
lists the names. The options, in any order:

- a number: for so many requests; without it, for all that follow
- a duration such as `500ms`, `2s`, `5m` or `-1h`, where the fault has one
- `token`: requests to the token endpoints instead of those to the API
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
        arrived: The records that arrived after it.
    """

    response: SandboxResponse
    delay_s: float = 0.0
    is_cut: bool = False
    fault: "Fault | None" = None
    arrived: Sequence[Mapping[str, Any]] = ()


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
        given = self.duration_s is not None and self.duration_s != kind_of(self.name).default_s
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
        raise invalid_fault(text, f"{name[:40]!r} is not one of {names}{question}")
    fault = Fault(name)
    for option in options:
        fault = _with_option(fault, option, text)
    kind = kind_of(name)
    if fault.for_tokens and not kind.for_tokens:
        raise invalid_fault(text, f"{name} is for requests with an access token, and hence not for 'token'")
    if fault.duration_s is None:
        fault = replace(fault, duration_s=kind.default_s)
    return fault


def _with_option(fault: Fault, option: str, text: str) -> Fault:
    if option == "token" and not fault.for_tokens:
        return replace(fault, for_tokens=True)
    if _TIMES.fullmatch(option) and fault.times is None:
        if int(option) == 0:
            raise invalid_fault(text, "it would never happen: the number of requests begins at 1")
        return replace(fault, times=int(option))
    duration = _DURATION.fullmatch(option)
    if duration and fault.duration_s is None:
        seconds = round(float(duration[1]) * _UNITS_S[duration[2]], 3)
        if not kind_of(fault.name).duration:
            raise invalid_fault(text, f"{fault.name} takes no duration such as {option!r}")
        if seconds < 0 and fault.name != "clock-skew":
            raise invalid_fault(text, f"{option!r} is negative, which only clock-skew may be")
        if abs(seconds) > _LONGEST_S:
            raise invalid_fault(text, f"{option!r} is longer than a year")
        return replace(fault, duration_s=seconds)
    raise invalid_fault(
        text,
        f"{option[:40]!r} is not an option, or stands there twice: a number of requests such as 3, "
        "a duration such as 500ms, 2s, 5m or 1h, or token",
    )


def invalid_fault(text: str, problem: str) -> ValueError:
    """Return the error of a text that is not a fault.

    Args:
        text: The text.
        problem: What is wrong with it.
    """
    return ValueError(f"{text[:80]!r} is not a fault: {problem}")


def kind_of(name: str) -> Kind:
    """Return the kind of a fault by its name."""
    return KINDS.get(name) or KINDS[_STATUSES]
