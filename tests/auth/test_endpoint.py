"""Requests to the token endpoint, and the meaning and errors of its replies."""

import base64
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest
from harness import ACTIVITY_ID, OAUTH, TENANT_ID, Flavour, Kept, page_response, token_response

from thrive_learning import (
    ClientCredentials,
    ConnectionFailedError,
    RetryPolicy,
    Scope,
    Service,
    TokenError,
)
from thrive_learning._auth.token_reply import compact
from thrive_learning.cli.exit_codes import ExitCode, exit_code

Answer = Callable[[str], httpx.Response]

TOKEN_URL = "https://public.api.learn.link/oauth2/token/{tenant_id}"
POST_AUTO = "form fields (client_auth='auto')"
BOTH = "HTTP Basic, after {} to form fields (client_auth='auto')"
BELONG_TOGETHER = (
    "Check that client ID, client secret, and tenant ID belong together and to the region 'production'."
)
REDIRECT = (
    "It redirects to https://evil.example, which received nothing, because credentials go only to the "
    "region's own hosts; check the region's token URL."
)
LATER = "It is failing or busy. Try again later."
CHECK_ALL = f"Check the credentials and the region's token URL {TOKEN_URL}."
GATEWAY = (
    f"A proxy or a gateway may have answered instead of {TOKEN_URL}. Check that URL, the tenant ID, and the "
    "credentials."
)


class Endpoint:
    """Answers token requests by how the client authenticates, and calls with a record."""

    def __init__(self, answer: Answer | None = None, **answers: httpx.Response) -> None:
        self._answer = answer or answers.__getitem__
        self.methods: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return page_response()
        by_form = "client_secret" in dict(parse_qsl(request.content.decode()))
        by_basic = "authorization" in request.headers
        assert by_form != by_basic  # never both ways in one request
        self.methods.append("post" if by_form else "basic")
        return self._answer(self.methods[-1])


def rejection(status: int = 401, /, **fields: Any) -> httpx.Response:
    return httpx.Response(status, json=fields or {"error": "invalid_client"})


# How the client authenticates


def test_form_fields_are_tried_first_and_kept(flavour: Flavour) -> None:
    endpoint = Endpoint(lambda _method: token_response())
    with flavour.answering(endpoint, OAUTH) as client:
        client.activities.get(ACTIVITY_ID)
        client.tokens.get(scopes=[Scope.ALL])
    assert endpoint.methods == ["post", "post"]


def test_http_basic_is_tried_once_and_kept(flavour: Flavour) -> None:
    endpoint = Endpoint(post=rejection(), basic=token_response())
    with flavour.answering(endpoint, OAUTH) as client:
        client.activities.get(ACTIVITY_ID)
        client.tokens.get(scopes=[Scope.ALL])
        client.tokens.get(scopes=[Scope.WRITE])
    assert endpoint.methods == ["post", "basic", "basic", "basic"]


def test_a_method_that_worked_survives_a_later_rejection(flavour: Flavour) -> None:
    answers = [token_response(), rejection()]
    endpoint = Endpoint(lambda _method: answers.pop(0))
    with flavour.answering(endpoint, OAUTH) as client:
        client.tokens.get()
        with pytest.raises(TokenError, match=r"to form fields \(client_auth='auto'\)"):
            client.tokens.get(scopes=[Scope.ALL])
    assert endpoint.methods == ["post", "post"]


def test_each_service_has_its_own_way(flavour: Flavour) -> None:
    endpoint = Endpoint(post=rejection(), basic=token_response())
    with flavour.answering(endpoint, OAUTH) as client:
        client.tokens.get()
        client.tokens.get(Service.WEBHOOKS)
    assert endpoint.methods == ["post", "basic", "post", "basic"]


@pytest.mark.parametrize("client_auth", ["post", "basic"])
def test_a_way_that_is_set_is_the_only_one(flavour: Flavour, client_auth: Any) -> None:
    endpoint = Endpoint(lambda _method: rejection())
    credentials = ClientCredentials(TENANT_ID, "c", "fake-secret", client_auth=client_auth)
    with flavour.answering(endpoint, credentials) as client, pytest.raises(TokenError) as caught:
        client.tokens.get()
    assert endpoint.methods == [client_auth]
    name = {"post": "form fields", "basic": "HTTP Basic"}[client_auth]
    assert str(caught.value) == (
        f"the token endpoint of production answered 401 (invalid_client) to {name} "
        f"(client_auth='{client_auth}'). {BELONG_TOGETHER}"
    )


@pytest.mark.parametrize(
    "response",
    [
        rejection(401),
        rejection(400),
        rejection(403),
        rejection(422),
        rejection(200),
        rejection(400, error="unauthorized_client"),
        rejection(401, error="access_denied", error_description="Unauthorized"),
        rejection(401, status=401, error="Unauthorized", message="No credentials"),
        rejection(401, message="Unauthorized"),
        rejection(200, status=401, error="Unauthorized", message="No credentials"),
        rejection(400, error="invalid_request", error_description="Missing client authentication"),
        rejection(400, status=400, error="invalid_request", message="client_secret is not a known field"),
        rejection(400, message={"errors": ["The Authorization header is missing"]}),
        rejection(422, status=422, error="unprocessable_entity", message="no client credentials"),
        rejection(400, error={"code": "invalid_client", "message": "no"}),
        httpx.Response(401),
        httpx.Response(401, text="nope"),
        httpx.Response(401, text="<html>", headers={"www-authenticate": 'Basic realm="token"'}),
        httpx.Response(401, text="<html>", headers={"www-authenticate": "Bearer, BASIC"}),
    ],
    ids=lambda response: f"{response.status_code} {response.text}",
)
def test_a_rejection_of_the_client_leads_to_http_basic(flavour: Flavour, response: httpx.Response) -> None:
    endpoint = Endpoint(post=response, basic=token_response())
    with flavour.answering(endpoint, OAUTH) as client:
        client.tokens.get()
    assert endpoint.methods == ["post", "basic"]


def test_a_secret_that_is_an_ordinary_word_hides_no_rejection(flavour: Flavour) -> None:
    response = rejection(400, error="invalid_request", error_description="unknown client_id")
    endpoint = Endpoint(post=response, basic=token_response())
    with flavour.answering(endpoint, ClientCredentials(TENANT_ID, "c", "client")) as client:
        client.tokens.get()
    assert endpoint.methods == ["post", "basic"]


@pytest.mark.parametrize(
    "response",
    [
        rejection(400, error="invalid_scope", error_description="not for this client_id"),
        rejection(401, error="invalid_scope"),
        rejection(401, error="unsupported_grant_type"),
        rejection(400, error="invalid_grant"),
        rejection(400, error="invalid_request", error_description="grant_type is missing"),
        rejection(400, error="invalid_request"),
        rejection(400, error="invalid_request", error_description="use client_credentials as grant_type"),
        rejection(400, message="Bad Request"),
        rejection(403, message="Forbidden"),
        rejection(404, status=404, error="Not Found", message="no such client_id"),
        rejection(404, message="Not Found"),
        rejection(405, message="client_id"),
        rejection(409, error="conflict"),
        rejection(415, message="client_id"),
        rejection(429, error="rate_limit_exceeded"),
        rejection(500, error="invalid_client"),
        rejection(503, error="server_error"),
        rejection(200, error="server_error", error_description="client_id"),
        rejection(200, message="client_id"),
        rejection(302, error="invalid_client"),
        httpx.Response(401, text="\n<html>", headers={"www-authenticate": "Bearer"}),
        httpx.Response(403, text="<html>"),
        httpx.Response(200, text="<html>"),
        httpx.Response(201, json={"access_token": "x"}),
    ],
    ids=lambda response: f"{response.status_code} {response.text}",
)
def test_nothing_else_does(flavour: Flavour, response: httpx.Response) -> None:
    endpoint = Endpoint(post=response, basic=token_response())
    with flavour.answering(endpoint, OAUTH) as client, pytest.raises(TokenError):
        client.tokens.get()
    assert endpoint.methods == ["post"]


def test_no_connection_does_not_lead_to_http_basic_either(flavour: Flavour) -> None:
    sent: list[str] = []

    def refuse(request: httpx.Request) -> httpx.Response:
        sent.append(request.method)
        raise httpx.ConnectError("refused")

    with flavour.answering(refuse, OAUTH) as client, pytest.raises(ConnectionFailedError):
        client.tokens.get()
    assert sent == ["POST"]


def test_an_error_names_both_attempts(flavour: Flavour) -> None:
    endpoint = Endpoint(
        post=rejection(400, error="invalid_client", error_description="by form"),
        basic=rejection(401, error="invalid_client", error_description="by Basic"),
    )
    with flavour.answering(endpoint, OAUTH) as client, pytest.raises(TokenError) as caught:
        client.activities.get(ACTIVITY_ID)
    assert str(caught.value) == (
        "the token endpoint of production answered 401 (invalid_client: by Basic) to "
        + BOTH.format("400 (invalid_client: by form)")
        + f". {BELONG_TOGETHER}"
    )
    assert (caught.value.status_code, caught.value.error_description) == (401, "by Basic")
    assert [(attempt.number, attempt.status_code) for attempt in caught.value.history] == [(1, 400), (2, 401)]
    assert (caught.value.url, caught.value.operation) == (TOKEN_URL, "tokens.get")
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


def test_a_second_attempt_without_a_response_names_the_first(flavour: Flavour) -> None:
    def answer(method: str) -> httpx.Response:
        if method == "basic":
            raise httpx.ConnectError("refused")
        return rejection()

    endpoint = Endpoint(answer)
    with flavour.answering(endpoint, OAUTH) as client, pytest.raises(ConnectionFailedError) as caught:
        client.tokens.get()
    assert str(caught.value).endswith(
        "Before that, the token endpoint answered 401 (invalid_client) to form fields (client_auth='auto')."
    )
    assert endpoint.methods == ["post", "basic"]


def test_a_second_attempt_that_fails_otherwise_names_the_first(flavour: Flavour) -> None:
    endpoint = Endpoint(post=rejection(), basic=httpx.Response(503))
    with flavour.answering(endpoint, OAUTH) as client, pytest.raises(TokenError) as caught:
        client.tokens.get()
    assert str(caught.value) == (
        f"the token endpoint of production answered 503 to {BOTH.format('401 (invalid_client)')}. {LATER}"
    )
    assert caught.value.is_transient


def test_a_page_after_the_first_attempt_names_it(flavour: Flavour) -> None:
    endpoint = Endpoint(post=rejection(), basic=httpx.Response(200, text="<html>"))
    with flavour.answering(endpoint, OAUTH) as client, pytest.raises(TokenError) as caught:
        client.tokens.get()
    assert f"answered 200 to {BOTH.format('401 (invalid_client)')}, but its body is HTML" in str(caught.value)


def test_wrong_credentials_cost_two_requests_and_then_none(flavour: Flavour) -> None:
    endpoint = Endpoint(lambda _method: rejection())
    with flavour.answering(endpoint, OAUTH) as client:
        for _ in range(50):
            with pytest.raises(TokenError, match="after 401"):
                client.activities.get(ACTIVITY_ID)
    assert endpoint.methods == ["post", "basic"]


# Error messages


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (
            401,
            {"error": "invalid_client", "error_description": "no such client"},
            f"401 (invalid_client: no such client) to {BOTH.format('401 (invalid_client: no such client)')}. "
            + BELONG_TOGETHER,
        ),
        (
            400,
            {"error": "invalid_scope"},
            (
                f"400 (invalid_scope) to {POST_AUTO}. The client may not have the requested scopes "
                "(api/read, api/write). Choose others with scopes=."
            ),
        ),
        (400, {"error": "invalid_request"}, f"400 (invalid_request) to {POST_AUTO}. {CHECK_ALL}"),
        (400, {"error_description": "why"}, f"400 (why) to {POST_AUTO}. {CHECK_ALL}"),
        (400, {"error": "", "error_description": ""}, f"400 to {POST_AUTO}. {CHECK_ALL}"),
        (401, "", f"401 to {BOTH.format('401')}. {GATEWAY}"),
        (401, "<html>", f"401 to {POST_AUTO}. {GATEWAY}"),
        (402, "", f"402 to {POST_AUTO}. {CHECK_ALL}"),
        (403, "<html>", f"403 to {POST_AUTO}. {GATEWAY}"),
        (403, {"error": "forbidden"}, f"403 (forbidden) to {POST_AUTO}. {BELONG_TOGETHER}"),
        (404, "", f"404 to {POST_AUTO}. {GATEWAY}"),
        (404, {"message": "Not Found"}, f"404 (Not Found) to {POST_AUTO}. {GATEWAY}"),
        (
            404,
            {"status": 404, "error": "not_found", "message": "no tenant"},
            (
                f"404 (not_found: no tenant) to {POST_AUTO}. Check the tenant ID, which the region "
                "'production' does not seem to know."
            ),
        ),
        (405, "", f"405 to {POST_AUTO}. {CHECK_ALL}"),
        (300, "", f"300. {REDIRECT}"),
        (302, "", f"302. {REDIRECT}"),
        (399, "", f"399. {REDIRECT}"),
        (
            304,
            "",
            (
                "304. That status answers a conditional request, and this was not one, so a proxy "
                "or a cache seems to have answered, not the API; check the proxy and the region's token URL."
            ),
        ),
        (408, "", f"408 to {POST_AUTO}. {LATER}"),
        (409, "", f"409 to {POST_AUTO}. {CHECK_ALL}"),
        (429, "", f"429 to {POST_AUTO}. {LATER}"),
        (500, "", f"500. {LATER}"),
        (503, "", f"503. {LATER}"),
        (501, "", f"501. It failed. Check the region's token URL {TOKEN_URL}, or try again later."),
        (201, {"access_token": "x", "token_type": "Bearer"}, f"201. {CHECK_ALL}"),
        (204, "", f"204. {CHECK_ALL}"),
    ],
)
def test_an_error_of_the_token_endpoint(flavour: Flavour, status: int, body: Any, said: str) -> None:
    content: dict[str, Any] = {"text": body} if isinstance(body, str) else {"json": body}
    response = httpx.Response(status, headers={"location": "https://evil.example/?x=y"}, **content)
    credentials = ClientCredentials(TENANT_ID, "fake", "fake-secret", scopes=[Scope.READ, Scope.WRITE])
    endpoint = Endpoint(lambda _method: response)
    with flavour.answering(endpoint, credentials) as client, pytest.raises(TokenError) as caught:
        client.activities.get(ACTIVITY_ID)
    error = caught.value
    assert str(error) == f"the token endpoint of production answered {said}"
    assert (error.status_code, error.retry_after) == (status, None)
    assert error.attempts == len(endpoint.methods)
    assert (error.url, error.operation) == (TOKEN_URL, "tokens.get")


@pytest.mark.parametrize(
    ("body", "error", "description"),
    [
        ({"error": "invalid_client", "error_description": "why"}, "invalid_client", "why"),
        ({"status": 400, "error": "Bad Request", "message": "why"}, "Bad Request", "why"),
        ({"message": "why"}, None, "why"),
        ({"Message": "why"}, None, "why"),
        ({"detail": "why"}, None, "why"),
        ({"error": "e", "error_description": "", "message": "why"}, "e", "why"),
        ({"message": {"field": ["is", None]}}, None, '{"field":["is",null]}'),
        ({"message": ["a", {"b": 1}]}, None, '["a",{"b":1}]'),
        ({"error": "e", "message": {}}, "e", None),
        ({"error": "e", "message": 5}, "e", "5"),
        ({"error": {"message": "why"}}, None, "why"),
        ({"error": {"code": "e", "message": "why"}}, "e", "why"),
        ({"error": {"code": 400, "message": ["why"]}}, "400", '["why"]'),
        ({"error": {"reason": "why"}}, None, '{"reason":"why"}'),
        ({"error": ["why"]}, None, '["why"]'),
        ({"error": 5}, "5", None),
        ({"error": True, "message": "why"}, None, "why"),
        ({"errors": [{"message": "why"}]}, None, '[{"message":"why"}]'),
        ({"__type": "NotAuthorizedException", "message": "why"}, "NotAuthorizedException", "why"),
        ({"error": None, "error_description": None}, None, None),
    ],
    ids=str,
)
@pytest.mark.parametrize("status", [400, 200])
def test_the_explanation_is_kept_in_whatever_form_it_is_sent(
    flavour: Flavour, status: int, body: Any, error: str | None, description: str | None
) -> None:
    response = httpx.Response(status, json=body)
    with (
        flavour.answering(lambda _request: response, OAUTH) as client,
        pytest.raises(TokenError) as caught,
    ):
        client.tokens.get()
    assert (caught.value.error, caught.value.error_description) == (error, description)
    for text in filter(None, (error, description)):
        assert text in str(caught.value)


def test_a_long_explanation_is_truncated(flavour: Flavour) -> None:
    response = httpx.Response(400, json={"message": {"x" * 100: ["y" * 100] * 500}})
    with flavour.answering(lambda _request: response, OAUTH) as client, pytest.raises(TokenError) as caught:
        client.tokens.get()
    assert len(str(caught.value)) < 1000
    assert len(caught.value.error_description or "") == 4096


def test_json_that_cannot_be_written_is_named_by_its_type() -> None:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    assert compact(nested) == "(list)"


def test_an_explanation_that_is_nested_beyond_reason(flavour: Flavour) -> None:
    body = b'{"error": "e", "message": ' + b'{"a":' * 900 + b"1" + b"}" * 900 + b"}"
    response = httpx.Response(400, content=body)
    with flavour.answering(lambda _request: response, OAUTH) as client, pytest.raises(TokenError):
        client.tokens.get()


@pytest.mark.parametrize(
    ("status", "fields", "code"),
    [
        (200, {"error": "invalid_client", "error_description": "why"}, ExitCode.ACCESS_DENIED),
        (200, {"status": 401, "error": "Unauthorized", "message": "why"}, ExitCode.ACCESS_DENIED),
        (200, {"error": "invalid_scope"}, ExitCode.ACCESS_DENIED),
        (200, {"error": "server_error"}, ExitCode.API_FAILED),
        (200, {"error": "temporarily_unavailable"}, ExitCode.API_FAILED),
        (200, {"status": 500, "error": "Internal Server Error", "message": "x"}, ExitCode.API_FAILED),
        (200, {"message": "why"}, ExitCode.UNEXPECTED_RESPONSE),
        (200, {"token_type": "Bearer"}, ExitCode.UNEXPECTED_RESPONSE),
        (422, {"error": "invalid_client"}, ExitCode.ACCESS_DENIED),
        (400, {"message": "why"}, ExitCode.ACCESS_DENIED),
        (409, {"message": "why"}, ExitCode.API_FAILED),
        (429, {"message": "why"}, ExitCode.RATE_LIMITED),
        (503, {"error": "invalid_client"}, ExitCode.API_FAILED),
    ],
)
def test_the_exit_code_of_an_error(
    flavour: Flavour, status: int, fields: dict[str, Any], code: ExitCode
) -> None:
    response = httpx.Response(status, json=fields)
    with flavour.answering(lambda _request: response, OAUTH) as client, pytest.raises(TokenError) as caught:
        client.tokens.get()
    assert exit_code(caught.value) is code


def test_a_secret_in_an_explanation_is_masked(flavour: Flavour) -> None:
    secret = 'p"/ %\N{EURO SIGN}q'
    encoded = base64.b64encode(b"c:p%22%2F+%25%E2%82%ACq").decode()
    fields = {"error": f"<{secret}>", "message": {"sent": [secret, encoded], secret: 1}}
    response = httpx.Response(400, json=fields)
    credentials = ClientCredentials(TENANT_ID, "c", secret)
    with (
        flavour.answering(lambda _request: response, credentials) as client,
        pytest.raises(TokenError) as caught,
    ):
        client.tokens.get()
    assert caught.value.error == "<**********>"
    assert caught.value.error_description == '{"sent":["**********","**********"],"**********":1}'
    shown = str(caught.value) + repr(vars(caught.value))
    assert not any(form in shown for form in (secret, json.dumps(secret)[1:-1], encoded))


def test_a_token_in_a_response_that_is_rejected_is_masked(flavour: Flavour) -> None:
    response = token_response("the-token", token_type="mac", message="issued the-token")
    with flavour.answering(lambda _request: response, OAUTH) as client, pytest.raises(TokenError) as caught:
        client.tokens.get()
    assert "the-token" not in str(caught.value) + repr(vars(caught.value))


# Formats of token responses


@pytest.mark.parametrize(
    ("fields", "lifetime_s"),
    [
        ({"expires_in": "3600"}, 3600),
        ({"expires_in": " 1800 "}, 1800),
        ({"expires_in": "1800.5"}, 1800.5),
        ({"expires_in": "1.8e3"}, 1800),
        ({"expires_in": 1800.0}, 1800),
        ({"token_type": None}, 3600),
        ({"token_type": ""}, 3600),
        ({"token_type": "bearer "}, 3600),
    ],
)
def test_a_token_that_rfc_6749_does_not_foresee_is_taken(
    flavour: Flavour, kept: Kept, fields: dict[str, Any], lifetime_s: float
) -> None:
    endpoint = Endpoint(lambda _method: token_response(**fields))
    with flavour.answering(endpoint, OAUTH) as client:
        token = client.tokens.get()
        [slot] = client._http.authorizer.cache._slots.values()
    assert token.value == "fake-token"
    assert slot.expires_at - slot.kept_at == pytest.approx(lifetime_s - 30, abs=5)
    assert not [record for record in kept.records if record.levelname == "WARNING"]


@pytest.mark.parametrize(
    ("expires_in", "shown"),
    [
        ("0", "0"),
        ("-5", "-5"),
        ("null", "null"),
        ('"abc"', '"abc"'),
        ('""', '""'),
        ('"-3600"', '"-3600"'),
        ('"NaN"', '"NaN"'),
        ('"1_000"', '"1_000"'),
        ("true", "true"),
        ("{}", "{}"),
        ("[3600]", "[3600]"),
        ("NaN", "NaN"),
        ("Infinity", "Infinity"),
        ("1e400", "Infinity"),
        ("1764380000", "1764380000"),
        ("1" + "0" * 400, "1" + "0" * 298 + "…"),
        ("1" + "0" * 5000, "Infinity"),
        ('"fake-client-secret \\u001b[31m"', '"********** \\u001b[31m"'),
    ],
)
def test_an_hour_is_assumed_for_a_lifetime_that_cannot_be_used(
    flavour: Flavour, kept: Kept, expires_in: str, shown: str
) -> None:
    body = f'{{"access_token": "fake-token", "token_type": "Bearer", "expires_in": {expires_in}}}'
    endpoint = Endpoint(lambda _method: httpx.Response(200, content=body))
    with flavour.answering(endpoint, OAUTH) as client:
        assert client.tokens.get().value == "fake-token"
        client.tokens.get(scopes=[Scope.ALL])  # the same departure again
        slots = client._http.authorizer.cache._slots.values()
    assert [slot.expires_at - slot.kept_at for slot in slots] == pytest.approx([3570, 3570], abs=5)
    warnings = [record for record in kept.records if record.levelname == "WARNING"]
    assert [record.getMessage() for record in warnings] == [
        f"production: the token endpoint sent a token whose expires_in is {shown}; one hour is assumed"
    ]
    assert warnings[0].name == "thrive_learning.auth"


@pytest.mark.parametrize(
    ("fields", "scopes"),
    [
        ({"scope": ["api/read", "api/write"]}, ("api/read", "api/write")),
        ({"scope": "api/read,api/write"}, ("api/read", "api/write")),
        ({"scope": "api/read, api/write"}, ("api/read", "api/write")),
        ({"scope": " api/read  api/write "}, ("api/read", "api/write")),
        ({"scope": ["api/read api/write", "api/read"]}, ("api/read", "api/write")),
        ({"scopes": ["api/write"]}, ("api/write",)),
        ({"scope": []}, ()),
        ({"scope": ""}, ()),
        ({}, ("api/read",)),
    ],
)
def test_scopes_in_every_form(flavour: Flavour, fields: dict[str, Any], scopes: tuple[str, ...]) -> None:
    endpoint = Endpoint(lambda _method: token_response(**fields))
    with flavour.answering(endpoint, OAUTH) as client:
        assert client.tokens.get().scopes == scopes


@pytest.mark.parametrize("scope", [5, {"a": 1}, ["api/read", None]])
def test_scopes_that_cannot_be_read_are_reported(flavour: Flavour, kept: Kept, scope: Any) -> None:
    endpoint = Endpoint(lambda _method: token_response(scope=scope))
    with flavour.answering(endpoint, OAUTH) as client:
        assert client.tokens.get().scopes == (Scope.READ,)
    shown = json.dumps(scope, separators=(",", ":"))
    [warning] = [record.getMessage() for record in kept.records if record.levelname == "WARNING"]
    assert warning.endswith(f"sent a token whose scope is {shown}; the requested scopes are assumed")


def test_a_body_with_nan_and_no_token_is_still_rejected(flavour: Flavour) -> None:
    for body in (b"[NaN]", b'{"a": NaN'):
        endpoint = Endpoint(post=httpx.Response(200, content=body))
        with flavour.answering(endpoint, OAUTH) as client, pytest.raises(TokenError, match="not JSON"):
            client.tokens.get()


def test_a_rejected_client_is_not_tried_again_by_the_retry_policy(flavour: Flavour) -> None:
    endpoint = Endpoint(lambda _method: rejection())
    with flavour.answering(endpoint, OAUTH, retry=RetryPolicy(attempts=5)) as client:
        with pytest.raises(TokenError):
            client.tokens.get()
    assert endpoint.methods == ["post", "basic"]
