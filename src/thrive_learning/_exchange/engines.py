"""Chooses a client's engine: httpx's own connections by default, the fast engine on request."""

import importlib
from typing import TYPE_CHECKING

from thrive_learning._http.port import parse_url
from thrive_learning._settings.engine_names import EngineName, parse_engine
from thrive_learning._settings.proxies import choose_proxies
from thrive_learning.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from ssl import SSLContext

    from thrive_learning._http.port import AsyncEngine, Engine

_INSTALL = "Run python3 -m pip install 'thrive-learning[fast]'"


def choose(engine: object, transport: object, proxy: object, urls: "Iterable[str]") -> EngineName:
    """Return the engine of a client. No engine is chosen because a library happens to be installed.

    Args:
        engine: The client's `engine=`.
        transport: Its `transport=`.
        proxy: Its `proxy=`.
        urls: The URLs of its requests.

    Raises:
        ConfigurationError: The name is unknown, or the fast engine does not support the other options.
    """
    name = parse_engine(engine)
    obstacle = _obstacle(transport, proxy, urls) if name == "fast" else None
    if obstacle is not None:
        raise ConfigurationError(f"The fast engine cannot be used: {obstacle}, or choose the engine 'httpx'.")
    return name


def _obstacle(transport: object, proxy: object, urls: "Iterable[str]") -> str | None:
    """Return why the fast engine cannot be used, and the beginning of the advice; None if it can be used."""
    if transport is not None:
        return "transport= sends the requests itself. Omit transport="
    proxies = choose_proxies([parse_url(url)[0] for url in urls], proxy).values()
    if any(url is not None and url.lower().startswith("socks") for url in proxies):
        return "it does not support SOCKS proxies. Use a proxy of http:// or https://"
    return _missing()


def _missing() -> str | None:
    try:
        import httptools  # noqa: PLC0415 - an extra

        importlib.import_module("thrive_learning._http_fast.engine")
    except ImportError as error:
        return f"a part of it is not installed ({error}). {_INSTALL}"
    if not hasattr(httptools.HttpResponseParser, "set_dangerous_leniencies"):
        return f"httptools {httptools.__version__} is too old. {_INSTALL}"
    return None


def sync_engines(name: EngineName) -> "Callable[[SSLContext, str | None], Engine]":
    """Return a function that makes an engine of sync clients from a TLS context and a proxy's URL or None."""
    if name == "fast":
        from thrive_learning._http_fast.engine import FastEngine  # noqa: PLC0415 - an extra

        return FastEngine
    from thrive_learning._http.stock import StockEngine  # noqa: PLC0415 - it loads httpcore

    return StockEngine


def async_engines(name: EngineName) -> "Callable[[SSLContext, str | None], AsyncEngine]":
    """Return a function that makes an engine of async clients. See `sync_engines`."""
    if name == "fast":
        from thrive_learning._http_fast.engine import AsyncFastEngine  # noqa: PLC0415 - an extra

        return AsyncFastEngine
    from thrive_learning._http.stock import AsyncStockEngine  # noqa: PLC0415 - it loads httpcore

    return AsyncStockEngine
