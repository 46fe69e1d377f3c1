"""Which engine a client gets, and what it says if it cannot have the one that was asked for."""

import asyncio
import functools
import pickle
import ssl
import sys
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import respx
import trio
from faults.chaos import SANDBOX, Chaos
from faults.test_faults import CREDENTIALS, region
from harness import ACTIVITY_ID, BASIC, Flavour, page_response

from thrive_learning import (
    AsyncThriveClient,
    ClientCredentials,
    ConfigurationError,
    Region,
    Secret,
    ThriveClient,
    _http,
)
from thrive_learning._engine import Asked, EngineInUse, choose, is_own, unsuitable
from thrive_learning._transport import tls_context

TRAVELS = ClientCredentials(
    SANDBOX.tenant_id, SANDBOX.client_id, Secret(SANDBOX.client_secret, may_pickle=True)
)


def asked(engine: object, **changes: Any) -> Asked:
    return Asked(engine, None, verify=True, proxy=None, urls=("https://a.example/x",))._replace(**changes)


NOT_FOR_FAST: dict[str, tuple[dict[str, Any], str]] = {
    "a transport": ({"transport": httpx.HTTPTransport()}, "transport= brings a transport of its own"),
    "a TLS context": ({"verify": ssl.create_default_context()}, "SSL_CERT_FILE"),
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
    monkeypatch.setitem(sys.modules, "pycurl", None)
    assert choose(asked("auto")) == "httpx"
    with pytest.raises(ConfigurationError, match=r"pip install 'thrive-learning\[fast\]'"):
        choose(asked("fast"))


def library(tls: str, **names: object) -> Any:
    return SimpleNamespace(version="PycURL/1", version_info=lambda: (*range(5), tls), **names)


def test_a_library_that_does_not_do() -> None:
    assert "lacks what it needs" in str(unsuitable(library("OpenSSL/3")))
    assert "OpenSSL" in str(unsuitable(library("Schannel", PREREQFUNCTION=1)))
    assert unsuitable(library("OpenSSL/3", PREREQFUNCTION=1)) is None


def test_mocks_and_instrumentations_of_httpx_are_not_passed_by(monkeypatch: pytest.MonkeyPatch) -> None:
    with respx.mock:
        assert choose(asked("auto")) == "httpx"
        assert choose(asked("fast")) == "fast"
    assert choose(asked("auto")) == "fast"
    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", lambda *_args: None)
    assert choose(asked("auto")) == "httpx"


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
    on_trio = flavour.name == "trio"
    for engine in ("auto", "httpx", "fast"):
        with flavour.open(Region.STAGING, CREDENTIALS, engine=engine) as client:
            assert client.engine == ("httpx" if engine == "httpx" else "fast")
    with flavour.answering(lambda _request: httpx.Response(500)) as client:
        assert client.engine == "httpx"
    assert on_trio or ThriveClient.sandbox().engine == "httpx"


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


async def get(client: AsyncThriveClient) -> tuple[str, str]:
    try:
        return (await client.activities.get(ACTIVITY_ID)).id, client.engine
    finally:
        await client.aclose()


def test_trio_is_served_by_httpx() -> None:
    with Chaos() as server:
        there = region(server, server)
        assert trio.run(get, AsyncThriveClient(there, CREDENTIALS)) == (ACTIVITY_ID, "httpx")
        assert asyncio.run(get(AsyncThriveClient(there, CREDENTIALS))) == (ACTIVITY_ID, "fast")
        with pytest.raises(ConfigurationError, match="this is trio"):
            trio.run(get, AsyncThriveClient(there, CREDENTIALS, engine="fast"))


@pytest.mark.parametrize("verify", [True, False])
def test_on_trio_httpx_has_the_same_trust_and_proxy(monkeypatch: pytest.MonkeyPatch, *, verify: bool) -> None:
    built: list[tuple[ssl.SSLContext, str | None]] = []

    def build(context: ssl.SSLContext, proxy: str | None) -> httpx.AsyncBaseTransport:
        built.append((context, proxy))
        return httpx.MockTransport(lambda _request: page_response())

    async def main() -> None:
        options: Any = {"proxy": "http://proxy.example:3128", "verify": verify}
        async with AsyncThriveClient("production", BASIC, **options) as client:
            await client.activities.get(ACTIVITY_ID)

    monkeypatch.setattr(_http, "_async_transport", build)
    trio.run(main)
    assert built == [(tls_context(verify), "http://proxy.example:3128")]


def test_a_loop_that_does_not_wait_for_sockets_is_served_by_httpx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncio, "ProactorEventLoop", asyncio.SelectorEventLoop, raising=False)
    with Chaos() as server:
        there = region(server, server)
        assert asyncio.run(get(AsyncThriveClient(there, CREDENTIALS))) == (ACTIVITY_ID, "httpx")
        with pytest.raises(ConfigurationError, match="ProactorEventLoop"):
            asyncio.run(get(AsyncThriveClient(there, CREDENTIALS, engine="fast")))
