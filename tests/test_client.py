import base64
import inspect
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import respx
from harness import ACTIVITY_ID, BASIC, OAUTH, PAGE_EXAMPLE, TENANT_ID, Flavour, page_response, token_response

import thrive_learning
from thrive_learning import (
    Activity,
    ActivityType,
    AsyncThriveClient,
    BasicCredentials,
    ClientCredentials,
    ConfigurationError,
    InvalidIdError,
    NotFoundError,
    Region,
    Scope,
    Service,
    ThriveClient,
    Timeout,
    TokenError,
    client,
)
from thrive_learning.sandbox import Sandbox, SandboxTransport

HOSTS = {
    Region.PRODUCTION: "public.api.learn.link",
    Region.STAGING: "public.api.learnstaging.link",
    Region.PRODUCTION_MEA: "public.api.mea.learn.tech",
    Region.STAGING_MEA: "public.api.meastaging.learn.tech",
}
FORM = b"grant_type=client_credentials"
CLIENT = b"&client_id=fake-client&client_secret=fake-client-secret"


@pytest.fixture
def network() -> Iterator[respx.MockRouter]:
    """Mock what httpx's own transports send, so that the client's real transport is used."""
    with respx.mock(assert_all_mocked=True, assert_all_called=True) as router:
        yield router


@pytest.mark.parametrize("region", HOSTS, ids=str)
def test_the_pages_example_with_basic(flavour: Flavour, network: respx.MockRouter, region: Region) -> None:
    url = f"https://{HOSTS[region]}/rest/v1/activity/{ACTIVITY_ID}"
    route = network.get(url).respond(200, json=PAGE_EXAMPLE)
    with flavour.open(region, BASIC) as thrive:
        activity = thrive.activities.get(ACTIVITY_ID)
    assert activity.to_dict() == PAGE_EXAMPLE
    assert activity.type is ActivityType.VIEWED
    request = route.calls.last.request
    expected = base64.b64encode(f"{TENANT_ID}:fake-api-secret".encode()).decode()
    assert request.headers["authorization"] == f"Basic {expected}"
    assert (network.calls.call_count, request.content) == (1, b"")


@pytest.mark.parametrize("region", HOSTS, ids=str)
def test_the_pages_example_with_oauth(flavour: Flavour, network: respx.MockRouter, region: Region) -> None:
    tokens = network.post(f"https://{HOSTS[region]}/oauth2/token/{TENANT_ID}").mock(
        return_value=token_response()
    )
    record = network.get(f"https://{HOSTS[region]}/rest/v1/activity/{ACTIVITY_ID}").respond(
        200, json=PAGE_EXAMPLE
    )
    with flavour.open(region, OAUTH) as thrive:
        activity = thrive.activities.get(ACTIVITY_ID)
        assert thrive.activities.get(ACTIVITY_ID) == activity
    assert activity.to_dict() == PAGE_EXAMPLE
    assert record.calls.last.request.headers["authorization"] == "Bearer fake-token"
    assert tokens.calls.last.request.content == FORM + b"&scope=api%2Fread" + CLIENT
    assert (tokens.call_count, record.call_count) == (1, 2)


@pytest.mark.parametrize("region", HOSTS, ids=str)
def test_tokens_for_webhooks_come_from_the_twin(
    flavour: Flavour, network: respx.MockRouter, region: Region
) -> None:
    host = HOSTS[region].replace("public.", "user.")
    route = network.post(f"https://{host}/oauth2/token/{TENANT_ID}").mock(return_value=token_response())
    with flavour.open(region, OAUTH) as thrive:
        thrive.tokens.get(Service.WEBHOOKS, scopes=[Scope.WEBHOOKS, Scope.ALL])
    assert route.calls.last.request.content == FORM + b"&scope=api%2Fwebhooks+api%2Fall" + CLIENT


def test_a_404_of_the_real_url(flavour: Flavour, network: respx.MockRouter) -> None:
    body = {"status": 404, "error": "Not Found", "message": "Activity not found"}
    network.get(path__startswith="/rest/v1/activity/").respond(404, json=body)
    with flavour.open("staging", BASIC) as thrive, pytest.raises(NotFoundError, match="staging") as caught:
        thrive.activities.get(ACTIVITY_ID)
    assert caught.value.message == "Activity not found"


def test_a_bad_id_sends_nothing(flavour: Flavour) -> None:
    requests: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return token_response()

    with flavour.answering(handler, OAUTH) as thrive:
        for call in (thrive.activities.get, thrive.activities.get_with_response):
            with pytest.raises(InvalidIdError):
                call("507f1f77bcf86cd79943901")
    assert not requests


def test_the_sandbox(flavour: Flavour) -> None:
    thrive = flavour.wrap(flavour.client_class.sandbox(timeout=Timeout(total=5), application="tests"))
    activity: Activity = thrive.activities.get(ACTIVITY_ID)
    assert activity.to_dict() == PAGE_EXAMPLE
    assert thrive.tokens.get(Service.WEBHOOKS).scopes == (Scope.WEBHOOKS,)
    assert thrive.region.name == "sandbox"
    with pytest.raises(NotFoundError, match="sandbox answered 404"):
        thrive.activities.get("0" * 24)
    thrive.close()


@pytest.mark.parametrize("client_auth", ["auto", "basic", "post"])
def test_the_sandbox_accepts_what_the_client_sends(flavour: Flavour, client_auth: Any) -> None:
    """The sandbox shares no code with the client, so that each is a test of the other."""
    sandbox = Sandbox()
    region, _, _ = client._sandbox()
    oauth = ClientCredentials(
        sandbox.tenant_id,
        sandbox.client_id,
        sandbox.client_secret,
        scopes=[Scope.ALL],
        client_auth=client_auth,
    )
    basic = BasicCredentials(sandbox.tenant_id, sandbox.api_secret)
    for credentials in (oauth, basic):
        with flavour.open(region, credentials, transport=SandboxTransport(sandbox)) as thrive:
            for activity_id in sandbox.records:
                assert thrive.activities.get(activity_id).to_dict() == sandbox.records[activity_id]


@pytest.mark.parametrize("client_auth", ["auto", "basic", "post"])
def test_the_sandbox_can_accept_one_way_of_authenticating(flavour: Flavour, client_auth: Any) -> None:
    thrive = flavour.wrap(flavour.client_class.sandbox(client_auth=client_auth))
    assert thrive.activities.get(ACTIVITY_ID).id == ACTIVITY_ID
    other: Any = {"basic": "post", "post": "basic", "auto": "auto"}[client_auth]
    region, given, transport = client._sandbox(other)
    mine = ClientCredentials(given.tenant_id, given.client_id, given.client_secret, client_auth=client_auth)
    with flavour.open(region, mine, transport=transport) as strict:
        if client_auth == "auto":
            strict.tokens.get()
        else:
            with pytest.raises(TokenError, match=f"client_auth='{client_auth}'"):
                strict.tokens.get()
    thrive.close()


def test_a_client_prints_its_region_alone(flavour: Flavour) -> None:
    with flavour.answering(lambda _request: page_response()) as thrive:
        assert repr(thrive) == f"<{flavour.client_class.__name__} region='production'>"


@pytest.mark.parametrize("credentials", [None, ("tenant", "secret"), "secret", object()])
def test_invalid_credentials_are_rejected(flavour: Flavour, credentials: Any) -> None:
    with pytest.raises(ConfigurationError, match="Pass BasicCredentials or ClientCredentials") as caught:
        flavour.client_class(Region.PRODUCTION, credentials)
    assert "secret" not in str(caught.value).replace("ClientCredentials", "")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"client_auth": "x"}, "client_auth is 'x'. Choose 'auto', 'post', or 'basic'"),
        ({"on_attempt": 3}, "on_attempt is 3. Pass a function, or None"),
        ({"on_drift": "log"}, "on_drift is 'log'. Pass a function, or None"),
    ],
)
def test_invalid_options_are_rejected(flavour: Flavour, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        flavour.client_class.sandbox(**options)


def test_an_invalid_region_is_rejected(flavour: Flavour) -> None:
    with pytest.raises(ConfigurationError, match="'mars' is not a region"):
        flavour.client_class("mars", BASIC)


def test_a_client_as_a_context_manager_closes() -> None:
    with ThriveClient.sandbox() as thrive:
        thrive.activities.get(ACTIVITY_ID)
    with pytest.raises(thrive_learning.ClientClosedError):
        thrive.activities.get(ACTIVITY_ID)


@pytest.mark.anyio
async def test_an_async_client_as_a_context_manager_closes() -> None:
    async with AsyncThriveClient.sandbox() as thrive:
        await thrive.activities.get(ACTIVITY_ID)
    with pytest.raises(thrive_learning.ClientClosedError):
        await thrive.activities.get(ACTIVITY_ID)


TWINS = [
    (ThriveClient, AsyncThriveClient),
    (thrive_learning.Activities, thrive_learning.AsyncActivities),
    (thrive_learning.Tokens, thrive_learning.AsyncTokens),
    (thrive_learning.ResultStream, thrive_learning.AsyncResultStream),
]
ASYNC_NAMES = {"close": "aclose", "__enter__": "__aenter__", "__exit__": "__aexit__"}


def surface(cls: type) -> dict[str, Any]:
    """Give the public methods of a class, and those that make it a context manager."""
    wanted = {"__init__", *ASYNC_NAMES, *ASYNC_NAMES.values()}
    return {
        name: inspect.unwrap(value.__func__ if isinstance(value, classmethod) else value)
        for kind in reversed(cls.__mro__[:-1])
        for name, value in vars(kind).items()
        if (callable(value) or isinstance(value, classmethod))
        and (name in wanted or not name.startswith("_"))
    }


@pytest.mark.parametrize(("sync", "asynchronous"), TWINS, ids=lambda cls: cls.__name__)
def test_the_twins_are_alike(sync: type, asynchronous: type) -> None:
    ours, theirs = surface(sync), surface(asynchronous)
    assert {ASYNC_NAMES.get(name, name) for name in ours} == set(theirs)
    for name, method in ours.items():
        twin = theirs[ASYNC_NAMES.get(name, name)]
        mine, other = inspect.signature(method), inspect.signature(twin)
        assert list(mine.parameters) == list(other.parameters), name
        for parameter, its in mine.parameters.items():
            assert its.default == other.parameters[parameter].default, (name, parameter)
            assert its.kind == other.parameters[parameter].kind, (name, parameter)
            assert as_sync(its.annotation) == as_sync(other.parameters[parameter].annotation), (
                name,
                parameter,
            )
        assert as_sync(mine.return_annotation) == as_sync(other.return_annotation), name
        assert as_sync(method.__doc__) == as_sync(twin.__doc__), name


def as_sync(text: Any) -> str:
    text = str(text).replace("Async", "").replace("httpx._transports.base.", "")
    text = text.replace("_bulk.tasks.TaskRun", "_bulk.threads.ThreadedRun")
    return " | ".join(dict.fromkeys(text.split(" | ")))  # what takes either takes one, as a sync client does


def test_the_twins_differ_only_in_being_async() -> None:
    for sync, asynchronous in TWINS:
        assert not [name for name, value in surface(sync).items() if inspect.iscoroutinefunction(value)]
        awaited = {
            name for name, value in surface(asynchronous).items() if inspect.iscoroutinefunction(value)
        }
        assert awaited == set(surface(asynchronous)) - {
            "__init__",
            "from_env",
            "get_many",
            "iterate",
            "sandbox",
        }
