import traceback

import pytest
from harness import Flavour

from thrive_learning import BasicCredentials, ClientCredentials, ConfigurationError, Region, Scope
from thrive_learning.settings import credentials_from_environment, region_from_environment

BASIC = {"THRIVE_TENANT_ID": "tenant", "THRIVE_API_SECRET": "fake"}
OAUTH = {"THRIVE_TENANT_ID": "tenant", "THRIVE_CLIENT_ID": "client", "THRIVE_CLIENT_SECRET": "fake"}


def put(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def test_the_region(monkeypatch: pytest.MonkeyPatch) -> None:
    assert region_from_environment() is Region.PRODUCTION
    monkeypatch.setenv("THRIVE_REGION", "")
    assert region_from_environment() is Region.PRODUCTION
    monkeypatch.setenv("THRIVE_REGION", "staging-mea")
    assert region_from_environment() is Region.STAGING_MEA
    monkeypatch.setenv("THRIVE_REGION", "mars")
    with pytest.raises(ConfigurationError, match=r"THRIVE_REGION: 'mars' is not a region") as caught:
        region_from_environment()
    assert caught.value.__context__ is None


def test_http_basic(monkeypatch: pytest.MonkeyPatch) -> None:
    put(monkeypatch, BASIC | {"THRIVE_CLIENT_ID": ""})
    assert credentials_from_environment() == BasicCredentials("tenant", "fake")


@pytest.mark.parametrize(
    ("scopes", "expected"),
    [
        (None, (Scope.READ,)),
        ("", (Scope.READ,)),
        ("api/all", (Scope.ALL,)),
        ("api/read api/write", (Scope.READ, Scope.WRITE)),
        ("api/read, api/webhooks", (Scope.READ, Scope.WEBHOOKS)),
    ],
)
def test_oauth(monkeypatch: pytest.MonkeyPatch, scopes: str | None, expected: tuple[Scope, ...]) -> None:
    put(monkeypatch, OAUTH | ({} if scopes is None else {"THRIVE_SCOPES": scopes}))
    assert credentials_from_environment() == ClientCredentials("tenant", "client", "fake", scopes=expected)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (
            {},
            "set THRIVE_TENANT_ID, and THRIVE_API_SECRET for HTTP Basic or THRIVE_CLIENT_ID and",
        ),
        ({"THRIVE_TENANT_ID": "t"}, "set THRIVE_TENANT_ID, and THRIVE_API_SECRET"),
        ({"THRIVE_API_SECRET": "fake"}, "THRIVE_API_SECRET needs THRIVE_TENANT_ID as well"),
        (BASIC | {"THRIVE_TENANT_ID": ""}, "THRIVE_API_SECRET needs THRIVE_TENANT_ID as well"),
        (
            {"THRIVE_CLIENT_ID": "c"},
            "THRIVE_CLIENT_ID needs THRIVE_CLIENT_SECRET and THRIVE_TENANT_ID as well",
        ),
        (
            OAUTH | {"THRIVE_CLIENT_SECRET": ""},
            "THRIVE_CLIENT_ID and THRIVE_TENANT_ID needs THRIVE_CLIENT_SECRET as well",
        ),
        (
            {"THRIVE_SCOPES": "api/all"},
            "THRIVE_SCOPES needs THRIVE_CLIENT_ID and THRIVE_CLIENT_SECRET and THRIVE_TENANT_ID",
        ),
        (
            BASIC | OAUTH,
            "THRIVE_API_SECRET is for HTTP Basic, THRIVE_CLIENT_ID and THRIVE_CLIENT_SECRET for OAuth",
        ),
        (
            BASIC | {"THRIVE_SCOPES": "api/all"},
            "THRIVE_API_SECRET is for HTTP Basic, THRIVE_SCOPES for OAuth",
        ),
        (OAUTH | {"THRIVE_SCOPES": "api/al"}, "THRIVE_SCOPES.*'api/al' is not a scope"),
        (BASIC | {"THRIVE_TENANT_ID": "a:b"}, "THRIVE_TENANT_ID.*tenant_id is 'a:b'"),
    ],
)
def test_what_is_missing_contradictory_or_wrong(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], message: str
) -> None:
    put(monkeypatch, environment)
    with pytest.raises(ConfigurationError, match=message) as caught:
        credentials_from_environment()
    assert caught.value.__context__ is None


@pytest.mark.parametrize("name", ["THRIVE_API_SECRET", "THRIVE_CLIENT_SECRET"])
def test_a_secret_of_the_environment_does_not_show(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    environment = BASIC if name == "THRIVE_API_SECRET" else OAUTH
    put(monkeypatch, environment | {name: "canary\n"})
    with pytest.raises(ConfigurationError, match=f"{name}.*a line end") as caught:
        credentials_from_environment()
    frames = traceback.TracebackException.from_exception(caught.value, capture_locals=True).stack
    shown = [repr(frame.locals) for frame in frames if "thrive_learning" in frame.filename]
    assert "canary" not in str(caught.value) + "".join(shown)


def test_a_client_from_the_environment(flavour: Flavour, monkeypatch: pytest.MonkeyPatch) -> None:
    put(monkeypatch, OAUTH | {"THRIVE_REGION": "staging"})
    client = flavour.wrap(flavour.client_class.from_env(timeout=5))
    assert client.region is Region.STAGING
    assert client._http.authorizer.credentials == ClientCredentials("tenant", "client", "fake")
    assert client._http.seam.timeout.total == 5
    client.close()
