"""The choice of an engine, by argument, variable and profile, and the errors if it cannot be used."""

import pickle
import re
import ssl
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from faults.chaos import SANDBOX
from faults.test_faults import CREDENTIALS
from harness import Flavour

from thrive_learning import (
    AsyncThriveClient,
    ClientCredentials,
    ConfigurationError,
    Region,
    Secret,
    ThriveClient,
)
from thrive_learning._exchange.engines import choose
from thrive_learning._http.stock import AsyncStockEngine, StockEngine
from thrive_learning._http_fast.engine import AsyncFastEngine, FastEngine
from thrive_learning._settings.engine_names import ENGINES

TRAVELS = ClientCredentials(
    SANDBOX.tenant_id, SANDBOX.client_id, Secret(SANDBOX.client_secret, may_pickle=True)
)


def chosen(engine: object, *, transport: object = None, proxy: object = None) -> str:
    return choose(engine, transport, proxy, ("https://a.example/x",))


NOT_FOR_FAST: dict[str, tuple[dict[str, Any], str]] = {
    "a transport": ({"transport": httpx.HTTPTransport()}, "transport= sends the requests itself"),
    "a SOCKS proxy": ({"proxy": "socks5://me:canary@proxy.example"}, "SOCKS"),
}


@pytest.mark.parametrize("what", NOT_FOR_FAST)
def test_unsupported_options_of_the_fast_engine_are_rejected(what: str) -> None:
    changes, message = NOT_FOR_FAST[what]
    assert chosen("httpx", **changes) == "httpx"
    with pytest.raises(ConfigurationError, match=message) as caught:
        chosen("fast", **changes)
    assert "canary" not in str(caught.value)


def test_an_engine_that_can_be_used_is_chosen() -> None:
    assert [chosen(engine) for engine in ENGINES] == ["httpx", "fast"]
    assert chosen("fast", proxy="http://proxy.example:1") == "fast"


@pytest.mark.parametrize("engine", ["", "auto", "curl", "Fast", None, 1, ["fast"]])
def test_an_invalid_engine_is_rejected(flavour: Flavour, engine: Any) -> None:
    message = f"engine is {engine!r}. Choose 'httpx' or 'fast'."
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        flavour.client_class(Region.STAGING, CREDENTIALS, engine=engine)


def test_the_proxy_of_the_environment_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5h://proxy.example:1080")
    with pytest.raises(ConfigurationError, match="does not support SOCKS"):
        chosen("fast")


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httptools", None)
    assert chosen("httpx") == "httpx"
    with pytest.raises(ConfigurationError, match=r"pip install 'thrive-learning\[fast\]'"):
        chosen("fast")


def test_a_library_that_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    old = SimpleNamespace(__version__="0.6.0", HttpResponseParser=object)
    monkeypatch.setitem(sys.modules, "httptools", old)
    assert chosen("httpx") == "httpx"
    with pytest.raises(ConfigurationError, match=r"httptools 0\.6\.0 is too old\. Run python3 -m pip"):
        chosen("fast")


def test_a_client_names_its_engine(flavour: Flavour) -> None:
    for engine in ENGINES:
        with flavour.open(Region.STAGING, CREDENTIALS, engine=engine) as client:
            assert client.engine == engine
    with flavour.open(Region.STAGING, CREDENTIALS) as client:
        assert client.engine == "httpx"  # although httptools is installed
    with flavour.answering(lambda _request: httpx.Response(500)) as client:
        assert client.engine == "httpx"
    assert ThriveClient.sandbox().engine == "httpx"


KINDS: dict[tuple[bool, str], type] = {
    (True, "httpx"): StockEngine,
    (True, "fast"): FastEngine,
    (False, "httpx"): AsyncStockEngine,
    (False, "fast"): AsyncFastEngine,
}


@pytest.mark.parametrize("name", ENGINES)
def test_each_engine_has_the_trust_and_proxy_of_the_client(
    flavour: Flavour, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    context, proxy = ssl.create_default_context(), "http://proxy.example:3128"
    kind = KINDS[flavour.client_class is ThriveClient, name]
    made: list[tuple[object, ...]] = []
    create: Any = getattr(kind, "__init__")  # noqa: B009 - mypy does not know which

    def note(engine: object, *arguments: object) -> None:
        made.append(arguments)
        create(engine, *arguments)

    monkeypatch.setattr(kind, "__init__", note)
    with flavour.open(Region.STAGING, CREDENTIALS, engine=name, verify=context, proxy=proxy):
        assert made == [(context, proxy)]


def test_a_client_whose_proxy_only_httpx_knows(flavour: Flavour) -> None:
    with pytest.raises(ConfigurationError, match="it does not support SOCKS proxies"):
        flavour.client_class(Region.STAGING, CREDENTIALS, engine="fast", proxy="socks5://proxy.example")


def test_a_pickled_client_keeps_its_engine() -> None:
    for cls in (ThriveClient, AsyncThriveClient):
        for engine in ENGINES:
            client = cls(Region.STAGING, TRAVELS, engine=engine)
            assert pickle.loads(pickle.dumps(client)).engine == engine


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Set credentials, and return the path of the config file, which does not exist yet."""
    path = tmp_path / "config.toml"
    monkeypatch.setenv("THRIVE_CONFIG_FILE", str(path))
    monkeypatch.setenv("THRIVE_TENANT_ID", "eu-west-2_AbcdEfghI")
    monkeypatch.setenv("THRIVE_API_SECRET", "fake")
    return path


@pytest.mark.parametrize(
    ("argument", "variable", "profile", "used"),
    [
        (None, None, "", "httpx"),
        (None, None, "engine = 'fast'", "fast"),
        (None, "", "engine = 'fast'", "fast"),
        (None, "httpx", "engine = 'fast'", "httpx"),
        (None, "fast", "engine = 'httpx'", "fast"),
        ("httpx", "fast", "engine = 'fast'", "httpx"),
        ("fast", "httpx", "engine = 'httpx'", "fast"),
    ],
)
def test_the_argument_precedes_the_variable_and_the_profile(
    flavour: Flavour,
    environment: Path,
    monkeypatch: pytest.MonkeyPatch,
    argument: str | None,
    variable: str | None,
    profile: str,
    used: str,
) -> None:
    environment.write_text(f"[default]\n{profile}\n")
    environment.chmod(0o600)
    if variable is not None:
        monkeypatch.setenv("THRIVE_ENGINE", variable)
    options: Any = {} if argument is None else {"engine": argument}
    assert flavour.client_class.from_env(**options).engine == used


@pytest.mark.usefixtures("environment")
def test_an_invalid_engine_is_reported_with_its_source(
    flavour: Flavour, environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def message() -> str:
        with pytest.raises(ConfigurationError) as caught:
            flavour.client_class.from_env(**options)
        assert (caught.value.__cause__, caught.value.__context__) == (None, None)
        return str(caught.value)

    advice = "Choose 'httpx' or 'fast'."
    options: Any = {}
    environment.write_text("[default]\nengine = 'auto'\n")
    environment.chmod(0o600)
    assert message() == f"profile 'default' in {environment}:2: engine is 'auto'. {advice}"
    monkeypatch.setenv("THRIVE_ENGINE", "quick")
    assert message() == f"THRIVE_ENGINE: engine is 'quick'. {advice}"
    options["engine"] = "auto"
    assert message() == f"argument engine: engine is 'auto'. {advice}"


@pytest.mark.usefixtures("environment")
def test_a_variable_that_cannot_be_followed_is_an_error(
    flavour: Flavour, environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment.touch(0o600)
    monkeypatch.setenv("THRIVE_ENGINE", "fast")
    monkeypatch.setitem(sys.modules, "httptools", None)
    with pytest.raises(ConfigurationError, match="The fast engine cannot be used: a part of it is not"):
        flavour.client_class.from_env()
