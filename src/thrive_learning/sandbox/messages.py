"""The requests and responses of a sandbox."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

BASIC_CHALLENGE = 'Basic realm="sandbox", charset="UTF-8"'
BEARER_CHALLENGE = 'Bearer realm="sandbox"'


@dataclass(frozen=True, slots=True)
class SandboxRequest:
    """An HTTP request. Its repr does not show headers and body, which may contain secrets.

    Args:
        method: The method as sent, which is case-sensitive.
        target: The percent-encoded path, and the query if there is one.
        headers: Values by lower-case name.
        body: The whole body.

    Source:
        RFC 9112, section 3.2.1 (origin-form)
    """

    method: str
    target: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class SandboxResponse:
    """An HTTP response. Its repr does not show the body, which may contain an access token.

    Args:
        status: The status code.
        headers: Values by lower-case name.
        body: JSON, or HTML if that was requested; empty in response to HEAD.

    Source:
        RFC 9110, section 15
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


def completed(response: SandboxResponse, request: SandboxRequest, now: float) -> SandboxResponse:
    """Add the headers that every response has, such as the date, from the time in Unix seconds."""
    request_id = hashlib.sha256(as_utf8(f"{request.method} {request.target} {now!r}")).hexdigest()[:32]
    return replace(
        response,
        # RFC 9110, section 6.6.1: an origin server with a clock must send the date.
        headers={**response.headers, "x-request-id": request_id, "date": formatdate(now, usegmt=True)},
        # RFC 9110, section 9.3.2: HEAD gets the header fields of GET, with content-length, but no content.
        body=b"" if request.method == "HEAD" else response.body,
    )


def as_utf8(text: str) -> bytes:
    """Encode any text. A server may pass bytes that are not UTF-8 as lone surrogates."""
    return text.encode(errors="surrogatepass")


def as_json(value: Mapping[str, Any]) -> bytes:
    """Encode a value as JSON, without NaN and infinities."""
    return json.dumps(value, allow_nan=False).encode()


def json_response(
    status: int, content: Mapping[str, Any], headers: Mapping[str, str] | None = None
) -> SandboxResponse:
    """Return a response with a JSON object as its body."""
    body = as_json(content)
    length = str(len(body))
    return SandboxResponse(
        status=int(status),
        headers={"content-type": "application/json", "content-length": length, **(headers or {})},
        body=body,
    )


def phrase(status: int) -> str:
    """Return the reason phrase of a status, including those that IANA does not list."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def error_response(status: int, message: str, headers: Mapping[str, str] | None = None) -> SandboxResponse:
    """Return an error of the API, with the contract's Error body."""
    return json_response(
        status, {"status": int(status), "error": phrase(status), "message": message}, headers
    )


def method_not_allowed(allow: str) -> SandboxResponse:
    """Return the response to a method that a path does not allow."""
    return error_response(
        HTTPStatus.METHOD_NOT_ALLOWED,
        f"This path allows only {allow.replace(', ', ' and ')}",
        {"allow": allow},
    )


def unauthorized(message: str, challenge: str) -> SandboxResponse:
    """Return the response to credentials that are missing or wrong."""
    return error_response(HTTPStatus.UNAUTHORIZED, message, {"www-authenticate": challenge})


def invalid_token(message: str) -> SandboxResponse:
    """Return the response to an access token that is not valid, or no longer valid.

    Source:
        RFC 6750, section 3.1
    """
    challenge = f'{BEARER_CHALLENGE}, error="invalid_token", error_description="{message}"'
    return unauthorized(message, challenge)


def insufficient_scope() -> SandboxResponse:
    """Return the response to an access token that does not allow reading.

    Source:
        RFC 6750, section 3.1
    """
    challenge = f'{BEARER_CHALLENGE}, error="insufficient_scope", scope="api/read"'
    message = "The access token has neither the scope api/read nor api/all"
    return error_response(HTTPStatus.FORBIDDEN, message, {"www-authenticate": challenge})
