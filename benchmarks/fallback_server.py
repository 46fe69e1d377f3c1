"""A raw HTTP/1.1 server on one event loop, for machines without nginx and for responses that take time.

`python -m benchmarks.fallback_server [LATENCY_S]` prints its port and serves until its stdin ends.
It parses only the path and the end of a request, so it is faster than most clients here. It counts
connections and requests, and `/status` reports them like nginx's stub_status.
"""

import asyncio
import functools
import re
import socket
import sys

from benchmarks.subject import (
    AFTER_ID,
    API_PATH,
    BEFORE_ID,
    PAGES,
    STATUS_PATH,
    TOKEN_ANSWER,
    TOKEN_PATH,
    page_text,
)

_ACTIVITY = f"{API_PATH}/activity/".encode()
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_PAGE = re.compile(rf"{API_PATH}/activities\?(?:.*&)?page=([1-{PAGES}])(?:&|\Z)".encode())
_ID_LENGTH = 24


def _answer(body: bytes, status: bytes = b"200 OK", content_type: bytes = b"application/json") -> bytes:
    head = b"HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n"
    return head % (status, content_type, len(body)) + body


_RECORD_HEAD, _RECORD_TAIL = _answer((BEFORE_ID + "0" * _ID_LENGTH + AFTER_ID).encode()).split(b"0" * 24)
_TOKEN = _answer(TOKEN_ANSWER.encode())
_NOT_FOUND = _answer(b'{"message":"not found"}', b"404 Not Found")


@functools.cache
def _page(number: int) -> bytes:
    return _answer(page_text(number).encode())


class Connection(asyncio.Protocol):
    """One connection. Its requests may be pipelined, and are answered in order."""

    opened = 0
    requests = 0

    def __init__(self, latency_s: float) -> None:
        self._latency_s = latency_s
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count it."""
        Connection.opened += 1
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - TCP gives no other
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio names it
        """Forget the transport, so that pending responses are discarded."""
        self._transport = None

    def data_received(self, data: bytes) -> None:
        """Respond to each complete request that has arrived."""
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[:end]
            length = _LENGTH.search(head)
            end += 4 + (int(length[1]) if length else 0)
            if len(self._received) < end:
                return
            self._received = self._received[end:]
            Connection.requests += 1
            reply = functools.partial(self._write, self._respond(head.split(b" ", 2)[1]))
            if self._latency_s:
                asyncio.get_running_loop().call_later(self._latency_s, reply)
            else:
                reply()

    def _respond(self, path: bytes) -> bytes:
        if path.startswith(_ACTIVITY):
            return _RECORD_HEAD + path[len(_ACTIVITY) :] + _RECORD_TAIL
        if page := _PAGE.match(path):
            return _page(int(page[1]))
        if path.startswith(TOKEN_PATH.encode()):
            return _TOKEN
        if path == STATUS_PATH.encode():
            counts = f"server accepts handled requests\n {self.opened} {self.opened} {self.requests} \n"
            return _answer(counts.encode(), content_type=b"text/plain")
        return _NOT_FOUND

    def _write(self, answer: bytes) -> None:
        if self._transport is not None:
            self._transport.write(answer)


async def serve(latency_s: float) -> None:
    """Serve until stdin ends."""
    loop = asyncio.get_running_loop()
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    async with await loop.create_server(
        functools.partial(Connection, latency_s), sock=listener, backlog=4096
    ):
        print(listener.getsockname()[1], flush=True)
        await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1]) if len(sys.argv) > 1 else 0.0))
