"""Warm gets without a network: `python -m benchmarks.canned WHO CALLS`, for counting instructions.

The record comes from a transport in this process, so that only the code above a transport is counted: ours,
or httpx's own client. With the fast engine, it comes from a connection, so that pool and parser count as
well.
"""

import asyncio
import gc
import json
import sys
from collections.abc import Callable
from typing import Any

import httpx

from benchmarks.subject import ACTIVITY_ID, HEADERS, RECORD, SECRET, TENANT, mismatch

_API_URL = "http://127.0.0.1:1/rest/v1"
_BODY = json.dumps(RECORD, separators=(",", ":")).encode()
_HEADERS = [
    (b"Content-Type", b"application/json"),
    (b"Content-Length", str(len(_BODY)).encode()),
]


_WIRE = b"HTTP/1.1 200 OK\r\n" + b"".join(name + b": " + value + b"\r\n" for name, value in _HEADERS)
_WIRE += b"\r\n" + _BODY


class CannedStream:
    """A connection of the fast engine, sync or async, that responds to every request with the record."""

    async def write(self, data: bytes, budget: object, ends: float | None = None) -> None:
        """Accept a request."""

    async def read(self, _budget: object, _ends: float | None = None) -> bytes:
        """Return the record."""
        return _WIRE

    def is_readable(self) -> bool:
        """Return False, because no surplus data has arrived."""
        return False

    def cut(self) -> None:
        """Do nothing, because no caller waits."""

    def close(self) -> None:
        """Do nothing, because nothing is open."""


class Canned(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Responds to every request with the record."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:  # noqa: ARG002 - httpx names it
        """Return the record."""
        return httpx.Response(200, headers=_HEADERS, stream=httpx.ByteStream(_BODY))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:  # noqa: ARG002 - httpx names it
        """Return the record."""
        return httpx.Response(200, headers=_HEADERS, stream=httpx.ByteStream(_BODY))


def _region() -> Any:
    from thrive_learning import Region

    tokens = "http://127.0.0.1:1/token/{tenant_id}"
    return Region.custom("canned", api_url=_API_URL, token_url=tokens, webhooks_token_url=tokens)


def _exclude_existing_objects() -> None:
    # To scan them costs as much as many calls, and falls on some runs but not on others.
    gc.collect()
    gc.freeze()


def ours(calls: int, **options: Any) -> object:
    """Use `ThriveClient.activities.get`."""
    from thrive_learning import BasicCredentials, ThriveClient

    options = options or {"transport": Canned()}
    with ThriveClient(_region(), BasicCredentials(TENANT, SECRET), **options) as client:
        found = client.activities.get(ACTIVITY_ID)
        _exclude_existing_objects()
        for _ in range(calls):
            client.activities.get(ACTIVITY_ID)
    return found


def ours_async(calls: int, **options: Any) -> object:
    """Use `AsyncThriveClient.activities.get` on asyncio."""
    from thrive_learning import AsyncThriveClient, BasicCredentials

    options = options or {"transport": Canned()}

    async def run() -> object:
        credentials = BasicCredentials(TENANT, SECRET)
        async with AsyncThriveClient(_region(), credentials, **options) as client:
            found = await client.activities.get(ACTIVITY_ID)
            _exclude_existing_objects()
            for _ in range(calls):
                await client.activities.get(ACTIVITY_ID)
        return found

    return asyncio.run(run())


def _connect_to_the_record() -> None:
    from thrive_learning._http_fast import async_connect, sockets

    async def connect(*_arguments: object) -> CannedStream:
        return CannedStream()

    replaced: list[Any] = [sockets, async_connect]
    for module in replaced:
        module.connect = connect


def ours_fast(calls: int) -> object:
    """Use `ThriveClient.activities.get` on the fast engine, down to the connection."""
    _connect_to_the_record()
    return ours(calls, engine="fast")


def ours_async_fast(calls: int) -> object:
    """Use `AsyncThriveClient.activities.get` on the fast engine, down to the connection."""
    _connect_to_the_record()
    return ours_async(calls, engine="fast")


def _unreached_limit() -> Any:
    from thrive_learning import RateLimit

    return RateLimit(per_second=1_000_000)


def ours_limited(calls: int) -> object:
    """Use `ThriveClient.activities.get` with a rate limit that is not reached."""
    return ours(calls, transport=Canned(), rate_limit=_unreached_limit())


def ours_async_limited(calls: int) -> object:
    """Use `AsyncThriveClient.activities.get` with a rate limit that is not reached."""
    return ours_async(calls, transport=Canned(), rate_limit=_unreached_limit())


def bare_httpx(calls: int) -> object:
    """Use `httpx.Client.get` and `json.loads`, for comparison."""
    url = f"{_API_URL}/activity/{ACTIVITY_ID}"
    with httpx.Client(headers=HEADERS, transport=Canned()) as client:
        found = json.loads(client.get(url).content)
        _exclude_existing_objects()
        for _ in range(calls):
            json.loads(client.get(url).content)
    return found


RUNS: dict[str, Callable[[int], object]] = {
    "sync": ours,
    "async": ours_async,
    "sync, engine fast": ours_fast,
    "async, engine fast": ours_async_fast,
    "sync, rate limit": ours_limited,
    "async, rate limit": ours_async_limited,
    "bare httpx": bare_httpx,
}

if __name__ == "__main__":
    if problem := mismatch(RUNS[sys.argv[1]](int(sys.argv[2]))):
        sys.exit(problem)
