import datetime as dt
import email.utils
import json
import math

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thrive_learning import ApiError, NotFoundError, RetryPolicy, Timeout
from thrive_learning._outcome import (
    Circumstances,
    Reply,
    api_error,
    connection_failure,
    json_object,
    quoted,
    retry_after,
    unexpected_response,
)
from thrive_learning.policies import Budget

NOW = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
CIRCUMSTANCES = Circumstances(
    region="staging",
    subject="activity 60d5",
    credentials="OAuth client credentials",
    allowed="the token has the scopes api/write; reading needs api/read or api/all",
    secrets=("canary",),
)


def error_for(status: int, body: bytes = b"", **headers: str) -> ApiError:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return api_error(Reply(status_code=status, headers=httpx.Headers(named).raw, body=body), CIRCUMSTANCES)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0),
        ("120", 120),
        ("1.5", 1.5),
        (" 1\t", 1),
        ("1\x1f", None),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("soon", None),
        ("", None),
        ("Mon, 23 Nov 2026 12:00:30 GMT", 30),
        ("Mon, 23 Nov 2026 12:00:30 -0000", 30),
        ("Mon, 23 Nov 2026 11:00:00 GMT", 0),
        ("Mon, 99 Nov 2026 11:00:00 GMT", None),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, NOW) == seconds


@given(st.text())
def test_retry_after_never_fails(value: str) -> None:
    seconds = retry_after(value, NOW)
    assert seconds is None or (seconds >= 0 and math.isfinite(seconds))


@given(st.integers(0, 10**6))
def test_retry_after_as_a_date_is_the_time_until_then(seconds: int) -> None:
    date = email.utils.format_datetime(NOW + dt.timedelta(seconds=seconds), usegmt=True)
    assert retry_after(date, NOW) == seconds


@given(st.text(), st.integers(1, 50))
def test_a_quote_is_one_short_printable_line(text: str, limit: int) -> None:
    line = quoted(text, limit)
    assert line.isprintable()
    assert len(line) <= limit + 1


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"<!doctype html>", "HTML or XML"),
        (b"\n <html>", "HTML or XML"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b'{"a": -Infinity}', "-Infinity is not JSON"),
        (b'{"a": 1e999}', "too large"),
        (b'{"a": ' + b"1" * 5000 + b"}", "not JSON"),
        (b"[" * 200_000, "nested too deeply"),
        (b"null", "its body is JSON, but null and not an object"),
        (b"[]", "JSON, but an array and"),
        (b'"x"', "JSON, but a string and"),
        (b"5", "JSON, but a number and"),
        (b"5.5", "JSON, but a number and"),
        (b"true", "JSON, but a boolean and"),
    ],
)
def test_what_is_no_json_object(body: bytes, problem: str) -> None:
    read = json_object(body)
    assert isinstance(read, str)
    assert problem in read


def test_a_json_object() -> None:
    assert json_object(b'\xef\xbb\xbf{"a": 1.5}') == ('{"a": 1.5}', {"a": 1.5})


@given(st.binary())
def test_no_bytes_make_it_fail(body: bytes) -> None:
    assert isinstance(json_object(body), (str, tuple))


def test_an_error_says_who_what_and_which() -> None:
    error = error_for(
        404, b'{"status": 404, "error": "Not Found", "message": "Activity not found"}', x_request_id="r-1"
    )
    assert str(error) == (
        "staging answered 404 to the request for activity 60d5: \"Activity not found\". The region 'staging' "
        "holds no such record. Check the id and the region: staging and production do not share records. "
        "(request id r-1)"
    )
    assert (error.status_code, error.error, error.message) == (404, "Not Found", "Activity not found")
    assert (error.request_id, error.region) == ("r-1", "staging")


API_404 = {"status": 404, "error": "Not Found", "message": "Activity not found"}


@pytest.mark.parametrize(
    "body",
    [
        json.dumps(API_404),
        "\ufeff" + json.dumps(API_404),
        '{"error": "not_found", "message": "Activity not found"}',
        '{"status": 404, "message": "Activity not found"}',
        '{"status": 404, "message": {"id": "not found"}}',
        '{"status": 404, "message": ["not found"], "error": null}',
        '{"status": "404", "error": "Not Found", "message": "x"}',
    ],
)
def test_a_404_in_the_format_of_the_api_means_that_the_record_is_missing(body: str) -> None:
    error = error_for(404, body.encode())
    assert type(error) is NotFoundError
    assert (error.in_api_format, error.is_final, error.is_transient) == (True, True, False)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"<html><h1>404 Not Found</h1></html>",
        b'<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>',
        b"not found",
        b"null",
        b"404",
        b'"not found"',
        b"[]",
        b'[{"status": 404, "error": "Not Found", "message": "Activity not found"}]',
        b"{}",
        b'{"message": "Not Found"}',
        b'{"message": "Missing Authentication Token"}',
        b'{"Message": "Not Found", "error": "x"}',
        b'{"message": "x", "status": "404"}',
        b'{"message": "x", "status": true}',
        b'{"message": "x", "status": 400}',
        b'{"message": "x", "status": 500, "error": "Internal Server Error"}',
        b'{"message": "x", "error": null}',
        b'{"message": "x", "error": " "}',
        b'{"message": "x", "error": {"code": 5}}',
        b'{"message": "x", "error": true}',
        b'{"status": 404}',
        b'{"status": 404, "error": "Not Found"}',
        b'{"status": 404, "error": "Not Found", "message": null}',
        b'{"status": 404, "error": "Not Found", "message": ""}',
        b'{"status": 404, "error": "Not Found", "message": "  "}',
        b'{"status": 404, "error": "Not Found", "message": {}}',
        b'{"status": 404, "error": "Not Found", "message": 404}',
        b'{"status": 404, "error": "Not Found", "message": true}',
        b'{"status": 404, "error": "Not Found", "message": "Activity not fou',
        json.dumps(API_404).encode("utf-16"),
        b"\x1f\x8b\x08" + json.dumps(API_404).encode(),
    ],
)
def test_any_other_404_does_not_mean_that_the_record_is_missing(body: bytes) -> None:
    reply = Reply(status_code=404, body=body)
    reply.url, reply.operation = "https://a.example/v2/activity/60d5", "activities.get"
    error = api_error(reply, CIRCUMSTANCES)
    assert type(error) is ApiError
    assert (error.in_api_format, error.is_final, error.is_transient) == (False, False, False)
    assert "https://a.example/v2/activity/60d5 is probably wrong" in str(error)
    assert "holds no such record" not in str(error)
    assert (error.url, error.operation) == (reply.url, reply.operation)


def test_a_404_whose_body_is_not_intact_does_not_mean_that_the_record_is_missing() -> None:
    whole = json.dumps(API_404).encode()
    assert type(api_error(Reply(status_code=404, body=whole, flaw="x", cut=True), CIRCUMSTANCES)) is ApiError
    assert type(api_error(Reply(status_code=404, body=whole), CIRCUMSTANCES)) is NotFoundError


@pytest.mark.parametrize(
    ("body", "is_object"), [(b"{}", True), (b'{"id": 1}', True), (b"[]", False), (b"<html>", False)]
)
def test_an_unexpected_response_says_whether_it_is_a_json_object(body: bytes, *, is_object: bool) -> None:
    reply = Reply(status_code=200, body=body)
    assert unexpected_response(reply, CIRCUMSTANCES, "x").in_api_format is is_object
    cut = Reply(status_code=200, body=body, flaw="x", cut=True)
    assert not unexpected_response(cut, CIRCUMSTANCES, "x").in_api_format


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (401, "The OAuth client credentials are not accepted"),
        (401, "'staging'"),
        (403, "the token has the scopes api/write; reading needs api/read or api/all"),
        (404, "does not say that the record is missing"),
        (429, "wait a while"),
        (408, "may succeed a little later"),
        (500, "may succeed a little later"),
        (520, "may succeed a little later"),
        (400, "does not accept this request"),
        (418, "does not accept this request"),
        (302, "redirects to an unnamed place"),
    ],
)
def test_an_error_says_what_to_do(status: int, advice: str) -> None:
    assert advice in str(error_for(status))


def test_a_token_that_is_not_accepted_is_no_matter_of_the_credentials() -> None:
    with_token = Circumstances(
        region="staging",
        subject="activity 60d5",
        credentials="OAuth client credentials",
        allowed="",
        with_token=True,
    )
    reply = Reply(status_code=401, body=b"")
    assert str(api_error(reply, with_token)) == (
        "staging answered 401 to the request for activity 60d5. The access token is not accepted, although "
        "the region 'staging' issued it for these OAuth client credentials: check that the region's api_url "
        "and token URL belong together, and that the client has not been blocked since."
    )


def test_a_304_leads_nowhere() -> None:
    assert str(error_for(304, etag="x")) == (
        "staging answered 304 to the request for activity 60d5. That answers a conditional request, and this "
        "was none: a proxy or a cache may have answered in the API's place. Check what stands in between, "
        "and the region's api_url."
    )


def test_a_throttle_says_how_long_to_wait() -> None:
    error = error_for(429, retry_after="7")
    assert error.retry_after == 7
    assert "wait 7 s" in str(error)


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("https://evil.example/login?token=x", "https://evil.example"),
        ("//evil.example/x", "https://evil.example"),
        ("/login?token=x", "/login"),
        ("https://[", "an unnamed place"),
    ],
)
def test_a_redirect_names_its_target_without_the_query(location: str, shown: str) -> None:
    message = str(error_for(307, location=location))
    assert f"redirects to {shown};" in message
    assert "token=x" not in message


REQUEST_ID_HEADERS = ["x-request-id", "x-amzn-requestid", "apigw-requestid"]


@pytest.mark.parametrize("name", REQUEST_ID_HEADERS)
def test_the_request_id_is_found(name: str) -> None:
    assert error_for(500, b"", **{name: "id 1"}).request_id == "id 1"
    assert error_for(500).request_id is None


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (("a", "b", "c"), "a"),
        (("", "b", "c"), "b"),
        (("", "", "c"), "c"),
        ((None, "b", "c"), "b"),
        (("a", None, "c"), "a"),
        (("", None, ""), None),
    ],
)
def test_the_first_header_that_names_a_request_id_counts(
    values: tuple[str | None, ...], found: str | None
) -> None:
    sent = {name: value for name, value in zip(REQUEST_ID_HEADERS, values, strict=True) if value is not None}
    arrived = dict(reversed(sent.items()))  # the order that they arrive in says nothing
    assert error_for(500, b"", **arrived).request_id == found


def test_what_the_server_repeats_is_masked() -> None:
    error = error_for(400, b'{"error": "canary", "message": "you sent canary", "more": "canary"}')
    assert "canary" not in str(error) + error.body + str(error.error) + str(error.message)
    assert "**********" in error.body


@pytest.mark.parametrize("body", [b'{"error": 5, "message": ["a"]}', b"[]", b"<html>", b"", b"\xff"])
def test_a_body_of_another_form_gives_no_message(body: bytes) -> None:
    error = error_for(500, body)
    assert (error.error, error.message) == (None, None)
    assert error.body == body.decode(errors="replace")


def test_a_large_body_is_capped() -> None:
    error = error_for(500, b'{"message": "' + b"x" * 100_000 + b'"}')
    assert len(error.body) == 4096
    assert len(str(error)) < 1000


@pytest.mark.parametrize(("size", "kept"), [(4095, 4095), (4096, 4096), (4097, 4096), (100_000, 4096)])
def test_a_body_is_kept_up_to_4096_characters(size: int, kept: int) -> None:
    body = "\N{EURO SIGN}" * size  # characters, not bytes
    reply = Reply(status_code=200, body=body.encode())
    for error in (error_for(500, body.encode()), unexpected_response(reply, CIRCUMSTANCES, "x")):
        assert error.body == body[:kept]


def test_a_secret_is_masked_before_the_body_is_capped() -> None:
    body = ("x" * 4093 + "canary").encode()
    reply = Reply(status_code=200, body=body)
    for error in (error_for(500, body), unexpected_response(reply, CIRCUMSTANCES, "x")):
        assert error.body == "x" * 4093 + "***"


def test_an_illegal_header_does_not_show_in_the_message() -> None:
    cause = httpx.LocalProtocolError("Illegal header value b'Bearer canary'")
    error = connection_failure(cause, host="h", budget=Budget(Timeout(), RetryPolicy()))
    assert "canary" not in str(error)
    assert "LocalProtocolError" in str(error)


@pytest.mark.parametrize(
    "value", ["1_000", "\uff11\uff12", "1e300", "9" * 400, "Mon, 23 Nov 9" + "9" * 20 + " 12:00:30 GMT"]
)
def test_a_retry_after_that_python_would_read_otherwise(value: str) -> None:
    assert retry_after(value, NOW) is None


def test_what_h11_repeats_of_the_wire_is_left_out() -> None:
    cause = httpx.RemoteProtocolError("illegal status line: bytearray(b'canary')")
    message = str(connection_failure(cause, host="h", budget=Budget(Timeout(), RetryPolicy())))
    assert "canary" not in message
    assert "illegal status line: …" in message


def test_a_long_message_of_the_server_is_capped() -> None:
    error = error_for(500, json.dumps({"message": "x" * 100_000}).encode())
    assert len(error.message or "") == 4096
