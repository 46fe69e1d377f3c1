"""Which engine a client gets, and what it says if it cannot have the one that was asked for."""

import functools
import pickle
import ssl
import sys
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
from thrive_learning._engine import Asked, EngineInUse, choose, is_own
from thrive_learning._fast import AsyncFastTransport, FastTransport
from thrive_learning._httpx_transports import AsyncPooledTransport, PooledTransport

TRAVELS = ClientCredentials(
    SANDBOX.tenant_id, SANDBOX.client_id, Secret(SANDBOX.client_secret, may_pickle=True)
)


def asked(engine: object, **changes: Any) -> Asked:
    return Asked(engine, None, None, ("https://a.example/x",))._replace(**changes)


NOT_FOR_FAST: dict[str, tuple[dict[str, Any], str]] = {
    "a transport": ({"transport": httpx.HTTPTransport()}, "transport= brings a transport of its own"),
    "a SOCKS proxy": ({"proxy": "socks5://me:canary@proxy.example"}, "SOCKS"),
}


@pytest.mark.parametrize("what", NOT_FOR_FAST)
def test_what_the_fast_engine_cannot_do_goes_by_httpx_or_is_an_error(what: str) -> None:
    changes, message = NOT_FOR_FAST[what]
    assert choose(asked("auto", **changes)) == "httpx"
    assert "canary" not in repr(asked("auto", **changes))
    with pytest.raises(ConfigurationError, match=message) as caught:
        choose(asked("fast", **changes))
    assert "canary" not in str(caught.value)


def test_what_can_be_had_is_taken() -> None:
    assert [choose(asked(engine)) for engine in ("auto", "fast", "httpx")] == ["fast", "fast", "httpx"]
    assert choose(asked("auto", proxy="http://proxy.example:1")) == "fast"


@pytest.mark.parametrize("engine", ["", "curl", None, 1])
def test_an_engine_that_is_none(flavour: Flavour, engine: Any) -> None:
    with pytest.raises(ConfigurationError, match="pass 'auto', 'httpx' or 'fast'"):
        flavour.client_class(Region.STAGING, CREDENTIALS, engine=engine)


def test_the_proxy_of_the_environment_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5h://proxy.example:1080")
    assert choose(asked("auto")) == "httpx"


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httptools", None)
    assert choose(asked("auto")) == "httpx"
    with pytest.raises(ConfigurationError, match=r"pip install 'thrive-learning\[fast\]'"):
        choose(asked("fast"))


def test_a_library_that_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    old = SimpleNamespace(__version__="0.6.0", HttpResponseParser=object)
    monkeypatch.setitem(sys.modules, "httptools", old)
    assert choose(asked("auto")) == "httpx"
    with pytest.raises(ConfigurationError, match=r"httptools 0\.6\.0 is too old; install"):
        choose(asked("fast"))


def test_whose_method_it_is() -> None:
    own = httpx.HTTPTransport.handle_request

    @functools.wraps(own)
    def traced(*arguments: Any) -> Any:
        return own(*arguments)

    assert is_own(own, "httpx")
    assert not is_own(traced, "httpx")
    assert not is_own(functools.partial(own), "httpx")
    assert not is_own(own, "http")


def test_a_client_tells(flavour: Flavour) -> None:
    for engine in ("auto", "httpx", "fast"):
        with flavour.open(Region.STAGING, CREDENTIALS, engine=engine) as client:
            assert client.engine == ("httpx" if engine == "httpx" else "fast")
    with flavour.answering(lambda _request: httpx.Response(500)) as client:
        assert client.engine == "httpx"
    assert ThriveClient.sandbox().engine == "httpx"


KINDS: dict[tuple[bool, str], type] = {
    (True, "httpx"): PooledTransport,
    (True, "fast"): FastTransport,
    (False, "httpx"): AsyncPooledTransport,
    (False, "fast"): AsyncFastTransport,
}


@pytest.mark.parametrize("engine", ["httpx", "fast"])
def test_each_engine_has_its_transports_with_the_trust_and_proxy_of_the_client(
    flavour: Flavour, engine: str
) -> None:
    context, proxy = ssl.create_default_context(), "http://proxy.example:3128"
    with flavour.open(Region.STAGING, CREDENTIALS, engine=engine, verify=context, proxy=proxy) as client:
        [(way_out, transport)] = client._http._transports._spare[0].items()
        assert (way_out, type(transport)) == (proxy, KINDS[flavour.client_class is ThriveClient, engine])
        opener = transport._pool._opener
        assert opener._ssl_context is context
        assert (opener._proxy_url.host, opener._proxy_url.port) == (b"proxy.example", 3128)


def test_a_client_whose_proxy_only_httpx_knows(flavour: Flavour) -> None:
    with pytest.raises(ConfigurationError, match="it knows no SOCKS proxies"):
        flavour.client_class(Region.STAGING, CREDENTIALS, engine="fast", proxy="socks5://proxy.example")


def test_a_pickled_client_keeps_its_engine() -> None:
    for cls in (ThriveClient, AsyncThriveClient):
        engines: tuple[EngineInUse, ...] = ("fast", "httpx")
        for engine in engines:
            client = cls(Region.STAGING, TRAVELS, engine=engine)
            assert pickle.loads(pickle.dumps(client)).engine == engine


def test_the_environment_has_no_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THRIVE_TENANT_ID", "eu-west-2_AbcdEfghI")
    monkeypatch.setenv("THRIVE_API_SECRET", "fake")
    assert ThriveClient.from_env(engine="httpx").engine == "httpx"
    assert AsyncThriveClient.from_env().engine == "fast"
