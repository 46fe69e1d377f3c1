"""Builds requests from the arguments of generated code."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast
from urllib.parse import quote, urlencode

from thrive_learning._http.port import Headers, Request, parse_url
from thrive_learning.errors import ConfigurationError

# A percent-encoded path without dot segments, which could lead elsewhere. Source: RFC 3986 sections 3.3 and
# 5.2.4.
_PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|\Z))(?:[A-Za-z0-9_.~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*)+")

_FORM = b"application/x-www-form-urlencoded"


class RequestTemplate:
    """Builds the requests of one client. Their common parts are encoded once.

    Args:
        api_url: The URL of the API, to which a path is appended.
        headers: The headers of every request.
    """

    def __init__(self, api_url: str, headers: Headers) -> None:
        self.origin, self._host, path = parse_url(api_url)
        self._headers = headers
        self._path = path.rstrip(b"/")
        # The headers of a GET with this Authorization header, which changes with the token.
        self._prepared: tuple[bytes, Headers] = (b"", ())

    def request(self, method: str, path: str, options: dict[str, Any], authorization: bytes) -> Request:
        """Build a request. It can only go to the API's own host.

        Args:
            method: The HTTP method.
            path: The path below the API's URL, with a leading slash.
            options: The other arguments of `httpx.Client.request` from generated code.
            authorization: The value of the Authorization header.

        Raises:
            ConfigurationError: The path is not valid, or an option is not supported.
        """
        if not _PATH.fullmatch(path):
            raise ConfigurationError(
                f"{path!r} is not a path of the contract. A path begins with a slash and is percent-encoded."
            )
        target, headers = self._path + path.encode("ascii"), self._for(authorization)
        if not options and method == "get":
            return Request("GET", self.origin, target, headers)
        return _with_options(Request(method.upper(), self.origin, target, headers), options)

    def _for(self, authorization: bytes) -> Headers:
        known, headers = self._prepared
        if known != authorization:
            headers = [(b"Host", self._host), *self._headers, (b"Authorization", authorization)]
            self._prepared = (authorization, headers)
        return headers


def _with_options(request: Request, options: dict[str, Any]) -> Request:
    target, headers = request.target, list(request.headers)
    body: bytes | None = None
    content_type = b""
    for name, value in options.items():
        match name:
            case "params":
                query = urlencode(list(_pairs(value)), quote_via=quote)
                target += f"?{query}".encode("ascii") if query else b""
            case "headers":
                headers += [(key.encode("ascii"), text.encode("ascii")) for key, text in value.items()]
            case "json":
                text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
                body, content_type = text.encode(), b"application/json"
            case "data":
                body, content_type = urlencode(list(_pairs(value))).encode("ascii"), _FORM
            case "content":
                body = value.encode() if isinstance(value, str) else bytes(value)
            case _:
                raise ConfigurationError(f"{name}= of a generated request is not supported.")
    if content_type and all(key.lower() != b"content-type" for key, _ in headers):
        headers.append((b"Content-Type", content_type))
    if body is not None or request.method in {"POST", "PUT", "PATCH"}:
        headers.append((b"Content-Length", b"%d" % len(body or b"")))
    return Request(request.method, request.origin, target, headers, body or b"")


def _pairs(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield names and values for URLs and forms. A list repeats its name."""
    for name, value in values.items():
        items = cast("Iterable[Any]", value if isinstance(value, (list, tuple)) else (value,))
        for item in items:
            text = "" if item is None else str(item)
            yield name, text.lower() if isinstance(item, bool) else text
