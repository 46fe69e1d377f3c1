"""The httpx transports of a client: what the caller injected, or one for each way out that its hosts need."""

import contextlib
import functools
import os
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from ssl import SSLContext
from typing import Any, Generic, TypeVar

import httpx

from thrive_learning._exchange.failures import Route
from thrive_learning._exchange.server_text import proxy_secrets, show_proxy
from thrive_learning._loops import ProcessAndLoop, has_ended
from thrive_learning._request import netloc
from thrive_learning.errors import ConfigurationError

TransportT = TypeVar("TransportT", httpx.BaseTransport, httpx.AsyncBaseTransport)


def proxy_from_environment(url: str) -> str | None:
    """Give the proxy that the environment names for a URL, or None to go there directly.

    Plain HTTP always goes directly: it is for loopback hosts only, and a proxy would read the credentials.
    """
    return proxies_from_environment([url])[url]


def proxies_from_environment(urls: Iterable[str]) -> dict[str, str | None]:
    """Give the same for several URLs. It looks once: going through all variables is dear."""
    proxies = urllib.request.getproxies()
    return {url: _proxy_among(proxies, url) for url in urls}


def _proxy_among(proxies: Mapping[str, str], url: str) -> str | None:
    parts = urllib.parse.urlsplit(url)
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or parts.scheme == "http" or urllib.request.proxy_bypass(parts.netloc):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def route_of(proxy: str | None, *, is_explicit: bool) -> Route:
    """Describe the way through a proxy, or without one.

    Args:
        proxy: The URL of the proxy, None to go directly.
        is_explicit: Whether it comes from `proxy=`; else it comes from the environment.
    """
    if proxy is None:
        return Route()
    names = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")  # the order in which Python looks
    found = (name for name in names if os.environ.get(name))
    setting = "proxy=" if is_explicit else next(found, "the proxy settings of this machine")
    return Route(show_proxy(proxy), setting, has_credentials=bool(proxy_secrets(proxy)))


def tls_context(verify: object) -> SSLContext:
    """Give the TLS context of a client. Clients that want the same share one: it is dear to make.

    Args:
        verify: True for certifi's certificates, or those that SSL_CERT_FILE or SSL_CERT_DIR name; a context
            of the caller's; or False, which trusts any server and is for tests alone.

    Raises:
        ConfigurationError: It is anything else, or the certificates cannot be read.
    """
    if isinstance(verify, SSLContext):
        return verify
    if not isinstance(verify, bool):
        raise ConfigurationError(
            f"verify is {verify!r}: pass True, or an ssl.SSLContext for certificates of your own"
        )
    try:
        return _shared_context(verify, os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
    except OSError as error:
        problem = f"the certificates cannot be read ({error}): check SSL_CERT_FILE and SSL_CERT_DIR"
    raise ConfigurationError(problem)


@functools.lru_cache(maxsize=8)
def _shared_context(verify: bool, _cert_file: str | None, _cert_dir: str | None) -> SSLContext:  # noqa: FBT001
    return httpx.create_ssl_context(verify=verify)


class Transports(Generic[TransportT]):
    """The transports of one client, for each place of their own that must not share connections.

    Args:
        kind: What an injected transport has to be an instance of.
        build: Makes a transport of the client's own from a TLS context and the URL of a proxy, or None.
        place: Names where the caller is.
        urls: The URLs that the client's requests go to; they go nowhere else.
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
        place: Callable[[], ProcessAndLoop],
        urls: Iterable[str],
        injected: TransportT | Callable[[], TransportT] | None,
        proxy: str | None,
        verify: bool | SSLContext,
    ) -> None:
        self._place: Callable[[], ProcessAndLoop] = place
        self._injected: TransportT | None = None
        self._is_injected: bool = injected is not None
        self._ways_out: dict[bytes, str | None] = {_netloc(url): None for url in urls}
        self._is_explicit: bool = proxy is not None
        self._by_place: dict[ProcessAndLoop, dict[str | None, TransportT]] = {}
        if injected is None:
            context = tls_context(verify)
            ways_out = proxies_from_environment(urls) if proxy is None else _explicit(proxy, urls)
            self._ways_out = {_netloc(url): way_out for url, way_out in ways_out.items()}
            make: Callable[[str | None], TransportT] = functools.partial(_built, build, context)
        elif proxy is not None or verify is not True:
            raise ConfigurationError(
                "transport= brings its own proxy and TLS settings: leave out proxy= and verify="
            )
        elif isinstance(injected, kind):
            self._injected = injected
            return
        else:
            make = functools.partial(_checked, kind, injected)
        self._make: Callable[[str | None], TransportT] = make
        # Made now, for the first place that asks, so that a mistake shows where the client is created.
        self._spare: list[dict[str | None, TransportT]] = [self._open()]

    def route(self, request: httpx.Request) -> Route | None:
        """Return how a request leaves this machine; None if the caller's own transport decides."""
        if self._is_injected:
            return None
        return route_of(self._ways_out[netloc(request)], is_explicit=self._is_explicit)

    def proxy_secrets(self) -> tuple[str, ...]:
        """Return what the proxies of these transports could repeat of their credentials."""
        return tuple(secret for url in self._ways_out.values() if url for secret in proxy_secrets(url))

    def _open(self) -> dict[str | None, TransportT]:
        return {way_out: self._make(way_out) for way_out in set(self._ways_out.values())}

    def for_request(self, request: httpx.Request) -> TransportT:
        """Give the transport for a request to one of the client's URLs."""
        if self._injected is not None:
            return self._injected
        here = self._place()
        transports = self._by_place.get(here)
        if transports is None:
            self._forget_what_has_ended()
            try:
                transports = self._spare.pop()
            except IndexError:
                transports = self._open()
            # Two threads may come here at once: both take what the first of them put there.
            transports = self._by_place.setdefault(here, transports)
        return transports[self._ways_out[netloc(request)]]

    def _forget_what_has_ended(self) -> None:
        for place in list(self._by_place):
            if has_ended(place):
                self._by_place.pop(place, None)

    def take_those_to_close(self) -> list[TransportT]:
        """Give up the transports of this place, and those that no place has asked for."""
        if self._injected is not None:
            return []
        found = [self._spare.pop()] if self._spare else []
        with contextlib.suppress(KeyError, RuntimeError):  # no event loop runs here
            found.append(self._by_place.pop(self._place(), {}))
        return [transport for transports in found for transport in transports.values()]


@functools.lru_cache(maxsize=64)
def _netloc(url: str) -> bytes:
    try:
        known = httpx.URL(url)
        _ = known.host  # reading it is what finds a wrong one
    except (ValueError, httpx.InvalidURL) as error:
        problem = f"the region's URL {url!r} is none that httpx knows ({error})"
    else:
        return known.netloc
    raise ConfigurationError(problem)


def _checked(kind: type[TransportT], injected: Any, _way_out: str | None) -> TransportT:
    built = injected() if callable(injected) else injected
    if not isinstance(built, kind):
        raise ConfigurationError(
            f"transport= is or gives a {type(built).__name__}: this client needs an httpx.{kind.__name__}"
        )
    return built


def _explicit(proxy: object, urls: Iterable[str]) -> dict[str, str | None]:
    if not isinstance(proxy, str):
        raise ConfigurationError(f"proxy= is of type {type(proxy).__name__}: pass the proxy's URL as text")
    if any(urllib.parse.urlsplit(url).scheme == "http" for url in urls):
        raise ConfigurationError(
            "proxy= goes with HTTPS only: over plain HTTP, which is for loopback hosts, the proxy would read "
            "the credentials"
        )
    return dict.fromkeys(urls, proxy)


def _built(
    build: Callable[[SSLContext, str | None], TransportT], context: SSLContext, proxy: str | None
) -> TransportT:
    problem = (
        "The URL of the proxy (proxy=, or HTTPS_PROXY and ALL_PROXY) is not valid. Write it as "
        "http://user:password@host:port, with special characters percent-encoded."
    )
    try:
        if proxy is None or show_proxy(proxy) is not None:
            return build(context, proxy)
    except (ValueError, httpx.InvalidURL):
        pass  # what httpx says may hold the proxy's password
    except ImportError as error:
        problem = str(error)
    raise ConfigurationError(problem)


def drop_surplus(response: httpx.Response) -> None:
    """Keep a connection from being used again on which more came than belongs to the response.

    httpcore would take the surplus for the answer to the next request, which may be for another record. The
    way to h11's buffer has private names, which a test guards; where one is missing, the response is of
    another transport, which has to look after itself.
    """
    part: Any = response.stream
    for name in ("_httpcore_stream", "_stream", "_stream", "_connection", "_h11_state"):
        part = getattr(part, name, part)
    if getattr(part, "trailing_data", (b"",))[0]:
        part.send_failed()  # h11's word for a connection that is not kept
