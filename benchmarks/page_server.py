"""A server of many records by time, which costs so little that clients are the bottleneck.

`python -m benchmarks.page_server RECORDS` prints its port and serves until its stdin ends. The records are
evenly spread over time, and are built as one large text, newest first. A page of any window is a slice of it.
As in the sandbox, both ends of a window are exclusive, and other filters are not supported. `/status` reports
the requests so far and the CPU time of the server as JSON.
"""

import array
import asyncio
import collections
import datetime as dt
import functools
import json
import re
import socket
import sys
import time
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple
from urllib.parse import parse_qsl

from benchmarks.subject import API_PATH, STATUS_PATH, TOKEN_ANSWER, TOKEN_PATH
from thrive_learning.sandbox.generation import CYCLE, made_record

#: The time of the first record, and the interval between two records: not whole seconds, so that no record is
#: at an end of a window.
FIRST = dt.datetime(2026, 1, 1, 0, 0, 0, 500_000, tzinfo=dt.UTC)
INTERVAL_MS = 7_000
_FIRST_MS = int(FIRST.timestamp() * 1000)
_ID, _DATE = "0" * 24, "2000-01-01T00:00:00.000Z"
_DATE_MS = int(dt.datetime.fromisoformat(_DATE).timestamp() * 1000)
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_EXTRA_S = dt.timedelta(seconds=1)


def window(records: int) -> tuple[dt.datetime, dt.datetime]:
    """Return a window in whole seconds that contains this number of records."""
    since = FIRST.replace(microsecond=0)
    return since, since + dt.timedelta(milliseconds=INTERVAL_MS) * (records - 1) + _EXTRA_S


def record_id(number: int) -> str:
    """Return the ID of a record by its number from 0, the oldest."""
    return f"{number:024x}"


class Store(NamedTuple):
    """All records as one text, the newest first.

    Attributes:
        text: The records, with a comma after each.
        starts: The position of each record, and the end of the text.
    """

    text: memoryview
    starts: "array.array[int]"

    @classmethod
    def of(cls, records: int) -> "Store":
        """Build the text. Only ID and date differ between the records of every thousandth number."""
        forms: list[tuple[bytes, bytes, bytes]] = []
        for number in range(1, CYCLE + 1):
            text = json.dumps(made_record(_ID, number, _DATE_MS), separators=(",", ":"), ensure_ascii=False)
            before, _, rest = text.encode().partition(_ID.encode())
            between, _, after = rest.partition(_DATE.encode())
            forms.append((before, between, after + b","))
        joined, starts = bytearray(), array.array("Q", [0])
        for number in reversed(range(records)):
            before, between, after = forms[number % CYCLE]
            joined += before + record_id(number).encode() + between + _date(number) + after
            starts.append(len(joined))
        return cls(memoryview(bytes(joined)), starts)

    @property
    def records(self) -> int:
        """The number of records."""
        return len(self.starts) - 1

    def page(self, query: Mapping[str, str]) -> tuple[bytes, memoryview, bytes]:
        """Return the response to a list request, in parts that need no copy of the records."""
        number, size = int(query.get("page", "1")), int(query.get("perPage", "20"))
        first = _first_after(query["timestampFrom"]) if "timestampFrom" in query else 0
        end = _first_from(query["timestampTo"]) if "timestampTo" in query else self.records
        first, end = max(first, 0), max(min(end, self.records), 0)
        total = max(end - first, 0)
        begin = self.records - end + min((number - 1) * size, total)
        stop = self.records - end + min(number * size, total)
        listed = self.text[self.starts[begin] : max(self.starts[stop] - 1, self.starts[begin])]
        pagination = (
            f'{{"pagination":{{"totalResults":{total},"totalPages":{-(-total // size)},"page":{number},'
            f'"perPage":{size}}},"results":['
        ).encode()
        return _head(len(pagination) + len(listed) + 2) + pagination, listed, b"]}"


def _date(number: int) -> bytes:
    seconds, milliseconds = divmod(_FIRST_MS + number * INTERVAL_MS, 1000)
    return b"%s.%03dZ" % (_second(seconds), milliseconds)


@functools.lru_cache(maxsize=1)
def _day(days: int) -> str:
    return dt.datetime.fromtimestamp(days * 86_400, dt.UTC).date().isoformat()


def _second(seconds: int) -> bytes:
    days, rest = divmod(seconds, 86_400)
    return f"{_day(days)}T{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}".encode()


def _milliseconds(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC).timestamp() * 1000) - _FIRST_MS


def _first_after(text: str) -> int:
    """Return the number of the first record after a moment."""
    return _milliseconds(text) // INTERVAL_MS + 1


def _first_from(text: str) -> int:
    """Return the number of the first record at or after a moment."""
    return -(-_milliseconds(text) // INTERVAL_MS)


def _head(length: int, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n".encode()


def _answer(document: Any, status: str = "200 OK") -> bytes:
    body = json.dumps(document).encode()
    return _head(len(body), status) + body


_TOKEN = _head(len(TOKEN_ANSWER)) + TOKEN_ANSWER.encode()


class Connection(asyncio.Protocol):
    """One connection, with one request at a time."""

    counts: ClassVar[collections.Counter[str]] = collections.Counter()

    def __init__(self, store: Store) -> None:
        self._store = store
        self._received = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count it."""
        self.counts["connections"] += 1
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - TCP gives no other
        self._transport = transport
        # asyncio does this only for sockets whose protocol is named. Without it, the end of a short response
        # waits for the client's delayed acknowledgment, 40 ms.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        """Respond to a request that has arrived completely."""
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not end or (length is not None and len(body) < int(length[1])):
            return
        path, _, query = head.split(b" ", 2)[1].decode("ascii").partition("?")
        self._received = b""
        if path == f"{API_PATH}/activities":
            asked = dict(parse_qsl(query))
            self.counts["counts" if asked.get("perPage") == "1" else "pages"] += 1
            for part in self._store.page(asked):
                self._transport.write(part)
        elif path.startswith(TOKEN_PATH):
            self.counts["tokens"] += 1
            self._transport.write(_TOKEN)
        elif path == STATUS_PATH:
            self._transport.write(_answer({**self.counts, "cpu_s": time.process_time()}))
        else:
            self.counts["others"] += 1
            self._transport.write(_answer({"message": "not found"}, "404 Not Found"))


async def serve(records: int) -> None:
    """Serve until stdin ends."""
    loop = asyncio.get_running_loop()
    store = Store.of(records)
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    async with await loop.create_server(functools.partial(Connection, store), sock=listener):
        print(listener.getsockname()[1], flush=True)
        await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
