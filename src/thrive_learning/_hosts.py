"""Which hosts of URLs are valid. Pure."""

import ipaddress


def is_valid_host(host: str) -> bool:
    """Return whether the host of a URL is valid; one that ends in a number must be an IPv4 address.

    Args:
        host: A name of ASCII letters, digits, dots, and hyphens, or an address; those of IPv6 in brackets.

    Source: RFC 3986 section 3.2.2; the WHATWG's URL standard on hosts that end in a number.
    """
    try:
        if host.startswith("["):
            ipaddress.IPv6Address(host[1:].removesuffix("]"))
            return host.endswith("]")
        if host.rstrip(".").rpartition(".")[2].isdigit():
            ipaddress.IPv4Address(host.rstrip("."))
    except ValueError:
        return False
    return True
