"""Requests are built as generated code asks, and go to the API's own host only."""

from typing import Any

import pytest

from thrive_learning import ConfigurationError
from thrive_learning._call.requests import RequestTemplate

HEADERS = [(b"Host", b"api.example:8443"), (b"A", b"b"), (b"Authorization", b"Basic x")]
FORM = b"application/x-www-form-urlencoded"


@pytest.fixture
def template() -> RequestTemplate:
    return RequestTemplate("https://api.example:8443/rest/v1/", [(b"A", b"b")])


def test_a_plain_get_shares_its_headers(template: RequestTemplate) -> None:
    first, second = (template.request("get", f"/a/{name}", {}, b"Basic x") for name in "bc")
    assert (first.method, first.origin) == ("GET", ("https", "api.example", 8443))
    assert (first.target, second.target) == (b"/rest/v1/a/b", b"/rest/v1/a/c")
    assert (first.headers, first.body) == (HEADERS, b"")
    assert first.headers is second.headers
    other = template.request("get", "/a/b", {}, b"Basic y")
    assert other.headers == [*HEADERS[:2], (b"Authorization", b"Basic y")]


def test_the_path_of_the_api_loses_slashes_only() -> None:
    template = RequestTemplate("https://api.example/X//", [])
    assert template.request("get", "/a", {}, b"Basic x").target == b"/X/a"


@pytest.mark.parametrize(
    ("params", "query"),
    [
        ({}, b""),
        ({"a": True, "b": False, "c": None}, b"?a=true&b=false&c="),
        ({"a": [1, "b", None], "c": (2.5,), "d": []}, b"?a=1&a=b&a=&c=2.5"),
        ({"a": "True"}, b"?a=True"),
        ({"a": "b c/d&e=\u00e9,"}, b"?a=b%20c%2Fd%26e%3D%C3%A9%2C"),
    ],
)
def test_parameters(template: RequestTemplate, params: dict[str, Any], query: bytes) -> None:
    request = template.request("get", "/a", {"params": params}, b"Basic x")
    assert (request.target, request.headers, request.body) == (b"/rest/v1/a" + query, HEADERS, b"")


@pytest.mark.parametrize(
    ("options", "body", "added"),
    [
        ({}, b"", [(b"Content-Length", b"0")]),
        ({"content": "\u00e9"}, b"\xc3\xa9", [(b"Content-Length", b"2")]),
        ({"content": bytearray(b"a")}, b"a", [(b"Content-Length", b"1")]),
        (
            {"json": {"\u00e9": [1, None]}},
            b'{"\xc3\xa9":[1,null]}',
            [(b"Content-Type", b"application/json"), (b"Content-Length", b"15")],
        ),
        (
            {"data": {"a": [True, "b c"], "d": None}},
            b"a=true&a=b+c&d=",
            [(b"Content-Type", FORM), (b"Content-Length", b"15")],
        ),
        (
            {"json": 1, "headers": {"content-type": "application/merge-patch+json", "If-Match": "1"}},
            b"1",
            [
                (b"content-type", b"application/merge-patch+json"),
                (b"If-Match", b"1"),
                (b"Content-Length", b"1"),
            ],
        ),
    ],
)
def test_bodies_and_headers(
    template: RequestTemplate, options: dict[str, Any], body: bytes, added: list[tuple[bytes, bytes]]
) -> None:
    request = template.request("post", "/a", options, b"Basic x")
    assert (request.method, request.target, request.body) == ("POST", b"/rest/v1/a", body)
    assert request.headers == HEADERS + added


@pytest.mark.parametrize("method", ["post", "put", "patch"])
def test_a_method_that_expects_a_body_has_a_length(template: RequestTemplate, method: str) -> None:
    request = template.request(method, "/a", {}, b"Basic x")
    assert (request.method, request.headers) == (method.upper(), [*HEADERS, (b"Content-Length", b"0")])


def test_json_has_no_infinite_numbers(template: RequestTemplate) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        template.request("post", "/a", {"json": float("inf")}, b"Basic x")


def test_a_delete_without_a_body_has_no_length(template: RequestTemplate) -> None:
    assert template.request("delete", "/a", {}, b"Basic x").headers == HEADERS


@pytest.mark.parametrize("name", ["cookies", "files", "timeout"])
def test_an_unknown_option_is_named(template: RequestTemplate, name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name}= of a generated request is not supported"):
        template.request("get", "/a", {name: None}, b"Basic x")


@pytest.mark.parametrize("path", ["/a/", "/a.b/..c/%2E", "/~!$&'()*+,;=:@-", "/"])
def test_a_path_is_sent_as_it_is(template: RequestTemplate, path: str) -> None:
    assert template.request("get", path, {}, b"Basic x").target == b"/rest/v1" + path.encode("ascii")


@pytest.mark.parametrize(
    "path",
    [
        *(
            "",
            "a",
            "https://evil.example/",
            "@evil.example/",
            "/a?b",
            "/a#b",
            "/a b",
            "/\u00e9",
            "/a\n",
            "/%2",
        ),
        *("/..", "/.", "/a/../b", "/a/./b", "/a/.."),
    ],
)
def test_a_path_that_leads_elsewhere_is_rejected(template: RequestTemplate, path: str) -> None:
    with pytest.raises(ConfigurationError, match="begins with a slash"):
        template.request("get", path, {}, b"Basic x")
