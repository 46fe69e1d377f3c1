"""A request that changes something is not repeated once it may have been processed."""

import json
from typing import Any

import httpx
import pytest
from _thrive_learning_api.contract import OPERATIONS, OperationFacts
from _thrive_learning_api.types import Response
from harness import OAUTH, Flavour, token_response

from thrive_learning import (
    ConnectionFailedError,
    DeadlineExceededError,
    RateLimitedError,
    RetryPolicy,
    ServerError,
    ThriveError,
    UnauthorizedError,
)
from thrive_learning._call.operation import Operation
from thrive_learning._call.run import run, run_async

AT_ONCE = RetryPolicy(attempts=3, first_delay=0, max_delay=0)
BODY = {"text": "Très clair", "score": 1}


def request_of(body: dict[str, Any]) -> dict[str, Any]:
    """Return what generated code passes to `request()` for a JSON body."""
    headers = {"Content-Type": "application/json"}
    return {"method": "post", "url": "/activity/a%20b/comments", "json": body, "headers": headers}


def sync(*, body: dict[str, Any], client: Any) -> Response[Any]:
    return made_of(client.get_httpx_client().request(**request_of(body)))


async def asyncio(*, body: dict[str, Any], client: Any) -> Response[Any]:
    return made_of(await client.get_async_httpx_client().request(**request_of(body)))


def made_of(response: Any) -> Response[Any]:
    return Response(response.status_code, response.content, response.headers, None)


def operation(*, is_idempotent: bool = False) -> Operation[None]:
    """Describe an operation that the contract does not have."""
    facts = OperationFacts("POST", "/activity/{id}/comments", {204: "nothing"}, None, (), is_idempotent)
    name = "activities.add_comment"
    return Operation(
        name, "a new comment", "new", facts, sync, asyncio, "nothing", None, lambda _reading: None
    )


def call(flavour: Flavour, client: Any, described: Operation[Any]) -> tuple[None, Any]:
    """Make the call, and return its result."""
    arguments = {"body": BODY}
    if flavour.name == "sync":
        http = client._http
        return run(described, http, arguments, http.seam.begin(None, None))
    http = client._http._subject
    budget = http.seam.begin(None, None)
    done: tuple[None, Any] = client._portal.call(run_async, described, http, arguments, budget)
    return done


class Server:
    """Answers to calls with one thing after the other, and to requests for tokens with tokens."""

    def __init__(self, *answers: Any) -> None:
        self.answers = iter(answers)
        self.requests: list[httpx.Request] = []
        self.tokens = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if "/oauth2/" in request.url.path:
            self.tokens += 1
            return token_response(f"token-{self.tokens}")
        self.requests.append(request)
        answer = next(self.answers)
        if isinstance(answer, Exception):
            raise answer
        return cut() if answer is cut else httpx.Response(answer)


def cut() -> httpx.Response:
    """Build a success whose compressed body ends early."""
    return httpx.Response(
        204, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(b"\x1f\x8b\x08\0\0\0\0\0\0\3")
    )


#: After these, the server may have done what it was asked for.
PERHAPS_DONE: dict[str, tuple[Any, type[ThriveError]]] = {
    "500": (500, ServerError),
    "503": (503, ServerError),
    "504": (504, ServerError),
    "cut body": (cut, ConnectionFailedError),
    "read time-out": (httpx.ReadTimeout("slow"), DeadlineExceededError),
    "write time-out": (httpx.WriteTimeout("slow"), DeadlineExceededError),
    "reset while reading": (httpx.ReadError("reset"), ConnectionFailedError),
    "reset while writing": (httpx.WriteError("reset"), ConnectionFailedError),
    "closed without a response": (httpx.RemoteProtocolError("closed"), ConnectionFailedError),
}
#: After these, it has not.
NOT_DONE: dict[str, Any] = {
    "408": 408,
    "429": 429,
    "connection refused": httpx.ConnectError("refused"),
    "connect time-out": httpx.ConnectTimeout("slow"),
    "no free connection": httpx.PoolTimeout("busy"),
}


@pytest.mark.parametrize("failure", PERHAPS_DONE)
def test_a_request_that_may_have_been_processed_is_sent_once(flavour: Flavour, failure: str) -> None:
    answer, error = PERHAPS_DONE[failure]
    server = Server(answer, 204)
    with flavour.answering(server, retry=AT_ONCE) as client, pytest.raises(error) as caught:
        call(flavour, client, operation())
    assert (len(server.requests), caught.value.attempts) == (1, 1)
    assert caught.value.history[0].delay is None


@pytest.mark.parametrize("failure", PERHAPS_DONE)
def test_an_idempotent_request_is_sent_again_as_a_get_is(flavour: Flavour, failure: str) -> None:
    server = Server(PERHAPS_DONE[failure][0], PERHAPS_DONE[failure][0], 204)
    with flavour.answering(server, retry=AT_ONCE) as client:
        result, made = call(flavour, client, operation(is_idempotent=True))
    assert (result, len(server.requests), len(made.history)) == (None, 3, 3)


@pytest.mark.parametrize("failure", NOT_DONE)
def test_a_request_that_was_not_processed_is_sent_again(flavour: Flavour, failure: str) -> None:
    server = Server(NOT_DONE[failure], NOT_DONE[failure], 204)
    with flavour.answering(server, retry=AT_ONCE) as client:
        result, made = call(flavour, client, operation())
    assert (result, len(server.requests), len(made.history)) == (None, 3, 3)
    assert [json.loads(request.content) for request in server.requests] == [BODY] * 3


def test_a_failure_that_is_repeated_ends_at_the_first_that_may_have_been_processed(flavour: Flavour) -> None:
    server = Server(429, 503, 204)
    with flavour.answering(server, retry=AT_ONCE) as client, pytest.raises(ServerError) as caught:
        call(flavour, client, operation())
    assert [attempt.status_code for attempt in caught.value.history] == [429, 503]


def test_a_throttle_that_stays_has_its_error(flavour: Flavour) -> None:
    with flavour.answering(Server(429, 429, 429), retry=AT_ONCE) as client:
        with pytest.raises(RateLimitedError) as caught:
            call(flavour, client, operation())
    assert caught.value.attempts == 3


def test_a_stale_token_is_replaced_and_the_request_repeated_once(flavour: Flavour) -> None:
    """A server that rejects a token has not processed the request."""
    server = Server(204, 401, 204)
    with flavour.answering(server, OAUTH) as client:
        call(flavour, client, operation())
        call(flavour, client, operation())
    sent = [request.headers["authorization"] for request in server.requests]
    assert sent == ["Bearer token-1", "Bearer token-1", "Bearer token-2"]


def test_a_token_that_is_rejected_twice_ends_the_call(flavour: Flavour) -> None:
    server = Server(204, 401, 401, 204)
    with flavour.answering(server, OAUTH) as client:
        call(flavour, client, operation())
        with pytest.raises(UnauthorizedError):
            call(flavour, client, operation())
    assert len(server.requests) == 3


def test_a_json_body_is_sent_with_its_type_and_length(flavour: Flavour) -> None:
    server = Server(204)
    with flavour.answering(server) as client:
        call(flavour, client, operation())
    [request] = server.requests
    assert (request.method, request.url.raw_path) == ("POST", b"/rest/v1/activity/a%20b/comments")
    assert request.content == '{"text":"Très clair","score":1}'.encode()
    assert request.headers.get_list("content-type") == ["application/json"]
    assert request.headers.get_list("content-length") == [str(len(request.content))]
    assert "transfer-encoding" not in request.headers


def test_each_operation_that_only_reads_is_idempotent() -> None:
    for name, facts in OPERATIONS.items():
        assert facts.is_idempotent or facts.method not in {"GET", "HEAD"}, name
