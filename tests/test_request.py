from collections.abc import AsyncIterable
from typing import Any

import httpx
import pytest
from harness import ACTIVITY_ID

from thrive_learning._request import (
    Content,
    Received,
    Request,
    RequestTemplate,
    Server,
    destination,
    netloc,
    raw_headers,
    whole_request,
)

SERVER = Server(httpx.URL("https://api.example"))
HEADERS = ((b"Accept", b"application/json"), (b"User-Agent", b"tests"))


def wire(request: httpx.Request) -> tuple[str, str, list[tuple[bytes, bytes]], bytes]:
    """What goes out."""
    assert isinstance(request.stream, httpx.SyncByteStream)
    return request.method, str(request.url), request.headers.raw, b"".join(request.stream)


@pytest.mark.parametrize(
    ("api_url", "path"),
    [
        ("https://api.example/rest/v1", f"/activity/{ACTIVITY_ID}"),
        ("https://api.example:8443/rest/v1", f"/activity/{ACTIVITY_ID}"),
        ("https://api.example", f"/activity/{ACTIVITY_ID}"),
        ("http://[::1]:8080/a%20b", f"/activity/{ACTIVITY_ID}"),
        ("https://bücher.example/rest", "/activity/a-b_c"),
        # None of these is plain: they take httpx's own way.
        ("https://api.example/rest/v1", "/activity/../token"),
        ("https://api.example/rest/v1", "/activity/a%2Fb"),
        ("https://api.example/rest/v1", "/activity/ä"),
        ("https://api.example/rest/v1", "/activity/1?with=2"),
        ("https://api.example/rest/v1", "/activity/"),
    ],
)
def test_a_request_is_the_one_that_httpx_would_build(api_url: str, path: str) -> None:
    template = RequestTemplate(api_url, HEADERS)
    headers = [*HEADERS, (b"Authorization", b"Basic x")]
    for _ in range(2):
        built = template.request("get", path, {}, b"Basic x")
        whole = httpx.URL(api_url + path)
        goes_to = (whole.raw_scheme, whole.raw_host, whole.port), whole.raw_path
        assert (destination(built), netloc(built)) == (goes_to, whole.netloc)
        assert wire(built) == wire(httpx.Request("GET", api_url + path, headers=headers))
        assert built.url == whole
        assert (destination(built), netloc(built)) == (goes_to, whole.netloc)


def test_a_new_token_goes_into_the_next_request() -> None:
    template = RequestTemplate("https://api.example", HEADERS)
    sent = [template.request("get", "/x", {}, value).headers["authorization"] for value in (b"a", b"b", b"a")]
    assert sent == ["a", "b", "a"]


def test_requests_do_not_share_what_can_be_changed() -> None:
    template = RequestTemplate("https://api.example", HEADERS)
    first = template.request("get", "/x", {}, b"a")
    first.headers["X-Mine"] = "1"
    first.extensions["timeout"] = {}
    second = template.request("get", "/x", {}, b"a")
    assert "x-mine" not in second.headers
    assert second.extensions == {}


@pytest.mark.parametrize(
    ("method", "options"),
    [("post", {}), ("get", {"params": {"a": "b"}}), ("put", {"json": {"a": 1}, "headers": {"X-Mine": "1"}})],
)
def test_what_other_endpoints_will_need(method: str, options: dict[str, Any]) -> None:
    built = RequestTemplate("https://api.example", HEADERS).request(method, "/x", dict(options), b"a")
    headers = [*HEADERS, (b"Authorization", b"a"), *httpx.Headers(options.get("headers")).raw]
    rest = {name: value for name, value in options.items() if name != "headers"}
    assert wire(built) == wire(httpx.Request(method, "https://api.example/x", headers=headers, **rest))


@pytest.mark.anyio
async def test_a_request_can_be_read_as_httpx_does_it() -> None:
    body = Request("POST", SERVER, b"/", (), b"body")
    assert (body.content, body.read(), await body.aread()) == (b"body", b"body", b"body")


@pytest.mark.anyio
async def test_a_body_is_no_generator_that_could_be_left_half_way() -> None:
    request = whole_request("POST", "https://api.example", {"content": b"body"})
    assert isinstance(request.stream, Content)
    assert isinstance(request.stream, AsyncIterable)
    chunks = aiter(request.stream)
    assert not hasattr(chunks, "aclose")
    assert [chunk async for chunk in chunks] == [b"body"]
    assert [chunk async for chunk in Content(b"")] == []
    assert list(Content(b"")) == []


def test_headers_that_nobody_asks_for_are_not_made() -> None:
    for message in (
        Request("GET", SERVER, b"/", HEADERS),
        Received(200, HEADERS, Content(b"")),
    ):
        assert raw_headers(message) is HEADERS
        assert "headers" not in vars(message)
        message.headers["X-Traced"] = "1"  # as instrumentation does
        assert raw_headers(message) == [*httpx.Headers(HEADERS).raw, (b"X-Traced", b"1")]
        with pytest.raises(AttributeError, match="has no attribute 'header'"):
            _ = getattr(message, "header")  # noqa: B009 - it has none
    assert raw_headers(httpx.Request("GET", "https://api.example")) == [(b"Host", b"api.example")]


def test_a_response_of_ours_is_read_in_httpx_s_way_too() -> None:
    response = Received(200, [(b"content-type", b"text/plain")], Content(b"body"))
    with httpx.Client(transport=httpx.MockTransport(lambda _request: response)) as client:
        assert client.get("https://api.example").text == "body"


def test_a_url_that_nobody_asks_for_is_not_made() -> None:
    request = RequestTemplate("https://api.example/v1", HEADERS).request("get", "/x", {}, b"a")
    assert destination(request) == ((b"https", b"api.example", None), b"/v1/x")
    assert "url" not in vars(request)
    request.url = httpx.URL("http://[::1]:80/y")  # as a transport between may
    assert destination(request) == ((b"http", b"::1", None), b"/y")
    assert netloc(request) == b"[::1]"
