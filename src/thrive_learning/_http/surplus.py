"""Guards httpcore's streams, so that a connection with surplus bytes is not reused.

httpcore would take the surplus for the response to the next request, which may be for another record. So each
stream holds back the last received byte until it is asked for more, because only an incomplete response needs
that byte. If the byte remains, the stream reports that it is readable, and httpcore closes a connection that
is readable while idle.
"""

import re
import ssl
from typing import Any, Final

import anyio
import httpcore

from thrive_learning._sockets import Arrivals

#: The clock is checked between reads. A larger read could hold thousands of tiny chunks to parse.
READ_BYTES: Final = 8_192
# How long it takes to read data that has already arrived, in seconds.
_TICKETS_S = 0.001

# anyio's TLS reads up to 65,536 bytes at once, and may keep some of them out of sight. It keeps none after a
# response of less than half of that, because TLS records are larger than their overhead.
_SEEN_BYTES = 32_768

_WITHOUT_BRACKETS = re.compile(rb"(CONNECT |\r\nHost: )([0-9A-Fa-f]*:[0-9A-Fa-f:.]*)(?=:\d+[ \r])")


# A response whose length is certain. It is the most common kind, and is read without holding back a byte.
_PLAIN = re.compile(
    rb"HTTP/1\.1 200 (?:[^\r\n]*\r\n)+?content-length: (\d{1,9})\r\n(?:[^\r\n]+\r\n)*\r\n", re.IGNORECASE
)


class Guard:
    """Holds back the last byte that arrived, unless it completes a response whose length is certain."""

    held = b""
    #: Whether nothing has arrived since the last bytes were sent.
    awaits_head = False

    def expect_head(self, sent: bytes) -> None:
        """Expect the response to the sent bytes. A response to CONNECT has no body, despite its length."""
        if sent:  # httpcore also sends empty bodies
            self.awaits_head = not sent.startswith(b"CONNECT ")

    def hold_back(self, data: bytes) -> bytes:
        """Return the received bytes except the one that is held back."""
        if len(data) <= 1:
            return data
        if self.awaits_head:
            self.awaits_head = False
            if _is_whole(data):
                return data
        self.held = data[-1:]
        return data[:-1]

    def release(self) -> bytes:
        """Return the byte that was held back."""
        held, self.held = self.held, b""
        return held

    def check(self) -> None:
        """Raise if a proxy sent more than its response before the TLS handshake."""
        if self.held:
            raise httpcore.ConnectError("the proxy sent more than its response")


def _is_whole(data: bytes) -> bool:
    """Return whether bytes are certainly one complete response without surplus."""
    found = _PLAIN.match(data)
    if found is None or len(data) - found.end() != int(found[1]):
        return False
    head = found[0].lower()
    return head.count(b"content-length") == 1 and b"transfer-encoding" not in head


def bracket_ipv6_target(data: bytes) -> bytes:
    """Add the brackets around the IPv6 address in a CONNECT request, which httpcore leaves out."""
    return _WITHOUT_BRACKETS.sub(rb"\1[\2]", data) if data.startswith(b"CONNECT ") else data


class AsyncStream(Guard, httpcore.AsyncNetworkStream):
    """A guarded async stream of httpcore.

    Args:
        below: The stream.
        tls: The TLS layers in it, which are two if a proxy speaks TLS itself.
    """

    def __init__(self, below: httpcore.AsyncNetworkStream, tls: tuple[ssl.SSLObject, ...] = ()) -> None:
        self._below = below
        self._tls = tls
        self._arrivals = Arrivals(below.get_extra_info("socket"))
        self._is_used = self._was_full = False
        self._received = 0

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return some bytes, or no bytes if the connection has ended."""
        data = self.release()
        if not data:
            most = min(max_bytes, READ_BYTES)
            data = await self._below.read(most, timeout)
            # anyio reads more from asyncio than requested, and polling the socket does not see the rest.
            self._was_full = len(data) == most
            self._received += len(data)
        return self.hold_back(data)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send all bytes."""
        if not self._is_used and self._tls and self._arrivals.wait(0):
            # Session tickets may be followed by the reason why the server closed the connection. A failed
            # write would lose it.
            with anyio.move_on_after(_TICKETS_S):
                self.held = await self._below.read(READ_BYTES, timeout)
        self._is_used = True
        self._received = 0
        self.expect_head(buffer)
        try:
            await self._below.write(bracket_ipv6_target(buffer), timeout)
        except anyio.EndOfStream:  # the server closed TLS, which httpcore does not expect here
            failure = httpcore.WriteError("the server has closed the connection")
        else:
            return
        raise failure

    async def start_tls(self, ssl_context: Any, server_hostname: Any = None, timeout: Any = None) -> Any:
        """Make a TLS handshake."""
        self.check()
        below = await self._below.start_tls(ssl_context, server_hostname, timeout)
        return AsyncStream(below, (*self._tls, below.get_extra_info("ssl_object")))

    async def aclose(self) -> None:
        """Close the connection."""
        await self._below.aclose()

    def get_extra_info(self, info: str) -> Any:
        """Return information about the connection."""
        if info == "is_readable":
            is_left = bool(self.held) or self._was_full or (self._tls and self._received > _SEEN_BYTES)
            return bool(is_left) or any(map(_holds_data, self._tls)) or self._arrivals.wait(0)
        return self._below.get_extra_info(info)


def _holds_data(tls: ssl.SSLObject) -> bool:
    """Return whether a TLS layer has unread data, or has received its end."""
    try:
        tls.read(1)  # it has no socket and never blocks
    except ssl.SSLWantReadError:
        return False
    except ssl.SSLError:
        pass
    return True
