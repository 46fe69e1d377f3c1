"""What a reply means: JSON to go on with, or a typed error. Pure: it moves no bytes."""

import datetime as dt
import email.utils
import json
import math
import re
import urllib.parse
from typing import Any, NamedTuple, NoReturn, cast

import httpx

from thrive_learning._request import Headers
from thrive_learning.errors import (
    TRANSIENT_STATUS_CODES,
    ApiError,
    Attempt,
    ConnectionFailedError,
    DeadlineExceededError,
    UnexpectedResponseError,
    api_error_class,
)
from thrive_learning.policies import Budget

_WIRE_BYTES = re.compile(r"(?:bytearray\()?b['\"].*", re.DOTALL)
_SECONDS = re.compile(r"\d{1,9}(?:\.\d{1,9})?", re.ASCII)

#: How much of a body an error keeps, in characters.
MAX_ERROR_BODY_CHARACTERS = 4096

_MAX_QUOTE_CHARACTERS = 300

# None of them is documented; these are what API gateways and load balancers of AWS send.
_REQUEST_ID_HEADERS = (b"x-request-id", b"x-amzn-requestid", b"apigw-requestid")


# Plain classes, here and in _http: attrs takes up to a millisecond of everybody's import for each of its own,
# and these are neither compared nor printed.


class Purpose(NamedTuple):
    """What a request is for, as errors, attempts and log records name it.

    Attributes:
        operation: The method that it is sent for, such as `activities.get`.
        subject: The ID of the record; for a token, the service.
        url: The URL without tenant ID, credentials and query.
    """

    operation: str
    subject: str
    url: str


class Reply:
    """A response as data: whatever came back, its body read and its connection given back.

    Attributes:
        flaw: Why the body cannot be used, or None if it can.
        cut: Whether the flaw is that the body's end is missing.
        history: What the requests came to that led here.
        url: The URL that was requested, as an error may show it.
        operation: What it was requested for.
        request_id: What to quote to the vendor's support, if the response names it.
    """

    __slots__ = ("_fields", "body", "cut", "flaw", "history", "operation", "request_id", "status_code", "url")

    def __init__(
        self,
        *,
        status_code: int,
        headers: Headers = (),
        body: bytes = b"",
        flaw: str | None = None,
        cut: bool = False,
    ) -> None:
        self.status_code: int = status_code
        self._fields = _by_name(headers)
        self.body: bytes = body
        self.flaw: str | None = flaw
        self.cut: bool = cut
        self.history: tuple[Attempt, ...] = ()
        self.url: str | None = None
        self.operation: str | None = None
        self.request_id: str | None = self._request_id()

    def header(self, name: bytes) -> str | None:
        """Give the value of a header by its name in small letters, None where it is missing."""
        value = self._fields.get(name)
        return None if value is None else value.decode(errors="replace")

    def _request_id(self) -> str | None:
        for name in _REQUEST_ID_HEADERS:
            value = self.header(name)
            if value:
                return quoted(value)
        return None


def _by_name(headers: Headers) -> dict[bytes, bytes]:
    """Give headers by their names in small letters, the values of one name joined.

    httpx's own look-up goes through all of them each time, and decodes them first.

    Source: RFC 9110 section 5.3.
    """
    fields: dict[bytes, bytes] = {}
    for cased, value in headers:
        name = cased.lower()
        fields[name] = fields[name] + b", " + value if name in fields else value
    return fields


class Circumstances:
    """What an error's message says besides the response.

    Attributes:
        region: The region's name.
        subject: What was asked for, such as `activity 60d5…`.
        credentials: What kind of credentials the client has.
        allowed: What those allow, in words, for the message of a 403.
        with_token: Whether an access token was sent in their place.
        secrets: What must not show, should the server repeat it.
    """

    __slots__ = ("allowed", "credentials", "region", "secrets", "subject", "with_token")

    def __init__(  # noqa: PLR0913 - what there is to say
        self,
        *,
        region: str,
        subject: str,
        credentials: str,
        allowed: str,
        with_token: bool = False,
        secrets: tuple[str, ...] = (),
    ) -> None:
        self.region: str = region
        self.subject: str = subject
        self.credentials: str = credentials
        self.allowed: str = allowed
        self.with_token: bool = with_token
        self.secrets: tuple[str, ...] = secrets


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError(f"the number {digits[:32]} is too large")
    return value


# Python's own leniencies are off: what it would accept, to_dict() could not give back as JSON.
_decoder = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)


def json_object(body: bytes) -> tuple[str, dict[str, Any]] | str:
    """Read a body as a JSON object.

    Returns:
        The text and the object, or what is wrong with the body.
    """
    try:
        text = body.decode().removeprefix("\ufeff")
        document: object = _decoder.decode(text)
    except RecursionError:
        return "its body is JSON that is nested too deeply"
    except ValueError as error:
        problem = str(error)
        if not body.strip():
            return "its body is empty"
        if body.lstrip()[:1] == b"<":
            return (
                "its body is HTML or XML, not JSON; a proxy or a gateway may have answered in the API's place"
            )
        return f"its body is not JSON ({quoted(problem)})"
    if not isinstance(document, dict):
        return f"its body is JSON, but {_JSON_NAMES[type(document)]} and not an object"
    return text, cast("dict[str, Any]", document)


def in_error_format(reply: Reply) -> bool:
    """Say whether a reply is in the API's own error format, in which gateways and proxies do not answer.

    That is a JSON object with a `message`, and with the name of an `error` or a `status` that equals the HTTP
    status. A `status` that contradicts the HTTP status is somebody else's.

    Source: the vendor's pages on errors, which type `message` as text or object.
    """
    read = json_object(reply.body) if reply.flaw is None else ""
    if isinstance(read, str):
        return False
    fields = read[1]
    message, error, status = fields.get("message"), fields.get("error"), fields.get("status")
    if isinstance(message, str):
        message = message.strip()
    if not message or not isinstance(message, (str, dict, list)):
        return False
    if isinstance(status, int) and not isinstance(status, bool):
        return status == reply.status_code
    return isinstance(error, str) and bool(error.strip())


_JSON_NAMES: dict[type, str] = {
    type(None): "null",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "an array",
}


def quoted(text: str, limit: int = _MAX_QUOTE_CHARACTERS) -> str:
    """Make a server's text fit for one line of a message: printable, no line ends, not endless."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 2 * limit]).split())
    return line if len(line) <= limit else f"{line[:limit]}…"


def masked(text: str, secrets: tuple[str, ...]) -> str:
    """Give a server's text with the secrets masked that it repeats, in any form that they were sent in."""
    for secret in secrets:
        if secret in text:
            text = text.replace(secret, "**********")
    return text


def error_text(body: bytes, secrets: tuple[str, ...]) -> str:
    """Give a body as text for an error: masked and capped."""
    return masked(body.decode(errors="replace"), secrets)[:MAX_ERROR_BODY_CHARACTERS]


def retry_after(value: str | None, now: dt.datetime) -> float | None:
    """Give the seconds that a `Retry-After` header asks to wait, None where it says nothing usable.

    Args:
        value: The header: seconds, or a date.
        now: The time to count from; aware.

    Source: RFC 9110 section 10.2.3.
    """
    if value is None:
        return None
    seconds = _SECONDS.fullmatch(value.strip(" \t"))
    if seconds is None:
        try:
            date = email.utils.parsedate_to_datetime(value)
        except (ValueError, OverflowError):
            return None
        if date.tzinfo is None:
            date = date.replace(tzinfo=dt.UTC)
        return max(0.0, (date - now).total_seconds())
    return float(seconds[0])


def api_error(reply: Reply, circumstances: Circumstances) -> ApiError:
    """Give the error for a status that is not a documented success, whatever its body holds."""
    status = reply.status_code
    error, message = fields_of(reply.body, ("error", "message"), circumstances.secrets)
    wait = retry_after(reply.header(b"retry-after"), dt.datetime.now(dt.UTC))
    said = quoted(message or error or "")
    request_id, in_api_format = reply.request_id, in_error_format(reply)
    parts = [
        f"{circumstances.region} answered {status} to the request for {circumstances.subject}"
        + (f': "{said}".' if said else "."),
        _advice(status, reply, circumstances, wait) if in_api_format or status != 404 else _elsewhere(reply),  # noqa: PLR2004
    ]
    if request_id is not None:
        parts.append(f"(request id {request_id})")
    found = api_error_class(status, in_api_format=in_api_format)(
        masked(" ".join(parts), circumstances.secrets),
        status_code=status,
        error=error,
        message=message,
        request_id=request_id,
        retry_after=wait,
        body=error_text(reply.body, circumstances.secrets),
        region=circumstances.region,
        in_api_format=in_api_format,
    )
    found.url, found.operation = reply.url, reply.operation
    return found


def _elsewhere(reply: Reply) -> str:
    """Say what a 404 means that is not in the API's own format."""
    return (
        f"The response is not in the API's own format, so it does not say that the record is missing: "
        f"{reply.url or 'the URL'} is probably wrong, or a gateway answered. Check the region's api_url."
    )


def fields_of(body: bytes, names: tuple[str, ...], secrets: tuple[str, ...]) -> list[str | None]:
    """Give the text of some fields of a JSON body, masked; None for those that are missing or no text."""
    read = json_object(body)
    document = {} if isinstance(read, str) else read[1]
    values = (document.get(name) for name in names)
    limit = MAX_ERROR_BODY_CHARACTERS
    return [masked(value, secrets)[:limit] if isinstance(value, str) else None for value in values]


def _advice(status: int, reply: Reply, circumstances: Circumstances, wait: float | None) -> str:  # noqa: PLR0911
    region, kind = circumstances.region, circumstances.credentials
    match status:
        case 401 if circumstances.with_token:
            return (
                f"The access token is not accepted, although the region {region!r} issued it for these "
                f"{kind}: check that the region's api_url and token URL belong together, and that the client "
                "has not been blocked since."
            )
        case 401:
            return (
                f"The {kind} are not accepted: check that they are complete, current, and issued for the "
                f"region {region!r}; the credentials of one region are unknown to the others."
            )
        case 403:
            return f"The {kind} are valid but do not allow this: {circumstances.allowed}."
        case 404:
            return (
                f"The region {region!r} holds no such record. Check the id and the region: "
                "staging and production do not share records."
            )
        case 429:
            pause = "a while" if wait is None else f"{wait:g} s"
            return f"Too many requests were sent: wait {pause}, then send fewer at a time."
        case _ if 300 <= status <= 399:  # noqa: PLR2004 - this range is what a redirect is
            return redirect_advice(reply, "api_url")
        case _ if status in TRANSIENT_STATUS_CODES:
            return "The API is failing or busy; the same call may succeed a little later."
        case _:
            return (
                "The API does not accept this request; quote the message and the request id to its support."
            )


def _place(location: str) -> str:
    """Give where a redirect leads, without its query, which may hold anything."""
    try:
        parts = urllib.parse.urlsplit(location)
        host = parts.hostname
    except ValueError:
        return ""
    return quoted(f"{parts.scheme or 'https'}://{host}" if host else parts.path)


def unexpected_response(reply: Reply, circumstances: Circumstances, problem: str) -> UnexpectedResponseError:
    """Give the error for a 2xx that breaks the contract."""
    problem = masked(problem, circumstances.secrets)
    is_object = reply.flaw is None and not isinstance(json_object(reply.body), str)
    found = UnexpectedResponseError(
        f"{circumstances.region} answered {reply.status_code} to the request for {circumstances.subject}, "
        f"but {problem}. Nothing was made of it: if it happens again, look at `.body` and ask the API's "
        "support.",
        status_code=reply.status_code,
        body=error_text(reply.body, circumstances.secrets),
        in_api_format=is_object,
    )
    found.url, found.operation = reply.url, reply.operation
    return found


def cut_response(reply: Reply, circumstances: Circumstances) -> ConnectionFailedError:
    """Give the error for a success whose body did not arrive whole."""
    found = ConnectionFailedError(
        f"{circumstances.region} answered {reply.status_code} to the request for {circumstances.subject}, "
        f"but {reply.flaw}. Try again."
    )
    found.url, found.operation = reply.url, reply.operation
    return found


def connection_failure(error: Exception, *, host: str, budget: Budget) -> ConnectionFailedError:
    """Give the error for an exchange that ended without a response.

    Args:
        error: What the transport raised. It is described, not kept: its frames hold the Authorization header.
        host: Whom the request was for.
        budget: The call's time-outs.
    """
    if isinstance(error, httpx.TimeoutException) or budget.remaining() <= 0:
        return deadline_exceeded(budget, host=host, phase=_PHASES.get(type(error)))
    # h11 repeats an illegal header or status line, and with it a credential of ours or its echo.
    said = "" if isinstance(error, httpx.LocalProtocolError) else quoted(_WIRE_BYTES.sub("…", str(error)))
    return ConnectionFailedError(
        f"no response from {host}: {type(error).__name__}{f' ({said})' if said else ''}. "
        "Check the network, the proxy and TLS settings, and that the region's URLs are right; then try again."
    )


_PHASES: dict[type[Exception], str] = {
    httpx.ConnectTimeout: "connect",
    httpx.ReadTimeout: "read",
    httpx.WriteTimeout: "write",
    httpx.PoolTimeout: "pool",
}


def deadline_exceeded(budget: Budget, *, host: str, phase: str | None = None) -> DeadlineExceededError:
    """Give the error for a call, or one phase of it, that took too long."""
    if phase is None or budget.remaining() <= 0:
        limit = f"Timeout.total={budget.timeout.total:g} s"
    else:
        limit = f"Timeout.{phase}={getattr(budget.timeout, phase):g} s"
    return DeadlineExceededError(
        f"{host} did not answer within {limit}; the call was given up after {budget.elapsed():.2f} s. "
        "Try again later, or allow more time with timeout=."
    )


def redirect_advice(reply: Reply, setting: str) -> str:
    """Say where a redirect leads, that nothing was sent there, and which setting of the region to check."""
    if reply.status_code == 304:  # noqa: PLR2004 - the one 3xx that leads nowhere
        return (
            "That answers a conditional request, and this was none: a proxy or a cache may have answered in "
            f"the API's place. Check what stands in between, and the region's {setting}."
        )
    target = _place(reply.header(b"location") or "")
    return (
        f"It redirects to {target or 'an unnamed place'}; nothing was sent there, as credentials "
        f"go to the region's own hosts only. Check the region's {setting}."
    )
