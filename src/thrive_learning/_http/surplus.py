"""Network streams of httpcore are guarded: none is reused on which more arrived than was requested.

httpcore would take the surplus for the response to the next request, which may be for another record. So each
stream holds back the last byte that it received until it is asked for more: only a response that is not
complete needs that byte. If it is still there afterwards, the stream says that it is readable, and httpcore
closes a connection that is readable while it is idle.
"""

import re
import ssl
from typing import Any, Final

import anyio
import httpcore

from thrive_learning._sockets import Arrivals

#: The clock is read between reads: more bytes at once could hold thousands of tiny chunks to parse.
READ_BYTES: Final = 8_192
# How long what has arrived takes to be read.
_TICKETS_S = 0.001

# anyio's TLS takes up to 65,536 bytes of what has arrived, and may leave the rest where nobody sees it. After
# a response of less than half as many, there is no rest: records are larger than what TLS adds to them.
_SEEN_BYTES = 32_768

_WITHOUT_BRACKETS = re.compile(rb"(CONNECT |\r\nHost: )([0-9A-Fa-f]*:[0-9A-Fa-f:.]*)(?=:\d+[ \r])")


# A response whose length is beyond doubt: the most common one, read without the detour of a byte held back.
_PLAIN = re.compile(
    rb"HTTP/1\.1 200 (?:[^\r\n]*\r\n)+?content-length: (\d{1,9})\r\n(?:[^\r\n]+\r\n)*\r\n", re.IGNORECASE
)


class Guard:
    """Holds back the last byte that arrived, unless it is the only one that was waited for."""

    held = b""
    #: Whether nothing has arrived since the last bytes were sent.
    awaits_head = False

    def expect_head(self, sent: bytes) -> None:
        """Expect the response to what is sent. One to CONNECT has no body, whatever its length says."""
        if sent:  # httpcore sends an empty body as well
            self.awaits_head = not sent.startswith(b"CONNECT ")

    def hold_back(self, data: bytes) -> bytes:
        """Return what is not held back of the bytes that arrived."""
        if len(data) <= 1:
            return data
        if self.awaits_head:
            self.awaits_head = False
            if _is_whole(data):
                return data
        self.held = data[-1:]
        return data[:-1]

    def release(self) -> bytes:
        """Return the byte that is held back."""
        held, self.held = self.held, b""
        return held

    def check(self) -> None:
        """Raise if a proxy sent more than its response before the TLS handshake."""
        if self.held:
            raise httpcore.ConnectError("the proxy sent more than its response")


def _is_whole(data: bytes) -> bool:
    """Return whether bytes are one complete response, without any doubt and without surplus."""
    found = _PLAIN.match(data)
    if found is None or len(data) - found.end() != int(found[1]):
        return False
    head = found[0].lower()
    return head.count(b"content-length") == 1 and b"transfer-encoding" not in head


def corrected(data: bytes) -> bytes:
    """Put the IPv6 address in a CONNECT request into brackets, which httpcore leaves out."""
    return _WITHOUT_BRACKETS.sub(rb"\1[\2]", data) if data.startswith(b"CONNECT ") else data


class AsyncStream(Guard, httpcore.AsyncNetworkStream):
    """An async stream of httpcore's, guarded.

    Args:
        below: The stream.
        tls: Each layer of TLS in it: two, if a proxy speaks TLS itself.
    """

    def __init__(self, below: httpcore.AsyncNetworkStream, tls: tuple[ssl.SSLObject, ...] = ()) -> None:
        self._below = below
        self._tls = tls
        self._arrivals = Arrivals(below.get_extra_info("socket"))
        self._is_used = self._was_full = False
        self._received = 0

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return some bytes; none if the connection has ended."""
        data = self.release()
        if not data:
            most = min(max_bytes, READ_BYTES)
            data = await self._below.read(most, timeout)
            # anyio takes more from asyncio than is asked for, and no poll of the socket sees the rest.
            self._was_full = len(data) == most
            self._received += len(data)
        return self.hold_back(data)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send all bytes."""
        if not self._is_used and self._tls and self._arrivals.wait(0):
            # Behind session tickets there may be the reason why the server has hung up. A write that fails
            # would lose it.
            with anyio.move_on_after(_TICKETS_S):
                self.held = await self._below.read(READ_BYTES, timeout)
        self._is_used = True
        self._received = 0
        self.expect_head(buffer)
        try:
            await self._below.write(corrected(buffer), timeout)
        except anyio.EndOfStream:  # TLS has read that the server hung up, which httpcore does not expect here
            failure = httpcore.WriteError("the server has closed the connection")
        else:
            return
        raise failure

    async def start_tls(self, ssl_context: Any, server_hostname: Any = None, timeout: Any = None) -> Any:
        """Shake hands."""
        self.check()
        below = await self._below.start_tls(ssl_context, server_hostname, timeout)
        return AsyncStream(below, (*self._tls, below.get_extra_info("ssl_object")))

    async def aclose(self) -> None:
        """Close the connection."""
        await self._below.aclose()

    def get_extra_info(self, info: str) -> Any:
        """Return what is known of the connection."""
        if info == "is_readable":
            is_left = bool(self.held) or self._was_full or (self._tls and self._received > _SEEN_BYTES)
            return bool(is_left) or any(map(_holds_data, self._tls)) or self._arrivals.wait(0)
        return self._below.get_extra_info(info)


def _holds_data(tls: ssl.SSLObject) -> bool:
    """Return whether a layer of TLS has received data that nobody has read, or its end."""
    try:
        tls.read(1)  # it has no socket, and never waits
    except ssl.SSLWantReadError:
        return False
    except ssl.SSLError:
        pass
    return True
