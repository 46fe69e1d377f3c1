import pytest

from thrive_learning import ConfigurationError
from thrive_learning._settings.proxies import choose_proxies, proxy_secrets, show_proxy

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
        ("http://proxy.example:canary", "http://proxy.example:…"),
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
