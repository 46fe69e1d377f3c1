import copy
import pickle
from typing import Any

import pytest
from harness import REGIONS
from hypothesis import example, given
from hypothesis import strategies as st

from thrive_learning import ConfigurationError, Region, Scope, Service
from thrive_learning.credentials import _SERVICE_SCOPES
from thrive_learning.regions import _public

CUSTOM = {
    "api_url": "https://api.example.com/v1",
    "token_url": "https://id.example.com/token/{tenant_id}",
    "webhooks_token_url": "https://hooks.example.com/token/{tenant_id}",
}


def test_the_vendors_regions_are_all_that_the_class_has() -> None:
    """Otherwise one that the contract lacks would not be compared with it."""
    named = {name: value for name, value in vars(Region).items() if isinstance(value, Region)}
    assert {name.lower().replace("_", "-"): value for name, value in named.items()} == {
        region.name: region for region in Region.VENDOR
    }
    assert len(REGIONS) == len(Region.VENDOR) == len(named)
    assert [Region.parse(region.name) for region in REGIONS] == [*REGIONS]


def test_servers_are_those_of_the_contract(contract: dict[str, Any]) -> None:
    assert len(contract["servers"]) == len(REGIONS)
    assert {server["x-region"]: server["url"] for server in contract["servers"]} == {
        region.name: region.api_url for region in REGIONS
    }


def test_token_urls_are_those_of_the_contract(contract: dict[str, Any]) -> None:
    scheme = contract["components"]["securitySchemes"]["oauth2"]
    urls = {
        (region, service): url
        for region, table in scheme["x-token-urls"].items()
        for service, url in table.items()
    }
    assert len(urls) == 8
    assert urls == {
        (region.name, service.value): region.token_url("TENANT", service).replace("TENANT", ":tenantId")
        for region in REGIONS
        for service in Service
    }
    assert scheme["flows"]["clientCredentials"]["tokenUrl"] == urls["production", "api"]


def test_scopes_are_those_of_the_contract(contract: dict[str, Any]) -> None:
    scheme = contract["components"]["securitySchemes"]["oauth2"]
    assert set(scheme["flows"]["clientCredentials"]["scopes"]) == set(Scope)
    assert {name: set(scopes) for name, scopes in scheme["x-service-scopes"].items()} == {
        service.value: set(scopes) for service, scopes in _SERVICE_SCOPES.items()
    }


@pytest.mark.parametrize("region", REGIONS, ids=str)
def test_a_region_is_found_by_its_name(region: Region) -> None:
    assert Region.parse(region.name) is region
    assert Region.parse(f" {region.name.upper().replace('-', '_')}\n") is region
    assert str(region) == region.value == region.name


def test_the_four_regions_are_made_alike() -> None:
    # They were made at import, where a change of what makes them would not be noticed.
    assert _public("production-mea", "mea.learn.tech") == Region.PRODUCTION_MEA


@pytest.mark.parametrize("name", ["", "p", "eu", None, 5])
def test_an_unknown_name_lists_the_known_ones(name: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Region.parse(name)
    assert str(caught.value) == (
        f"{name!r} is not a region. Choose one of production, staging, production-mea, staging-mea, "
        "or describe your own: pass Region.custom(...) to ThriveClient(...), or set THRIVE_API_URL."
    )


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("stagin", "staging"),
        ("PROD", "production"),
        ("pr", "production"),
        ("production mea", "production-mea"),
        ("stage", "staging"),
    ],
)
def test_a_misspelled_name_gets_a_suggestion(name: str, meant: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Region.parse(name)
    assert f"{name!r} is not a region (did you mean {meant!r}?). Choose one of" in str(caught.value)


def test_a_custom_region() -> None:
    region = Region.custom("mine", **CUSTOM)
    assert region.api_url == "https://api.example.com/v1"
    assert region.token_url("t") == "https://id.example.com/token/t"
    assert region.token_url("t", Service.WEBHOOKS) == "https://hooks.example.com/token/t"
    assert len(region.urls) == 3
    assert Region.custom("mine", **CUSTOM | {"api_url": "https://api.example.com/v1/"}) == region
    assert pickle.loads(pickle.dumps(region)) == copy.deepcopy(region) == region


def test_a_custom_region_can_do_without_webhooks() -> None:
    region = Region.custom("mine", api_url=CUSTOM["api_url"], token_url=CUSTOM["token_url"])
    assert len(region.urls) == 2
    with pytest.raises(ConfigurationError, match=r". Pass webhooks_token_url to Region\.custom\(...\)\.$"):
        region.token_url("t", Service.WEBHOOKS)


PLAIN_HTTP = " is plain HTTP, which exposes credentials on the network. Use https[.]$"
NOT_ABSOLUTE = " is not an absolute URL. It must begin with https:// and a host[.]$"
NOT_VISIBLE = " is not a URL of visible ASCII characters[.]$"
NO_SUCH_PART = " has an invalid host, port, or path[.]$"
NO_QUERY = " has a query or a fragment. Remove it[.]$"


@pytest.mark.parametrize(
    "url", ["http://localhost:8000", "http://127.0.0.1", "http://127.1.2.3:80/v1", "http://[::1]:8000"]
)
def test_loopback_may_be_plain_http(url: str) -> None:
    assert Region.custom("mine", **CUSTOM | {"api_url": url}).api_url == url


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://api.example.com", PLAIN_HTTP),
        ("http://localhost.example.com", PLAIN_HTTP),
        ("http://10.0.0.1", PLAIN_HTTP),
        ("ftp://api.example.com", NOT_ABSOLUTE),
        ("api.example.com", NOT_ABSOLUTE),
        ("https://", NOT_ABSOLUTE),
        ("", NOT_ABSOLUTE),
        (None, NOT_ABSOLUTE),
        ("https://api.example.com/a b", NOT_VISIBLE),
        ("https://api.example.com/\n", NOT_VISIBLE),
        ("https://\N{LATIN SMALL LETTER U WITH DIAERESIS}.example.com", NOT_VISIBLE),
        ("https://api.example.com:port", "is not a URL"),
        ("https://[::1", "is not a URL"),
        ("https://api.example.com/?a=1", NO_QUERY),
        ("https://api.example.com/#a", NO_QUERY),
        ("https://api.example.com/?", NO_QUERY),
        ("https://api.example.com/#", NO_QUERY),
        ("https://api.example.com/\\a", NO_SUCH_PART),
        ("https://api!.example.com", NO_SUCH_PART),
        ("https://0177.0.0.1", NO_SUCH_PART),
        ("https://api..example.com", NO_SUCH_PART),
        (f"https://{'a' * 64}.example.com", NO_SUCH_PART),
        (f"https://{'a.' * 127}com", NO_SUCH_PART),
        ("https://api.example.com:0", NO_SUCH_PART),
        ("https://api.example.com/{version}", "Remove its placeholder"),
        ("https://api.example.com/{version", "Remove its placeholder"),
        ("https://api.example.com/version}", "Remove its placeholder"),
    ],
)
def test_urls_that_must_not_get_credentials(url: Any, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem) as caught:
        Region.custom("mine", **CUSTOM | {"api_url": url})
    assert "api_url of region 'mine'" in str(caught.value)
    assert repr(str(url).rstrip("/")) in str(caught.value)


def test_a_url_that_is_not_text_is_not_shown() -> None:
    bytes_: Any = b"https://x.example.com/{tenant_id}"
    with pytest.raises(ConfigurationError) as caught:
        Region.custom("mine", api_url=CUSTOM["api_url"], token_url=bytes_)
    assert str(caught.value) == (
        "token_url of region 'mine': the given value is not a URL of visible ASCII characters."
    )


def test_an_api_url_loses_slashes_only() -> None:
    assert Region.custom("mine", **CUSTOM | {"api_url": "https://x.example.com/X//"}).api_url[-2:] == "/X"


def test_a_password_in_a_url_is_refused_and_not_shown() -> None:
    says = ": the given value contains credentials. Pass them to the client instead[.]$"
    with pytest.raises(ConfigurationError, match=says) as caught:
        Region.custom("mine", **CUSTOM | {"api_url": "https://me:canary@api.example.com"})
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("argument", ["token_url", "webhooks_token_url"])
@pytest.mark.parametrize(
    "url",
    [
        "https://x.example.com/token",
        "https://{tenant_id}.example.com/",
        "https://x.example.com/t-{tenant_id}",
    ],
)
def test_a_token_url_has_room_for_the_tenant(argument: str, url: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{argument} of region 'mine': 'ftp:' is not"):
        Region.custom("mine", **CUSTOM | {argument: "ftp:"})
    with pytest.raises(ConfigurationError, match=f"{argument}.*(segment|host)"):
        Region.custom("mine", **CUSTOM | {argument: url})


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        *((name, "Use a printable name") for name in ("", " ", "a\nb", None)),
        ("production", "Use another name"),
    ],
)
def test_a_custom_region_needs_a_name_of_its_own(name: Any, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem) as caught:
        Region.custom(name, **CUSTOM)
    assert repr(name) in str(caught.value)


@given(st.text(min_size=1))
@example("../a?b#c@d")
def test_a_tenant_id_stays_one_segment_of_the_path(tenant_id: str) -> None:
    url = Region.PRODUCTION.token_url(tenant_id.encode(errors="replace").decode())
    rest = url.removeprefix("https://public.api.learn.link/oauth2/token/")
    assert rest != url
    assert not set(rest) & set("/?#@ \r\n")


@pytest.mark.parametrize(
    "url",
    [
        "https://host?",
        "https://host#",
        "https://*",
        "https://a\\b/c",
        "https://host/a\\b",
        "https://{tenant_id}/x",
        "https://-host-/x",
        "https://[v1.a]/x",
    ],
)
def test_urls_that_httpx_parses_differently(url: str) -> None:
    with pytest.raises(ConfigurationError):
        Region.custom("mine", **CUSTOM | {"api_url": url})


@pytest.mark.parametrize("service", ["api", None])
def test_an_invalid_service_is_rejected(service: Any) -> None:
    with pytest.raises(ConfigurationError, match="service is"):
        Region.PRODUCTION.token_url("t", service)


@pytest.mark.parametrize("path", ["/{tenant_id}/{other}", "/{tenant_id}/{a", "/{tenant_id}/a}"])
def test_a_token_url_has_no_other_placeholder(path: str) -> None:
    with pytest.raises(ConfigurationError, match="no other placeholder"):
        Region.custom("mine", **CUSTOM | {"token_url": f"https://x.example.com{path}"})
