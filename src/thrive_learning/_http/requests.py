"""Builds requests out of what generated code asks for."""

import re
from typing import Any

import httpx

from thrive_learning._http.port import Headers, Request, parse_url
from thrive_learning.errors import ConfigurationError

# Paths that mean the same in every URL: nothing to encode, and no segments of dots, which URLs resolve.
_PLAIN_PATH = re.compile(r"(?:/[A-Za-z0-9_-]+)+", re.ASCII)

#: How the User-Agent names the library that builds and sends requests.
LIBRARY = f"httpx/{httpx.__version__}"


class RequestTemplate:
    """Builds the requests of one client: the parts that they share are encoded once.

    Args:
        api_url: The URL of the API, to which a path is added.
        headers: Those of every request.
    """

    def __init__(self, api_url: str, headers: Headers) -> None:
        self.origin, self._host, path = parse_url(api_url)
        self._api_url = api_url
        self._headers = headers
        self._path = path.rstrip(b"/")
        # The headers of a GET for an Authorization header, which changes when the token does.
        self._prepared: tuple[bytes, Headers] = (b"", ())

    def request(self, method: str, path: str, options: dict[str, Any], authorization: bytes) -> Request:
        """Build a request. It can only go to the API's own host.

        Args:
            method: The HTTP method.
            path: The path below the API's URL; it begins with a slash.
            options: What else generated code passes to `httpx.Client.request`.
            authorization: The value of the Authorization header.

        Raises:
            ConfigurationError: The path does not begin with a slash.
        """
        if not options and method == "get" and _PLAIN_PATH.fullmatch(path):
            target = self._path + path.encode("ascii")
            return Request("GET", self.origin, target, self._for(authorization))
        if not path.startswith("/"):
            raise ConfigurationError(f"{path!r} is not a path of the contract. Those begin with a slash.")
        extra = httpx.Headers(options.get("headers")).raw
        headers = [*self._headers, (b"Authorization", authorization), *extra]
        built = httpx.Request(method, self._api_url + path, **(options | {"headers": headers}))
        return Request(built.method, self.origin, built.url.raw_path, built.headers.raw, built.read())

    def _for(self, authorization: bytes) -> Headers:
        known, headers = self._prepared
        if known != authorization:
            headers = [(b"Host", self._host), *self._headers, (b"Authorization", authorization)]
            self._prepared = (authorization, headers)
        return headers
