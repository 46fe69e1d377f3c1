"""The httpx transports of a client: what the caller injected, or one for each way out that its hosts need."""

import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable
from ssl import SSLContext
from typing import Generic, TypeVar

import httpx

from thrive_learning.errors import ConfigurationError

TransportT = TypeVar("TransportT", httpx.BaseTransport, httpx.AsyncBaseTransport)


def proxy_from_environment(url: str) -> str | None:
    """Give the proxy that the environment names for a URL, or None to go there directly.

    Plain HTTP always goes directly: it is for loopback hosts only, and a proxy would read the credentials.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "http" or urllib.request.proxy_bypass(parts.netloc):
        return None
    proxies = urllib.request.getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy:
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def tls_context(verify: object) -> SSLContext:
    """Give the TLS context of a client.

    Args:
        verify: True for certifi's certificates, or those that SSL_CERT_FILE or SSL_CERT_DIR name; a context
            of the caller's; or False, which trusts any server and is for tests alone.

    Raises:
        ConfigurationError: It is anything else, or the certificates cannot be read.
    """
    if not isinstance(verify, (bool, SSLContext)):
        raise ConfigurationError(
            f"verify is {verify!r}: pass True, or an ssl.SSLContext for certificates of your own"
        )
    try:
        return httpx.create_ssl_context(verify=verify)
    except OSError as error:
        problem = f"the certificates cannot be read ({error}): check SSL_CERT_FILE and SSL_CERT_DIR"
    raise ConfigurationError(problem)


class Transports(Generic[TransportT]):
    """The transports of one client.

    Args:
        kind: What an injected transport has to be an instance of.
        build: Makes a transport of the client's own for a TLS context and the URL of a proxy, or None.
        urls: The URLs that the client's requests go to.
        injected: The caller's transport, used for everything and closed by the caller; or a function that
            gives one, which is closed with the client.
        proxy: The URL of a proxy for everything; None leaves it to the environment.
        verify: See `tls_context`.
    """

    def __init__(  # noqa: PLR0913 - these are the options of the clients
        self,
        *,
        kind: type[TransportT],
        build: Callable[[SSLContext, str | None], TransportT],
        urls: Iterable[str],
        injected: TransportT | Callable[[], TransportT] | None,
        proxy: str | None,
        verify: bool | SSLContext,
    ) -> None:
        self.owned: list[TransportT] = []
        self._by_host: dict[bytes, TransportT] = {}
        self._injected: TransportT | None = None
        if injected is None:
            self._build(build, urls, proxy, tls_context(verify))
        elif proxy is not None or verify is not True:
            raise ConfigurationError(
                "transport= brings its own proxy and TLS settings: leave out proxy= and verify="
            )
        else:
            self._injected = self._inject(kind, injected)

    def _inject(self, kind: type[TransportT], injected: object) -> TransportT:
        if isinstance(injected, kind):
            return injected
        built = injected() if callable(injected) else injected
        if not isinstance(built, kind):
            raise ConfigurationError(
                f"transport= is or gives a {type(built).__name__}: this client needs an httpx.{kind.__name__}"
            )
        self.owned.append(built)
        return built

    def _build(
        self,
        build: Callable[[SSLContext, str | None], TransportT],
        urls: Iterable[str],
        proxy: str | None,
        context: SSLContext,
    ) -> None:
        by_proxy: dict[str | None, TransportT] = {}
        for url in urls:
            way_out = proxy_from_environment(url) if proxy is None else _explicit(proxy, url)
            if way_out not in by_proxy:
                by_proxy[way_out] = _built(build, context, way_out)
            self._by_host[httpx.URL(url).netloc] = by_proxy[way_out]
        self.owned.extend(by_proxy.values())

    def for_url(self, url: httpx.URL) -> TransportT:
        """Give the transport for a request to one of the client's URLs."""
        return self._injected or self._by_host[url.netloc]


def _explicit(proxy: str, url: str) -> str:
    if urllib.parse.urlsplit(url).scheme == "http":
        raise ConfigurationError(
            "proxy= goes with HTTPS only: over plain HTTP, which is for loopback hosts, the proxy would read "
            "the credentials"
        )
    return proxy


def _built(
    build: Callable[[SSLContext, str | None], TransportT], context: SSLContext, proxy: str | None
) -> TransportT:
    try:
        return build(context, proxy)
    except (ValueError, httpx.InvalidURL):
        # What httpx says may hold the proxy's password.
        problem = (
            "the URL of the proxy (proxy=, or HTTPS_PROXY and ALL_PROXY) is none that httpx knows: check it"
        )
    except ImportError as error:
        problem = str(error)
    raise ConfigurationError(problem)
