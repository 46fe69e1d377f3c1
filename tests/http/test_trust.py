"""Requests go to the client's own hosts only, and trust is what the caller says."""

import ssl
from pathlib import Path
from typing import Any

import httpx
import pytest
from harness import ACTIVITY_ID, BASIC, Flavour, page_response

from thrive_learning import ConfigurationError, Region
from thrive_learning._http.port import Engine, Origin
from thrive_learning._http.routes import Routes, tls_context

API, TOKENS = Origin("https", "public.api.learn.link", 443), Origin("https", "user.api.learn.link", 443)


class StubEngine:
    """Notes how it was created."""

    def __init__(self, context: ssl.SSLContext, proxy: str | None) -> None:
        self.context, self.proxy = context, proxy

    def send(self, *_args: Any, **_options: Any) -> Any:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


def open_routes(**options: Any) -> Routes[Engine]:
    defaults = {"urls": Region.PRODUCTION.urls, "transport": None, "proxy": None, "verify": True}
    return Routes[Engine](build=StubEngine, is_async=False, **defaults | options)


def proxies_of(found: Routes[Engine]) -> list[Any]:
    return [getattr(found.engine(origin), "proxy", None) for origin in (API, TOKENS)]


def test_a_request_goes_to_hosts_of_the_client_only() -> None:
    with pytest.raises(KeyError):
        open_routes().engine(Origin("https", "evil.example", 443))


def test_an_explicit_proxy_is_for_all_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    assert proxies_of(open_routes(proxy="http://mine:1")) == ["http://mine:1"] * 2


def test_plain_http_goes_through_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy would read the credentials."""
    for name in ("HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://proxy:3128")
    local = "http://localhost:8000"
    engine: Any = open_routes(urls=[local]).engine(Origin("http", "localhost", 8000))
    assert engine.proxy is None
    with pytest.raises(ConfigurationError, match="plain HTTP"):
        open_routes(urls=[local], proxy="http://proxy:3128")


def test_tls_is_verified_unless_a_caller_says_otherwise() -> None:
    assert tls_context(verify=True).verify_mode == ssl.CERT_REQUIRED
    assert tls_context(verify=True).check_hostname
    assert tls_context(verify=False).verify_mode == ssl.CERT_NONE
    mine = ssl.create_default_context()
    assert tls_context(mine) is mine


@pytest.mark.parametrize("verify", [None, 0, "", "/etc/ssl/cert.pem", 1])
def test_an_invalid_verify_is_rejected(flavour: Flavour, verify: Any) -> None:
    with pytest.raises(ConfigurationError, match="Pass True, or"):
        flavour.client_class(Region.PRODUCTION, BASIC, verify=verify)


def test_certificates_that_cannot_be_read_are_reported(
    flavour: Flavour, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    empty = tmp_path / "empty.pem"
    empty.touch()
    monkeypatch.setenv("SSL_CERT_FILE", str(empty))
    with pytest.raises(ConfigurationError, match="Check SSL_CERT_FILE and SSL_CERT_DIR") as caught:
        flavour.client_class(Region.PRODUCTION, BASIC)
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


class StubTransport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Responds to everything, and counts how often it was closed."""

    def __init__(self) -> None:
        self.closed = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        del request
        return page_response()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return self.handle_request(request)

    def close(self) -> None:
        self.closed += 1

    async def aclose(self) -> None:
        self.closed += 1


def test_a_transport_is_closed_by_the_caller_that_created_it(flavour: Flavour) -> None:
    transport = StubTransport()
    with flavour.open(Region.PRODUCTION, BASIC, transport=transport) as client:
        assert client.activities.get(ACTIVITY_ID).id == ACTIVITY_ID
    assert transport.closed == 0


def test_a_transport_that_a_function_returned_is_closed_once(flavour: Flavour) -> None:
    created: list[StubTransport] = []

    def create() -> StubTransport:
        created.append(StubTransport())
        return created[-1]

    with flavour.open(Region.PRODUCTION, BASIC, transport=create) as client:
        client.activities.get(ACTIVITY_ID)
        client.close()
    assert [transport.closed for transport in created] == [1]
