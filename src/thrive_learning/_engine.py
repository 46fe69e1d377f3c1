"""Which engine a client has: httpx's own connections, or the fast ones. It sends nothing."""

import types
from typing import Literal, NamedTuple

from thrive_learning._transport import proxies_from_environment
from thrive_learning.errors import ConfigurationError

#: What a client can be told.
Engine = Literal["auto", "httpx", "fast"]
#: What it then uses.
EngineInUse = Literal["httpx", "fast"]

_INSTALL = "install it with: python3 -m pip install 'thrive-learning[fast]'"


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


def choose(asked: Asked) -> EngineInUse:
    """Choose the engine of a client.

    Raises:
        ConfigurationError: There is no such engine, or "fast" was asked for and cannot be had.
    """
    if asked.engine not in {"auto", "httpx", "fast"}:
        raise ConfigurationError(f"engine is {asked.engine!r}: pass 'auto', 'httpx' or 'fast'")
    if asked.engine == "httpx":
        return "httpx"
    obstacle = _obstacle(asked)
    if obstacle is None:
        return "fast"
    if asked.engine == "fast":
        raise ConfigurationError(f"engine='fast' cannot be used: {obstacle}; or pass engine='auto'")
    return "httpx"


def _obstacle(asked: Asked) -> str | None:
    _engine, transport, proxy, urls = asked
    if transport is not None:
        return "transport= brings a transport of its own: leave it out"
    ways_out = proxies_from_environment(urls).values() if proxy is None else [proxy]
    if any(isinstance(way_out, str) and way_out.lower().startswith("socks") for way_out in ways_out):
        return "it knows no SOCKS proxies: name one by http:// or https://"
    return _missing()


def _missing() -> str | None:
    try:
        import httptools  # noqa: PLC0415 - an extra
    except ImportError as error:
        return f"the library that it needs is not there ({error}); {_INSTALL}"
    if not hasattr(httptools.HttpResponseParser, "set_dangerous_leniencies"):
        return f"httptools {httptools.__version__} is too old; {_INSTALL}"
    return None


def is_own(method: object, package: str) -> bool:
    """Say whether a method still is the one that its package has defined, and nothing was put before it.

    Its module would not do: a wrapper takes the name of that over from what it wraps.
    """
    if type(method) is not types.FunctionType:
        return False
    defined_in: str = method.__globals__["__name__"]
    return defined_in.partition(".")[0] == package
