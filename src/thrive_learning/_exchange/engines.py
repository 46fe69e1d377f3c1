"""The choice of a client's engine: httpx's own connections by default, the fast ones on request."""

import types
from typing import NamedTuple

from thrive_learning._settings.engine_names import EngineName, parse_engine
from thrive_learning._transport import proxies_from_environment
from thrive_learning.errors import ConfigurationError

_INSTALL = "Run python3 -m pip install 'thrive-learning[fast]'"


class Asked(NamedTuple):
    """What the choice depends on.

    Attributes:
        engine: The client's `engine=`.
        transport: Its `transport=`.
        proxy: Its `proxy=`.
        urls: Where its requests go.
    """

    engine: object
    transport: object
    proxy: object
    urls: tuple[str, ...]

    def __repr__(self) -> str:
        return "<Asked>"  # the proxy's URL may hold a password


def choose(asked: Asked) -> EngineName:
    """Return the engine of a client. No engine is chosen because a library happens to be installed.

    Raises:
        ConfigurationError: There is no such engine, or the fast engine cannot do what was asked for.
    """
    engine = parse_engine(asked.engine)
    obstacle = _obstacle(asked) if engine == "fast" else None
    if obstacle is not None:
        raise ConfigurationError(f"The fast engine cannot be used: {obstacle}, or choose the engine 'httpx'.")
    return engine


def _obstacle(asked: Asked) -> str | None:
    """Say why the fast engine cannot be used, and begin to say what to do; None if it can be used."""
    _engine, transport, proxy, urls = asked
    if transport is not None:
        return "transport= sends the requests itself. Omit transport="
    proxies = proxies_from_environment(urls).values() if proxy is None else [proxy]
    if any(isinstance(url, str) and url.lower().startswith("socks") for url in proxies):
        return "it does not support SOCKS proxies. Use a proxy of http:// or https://"
    return _missing()


def _missing() -> str | None:
    try:
        import httptools  # noqa: PLC0415 - an extra
    except ImportError as error:
        return f"httptools is not installed ({error}). {_INSTALL}"
    if not hasattr(httptools.HttpResponseParser, "set_dangerous_leniencies"):
        return f"httptools {httptools.__version__} is too old. {_INSTALL}"
    return None


def is_own(method: object, package: str) -> bool:
    """Say whether a method still is the one that its package has defined, and nothing was put before it.

    Its module would not do: a wrapper takes the name of that over from what it wraps.
    """
    if type(method) is not types.FunctionType:
        return False
    defined_in: str = method.__globals__["__name__"]
    return defined_in.partition(".")[0] == package
