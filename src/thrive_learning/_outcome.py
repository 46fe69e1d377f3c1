"""What a reply means: JSON to go on with, or a typed error. Pure: it moves no bytes."""

import datetime as dt
import email.utils
import json
import math
import re
import urllib.parse
from typing import Any, NamedTuple, NoReturn, cast

from thrive_learning._interruptions import interruption
from thrive_learning._request import Headers
from thrive_learning._server_text import excerpt, mask_secrets, show
from thrive_learning.errors import (
    TRANSIENT_STATUS_CODES,
    ApiError,
    Attempt,
    ConnectionFailedError,
    UnexpectedResponseError,
    api_error_class,
)

_SECONDS = re.compile(r"\d{1,9}(?:\.\d{1,9})?", re.ASCII)
# What may end a date: a zone that `email.utils` knows, the seconds, or in the format of asctime the year.
# `email.utils` would ignore anything else, such as another zone.
_END_OF_DATE = re.compile(
    r"(?::\d\d| \d{4}| (?:GMT|UTC?|Z|[ECMP][SD]T|[+-]\d{4}))[ \t]*\Z", re.ASCII | re.IGNORECASE
)

#: How much of a body an error keeps, in characters.
MAX_ERROR_BODY_CHARACTERS = 4096

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
        request_id: What to quote to the vendor's support, masked, once the seam has seen the response.
    """

    __slots__ = (
        "_fields",
        "_headers",
        "body",
        "cut",
        "flaw",
        "history",
        "operation",
        "request_id",
        "status_code",
        "url",
    )

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
        self._headers = headers
        self._fields = _by_name(headers)
        self.body: bytes = body
        self.flaw: str | None = flaw
        self.cut: bool = cut
        self.history: tuple[Attempt, ...] = ()
        self.url: str | None = None
        self.operation: str | None = None
        self.request_id: str | None = None

    def header(self, name: bytes) -> str | None:
        """Return the value of a header by its name in small letters, None if it is missing.

        The values of a header that was sent several times are joined, as those of a list.
        """
        value = self._fields.get(name)
        return None if value is None else value.decode(errors="replace")

    def values(self, name: bytes) -> list[str]:
        """Return the values of a header by its name in small letters, each once and in their order.

        It is for headers that are not lists, and whose values may hold a comma.
        """
        found = (value for cased, value in self._headers if cased.lower() == name)
        return list(dict.fromkeys(value.decode(errors="replace").strip(" \t") for value in found))

    def only_value(self, name: bytes) -> str | None:
        """Return the value of a header that is not a list; None if it is missing or contradicts itself."""
        values = self.values(name)
        return values[0] if len(values) == 1 else None

    def has_request_id(self) -> bool:
        """Say whether the response names what to quote to the vendor's support."""
        return any(self._fields.get(name) for name in _REQUEST_ID_HEADERS)

    def shown_request_id(self, secrets: tuple[str, ...]) -> str | None:
        """Return what to quote to the vendor's support, masked; None if the response does not name it."""
        for name in _REQUEST_ID_HEADERS:
            if self._fields.get(name):
                return show(", ".join(self.values(name)), secrets)
        return None

    def retry_after(self) -> float | None:
        """Return the seconds that the server asks to wait before the next attempt, None if it does not."""
        value = self.header(b"retry-after")
        if value is None:
            return None
        date, age = self.only_value(b"date"), self.header(b"age")
        return retry_after(value, dt.datetime.now(dt.UTC), date, age)


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
        allowed: What to do about a 403.
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
    raise json.JSONDecodeError(f"{constant} is not JSON", constant, 0)


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise OverflowError
    return value


# Python's own leniencies are off: what it would accept, to_dict() could not give back as JSON.
_decoder = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)


def json_object(body: bytes) -> tuple[str, dict[str, Any]] | str:  # noqa: PLR0911 - one for each flaw
    """Read a body as a JSON object.

    Returns:
        The text and the object, or what is wrong with the body.
    """
    try:
        text = body.decode().removeprefix("\ufeff")
        document: object = _decoder.decode(text)
    except RecursionError:
        return "its body is JSON that is nested too deeply"
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        if interruption(error) is not None:
            raise
        problem = str(error)  # Python's own words, which name positions and quote nothing
        if not body.strip():
            return "its body is empty"
        if body.lstrip()[:1] == b"<":
            return "its body is HTML or XML, not JSON, so a proxy or a gateway seems to have answered"
        return f"its body is not JSON ({problem})"
    except (OverflowError, ValueError):  # a float beyond 1e308, an integer of more than 4,300 digits
        return "its body has a number that is too large for Python"
    if not isinstance(document, dict):
        return f"its body is JSON, but {_JSON_NAMES[type(document)]} and not an object"
    return text, cast("dict[str, Any]", document)


def is_json_object(reply: Reply) -> bool:
    """Return whether a body arrived intact and is a JSON object, as all bodies of the API are."""
    return reply.flaw is None and not isinstance(json_object(reply.body), str)


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


def retry_after(
    value: str | None, now: dt.datetime, date: str | None = None, age: str | None = None
) -> float | None:
    """Return the seconds that a `Retry-After` header asks to wait; None if it has no usable value.

    The header has one value. If there are several, because each of two servers added its own, the longest of
    those that can be read satisfies them all.

    A date counts from the time of the response by the server's own clock, `Date` plus `Age`: this machine's
    may be hours off.

    Args:
        value: The header: seconds, or a date; if it was sent several times, its values joined by commas.
        now: This machine's time, for a response without a usable `Date`; aware.
        date: The response's `Date`.
        age: The response's `Age`: for how many seconds a cache had it. Its first value counts.

    Source: RFC 9110 sections 5.3, 5.6.7, 6.6.1 and 10.2.3; RFC 9111 section 5.1.
    """
    members = [member.strip(" \t") for member in (value or "").split(",")]
    waits = [float(member) for member in members if _SECONDS.fullmatch(member)]
    # The name of a day, which a comma separates from its date, is a member of its own and says nothing.
    untils = [until for until in map(http_date, members) if until is not None]
    if untils:
        sent, waited = http_date(date), (age or "").partition(",")[0].strip(" \t")
        if sent is not None:
            now = sent + dt.timedelta(seconds=float(waited) if _SECONDS.fullmatch(waited) else 0.0)
        waits += [max(0.0, (until - now).total_seconds()) for until in untils]
    return max(waits, default=None)


def http_date(value: str | None) -> dt.datetime | None:
    """Read a date of HTTP in any of its three formats; None if it is not one. The result is aware.

    Source: RFC 9110 section 5.6.7.
    """
    if value is None or _END_OF_DATE.search(value) is None:
        return None
    try:
        date = email.utils.parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=dt.UTC)


def api_error(reply: Reply, circumstances: Circumstances) -> ApiError:
    """Return the error for a status that is not a documented success, whatever its body holds."""
    status, secrets = reply.status_code, circumstances.secrets
    error, message = fields_of(reply.body, ("error", "message"), secrets)
    in_api_format, wait = in_error_format(reply), reply.retry_after()
    request_id = reply.shown_request_id(secrets)
    if in_api_format:
        head = f"{circumstances.region} answered {status} to the request for {circumstances.subject}: "
        head += f'"{show(message or "", ())}".'
        advice = _advice(status, reply, circumstances, wait)
    else:
        where = reply.url or circumstances.region
        head = f"{where} answered {status} with {_described(reply, error, message, secrets)}."
        advice = _advice_on_a_stranger(status, reply, circumstances, wait)
    parts = [head, advice, *([] if request_id is None else [f"(request ID {request_id})"])]
    found = api_error_class(status, in_api_format=in_api_format)(
        " ".join(parts),
        status_code=status,
        error=error,
        message=message,
        request_id=request_id,
        retry_after=wait,
        body=excerpt_of(reply.body, secrets),
        region=circumstances.region,
        in_api_format=in_api_format,
    )
    found.url, found.operation = reply.url, reply.operation
    return found


def excerpt_of(body: bytes, secrets: tuple[str, ...]) -> str:
    """Return the beginning of a body as text for an error."""
    return excerpt(body.decode(errors="replace"), secrets, MAX_ERROR_BODY_CHARACTERS)


def fields_of(body: bytes, names: tuple[str, ...], secrets: tuple[str, ...]) -> list[str | None]:
    """Return some fields of a JSON body as text, masked and printable; None for those that are missing.

    The vendor's `message` may be text or an object. An object or a list becomes compact JSON.
    """
    read = json_object(body)
    document = {} if isinstance(read, str) else read[1]
    return [_as_text(name, document.get(name), secrets) for name in names]


def _as_text(name: str, value: object, secrets: tuple[str, ...]) -> str | None:
    if value is None or isinstance(value, bool):
        return None
    if not isinstance(value, str):
        value = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return show_error_name(value, secrets) if name == "error" else _show_field(value, secrets)


def show_error_name(name: str, secrets: tuple[str, ...]) -> str:
    """Return the name of an error. A word of the protocol is not masked, even if a short secret is in it."""
    return name if name in KNOWN_ERRORS else _show_field(name, secrets)


def _show_field(text: str, secrets: tuple[str, ...]) -> str:
    return show(text, secrets, MAX_ERROR_BODY_CHARACTERS)


def _described(reply: Reply, error: str | None, message: str | None, secrets: tuple[str, ...]) -> str:
    """Say what a body that is not in the API's own format is, and who seems to have sent it."""
    start = reply.body[:_SNIFFED_BYTES].decode(errors="replace").lstrip("\ufeff \t\r\n")
    said = message or error or next(filter(None, fields_of(reply.body, _EXPLANATIONS, secrets)), "")
    if reply.flaw is not None:
        what = f"a body that cannot be used, because {reply.flaw}"
    elif not start:
        what = "an empty body"
    elif start.startswith("<"):
        title = _TITLE.search(start)
        what = "an HTML page" if _HTML.search(start) else "XML"
        what += f' titled "{show(title[1], secrets, 100)}"' if title and title[1].strip() else ""
    elif said:
        what = f'JSON that is not in the API\'s error format ("{show(said, ())}")'
    else:
        read = json_object(reply.body)
        is_text = isinstance(read, str) and not read.startswith("its body is JSON")
        what = f"{'text' if is_text else 'JSON'} that is not in the API's error format"
    server = reply.header(b"server") or ("Amazon API Gateway" if reply.header(b"apigw-requestid") else "")
    return what + (f' from "{show(server, secrets, 100)}"' if server.strip() else "")


_SNIFFED_BYTES = 2048
_HTML = re.compile(r"<(?:!doctype html|html|head|body|title|h1|p)\b", re.IGNORECASE)
_TITLE = re.compile(r"<title\b[^>]{0,100}>([^<]{0,300})", re.IGNORECASE)

#: Where gateways and frameworks put their explanation.
_EXPLANATIONS = ("Message", "error_description", "errorMessage", "detail", "title", "fault")

#: The names of errors that the protocol and the vendor's pages know.
#: Source: RFC 6749 section 5.2; the vendor's pages on errors.
KNOWN_ERRORS = frozenset(
    {
        *("invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "invalid_scope"),
        *("unsupported_grant_type", "unauthorized", "forbidden", "not_found", "conflict", "server_error"),
        *("unprocessable_entity", "rate_limit_exceeded", "Bad Request", "Unauthorized", "Forbidden"),
        *("Not Found", "Conflict", "Unprocessable Entity", "Too Many Requests", "Internal Server Error"),
    }
)

_BUSY = "the same call may succeed a little later"
_STRANGER = "A proxy or a gateway seems to have answered, not the API"


def _advice_on_a_stranger(  # noqa: PLR0911
    status: int, reply: Reply, circumstances: Circumstances, wait: float | None
) -> str:
    """Say what to do about an answer that is not in the API's own format."""
    match status:
        case 401:
            kind = circumstances.credentials
            return f"{_STRANGER}; check the region's api_url and the proxy, then the {kind}."
        case 403:
            return (
                f"{_STRANGER}, so this may say nothing about what the {circumstances.credentials} allow; "
                "check the region's api_url and the proxy."
            )
        case 404:
            return (
                f"{_STRANGER}, or the URL is wrong, so this does not say that the record is missing; check "
                "the region's api_url."
            )
        case 407:
            return (
                "A proxy asks for a user name and a password; put them into its URL in proxy= or HTTPS_PROXY."
            )
        case 429:
            return _slow_down(wait)
        case _ if 300 <= status <= 399:  # noqa: PLR2004 - this range is what a redirect is
            return redirect_advice(reply, "api_url", circumstances.secrets)
        case _ if status in TRANSIENT_STATUS_CODES:
            return f"The API, or a server in front of it, is failing or busy; {_BUSY}."
        case _:
            return f"{_STRANGER}; check the region's api_url and the proxy."


def _slow_down(wait: float | None) -> str:
    pause = "a while" if wait is None else f"{wait:g} s"
    return f"Too many requests were sent; wait {pause}, then send fewer at a time."


def _advice(status: int, reply: Reply, circumstances: Circumstances, wait: float | None) -> str:  # noqa: PLR0911
    """Say what to do about an answer in the API's own format."""
    region, kind = circumstances.region, circumstances.credentials
    match status:
        case 401 if circumstances.with_token:
            return (
                f"The access token is not accepted, although the region {region!r} issued it for these "
                f"{kind}; check that the region's api_url and token URL belong together, and that the client "
                "has not been blocked since."
            )
        case 401:
            return (
                f"The {kind} are not accepted; check that they are complete, current, and issued for the "
                f"region {region!r}, because each region has its own."
            )
        case 403:
            return circumstances.allowed
        case 404:
            return (
                f"The region {region!r} holds no such record; check the ID and the region, because staging "
                "and production do not share records."
            )
        case 429:
            return _slow_down(wait)
        case _ if 300 <= status <= 399:  # noqa: PLR2004 - this range is what a redirect is
            return redirect_advice(reply, "api_url", circumstances.secrets)
        case _ if status in TRANSIENT_STATUS_CODES:
            return f"The API is failing or busy; {_BUSY}."
        case _:
            return (
                "The API does not accept this request; quote the message and the request ID to its support."
            )


def _origin(location: str) -> str:
    """Return where a redirect leads, without its query and user name, which may hold anything."""
    try:
        parts = urllib.parse.urlsplit(location)
        host = parts.hostname
    except ValueError:
        return ""
    return f"{parts.scheme or 'https'}://{host}" if host else parts.path


def unexpected_response(reply: Reply, circumstances: Circumstances, problem: str) -> UnexpectedResponseError:
    """Give the error for a 2xx that breaks the contract."""
    is_object = is_json_object(reply)
    where = circumstances.region if is_object else reply.url or circumstances.region
    advice = "The response was discarded; if this persists, inspect `error.body` and ask the API's support."
    if reply.flaw is None and reply.body.lstrip()[:1] == b"<":
        problem = f"with {_described(reply, None, None, circumstances.secrets)}"
        advice = f"{_STRANGER}; check the region's api_url and the proxy."
    found = UnexpectedResponseError(
        f"{where} answered {reply.status_code} to the request for {circumstances.subject}, but {problem}. "
        f"{advice}",
        status_code=reply.status_code,
        body=excerpt_of(reply.body, circumstances.secrets),
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


def redirect_advice(reply: Reply, setting: str, secrets: tuple[str, ...]) -> str:
    """Say where a redirect leads, that nothing was sent there, and which setting of the region to check."""
    if reply.status_code == 304:  # noqa: PLR2004 - the one 3xx that leads nowhere
        return (
            "That answers a conditional request, which this was not, so a proxy or a cache seems to have "
            f"answered, not the API; check the proxy and the region's {setting}."
        )
    target = show(_origin(mask_secrets(reply.only_value(b"location") or "", secrets)), secrets)
    return (
        f"It redirects to {target or 'an unnamed location'}, where nothing was sent, because credentials go "
        f"to the region's own hosts only; check the region's {setting}."
    )
