"""The headers that results and errors keep."""

import copy
import datetime as dt
import pickle
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from harness import ACTIVITY_ID, BASIC, Flavour, page_response

from thrive_learning import ApiError, ApiResponse, RateLimitedError, UnexpectedResponseError
from thrive_learning._response_headers import ResponseHeaders, is_kept

SENT = [
    ("Content-Type", "application/json"),
    ("Date", "Sun, 29 Nov 2026 12:00:00 GMT"),
    ("X-Request-ID", "request-1"),
    ("RateLimit-Remaining", "0"),
    ("X-RateLimit-Limit", "100"),
    ("Via", "1.1 one"),
    ("Via", "1.1 two"),
    ("Server", f"gateway {BASIC.api_secret.reveal()}\x7f"),
    ("Set-Cookie", "session=fake-session"),
    ("Location", "https://elsewhere.test/?token=fake"),
    ("Authorization", "Basic fake"),
    ("WWW-Authenticate", "Bearer"),
    ("X-Debug", "anything"),
]
KEPT = {
    "content-type": "application/json",
    "date": "Sun, 29 Nov 2026 12:00:00 GMT",
    "x-request-id": "request-1",
    "ratelimit-remaining": "0",
    "x-ratelimit-limit": "100",
    "via": "1.1 one, 1.1 two",
    "server": "gateway **********",
}


def check(headers: Mapping[str, str]) -> None:
    assert {name: value for name, value in headers.items() if name != "content-length"} == KEPT
    assert headers["X-REQUEST-ID"] == headers["x-request-id"] == "request-1"
    assert "Date" in headers
    assert "Set-Cookie" not in headers


def test_a_result_has_the_headers_of_its_response(flavour: Flavour) -> None:
    response = httpx.Response(200, content=page_response().content, headers=SENT)
    with flavour.answering(lambda _request: response) as client:
        check(client.activities.get_with_response(ACTIVITY_ID).headers)


@pytest.mark.parametrize(("status", "kind"), [(429, RateLimitedError), (200, UnexpectedResponseError)])
def test_an_error_has_the_headers_of_its_response(flavour: Flavour, status: int, kind: type[Any]) -> None:
    response = httpx.Response(status, content=b"[]", headers=SENT)
    with flavour.answering(lambda _request: response) as client:
        with pytest.raises(kind) as caught:
            client.activities.get(ACTIVITY_ID)
    error = caught.value
    check(error.headers)
    check(pickle.loads(pickle.dumps(error)).headers)
    check(copy.deepcopy(error).headers)


def test_a_response_of_the_callers_own_error_has_no_headers() -> None:
    errors: list[ApiError | UnexpectedResponseError] = [
        ApiError("no", status_code=404),
        UnexpectedResponseError("no", status_code=200),
    ]
    for error in errors:
        assert pickle.loads(pickle.dumps(error)).headers == {}


def test_headers_that_the_caller_passes_have_names_in_any_case() -> None:
    given = {"Retry-After": "3"}
    response = ApiResponse(
        data=1, status_code=200, request_id=None, elapsed=dt.timedelta(), history=(), headers=given
    )
    for headers in (
        response.headers,
        ApiError("no", status_code=404, headers=given).headers,
        UnexpectedResponseError("no", status_code=200, headers=given).headers,
    ):
        assert headers["retry-after"] == headers["RETRY-AFTER"] == "3"


def test_headers_cannot_be_changed_and_are_shown_as_a_dict() -> None:
    fields = {"date": "now"}
    headers = ResponseHeaders(fields)
    fields["date"] = "later"
    assert repr(headers) == "{'date': 'now'}"
    assert headers == {"date": "now"}
    assert len(headers) == 1
    assert not hasattr(headers, "__setitem__")
    assert 5 not in headers  # type: ignore[comparison-overlap]
    assert headers.get(None) is None  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "name",
    [
        "authorization",
        "set-cookie",
        "cookie",
        "location",
        "proxy-authenticate",
        "x-date",
        "datex",
        "dat\ufffd",
    ],
)
def test_other_headers_are_left_out(name: str) -> None:
    assert not is_kept(name)
