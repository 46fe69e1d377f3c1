"""Chooses the proxy of each server, from `proxy=` or from the environment."""

import base64
import contextlib
import ipaddress
import os
import re
import urllib.parse
import urllib.request
from collections.abc import Iterable
from typing import NamedTuple, TypeVar

from thrive_learning._hosts import is_valid_host
from thrive_learning.errors import ConfigurationError

#: The scheme, host, and port of a server.
ServerT = TypeVar("ServerT", bound=tuple[str, str, int])

_SCHEMES = ("http", "https", "socks5", "socks5h")
_NETLOC = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::(\d+))?", re.ASCII)
_INVISIBLE = re.compile(r"[\x00-\x20\x7f]")
# A name in NO_PROXY, or an IPv6 address with a port. Other addresses and networks are parsed separately.
_EXEMPTION = re.compile(r"(?:\*?\.)?([\w-]+(?:\.[\w-]+)*|\[[0-9a-f:.]+\])(?::(\d+))?", re.ASCII)


class Route(NamedTuple):
    """The way requests to a host leave this machine.

    Attributes:
        proxy: The URL of the proxy without user name and password; None for a direct connection.
        setting: The setting that names the proxy, such as `HTTPS_PROXY`.
        has_credentials: Whether the proxy's URL has a user name.
    """

    proxy: str | None = None
    setting: str = ""
    has_credentials: bool = False

    def __str__(self) -> str:
        return f"{self.proxy} (from {self.setting})"


def choose_proxies(servers: Iterable[ServerT], proxy: object) -> dict[ServerT, str | None]:
    """Return the URL of the proxy for each server, None to connect directly.

    Args:
        servers: The servers.
        proxy: The URL of a proxy for all servers; None uses the environment. Servers with plain HTTP, which
            are on loopback hosts, never get a proxy, because it would read the credentials.

    Raises:
        ConfigurationError: A URL of a proxy, or an entry of `NO_PROXY`, is not valid.
    """
    chosen = dict[ServerT, str | None]()
    if proxy is None:
        chosen = _of_environment(servers)
    elif not isinstance(proxy, str):
        raise ConfigurationError(f"proxy= is of type {type(proxy).__name__}. Pass the URL of the proxy.")
    else:
        chosen = chosen | dict.fromkeys(servers, proxy)
        if any(scheme == "http" for scheme, _host, _port in chosen):
            raise ConfigurationError(
                "proxy= works only with HTTPS, because a proxy would read the credentials of plain HTTP. "
                "Leave out proxy=."
            )
    for url in chosen.values():
        problem = None if url is None else _problem(url)
        if problem is not None:
            raise ConfigurationError(
                f"The proxy URL {_shown(str(url))!r} (from {_setting(proxy)}) {problem}. Write it as "
                "http://host:port, or http://user:password@host:port with special characters percent-encoded."
            )
    return chosen


def route_through(url: str | None, proxy: object) -> Route:
    """Describe the route through a proxy.

    Args:
        url: The URL of the proxy, None to connect directly.
        proxy: The value of `proxy=`.
    """
    if url is None:
        return Route()
    return Route(show_proxy(url), _setting(proxy), has_credentials=bool(proxy_secrets(url)))


def show_proxy(url: str) -> str:
    """Return the URL of a proxy without user name and password."""
    parts = urllib.parse.urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def proxy_secrets(url: str) -> tuple[str, ...]:
    """Return the secrets in a proxy's URL, in the form in which the proxy could repeat them."""
    userinfo = urllib.parse.urlsplit(url).netloc.rpartition("@")[0]
    if not userinfo:
        return ()
    user, _, password = map(urllib.parse.unquote, userinfo.partition(":"))
    pair = base64.b64encode(f"{user}:{password}".encode()).decode("ascii")
    return tuple(secret for secret in (pair, userinfo, password, user) if secret)


def _of_environment(servers: Iterable[ServerT]) -> dict[ServerT, str | None]:
    """Return the proxies of all servers with one look at the environment, which is expensive."""
    proxies = urllib.request.getproxies()
    chosen = dict[ServerT, str | None]()
    for server in servers:
        scheme, host, port = server
        url = proxies.get(scheme) or proxies.get("all")
        if not url or scheme == "http" or _is_exempt(proxies.get("no"), host, port):
            chosen[server] = None
        else:
            chosen[server] = url if "://" in url else f"http://{url}"
    return chosen


def _is_exempt(no_proxy: str | None, host: str, port: int) -> bool:
    if no_proxy is None:  # the settings of Windows and macOS have another format
        return bool(urllib.request.proxy_bypass(f"[{host}]:{port}" if ":" in host else f"{host}:{port}"))
    entries = [entry.strip().lower() for entry in no_proxy.split(",") if entry.strip()]
    return any([_matches(entry, host, port) for entry in entries])  # noqa: C419 - each entry must be checked


def _matches(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    with contextlib.suppress(ValueError):
        bare = entry[1:-1] if entry[0] + entry[-1] == "[]" else entry
        network = ipaddress.ip_network(bare, strict=False)
        with contextlib.suppress(ValueError):
            return ipaddress.ip_address(host) in network
        return False
    found = _EXEMPTION.fullmatch(entry)
    if found is None:
        raise ConfigurationError(
            f"NO_PROXY has the entry {entry!r}, which is not recognized. Write host names, addresses, or "
            "networks, such as example.org, *.example.org, example.org:8443, ::1, or 10.0.0.0/8."
        )
    name = found[1].strip("[]")
    return found[2] in {None, str(port)} and (host == name or host.endswith(f".{name}"))


def _problem(url: str) -> str | None:
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:
        parts = None
    if parts is None or _INVISIBLE.search(url):  # unlike httpx, Python's parser ignores some of them
        return "is not a URL of visible characters"
    found = _NETLOC.fullmatch(parts.netloc.rpartition("@")[2])
    if parts.scheme not in _SCHEMES:
        return f"does not begin with {', '.join(f'{scheme}://' for scheme in _SCHEMES[:-1])}, or socks5h://"
    if not parts.hostname:
        return "has no host"
    if found is None or "@" in url.partition(parts.netloc)[2] or not is_valid_host(found[1]):
        return "has an invalid host or port"
    if found[2] is not None and not 0 < int(found[2]) < 65536:  # noqa: PLR2004 - ports have 16 bits
        return "has a port outside 1 to 65535"
    return None


def _setting(proxy: object) -> str:
    if proxy is not None:
        return "proxy="
    names = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")  # the order in which Python looks
    return next((name for name in names if os.environ.get(name)), "the proxy settings of this machine")


def _shown(url: str) -> str:
    """Return an invalid URL without anything that may be a user name or a password."""
    scheme, separator, rest = url.partition("://") if "://" in url else ("", "", url)
    host, colon, port = rest.rpartition("@")[2].partition(":")
    is_shown = not colon or "[" in host or port.rstrip("/").isdigit()
    return f"{scheme}{separator}{f'{host}{colon}{port}' if is_shown else '…'}"
