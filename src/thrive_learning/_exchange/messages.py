"""Turns a reply into JSON or a typed error, without I/O. Pure."""

import json
import re
import urllib.parse
from typing import NamedTuple

from thrive_learning._exchange.body import TOKEN_LIMIT, BodyLimit
from thrive_learning._exchange.reply import Reply, is_json_object, json_object
from thrive_learning._exchange.server_text import excerpt, mask_secrets, show
from thrive_learning.errors import (
    TRANSIENT_STATUS_CODES,
    ApiError,
    BadRequestError,
    ConflictError,
    ConnectionFailedError,
    ForbiddenError,
    NotFoundError,
    RateLimitedError,
    ServerError,
    UnauthorizedError,
    UnexpectedResponseError,
    UnprocessableError,
)

#: How much of a body an error keeps, in characters.
MAX_ERROR_BODY_CHARACTERS = 4096


class Purpose(NamedTuple):
    """The purpose of a request, as errors, attempts, and log records name it.

    Attributes:
        operation: The method that sends it, such as `activities.get`.
        subject: The ID of the record; for a token, the service.
        url: The URL without the tenant ID, credentials, and query.
        limit: The size limit of a response's body.
        is_idempotent: Whether the request may be sent again after it may have been processed.
        is_limited: Whether it waits for the client's rate limit, as all requests to the API do.
    """

    operation: str
    subject: str
    url: str
    limit: BodyLimit = TOKEN_LIMIT
    is_idempotent: bool = True
    is_limited: bool = False


class Circumstances(NamedTuple):
    """The facts that an error message needs besides the response.

    Attributes:
        region: The region's name.
        subject: The requested item, such as `activity 60d5…`.
        credentials: The kind of the client's credentials.
        allowed: The advice for a 403.
        with_token: Whether an access token was sent instead of the credentials.
        secrets: The secrets to mask if the server repeats them.
    """

    region: str
    subject: str
    credentials: str
    allowed: str
    with_token: bool = False
    secrets: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<Circumstances {self.subject}>"  # without the secrets


def in_error_format(reply: Reply) -> bool:
    """Return whether a reply is in the API's own error format, which gateways and proxies do not use.

    The format is a JSON object with a `message`, and with the name of an `error` or a `status` that equals
    the HTTP status. A body whose `status` contradicts the HTTP status is from another server.

    Source: the vendor's pages on errors, which allow `message` to be text or an object.
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
        headers=reply.kept_headers(secrets),
    )
    found.url, found.operation = reply.url, reply.operation
    return found


def api_error_class(status_code: int, *, in_api_format: bool = True) -> type[ApiError]:
    """Return the class of the error for a status, whether IANA knows it or not.

    Args:
        status_code: The HTTP status.
        in_api_format: Whether the body is in the API's own error format. A 404 in any other format does not
            prove that something is missing.
    """
    if status_code == 404 and not in_api_format:  # noqa: PLR2004
        return ApiError
    if 500 <= status_code <= 599:  # noqa: PLR2004 - the range of server errors
        return ServerError
    return _BY_STATUS.get(status_code, ApiError)


_BY_STATUS: dict[int, type[ApiError]] = {
    400: BadRequestError,
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    422: UnprocessableError,
    429: RateLimitedError,
}


def excerpt_of(body: bytes, secrets: tuple[str, ...]) -> str:
    """Return the beginning of a body as text for an error."""
    return excerpt(body.decode(errors="replace"), secrets, MAX_ERROR_BODY_CHARACTERS)


def fields_of(body: bytes, names: tuple[str, ...], secrets: tuple[str, ...]) -> list[str | None]:
    """Return some fields of a JSON body as text, masked and printable; None for those that are missing.

    The vendor's `message` may be text or an object. Objects and lists become compact JSON.
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
    """Return the name of an error. A name of the protocol is shown even if it contains a short secret."""
    return name if name in KNOWN_ERRORS else _show_field(name, secrets)


def _show_field(text: str, secrets: tuple[str, ...]) -> str:
    return show(text, secrets, MAX_ERROR_BODY_CHARACTERS)


def _described(reply: Reply, error: str | None, message: str | None, secrets: tuple[str, ...]) -> str:
    """Describe a body that is not in the API's own format, and who seems to have sent it."""
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

#: The fields in which gateways and frameworks put their explanation.
_EXPLANATIONS = ("Message", "error_description", "errorMessage", "detail", "title", "fault")

#: The names of errors that the protocol or the vendor's pages define.
#: Source: RFC 6749 section 5.2; the vendor's pages on errors.
KNOWN_ERRORS = frozenset(
    {
        *("invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "invalid_scope"),
        *("unsupported_grant_type", "unauthorized", "forbidden", "not_found", "conflict", "server_error"),
        *("unprocessable_entity", "rate_limit_exceeded", "Bad Request", "Unauthorized", "Forbidden"),
        *("Not Found", "Conflict", "Unprocessable Entity", "Too Many Requests", "Internal Server Error"),
    }
)

_BUSY = "try again later"
_STRANGER = "A proxy or a gateway seems to have answered, not the API"


def _advice_on_a_stranger(  # noqa: PLR0911
    status: int, reply: Reply, circumstances: Circumstances, wait: float | None
) -> str:
    """Return the advice for a response that is not in the API's own format."""
    match status:
        case 401:
            kind = circumstances.credentials
            return f"{_STRANGER}; check the region's api_url and the proxy first, then the {kind}."
        case 403:
            return (
                f"{_STRANGER}, so this may say nothing about what the {circumstances.credentials} allow; "
                "check the region's api_url and the proxy."
            )
        case 404:
            return (
                f"{_STRANGER}, or the URL is wrong, so this does not say that {circumstances.subject} is "
                "missing; check the region's api_url."
            )
        case 407:
            return "A proxy requires a user name and password; put them in its URL in proxy= or HTTPS_PROXY."
        case 429:
            return _slow_down(wait)
        case _ if 300 <= status <= 399:  # noqa: PLR2004 - the range of redirects
            return redirect_advice(reply, "api_url", circumstances.secrets)
        case _ if status in TRANSIENT_STATUS_CODES:
            return f"The API, or a server in front of it, is failing or busy; {_BUSY}."
        case _:
            return f"{_STRANGER}; check the region's api_url and the proxy."


def _slow_down(wait: float | None) -> str:
    pause = "a while" if wait is None else f"{wait:g} s"
    return f"Too many requests were sent; wait {pause}, then send fewer requests at a time."


def _advice(status: int, reply: Reply, circumstances: Circumstances, wait: float | None) -> str:  # noqa: PLR0911
    """Return the advice for a response in the API's own format."""
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
            return "Check the arguments and the region, because regions do not share records."
        case 429:
            return _slow_down(wait)
        case _ if 300 <= status <= 399:  # noqa: PLR2004 - the range of redirects
            return redirect_advice(reply, "api_url", circumstances.secrets)
        case _ if status in TRANSIENT_STATUS_CODES:
            return f"The API is failing or busy; {_BUSY}."
        case _:
            return (
                "The API does not accept this request; quote the message and the request ID to its support."
            )


def _origin(location: str) -> str:
    """Return the origin that a redirect leads to, without its query and user name, which may hold secrets."""
    try:
        parts = urllib.parse.urlsplit(location)
        host = parts.hostname
    except ValueError:
        return ""
    return f"{parts.scheme or 'https'}://{host}" if host else parts.path


def unexpected_response(
    reply: Reply, circumstances: Circumstances, problem: str, *, is_object: bool | None = None
) -> UnexpectedResponseError:
    """Return the error for a 2xx that breaks the contract.

    Args:
        reply: The reply.
        circumstances: The facts for the message.
        problem: What is wrong with the reply.
        is_object: Whether its body is a JSON object; None to find out, which takes long for a large one.
    """
    if is_object is None:
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
        headers=reply.kept_headers(circumstances.secrets),
    )
    found.url, found.operation = reply.url, reply.operation
    return found


def cut_response(reply: Reply, circumstances: Circumstances) -> ConnectionFailedError:
    """Return the error for a success whose body is incomplete."""
    found = ConnectionFailedError(
        f"{circumstances.region} answered {reply.status_code} to the request for {circumstances.subject}, "
        f"but {reply.flaw}. Try again."
    )
    found.url, found.operation = reply.url, reply.operation
    return found


def redirect_advice(reply: Reply, setting: str, secrets: tuple[str, ...]) -> str:
    """Return the advice for a redirect: its target, which received nothing, and the setting to check."""
    if reply.status_code == 304:  # noqa: PLR2004 - the only 3xx without a target
        return (
            "That status answers a conditional request, and this was not one, so a proxy or a cache seems to "
            f"have answered, not the API; check the proxy and the region's {setting}."
        )
    target = show(_origin(mask_secrets(reply.only_value(b"location") or "", secrets)), secrets)
    return (
        f"It redirects to {target or 'an unnamed location'}, which received nothing, because credentials "
        f"go only to the region's own hosts; check the region's {setting}."
    )
