import ast
import base64
import copy
import json
import pickle
import sys
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

import pytest
import yaml
from conformance import valid
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

import thrive_learning.sandbox
from thrive_learning.sandbox import Sandbox, SandboxRequest, SandboxResponse
from thrive_learning.sandbox.records import seeded_records

CONTRACT = yaml.safe_load((Path(__file__).parents[2] / "openapi/thrive.yaml").read_text(encoding="utf-8"))
OAUTH2 = CONTRACT["components"]["securitySchemes"]["oauth2"]

NOW = 1_700_000_000.25
SANDBOX = Sandbox()
RECORD_ID = "60d5ec49b60b4b3a2c8f9a10"
RECORD = f"/rest/v1/activity/{RECORD_ID}"
TOKEN = f"/oauth2/token/{SANDBOX.tenant_id}"
WEBHOOKS_TOKEN = f"/webhooks{TOKEN}"
FORM_TYPE = {"content-type": "application/x-www-form-urlencoded"}
GRANT = {"grant_type": "client_credentials"}
CLIENT = {"client_id": SANDBOX.client_id, "client_secret": SANDBOX.client_secret}


BASIC_CHALLENGE = 'Basic realm="sandbox", charset="UTF-8"'


def basic(user: str, password: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def bearer(access_token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {access_token}"}


API_BASIC = basic(SANDBOX.tenant_id, SANDBOX.api_secret)
CLIENT_BASIC = basic(quote_plus(SANDBOX.client_id), quote_plus(SANDBOX.client_secret))


def get(
    target: str = RECORD,
    headers: dict[str, str] | None = None,
    *,
    method: str = "GET",
    sandbox: Sandbox = SANDBOX,
    now: float = NOW,
) -> SandboxResponse:
    headers = API_BASIC if headers is None else headers
    request = SandboxRequest(method, target, headers)
    return valid(request, sandbox.respond(request, now=now))


def post(
    form: dict[str, str] | str | bytes,
    headers: dict[str, str] | None = None,
    *,
    target: str = TOKEN,
    sandbox: Sandbox = SANDBOX,
    now: float = NOW,
) -> SandboxResponse:
    text = urlencode(form) if isinstance(form, dict) else form
    body = text.encode() if isinstance(text, str) else text
    return sandbox.respond(SandboxRequest("POST", target, {**FORM_TYPE, **(headers or {})}, body), now=now)


def access_token(scope: str = "api/read", *, target: str = TOKEN, sandbox: Sandbox = SANDBOX) -> str:
    response = post({**GRANT, **CLIENT, "scope": scope}, target=target, sandbox=sandbox)
    token: str = content(response)["access_token"]
    return token


def content(response: SandboxResponse) -> dict[str, Any]:
    assert response.headers["content-type"] == "application/json"
    assert response.headers["content-length"] == str(len(response.body))
    body: dict[str, Any] = json.loads(response.body)
    return body


def refusal(response: SandboxResponse) -> tuple[int, str, str | None]:
    """Return the status, the error, and the challenge of an error response of a token endpoint."""
    body = content(response)
    assert body.keys() == {"error", "error_description"}
    assert body["error_description"]
    assert response.headers["cache-control"] == "no-store"
    return response.status, body["error"], response.headers.get("www-authenticate")


# The API


@pytest.mark.parametrize("record_id", seeded_records())
def test_every_seeded_record_is_served_as_it_is(record_id: str) -> None:
    response = get(f"/rest/v1/activity/{record_id}")

    assert response.status == 200
    assert content(response) == seeded_records()[record_id]


def test_ids_compare_without_case_on_either_side() -> None:
    sandbox = Sandbox(records={"AAAAAAAAAAAAAAAAAAAAAAaa": {"id": "aaaaaaaaaaaaaaaaaaaaaaaa"}})

    assert content(get(RECORD.upper().replace("/REST/V1/ACTIVITY", "/rest/v1/activity")))["id"] == RECORD_ID
    assert get("/rest/v1/activity/aaaaaaaaaaaaaaaaaaaaaaAA", sandbox=sandbox).status == 200


@pytest.mark.parametrize("target", [f"{RECORD}?", f"{RECORD}?a=b/c?d", RECORD.replace("60d5", "%360d5")])
def test_the_query_is_ignored_and_the_path_is_percent_decoded(target: str) -> None:
    assert content(get(target))["id"] == RECORD_ID


@pytest.mark.parametrize(
    "target",
    [
        "",
        "/",
        "*",
        "/rest/v1",
        "/rest/v1/activity",
        "/rest/v1/activity/",
        "/rest/v1/activities/",
        "/rest/v1/activities%3Fpage=1",
        f"{RECORD}/",
        f"{RECORD}/comments",
        f"/rest/v2/activity/{RECORD_ID}",
        f"/x{RECORD}",
        f"/rest/v1/activity%2F{RECORD_ID}",
        "/oauth2/token",
        "/oauth2/token/",
        f"{TOKEN}/more",
        f"/user{TOKEN}",
    ],
)
def test_any_other_path_is_not_found(target: str) -> None:
    response = get(target)

    assert response.status == 404
    assert content(response) == {"message": "Not Found"}


def test_an_unknown_activity_is_not_found() -> None:
    response = get("/rest/v1/activity/507f1f77bcf86cd799439012")

    assert response.status == 404
    assert content(response) == {"status": 404, "error": "Not Found", "message": "Activity not found"}


@pytest.mark.parametrize(
    "activity_id",
    [
        "x",
        RECORD_ID[1:],
        f"{RECORD_ID}0",
        f"g{RECORD_ID[1:]}",
        f"{RECORD_ID}%0A",
        f"{RECORD_ID}\n",
        "..",
        "%2F",
    ],
)
def test_an_id_that_is_not_24_hexadecimal_digits_is_a_bad_request(activity_id: str) -> None:
    response = get(f"/rest/v1/activity/{activity_id}")

    assert response.status == 400
    assert content(response)["message"] == "The ID is not 24 hexadecimal digits"


def test_digits_of_other_scripts_are_not_hexadecimal() -> None:
    assert get(f"/rest/v1/activity/{quote('٦' * 24)}").status == 400


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "get", ""])
def test_any_other_method_is_not_allowed_for_any_client(method: str) -> None:
    response = get(method=method, headers={})

    assert response.status == 405
    assert response.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("target", [RECORD, "/rest/v1/activity/x", "/", TOKEN])
def test_head_is_answered_like_get_without_the_body(target: str) -> None:
    response, head = get(target), get(target, method="HEAD")

    assert head.status == response.status
    assert head.body == b""
    assert {**head.headers, "x-request-id": ""} == {**response.headers, "x-request-id": ""}


def test_the_tenant_and_its_secret_may_be_any_utf_8() -> None:
    sandbox = Sandbox(tenant_id="tenant-ß", api_secret="not-a-secret: 鍵:é")

    assert get(headers=basic("tenant-ß", "not-a-secret: 鍵:é"), sandbox=sandbox).status == 200
    assert get(headers=basic("tenant-ß", "not-a-secret: 鍵:e"), sandbox=sandbox).status == 401


@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC  "])
def test_the_name_of_a_scheme_has_no_case(scheme: str) -> None:
    credentials = API_BASIC["authorization"].removeprefix("Basic ")

    assert get(headers={"authorization": f"{scheme} {credentials} "}).status == 200
    assert get(headers={"authorization": f"bEARER  {access_token()} "}).status == 200


@pytest.mark.parametrize(
    "authorization",
    [
        basic(SANDBOX.tenant_id, "wrong")["authorization"],
        basic("wrong", SANDBOX.api_secret)["authorization"],
        basic("", "")["authorization"],
        basic(SANDBOX.client_id, SANDBOX.client_secret)["authorization"],
        API_BASIC["authorization"] + "!",
        "Basic",
        "Basic ",
        "Basic =",
        "Basic é",
        "Basic \udcff",
        "Basic " + base64.b64encode(b"\xff:\xfe").decode(),
        "Basic " + base64.b64encode(SANDBOX.tenant_id.encode()).decode(),
    ],
)
def test_wrong_or_malformed_basic_credentials_are_unauthorized(authorization: str) -> None:
    response = get(headers={"authorization": authorization})

    assert response.status == 401
    assert response.headers["www-authenticate"] == 'Basic realm="sandbox", charset="UTF-8"'
    assert content(response)["message"] == "The tenant ID or the API secret is not valid"


@pytest.mark.parametrize(
    "headers", [{}, {"authorization": ""}, {"authorization": "Digest x"}, {"authorization": "Basically x"}]
)
def test_no_credentials_are_unauthorized_and_both_schemes_are_offered(headers: dict[str, str]) -> None:
    response = get(headers=headers)

    assert response.status == 401
    assert response.headers["www-authenticate"] == (
        'Basic realm="sandbox", charset="UTF-8", Bearer realm="sandbox"'
    )


@pytest.mark.parametrize("scope", ["api/read", "api/all", "api/write api/read"])
def test_a_token_with_a_scope_for_reading_reads(scope: str) -> None:
    assert content(get(headers=bearer(access_token(scope))))["id"] == RECORD_ID


def test_a_token_for_writing_only_is_forbidden() -> None:
    response = get(headers=bearer(access_token("api/write")))

    assert response.status == 403
    assert content(response)["message"] == "The access token has neither the scope api/read nor api/all"
    assert response.headers["www-authenticate"] == (
        'Bearer realm="sandbox", error="insufficient_scope", scope="api/read"'
    )


def test_a_token_expires() -> None:
    sandbox = Sandbox(token_lifetime_s=60)
    headers = bearer(access_token(sandbox=sandbox))

    assert get(headers=headers, sandbox=sandbox, now=NOW + 59.999).status == 200
    expired = get(headers=headers, sandbox=sandbox, now=NOW + 60)
    assert expired.status == 401
    assert content(expired)["message"] == "The access token expired"
    assert expired.headers["www-authenticate"] == (
        'Bearer realm="sandbox", error="invalid_token", error_description="The access token expired"'
    )


def assert_invalid_token(response: SandboxResponse) -> None:
    message = "The access token is not valid for this API"
    assert response.status == 401
    assert content(response)["message"] == message
    assert response.headers["www-authenticate"] == (
        f'Bearer realm="sandbox", error="invalid_token", error_description="{message}"'
    )


@pytest.mark.parametrize("scope", ["api/webhooks", "api/all"])
def test_a_token_for_webhooks_is_not_valid_for_the_api(scope: str) -> None:
    assert_invalid_token(get(headers=bearer(access_token(scope, target=WEBHOOKS_TOKEN))))


@pytest.mark.parametrize(
    "other",
    [
        Sandbox(signing_key=b"not-a-secret: another"),
        Sandbox(tenant_id="sandbox-2_ExampleOrg"),
        Sandbox(client_id="another-client"),
    ],
)
def test_a_token_of_another_sandbox_is_not_valid(other: Sandbox) -> None:
    assert_invalid_token(get(headers=bearer(access_token()), sandbox=other))


def test_a_token_is_valid_in_any_equal_sandbox() -> None:
    assert get(headers=bearer(access_token()), sandbox=Sandbox()).status == 200


def test_a_token_that_was_tampered_with_is_not_valid() -> None:
    payload, signature = access_token("api/write").split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    forged = (
        base64.urlsafe_b64encode(json.dumps({**claims, "scopes": ["api/all"]}).encode()).decode().rstrip("=")
    )

    for token in (f"{forged}.{signature}", f"{payload}.{signature[:-1]}", f"{payload}.{signature}.", payload):
        assert_invalid_token(get(headers=bearer(token)))


@pytest.mark.parametrize("token", ["", ".", "..", "x.y", "é.è", "\udcff.\udcff", "a b", "=.=", "\x00"])
def test_any_other_text_is_not_a_valid_token(token: str) -> None:
    assert_invalid_token(get(headers=bearer(token)))


def test_authentication_is_checked_before_the_scope_and_the_scope_before_the_id() -> None:
    writing = bearer(access_token("api/write"))

    assert get("/rest/v1/activity/x", headers={}).status == 401
    assert get("/rest/v1/activity/507f1f77bcf86cd799439012", headers={}).status == 401
    assert get("/rest/v1/activity/x", headers=writing).status == 403


def error_response(status: int) -> SandboxResponse:
    match status:
        case 400:
            return get("/rest/v1/activity/x")
        case 401:
            return get(headers={})
        case 403:
            return get(headers=bearer(access_token("api/write")))
        case 404:
            return get("/rest/v1/activity/507f1f77bcf86cd799439012")
        case _:
            return get(method="PUT")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405])
def test_the_body_of_an_error_is_that_of_the_contract(status: int) -> None:
    response = error_response(status)
    body = content(response)
    schema = {"$ref": "#/components/schemas/Error", "components": CONTRACT["components"]}
    Draft202012Validator(schema).validate(body)

    assert body.keys() == CONTRACT["components"]["schemas"]["Error"]["properties"].keys()
    assert body["status"] == response.status == status
    assert body["message"]


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_documented_error_is_named_as_in_the_contract(status: int) -> None:
    reference = CONTRACT["paths"]["/activity/{id}"]["get"]["responses"][str(status)]["$ref"]
    documented = CONTRACT["components"]["responses"][reference.rpartition("/")[2]]
    example_body = documented["content"]["application/json"]["example"]

    assert content(error_response(status))["error"] == example_body["error"]


# The token endpoints


@pytest.mark.parametrize(
    ("form", "headers"),
    [
        (GRANT | CLIENT, {}),
        (GRANT, CLIENT_BASIC),
        (GRANT | {"client_id": SANDBOX.client_id}, CLIENT_BASIC),
        (GRANT | CLIENT | {"scope": "", "audience": "ignored"}, {}),
        (GRANT | CLIENT, {"content-type": "Application/X-WWW-Form-URLEncoded ; charset=utf-8"}),
    ],
)
def test_a_token_response(form: dict[str, str], headers: dict[str, str]) -> None:
    response = post(form, headers)

    assert response.status == 200
    body = content(response)
    assert get(headers=bearer(body.pop("access_token"))).status == 200
    assert body == {"token_type": "Bearer", "expires_in": 3600, "scope": "api/read"}
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["pragma"] == "no-cache"


def test_an_access_token_is_text_that_a_header_can_carry_and_says_whose_it_is() -> None:
    token = access_token()
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))

    # RFC 6750, section 2.1
    assert set(token.replace(".", "")) <= set(base64.urlsafe_b64encode(bytes(range(256))).decode()) - {"="}
    assert claims.pop("jti")
    assert claims == {
        "tenant": SANDBOX.tenant_id,
        "client": SANDBOX.client_id,
        "service": "api",
        "scopes": ["api/read"],
        "exp": NOW + 3600,
    }


@pytest.mark.parametrize(
    ("target", "scope", "granted"),
    [
        (TOKEN, None, "api/read"),
        (TOKEN, "api/read", "api/read"),
        (TOKEN, "api/write", "api/write"),
        (TOKEN, "api/all", "api/all"),
        (TOKEN, "api/write api/read api/write", "api/write api/read"),
        (WEBHOOKS_TOKEN, None, "api/webhooks"),
        (WEBHOOKS_TOKEN, "api/webhooks", "api/webhooks"),
        (WEBHOOKS_TOKEN, "api/all api/webhooks", "api/all api/webhooks"),
    ],
)
def test_the_scopes_of_each_service_are_granted(target: str, scope: str | None, granted: str) -> None:
    form = GRANT | CLIENT | ({} if scope is None else {"scope": scope})

    assert content(post(form, target=target))["scope"] == granted


@pytest.mark.parametrize("service", ["api", "webhooks"])
def test_the_scopes_of_each_service_are_those_of_the_contract(service: str) -> None:
    target = {"api": TOKEN, "webhooks": WEBHOOKS_TOKEN}[service]
    granted = {
        scope
        for scope in OAUTH2["flows"]["clientCredentials"]["scopes"]
        if post(GRANT | CLIENT | {"scope": scope}, target=target).status == 200
    }

    assert granted == set(OAUTH2["x-service-scopes"][service])


@pytest.mark.parametrize(
    ("target", "scope"),
    [
        (TOKEN, "api/webhooks"),
        (WEBHOOKS_TOKEN, "api/read"),
        (WEBHOOKS_TOKEN, "api/write"),
        (TOKEN, "api/read api/admin"),
        (TOKEN, "API/READ"),
        (TOKEN, "api/read,api/write"),
        (TOKEN, "api/read  api/write"),
        (TOKEN, " "),
        (TOKEN, "api/read\n"),
    ],
)
def test_unknown_and_malformed_scopes_are_invalid(target: str, scope: str) -> None:
    assert refusal(post(GRANT | CLIENT | {"scope": scope}, target=target)) == (400, "invalid_scope", None)


@pytest.mark.parametrize(
    ("form", "description"),
    [
        (b"", "The parameter grant_type is missing"),
        (b"grant_type", "The parameter grant_type is missing"),
        (b"grant_type=&scope=api/read", "The parameter grant_type is missing"),
        (b'{"grant_type": "client_credentials"}', "The parameter grant_type is missing"),
        (b"\xff=1", "The body is not UTF-8"),
        (b"grant_type=%FF", "The body is not UTF-8"),
        (b"grant_type=client_credentials&grant_type=client_credentials", "A parameter is repeated"),
        (b"grant_type=client_credentials&grant%5Ftype=password", "A parameter is repeated"),
        (b"grant_type=client_credentials&unknown=1&unknown=2", "A parameter is repeated"),
    ],
)
def test_an_invalid_token_request_is_rejected(form: bytes, description: str) -> None:
    response = post(form, CLIENT_BASIC)

    assert refusal(response) == (400, "invalid_request", None)
    assert content(response)["error_description"] == description


@pytest.mark.parametrize(
    "content_type", ["", "application/json", "multipart/form-data; boundary=x", "\udcff"]
)
def test_any_other_content_type_is_invalid(content_type: str) -> None:
    response = post(GRANT | CLIENT, {"content-type": content_type})

    assert refusal(response) == (400, "invalid_request", None)
    assert "application/x-www-form-urlencoded" in content(response)["error_description"]


def test_a_missing_content_type_is_invalid() -> None:
    request = SandboxRequest("POST", TOKEN, {}, urlencode(GRANT | CLIENT).encode())

    assert refusal(SANDBOX.respond(request, now=NOW)) == (400, "invalid_request", None)


@pytest.mark.parametrize("more", [CLIENT, {"client_secret": "wrong"}, {"client_id": "another"}])
def test_authenticating_in_two_ways_at_once_is_invalid(more: dict[str, str]) -> None:
    response = post(GRANT | more, CLIENT_BASIC)

    assert refusal(response) == (400, "invalid_request", None)
    assert content(response)["error_description"] == "The client must use only one authentication method"


@pytest.mark.parametrize(
    "client",
    [
        {},
        {"client_id": SANDBOX.client_id},
        {"client_secret": SANDBOX.client_secret},
        CLIENT | {"client_id": "wrong"},
        CLIENT | {"client_secret": "wrong"},
        CLIENT | {"client_secret": quote_plus(SANDBOX.client_secret)},
        {"client_id": SANDBOX.tenant_id, "client_secret": SANDBOX.client_secret},
    ],
)
def test_an_invalid_client_in_the_body_is_a_bad_request(client: dict[str, str]) -> None:
    assert refusal(post(GRANT | client)) == (400, "invalid_client", None)


@pytest.mark.parametrize(
    "authorization",
    [
        basic(SANDBOX.client_id, "wrong")["authorization"],
        basic("wrong", quote_plus(SANDBOX.client_secret))["authorization"],
        # Not form-encoded first, although RFC 6749, section 2.3.1 requires that.
        basic(SANDBOX.client_id, SANDBOX.client_secret)["authorization"],
        CLIENT_BASIC["authorization"].replace("Basic", "Bearer"),
        "",
        "Basic",
        "Basic !",
        "Basic \udcff",
        "Basic " + base64.b64encode(b"\xff").decode(),
        "Basic " + base64.b64encode(b"%FF:%").decode(),
    ],
)
def test_an_invalid_client_in_the_header_is_unauthorized(authorization: str) -> None:
    response = post(GRANT, {"authorization": authorization})

    assert refusal(response) == (401, "invalid_client", 'Basic realm="sandbox", charset="UTF-8"')


def test_a_space_of_the_secret_may_be_encoded_either_way() -> None:
    assert post(GRANT, basic(SANDBOX.client_id, quote(SANDBOX.client_secret, safe=""))).status == 200
    assert post(GRANT, basic(SANDBOX.client_id, quote_plus(SANDBOX.client_secret))).status == 200


@pytest.mark.parametrize("character", "%&+ :")
def test_the_default_client_secret_has_characters_that_must_be_encoded(character: str) -> None:
    assert character in Sandbox().client_secret


@pytest.mark.parametrize(
    ("client_auth", "by_form", "by_basic"),
    [
        ("auto", 200, 200),
        ("post", 200, (401, "invalid_client", BASIC_CHALLENGE)),
        ("basic", (400, "invalid_client", None), 200),
    ],
)
def test_clients_authenticate_as_the_sandbox_lets_them(client_auth: Any, by_form: Any, by_basic: Any) -> None:
    sandbox = Sandbox(client_auth=client_auth)
    for response, expected in (
        (post(GRANT | CLIENT, sandbox=sandbox), by_form),
        (post(GRANT, CLIENT_BASIC, sandbox=sandbox), by_basic),
    ):
        assert (response.status if response.status == 200 else refusal(response)) == expected


def test_an_unknown_client_auth_is_refused() -> None:
    with pytest.raises(ValueError, match="client_auth is 'jwt'"):
        Sandbox(client_auth="jwt")  # type: ignore[arg-type]


def test_the_tenant_id_and_the_api_secret_are_a_client_as_well() -> None:
    pair = {"client_id": SANDBOX.tenant_id, "client_secret": SANDBOX.api_secret}
    for response in (
        post(GRANT | pair),
        post(GRANT, basic(quote_plus(SANDBOX.tenant_id), quote_plus(SANDBOX.api_secret))),
    ):
        assert get(headers=bearer(content(response)["access_token"])).status == 200
    assert refusal(post(GRANT | pair | {"client_secret": SANDBOX.client_secret}))[1] == "invalid_client"
    assert refusal(post(GRANT | CLIENT | {"client_secret": SANDBOX.api_secret}))[1] == "invalid_client"


@pytest.mark.parametrize(
    "target", ["/oauth2/token/sandbox-2_ExampleOrg", TOKEN.upper().replace("/OAUTH2/TOKEN", "/oauth2/token")]
)
def test_another_tenant_is_an_invalid_client(target: str) -> None:
    assert refusal(post(GRANT | CLIENT, target=target)) == (400, "invalid_client", None)
    assert refusal(post(GRANT, CLIENT_BASIC, target=target))[:2] == (401, "invalid_client")


def test_the_tenant_in_the_path_is_percent_decoded() -> None:
    sandbox = Sandbox(tenant_id="a b/c?ü")
    target = f"/oauth2/token/{quote('a b/c?ü', safe='')}?x"

    assert post(GRANT | CLIENT, target=target, sandbox=sandbox).status == 200


@pytest.mark.parametrize("grant_type", ["password", "authorization_code", "Client_Credentials"])
def test_any_other_grant_type_is_unsupported(grant_type: str) -> None:
    form = CLIENT | {"grant_type": grant_type}

    assert refusal(post(form)) == (400, "unsupported_grant_type", None)


def test_the_client_is_authenticated_before_its_request_is_judged() -> None:
    assert refusal(post({"grant_type": "password", "scope": "x"}))[1] == "invalid_client"
    assert refusal(post(CLIENT | {"grant_type": "password", "scope": "x"}))[1] == "unsupported_grant_type"


@pytest.mark.parametrize("target", [TOKEN, WEBHOOKS_TOKEN])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "post"])
def test_only_post_is_allowed_at_a_token_endpoint(method: str, target: str) -> None:
    response = get(target, method=method)

    assert response.status == content(response)["status"] == 405
    assert response.headers["allow"] == "POST"


def test_the_lifetime_of_tokens_is_reported() -> None:
    assert content(post(GRANT | CLIENT, sandbox=Sandbox(token_lifetime_s=5)))["expires_in"] == 5


# The function and its values


def test_the_same_request_at_the_same_time_gives_the_same_response() -> None:
    for sandbox in (SANDBOX, Sandbox(), copy.deepcopy(SANDBOX), pickle.loads(pickle.dumps(SANDBOX))):
        assert get(sandbox=sandbox) == get()
        assert post(GRANT | CLIENT, sandbox=sandbox) == post(GRANT | CLIENT)


def test_a_new_moment_and_other_scopes_give_new_tokens() -> None:
    forms = [GRANT | CLIENT, GRANT | CLIENT | {"scope": "api/all"}]
    tokens = {content(post(form, now=now))["access_token"] for form in forms for now in (NOW, NOW + 0.001)}
    ids = {json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))["jti"] for token in tokens}

    assert len(tokens) == len(ids) == 4


def test_the_request_id_depends_on_method_target_and_time() -> None:
    ids = [
        get().headers["x-request-id"],
        get(method="HEAD").headers["x-request-id"],
        get(f"{RECORD}?").headers["x-request-id"],
        get(now=NOW + 1).headers["x-request-id"],
        get(headers={}).headers["x-request-id"],
    ]

    assert len(set(ids[:4])) == 4
    assert ids[4] == ids[0]


def test_the_date_is_that_of_the_clock() -> None:
    assert get().headers["date"] == "Tue, 14 Nov 2023 22:13:20 GMT"
    assert get(now=0).headers["date"] == "Thu, 01 Jan 1970 00:00:00 GMT"


def test_records_are_copied() -> None:
    records = seeded_records()
    sandbox = Sandbox(records=records)
    records[RECORD_ID]["data"]["duration"] = "0"
    records.clear()

    assert content(get(sandbox=sandbox))["data"]["duration"] == "3600"


def test_a_sandbox_can_be_had_with_other_records_and_stays_as_it_is() -> None:
    mine = {"F" * 24: {"id": "f" * 24, "data": {"score": 1}}}
    other = SANDBOX.with_records(mine, without=RECORD_ID.upper())
    mine["F" * 24]["data"] = {}

    assert other.records.keys() == SANDBOX.records.keys() - {RECORD_ID} | {"f" * 24}
    assert other.records["f" * 24]["data"] == {"score": 1}
    assert replace(other, records=SANDBOX.records) == SANDBOX
    assert Sandbox() == SANDBOX
    with pytest.raises(ValueError, match="JSON"):
        SANDBOX.with_records({RECORD_ID: {"id": RECORD_ID, "data": {"score": float("nan")}}})


def test_records_that_are_not_json_are_refused_at_once() -> None:
    with pytest.raises(TypeError, match="datetime"):
        Sandbox(records={RECORD_ID: {"id": RECORD_ID, "date": datetime.now(UTC)}})
    with pytest.raises(ValueError, match="JSON"):
        Sandbox(records={RECORD_ID: {"id": RECORD_ID, "data": {"score": float("nan")}}})


def test_values_are_frozen() -> None:
    for value, name in ((SANDBOX, "tenant_id"), (SandboxRequest("GET", "/", {}), "body"), (get(), "status")):
        with pytest.raises(FrozenInstanceError):
            setattr(value, name, None)


def test_no_repr_shows_a_secret() -> None:
    form = urlencode(GRANT | CLIENT).encode()
    request = SandboxRequest("POST", TOKEN, {**FORM_TYPE, "authorization": "Basic bm90IGEgc2VjcmV0"}, form)
    response = post(form)

    assert repr(request) == f"SandboxRequest(method='POST', target={TOKEN!r})"
    assert content(response)["access_token"] not in repr(response)
    assert "status=200" in repr(response)
    assert repr(Sandbox()) == (
        "Sandbox(tenant_id='sandbox-1_ExampleOrg', client_id='sandbox-client', token_lifetime_s=3600)"
    )


#: These need an extra, or httpx.
WITH_OTHER_LIBRARIES = {"contract", "server", "transport"}
MODULES = sorted(Path(str(thrive_learning.sandbox.__file__)).parent.glob("*.py"))


@pytest.mark.parametrize("module", [pytest.param(path, id=path.stem) for path in MODULES])
def test_the_sandbox_imports_the_standard_library_only(module: Path) -> None:
    imports = list(ast.walk(ast.parse(module.read_text(encoding="utf-8"))))
    names = {alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "." for node in imports if isinstance(node, ast.ImportFrom)}

    assert names
    others = {name for name in names if name.partition(".")[0] not in sys.stdlib_module_names}
    ours = {name for name in others if name.startswith("thrive_learning.sandbox.")}
    assert bool(others - ours) is (module.stem in WITH_OTHER_LIBRARIES)


# Including lone surrogates, as which a server may pass bytes that are not UTF-8.
TEXT = st.text(st.characters(codec=None, exclude_categories=()))
LIST = "/rest/v1/activities"
PARAMETERS = ["page", "perPage", "actions", "omitActions", "contentIds", "contentType"]
VALUES = st.one_of(TEXT, st.sampled_from(["1", "0", "viewed,found", "2020-02-30 00:00:00", RECORD_ID]))
QUERIES = st.dictionaries(st.sampled_from([*PARAMETERS, "timestampFrom", "timestampTo"]), VALUES).map(
    lambda query: f"{LIST}?{urlencode(query, errors='surrogatepass')}"
)
PATHS = st.sampled_from([RECORD, TOKEN, WEBHOOKS_TOKEN, LIST, "/rest/v1/activity/", "/oauth2/token/"])
SCHEMES = st.sampled_from(["Basic ", "Bearer "])
AUTHORIZATION = st.one_of(
    st.just(API_BASIC["authorization"]),
    st.just(CLIENT_BASIC["authorization"]),
    st.builds(lambda: f"Bearer {access_token()}"),
    st.builds(str.__add__, SCHEMES, TEXT),
    st.builds(lambda text: f"Basic {base64.b64encode(text).decode()}", st.binary()),
    TEXT,
)
FORM = st.dictionaries(st.sampled_from([*GRANT, *CLIENT, "scope"]), st.text()).map(
    lambda form: urlencode(GRANT | CLIENT | form).encode()
)
REQUESTS = st.builds(
    SandboxRequest,
    method=st.one_of(st.sampled_from(["GET", "POST", "HEAD"]), TEXT),
    target=st.one_of(PATHS, QUERIES, st.builds(str.__add__, PATHS, TEXT), TEXT),
    headers=st.fixed_dictionaries(
        {},
        optional={
            "authorization": AUTHORIZATION,
            "content-type": st.one_of(st.just("application/x-www-form-urlencoded"), TEXT),
            "host": TEXT,
        },
    ),
    body=st.one_of(FORM, st.binary()),
)


@settings(deadline=None)  # what is shown has nothing to do with speed
@given(request=REQUESTS, now=st.floats(0, 1e11))
# Targets on which urllib.parse.urlsplit() raises.
@example(request=SandboxRequest("GET", "http://[", {}), now=0.0)
def test_no_request_raises_and_every_body_is_json(request: SandboxRequest, now: float) -> None:
    response = valid(request, SANDBOX.respond(request, now=now))

    assert response == SANDBOX.respond(replace(request), now=now)
    assert response.status in {200, 400, 401, 403, 404, 405}
    assert all(name == name.lower() and value.isascii() for name, value in response.headers.items())
    assert len(response.headers["x-request-id"]) == 32
    if request.method == "HEAD":
        assert response.body == b""
    else:
        assert content(response)
