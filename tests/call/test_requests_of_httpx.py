"""Requests are built from parts, and are those that httpx would build."""

from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thrive_learning import ConfigurationError
from thrive_learning._call.requests import RequestTemplate
from thrive_learning._http.port import (
    Origin,
)
from thrive_learning._http.routes import LIBRARY

HEADERS = ((b"Accept", b"application/json"), (b"User-Agent", b"test"))
API_URLS = [
    "https://api.example/rest/v1",
    "https://api.example:8443/rest/v1",
    "http://localhost:8000",
    "https://[2001:db8::1]:444/v1",
    "https://api.example:443/v1",
]


def lowered(headers: Any) -> list[tuple[bytes, bytes]]:
    return sorted((name.lower(), value) for name, value in headers)


@pytest.mark.parametrize("api_url", API_URLS)
@pytest.mark.parametrize(
    ("method", "path", "options"),
    [
        ("get", "/activity/60d5ec49b60b4b3a2c8f9a10", {}),
        ("get", "/activity/a%2Fb", {}),
        ("get", "/activity", {"params": {"page": 1, "q": "a&c"}}),
        ("get", "/activity", {"headers": {"X-Extra": "yes"}}),
        ("post", "/activity", {"json": {"a": 1}}),
        ("post", "/activity", {}),
    ],
)
def test_a_request_is_the_one_that_httpx_builds(
    api_url: str, method: str, path: str, options: dict[str, Any]
) -> None:
    built = RequestTemplate(api_url, HEADERS).request(method, path, options, b"Basic x")
    headers = [*HEADERS, (b"Authorization", b"Basic x"), *httpx.Headers(options.get("headers")).raw]
    arguments: dict[str, Any] = options | {"headers": headers}
    expected = httpx.Request(method, api_url.rstrip("/") + path, **arguments)
    assert (built.method, built.target, built.body) == (
        expected.method,
        expected.url.raw_path,
        expected.content,
    )
    ports = {"https": 443, "http": 80}
    port = expected.url.port or ports[expected.url.scheme]
    assert built.origin == Origin(expected.url.scheme, expected.url.host, port)
    found, wanted = dict(lowered(built.headers)), dict(lowered(expected.headers.raw))
    # httpx leaves the default port out of the header.
    assert found.pop(b"host").removesuffix(b":443") == wanted.pop(b"host")
    assert found == wanted


def test_requests_with_the_same_token_share_their_headers() -> None:
    template = RequestTemplate(API_URLS[0], HEADERS)
    first, second = (template.request("get", f"/activity/{name}", {}, b"Bearer a") for name in "ab")
    assert first.headers is second.headers
    assert first.headers == [(b"Host", b"api.example"), *HEADERS, (b"Authorization", b"Bearer a")]
    assert template.request("get", "/activity/a", {}, b"Bearer b").headers[-1] == (
        b"Authorization",
        b"Bearer b",
    )


@pytest.mark.parametrize("path", ["activity/a", "https://elsewhere.example/a", ""])
def test_a_path_begins_with_a_slash(path: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        RequestTemplate(API_URLS[0], HEADERS).request("get", path, {}, b"Basic x")
    assert (
        str(caught.value)
        == f"{path!r} is not a path of the contract. A path begins with a slash and is percent-encoded."
    )


@given(st.text())
def test_every_path_stays_at_the_origin(path: str) -> None:
    template = RequestTemplate(API_URLS[0], HEADERS)
    try:
        request = template.request("get", f"/{path}", {}, b"Basic x")
    except ConfigurationError:
        return
    assert request.origin == Origin("https", "api.example", 443)


def test_the_library_is_named_with_its_version() -> None:
    assert f"httpx/{httpx.__version__}" == LIBRARY
