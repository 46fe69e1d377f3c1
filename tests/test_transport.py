import ssl
from types import SimpleNamespace
from typing import Any

import httpcore
import httpx
import pytest
from harness import ACTIVITY_ID, BASIC, Flavour, page_response

from thrive_learning import ConfigurationError, Region
from thrive_learning._loops import current_process
from thrive_learning._transport import Transports, drop_surplus, proxy_from_environment, tls_context

API = "https://public.api.learn.link/rest/v1"


@pytest.mark.parametrize(
    ("environment", "url", "proxy"),
    [
        ({}, API, None),
        ({"HTTPS_PROXY": "http://proxy:3128"}, API, "http://proxy:3128"),
        ({"https_proxy": "proxy:3128"}, API, "http://proxy:3128"),
        ({"ALL_PROXY": "http://proxy:3128"}, API, "http://proxy:3128"),
        ({"HTTP_PROXY": "http://proxy:3128"}, API, None),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "learn.link"}, API, None),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "*"}, API, None),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "example.com"}, API, "http://proxy:3128"),
        # Plain HTTP is for loopback hosts: a proxy would read the credentials.
        (
            {"HTTP_PROXY": "http://proxy:3128", "ALL_PROXY": "http://proxy:3128"},
            "http://localhost:8000",
            None,
        ),
    ],
)
def test_the_proxy_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], url: str, proxy: str | None
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert proxy_from_environment(url) == proxy


def transports(
    urls: list[str] | None = None,
    proxy: str | None = None,
    built: list[str | None] | None = None,
    **options: Any,
) -> Transports[httpx.BaseTransport]:
    def build(_context: ssl.SSLContext, way_out: str | None) -> httpx.BaseTransport:
        if built is not None:
            built.append(way_out)
        return httpx.MockTransport(lambda _request: httpx.Response(200))

    options = {"build": build, "place": current_process, "injected": None, "verify": True} | options
    return Transports(kind=httpx.BaseTransport, urls=urls or [API], proxy=proxy, **options)


def test_hosts_with_the_same_way_out_share_a_transport(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", "user.api.learn.link")
    built: list[str | None] = []
    ours = transports([*Region.PRODUCTION.urls, "https://Public.API.learn.link:443/x"], built=built)
    assert sorted(map(str, built)) == ["None", "http://proxy:3128"]
    assert ours.for_request(httpx.Request("GET", API)) is not ours.for_request(
        httpx.Request("GET", "https://user.api.learn.link/")
    )
    assert ours.for_request(httpx.Request("GET", API)) is ours.for_request(
        httpx.Request("GET", "https://public.api.learn.link/oauth2")
    )
    with pytest.raises(KeyError):  # nothing leaves for another host
        ours.for_request(httpx.Request("GET", "https://evil.example/"))


def test_an_explicit_proxy_is_for_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    built: list[str | None] = []
    transports(list(Region.PRODUCTION.urls), proxy="http://mine:1", built=built)
    assert built == ["http://mine:1"]
    with pytest.raises(ConfigurationError, match="HTTPS only"):
        transports(["http://localhost:8000"], proxy="http://mine:1")


def test_a_proxy_that_is_none(flavour: Flavour) -> None:
    for proxy in ("gopher://me:canary@proxy", "http://me:canary@proxy:port"):
        with pytest.raises(ConfigurationError, match="URL of the proxy") as caught:
            flavour.client_class(Region.PRODUCTION, BASIC, proxy=proxy)
        assert "canary" not in str(caught.value)
        assert caught.value.__context__ is None


def test_a_socks_proxy_needs_a_package(flavour: Flavour) -> None:
    with pytest.raises(ConfigurationError, match=r"httpx\[socks\]"):
        flavour.client_class(Region.PRODUCTION, BASIC, proxy="socks5://proxy:1080")


def test_tls_is_verified_unless_a_caller_says_otherwise() -> None:
    assert tls_context(verify=True).verify_mode == ssl.CERT_REQUIRED
    assert tls_context(verify=True).check_hostname
    assert tls_context(verify=False).verify_mode == ssl.CERT_NONE
    mine = ssl.create_default_context()
    assert tls_context(mine) is mine


@pytest.mark.parametrize("verify", [None, 0, "", "/etc/ssl/cert.pem", 1])
def test_what_is_no_answer_to_verify(flavour: Flavour, verify: Any) -> None:
    with pytest.raises(ConfigurationError, match="verify is"):
        flavour.client_class(Region.PRODUCTION, BASIC, verify=verify)


def test_certificates_that_cannot_be_read(
    flavour: Flavour, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    empty = tmp_path / "empty.pem"
    empty.touch()
    monkeypatch.setenv("SSL_CERT_FILE", str(empty))
    with pytest.raises(ConfigurationError, match="SSL_CERT_FILE"):
        flavour.client_class(Region.PRODUCTION, BASIC)


def test_the_environment_is_looked_at_anew_for_each_client(
    flavour: Flavour, monkeypatch: pytest.MonkeyPatch
) -> None:
    flavour.client_class(Region.PRODUCTION, BASIC)
    monkeypatch.setenv("HTTPS_PROXY", "nonsense://proxy")
    with pytest.raises(ConfigurationError, match="HTTPS_PROXY"):
        flavour.client_class(Region.PRODUCTION, BASIC, engine="httpx")


class Closing(httpx.BaseTransport, httpx.AsyncBaseTransport):
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


def test_an_injected_transport_is_its_owners_to_close(flavour: Flavour) -> None:
    transport = Closing()
    with flavour.open(Region.PRODUCTION, BASIC, transport=transport) as client:
        assert client.activities.get(ACTIVITY_ID).id == ACTIVITY_ID
    assert transport.closed == 0


def test_a_transport_that_a_function_gives_is_closed_once(flavour: Flavour) -> None:
    made: list[Closing] = []

    def make() -> Closing:
        made.append(Closing())
        return made[-1]

    with flavour.open(Region.PRODUCTION, BASIC, transport=make) as client:
        client.activities.get(ACTIVITY_ID)
        client.close()
    assert [transport.closed for transport in made] == [1]


@pytest.mark.parametrize("wrong", [object(), lambda: None, "http://x"])
def test_what_is_no_transport(flavour: Flavour, wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"this client needs an httpx\.(Async)?BaseTransport"):
        flavour.client_class(Region.PRODUCTION, BASIC, transport=wrong)


@pytest.mark.parametrize("options", [{"proxy": "http://proxy:1"}, {"verify": False}])
def test_an_injected_transport_brings_its_own_settings(flavour: Flavour, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="leave out proxy= and verify="):
        flavour.client_class(Region.PRODUCTION, BASIC, transport=Closing(), **options)


@pytest.mark.parametrize("proxy", [5, b"http://proxy:1", object()])
def test_a_proxy_is_text(flavour: Flavour, proxy: Any) -> None:
    with pytest.raises(ConfigurationError, match="pass the proxy's URL as text"):
        flavour.client_class(Region.PRODUCTION, BASIC, proxy=proxy)


def test_a_host_that_httpx_does_not_know(flavour: Flavour) -> None:
    region = Region.custom("mine", api_url="https://xn--a", token_url="https://a.example/{tenant_id}")
    with pytest.raises(ConfigurationError, match="none that httpx knows"):
        flavour.client_class(region, BASIC)


def test_the_private_names_that_the_seam_relies_on(flavour: Flavour) -> None:
    """They are httpx's, httpcore's and h11's: a new version that renames one of them has to fail here."""
    options: dict[str, Any] = {"proxy": "http://proxy.example:1", "engine": "httpx"}
    client = flavour.wrap(flavour.client_class(Region.PRODUCTION, BASIC, **options))
    [transport] = client._http._transports._spare[0].values()
    assert type(transport._pool).__module__ == "thrive_learning._pool"
    connection = transport._pool._opener.create_connection(httpcore.Origin(b"https", b"api.example", 443))
    assert type(connection._connection._network_backend).__module__ == "thrive_learning._network"
    client.close()


def test_surplus_is_found_where_it_is() -> None:
    dropped: list[bool] = []
    state = SimpleNamespace(
        trailing_data=(b"HTTP/1.1 200 OK", False), send_failed=lambda: dropped.append(True)
    )
    drop_surplus(httpx.Response(200, stream=httpx.ByteStream(b"")))
    assert not dropped
    outer: Any = httpx.ByteStream(b"")
    outer._httpcore_stream = SimpleNamespace(
        _stream=SimpleNamespace(_connection=SimpleNamespace(_h11_state=state))
    )
    drop_surplus(httpx.Response(200, stream=outer))
    assert dropped


def test_a_place_of_another_process_is_left_alone() -> None:
    """A forked child does not close what its parent uses."""
    places = iter([(1, None), (2, None), (2, None)])
    ours = transports(place=lambda: next(places))
    parents = ours.for_request(httpx.Request("GET", API))
    childs = ours.for_request(httpx.Request("GET", API))
    assert parents is not childs
    assert ours.take_those_to_close() == [childs]
