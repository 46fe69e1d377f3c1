import base64
import datetime as dt
import email.utils
import threading
import traceback
from collections import Counter
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

import anyio
import anyio.lowlevel
import httpx
import pytest
from harness import (
    ACTIVITY_ID,
    BASIC,
    OAUTH,
    TENANT_ID,
    Clock,
    Flavour,
    page_response,
    token_response,
)
from hypothesis import given
from hypothesis import strategies as st
from patience import PATIENCE_S, growing_limits

from thrive_learning import (
    AsyncThriveClient,
    BadRequestError,
    BasicCredentials,
    ClientCredentials,
    ConfigurationError,
    ConnectionFailedError,
    DeadlineExceededError,
    ForbiddenError,
    Region,
    RetryPolicy,
    Scope,
    Service,
    ThriveClient,
    ThriveError,
    Timeout,
    TokenError,
    UnauthorizedError,
    _budget,
)
from thrive_learning._auth.outcomes import Key
from thrive_learning._auth.single_flight import Flight, Lead

ONCE = RetryPolicy(attempts=1)
SECRETS = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), min_size=1)


class Api:
    """Answers token requests and calls, and keeps what was sent."""

    def __init__(self, *tokens: httpx.Response) -> None:
        self.tokens = list(tokens) or [token_response()]
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if request.method == "POST":
            return self.tokens.pop(0) if len(self.tokens) > 1 else self.tokens[0]
        return page_response()

    def counts(self) -> Counter[str]:
        return Counter(request.method for request in self.requests)


def form(request: httpx.Request) -> dict[str, str]:
    return dict(parse_qsl(request.content.decode(), strict_parsing=True))


def test_http_basic_on_the_wire(flavour: Flavour) -> None:
    api = Api()
    credentials = BasicCredentials(TENANT_ID, "pass:wörd %&+")
    with flavour.answering(api, credentials) as client:
        client.activities.get(ACTIVITY_ID)
    [request] = api.requests
    kind, _, encoded = request.headers["authorization"].partition(" ")
    assert kind == "Basic"
    assert base64.b64decode(encoded).decode() == f"{TENANT_ID}:pass:wörd %&+"


def test_a_token_request_on_the_wire(flavour: Flavour) -> None:
    api = Api()
    with flavour.answering(api, OAUTH) as client:
        client.activities.get(ACTIVITY_ID)
    token_request, call = api.requests
    assert token_request.method == "POST"
    assert str(token_request.url) == f"https://public.api.learn.link/oauth2/token/{TENANT_ID}"
    assert token_request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert token_request.headers["accept"] == "application/json"
    assert "authorization" not in token_request.headers
    assert form(token_request) == {
        "grant_type": "client_credentials",
        "scope": "api/read",
        "client_id": "fake-client",
        "client_secret": "fake-client-secret",
    }
    assert call.headers["authorization"] == "Bearer fake-token"
    assert "content-type" not in call.headers


def test_client_authentication_with_http_basic(flavour: Flavour) -> None:
    api = Api()
    credentials = ClientCredentials(TENANT_ID, "c", "s&=%", client_auth="basic")
    with flavour.answering(api, credentials) as client:
        client.activities.get(ACTIVITY_ID)
    encoded = base64.b64encode(b"c:s%26%3D%25").decode()
    assert api.requests[0].headers["authorization"] == f"Basic {encoded}"
    assert form(api.requests[0]) == {"grant_type": "client_credentials", "scope": "api/read"}


def test_the_tenant_id_is_the_client_id_if_there_is_no_other(flavour: Flavour) -> None:
    api = Api()
    with flavour.answering(api, ClientCredentials(TENANT_ID, client_secret="fake")) as client:
        client.tokens.get()
    assert form(api.requests[0])["client_id"] == TENANT_ID


def test_client_authentication_by_form_fields(flavour: Flavour) -> None:
    api = Api()
    credentials = ClientCredentials(
        TENANT_ID, "c", "s&=%", scopes=[Scope.READ, Scope.WRITE], client_auth="post"
    )
    with flavour.answering(api, credentials) as client:
        client.activities.get(ACTIVITY_ID)
    assert "authorization" not in api.requests[0].headers
    assert form(api.requests[0]) == {
        "grant_type": "client_credentials",
        "scope": "api/read api/write",
        "client_id": "c",
        "client_secret": "s&=%",
    }


def test_no_scopes_leave_them_to_the_server(flavour: Flavour) -> None:
    api = Api()
    with flavour.answering(api, ClientCredentials(TENANT_ID, "c", "s", scopes=())) as client:
        client.activities.get(ACTIVITY_ID)
    assert form(api.requests[0]) == {
        "grant_type": "client_credentials",
        "client_id": "c",
        "client_secret": "s",
    }


@given(client_id=SECRETS, secret=SECRETS)
def test_id_and_secret_are_form_encoded_before_basic(client_id: str, secret: str) -> None:
    api = Api()
    with ThriveClient(
        Region.PRODUCTION,
        ClientCredentials(TENANT_ID, client_id, secret, client_auth="basic"),
        transport=httpx.MockTransport(api),
    ) as client:
        client.tokens.get()
    encoded = api.requests[0].headers["authorization"].removeprefix("Basic ")
    sent_id, _, sent_secret = base64.b64decode(encoded).decode("ascii").partition(":")
    assert (unquote_plus(sent_id), unquote_plus(sent_secret)) == (client_id, secret)


def test_the_tenant_id_is_percent_encoded(flavour: Flavour) -> None:
    api = Api()
    with flavour.answering(api, ClientCredentials("a/b?c#d e", "c", "s")) as client:
        client.tokens.get()
    assert api.requests[0].url.raw_path == b"/oauth2/token/a%2Fb%3Fc%23d%20e"


def test_a_token_serves_many_calls_until_shortly_before_it_expires(
    flavour: Flavour, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    api = Api(token_response("first"), token_response("second"))
    with flavour.answering(api, OAUTH) as client:
        monkeypatch.setattr(client._http.authorizer.cache, "clock", lambda: now)
        monkeypatch.setattr(client._http.authorizer.cache, "draw", lambda: 0.0)
        client.activities.get(ACTIVITY_ID)
        now += 3299
        client.activities.get(ACTIVITY_ID)
        assert api.counts() == {"POST": 1, "GET": 2}
        now += 1
        client.activities.get(ACTIVITY_ID)
    assert api.counts() == {"POST": 2, "GET": 3}
    assert api.requests[-1].headers["authorization"] == "Bearer second"


def test_a_renewed_token_is_kept(flavour: Flavour, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    api = Api(token_response("first"), token_response("second"), token_response("third"))
    with flavour.answering(api, OAUTH) as client:
        monkeypatch.setattr(client._http.authorizer.cache, "clock", lambda: now)
        client.activities.get(ACTIVITY_ID)
        for later in (
            3400,
            10,
            3600 - 3400,
        ):  # when it is to be renewed; soon after; when the first has ended
            now += later
            client.activities.get(ACTIVITY_ID)
    sent = [request.headers["authorization"] for request in api.requests if request.method == "GET"]
    assert sent == ["Bearer first", *["Bearer second"] * 3]
    assert api.counts() == {"POST": 2, "GET": 4}


def test_tokens_for_webhooks(flavour: Flavour) -> None:
    api = Api(token_response(scope="api/webhooks more"))
    with flavour.answering(api, OAUTH) as client:
        token = client.tokens.get(Service.WEBHOOKS)
        assert client.tokens.get(Service.WEBHOOKS, scopes=["api/webhooks"]) is token
        client.tokens.get(Service.WEBHOOKS, scopes=[Scope.ALL], timeout=5)
    assert str(api.requests[0].url) == f"https://user.api.learn.link/oauth2/token/{TENANT_ID}"
    assert [form(request)["scope"] for request in api.requests] == ["api/webhooks", "api/all"]
    assert token.value == "fake-token"
    assert token.scopes == (Scope.WEBHOOKS, "more")
    assert isinstance(token.scopes[0], Scope)
    remaining = token.expires_at - dt.datetime.now(dt.UTC)
    assert dt.timedelta(minutes=59) < remaining <= dt.timedelta(hours=1)


def test_a_call_and_tokens_get_share_the_token_whatever_the_order_of_scopes(flavour: Flavour) -> None:
    api = Api()
    with flavour.answering(
        api, ClientCredentials(TENANT_ID, "c", "s", scopes=["api/read", "api/write"])
    ) as client:
        client.activities.get(ACTIVITY_ID)
        client.tokens.get(scopes=["api/write", "api/read"])
        client.tokens.get()
    assert api.counts() == {"POST": 1, "GET": 1}


@pytest.mark.parametrize(
    ("fields", "lifetime_s"),
    [
        ({"expires_in": None}, 3600),
        ({"expires_in": 60}, 60),
        ({"expires_in": 0.5}, 0.5),
        ({"expires_in": 366 * 86_400}, 366 * 86_400),
    ],
)
def test_how_long_a_token_lives(flavour: Flavour, fields: dict[str, Any], lifetime_s: float) -> None:
    with flavour.answering(Api(token_response(**fields)), OAUTH) as client:
        remaining = (client.tokens.get().expires_at - dt.datetime.now(dt.UTC)).total_seconds()
    assert remaining == pytest.approx(lifetime_s, abs=30)


def test_optional_fields_of_a_token_response_may_be_missing(flavour: Flavour) -> None:
    with flavour.answering(Api(token_response(token_type="bEaReR", scope=None, other=1)), OAUTH) as client:
        assert client.tokens.get().scopes == (Scope.READ,)  # RFC 6749 section 5.1: as asked for


TOKEN_URL = "https://public.api.learn.link/oauth2/token/{tenant_id}"
NO_ACCESS_TOKEN = "its access_token is missing or has characters other than visible ASCII"
NO_TOKEN_TYPE = "its token_type is not Bearer"


@pytest.mark.parametrize(
    ("response", "problem"),
    [
        (token_response(""), NO_ACCESS_TOKEN),
        (token_response("a b"), NO_ACCESS_TOKEN),
        (token_response("a\nb"), NO_ACCESS_TOKEN),
        (token_response("\N{EURO SIGN}"), NO_ACCESS_TOKEN),
        (token_response(access_token=None), NO_ACCESS_TOKEN),
        (token_response(access_token=5), NO_ACCESS_TOKEN),
        (token_response(token_type=5), NO_TOKEN_TYPE),
        (token_response(token_type="mac"), NO_TOKEN_TYPE),
        (
            httpx.Response(200, text="<html>"),
            "its body is HTML or XML, not JSON, so a proxy or a gateway seems to have answered",
        ),
        (httpx.Response(200, json=[]), "its body is JSON, but an array and not an object"),
        (httpx.Response(200), "its body is empty"),
        (
            httpx.Response(200, headers={"content-encoding": "br"}, stream=httpx.ByteStream(b"x")),
            "its Content-Encoding was not requested (br)",
        ),
    ],
)
def test_an_invalid_token_response_is_an_error(
    flavour: Flavour, response: httpx.Response, problem: str
) -> None:
    with flavour.answering(Api(response), OAUTH) as client, pytest.raises(TokenError) as caught:
        client.activities.get(ACTIVITY_ID)
    assert str(caught.value) == (
        f"the token endpoint of production answered 200, but {problem}. "
        f"Check the region's token URL {TOKEN_URL}. If it is right, ask the API's support."
    )
    assert caught.value.status_code == 200
    assert caught.value.attempts == 1
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


LATER = "It is failing or busy. Try again later."


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_token_endpoint_says_how_long_to_wait(flavour: Flavour, status: int) -> None:
    response = httpx.Response(status, headers={"retry-after": "7"})
    with flavour.answering(Api(response), OAUTH) as client, pytest.raises(TokenError) as caught:
        client.activities.get(ACTIVITY_ID)
    assert caught.value.retry_after == 7
    assert str(caught.value).endswith("It is failing or busy. Try again in 7 s.")


def test_a_busy_token_endpoint_may_name_a_date(flavour: Flavour) -> None:
    date = email.utils.format_datetime(dt.datetime.now(dt.UTC) + dt.timedelta(hours=1), usegmt=True)
    response = httpx.Response(503, headers={"retry-after": date})
    with flavour.answering(Api(response), OAUTH) as client, pytest.raises(TokenError) as caught:
        client.activities.get(ACTIVITY_ID)
    assert caught.value.retry_after == pytest.approx(3600, abs=60)


def test_a_secret_that_the_token_endpoint_repeats_is_masked(flavour: Flavour) -> None:
    response = httpx.Response(
        400, json={"error": "invalid_client", "error_description": "not fake-client-secret"}
    )
    with flavour.answering(Api(response), OAUTH) as client, pytest.raises(TokenError) as caught:
        client.tokens.get()
    assert "fake-client-secret" not in str(caught.value) + repr(vars(caught.value))


def test_a_token_response_that_is_cut_off(flavour: Flavour) -> None:
    response = httpx.Response(
        200, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(b"\x1f\x8b\x08\0\0\0\0\0\0\3")
    )
    with (
        flavour.answering(Api(response), OAUTH) as client,
        pytest.raises(ConnectionFailedError, match="cut off"),
    ):
        client.tokens.get()


def refusal(status: int) -> httpx.Response:
    return httpx.Response(status, json={"status": status, "message": "no"})


@pytest.mark.parametrize(
    ("granted", "scopes"),
    [("api/write", "api/write"), ("api/write more", "api/write, more"), ("", "none")],
)
def test_a_403_names_the_scopes_that_the_token_has(flavour: Flavour, granted: str, scopes: str) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return token_response(scope=granted) if request.method == "POST" else refusal(403)

    with flavour.answering(handler, OAUTH) as client, pytest.raises(ForbiddenError) as caught:
        client.activities.get(ACTIVITY_ID)
    assert str(caught.value) == (
        f'production answered 403 to the request for activity {ACTIVITY_ID}: "no". The scopes of the token '
        f"({scopes}) do not allow this; request api/read or api/all with scopes=."
    )


def test_a_403_with_basic_credentials_sends_to_the_vendor(flavour: Flavour) -> None:
    with (
        flavour.answering(lambda _request: refusal(403)) as client,
        pytest.raises(ForbiddenError) as caught,
    ):
        client.activities.get(ACTIVITY_ID)
    assert str(caught.value) == (
        f'production answered 403 to the request for activity {ACTIVITY_ID}: "no". The API secret does not '
        "allow this; ask the vendor what it allows."
    )


@pytest.mark.parametrize(
    ("credentials", "said"),
    [
        (
            BASIC,
            (
                "The HTTP Basic credentials are not accepted; check that they are complete, current, and "
                "issued for the region 'production', because each region has its own."
            ),
        ),
        (
            OAUTH,
            (
                "The access token is not accepted, although the region 'production' issued it for these "
                "OAuth client credentials; check that the region's api_url and token URL belong together, "
                "and that the client has not been blocked since."
            ),
        ),
    ],
    ids=["basic", "oauth"],
)
def test_a_401_says_what_is_not_accepted(flavour: Flavour, credentials: Any, said: str) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return token_response() if request.method == "POST" else refusal(401)

    with flavour.answering(handler, credentials) as client, pytest.raises(UnauthorizedError) as caught:
        client.activities.get(ACTIVITY_ID)
    assert (
        str(caught.value)
        == f'production answered 401 to the request for activity {ACTIVITY_ID}: "no". {said}'
    )


#: As a server may repeat it: in a form, in a URL, and in JSON.
SECRET = 'p"/ %\N{EURO SIGN}q'


@pytest.mark.parametrize(
    "repeated",
    [
        SECRET,
        "p%22%2F+%25%E2%82%ACq",
        "p%22/%20%25%E2%82%ACq",
        r"p\"/ %\u20acq",
        r"p\"\/ %\u20acq",
        base64.b64encode(b"fake-client:p%22%2F+%25%E2%82%ACq").decode(),
        "the+access/token",
        "the%2Baccess%2Ftoken",
        r"the+access\/token",
    ],
)
def test_secrets_that_the_api_repeats_are_masked(flavour: Flavour, repeated: str) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return token_response("the+access/token")
        return httpx.Response(400, text=f"<{repeated}>")

    credentials = ClientCredentials(TENANT_ID, "fake-client", SECRET)
    with flavour.answering(handler, credentials) as client, pytest.raises(BadRequestError) as caught:
        client.activities.get(ACTIVITY_ID)
    assert caught.value.body == "<**********>"


@pytest.mark.parametrize(
    ("credentials", "sent"),
    [
        (BASIC, base64.b64encode(f"{TENANT_ID}:fake-api-secret".encode()).decode()),
        (
            BasicCredentials(TENANT_ID, lambda: "fake-api-secret"),
            base64.b64encode(f"{TENANT_ID}:fake-api-secret".encode()).decode(),
        ),
        (OAUTH, "the-access-token"),
        (OAUTH, "fake-client-secret"),
    ],
)
def test_a_request_id_that_repeats_what_was_sent_is_masked(
    flavour: Flavour, credentials: Any, sent: str
) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return token_response("the-access-token")
        return httpx.Response(400, headers={"x-request-id": f"<{sent}>"})

    with flavour.answering(handler, credentials) as client, pytest.raises(BadRequestError) as caught:
        client.activities.get(ACTIVITY_ID)
    assert caught.value.request_id == "<**********>"
    assert [attempt.request_id for attempt in caught.value.history] == ["<**********>"]
    assert "(request ID <**********>)" in str(caught.value)


@pytest.mark.parametrize("client_auth", ["basic", "post"])
def test_a_request_id_of_the_token_endpoint(flavour: Flavour, client_auth: Any) -> None:
    response = httpx.Response(400, headers={"x-request-id": "r-1 fake-client-secret"})
    credentials = ClientCredentials(TENANT_ID, "c", "fake-client-secret", client_auth=client_auth)
    with flavour.answering(Api(response), credentials) as client, pytest.raises(TokenError) as caught:
        client.tokens.get()
    assert [attempt.request_id for attempt in caught.value.history] == ["r-1 **********"]


def test_there_are_no_tokens_with_basic_credentials(flavour: Flavour) -> None:
    api = Api()
    with flavour.answering(api, BASIC) as client, pytest.raises(ConfigurationError) as caught:
        client.tokens.get()
    assert str(caught.value) == (
        "BasicCredentials have no access tokens, because they are sent with every call. "
        "Create the client with ClientCredentials to use tokens."
    )
    assert not api.requests


def test_scopes_are_checked_before_anything_is_sent(flavour: Flavour) -> None:
    api = Api()
    with flavour.answering(api, ClientCredentials(TENANT_ID, "c", "s", scopes=[Scope.WEBHOOKS])) as client:
        with pytest.raises(
            ConfigurationError, match="The api service does not support the scope api/webhooks"
        ):
            client.activities.get(ACTIVITY_ID)
        with pytest.raises(
            ConfigurationError, match="The webhooks service does not support the scope api/read"
        ):
            client.tokens.get(Service.WEBHOOKS, scopes=[Scope.READ])
    assert not api.requests


def test_64_threads_that_start_cold_send_one_token_request() -> None:
    count = 64
    gate = threading.Barrier(count)
    arrived = threading.Semaphore(0)

    class Gated(Api):
        def __call__(self, request: httpx.Request) -> httpx.Response:
            if request.method == "POST":
                for _ in range(count):  # all have started, most of them wait for this token
                    assert arrived.acquire(timeout=PATIENCE_S)
            return super().__call__(request)

    api = Gated()
    results: list[str] = []
    with ThriveClient(Region.PRODUCTION, OAUTH, transport=httpx.MockTransport(api)) as client:

        def work() -> None:
            gate.wait()
            arrived.release()
            results.append(client.activities.get(ACTIVITY_ID).id)

        threads = [threading.Thread(target=work) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert results == [ACTIVITY_ID] * count
    assert api.counts() == {"POST": 1, "GET": count}


class AsyncApi(httpx.AsyncBaseTransport):
    """As `Api`, with a token request that yields often enough for every task to arrive."""

    def __init__(self) -> None:
        self.api = Api()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            for _ in range(10):
                await anyio.lowlevel.checkpoint()
        return self.api(request)


@pytest.mark.anyio
async def test_1000_tasks_that_start_cold_send_one_token_request() -> None:
    transport = AsyncApi()
    results: list[str] = []
    async with AsyncThriveClient(Region.PRODUCTION, OAUTH, transport=transport) as client:

        async def work() -> None:
            results.append((await client.activities.get(ACTIVITY_ID)).id)

        async with anyio.create_task_group() as tasks:
            for _ in range(1000):
                tasks.start_soon(work)
    assert results == [ACTIVITY_ID] * 1000
    assert transport.api.counts() == {"POST": 1, "GET": 1000}


class HangingTokens(httpx.AsyncBaseTransport):
    """Answers the first token request never, the next ones at once."""

    def __init__(self) -> None:
        self.api = Api()
        self.hanging = anyio.Event()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST" and not self.hanging.is_set():
            self.hanging.set()
            await anyio.sleep_forever()
        return self.api(request)


@pytest.mark.anyio
async def test_a_canceled_leader_lets_another_caller_lead() -> None:
    transport = HangingTokens()
    results: list[str] = []
    async with AsyncThriveClient(Region.PRODUCTION, OAUTH, transport=transport) as client:

        async def work() -> None:
            results.append((await client.activities.get(ACTIVITY_ID)).id)

        with anyio.fail_after(PATIENCE_S):
            async with anyio.create_task_group() as tasks:
                leader = anyio.CancelScope()

                async def lead() -> None:
                    with leader:
                        await work()

                tasks.start_soon(lead)
                await transport.hanging.wait()
                for _ in range(5):
                    tasks.start_soon(work)
                for _ in range(5):
                    await anyio.lowlevel.checkpoint()
                leader.cancel()
    assert results == [ACTIVITY_ID] * 5
    assert transport.api.counts() == {"POST": 1, "GET": 5}


@pytest.mark.anyio
async def test_the_leaders_own_deadline_is_not_the_waiters() -> None:
    transport = HangingTokens()
    async with AsyncThriveClient(Region.PRODUCTION, OAUTH, transport=transport) as client:
        with anyio.fail_after(PATIENCE_S):
            async with anyio.create_task_group() as tasks:

                async def lead() -> None:
                    for limit_s in growing_limits(0.05):
                        with pytest.raises(DeadlineExceededError):
                            await client.activities.get(ACTIVITY_ID, timeout=limit_s)
                        if transport.hanging.is_set():
                            break

                tasks.start_soon(lead)
                await transport.hanging.wait()
                assert (await client.activities.get(ACTIVITY_ID)).id == ACTIVITY_ID


def test_a_waiting_thread_gives_up_at_its_own_deadline() -> None:
    asked, release = threading.Event(), threading.Event()

    def handler(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            asked.set()
            assert release.wait(PATIENCE_S)
            return token_response()
        return page_response()

    with ThriveClient(Region.PRODUCTION, OAUTH, transport=httpx.MockTransport(handler)) as client:
        leader = threading.Thread(target=client.tokens.get)
        leader.start()
        assert asked.wait(PATIENCE_S)
        with pytest.raises(DeadlineExceededError, match="the token endpoint did not answer within"):
            client.activities.get(ACTIVITY_ID, timeout=0.05)
        release.set()
        leader.join()
        assert client.activities.get(ACTIVITY_ID).id == ACTIVITY_ID


@pytest.mark.anyio
async def test_a_waiting_task_gives_up_at_its_own_deadline() -> None:
    transport = HangingTokens()
    async with AsyncThriveClient(Region.PRODUCTION, OAUTH, transport=transport) as client:
        with anyio.fail_after(PATIENCE_S):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(client.tokens.get)
                await transport.hanging.wait()
                for call in (partial(client.activities.get, ACTIVITY_ID), client.tokens.get):
                    with pytest.raises(DeadlineExceededError, match=r"Timeout\.total=0\.05 s") as caught:
                        await call(timeout=0.05)
                    assert caught.value.attempts == 0
                tasks.cancel_scope.cancel()
    assert not transport.api.requests


def test_an_interrupted_leader_lets_another_caller_lead() -> None:
    interrupts = [KeyboardInterrupt()]

    def handler(request: httpx.Request) -> httpx.Response:
        if interrupts:
            raise interrupts.pop()
        return token_response() if request.method == "POST" else page_response()

    with ThriveClient(Region.PRODUCTION, OAUTH, transport=httpx.MockTransport(handler)) as client:
        with pytest.raises(KeyboardInterrupt):
            client.activities.get(ACTIVITY_ID)
        assert client.activities.get(ACTIVITY_ID).id == ACTIVITY_ID


def test_a_limit_of_the_leader_is_not_the_waiters() -> None:
    first, waiting = [True], threading.Event()

    def handler(request: httpx.Request) -> httpx.Response:
        if request.method == "POST" and first:
            first.clear()
            assert waiting.wait(PATIENCE_S)
            raise httpx.ReadTimeout("late")
        return token_response() if request.method == "POST" else page_response()

    with ThriveClient(Region.PRODUCTION, OAUTH, transport=httpx.MockTransport(handler), retry=ONCE) as client:
        results: list[str] = []

        def lead() -> None:
            with pytest.raises(DeadlineExceededError, match=r"Timeout\.read=1 s"):
                client.activities.get(ACTIVITY_ID, timeout=Timeout(total=PATIENCE_S, read=1))
            results.append("led")

        def follow() -> None:
            results.append(client.activities.get(ACTIVITY_ID).id)

        leader, follower = threading.Thread(target=lead), threading.Thread(target=follow)
        leader.start()
        until_they_wait(client, [leader], 0)
        follower.start()
        until_they_wait(client, [leader, follower], 1)
        waiting.set()
        leader.join()
        follower.join()
    assert sorted(results) == sorted(["led", ACTIVITY_ID])


def test_threads_share_a_failure() -> None:
    waiting = threading.Event()

    def handler(request: httpx.Request) -> httpx.Response:
        sent.append(request.method)
        assert waiting.wait(PATIENCE_S)
        return httpx.Response(503)

    sent: list[str] = []
    errors: list[ThriveError] = []
    with ThriveClient(Region.PRODUCTION, OAUTH, transport=httpx.MockTransport(handler), retry=ONCE) as client:

        def work() -> None:
            with pytest.raises(TokenError) as caught:
                client.activities.get(ACTIVITY_ID)
            errors.append(caught.value)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        until_they_wait(client, threads, len(threads) - 1)
        waiting.set()
        for thread in threads:
            thread.join()
    assert sent == ["POST"]
    assert len({id(error) for error in errors}) == 8
    assert {str(error) for error in errors} == {f"the token endpoint of production answered 503. {LATER}"}


def until_they_wait(client: ThriveClient, threads: list[threading.Thread], count: int) -> None:
    """Return when so many of the threads wait for the token; fail if one of them ends before that."""
    cache = client._http.authorizer.cache
    while not cache._slots:  # somebody has taken the lead
        assert all(thread.is_alive() for thread in threads)
        threading.Event().wait(0.001)
    flight = cache.claim(Key(Service.API, frozenset({Scope.READ})))
    assert isinstance(flight, Flight)
    while len(flight._callbacks or []) < count:
        assert all(thread.is_alive() for thread in threads)
        threading.Event().wait(0.001)


def test_a_thread_that_has_little_time_left_gets_the_token_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_budget, "monotonic", lambda: 0.0)  # nobody's time passes
    waiting = threading.Event()

    def handler(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            assert waiting.wait(PATIENCE_S)
            return token_response()
        return page_response()

    results: list[str] = []
    with ThriveClient(Region.PRODUCTION, OAUTH, transport=httpx.MockTransport(handler)) as client:
        threads = [
            threading.Thread(
                target=lambda: results.append(client.activities.get(ACTIVITY_ID, timeout=0.5).id)
            )
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        until_they_wait(client, threads, 1)
        waiting.set()
        for thread in threads:
            thread.join()
    assert results == [ACTIVITY_ID] * 2


def test_a_leader_that_outstays_its_time_holds_no_thread() -> None:
    asked, release = threading.Event(), threading.Event()

    def handler(request: httpx.Request) -> httpx.Response:
        if request.method == "POST" and not asked.is_set():
            asked.set()
            assert release.wait(PATIENCE_S)  # a transport without timeouts
        return token_response() if request.method == "POST" else page_response()

    with ThriveClient(Region.PRODUCTION, OAUTH, transport=httpx.MockTransport(handler)) as client:

        def lead() -> None:
            for limit_s in growing_limits(0.05):
                with pytest.raises(DeadlineExceededError):
                    client.activities.get(ACTIVITY_ID, timeout=limit_s)
                if asked.is_set():
                    break

        leader = threading.Thread(target=lead)
        leader.start()
        assert asked.wait(PATIENCE_S)
        try:
            assert client.activities.get(ACTIVITY_ID, timeout=PATIENCE_S).id == ACTIVITY_ID
        finally:
            release.set()
            leader.join()


@pytest.mark.anyio
async def test_a_leader_that_outstays_its_time_holds_no_task() -> None:
    asked, release = anyio.Event(), anyio.Event()

    class Deaf(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if request.method == "POST" and not asked.is_set():
                asked.set()
                with anyio.CancelScope(shield=True):
                    await release.wait()
            return token_response() if request.method == "POST" else page_response()

    async with AsyncThriveClient(Region.PRODUCTION, OAUTH, transport=Deaf()) as client:

        async def lead() -> None:
            for limit_s in growing_limits(0.05):
                with pytest.raises(DeadlineExceededError):
                    await client.activities.get(ACTIVITY_ID, timeout=limit_s)
                if asked.is_set():
                    break

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lead)
            await asked.wait()
            try:
                assert (await client.activities.get(ACTIVITY_ID, timeout=PATIENCE_S)).id == ACTIVITY_ID
            finally:
                release.set()


@pytest.mark.anyio
async def test_a_renewal_that_hangs_leaves_time_for_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()

    class HangingRenewal(httpx.AsyncBaseTransport):
        def __init__(self) -> None:
            self.api = Api()

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            response = self.api(request)
            if self.api.counts()["POST"] > 1 and request.method == "POST":
                await anyio.sleep_forever()
            return response

    for limit_s in growing_limits(0.1):
        monkeypatch.setattr(_budget, "_RENEWAL_S", limit_s)
        transport = HangingRenewal()
        async with AsyncThriveClient(Region.PRODUCTION, OAUTH, transport=transport) as client:
            client._http.authorizer.cache.clock = clock
            await client.activities.get(ACTIVITY_ID)
            clock.now += 3400
            assert (await client.activities.get(ACTIVITY_ID)).id == ACTIVITY_ID
        if transport.api.counts()["POST"] > 1:
            break
    else:
        pytest.fail("no limit was long enough")
    assert [request.method for request in transport.api.requests] == ["POST", "GET", "POST", "GET"]


def test_a_phase_of_the_token_request_that_takes_too_long(flavour: Flavour) -> None:
    def handler(_request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("late")

    with (
        flavour.answering(handler, OAUTH) as client,
        pytest.raises(DeadlineExceededError, match=r"Timeout\.read=30 s"),
    ):
        client.activities.get(ACTIVITY_ID)


@pytest.mark.parametrize("service", ["webhooks", None, []])
def test_an_invalid_service_is_rejected(flavour: Flavour, service: Any) -> None:
    with flavour.answering(Api(), OAUTH) as client, pytest.raises(ConfigurationError, match="service is"):
        client.tokens.get(service)


def test_no_frame_shows_a_secret_when_the_region_has_no_such_endpoint(flavour: Flavour) -> None:
    region = Region.custom("mine", api_url="https://a.example", token_url="https://a.example/{tenant_id}")
    with flavour.open(region, OAUTH, transport=httpx.MockTransport(Api())) as client:
        with pytest.raises(ConfigurationError, match="webhooks_token_url") as caught:
            client.tokens.get(Service.WEBHOOKS)
    frames = traceback.TracebackException.from_exception(caught.value, capture_locals=True).stack
    assert "fake-client-secret" not in repr([frame.locals for frame in frames])


def test_scopes_that_a_server_makes_up_are_quoted(flavour: Flavour) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return token_response(scope="a\x1b[31mb " * 1000) if request.method == "POST" else httpx.Response(403)

    with flavour.answering(handler, OAUTH) as client, pytest.raises(ForbiddenError) as caught:
        client.activities.get(ACTIVITY_ID)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


@pytest.mark.anyio
async def test_a_leader_that_is_lost_holds_nobody_for_longer_than_its_own_time() -> None:
    transport = AsyncApi()
    async with AsyncThriveClient(Region.PRODUCTION, OAUTH, transport=transport) as client:
        cache = client._http.authorizer.cache
        lost = cache.claim(Key(Service.API, frozenset({Scope.READ})), 0.05)
        assert isinstance(lost, Lead)
        assert (await client.activities.get(ACTIVITY_ID)).id == ACTIVITY_ID


def test_a_lost_leader_does_not_hold_threads_either() -> None:
    with ThriveClient(Region.PRODUCTION, OAUTH, transport=httpx.MockTransport(Api())) as client:
        lost = client._http.authorizer.cache.claim(Key(Service.API, frozenset({Scope.READ})), 0.05)
        assert isinstance(lost, Lead)
        assert client.activities.get(ACTIVITY_ID).id == ACTIVITY_ID


def test_50_staggered_401s_for_one_stale_token_cost_one_new_token() -> None:
    """The last refusal of the old token arrives long after the new one is there."""
    count = 50
    all_sent = threading.Barrier(count)
    tokens = iter(["stale", "fresh", "a third"])
    calls: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return token_response(next(tokens))
        token = request.headers["authorization"].removeprefix("Bearer ")
        calls.append(token)
        if token == "stale":
            all_sent.wait(PATIENCE_S)  # every call has gone out with it before the first is refused
            return httpx.Response(401)
        return page_response()

    with ThriveClient(Region.PRODUCTION, OAUTH, transport=httpx.MockTransport(handler)) as client:
        threads = [threading.Thread(target=client.activities.get, args=(ACTIVITY_ID,)) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert Counter(calls) == {"stale": count, "fresh": count}
    assert next(tokens) == "a third"
