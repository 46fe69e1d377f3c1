"""Chooses the engine and TLS context of requests, per proxy, process, and event loop."""

import functools
import inspect
import os
import sys
from collections.abc import Callable, Iterable
from ssl import SSLContext
from typing import Any, Generic, TypeVar

import httpx

from thrive_learning._http.httpx_adapter import AsyncHttpxEngine, HttpxEngine, library_of
from thrive_learning._http.port import Origin, parse_url
from thrive_learning._loops import PerLoop, current_loop, current_process
from thrive_learning._settings.proxies import Route, choose_proxies, proxy_secrets, route_through
from thrive_learning.errors import ConfigurationError

EngineT = TypeVar("EngineT")

#: The name of the library in the User-Agent.
LIBRARY = f"httpx/{httpx.__version__}"


def tls_context(verify: object) -> SSLContext:
    """Return the TLS context of a client. Clients with the same settings share one, because creation is slow.

    Args:
        verify: True for certifi's certificates, or those in SSL_CERT_FILE or SSL_CERT_DIR; a context of the
            caller; or False, which trusts every server and is only for tests.

    Raises:
        ConfigurationError: The value is anything else, or the certificates cannot be read.
    """
    if isinstance(verify, SSLContext):
        return verify
    if not isinstance(verify, bool):
        raise ConfigurationError(
            f"verify is {verify!r}. Pass True, or an ssl.SSLContext for your own certificates."
        )
    try:
        return _shared_context(verify, os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
    except OSError as error:
        problem = f"The certificates cannot be read ({error}). Check SSL_CERT_FILE and SSL_CERT_DIR."
    raise ConfigurationError(problem)


@functools.lru_cache(maxsize=8)
def _shared_context(verify: bool, _cert_file: str | None, _cert_dir: str | None) -> SSLContext:  # noqa: FBT001
    return httpx.create_ssl_context(verify=verify)


class Routes(Generic[EngineT]):
    """The engines of one client.

    Args:
        build: Creates an engine from a TLS context and the URL of a proxy; None for a direct connection.
        is_async: Whether engines belong to an event loop.
        urls: The URLs of the client's requests. Requests to any other URL are not possible.
        transport: A transport of httpx or httpx2 for all requests, which the caller closes; or a function
            that returns one, which is closed with the client.
        proxy: The URL of a proxy for all requests; None uses the environment.
        verify: See `tls_context`.

    Raises:
        ConfigurationError: One of these is not valid.
    """

    def __init__(  # noqa: PLR0913 - the options of the clients
        self,
        *,
        build: Callable[[SSLContext, str | None], EngineT],
        is_async: bool,
        urls: Iterable[str],
        transport: Any,
        proxy: str | None,
        verify: bool | SSLContext,
    ) -> None:
        self._injected: EngineT | None = None
        self._proxy: str | None = proxy
        origins = [parse_url(url)[0] for url in urls]
        self._proxies: dict[Origin, str | None] = dict.fromkeys(origins)
        self._has_routes: bool = transport is None
        if transport is None:
            self._proxies = choose_proxies(origins, proxy)
            self._build: Callable[[str | None], EngineT] = functools.partial(build, tls_context(verify))
        elif proxy is not None or verify is not True:
            raise ConfigurationError(
                "transport= brings its own proxy and TLS settings. Leave out proxy= and verify=."
            )
        elif library_of(transport) is None and callable(transport):
            _check_signature(transport)
            self._build = lambda _proxy: _adapted(transport(), is_async=is_async)
        else:
            self._injected = _adapted(transport, is_async=is_async)
            return
        self._engines = PerLoop(current_loop if is_async else current_process, self._open)

    def _open(self) -> dict[str | None, EngineT]:
        try:
            return {proxy: self._build(proxy) for proxy in set(self._proxies.values())}
        except ImportError as error:  # SOCKS needs another library
            problem = str(error)
        raise ConfigurationError(problem)

    def route(self, origin: Origin) -> Route | None:
        """Return the way a request leaves this machine; None if the caller's own transport decides."""
        return route_through(self._proxies[origin], self._proxy) if self._has_routes else None

    def proxy_secrets(self) -> tuple[str, ...]:
        """Return the forms in which proxies could repeat their credentials."""
        return tuple(secret for url in self._proxies.values() if url for secret in proxy_secrets(url))

    def engine(self, origin: Origin) -> EngineT:
        """Return the engine for requests to one of the client's origins."""
        if self._injected is not None:
            return self._injected
        return self._engines.get()[self._proxies[origin]]

    def take_those_to_close(self) -> list[EngineT]:
        """Remove and return the engines of this process and event loop, and those that were never used."""
        if self._injected is not None:
            return []
        return [engine for engines in self._engines.take() for engine in engines.values()]


def _check_signature(function: Callable[..., object]) -> None:
    try:
        inspect.signature(function).bind()
    except ValueError:
        return  # a built-in function may not have one
    except TypeError as error:
        problem = f"transport= is a function that cannot be called without arguments ({error})"
    else:
        return
    raise ConfigurationError(f"{problem}. Pass a transport, or a function that returns a transport.")


def _adapted(transport: object, *, is_async: bool) -> Any:
    name = "AsyncBaseTransport" if is_async else "BaseTransport"
    library = library_of(transport)
    if library is None or not isinstance(transport, getattr(sys.modules[library], name)):
        raise ConfigurationError(
            f"transport= is or returns an object of type {type(transport).__name__}. Pass an httpx.{name} "
            f"or httpx2.{name}."
        )
    return AsyncHttpxEngine(transport) if is_async else HttpxEngine(transport)
