import urllib.request

import pytest

from thrive_learning import ConfigurationError
from thrive_learning._settings.proxies import (
    Route,
    choose_proxies,
    proxy_secrets,
    route_through,
    show_proxy,
)

API = ("https", "public.api.learn.link", 443)
PROXY = "http://proxy:3128"


@pytest.mark.parametrize(
    ("environment", "server", "proxy"),
    [
        ({}, API, None),
        ({"HTTPS_PROXY": PROXY}, API, PROXY),
        ({"https_proxy": "proxy:3128"}, API, PROXY),
        ({"ALL_PROXY": PROXY}, API, PROXY),
        ({"HTTP_PROXY": PROXY}, API, None),
        # Plain HTTP is for loopback hosts: a proxy would read the credentials.
        ({"HTTP_PROXY": PROXY, "ALL_PROXY": PROXY}, ("http", "localhost", 8000), None),
    ],
)
def test_the_proxy_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    server: tuple[str, str, int],
    proxy: str | None,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert choose_proxies([server], None) == {server: proxy}


@pytest.mark.parametrize(
    ("no_proxy", "host", "is_exempt"),
    [
        ("*", "here.example", True),
        ("", "here.example", False),
        ("there.example, HERE.example ,", "here.example", True),
        ("example", "here.example", True),
        ("ere.example", "here.example", False),
        (".here.example", "a.here.example", True),
        (".here.example", "here.example", True),
        ("*.here.example", "a.here.example", True),
        ("*.here.example", "there.example", False),
        ("here.example:8443", "here.example", True),
        ("here.example:443", "here.example", False),
        ("::1", "::1", True),
        ("[::1]", "::1", True),
        ("[::1]:8443", "::1", True),
        ("[::1]:443", "::1", False),
        ("0:0:0:0:0:0:0:1", "::1", True),
        ("::1", "127.0.0.1", False),
        ("::1", "here.example", False),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.1.2.3/8", "10.2.3.4", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("fd00::/8", "fd12::1", True),
        ("fd00::/8", "10.1.2.3", False),
    ],
)
def test_an_exemption(monkeypatch: pytest.MonkeyPatch, no_proxy: str, host: str, *, is_exempt: bool) -> None:
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    monkeypatch.setenv("NO_PROXY", no_proxy)
    server = ("https", host, 8443)
    assert choose_proxies([server], None) == {server: None if is_exempt else PROXY}


@pytest.mark.parametrize(
    "entry", ["10.*", "http://here.example", "here.example/path", "a b", "<local>", "[::1"]
)
def test_an_exemption_that_is_not_recognized(monkeypatch: pytest.MonkeyPatch, entry: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    monkeypatch.setenv("NO_PROXY", f"*,{entry}")
    with pytest.raises(ConfigurationError, match=r"NO_PROXY has the entry .* which is not recognized"):
        choose_proxies([API], None)


def test_the_settings_of_the_system_are_asked_if_there_is_no_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(urllib.request, "getproxies", lambda: {"https": PROXY})
    monkeypatch.setattr(urllib.request, "proxy_bypass", asked.append)
    choose_proxies([API, ("https", "::1", 8443)], None)
    assert asked == ["public.api.learn.link:443", "[::1]:8443"]
    assert route_through(PROXY, None).setting == "the proxy settings of this machine"


@pytest.mark.parametrize(
    "proxy", ["http://me:canary@[2001:db8::1]:3128/", "socks5h://proxy", "https://10.0.0.1:1"]
)
def test_a_proxy_for_everything(proxy: str) -> None:
    assert choose_proxies([API], proxy) == {API: proxy}


@pytest.mark.parametrize(
    ("proxy", "message"),
    [
        ("http://", "'http://' (from proxy=) has no host"),
        ("http://a b:1", "'http://a b:1' (from proxy=) is not a URL of visible characters"),
        ("http://proxy:1\n", "'http://…' (from proxy=) is not a URL of visible characters"),
        ("\thttp://proxy:1", "'\\thttp://proxy:1' (from proxy=) is not a URL of visible characters"),
        ("http://me:can\x7fary@proxy:1", "'http://proxy:1' (from proxy=) is not a URL of visible"),
        ("http://proxy:99999", "'http://proxy:99999' (from proxy=) has a port outside 1 to 65535"),
        ("http://proxy:0", "'http://proxy:0' (from proxy=) has a port outside 1 to 65535"),
        ("http://me:canary@proxy:x", "'http://…' (from proxy=) has an invalid host or port"),
        ("http://me:canary", "'http://…' (from proxy=) has an invalid host or port"),
        ("http://me:can/ary@proxy:1", "'http://proxy:1' (from proxy=) has an invalid host or port"),
        ("http://0177.0.0.1:1", "'http://0177.0.0.1:1' (from proxy=) has an invalid host or port"),
        ("http://[::1]evil.com:1", "'http://[::1]evil.com:1' (from proxy=)"),
        ("http://[::1", "'http://[::1' (from proxy=) is not a URL"),
        ("ftp://me:canary@proxy", "'ftp://proxy' (from proxy=) does not begin with http://"),
        ("", "'' (from proxy=) does not begin with http://"),
    ],
)
def test_a_proxy_url_that_is_not_valid(proxy: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        choose_proxies([API], proxy)
    assert f"The proxy URL {message}" in str(caught.value)
    assert "Write it as http://host:port, or http://user:password@host:port with" in str(caught.value)
    assert "canary" not in str(caught.value)


def test_a_proxy_url_of_the_environment_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "proxy:99999")
    with pytest.raises(ConfigurationError, match=r"'http://proxy:99999' \(from ALL_PROXY\)"):
        choose_proxies([API], None)


def test_a_proxy_that_is_not_text() -> None:
    with pytest.raises(ConfigurationError, match="proxy= is of type int"):
        choose_proxies([API], 3128)


def test_a_proxy_never_carries_plain_http() -> None:
    with pytest.raises(ConfigurationError, match="works only with HTTPS"):
        choose_proxies([API, ("http", "localhost", 80)], PROXY)


def test_a_route_names_its_proxy_without_the_password() -> None:
    url = "http://me:p%40ss@proxy:1"
    assert route_through(None, url) == Route()
    route = route_through(url, url)
    assert route == Route("http://proxy:1", "proxy=", has_credentials=True)
    assert str(route) == "http://proxy:1 (from proxy=)"
    assert show_proxy(url) == "http://proxy:1"


SERVER = ("https", "api.example", 443)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://proxy.example:3128", "http://proxy.example:3128"),
        ("http://user:canary@proxy.example:3128", "http://proxy.example:3128"),
        ("https://canary@[::1]:3128", "https://[::1]:3128"),
        ("socks5://u:canary@proxy.example", "socks5://proxy.example"),
    ],
)
def test_a_url_of_a_proxy_is_shown_without_its_password(url: str, shown: str) -> None:
    assert choose_proxies([SERVER], url) == {SERVER: url}
    assert show_proxy(url) == shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://user:can/ary@proxy.example:3128", "http://proxy.example:3128"),
        ("http://user:80/canary@proxy.example", "http://proxy.example"),
        ("http://user:12#canary@proxy.example", "http://proxy.example"),
        ("http://user:12?canary@proxy.example", "http://proxy.example"),
        ("http://proxy.example:canary", "http://…"),
        ("user:canary@proxy.example:3128", "proxy.example:3128"),
        ("ftp://canary@proxy.example", "ftp://proxy.example"),
        ("http://", "http://"),
        ("http://user:canary@", "http://"),
        ("http://[proxy", "http://[proxy"),
        ("http://pro xy/", "http://pro xy/"),
        ("http://[::1]proxy.example", "http://[::1]proxy.example"),
        ("http://proxy.example:99999", "http://proxy.example:99999"),
    ],
)
def test_an_invalid_url_of_a_proxy_is_rejected_without_showing_its_password(url: str, shown: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        choose_proxies([SERVER], url)
    assert str(caught.value).startswith(f"The proxy URL {shown!r} (from proxy=) ")
    assert "canary" not in str(caught.value)
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


@pytest.mark.parametrize(
    ("url", "secrets"),
    [
        ("http://user:p%40ss@proxy.example", ("dXNlcjpwQHNz", "user:p%40ss", "p@ss", "user")),
        ("http://user@proxy.example", ("dXNlcjo=", "user", "user")),
        ("http://proxy.example", ()),
    ],
)
def test_the_secrets_of_a_proxy(url: str, secrets: tuple[str, ...]) -> None:
    assert proxy_secrets(url) == secrets
