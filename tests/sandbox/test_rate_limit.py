"""The sandbox's rate limit: which requests get 429, and what the headers say."""

import base64
import json
import pickle
import threading
from dataclasses import replace
from urllib.parse import urlencode

import httpx
import pytest
from conformance import valid
from hypothesis import given
from hypothesis import strategies as st

from thrive_learning.sandbox import (
    FaultScript,
    FaultySandbox,
    RecordArrivals,
    Sandbox,
    SandboxRateLimit,
    SandboxReply,
    SandboxRequest,
    SandboxTransport,
)

NOW = 1_790_000_000.25
CORE = Sandbox()
CREDENTIALS = base64.b64encode(f"{CORE.tenant_id}:{CORE.api_secret}".encode()).decode()
LIST = SandboxRequest("GET", "/rest/v1/activities", {"authorization": f"Basic {CREDENTIALS}"})
RECORD = replace(LIST, target="/rest/v1/activity/60d5ec49b60b4b3a2c8f9a10")
FORM = {"grant_type": "client_credentials", "client_id": CORE.client_id, "client_secret": CORE.client_secret}
TOKEN = SandboxRequest(
    "POST",
    f"/oauth2/token/{CORE.tenant_id}",
    {"content-type": "application/x-www-form-urlencoded"},
    urlencode(FORM).encode(),
)


def limited(per_second: float, burst: float | None = None, script: tuple[str, ...] = ()) -> FaultySandbox:
    return FaultySandbox(CORE, FaultScript(script), rate_limit=SandboxRateLimit(per_second, burst))


def ask(sandbox: FaultySandbox, request: SandboxRequest = RECORD, *, after: float = 0.0) -> SandboxReply:
    reply = sandbox.reply(request, now=NOW + after)
    valid(request, reply.response)
    return reply


def statuses(sandbox: FaultySandbox, *times: float) -> list[int]:
    return [ask(sandbox, after=after).response.status for after in times]


# Which requests are rejected


def test_a_burst_is_allowed_and_then_the_rate() -> None:
    sandbox = limited(10, burst=3)

    assert statuses(sandbox, 0, 0, 0, 0) == [200, 200, 200, 429]
    assert statuses(sandbox, 0.09, 0.1, 0.1) == [429, 200, 429]
    assert statuses(sandbox, 60, 60, 60, 60) == [200, 200, 200, 429]  # never more than the burst


def test_by_default_the_burst_is_a_second_and_at_least_one_request() -> None:
    assert statuses(limited(3), *[0] * 4) == [200, 200, 200, 429]
    assert statuses(limited(0.5), 0, 0, 1.9, 2) == [200, 429, 429, 200]


@given(
    per_second=st.floats(0.1, 500),
    burst=st.floats(1, 50),
    waits=st.lists(st.floats(0, 0.5), min_size=1, max_size=200),
)
def test_no_period_has_more_than_the_rate_and_the_burst(
    per_second: float, burst: float, waits: list[float]
) -> None:
    limit, now, allowed = SandboxRateLimit(per_second, burst), NOW, []
    for wait in waits:
        now += wait
        if limit.take(now)[0] is None:
            allowed.append(now)

    assert allowed  # the first one
    for first in range(len(allowed)):
        for last in range(first, len(allowed)):
            most = burst + (allowed[last] - allowed[first]) * per_second + 0.01
            assert last - first + 1 <= most


@given(per_second=st.floats(0.01, 1000), count=st.integers(1, 300))
def test_requests_at_the_exact_rate_are_allowed(per_second: float, count: int) -> None:
    limit = SandboxRateLimit(per_second, burst=1)

    assert all(limit.take(NOW + number / per_second)[0] is None for number in range(count))


def test_times_that_are_out_of_order_count_once() -> None:
    limit = SandboxRateLimit(1, burst=10)
    times = [second + offset for second in range(100) for offset in (0.9, 0.5)]

    allowed = [limit.take(NOW + time)[0] is None for time in times]

    assert sum(allowed) == 10 + 99  # the burst, and the rate from 0.9 to 99.9


def test_a_clock_that_is_set_back_does_not_stop_the_permits() -> None:
    sandbox = limited(1, burst=1)

    assert statuses(sandbox, 0, -3600, -3599) == [200, 429, 200]


def test_token_requests_and_requests_without_valid_credentials_do_not_count() -> None:
    sandbox = limited(1, burst=1)
    wrong = replace(RECORD, headers={"authorization": "Basic d3Jvbmc6d3Jvbmc="})
    elsewhere = replace(RECORD, target="/nothing")

    for request, status in [(TOKEN, 200), (wrong, 401), (elsewhere, 404)]:
        for _ in range(3):
            response = sandbox.reply(request, now=NOW).response
            assert response.status == status
            assert "ratelimit" not in response.headers
    assert statuses(sandbox, 0, 0) == [200, 429]


@pytest.mark.parametrize(
    ("method", "target"),
    [
        pytest.param("GET", "/rest/v1/user/1", id="another-operation"),
        pytest.param("POST", "/rest/v1/activities", id="another-method"),
    ],
)
def test_a_new_operation_counts_without_being_listed(method: str, target: str) -> None:
    sandbox = limited(1, burst=1)
    request = replace(RECORD, method=method, target=target)

    first, second = (sandbox.reply(request, now=NOW).response.status for _ in range(2))

    assert first in {404, 405}
    assert second == 429


def test_a_request_that_needs_another_scope_counts() -> None:
    sandbox = limited(1, burst=1)
    form = replace(TOKEN, body=TOKEN.body + b"&scope=api/write")
    token = json.loads(ask(sandbox, form).response.body)["access_token"]

    request = replace(RECORD, headers={"authorization": f"Bearer {token}"})
    assert [ask(sandbox, request).response.status for _ in range(2)] == [403, 429]


def test_access_tokens_and_basic_credentials_share_the_limit() -> None:
    sandbox = limited(1, burst=2)
    token = json.loads(ask(sandbox, TOKEN).response.body)["access_token"]
    bearer = replace(RECORD, headers={"authorization": f"Bearer {token}"})

    assert [ask(sandbox, request).response.status for request in (bearer, RECORD, bearer)] == [200, 200, 429]


def test_a_rejected_request_uses_no_fault_and_lets_no_record_arrive() -> None:
    sandbox = FaultySandbox(CORE, FaultScript(["500:1"]), RecordArrivals(1), SandboxRateLimit(1, burst=1))
    assert ask(sandbox, replace(LIST, headers={**LIST.headers, "prefer": "fault=404"})).response.status == 404

    assert ask(sandbox, LIST).response.status == 429
    preferred = replace(LIST, headers={**LIST.headers, "prefer": "fault=404"})
    rejected = ask(sandbox, preferred)
    assert (rejected.response.status, rejected.fault, rejected.is_over_limit) == (429, None, True)
    assert [str(fault) for fault in sandbox.script] == ["500:1"]
    assert ask(sandbox, LIST, after=1).response.status == 500
    arrived = ask(sandbox, LIST, after=2)
    assert (arrived.response.status, len(arrived.arrived), arrived.is_over_limit) == (200, 1, False)


def test_each_fault_has_the_headers_of_the_limit() -> None:
    sandbox = limited(10, script=("500:1", "slow:2s"))

    failed, slow = ask(sandbox), ask(sandbox)
    assert (failed.response.status, slow.delay_s) == (500, 2.0)
    assert failed.response.headers["ratelimit"] == '"default";r=9;t=1'
    assert slow.response.headers["ratelimit"] == '"default";r=8;t=1'


def test_threads_share_a_limit() -> None:
    sandbox, got = limited(1, burst=50), []

    def send() -> None:
        got.extend(statuses(sandbox, *[0] * 25))

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(got) == [200] * 50 + [429] * 50


def test_it_is_pickled_with_its_state() -> None:
    sandbox = limited(1, burst=2)
    ask(sandbox)

    copied = pickle.loads(pickle.dumps(sandbox))

    assert statuses(copied, 0, 0) == [200, 429]
    assert statuses(sandbox, 0, 0) == [200, 429]


def test_the_transport_applies_it() -> None:
    now = [NOW]
    transport = SandboxTransport(limited(2, burst=1), clock=lambda: now[0])
    with httpx.Client(transport=transport, auth=(CORE.tenant_id, CORE.api_secret)) as client:
        url = f"https://sandbox.invalid{RECORD.target}"
        assert [client.get(url).status_code for _ in range(2)] == [200, 429]
        now[0] += 0.5
        assert client.get(url).status_code == 200


# The headers of responses


def test_a_rejection_is_an_error_of_the_api() -> None:
    sandbox = limited(0.2)
    ask(sandbox)
    reply = ask(sandbox, after=1)

    assert json.loads(reply.response.body) == {
        "status": 429,
        "error": "Too Many Requests",
        "message": "Rate limit exceeded (0.2 requests per second, at most 1 at once)",
    }
    assert reply.response.headers["retry-after"] == "4"
    assert {"date", "x-request-id", "content-length"} <= reply.response.headers.keys()
    head = sandbox.reply(replace(RECORD, method="HEAD"), now=NOW + 1).response
    assert (head.status, head.body) == (429, b"")


@given(per_second=st.floats(0.01, 1000), burst=st.floats(1, 20), after=st.floats(0, 10))
def test_the_next_request_is_allowed_after_the_wait_that_the_headers_name(
    per_second: float, burst: float, after: float
) -> None:
    limit = SandboxRateLimit(per_second, burst)
    now = NOW + after
    rejection, headers = limit.take(now)
    while rejection is None:
        rejection, headers = limit.take(now)

    wait_s = int(rejection.headers["retry-after"])
    assert headers["ratelimit"] == f'"default";r=0;t={wait_s}'
    assert limit.take(now + wait_s)[0] is None


@given(per_second=st.floats(0.01, 1000), burst=st.floats(1, 50), used=st.integers(0, 50))
def test_as_many_requests_are_allowed_as_the_headers_say(per_second: float, burst: float, used: int) -> None:
    limit = SandboxRateLimit(per_second, burst)
    for _ in range(used):
        limit.take(NOW)
    headers = limit.take(NOW)[1]

    remaining = int(headers["ratelimit"].split(";")[1].removeprefix("r="))
    allowed = 0
    while limit.take(NOW)[0] is None:
        allowed += 1
    assert allowed == remaining


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("50", "q=50;w=1"),
        ("50:5", "q=50;w=1"),
        ("50:100", "q=100;w=2"),
        ("0.5", "q=1;w=2"),
        ("2.5", "q=5;w=2"),
        ("0.3", "q=3;w=10"),
        ("0.001", "q=1;w=1000"),
        ("33.333", "q=33333;w=1000"),
    ],
)
def test_the_policy_is_the_rate_in_whole_numbers(text: str, policy: str) -> None:
    assert SandboxRateLimit.parse(text).take(NOW)[1]["ratelimit-policy"] == f'"default";{policy}'


def test_the_headers_can_be_those_of_a_common_convention() -> None:
    limit = SandboxRateLimit(0.5, burst=1, headers="x")

    assert limit.take(NOW) == (
        None,
        {"x-ratelimit-limit": "1", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1790000003"},
    )
    rejection, headers = limit.take(NOW + 1)
    assert rejection is not None
    assert rejection.headers["retry-after"] == "1"
    assert headers["x-ratelimit-reset"] == "1790000003"  # NOW + 2, rounded up


def test_the_headers_can_be_left_out() -> None:
    sandbox = FaultySandbox(CORE, rate_limit=SandboxRateLimit(1, headers="none"))

    allowed, rejected = ask(sandbox).response, ask(sandbox).response
    assert (allowed.status, rejected.status, rejected.headers["retry-after"]) == (200, 429, "1")
    assert not [name for name in (*allowed.headers, *rejected.headers) if "ratelimit" in name]


# Arguments


def test_its_text_is_parsed() -> None:
    limit = SandboxRateLimit.parse("20:5", "x")
    assert (limit.per_second, limit.burst, limit.headers) == (20, 5, "x")
    assert str(limit) == "20 requests per second, at most 5 at once"
    limit = SandboxRateLimit.parse("0.5")
    assert (limit.per_second, limit.burst, limit.headers) == (0.5, 1, "ietf")


@pytest.mark.parametrize(
    "text", ["", "fast", "-1", "1:", ":1", "1:2:3", "1e3", "nan", "٣", "1" * 10, "x" * 99]
)
def test_text_that_is_not_a_limit_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a rate limit\. Use requests per second") as caught:
        SandboxRateLimit.parse(text)
    assert len(str(caught.value)) < 160


@pytest.mark.parametrize(
    ("per_second", "burst", "message"),
    [
        (0, None, "per_second is 0. Choose a number from 0.001 to 1000000."),
        (float("nan"), None, "per_second is nan."),
        (2e6, None, "per_second is 2000000.0."),
        (10, 0.5, "burst is 0.5. Choose a number from 1 to 1000000."),
        (10, float("inf"), "burst is inf."),
    ],
    ids=["zero", "nan", "too fast", "small burst", "endless burst"],
)
def test_a_number_that_is_out_of_range_is_rejected(
    per_second: float, burst: float | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        SandboxRateLimit(per_second, burst)


def test_unknown_headers_are_rejected() -> None:
    with pytest.raises(ValueError, match=r"headers is 'y'\. Choose 'ietf', 'x', or 'none'\."):
        SandboxRateLimit(1, headers="y")  # type: ignore[arg-type]
