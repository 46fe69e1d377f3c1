"""TLS over any stream, which may itself be TLS with a proxy.

One implementation serves sync code, asyncio, and trio. `ssl.SSLSocket` keeps reading within OpenSSL as long
as the peer sends, beyond any limit. asyncio's own TLS uses 256 KiB per connection, and waits for a silent
server on close.
"""

import ssl
from collections.abc import Callable
from typing import Any, TypeVar

from thrive_learning._budget import Budget
from thrive_learning._http.port import TransportError
from thrive_learning._http_fast.streams import READ_BYTES, Stream, failed

T = TypeVar("T")


class TlsStream(Stream):
    """TLS over a stream. Call `shake_hands` first.

    Args:
        stream: The stream below.
        context: The TLS context.
        host: The name that the certificate must have.
    """

    def __init__(self, stream: Stream, context: ssl.SSLContext, host: str) -> None:
        self._stream = stream
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)

    async def shake_hands(self, budget: Budget, ends: float) -> None:
        """Make the handshake and verify the certificate within one time limit."""
        try:
            await self._move(budget, ends, self._tls.do_handshake)
        except ssl.SSLError as error:
            failure = failed("connect", error)
        except TransportError as error:
            failure = error
            if error.kind != "timeout":
                failure.kind = "connect"
        else:
            return
        raise failure

    async def _move(self, budget: Budget, ends: float | None, step: Callable[..., T], *arguments: Any) -> T:
        """Run a step of TLS, and exchange the bytes that it sends and receives."""
        while True:
            try:
                result, waits = step(*arguments), False
            except ssl.SSLWantReadError:
                result, waits = None, True
            if self._outgoing.pending:
                await self._stream.write(self._outgoing.read(), budget, ends)
            if not waits:
                return result  # type: ignore[return-value]  # it is the result of the step
            data = await self._stream.read(budget, ends)
            if data:
                self._incoming.write(data)
            else:
                self._incoming.write_eof()

    async def read(self, budget: Budget, ends: float | None = None) -> bytes:
        try:
            return await self._move(budget, ends, self._tls.read, READ_BYTES)
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            return b""
        except ssl.SSLError as error:
            failure = failed("read", error)
        raise failure

    async def write(self, data: bytes, budget: Budget, ends: float | None = None) -> None:
        unsent = memoryview(data)
        try:
            while unsent:
                unsent = unsent[await self._move(budget, ends, self._tls.write, unsent) :]
        except ssl.SSLError as error:
            failure = failed("write", error)
        else:
            return
        raise failure

    def is_readable(self) -> bool:
        return bool(self._tls.pending() or self._incoming.pending) or self._stream.is_readable()

    def cut(self) -> None:
        self._stream.cut()

    def close(self) -> None:
        self._stream.close()
