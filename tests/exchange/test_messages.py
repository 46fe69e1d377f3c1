import datetime as dt
import email.utils
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thrive_learning import ApiError, NotFoundError
from thrive_learning._exchange.messages import Circumstances, api_error, unexpected_response
from thrive_learning._exchange.reply import Reply, json_object, retry_after

NOW = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
CIRCUMSTANCES = Circumstances(
    region="staging",
    subject="activity 60d5",
    credentials="OAuth client credentials",
    allowed="The scopes of the token (api/write) do not allow this; request api/read with scopes=.",
    secrets=("canary",),
)


def test_circumstances_show_no_secret() -> None:
    assert repr(CIRCUMSTANCES) == "<Circumstances activity 60d5>"


def error_for(status: int, body: bytes = b"", **headers: str) -> ApiError:
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return api_error(Reply(status_code=status, headers=named, body=body), CIRCUMSTANCES)


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


IN_30_S = ["Mon, 23 Nov 2026 12:00:30 GMT", "Monday, 23-Nov-26 12:00:30 GMT", "Mon Nov 23 12:00:30 2026"]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("81,120", 120),
        ("120, 81", 120),
        ("81 ,\t120 ", 120),
        (",81,, ,", 81),
        ("soon, 81", 81),
        ("81, soon", 81),
        ("-1, 1_000, 81", 81),
        ("0, 0", 0),
        ("1.5, 1", 1.5),
        ("soon, later", None),
        (" , ", None),
        ("81 120", None),
        ("81; 120", None),
        ("Mon, 120", 120),
        ("Mon, 23 Nov 2026 11:00:00 GMT, Mon, 23 Nov 2026 12:00:30 GMT", 30),
        ("Mon, 99 Nov 2026 12:00:30 GMT, 7", 7),
        ("Mon, 23 Nov 2026 12:00:30 CET", None),
        ("Mon, 23 Nov 2026 12:00:30 GMT or so", None),
        *((f"{date}, 7", 30) for date in IN_30_S),
        *((f"{date}, 81", 81) for date in IN_30_S),
        *((f"7,{date}", 30) for date in IN_30_S),
        *((f"soon,, {date} , {other}", 30) for date in IN_30_S for other in IN_30_S),
    ],
)
def test_the_longest_retry_after_that_can_be_read_counts(value: str, seconds: float | None) -> None:
    assert retry_after(value, NOW) == seconds


READABLE = st.integers(0, 10**6).map(lambda seconds: (str(seconds), seconds)) | st.sampled_from(
    [(date, 30) for date in IN_30_S]
)
UNREADABLE = st.sampled_from(["", " ", "soon", "Mon", "-1"]).map(lambda value: (value, None))


@given(st.lists(READABLE | UNREADABLE, min_size=1))
def test_several_values_of_retry_after_in_any_order(values: list[tuple[str, int | None]]) -> None:
    known = [seconds for _, seconds in values if seconds is not None]
    assert retry_after(",".join(value for value, _ in values), NOW) == max(known, default=None)


def reply_with(*headers: tuple[str, str]) -> Reply:
    named = [(name.encode(), value.encode()) for name, value in headers]
    return Reply(status_code=503, headers=named)


def test_a_header_that_is_sent_several_times() -> None:
    """Its values are joined, or if it is not a list, used only if they do not contradict each other."""
    reply = reply_with(("A", "1, 2"), ("B", "3"), ("a", "1, 2 "), ("a", "4"))
    assert reply.header(b"a") == "1, 2, 1, 2 , 4"
    assert reply.values(b"a") == ["1, 2", "4"]
    assert [reply.only_value(name) for name in (b"a", b"b", b"c")] == [None, "3", None]


NOON, EVENING = "Mon, 23 Nov 2026 12:00:00 GMT", "Mon, 23 Nov 2026 18:00:00 GMT"
SOON = "Mon, 23 Nov 2026 12:00:30 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ([("Retry-After", "81"), ("retry-after", "120")], 120),
        ([("Retry-After", SOON), ("Date", NOON), ("Date", NOON)], 30),
        ([("Retry-After", SOON), ("Date", NOON), ("Age", "10"), ("Age", "20")], 20),
        ([("Retry-After", SOON), ("Date", NOON), ("Age", "soon, 20")], 30),
    ],
)
def test_a_reply_whose_headers_are_sent_several_times(headers: list[tuple[str, str]], seconds: float) -> None:
    assert reply_with(*headers).retry_after() == seconds


def test_a_date_that_contradicts_itself_is_not_used() -> None:
    until = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=30)
    shown = email.utils.format_datetime(until, usegmt=True)
    wait = reply_with(("Retry-After", shown), ("Date", NOON), ("Date", EVENING)).retry_after()
    assert wait is not None
    assert 25 < wait <= 30  # by this machine's clock


def test_a_request_id_that_is_sent_several_times_is_shown_once() -> None:
    assert error_for(500, X_Request_Id="r-1", x_request_id="r-1").request_id == "r-1"
    assert error_for(500, X_Request_Id="r-1", x_request_id="r-2").request_id == "r-1, r-2"


def test_a_redirect_to_several_targets_names_none() -> None:
    one, other = "https://a.example/x,y", "https://b.example/"
    assert "redirects to https://a.example" in str(error_for(307, Location=one, location=one))
    assert "an unnamed location" in str(error_for(307, Location=one, location=other))


@given(st.text(), st.none() | st.text(), st.none() | st.text())
def test_retry_after_never_fails(value: str, date: str | None, age: str | None) -> None:
    seconds = retry_after(value, NOW, date, age)
    assert seconds is None or (seconds >= 0 and math.isfinite(seconds))


@pytest.mark.parametrize(
    ("value", "date", "age", "seconds"),
    [
        ("Mon, 23 Nov 2026 14:00:02 GMT", "Mon, 23 Nov 2026 14:00:00 GMT", None, 2),
        ("Mon, 23 Nov 2026 10:00:02 GMT", "Mon, 23 Nov 2026 10:00:00 GMT", None, 2),
        ("Mon, 23 Nov 2026 16:00:02 +0200", "Mon, 23 Nov 2026 14:00:00 GMT", None, 2),
        ("Mon, 23 Nov 2026 14:00:02 -0000", "Mon, 23 Nov 2026 15:00:00 +0100", None, 2),
        ("Monday, 23-Nov-26 14:00:02 GMT", "Mon Nov 23 14:00:00 2026", None, 2),
        ("Mon, 23 Nov 2026 13:59:00 GMT", "Mon, 23 Nov 2026 14:00:00 GMT", None, 0),
        ("Mon, 23 Nov 2026 14:00:10 GMT", "Mon, 23 Nov 2026 14:00:00 GMT", "8", 2),
        ("Mon, 23 Nov 2026 14:00:10 GMT", "Mon, 23 Nov 2026 14:00:00 GMT", "80", 0),
        ("Mon, 23 Nov 2026 14:00:10 GMT", "Mon, 23 Nov 2026 14:00:00 GMT", "soon", 10),
        ("Mon, 23 Nov 2026 12:00:30 GMT", "yesterday", "8", 30),
        ("Mon, 23 Nov 2026 12:00:30 GMT", "Mon, 23 Nov 2026 14:00:00 CET", None, 30),
        ("Mon, 23 Nov 2026 12:00:30 GMT", "", None, 30),
        ("Mon, 23 Nov 2026 12:00:30 GMT", "Mon, 99 Nov 2026 12:00:00 GMT", None, 30),
        ("30", "Mon, 23 Nov 2026 10:00:00 GMT", "10", 30),
        ("soon", "Mon, 23 Nov 2026 10:00:00 GMT", None, None),
        ("Fri, 31 Dec 9999 23:59:59 GMT", "Fri, 31 Dec 9999 23:59:50 GMT", "999999999", 0),
        ("Fri, 31 Dec 9999 23:59:59 -2359", "Fri, 31 Dec 9999 23:59:59 GMT", "9", 86_331),
    ],
)
def test_a_date_in_retry_after_counts_by_the_clock_of_the_server(
    value: str, date: str | None, age: str | None, seconds: float | None
) -> None:
    assert retry_after(value, NOW, date, age) == seconds


@pytest.mark.parametrize("hours", [-2, 0, 2])
def test_an_error_waits_by_the_clock_of_the_server(hours: int) -> None:
    sent = dt.datetime.now(dt.UTC) + dt.timedelta(hours=hours)
    until = sent + dt.timedelta(seconds=2)
    dates = [email.utils.format_datetime(moment, usegmt=True) for moment in (sent, until)]
    assert error_for(503, date=dates[0], retry_after=dates[1]).retry_after == 2


@given(st.integers(0, 10**6))
def test_retry_after_as_a_date_is_the_time_until_then(seconds: int) -> None:
    date = email.utils.format_datetime(NOW + dt.timedelta(seconds=seconds), usegmt=True)
    assert retry_after(date, NOW) == seconds


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
        (b'{"a": 1e999}', "its body has a number that is too large for Python"),
        (b'{"a": -1e999}', "its body has a number that is too large for Python"),
        (b'{"a": ' + b"1" * 5000 + b"}", "its body has a number that is too large for Python"),
        (b"[" * 200_000, "nested too deeply"),
        (b"null", "its body is JSON, but null and not an object"),
        (b"[]", "JSON, but an array and"),
        (b'"x"', "JSON, but a string and"),
        (b"5", "JSON, but a number and"),
        (b"5.5", "JSON, but a number and"),
        (b"true", "JSON, but a boolean and"),
    ],
)
def test_a_body_that_is_not_a_json_object_is_a_flaw(body: bytes, problem: str) -> None:
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
        'staging answered 404 to the request for activity 60d5: "Activity not found". Check the arguments '
        "and the region, because regions do not share records. (request ID r-1)"
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
    assert str(error).startswith("https://a.example/v2/activity/60d5 answered 404 with ")
    assert "regions do not share records" not in str(error)
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
        (403, "The scopes of the token (api/write) do not allow this; request api/read with scopes=."),
        (404, "do not share records"),
        (429, "wait a while"),
        (408, "try again later"),
        (500, "try again later"),
        (520, "try again later"),
        (400, "does not accept this request"),
        (418, "does not accept this request"),
        (302, "redirects to an unnamed location"),
    ],
)
def test_an_error_of_the_api_says_what_to_do(status: int, advice: str) -> None:
    message = str(error_for(status, json.dumps({"status": status, "message": "m"}).encode()))
    assert message.startswith(f'staging answered {status} to the request for activity 60d5: "m". ')
    assert advice in message


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (
            401,
            "not the API; check the region's api_url and the proxy first, then the OAuth client credentials",
        ),
        (403, "may say nothing about what the OAuth client credentials allow"),
        (404, "does not say that activity 60d5 is missing"),
        (407, "A proxy requires a user name and password"),
        (429, "wait a while"),
        (408, "try again later"),
        (500, "The API, or a server in front of it, is failing or busy"),
        (520, "try again later"),
        (400, "A proxy or a gateway seems to have answered, not the API; check the region's api_url"),
        (418, "A proxy or a gateway seems to have answered, not the API; check the region's api_url"),
        (302, "redirects to an unnamed location"),
    ],
)
def test_an_error_of_somebody_else_says_so(status: int, advice: str) -> None:
    reply = Reply(status_code=status, body=b"<html>")
    reply.url = "https://a.example/v1/activity/60d5"
    message = str(api_error(reply, CIRCUMSTANCES))
    assert message.startswith(f"https://a.example/v1/activity/60d5 answered {status} with an HTML page. ")
    assert advice in message


@pytest.mark.parametrize(
    ("body", "headers", "described"),
    [
        (b"", {}, "an empty body"),
        (b" \n", {}, "an empty body"),
        (b"<!DOCTYPE html><p>", {"server": "squid/5.7"}, 'an HTML page from "squid/5.7"'),
        (
            b"\n<html><head><title>Access\n denied</title>",
            {},
            'an HTML page titled "Access denied"',
        ),
        (b"<html><title> </title>", {"server": " "}, "an HTML page"),
        (b'<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>', {"server": "AmazonS3"}, "XML from"),
        (b"404 page not found", {}, "text that is not in the API's error format"),
        (b"[]", {}, "JSON that is not in the API's error format"),
        (b"[" * 200_000, {}, "JSON that is not in the API's error format"),
        (b"{}", {}, "JSON that is not in the API's error format"),
        (b"[1", {}, "text that is not in the API's error format"),
        (b"\xef\xbb\xbf{}", {}, "JSON that is not in the API's error format"),
        (
            b'{"message": "Not Found"}',
            {"apigw-requestid": "r"},
            'JSON that is not in the API\'s error format ("Not Found") from "Amazon API Gateway"',
        ),
        (b'{"Message": "User is not authorized"}', {}, 'format ("User is not authorized")'),
        (b'{"detail": "Not Found"}', {}, 'format ("Not Found")'),
        (b'{"error": {"code": 5, "why": "x"}}', {}, 'format ("{"code":5,"why":"x"}")'),
    ],
)
def test_an_error_of_somebody_else_says_who_seems_to_have_answered(
    body: bytes, headers: dict[str, str], described: str
) -> None:
    assert described in str(error_for(403, body, **headers))


def test_an_error_of_somebody_else_says_that_its_body_cannot_be_read() -> None:
    error = api_error(Reply(status_code=404, flaw="it was cut off"), CIRCUMSTANCES)
    assert "staging answered 404 with a body that cannot be used, because it was cut off." in str(error)


def test_a_rejected_token_is_not_blamed_on_the_credentials() -> None:
    with_token = Circumstances(
        region="staging",
        subject="activity 60d5",
        credentials="OAuth client credentials",
        allowed="",
        with_token=True,
    )
    reply = Reply(status_code=401, body=b'{"error": "unauthorized", "message": "m"}')
    assert str(api_error(reply, with_token)) == (
        'staging answered 401 to the request for activity 60d5: "m". The access token is not accepted, '
        "although the region 'staging' issued it for these OAuth client credentials; check that the region's "
        "api_url and token URL belong together, and that the client has not been blocked since."
    )


def test_a_304_leads_nowhere() -> None:
    assert str(error_for(304, etag="x")) == (
        "staging answered 304 with an empty body. That status answers a conditional request, and this was "
        "not one, so a proxy or a cache seems to have answered, not the API; check the proxy and the "
        "region's api_url."
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
        ("https://[", "an unnamed location"),
        ("https://canary.example/", "https://**********.example"),
        ("https://user:pass@host.example/", "https://host.example"),
        ("/canary/x", "/**********/x"),
        ("https://a.example/\x1b[31m", "https://a.example"),
        ("/\x1b[31m\u202e", "/ [31m"),
    ],
)
def test_a_redirect_names_its_target_without_the_query(location: str, shown: str) -> None:
    message = str(error_for(307, location=location))
    assert f"redirects to {shown}, which received nothing" in message
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


def test_secrets_that_the_server_repeats_are_masked() -> None:
    error = error_for(400, b'{"error": "canary", "message": "you sent canary", "more": "canary"}')
    assert "canary" not in str(error) + error.body + str(error.error) + str(error.message)
    assert "**********" in error.body


@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        ({"message": {"id": ["not", "found"]}}, None, '{"id":["not","found"]}'),
        ({"message": ["a", 1.5, None], "error": "not_found"}, "not_found", '["a",1.5,null]'),
        ({"message": "a\nb\x1b[31m", "error": 5}, "5", "a b [31m"),
        (
            {"message": {"k": "you sent canary"}, "error": "canary"},
            "**********",
            '{"k":"you sent **********"}',
        ),
        ({"message": {"you-canary": 1}}, None, '{"you-**********":1}'),
        ({"message": None, "error": True}, None, None),
    ],
)
def test_a_message_that_is_an_object_is_compact_json(
    body: dict[str, object], error: str | None, message: str | None
) -> None:
    found = error_for(400, json.dumps(body).encode())
    assert (found.error, found.message) == (error, message)
    assert (message or "") in str(found)


def test_a_message_that_is_a_large_object_is_truncated() -> None:
    error = error_for(400, json.dumps({"status": 400, "message": {"k": ["x" * 10] * 1000}}).encode())
    assert len(error.message or "") == 4096
    assert len(str(error)) < 600
    assert str(error).startswith(
        'staging answered 400 to the request for activity 60d5: "{"k":["xxxxxxxxxx",'
    )


@pytest.mark.parametrize("body", [b'{"error": true, "message": false}', b"[]", b"<html>", b"", b"\xff"])
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


@pytest.mark.parametrize(
    "value", ["1_000", "\uff11\uff12", "1e300", "9" * 400, "Mon, 23 Nov 9" + "9" * 20 + " 12:00:30 GMT"]
)
def test_a_retry_after_that_python_would_read_otherwise(value: str) -> None:
    assert retry_after(value, NOW) is None


def test_a_long_message_of_the_server_is_capped() -> None:
    error = error_for(500, json.dumps({"message": "x" * 100_000}).encode())
    assert len(error.message or "") == 4096
