import math
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import anyio
import httpx
import pytest
from harness import ACTIVITY_ID, OAUTH, Flavour, page_response, token_response
from hypothesis import given
from hypothesis import strategies as st

from thrive_learning import (
    Attempt,
    ConfigurationError,
    ConnectionFailedError,
    NotFoundError,
    RateLimitedError,
    RetryPolicy,
    ServerError,
    ThriveError,
    Timeout,
    TokenError,
)
from thrive_learning._budget import Budget
from thrive_learning._exchange import attempts
from thrive_learning._exchange.retries import OTHER_COST, QUOTA, THROTTLE_COST, Retries, RetryQuota
from thrive_learning.errors import TRANSIENT_STATUS_CODES


def retries(
    draw: float = 1.0, quota: RetryQuota | None = None, total: float = 3600, **policy: Any
) -> Retries:
    budget = Budget(Timeout(total=total), RetryPolicy(**policy))
    return Retries(budget, quota or RetryQuota(), lambda _attempt: None, [], draw=lambda: draw)


def failed(ours: Retries, status_code: int = 503, **known: Any) -> float | None:
    return ours.after(status_code=status_code, error="x", may_pass=True, **known)


def test_which_statuses_may_pass() -> None:
    assert {408, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524} == TRANSIENT_STATUS_CODES


def test_the_waits_grow_up_to_their_limit() -> None:
    ours = retries(attempts=8)
    assert [failed(ours) for _ in range(8)] == [0.5, 1, 2, 4, 8, 8, 8, None]
    assert [failed(retries(draw=0.0)), failed(retries(draw=0.25))] == [0, 0.125]


@given(
    draw=st.floats(0, 1, exclude_max=True),
    attempts=st.integers(1, 30),
    first=st.floats(0, 1e6),
    longest=st.floats(0, 1e6),
    asked=st.none() | st.floats(0, 1e6),
    total=st.floats(0.1, 1e7),
)
def test_a_wait_is_within_its_bounds(
    draw: float, attempts: int, first: float, longest: float, asked: float | None, total: float
) -> None:
    ours = retries(draw, total=total, attempts=attempts, first_delay=first, max_delay=longest)
    for number in range(1, attempts + 2):
        delay = failed(ours, retry_after=asked)
        if delay is None:
            return
        assert number < attempts
        assert delay < total
        assert (asked or 0) <= delay <= max(min(longest, first * 2.0 ** (number - 1)), asked or 0)
    pytest.fail("it never ends")


def test_the_wait_is_at_least_what_the_server_asks_for() -> None:
    assert failed(retries(draw=0.0), 429, retry_after=7) == 7
    assert failed(retries(), 429, retry_after=0.1) == 0.5
    assert failed(retries(total=60), 429, retry_after=61) is None


def test_a_wait_that_takes_all_the_time_is_not_worth_it() -> None:
    class Standing(Budget):
        def remaining(self) -> float:
            return 7.0

    budget = Standing(Timeout(), RetryPolicy())
    for asked, delay in ((7.0, None), (6.999, 6.999)):
        ours = Retries(budget, RetryQuota(), lambda _attempt: None, [], draw=lambda: 0.0)
        assert failed(ours, 429, retry_after=asked) == delay


def test_each_attempt_is_recorded() -> None:
    class Moving(Budget):
        now = 10.0  # the call has done something else before

        def elapsed(self) -> float:
            return self.now

    budget = Moving(Timeout(total=3600), RetryPolicy())
    quota, seen = RetryQuota(), list[Attempt]()
    earlier = Attempt(1, 401, "status 401", None, 0.5, None)
    about: Any = {"operation": "getActivity", "subject": "the activity record"}
    ours = Retries(budget, quota, seen.append, [earlier], draw=lambda: 1.0, **about)
    budget.now = 12.0
    assert failed(ours, request_id="r-1") == 0.5
    budget.now = 12.0 + 0.5 + 3.0  # the wait does not belong to the next attempt
    assert failed(ours, 429, retry_after=20.0) == 20.0
    budget.now += 20.0 + 4.0
    ours.after(status_code=200, error=None, may_pass=False, request_id="r-3")
    assert seen == [
        Attempt(2, 503, "x", 0.5, 2.0, "r-1", **about),
        Attempt(3, 429, "x", 20.0, 3.0, None, **about),
        Attempt(4, 200, None, None, 4.0, "r-3", **about),
    ]
    assert ours.history == [earlier, *seen]
    assert quota.available == QUOTA - OTHER_COST


def test_a_try_right_after_another_takes_its_own_time() -> None:
    class Moving(Budget):
        now = 0.0

        def elapsed(self) -> float:
            return self.now

    budget = Moving(Timeout(total=3600), RetryPolicy())
    ours = Retries(budget, RetryQuota(), lambda _attempt: None, [], draw=lambda: 0.0)
    for _ in range(2):
        budget.now += 2.0
        failed(ours)
    assert [attempt.elapsed for attempt in ours.history] == [2.0, 2.0]


def test_a_policy_of_one_attempt_has_no_retries() -> None:
    assert failed(retries(attempts=1)) is None


def test_a_failure_that_will_not_pass_is_final() -> None:
    assert retries().after(status_code=404, error="x", may_pass=False) is None


def test_a_broken_api_is_not_hammered() -> None:
    quota = RetryQuota()
    tries = 0
    while failed(retries(quota=quota)) is not None:
        tries += 1
    assert tries == QUOTA // OTHER_COST
    throttled = 0
    while failed(retries(quota=quota), 429) is not None:
        throttled += 1
    assert throttled == (QUOTA - tries * OTHER_COST) // THROTTLE_COST


def test_success_fills_the_quota_up_again() -> None:
    quota = RetryQuota()
    ours = retries(quota=quota)
    failed(ours)
    assert quota.available == QUOTA - OTHER_COST
    ours.after(status_code=200, error=None, may_pass=False)
    assert quota.available == QUOTA
    quota.available = 10
    retries(quota=quota).after(status_code=200, error=None, may_pass=False)
    assert quota.available == 11
    assert not quota.take(12)
    assert quota.take(11)


@pytest.mark.parametrize("field", ["first_delay", "max_delay"])
@pytest.mark.parametrize("value", [-1, math.nan, math.inf, None, "1", True])
def test_an_invalid_delay_is_rejected(field: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"RetryPolicy.{field} is"):
        RetryPolicy(**{field: value})


@pytest.mark.parametrize("value", [0, -1, 1.5, None, "3", True])
def test_an_invalid_number_of_attempts_is_rejected(value: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"RetryPolicy\.attempts is"):
        RetryPolicy(attempts=value)


def test_an_invalid_policy_is_rejected(flavour: Flavour) -> None:
    with flavour.answering(lambda _request: page_response()) as client:
        with pytest.raises(ConfigurationError, match="retry is 3"):
            client.activities.get(ACTIVITY_ID, retry=3)
    wrong: Any = 3
    with pytest.raises(ConfigurationError, match="retry is 3"):
        flavour.client_class("staging", OAUTH, retry=wrong)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Keep the waits between the tries, and wait for none of them."""
    waited: list[float] = []

    async def wait(delay: float) -> None:
        waited.append(delay)

    monkeypatch.setattr(attempts, "time", SimpleNamespace(sleep=waited.append))
    monkeypatch.setattr(anyio, "sleep", wait)
    return waited


class Script:
    """Answers with one thing after the other; the token endpoint has a list of its own."""

    def __init__(self, *calls: Any, tokens: Any = ()) -> None:
        self.calls = iter(calls)
        self.tokens = iter(tokens)
        self.sent: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(request.method)
        answer = next(self.tokens if request.method == "POST" else self.calls)
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer) if isinstance(answer, int) else answer


CUT = httpx.Response(
    200, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(b"\x1f\x8b\x08\0\0\0\0\0\0\3")
)


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (503, "status 503"),
        (408, "status 408"),
        (522, "status 522"),
        (httpx.ConnectError("refused"), "ConnectionFailedError"),
        (httpx.ReadTimeout("slow"), "DeadlineExceededError"),
        (CUT, "cut off"),
    ],
    ids=str,
)
def test_a_failure_that_passes(flavour: Flavour, waits: list[float], failure: Any, reason: str) -> None:
    seen: list[Attempt] = []
    with flavour.answering(
        Script(failure, page_response()), retry=RetryPolicy(), on_attempt=seen.append
    ) as client:
        result = client.activities.get_with_response(ACTIVITY_ID)
    assert result.attempts == 2
    assert list(result.history) == seen
    assert [(attempt.number, attempt.error) for attempt in seen] == [(1, reason), (2, None)]
    assert waits == [seen[0].delay]
    assert 0 <= waits[0] <= 0.5
    assert seen[1].delay is None


def test_a_failure_that_stays(flavour: Flavour, waits: list[float]) -> None:
    with flavour.answering(Script(500, 502, 503), retry=RetryPolicy()) as client:
        with pytest.raises(ServerError) as caught:
            client.activities.get(ACTIVITY_ID)
    assert caught.value.status_code == 503
    assert caught.value.attempts == 3
    assert [attempt.error for attempt in caught.value.history] == ["status 500", "status 502", "status 503"]
    assert len(waits) == 2


def test_a_connection_that_fails_permanently(flavour: Flavour, waits: list[float]) -> None:
    causes = [httpx.ConnectError("refused")] * 3
    with flavour.answering(Script(*causes), retry=RetryPolicy()) as client:
        with pytest.raises(ConnectionFailedError) as caught:
            client.activities.get(ACTIVITY_ID)
    assert caught.value.attempts == 3
    assert len(waits) == 2


@pytest.mark.parametrize("status", [400, 403, 404, 409, 418, 422, 501, 302, 525])
def test_failures_that_are_not_retried(flavour: Flavour, waits: list[float], status: int) -> None:
    script = Script(status)
    with flavour.answering(script, retry=RetryPolicy()) as client, pytest.raises(ThriveError) as caught:
        client.activities.get(ACTIVITY_ID)
    assert caught.value.attempts == 1
    assert not waits


def test_a_throttle_that_outlasts_the_call_is_raised_at_once(flavour: Flavour, waits: list[float]) -> None:
    throttle = httpx.Response(429, headers={"retry-after": "120"})
    with flavour.answering(Script(throttle), retry=RetryPolicy()) as client:
        with pytest.raises(RateLimitedError) as caught:
            client.activities.get(ACTIVITY_ID)
    assert (caught.value.retry_after, caught.value.attempts) == (120, 1)
    assert not waits


def test_a_throttle_is_waited_for(flavour: Flavour, waits: list[float]) -> None:
    throttle = httpx.Response(429, headers={"retry-after": "20", "x-request-id": "r-1"})
    with flavour.answering(Script(throttle, page_response()), retry=RetryPolicy()) as client:
        result = client.activities.get_with_response(ACTIVITY_ID)
    assert waits == [20]
    assert result.history[0].request_id == "r-1"


def test_a_call_has_a_policy_of_its_own(flavour: Flavour, waits: list[float]) -> None:
    with flavour.answering(Script(503), retry=RetryPolicy()) as client, pytest.raises(ServerError):
        client.activities.get(ACTIVITY_ID, retry=RetryPolicy(attempts=1))
    assert not waits


def test_a_token_request_is_tried_again(flavour: Flavour, waits: list[float]) -> None:
    script = Script(page_response(), tokens=[503, httpx.ReadError("cut"), token_response()])
    seen: list[Attempt] = []
    with flavour.answering(script, OAUTH, retry=RetryPolicy(), on_attempt=seen.append) as client:
        assert client.activities.get_with_response(ACTIVITY_ID).attempts == 1
    assert script.sent == ["POST", "POST", "POST", "GET"]
    assert [attempt.number for attempt in seen] == [1, 2, 3, 1]
    assert len(waits) == 2


def test_a_token_endpoint_that_stays_down(flavour: Flavour, waits: list[float]) -> None:
    with flavour.answering(Script(tokens=[503] * 3), OAUTH, retry=RetryPolicy()) as client:
        with pytest.raises(TokenError) as caught:
            client.activities.get(ACTIVITY_ID)
    assert (caught.value.status_code, caught.value.attempts) == (503, 3)
    assert len(waits) == 2


def test_a_stale_token_is_replaced_and_the_call_repeated_once(flavour: Flavour, waits: list[float]) -> None:
    script = Script(401, page_response(), tokens=[token_response("stale"), token_response("fresh")])
    with flavour.answering(script, OAUTH) as client:  # outside the retry count, which is 1
        result = client.activities.get_with_response(ACTIVITY_ID)
    assert script.sent == ["POST", "GET", "POST", "GET"]
    assert [attempt.error for attempt in result.history] == ["status 401", None]
    assert [attempt.number for attempt in result.history] == [1, 2]
    assert not waits


def test_a_fresh_token_that_is_refused_is_not_replaced_again(flavour: Flavour) -> None:
    script = Script(401, 401, tokens=[token_response("stale"), token_response("fresh")])
    with flavour.answering(script, OAUTH) as client, pytest.raises(ThriveError) as caught:
        client.activities.get(ACTIVITY_ID)
    assert script.sent == ["POST", "GET", "POST", "GET"]
    assert caught.value.attempts == 2


def test_basic_credentials_are_not_sent_again(flavour: Flavour) -> None:
    script = Script(401)
    with flavour.answering(script) as client, pytest.raises(ThriveError):
        client.activities.get(ACTIVITY_ID)
    assert script.sent == ["GET"]


def test_a_refusal_of_the_token_endpoint_is_remembered(flavour: Flavour) -> None:
    script = Script(tokens=[httpx.Response(401, json={"error": "invalid_client"})] * 2)
    with flavour.answering(script, OAUTH) as client:
        for _ in range(3):
            with pytest.raises(TokenError, match="invalid_client"):
                client.activities.get(ACTIVITY_ID)
    assert script.sent == ["POST", "POST"]  # form fields, HTTP Basic


def test_a_renewal_that_fails_does_not_fail_the_call(
    flavour: Flavour, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    script = Script(page_response(), page_response(), page_response(), tokens=[token_response(), 503])
    with flavour.answering(script, OAUTH, retry=RetryPolicy()) as client:
        monkeypatch.setattr(client._http.authorizer.cache, "clock", lambda: now)
        client.activities.get(ACTIVITY_ID)
        now += 3400
        client.activities.get(ACTIVITY_ID)
        client.activities.get(ACTIVITY_ID)
    assert script.sent == ["POST", "GET", "POST", "GET", "GET"]


def test_a_404_after_a_retry_has_both_in_its_history(flavour: Flavour, waits: list[float]) -> None:
    missing = httpx.Response(404, json={"status": 404, "message": "Activity not found"})
    with flavour.answering(Script(500, missing), retry=RetryPolicy()) as client:
        with pytest.raises(NotFoundError) as caught:
            client.activities.get(ACTIVITY_ID)
    assert [attempt.status_code for attempt in caught.value.history] == [500, 404]
    assert len(waits) == 1
    for earlier, later in pairwise(caught.value.history):
        assert later.number == earlier.number + 1
