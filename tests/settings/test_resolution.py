import errno
import os
import pickle
import re
import shlex
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness import Flavour, Kept

from thrive_learning import (
    BasicCredentials,
    ClientCredentials,
    ConfigurationError,
    RateLimit,
    Region,
    Scope,
    Secret,
    ThriveClient,
)
from thrive_learning._settings.layers import (
    URL_KEYS,
    VARIABLES,
    Given,
    Layer,
    environment_layer,
    of_system,
)
from thrive_learning._settings.resolution import Setting, credentials_for, resolve_layers, settings
from thrive_learning._settings.secret_sources import SecretCommand, SecretFile

BASIC = {"THRIVE_TENANT_ID": "tenant", "THRIVE_API_SECRET": "fake"}
OAUTH = {"THRIVE_TENANT_ID": "tenant", "THRIVE_CLIENT_ID": "client", "THRIVE_CLIENT_SECRET": "fake"}


def put(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def region() -> Region:
    """The region, where there are credentials."""
    return resolve_layers([environment_layer({**os.environ, **BASIC})]).region


def test_the_region(monkeypatch: pytest.MonkeyPatch) -> None:
    assert region() is Region.PRODUCTION
    monkeypatch.setenv("THRIVE_REGION", "")
    assert region() is Region.PRODUCTION
    monkeypatch.setenv("THRIVE_REGION", "staging-mea")
    assert region() is Region.STAGING_MEA
    monkeypatch.setenv("THRIVE_REGION", "mars")
    with pytest.raises(ConfigurationError, match=r"THRIVE_REGION: 'mars' is not a region") as caught:
        region()
    assert caught.value.__context__ is None


def test_http_basic(monkeypatch: pytest.MonkeyPatch) -> None:
    put(monkeypatch, BASIC | {"THRIVE_CLIENT_ID": ""})
    assert settings().credentials == BasicCredentials("tenant", "fake")


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
    assert settings().credentials == ClientCredentials("tenant", "client", "fake", scopes=expected)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (
            {},
            "Set THRIVE_TENANT_ID, and THRIVE_API_SECRET for HTTP Basic or THRIVE_CLIENT_SECRET for OAuth",
        ),
        ({"THRIVE_TENANT_ID": "t"}, "Set THRIVE_TENANT_ID, and THRIVE_API_SECRET"),
        ({"THRIVE_API_SECRET": "fake"}, "THRIVE_API_SECRET needs THRIVE_TENANT_ID as well"),
        (BASIC | {"THRIVE_TENANT_ID": ""}, "THRIVE_API_SECRET needs THRIVE_TENANT_ID as well"),
        (
            {"THRIVE_CLIENT_ID": "c"},
            "THRIVE_CLIENT_ID needs THRIVE_CLIENT_SECRET and THRIVE_TENANT_ID as well",
        ),
        (
            OAUTH | {"THRIVE_CLIENT_SECRET": ""},
            "THRIVE_CLIENT_ID and THRIVE_TENANT_ID need THRIVE_CLIENT_SECRET as well, which is not set",
        ),
        (
            {"THRIVE_SCOPES": "api/all"},
            "THRIVE_SCOPES needs THRIVE_CLIENT_SECRET and THRIVE_TENANT_ID as well, which are not set",
        ),
        (
            BASIC | OAUTH,
            r"Basic \(THRIVE_API_SECRET\) and for OAuth \(THRIVE_CLIENT_ID and THRIVE_CLIENT_SECRET\) are",
        ),
        (
            BASIC | {"THRIVE_SCOPES": "api/all"},
            r"HTTP Basic \(THRIVE_API_SECRET\) and for OAuth \(THRIVE_SCOPES\) are both set",
        ),
        (OAUTH | {"THRIVE_SCOPES": "api/al"}, "THRIVE_SCOPES.*'api/al' is not a scope"),
        (BASIC | {"THRIVE_TENANT_ID": "a:b"}, "THRIVE_TENANT_ID.*tenant_id is 'a:b'"),
    ],
)
def test_missing_contradictory_and_invalid_settings(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], message: str
) -> None:
    put(monkeypatch, environment)
    with pytest.raises(ConfigurationError, match=message) as caught:
        settings()
    assert caught.value.__context__ is None


@pytest.mark.parametrize("name", ["THRIVE_API_SECRET", "THRIVE_CLIENT_SECRET"])
def test_a_secret_of_the_environment_does_not_show(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    environment = BASIC if name == "THRIVE_API_SECRET" else OAUTH
    put(monkeypatch, environment | {name: "canary\n"})
    with pytest.raises(ConfigurationError, match=f"{name}.*a line end") as caught:
        settings()
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


@pytest.mark.parametrize("region", ["production-mea", Region.PRODUCTION_MEA], ids=["name", "region"])
def test_the_region_of_a_client_may_be_another(
    flavour: Flavour, monkeypatch: pytest.MonkeyPatch, region: str | Region
) -> None:
    put(monkeypatch, BASIC | {"THRIVE_REGION": "staging"})
    client = flavour.wrap(flavour.client_class.from_env(region=region))
    assert client.region is Region.PRODUCTION_MEA
    client.close()
    with pytest.raises(ConfigurationError, match="argument region: 'mea' is not a region"):
        flavour.client_class.from_env(region="mea")


def test_a_secret_of_the_settings_does_not_go_to_urls_of_an_argument(
    flavour: Flavour, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(monkeypatch, BASIC)
    urls = {"api_url": "https://a.example", "token_url": "https://a.example/{tenant_id}"}
    with pytest.raises(ConfigurationError, match="region is 'mine', which is not one of the vendor's"):
        flavour.client_class.from_env(region=Region.custom("mine", **urls))
    # A copy of another process is equal, and the name of a vendor's region alone is not enough.
    copied = pickle.loads(pickle.dumps(Region.STAGING))
    flavour.wrap(flavour.client_class.from_env(region=copied)).close()
    with pytest.raises(ConfigurationError, match="region is 'staging', which is not one of the vendor's"):
        flavour.client_class.from_env(region=Region("staging", **urls, webhooks_token_url=None))


# Profiles

Write = Callable[[str], Path]


@pytest.fixture
def write(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Write:
    """Write the config file, for its owner alone, in the folder where it is looked for."""

    def put_there(text: str) -> Path:
        for name in ("XDG_CONFIG_HOME", "LOCALAPPDATA"):
            monkeypatch.setenv(name, str(tmp_path))
        path = tmp_path / "thrive-learning" / "config.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
        return path

    return put_there


PROFILES = """\
[default]
region = "staging"
tenant_id = "tenant"
api_secret = "fake"

[work]
region = "staging-mea"
tenant_id = "tenant-2"
client_id = "client-2"
client_secret = "fake-2"
scopes = ["api/read", "api/write"]
client_auth = "post"
"""
WORK = ClientCredentials("tenant-2", "client-2", "fake-2", [Scope.READ, Scope.WRITE], "post")


def test_a_client_from_a_profile(flavour: Flavour, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write(PROFILES)

    def made(profile: str | None = None) -> tuple[Region, object]:
        client = flavour.wrap(flavour.client_class.from_env(profile=profile))
        client.close()
        return client.region, client._http.authorizer.credentials

    assert made() == (Region.STAGING, BasicCredentials("tenant", "fake"))
    assert made("work") == (Region.STAGING_MEA, WORK)
    monkeypatch.setenv("THRIVE_PROFILE", "work")
    assert made() == (Region.STAGING_MEA, WORK)
    assert made("default") == (Region.STAGING, BasicCredentials("tenant", "fake"))


def test_arguments_then_the_environment_then_the_profile(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(PROFILES)
    put(monkeypatch, {"THRIVE_REGION": "production-mea", "THRIVE_TENANT_ID": "tenant-3"})
    found = settings(profile="work", region="production", said_by="--")
    assert found.region is Region.PRODUCTION
    assert found.credentials == ClientCredentials(
        "tenant-3", "client-2", "fake-2", [Scope.READ, Scope.WRITE], "post"
    )
    assert found.origins == (
        Setting("region", "production", "--region", ("THRIVE_REGION", f"profile 'work' in {path}:7")),
        Setting("tenant_id", "tenant-3", "THRIVE_TENANT_ID", (f"profile 'work' in {path}:8",)),
        Setting("client_id", "client-2", f"profile 'work' in {path}:9"),
        Setting("client_secret", "**********", f"profile 'work' in {path}:10"),
        Setting("scopes", "api/read api/write", f"profile 'work' in {path}:11"),
        Setting("client_auth", "post", f"profile 'work' in {path}:12"),
    )
    assert found.warnings == ()


def test_the_kind_of_credentials_is_that_of_the_strongest(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(PROFILES)
    put(monkeypatch, {"THRIVE_API_SECRET": "fake-3"})
    found = settings(profile="work")
    assert found.credentials == BasicCredentials("tenant-2", "fake-3")
    place = f"profile 'work' in {path}"
    assert found.origins[1:] == (
        Setting("tenant_id", "tenant-2", f"{place}:8"),
        Setting("api_secret", "**********", "THRIVE_API_SECRET"),
        Setting("client_id", "(not used)", "THRIVE_API_SECRET", (f"{place}:9",)),
        Setting("client_secret", "(not used)", "THRIVE_API_SECRET", (f"{place}:10",)),
        Setting("scopes", "(not used)", "THRIVE_API_SECRET", (f"{place}:11",)),
        Setting("client_auth", "(not used)", "THRIVE_API_SECRET", (f"{place}:12",)),
    )


def test_the_engine_is_that_of_the_strongest(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(PROFILES + "engine = 'auto'\n")
    put(monkeypatch, {"THRIVE_ENGINE": "httpx"})
    found = settings(profile="work", engine="fast")
    assert found.engine == "fast"
    shadowed = ("THRIVE_ENGINE", f"profile 'work' in {path}:13")
    assert found.origins[-1] == Setting("engine", "fast", "argument engine", shadowed)
    assert settings(profile="work").engine == "httpx"
    assert settings(profile="default").engine == "httpx"


def test_the_engine_is_httpx_by_default_and_then_not_listed() -> None:
    found = resolve_layers([environment_layer(BASIC)])
    assert found.engine == "httpx"
    assert "engine" not in {setting.key for setting in found.origins}


def test_the_rate_limit_is_that_of_the_strongest(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(PROFILES + "rate_limit = 30\n")
    put(monkeypatch, {"THRIVE_RATE_LIMIT": "20:5"})
    found = settings(profile="work", rate_limit="10", said_by="--")
    assert found.rate_limit == RateLimit(10)
    shadowed = ("THRIVE_RATE_LIMIT", f"profile 'work' in {path}:13")
    assert found.origins[-1] == Setting("rate_limit", "10", "--rate-limit", shadowed)
    assert settings(profile="work").rate_limit == RateLimit(20, 5)
    monkeypatch.delenv("THRIVE_RATE_LIMIT")
    assert settings(profile="work").rate_limit == RateLimit(30)
    assert settings(profile="default").rate_limit is None


@pytest.mark.parametrize("value", ["'0.5'", "0.5", "'0.5:1'"])
def test_the_rate_limit_of_a_profile_is_a_number_or_text(write: Write, value: str) -> None:
    write(PROFILES + f"rate_limit = {value}\n")
    assert settings(profile="work").rate_limit == RateLimit(0.5)


@pytest.mark.parametrize("value", ["0", "'fast'", "true", "[20]"])
def test_an_invalid_rate_limit_is_rejected_with_its_place(write: Write, value: str) -> None:
    path = write(PROFILES + f"rate_limit = {value}\n")
    with pytest.raises(ConfigurationError, match=re.escape(f"profile 'work' in {path}:13: ")):
        settings(profile="work")


def test_a_client_takes_the_rate_limit_of_the_settings(
    monkeypatch: pytest.MonkeyPatch, flavour: Flavour
) -> None:
    put(monkeypatch, BASIC | {"THRIVE_RATE_LIMIT": "20:5"})
    cases: list[tuple[dict[str, Any], RateLimit | None]] = [
        ({}, RateLimit(20, 5)),
        ({"rate_limit": None}, None),
        ({"rate_limit": RateLimit(3)}, RateLimit(3)),
    ]
    for options, expected in cases:
        client: Any = flavour.client_class.from_env(**options)
        assert client._options.rate_limit == expected
        flavour.wrap(client).close()


def test_the_default_region_is_production() -> None:
    found = resolve_layers([environment_layer(BASIC)])
    assert found.origins[0] == Setting("region", "production", "default")


def test_nothing_shows_a_secret() -> None:
    layer = environment_layer(BASIC | {"THRIVE_API_SECRET": "canary"})
    assert "canary" not in repr(resolve_layers([layer])) + repr(layer) + repr(layer.given)


OWN_REGION = {
    "THRIVE_API_URL": "http://127.0.0.1:8000/rest/v1",
    "THRIVE_TOKEN_URL": "http://127.0.0.1:8000/oauth2/token/{tenant_id}",
    "THRIVE_WEBHOOKS_TOKEN_URL": "http://127.0.0.1:8000/webhooks/oauth2/token/{tenant_id}",
}


@pytest.mark.parametrize("name", [None, "gateway"])
def test_a_region_of_ones_own(name: str | None) -> None:
    named = {"THRIVE_REGION": name} if name else {}
    found = resolve_layers([environment_layer(BASIC | OWN_REGION | named)])
    assert found.region == Region.custom(
        name or "custom",
        api_url=OWN_REGION["THRIVE_API_URL"],
        token_url=OWN_REGION["THRIVE_TOKEN_URL"],
        webhooks_token_url=OWN_REGION["THRIVE_WEBHOOKS_TOKEN_URL"],
    )


def test_a_region_of_ones_own_in_a_profile_gives_way_as_a_whole(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = "".join(
        f'{key} = "{OWN_REGION[VARIABLES[key]]}"\n' for key in VARIABLES if VARIABLES[key] in OWN_REGION
    )
    path = write(f'[default]\nregion = "gateway"\n{urls}tenant_id = "t"\napi_secret = "fake"\n')
    assert settings().region.name == "gateway"
    assert settings().region.api_url == OWN_REGION["THRIVE_API_URL"]
    monkeypatch.setenv("THRIVE_REGION", "staging")
    found = settings()
    assert found.region is Region.STAGING
    place = f"profile 'default' in {path}"
    assert found.origins[:4] == (
        Setting("region", "staging", "THRIVE_REGION", (f"{place}:2",)),
        Setting("api_url", "(not used)", "THRIVE_REGION", (f"{place}:3",)),
        Setting("token_url", "(not used)", "THRIVE_REGION", (f"{place}:4",)),
        Setting("webhooks_token_url", "(not used)", "THRIVE_REGION", (f"{place}:5",)),
    )


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        (
            {"THRIVE_API_URL": "https://a.example"},
            "THRIVE_API_URL describes a.* needs THRIVE_TOKEN_URL and THRIVE_WEBHOOKS_TOKEN_URL as well",
        ),
        (
            {"THRIVE_API_URL": "https://a.example", "THRIVE_TOKEN_URL": "https://a.example/{tenant_id}"},
            "THRIVE_API_URL and THRIVE_TOKEN_URL describe a custom region, which needs",
        ),
        (OWN_REGION | {"THRIVE_REGION": "staging"}, "'staging' is the name of a built-in region"),
        (OWN_REGION | {"THRIVE_API_URL": "http://a.example"}, "THRIVE_API_URL, .*: .*plain HTTP"),
        (OWN_REGION | {"THRIVE_TOKEN_URL": "https://a.example/token"}, "{tenant_id}"),
    ],
)
def test_an_invalid_custom_region_is_rejected(environment: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        resolve_layers([environment_layer(BASIC | environment)])
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '[default]\nregio = "staging"',
            r"config\.toml:2: unknown profile key 'regio' \(did you mean 'region'\?\)",
        ),
        ("[default]\nxyzzy = 1", r":2: unknown profile key 'xyzzy'. The keys are region, api_url, "),
        ("[default]\nregion = 1", r"'default' in .*config\.toml:2: region is of type int. Write it as text"),
        ('[default]\nregion = "mars"', r"'default' in .*config\.toml:2: 'mars' is not a region"),
        ("[default]\nscopes = 1", r":2: scopes is of type int. Write it as a list of texts"),
        ("[default]\nscopes = [1]", r":2: scopes contains 1, which is not a word. Write each word as text"),
        ("[default]\nscopes = ['']", r":2: scopes contains '', which is not a word"),
        (
            "[default]\napi_secret_command = ['', 'x']",
            r":2: api_secret_command contains '', which is not a word",
        ),
        ("[default]\nclient_secret_command = []", r":2: client_secret_command is an empty list. Remove it"),
        ('[default]\nclient_secret_command = "\'"', r":2: the command has no closing quotation mark '"),
        ('[default]\napi_secret_command = "echo x | rev"', r":2: the command contains '\|'.* sh -c"),
        (
            '[default]\napi_secret_file = "~no-such-user/x"',
            r":2: '~no-such-user/x' begins with .* the user is unknown",
        ),
        ('[default]\napi_secret = " canary"', r":2: the secret begins with white space. Remove it"),
        (
            '[default]\napi_secret = "canary"\nclient_id = "c"',
            r":2\) and for OAuth \(profile .*:3\) are both set",
        ),
        ('[default]\napi_secret = "canary"\napi_secret_file = "/x"', r"/x.*cannot be read"),
        (
            '[default]\napi_secret = "canary"\napi_secret_command = "x"',
            r":2 and profile .*:3 set the same secret. Remove one",
        ),
        ('[default]\napi_secret = "canary"', r":2 needs THRIVE_TENANT_ID as well"),
        ('[default]\ntenant_id = ""\napi_secret = "canary"', r":3 needs THRIVE_TENANT_ID as well"),
        ("[default", r"config\.toml:1: this is not TOML"),
        (
            "[other]",
            r"no credentials are set \(cannot find profile 'default' in .*: other\)\. .*or write a profile",
        ),
    ],
)
def test_a_broken_profile_is_an_error_with_file_and_line(write: Write, text: str, said: str) -> None:
    write(text)
    with pytest.raises(ConfigurationError, match=said) as caught:
        settings()
    assert caught.value.__context__ is None
    frames = traceback.TracebackException.from_exception(caught.value, capture_locals=True).stack
    shown = [repr(frame.locals) for frame in frames if "thrive_learning" in frame.filename]
    assert "canary" not in str(caught.value) + "".join(shown)


def test_the_message_says_that_there_is_no_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        ConfigurationError, match=r"no credentials are set.*\(cannot find profile 'default', because"
    ):
        settings()
    monkeypatch.setenv("THRIVE_TENANT_ID", "t")
    monkeypatch.setenv("THRIVE_CLIENT_ID", "c")
    with pytest.raises(ConfigurationError, match=r"which is not set \(cannot find profile 'default'"):
        settings()
    monkeypatch.setenv("THRIVE_CONFIG_FILE", str(tmp_path / "none.toml"))
    with pytest.raises(ConfigurationError, match=r"THRIVE_CONFIG_FILE: .*none\.toml does not exist"):
        settings()


def test_the_null_device_stands_for_no_config_file(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write(PROFILES)
    put(monkeypatch, BASIC | {"THRIVE_CONFIG_FILE": os.devnull})
    found = settings()
    assert (found.region, found.warnings) == (Region.PRODUCTION, ())
    with pytest.raises(ConfigurationError, match=f"profile 'work', because {re.escape(os.devnull)} is empty"):
        settings(profile="work")


def test_a_profile_that_is_not_there(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write(PROFILES)
    with pytest.raises(
        ConfigurationError,
        match=r"--profile: cannot find profile 'wrok' in .*: default, work\. Correct the name, or create",
    ):
        settings(profile="wrok", said_by="--")
    monkeypatch.setenv("THRIVE_PROFILE", "wrok")
    with pytest.raises(ConfigurationError, match=r"THRIVE_PROFILE: cannot find profile 'wrok'"):
        settings()
    assert settings(profile="default").region is Region.STAGING
    monkeypatch.setenv("THRIVE_PROFILE", "")
    assert settings().region is Region.STAGING


def test_a_broken_profile_that_is_not_used_harms_nobody(write: Write) -> None:
    write(PROFILES + "[other]\nx = 1\n")
    assert settings().region is Region.STAGING


# Secrets from elsewhere


@pytest.mark.parametrize("name", ["THRIVE_API_SECRET", "THRIVE_CLIENT_SECRET"])
def test_a_secret_in_a_file(tmp_path: Path, name: str) -> None:
    file = tmp_path / "secret"
    file.write_text("fake\n")
    basic = name == "THRIVE_API_SECRET"
    others = {key: value for key, value in (BASIC if basic else OAUTH).items() if key != name}
    found = resolve_layers([environment_layer(others | {f"{name}_FILE": str(file)})])
    secret = Secret(SecretFile(str(file)))
    assert found.credentials == (
        BasicCredentials("tenant", secret) if basic else ClientCredentials("tenant", "client", secret)
    )
    assert found.origins[-1] == Setting(name.removeprefix("THRIVE_").lower(), "**********", f"{name}_FILE")
    file.write_text("fake-new")  # a rotated secret
    assert secret.reveal() == "fake-new"
    file.write_text("canary\n\n")
    with pytest.raises(ConfigurationError, match=f"{name}_FILE: .*{file.name}.*a line end") as caught:
        resolve_layers([environment_layer(others | {f"{name}_FILE": str(file)})])
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("name", ["THRIVE_API_SECRET", "THRIVE_CLIENT_SECRET"])
def test_a_secret_from_a_command(name: str) -> None:
    basic = name == "THRIVE_API_SECRET"
    others = {key: value for key, value in (BASIC if basic else OAUTH).items() if key != name}
    command = [sys.executable, "-c", "print('fake it')"]
    found = resolve_layers([environment_layer(others | {f"{name}_COMMAND": shlex.join(command)})])
    secret = Secret(SecretCommand(command))
    assert found.credentials == (
        BasicCredentials("tenant", secret) if basic else ClientCredentials("tenant", "client", secret)
    )
    assert secret.reveal() == "fake it"


def test_two_ways_to_give_one_secret() -> None:
    layer = environment_layer(BASIC | {"THRIVE_API_SECRET_COMMAND": "pass"})
    with pytest.raises(
        ConfigurationError, match="THRIVE_API_SECRET and THRIVE_API_SECRET_COMMAND set the same secret"
    ):
        resolve_layers([layer])


def test_a_profile_names_files_from_its_own_folder(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write('[default]\ntenant_id = "t"\napi_secret_file = "secret"\n')
    (path.parent / "secret").write_text("fake\n")
    assert settings().credentials == BasicCredentials("t", Secret(SecretFile(str(path.parent / "secret"))))
    monkeypatch.setenv("HOME", str(path.parent))
    monkeypatch.setenv("USERPROFILE", str(path.parent))
    write('[default]\ntenant_id = "t"\napi_secret_file = "~/secret"\n')
    assert settings().credentials == BasicCredentials("t", Secret(SecretFile(str(path.parent / "secret"))))


def test_a_profile_has_commands_as_lists_or_texts(write: Write) -> None:
    for command in ('["pass", "show", "a b"]', "\"pass show 'a b'\""):
        write(
            '[default]\ntenant_id = "t"\nclient_id = "c"\nscopes = "api/all"\n'
            f"client_secret_command = {command}\n"
        )
        assert settings().credentials == ClientCredentials(
            "t", "c", Secret(SecretCommand(["pass", "show", "a b"])), [Scope.ALL]
        )


# A client ID that is not set


def test_a_missing_client_id_means_the_tenant_id(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = OAUTH | {"THRIVE_CLIENT_ID": ""}
    found = resolve_layers([environment_layer(environment)])
    assert isinstance(found.credentials, ClientCredentials)
    assert found.credentials == ClientCredentials("tenant", None, "fake")
    assert found.credentials.client_id == "tenant"
    assert found.credentials.client_auth == "auto"
    assert found.origins[-1] == Setting("client_id", "tenant", "default: the tenant ID")
    write('[default]\ntenant_id = "t"\nclient_secret = "fake"\n')
    assert settings().credentials == ClientCredentials("t", "t", "fake")
    monkeypatch.setenv("THRIVE_CLIENT_ID", "c")
    monkeypatch.setenv("THRIVE_CLIENT_AUTH", "basic")
    assert settings().credentials == ClientCredentials("t", "c", "fake", client_auth="basic")


# Where a secret goes

URLS_OF_A_PROFILE = "".join(f'{key} = "{OWN_REGION[VARIABLES[key]]}"\n' for key in URL_KEYS)


@pytest.mark.parametrize("key", ["api_secret", "client_secret"])
def test_a_secret_of_a_profile_does_not_go_to_urls_of_the_environment(
    write: Write, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """As when the first lines that `thrive sandbox` prints are pasted, and the others are not."""
    path = write(f'[default]\ntenant_id = "t"\n{key} = "canary"\n')
    put(monkeypatch, OWN_REGION | {"THRIVE_TENANT_ID": "tenant"})
    for ask in (settings, lambda: credentials_for(settings_region())):
        with pytest.raises(ConfigurationError) as caught:
            ask()
        assert str(caught.value) == (
            f"THRIVE_API_URL, THRIVE_TOKEN_URL, and THRIVE_WEBHOOKS_TOKEN_URL would send {key} from "
            f"profile 'default' in {path}:3 to a server that may not be the right one. "
            f"Set {key} and the URLs in the same source, or remove the URLs"
        )
    monkeypatch.setenv(VARIABLES[key], "fake")
    assert settings().region.urls == settings_region().urls


def settings_region() -> Region:
    return Region.custom("custom", **{key: OWN_REGION[VARIABLES[key]] for key in URL_KEYS})


@pytest.mark.parametrize("form", ["", "_FILE", "_COMMAND"])
def test_a_secret_of_the_environment_does_not_go_to_urls_of_a_profile(
    write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, form: str
) -> None:
    path = write(f'[default]\n{URLS_OF_A_PROFILE}tenant_id = "t"\napi_secret = "fake"\n')
    assert settings().region.urls == settings_region().urls
    (tmp_path / "secret").write_text("fake")
    value = {"": "fake", "_FILE": str(tmp_path / "secret"), "_COMMAND": "echo fake"}[form]
    monkeypatch.setenv(f"THRIVE_API_SECRET{form}", value)
    with pytest.raises(
        ConfigurationError,
        match=rf"{path}:2, .*:3, and .* would send api_secret from THRIVE_API_SECRET{form} to a server",
    ):
        settings()
    put(monkeypatch, OWN_REGION)
    assert settings().credentials.tenant_id == "t"  # an ID is not a secret


def test_a_secret_of_any_place_goes_to_the_vendor(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write(f'[default]\n{URLS_OF_A_PROFILE}tenant_id = "t"\napi_secret = "fake"\n')
    assert settings(region="staging").region is Region.STAGING
    monkeypatch.setenv("THRIVE_REGION", "production-mea")
    assert settings().region is Region.PRODUCTION_MEA


def test_a_revived_client_does_not_take_a_secret_for_another_server(
    flavour: Flavour, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = {key: OWN_REGION[VARIABLES[key]] for key in ("api_url", "token_url")}
    region = Region.custom("custom", **urls)
    client = flavour.client_class(region, BasicCredentials("tenant", "fake"))
    pickled = pickle.dumps(client)
    flavour.wrap(client).close()
    put(monkeypatch, BASIC)
    with pytest.raises(ConfigurationError, match=r"the URLs of its region 'custom', but .* for 'production'"):
        pickle.loads(pickled)
    put(monkeypatch, OWN_REGION)
    revived = flavour.wrap(pickle.loads(pickled))
    assert revived.region == region
    revived.close()


# Warnings


@pytest.mark.skipif(os.name == "nt", reason="files have no such mode there")
def test_a_secret_file_that_others_can_read_is_a_warning(
    write: Write, monkeypatch: pytest.MonkeyPatch, kept: Kept
) -> None:
    path = write('[default]\ntenant_id = "t"\napi_secret_file = "secret"\n')
    secret = path.parent / "secret"
    secret.write_text("fake")
    secret.chmod(0o644)
    warning = (
        f"profile 'default' in {path}:3: other users can read {secret} (mode 0644). Run chmod go= {secret}"
    )
    assert settings().warnings == (warning,)
    for _ in range(2):  # it is logged once
        ThriveClient.from_env().close()
    records = [record for record in kept.records if record.name == "thrive_learning.settings"]
    assert [(record.levelname, record.getMessage()) for record in records] == [("WARNING", warning)]
    secret.chmod(0o600)
    assert settings().warnings == ()
    secret.chmod(0o666)
    monkeypatch.setenv("THRIVE_API_SECRET_FILE", str(secret))
    assert settings().warnings[0] == (
        f"THRIVE_API_SECRET_FILE: other users can change {secret} (mode 0666). Run chmod go= {secret}"
    )


def test_a_profile_that_may_not_be_read_is_a_warning(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service may have the home folder of another user, and all settings in its environment."""
    path = write(PROFILES)
    put(monkeypatch, BASIC)

    def denied(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", denied)
    assert settings().warnings == (f"no profile is used, because {path} cannot be read (Permission denied)",)
    monkeypatch.delenv("THRIVE_API_SECRET")
    with pytest.raises(ConfigurationError, match=r"cannot be read \(Permission denied\)"):
        settings()


# Encodings


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_the_environment_is_utf8_whatever_the_locale(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    monkeypatch.setattr(os, "fsencode", lambda text: text.encode(encoding, "surrogateescape"))
    as_python_has_it = "sé".encode().decode(encoding, "surrogateescape")
    found = resolve_layers([environment_layer(BASIC | {"THRIVE_API_SECRET": as_python_has_it})])
    assert found.credentials == BasicCredentials("tenant", "sé")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_profile_names_files_in_utf8_whatever_the_locale(
    monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    monkeypatch.setattr(os, "fsdecode", lambda text: text.decode(encoding, "surrogateescape"))
    assert of_system("sé") == "sé".encode().decode(encoding, "surrogateescape")
    assert of_system("s") == "s"
    assert of_system("\udce9") == "\udce9"


def test_text_that_is_not_utf8_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="THRIVE_API_SECRET: the secret is not UTF-8"):
        resolve_layers([environment_layer(BASIC | {"THRIVE_API_SECRET": "s\udce9"})])


@pytest.mark.skipif(os.name == "nt", reason="files have no such mode there")
def test_a_secret_that_others_may_read_is_a_warning(write: Write) -> None:
    path = write(PROFILES)
    path.chmod(0o644)
    [warning] = settings().warnings
    assert warning == (f"other users can read api_secret in {path}. Run chmod go= {path}")
    write('[default]\ntenant_id = "t"\napi_secret_command = "pass"\n').chmod(0o644)
    assert settings().warnings == ()


def test_a_misspelt_variable_is_a_warning() -> None:
    layer = environment_layer(
        BASIC | {"THRIVE_REGOIN": "staging", "THRIVE_SOMETHING_ELSE": "x", "THRIVE_DEBUG": "1"}
    )
    assert resolve_layers([layer]).warnings == (
        "THRIVE_REGOIN is not a setting (did you mean THRIVE_REGION?)",
    )


# Pure


def test_it_decides_without_an_environment() -> None:
    layers = [
        Layer({"region": Given("staging", "argument region")}),
        Layer({"tenant_id": Given("t", "A"), "api_secret": Given(Secret("fake"), "B")}),
        Layer({"tenant_id": Given("u", "C"), "client_id": Given("c", "D")}),
    ]
    found = resolve_layers(layers)
    assert found.credentials == BasicCredentials("t", "fake")
    assert [setting.shadowed for setting in found.origins] == [(), ("C",), (), ("D",)]


def test_a_revived_client_finds_its_profile(write: Write, flavour: Flavour) -> None:
    write(PROFILES)
    assert credentials_for(Region.STAGING) == BasicCredentials("tenant", "fake")
    client = flavour.client_class.from_env()
    revived = flavour.wrap(pickle.loads(pickle.dumps(client)))
    assert revived._http.authorizer.credentials == BasicCredentials("tenant", "fake")
    revived.close()
    flavour.wrap(client).close()
