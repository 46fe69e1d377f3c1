"""Which engine sends a client's requests: httpx's own transports, or the fast one. It sends nothing."""

import sys
import types
from ssl import SSLContext
from typing import Any, Literal, NamedTuple

from thrive_learning._transport import proxies_from_environment
from thrive_learning.errors import ConfigurationError

#: What a client can be told.
Engine = Literal["auto", "httpx", "fast"]
#: What it then uses.
EngineInUse = Literal["httpx", "fast"]

_INSTALL = "install it with: python3 -m pip install 'thrive-learning[fast]'"

# Where respx and the instrumentations of httpx step in.
_HOOKED_CLASSES = {
    "httpx": ("HTTPTransport", "AsyncHTTPTransport"),
    "httpcore": ("ConnectionPool", "AsyncConnectionPool"),
}
_HOOKED_METHODS = ("handle_request", "handle_async_request")


class Asked(NamedTuple):
    """What the choice depends on.

    Attributes:
        engine: The client's `engine=`.
        transport: Its `transport=`.
        verify: Its `verify=`.
        proxy: Its `proxy=`.
        urls: Where its requests go.
    """

    engine: object
    transport: object
    verify: object
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
    if obstacle is None and asked.engine == "auto" and httpx_is_hooked():
        return "httpx"
    if obstacle is None:
        return "fast"
    if asked.engine == "fast":
        raise ConfigurationError(f"engine='fast' cannot be used: {obstacle}; or pass engine='auto'")
    return "httpx"


def _obstacle(asked: Asked) -> str | None:
    _engine, transport, verify, proxy, urls = asked
    if transport is not None:
        return "transport= brings a transport of its own: leave it out"
    if isinstance(verify, SSLContext):
        return (
            "it takes no ssl.SSLContext: leave out verify=, and name the certificates in SSL_CERT_FILE or "
            "SSL_CERT_DIR"
        )
    ways_out = proxies_from_environment(urls).values() if proxy is None else [proxy]
    if any(isinstance(way_out, str) and way_out.lower().startswith("socks") for way_out in ways_out):
        return "it knows no SOCKS proxies: name one by http:// or https://"
    return _missing()


def _missing() -> str | None:
    try:
        import pycurl  # noqa: PLC0415 - an extra
    except ImportError as error:
        return f"the library that it needs is not there ({error}); {_INSTALL}"
    return unsuitable(pycurl)


def unsuitable(library: Any) -> str | None:
    """Say why an installed pycurl does not do, or give None."""
    if not hasattr(library, "PREREQFUNCTION"):
        return f"{library.version} lacks what it needs; {_INSTALL}"
    if not str(library.version_info()[5]).startswith("OpenSSL"):
        return f"{library.version} does not verify certificates by OpenSSL; {_INSTALL}"
    return None


def httpx_is_hooked() -> bool:
    """Say whether somebody has put something before httpx's transports: a mock, or an instrumentation.

    What they are there for (no network, a trace) is lost on an engine that does not use these.
    """
    for package, names in _HOOKED_CLASSES.items():
        module = sys.modules.get(package)
        if module is not None and any(_is_hooked(getattr(module, name), package) for name in names):
            return True
    return False


def _is_hooked(cls: type, package: str) -> bool:
    found = (vars(cls)[method] for method in _HOOKED_METHODS if method in vars(cls))
    return not all(is_own(method, package) for method in found)


def is_own(method: object, package: str) -> bool:
    """Say whether a method still is the one that its package has defined, and nothing was put before it.

    Its module would not do: a wrapper takes the name of that over from what it wraps.
    """
    if type(method) is not types.FunctionType:
        return False
    defined_in: str = method.__globals__["__name__"]
    return defined_in.partition(".")[0] == package


def loop_obstacle() -> str | None:
    """Say why the fast engine cannot serve the event loop that runs here, or give None."""
    trio, asyncio = sys.modules.get("trio"), sys.modules.get("asyncio")
    if trio is not None and trio.lowlevel.in_trio_run():
        return "it knows asyncio only, and this is trio"
    try:
        loop = asyncio and asyncio.get_running_loop()
    except RuntimeError:
        return None
    if isinstance(loop, getattr(asyncio, "ProactorEventLoop", ())):
        return "it needs an event loop that waits for sockets, which asyncio's ProactorEventLoop does not"
    return None


def on_a_loop_it_lacks(obstacle: str) -> ConfigurationError:
    """Give the error for engine="fast" on an event loop that it cannot serve."""
    return ConfigurationError(f"engine='fast' cannot be used: {obstacle}; pass engine='auto'")
