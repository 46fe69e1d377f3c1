"""Which hosts a request may name, so that a web page cannot reach the sandbox by DNS rebinding. Pure.

If a page on `http://evil.example` makes its name resolve to 127.0.0.1, the browser considers the sandbox to
be the same origin, but still sends `Host: evil.example`.

Source:
    RFC 9110, sections 7.2 and 15.5.20; RFC 9112, section 3.2
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import NamedTuple

_LOCALHOST = frozenset({"localhost", "127.0.0.1", "::1"})
# A target in absolute form: its host and port, and the rest.
_ABSOLUTE = re.compile(r"https?://([^/?]*)(.*)", re.IGNORECASE | re.DOTALL)
# A host, in brackets if it is an IPv6 address, and a port, which is ignored.
_AUTHORITY = re.compile(r"(?:\[([^\]]+)\]|([^\[:][^:]*))(?::\d{0,5})?", re.ASCII)
_LONGEST_SHOWN = 80


class HostProblem(NamedTuple):
    """Why a request is rejected.

    Attributes:
        status: 400 if the host is missing or not valid; 421 if it is another host.
        message: What is wrong, and what to do.
    """

    status: int
    message: str


class OwnHosts:
    """The hosts that a server accepts: localhost, the address that it is bound to, and allowed names.

    A server that is bound to all addresses (0.0.0.0 or ::) also accepts any IP address, because DNS rebinding
    needs a name.

    Args:
        bound: The names and addresses that the server is bound to.
        allowed: Other names and addresses, such as the name of a container.
    """

    def __init__(self, bound: Iterable[str], allowed: Iterable[str] = ()) -> None:
        hosts = {_normalized(host) for host in (*bound, *allowed)}
        self._hosts: frozenset[str] = _LOCALHOST | hosts
        addresses = [address for host in hosts if (address := _address(host)) is not None]
        self._has_any_address = any(address.is_unspecified for address in addresses)

    def problem(self, fields: Sequence[str], target: str) -> HostProblem | None:
        """Return why a request must be rejected, or None.

        Args:
            fields: The values of all `Host` fields of the request.
            target: The target of the request. In absolute form, it contains a host too.
        """
        if len(fields) != 1:
            return HostProblem(
                HTTPStatus.BAD_REQUEST, f"The request must have one Host header, but has {len(fields)}"
            )
        named = _ABSOLUTE.fullmatch(target)
        authorities = [fields[0], *([named[1]] if named else [])]
        return next(filter(None, map(self._problem_of, authorities)), None)

    def _problem_of(self, authority: str) -> HostProblem | None:
        host = _host_of(authority.strip(" \t"))
        shown = repr(authority[:_LONGEST_SHOWN])
        if host is None:
            return HostProblem(HTTPStatus.BAD_REQUEST, f"The host {shown} is not a valid host and port")
        if host in self._hosts or (self._has_any_address and _address(host) is not None):
            return None
        return HostProblem(
            HTTPStatus.MISDIRECTED_REQUEST,
            f"This sandbox does not accept the host {shown}. "
            "Use localhost or the address that it printed at startup, or add the host with --allow-host",
        )


def in_origin_form(target: str) -> str:
    """Return a target without a scheme and host."""
    named = _ABSOLUTE.fullmatch(target)
    if named is None:
        return target
    return named[2] if named[2].startswith("/") else f"/{named[2]}"


def _host_of(authority: str) -> str | None:
    """Return the normalized host of an authority; None if the authority is not valid."""
    found = _AUTHORITY.fullmatch(authority)
    if found is None:
        return None
    in_brackets, name = found.groups()
    if in_brackets is None:
        return _normalized(name) or None
    return _normalized(in_brackets) if ":" in in_brackets and _address(in_brackets) else None


def _normalized(host: str) -> str:
    """Return a host in its normalized form, in which hosts are compared."""
    address = _address(host)
    return host.lower().removesuffix(".") if address is None else str(address)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        # Without the zone of an IPv6 address, which is local to the client.
        address = ipaddress.ip_address(host.partition("%")[0] if ":" in host else host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
