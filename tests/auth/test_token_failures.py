"""Token requests that fail, and tokens that the API rejects."""

import contextlib
import threading
from collections.abc import Callable
from typing import Any, cast

import anyio
import anyio.lowlevel
import httpx
import pytest
from harness import ACTIVITY_ID, OAUTH, TENANT_ID, Clock, Flavour, page_response, token_response

from thrive_learning import (
    AsyncThriveClient,
    CheckReport,
    ClientCredentials,
    ConfigurationError,
    ConnectionFailedError,
    DeadlineExceededError,
    Region,
    RetryPolicy,
    Scope,
    Service,
    ThriveClient,
    ThriveError,
    Timeout,
    TokenError,
    UnauthorizedError,
)
from thrive_learning._auth import authorizer
from thrive_learning._auth.single_flight import SingleFlight
from thrive_learning.token_stores import MemoryTokenStore

ONCE = RetryPolicy(attempts=1)
TOKEN_URL = "https://public.api.learn.link/oauth2/token/{tenant_id}"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock of every cache that the test makes."""
    fake = Clock()
    monkeypatch.setattr(authorizer, "SingleFlight", lambda: SingleFlight(fake, draw=lambda: 0.5))
    return fake


class Api:
    """Answers token requests with one thing and calls with another, and counts both."""

    def __init__(self, token: Any, record: Any = None) -> None:
        self.token = token
        self.record = page_response() if record is None else record
        self.tokens = 0
        self.calls = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            self.tokens += 1
            return self._answer(self.token, request)
        self.calls += 1
        return self._answer(self.record, request)

    @staticmethod
    def _answer(answer: Any, request: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return cast("httpx.Response", answer(request) if callable(answer) else answer)

    async def answer_async(self, request: httpx.Request) -> httpx.Response:
        await anyio.lowlevel.checkpoint()  # so that every task arrives
        return self(request)


def numbered() -> Callable[[httpx.Request], httpx.Response]:
    numbers = iter(range(1, 1_000_000))
    return lambda _request: token_response(f"token-{next(numbers)}")


#: Responses of a token endpoint without a token, and the number of requests until that is known.
OUTCOMES = [
    (httpx.Response(200, json={"error": "invalid_client", "error_description": "why"}), 2),
    (httpx.Response(200, json={"message": "why"}), 1),
    (httpx.Response(200, text="<html>"), 1),
    (httpx.Response(200), 1),
    (httpx.Response(201, json={"access_token": "x"}), 1),
    (httpx.Response(204), 1),
    (httpx.Response(302, headers={"location": "https://elsewhere.example/"}), 1),
    (httpx.Response(304), 1),
    (httpx.Response(400, json={"error": "invalid_request"}), 1),
    (httpx.Response(400, json={"error": "invalid_client"}), 2),
    (httpx.Response(401), 2),
    (httpx.Response(403, text="<html>"), 1),
    (httpx.Response(404), 1),
    (httpx.Response(405), 1),
    (httpx.Response(408), 1),
    (httpx.Response(409), 1),
    (httpx.Response(415), 1),
    (httpx.Response(418), 1),
    (httpx.Response(422, json={"message": ["why"]}), 1),
    (httpx.Response(429), 1),
    (httpx.Response(429, headers={"retry-after": "100"}), 1),
    (httpx.Response(500), 1),
    (httpx.Response(503, headers={"retry-after": "100"}), 1),
    (httpx.Response(524), 1),
    (httpx.ConnectError("refused"), 1),
    (httpx.ConnectTimeout("late"), 1),
    (httpx.ReadTimeout("late"), 1),
    (httpx.RemoteProtocolError("nonsense"), 1),
]


def name_of(value: object) -> str:
    return f"{value.status_code} {value.text}" if isinstance(value, httpx.Response) else repr(value)


outcomes = pytest.mark.parametrize(("outcome", "requests"), OUTCOMES, ids=name_of)
some_outcomes = pytest.mark.parametrize(("outcome", "requests"), OUTCOMES[::5], ids=name_of)


@outcomes
def test_every_outcome_is_remembered(flavour: Flavour, clock: Clock, outcome: Any, requests: int) -> None:
    api = Api(outcome)
    with flavour.answering(api, OAUTH) as client:
        with pytest.raises(ThriveError) as first:
            client.activities.get(ACTIVITY_ID)
        for _ in range(50):
            clock.now += 0.1
            with pytest.raises(type(first.value)):
                client.activities.get(ACTIVITY_ID)
        with pytest.raises(type(first.value)) as later:
            client.activities.get(ACTIVITY_ID)
        with pytest.raises(type(first.value)):
            client.tokens.get(scopes=[Scope.ALL])  # not per set of scopes
    assert (api.tokens, api.calls) == (requests, 0)
    pause_s = 100 if first.value.retry_after else 30
    assert str(later.value) == (
        f"{first.value} This was 5 s ago, and no token is requested for another {pause_s - 5} s."
    )
    assert later.value.retry_after == pause_s - 5
    assert (later.value.url, later.value.operation, later.value.attempts) == (TOKEN_URL, "tokens.get", 0)
    assert first.value.attempts == requests
    assert later.value.is_transient is first.value.is_transient


@outcomes
def test_every_outcome_is_forgotten(flavour: Flavour, clock: Clock, outcome: Any, requests: int) -> None:
    api = Api(outcome)
    with flavour.answering(api, OAUTH) as client:
        with pytest.raises(ThriveError) as first:
            client.activities.get(ACTIVITY_ID)
        clock.now += (first.value.retry_after or 30) - 0.1
        with pytest.raises(ThriveError):
            client.activities.get(ACTIVITY_ID)
        assert api.tokens == requests
        clock.now += 0.1
        api.token = token_response()
        assert client.activities.get(ACTIVITY_ID).id == ACTIVITY_ID


@pytest.mark.parametrize(
    ("response", "pause_s"),
    [
        (httpx.Response(503, headers={"retry-after": "0"}), 1),
        (httpx.Response(503, headers={"retry-after": "5"}), 5),
        (httpx.Response(503, headers={"retry-after": "1000000"}), 3600),
        (httpx.Response(503, headers={"retry-after": "soon"}), 30),
        (httpx.Response(404, headers={"retry-after": "5"}), 30),
        (httpx.Response(404, headers={"retry-after": "50"}), 50),
    ],
    ids=lambda value: (
        f"{value.status_code} {dict(value.headers)}" if isinstance(value, httpx.Response) else None
    ),
)
def test_how_long_an_outcome_is_remembered(
    flavour: Flavour, clock: Clock, response: httpx.Response, pause_s: float
) -> None:
    api = Api(response)
    with flavour.answering(api, OAUTH) as client:
        for later_s, requests in ((0, 1), (pause_s - 0.1, 1), (0.1, 2)):
            clock.now += later_s
            with pytest.raises(TokenError):
                client.tokens.get()
            assert api.tokens == requests


def test_invalid_scopes_do_not_block_others(flavour: Flavour) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if b"api%2Fall" in request.content:
            return httpx.Response(400, json={"error": "invalid_scope"})
        return token_response()

    api = Api(answer)
    with flavour.answering(api, OAUTH) as client:
        for _ in range(2):
            with pytest.raises(TokenError, match="invalid_scope"):
                client.tokens.get(scopes=[Scope.ALL])
        client.activities.get(ACTIVITY_ID)
    assert (api.tokens, api.calls) == (2, 1)


def test_the_endpoints_of_the_services_are_two(flavour: Flavour) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(503) if request.url.host.startswith("public.") else token_response()

    api = Api(answer)
    with flavour.answering(api, OAUTH) as client:
        with pytest.raises(TokenError):
            client.activities.get(ACTIVITY_ID)
        client.tokens.get(Service.WEBHOOKS)
        with pytest.raises(TokenError, match="This was"):
            client.tokens.get()
    assert api.tokens == 2


def test_a_changed_secret_ends_what_is_remembered(flavour: Flavour) -> None:
    secrets = ["wrong"]
    api = Api(lambda request: token_response() if b"right" in request.content else httpx.Response(404))
    credentials = ClientCredentials(TENANT_ID, "c", lambda: secrets[-1])
    with flavour.answering(api, credentials) as client:
        for _ in range(2):
            with pytest.raises(TokenError):
                client.activities.get(ACTIVITY_ID)
        assert api.tokens == 1
        secrets.append("right")
        assert client.activities.get(ACTIVITY_ID).id == ACTIVITY_ID
    assert api.tokens == 2


def test_a_secret_that_cannot_be_had_any_more_is_reported(flavour: Flavour) -> None:
    secrets = ["wrong"]
    api = Api(httpx.Response(404))
    with flavour.answering(api, ClientCredentials(TENANT_ID, "c", lambda: secrets[-1])) as client:
        with pytest.raises(TokenError):
            client.activities.get(ACTIVITY_ID)
        secrets.clear()
        with pytest.raises(ConfigurationError, match="IndexError"):
            client.activities.get(ACTIVITY_ID)
        secrets.append("wrong")
        with pytest.raises(TokenError, match="This was"):
            client.activities.get(ACTIVITY_ID)
    assert api.tokens == 1


def test_a_new_client_starts_afresh(flavour: Flavour) -> None:
    api = Api(httpx.Response(503))
    for _ in range(2):
        with flavour.answering(api, OAUTH) as client, pytest.raises(TokenError):
            client.activities.get(ACTIVITY_ID)
    assert api.tokens == 2


def found(report: CheckReport, subject: str) -> str:
    [status] = [finding.status for finding in report.findings if finding.subject == subject]
    return str(status)


def test_a_check_asks_afresh(flavour: Flavour) -> None:
    api = Api(httpx.Response(404))
    with flavour.answering(api, OAUTH) as client:
        with pytest.raises(TokenError):
            client.activities.get(ACTIVITY_ID)
        api.token = token_response()
        assert found(client.check(ACTIVITY_ID), "token") == "ok"
        assert client.activities.get(ACTIVITY_ID).id == ACTIVITY_ID
    assert api.tokens == 2


def test_a_limit_of_one_call_is_not_remembered(flavour: Flavour) -> None:
    api = Api(httpx.ReadTimeout("late"))
    with flavour.answering(api, OAUTH) as client:
        for _ in range(2):
            with pytest.raises(DeadlineExceededError):
                client.activities.get(ACTIVITY_ID, timeout=Timeout(read=1))
        assert api.tokens == 2
        for _ in range(2):
            with pytest.raises(DeadlineExceededError):
                client.activities.get(ACTIVITY_ID, timeout=10)  # the phases have the limits of the client
        assert api.tokens == 3


def test_failures_that_are_not_the_endpoints_are_not_remembered(flavour: Flavour) -> None:
    region = Region.custom("mine", api_url="https://a.example", token_url="https://a.example/{tenant_id}")
    with flavour.open(region, OAUTH, transport=httpx.MockTransport(Api(token_response()))) as client:
        for _ in range(2):
            with pytest.raises(ConfigurationError, match="webhooks_token_url") as caught:
                client.tokens.get(Service.WEBHOOKS)
            assert "This was" not in str(caught.value)


def test_a_renewal_that_fails_is_remembered_and_the_token_serves_on(flavour: Flavour, clock: Clock) -> None:
    api = Api(token_response())
    with flavour.answering(api, OAUTH) as client:
        client.activities.get(ACTIVITY_ID)
        clock.now += 3400
        api.token = httpx.Response(404, headers={"retry-after": "100"})
        for _ in range(20):
            client.activities.get(ACTIVITY_ID)
        clock.now += 99
        client.activities.get(ACTIVITY_ID)
        assert api.tokens == 2
        clock.now += 1
        client.activities.get(ACTIVITY_ID)
    assert (api.tokens, api.calls) == (3, 23)


def test_a_remembered_failure_keeps_no_frame(flavour: Flavour) -> None:
    with flavour.answering(Api(httpx.ConnectError("refused")), OAUTH) as client:
        with pytest.raises(ConnectionFailedError):
            client.activities.get(ACTIVITY_ID)
        [remembered] = client._http.authorizer.cache._failures.values()
        assert remembered.failure.error.__traceback__ is None


# Many callers at once


@some_outcomes
def test_64_threads_share_every_outcome(outcome: Any, requests: int) -> None:
    api = Api(outcome)
    errors: list[ThriveError] = []
    barrier = threading.Barrier(64)
    transport = httpx.MockTransport(api)
    with ThriveClient(Region.PRODUCTION, OAUTH, transport=transport, retry=ONCE) as client:

        def work() -> None:
            barrier.wait()
            for _ in range(3):
                try:
                    client.activities.get(ACTIVITY_ID)
                except ThriveError as error:
                    errors.append(error)

        threads = [threading.Thread(target=work) for _ in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert (api.tokens, api.calls, len(errors)) == (requests, 0, 192)
    assert len({id(error) for error in errors}) == 192


@pytest.mark.anyio
@some_outcomes
async def test_1000_tasks_share_every_outcome(outcome: Any, requests: int) -> None:
    api = Api(outcome)
    errors: list[ThriveError] = []
    transport = httpx.MockTransport(api.answer_async)
    async with AsyncThriveClient(Region.PRODUCTION, OAUTH, transport=transport, retry=ONCE) as client:

        async def work() -> None:
            with pytest.raises(ThriveError) as caught:
                await client.activities.get(ACTIVITY_ID)
            errors.append(caught.value)

        async with anyio.create_task_group() as tasks:
            for _ in range(1000):
                tasks.start_soon(work)
    assert (api.tokens, api.calls, len(errors)) == (requests, 0, 1000)
    assert len({id(error) for error in errors}) == 1000


# Tokens that the API does not accept

REJECTED = httpx.Response(401, json={"status": 401, "error": "unauthorized", "message": "unknown issuer"})


def test_a_token_that_is_rejected_while_fresh_is_replaced_once(flavour: Flavour, clock: Clock) -> None:
    api = Api(numbered(), REJECTED)
    with flavour.answering(api, OAUTH) as client:
        with pytest.raises(UnauthorizedError, match=ACTIVITY_ID) as first:
            client.activities.get(ACTIVITY_ID)
        assert (api.tokens, api.calls) == (2, 2)
        for _ in range(50):
            clock.now += 0.1
            with pytest.raises(UnauthorizedError):
                client.activities.get(ACTIVITY_ID)
        with pytest.raises(UnauthorizedError) as later:
            client.activities.get(ACTIVITY_ID)
        with pytest.raises(UnauthorizedError, match="This was"):
            client.tokens.get()  # the same token
        assert (api.tokens, api.calls) == (2, 2)
        assert client.tokens.get(scopes=[Scope.ALL]).value == "token-3"  # another one may be accepted
    assert first.value.attempts == 2
    assert str(later.value) == (
        str(first.value).replace(f"activity {ACTIVITY_ID}", "a record")
        + " This was 5 s ago, and no token is requested for another 25 s."
    )
    assert "unknown issuer" in str(later.value)
    assert (later.value.status_code, later.value.message) == (401, "unknown issuer")
    assert (later.value.retry_after, later.value.attempts) == (25, 0)
    # No other record is named.
    assert later.value.url == "https://public.api.learn.link/rest/v1"


def test_a_token_that_was_accepted_once_is_replaced_again(flavour: Flavour) -> None:
    answers = [page_response(), REJECTED, page_response(), REJECTED, page_response(), REJECTED, REJECTED]
    api = Api(numbered(), lambda _request: answers.pop(0))
    with flavour.answering(api, OAUTH) as client:
        for tokens in (1, 2, 3):
            assert client.activities.get(ACTIVITY_ID).id == ACTIVITY_ID
            assert api.tokens == tokens
        with pytest.raises(UnauthorizedError):
            client.activities.get(ACTIVITY_ID)
        with pytest.raises(UnauthorizedError, match="This was"):
            client.activities.get(ACTIVITY_ID)
    assert api.tokens == 4


def test_after_a_while_one_token_shows_whether_the_api_accepts_them(flavour: Flavour, clock: Clock) -> None:
    api = Api(numbered(), REJECTED)
    with flavour.answering(api, OAUTH) as client:
        for requests in (2, 3, 4):  # a replacement the first time only
            for _ in range(5):
                with pytest.raises(UnauthorizedError):
                    client.activities.get(ACTIVITY_ID)
            assert (api.tokens, api.calls) == (requests, requests)
            clock.now += 30
        api.record = page_response()
        assert client.activities.get(ACTIVITY_ID).id == ACTIVITY_ID
        assert api.tokens == 5


def test_a_check_asks_for_one_more_token(flavour: Flavour) -> None:
    api = Api(numbered(), REJECTED)
    with flavour.answering(api, OAUTH) as client:
        with pytest.raises(UnauthorizedError):
            client.activities.get(ACTIVITY_ID)
        assert found(client.check(ACTIVITY_ID), "record") == "failed"
        assert api.tokens == 3
        with pytest.raises(UnauthorizedError, match="This was"):
            client.activities.get(ACTIVITY_ID)
        api.record = page_response()
        assert found(client.check(ACTIVITY_ID), "token") == "ok"
        assert client.activities.get(ACTIVITY_ID).id == ACTIVITY_ID
    assert api.tokens == 4


def test_a_check_of_a_new_client_remembers_a_rejection(flavour: Flavour) -> None:
    api = Api(numbered(), REJECTED)
    with flavour.answering(api, OAUTH) as client:
        assert found(client.check(ACTIVITY_ID), "record") == "failed"
        with pytest.raises(UnauthorizedError, match="This was"):
            client.activities.get(ACTIVITY_ID)
    assert api.tokens == 2


def test_a_changed_secret_ends_a_remembered_rejection(flavour: Flavour) -> None:
    secrets = ["first"]
    api = Api(numbered(), REJECTED)
    with flavour.answering(api, ClientCredentials(TENANT_ID, "c", lambda: secrets[-1])) as client:
        with pytest.raises(UnauthorizedError):
            client.activities.get(ACTIVITY_ID)
        secrets.append("second")
        api.record = page_response()
        assert client.activities.get(ACTIVITY_ID).id == ACTIVITY_ID
    assert api.tokens == 3


def test_a_secret_that_cannot_be_had_when_a_token_is_rejected(flavour: Flavour) -> None:
    secrets = ["first"]

    def reject(_request: httpx.Request) -> httpx.Response:
        if api.calls == 2:
            secrets.clear()
        return REJECTED

    api = Api(numbered(), reject)
    with flavour.answering(api, ClientCredentials(TENANT_ID, "c", lambda: secrets[-1])) as client:
        with pytest.raises(UnauthorizedError):
            client.activities.get(ACTIVITY_ID)
        with pytest.raises(ConfigurationError):
            client.activities.get(ACTIVITY_ID)
    assert (api.tokens, api.calls) == (2, 2)


def test_64_threads_whose_tokens_are_all_rejected() -> None:
    api = Api(numbered(), REJECTED)
    errors: list[UnauthorizedError] = []
    transport = httpx.MockTransport(api)
    with ThriveClient(Region.PRODUCTION, OAUTH, transport=transport, retry=ONCE) as client:

        def work() -> None:
            for _ in range(3):
                with pytest.raises(UnauthorizedError) as caught:
                    client.activities.get(ACTIVITY_ID)
                errors.append(caught.value)

        threads = [threading.Thread(target=work) for _ in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert (api.tokens, len(errors)) == (2, 192)
    assert api.calls <= 128


@pytest.mark.anyio
async def test_1000_tasks_whose_tokens_are_all_rejected() -> None:
    api = Api(numbered(), REJECTED)
    transport = httpx.MockTransport(api.answer_async)
    async with AsyncThriveClient(Region.PRODUCTION, OAUTH, transport=transport, retry=ONCE) as client:

        async def work() -> None:
            with pytest.raises(UnauthorizedError):
                await client.activities.get(ACTIVITY_ID)

        async with anyio.create_task_group() as tasks:
            for _ in range(1000):
                tasks.start_soon(work)
    assert api.tokens == 2
    assert api.calls <= 2000


def test_processes_that_share_a_store_replace_one_rejected_token_each(flavour: Flavour, clock: Clock) -> None:
    api, store = Api(numbered(), REJECTED), MemoryTokenStore()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(flavour.answering(api, OAUTH, token_store=store)) for _ in range(4)]
        for _ in range(3):
            for client in clients:
                with pytest.raises(UnauthorizedError):
                    client.activities.get(ACTIVITY_ID)
            clock.now += 9
        assert api.tokens == len(clients) + 1


@pytest.mark.parametrize("outcome", [httpx.Response(503), httpx.ConnectError("refused")])
def test_a_failure_that_may_pass_is_one_still_when_it_is_remembered(flavour: Flavour, outcome: Any) -> None:
    with flavour.answering(Api(outcome), OAUTH) as client:
        for _ in range(2):
            with pytest.raises((TokenError, ConnectionFailedError)) as caught:
                client.activities.get(ACTIVITY_ID)
            assert caught.value.is_transient
            assert not caught.value.is_final
