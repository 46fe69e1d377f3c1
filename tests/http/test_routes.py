"""The engines of a client: one for each proxy, process, and event loop."""

import asyncio
import os
import ssl
import threading
from typing import Any

import anyio
import httpx
import pytest
from http_engines import request_to

from thrive_learning import BasicCredentials, ConfigurationError, ThriveClient
from thrive_learning._http.httpx_adapter import AsyncHttpxEngine, HttpxEngine
from thrive_learning._http.port import Origin, parse_url
from thrive_learning._http.routes import Routes, tls_context
from thrive_learning._http.stock import AsyncStockEngine, StockEngine
from thrive_learning._settings.proxies import Route

API, WEBHOOKS = (
    "https://public.api.learn.link/rest/v1",
    "https://user.api.learn.link/oauth2/token/{tenant_id}",
)
URLS = (API, WEBHOOKS)


class Built:
    """Stands for an engine."""

    def __init__(self, context: ssl.SSLContext, proxy: str | None) -> None:
        self.context = context
        self.proxy = proxy


def routes(**options: Any) -> Routes[Any]:
    defaults: dict[str, Any] = {
        "build": Built,
        "is_async": False,
        "urls": URLS,
        "transport": None,
        "proxy": None,
        "verify": True,
    }
    return Routes(**defaults | options)


def origin_of(url: str) -> Origin:
    return parse_url(url)[0]


def test_there_is_one_engine_for_each_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:secret@proxy:1")
    monkeypatch.setenv("NO_PROXY", "user.api.learn.link")
    ours = routes()
    through, directly = ours.engine(origin_of(API)), ours.engine(origin_of(WEBHOOKS))
    assert (through.proxy, directly.proxy) == ("http://me:secret@proxy:1", None)
    assert ours.engine(origin_of(API)) is through
    assert ours.route(origin_of(API)) == Route("http://proxy:1", "HTTPS_PROXY", has_credentials=True)
    assert ours.route(origin_of(WEBHOOKS)) == Route()
    assert "secret" in ours.proxy_secrets()
    assert ours.take_those_to_close() == [through, directly] or ours.take_those_to_close() == []


def test_each_process_has_engines_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = routes()
    first = ours.engine(origin_of(API))
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert ours.engine(origin_of(API)) is not first


def test_each_event_loop_has_engines_of_its_own_and_those_of_ended_loops_are_forgotten() -> None:
    ours = routes(is_async=True)
    found: list[Any] = []

    async def use() -> None:
        found.append(ours.engine(origin_of(API)))
        assert ours.engine(origin_of(API)) is found[-1]

    for backend in ("asyncio", "trio", "asyncio"):
        anyio.run(use, backend=backend)
    assert len(set(found)) == 3
    assert len(ours._engines._values) == 1

    async def close() -> list[Any]:
        ours.engine(origin_of(API))
        return ours.take_those_to_close()

    assert len(asyncio.run(close())) == 1
    assert ours.take_those_to_close() == []  # no loop runs here


def test_engines_that_were_never_asked_for_are_closed() -> None:
    [engine] = routes().take_those_to_close()
    assert isinstance(engine, Built)


def test_threads_that_ask_at_once_get_the_same() -> None:
    ours = routes()
    barrier, found = threading.Barrier(8), list[Any]()

    def ask() -> None:
        barrier.wait()
        found.append(ours.engine(origin_of(API)))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("called", [False, True])
def test_a_transport_of_the_callers(library: str, *, is_async: bool, called: bool) -> None:
    transport = pytest.importorskip(library, reason="`nox -s httpx2` has it").MockTransport(lambda _: None)
    ours = routes(transport=(lambda: transport) if called else transport, is_async=is_async)

    async def look() -> Any:
        return ours.engine(origin_of(API))

    engine = asyncio.run(look())
    assert type(engine) is (AsyncHttpxEngine if is_async else HttpxEngine)
    assert ours.route(origin_of(API)) is None
    assert ours.proxy_secrets() == ()
    if not is_async:
        assert ours.take_those_to_close() == ([engine] if called else [])


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("wrong", ["a name", httpx.Client, lambda: 3])
def test_an_invalid_transport_is_rejected(wrong: Any, *, is_async: bool) -> None:
    with pytest.raises(ConfigurationError, match=r"Pass an httpx\.(Async)?BaseTransport or httpx2\."):
        routes(transport=wrong, is_async=is_async)


def test_a_transport_of_the_other_kind() -> None:
    with pytest.raises(
        ConfigurationError,
        match=r"returns an object of type HTTPTransport\. Pass an httpx\.AsyncBaseTransport",
    ):
        routes(transport=httpx.HTTPTransport(), is_async=True)


@pytest.mark.parametrize("option", [{"proxy": "http://proxy:1"}, {"verify": False}])
def test_a_transport_brings_its_own_settings(option: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="Leave out proxy= and verify="):
        routes(transport=httpx.MockTransport(lambda _: httpx.Response(200)), **option)


@pytest.mark.parametrize("engine", [StockEngine, AsyncStockEngine])
def test_socks_needs_another_library(engine: type) -> None:
    with pytest.raises(ConfigurationError, match="socksio"):
        routes(build=engine, proxy="socks5://proxy:1")


def test_a_proxy_url_that_is_not_valid_shows_at_once() -> None:
    with pytest.raises(ConfigurationError, match="has no host"):
        routes(proxy="http://")


def test_tls_contexts_are_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    own = ssl.create_default_context()
    assert tls_context(own) is own
    assert tls_context(True) is tls_context(True)  # noqa: FBT003
    assert tls_context(True).verify_mode == ssl.CERT_REQUIRED  # noqa: FBT003
    assert tls_context(False).verify_mode == ssl.CERT_NONE  # noqa: FBT003
    with pytest.raises(ConfigurationError, match=r"verify is 'ca\.pem'"):
        tls_context("ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere")
    with pytest.raises(ConfigurationError, match="Check SSL_CERT_FILE"):
        tls_context(True)  # noqa: FBT003


def test_an_engine_closes_the_transport_that_it_was_given() -> None:
    closed: list[str] = []

    class Transport(httpx.MockTransport):
        def close(self) -> None:
            closed.append("sync")

        async def aclose(self) -> None:
            closed.append("async")

    transport = Transport(lambda _: httpx.Response(200))
    HttpxEngine(transport).close()
    asyncio.run(AsyncHttpxEngine(transport).aclose())
    assert closed == ["sync", "async"]
    assert request_to(1).method == "GET"


@pytest.mark.parametrize("function", [lambda request: request, lambda *, key: key])
def test_a_function_that_needs_arguments_is_not_one_that_returns_a_transport(function: Any) -> None:
    with pytest.raises(
        ConfigurationError, match=r"cannot be called without arguments \(missing a required"
    ) as caught:
        ThriveClient("staging", BasicCredentials("t", "s"), transport=function)
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


def test_a_callable_without_a_signature_is_called() -> None:
    with pytest.raises(ConfigurationError, match="an object of type dict"):
        ThriveClient("staging", BasicCredentials("t", "s"), transport=dict)  # type: ignore[arg-type]
