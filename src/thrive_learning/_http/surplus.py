"""httpcore's network streams, guarded: no connection is reused on which more arrived than was requested.

httpcore would take the surplus for the response to the next request, which may be for another record. So each
stream holds back the last byte that it received until it is asked for more: only a response that is not
complete needs that byte. If it is still there afterwards, the stream says that it is readable, and httpcore
closes a connection that is readable while it is idle.
"""

import re
import ssl
from typing import Any, cast

import httpcore

from thrive_learning._http.deadline import READ_BYTES, BoundedSocket, BoundedTls
from thrive_learning._interruptions import interruption

_TOO_EARLY = "the proxy sent more than its response before the TLS handshake"
_ADDRESSES = {"client_addr": "getsockname", "server_addr": "getpeername"}
_WITHOUT_BRACKETS = re.compile(rb"(CONNECT |\r\nHost: )([0-9A-Fa-f]*:[0-9A-Fa-f:.]*)(?=:\d+[ \r])")


def failure_in(phase: str, error: OSError) -> Exception:
    """Return httpcore's exception for a failure in a phase. A signal handler's is returned unchanged."""
    if interruption(error) is not None:
        return error
    kind: Any = getattr(httpcore, phase + ("Timeout" if isinstance(error, TimeoutError) else "Error"))
    return cast("Exception", kind(error))


class _Guard:
    """What both kinds of stream have in common."""

    held = b""

    def release(self) -> bytes:
        held, self.held = self.held, b""
        return held

    def hold_back(self, data: bytes) -> bytes:
        if len(data) > 1:
            self.held = data[-1:]
            return data[:-1]
        return data


def _corrected(data: bytes) -> bytes:
    """Put an IPv6 address in CONNECT into brackets, which httpcore leaves out."""
    return _WITHOUT_BRACKETS.sub(rb"\1[\2]", data) if data.startswith(b"CONNECT ") else data


class GuardedStream(_Guard, httpcore.NetworkStream):
    """A sync connection whose operations end with the call."""

    def __init__(self, below: BoundedSocket | BoundedTls) -> None:
        self._below = below

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return some bytes; none if the connection has ended."""
        if self.held:
            return self.release()
        try:
            return self.hold_back(self._below.read(min(max_bytes, READ_BYTES), timeout))
        except OSError as error:
            failure = failure_in("Read", error)
        raise failure

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send all bytes."""
        try:
            return self._below.write(_corrected(buffer), timeout)
        except OSError as error:
            failure = failure_in("Write", error)
        raise failure

    def start_tls(self, ssl_context: ssl.SSLContext, server_hostname: Any = None, timeout: Any = None) -> Any:
        """Shake hands."""
        if self.held:
            raise httpcore.ConnectError(_TOO_EARLY)
        try:
            return GuardedStream(BoundedTls(self._below, ssl_context, server_hostname, timeout))
        except OSError as error:
            failure = failure_in("Connect", error)
        raise failure

    def get_extra_info(self, info: str) -> Any:
        """Return what is known of the connection."""
        if info == "is_readable":
            return bool(self.held) or self._below.is_readable()
        if info == "ssl_object":
            return self._below.ssl_object
        sock = self._below.sock
        return getattr(sock, _ADDRESSES[info])() if info in _ADDRESSES else sock

    def close(self) -> None:
        """Close the connection, without a word to the server, which might answer late or never."""
        self._below.sock.close()


class AsyncGuardedStream(_Guard, httpcore.AsyncNetworkStream):
    """An async connection of httpcore's.

    Args:
        below: The connection.
        tls: Each layer of TLS in it: two, if a proxy speaks TLS itself.
    """

    def __init__(self, below: httpcore.AsyncNetworkStream, tls: tuple[ssl.SSLObject, ...] = ()) -> None:
        self._below = below
        self._tls = tls

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return some bytes; none if the connection has ended."""
        if self.held:
            return self.release()
        return self.hold_back(await self._below.read(min(max_bytes, READ_BYTES), timeout))

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send all bytes."""
        await self._below.write(_corrected(buffer), timeout)

    async def start_tls(self, ssl_context: Any, server_hostname: Any = None, timeout: Any = None) -> Any:
        """Shake hands."""
        if self.held:
            raise httpcore.ConnectError(_TOO_EARLY)
        below = await self._below.start_tls(ssl_context, server_hostname, timeout)
        return AsyncGuardedStream(below, (*self._tls, below.get_extra_info("ssl_object")))

    def get_extra_info(self, info: str) -> Any:
        """Return what is known of the connection."""
        if info == "is_readable" and (self.held or any(map(_holds_data, self._tls))):
            return True
        return self._below.get_extra_info(info)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._below.aclose()


def _holds_data(tls: ssl.SSLObject) -> bool:
    """Return whether a layer of TLS has received data that nobody has read, or its end."""
    try:
        tls.read(1)  # it has no socket, and never waits
    except ssl.SSLWantReadError:
        return False
    except ssl.SSLError:
        pass
    return True
