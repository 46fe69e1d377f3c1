import copy
import pickle
import traceback
from typing import Any

import pytest

from thrive_learning import BasicCredentials, ClientCredentials, ConfigurationError, Scope, Secret, Service

CANARY = "canary-of-a-secret"


def test_a_secret_shows_nothing() -> None:
    secret = Secret(CANARY)
    assert secret.reveal() == CANARY
    assert CANARY not in repr(secret) + str(secret) + f"{secret}"
    assert secret == Secret(CANARY)
    assert secret != Secret("another")
    assert secret != CANARY
    assert hash(secret) == hash(Secret(CANARY))
    assert copy.copy(secret) is copy.deepcopy(secret) is secret


@pytest.mark.parametrize(
    "holder",
    [Secret(CANARY), BasicCredentials("tenant", CANARY), ClientCredentials("tenant", "client", CANARY)],
    ids=lambda holder: type(holder).__name__,
)
def test_a_secret_is_not_pickled_by_accident(holder: object) -> None:
    assert CANARY not in repr(holder)
    with pytest.raises(TypeError, match="is not pickled by default"):
        pickle.dumps(holder)


@pytest.mark.parametrize(
    "wrong", ["", " ", f"{CANARY}\n", f" {CANARY}", f"{CANARY}\0x", None, CANARY.encode(), 5]
)
@pytest.mark.parametrize(
    "create",
    [
        Secret,
        lambda secret: BasicCredentials("tenant", secret),
        lambda secret: ClientCredentials("tenant", "client", secret),
    ],
    ids=["Secret", "Basic", "Client"],
)
def test_a_malformed_secret_is_refused_and_not_shown(create: Any, wrong: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        create(wrong)
    assert CANARY not in str(caught.value)
    assert CANARY not in _our_locals(caught.value)


@pytest.mark.parametrize(
    "create",
    [
        lambda: BasicCredentials("ten:ant", CANARY),
        lambda: ClientCredentials("", "client", CANARY),
        lambda: ClientCredentials("tenant", "", CANARY),
        lambda: ClientCredentials("tenant", "client", CANARY, scopes=["api/everything"]),
        lambda: ClientCredentials("tenant", "client", CANARY, client_auth="jwt"),  # type: ignore[call-overload]
    ],
)
def test_no_frame_shows_the_secret_when_something_else_is_wrong(create: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        create()
    assert CANARY not in _our_locals(caught.value)


def _our_locals(error: BaseException) -> str:
    """Give every local variable of the SDK's frames, as a crash reporter would print them."""
    frames = traceback.TracebackException.from_exception(error, capture_locals=True).stack
    ours = [frame for frame in frames if "thrive_learning" in frame.filename]
    assert ours
    return repr([frame.locals for frame in ours])


@pytest.mark.parametrize("tenant_id", ["", " x", "x\n", "a:b", ".", "..", "a\r\nb", None, 5])
def test_an_invalid_tenant_id_is_rejected(tenant_id: Any) -> None:
    with pytest.raises(ConfigurationError, match="tenant_id is"):
        BasicCredentials(tenant_id, "fake")
    with pytest.raises(ConfigurationError, match="tenant_id is"):
        ClientCredentials(tenant_id, "client", "fake")


def test_scopes() -> None:
    mine = ClientCredentials("tenant", "client", "fake", scopes=["api/write", Scope.READ, "api/write"])
    assert mine.scopes == (Scope.WRITE, Scope.READ)
    assert ClientCredentials("tenant", "client", "fake").scopes == (Scope.READ,)
    assert ClientCredentials("tenant", "client", "fake", scopes=()).scopes == ()
    with pytest.raises(ConfigurationError, match=r"'api/reed' is not a scope. Choose from api/all, api/read"):
        ClientCredentials("tenant", "client", "fake", scopes=["api/reed"])
    for wrong in ("api/read", None, 5):
        with pytest.raises(ConfigurationError, match=r"a list of scopes, such as \[Scope.READ\]"):
            ClientCredentials("tenant", "client", "fake", scopes=wrong)  # type: ignore[arg-type]


def test_an_equal_secret_makes_equal_credentials() -> None:
    assert BasicCredentials("t", "fake") == BasicCredentials("t", Secret("fake"))
    assert BasicCredentials("t", "fake") != BasicCredentials("t", "fake-2")
    assert hash(ClientCredentials("t", "c", "fake")) == hash(ClientCredentials("t", "c", Secret("fake")))
    with pytest.raises(AttributeError):
        BasicCredentials("t", "fake").tenant_id = "u"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("service", "wanted", "configured", "asked"),
    [
        (Service.API, None, (Scope.READ,), (Scope.READ,)),
        (Service.API, None, (Scope.READ, Scope.WEBHOOKS), (Scope.READ,)),
        (Service.API, None, (), ()),
        (Service.API, ["api/write"], (Scope.READ,), (Scope.WRITE,)),
        (Service.API, [], (Scope.READ,), ()),
        (Service.WEBHOOKS, None, (Scope.READ,), (Scope.WEBHOOKS,)),
        (Service.WEBHOOKS, None, (Scope.ALL,), (Scope.ALL,)),
        (Service.WEBHOOKS, [Scope.ALL], (Scope.READ,), (Scope.ALL,)),
    ],
)
def test_which_scopes_a_token_request_asks_for(
    service: Service, wanted: Any, configured: tuple[Scope, ...], asked: tuple[Scope, ...]
) -> None:
    credentials = ClientCredentials("t", "c", "s", configured)
    assert credentials.scopes_for(service, wanted) == asked


@pytest.mark.parametrize(
    ("service", "wanted", "configured"),
    [
        (Service.API, [Scope.WEBHOOKS], (Scope.READ,)),
        (Service.WEBHOOKS, [Scope.ALL, Scope.READ], (Scope.READ,)),
        (Service.API, None, (Scope.WEBHOOKS,)),
    ],
)
def test_a_scope_that_the_service_does_not_know(
    service: Service, wanted: Any, configured: tuple[Scope, ...]
) -> None:
    credentials = ClientCredentials("t", "c", "s", configured)
    with pytest.raises(
        ConfigurationError, match=f"The {service.value} service does not support the scope api/"
    ):
        credentials.scopes_for(service, wanted)


@pytest.mark.parametrize("client_auth", ["jwt", None, [], {}])
def test_an_invalid_client_auth_is_rejected(client_auth: Any) -> None:
    with pytest.raises(ConfigurationError, match="Choose 'auto', 'post', or 'basic'"):
        ClientCredentials("tenant", "client", "fake", client_auth=client_auth)


def test_an_identifier_has_an_end() -> None:
    with pytest.raises(ConfigurationError, match="tenant_id has 70000 characters"):
        BasicCredentials("x" * 70_000, "fake")


def test_the_client_id_defaults_to_the_tenant_id() -> None:
    expected = ClientCredentials("tenant", "tenant", "fake")
    assert ClientCredentials("tenant", None, "fake") == expected
    assert ClientCredentials("tenant", client_secret="fake") == expected
    assert expected.client_id == "tenant"
    assert expected.client_auth == "auto"


def test_a_missing_client_secret_is_reported_and_the_argument_in_its_place_is_not_shown() -> None:
    with pytest.raises(ConfigurationError, match="client_secret: the secret is missing") as caught:
        ClientCredentials("tenant", CANARY)  # type: ignore[call-overload]
    assert CANARY not in str(caught.value)
    assert CANARY not in _our_locals(caught.value)


def test_a_secret_that_changes_can_be_fixed() -> None:
    texts = iter(["first", "second"])
    changing = Secret(lambda: next(texts))
    assert changing.fixed() == Secret("first")
    assert changing.fixed() == Secret("second")
    constant = Secret("text")
    assert constant.fixed() is constant
