"""Validates the hosts of URLs. Pure."""

import ipaddress

_LONGEST_NAME, _LONGEST_LABEL = 253, 63


def is_valid_host(host: str) -> bool:
    """Return whether the host of a URL is valid. A host that ends in a number must be an IPv4 address.

    A name has labels of 1 to 63 characters, 253 in total; one dot may follow the last.

    Args:
        host: A name of ASCII letters, digits, dots, and hyphens, or an address; IPv6 addresses in brackets.

    Source: RFC 3986 section 3.2.2; RFC 1035 section 2.3.4; the WHATWG's URL standard on hosts that
        end in a number.
    """
    try:
        if host.startswith("["):
            ipaddress.IPv6Address(host[1:].removesuffix("]"))
            return host.endswith("]")
        name = host.removesuffix(".")
        if name.rpartition(".")[2].isdigit():
            ipaddress.IPv4Address(name)
    except ValueError:
        return False
    return len(name) <= _LONGEST_NAME and all(0 < len(label) <= _LONGEST_LABEL for label in name.split("."))
