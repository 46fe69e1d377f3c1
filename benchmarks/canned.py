"""Warm gets without a network: `python -m benchmarks.canned WHO CALLS`, for counting instructions.

The record comes out of a transport in this process, so that what is counted is what lies above one: ours, or
httpx's own client.
"""

import asyncio
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


class Canned(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Answers everything with the record."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:  # noqa: ARG002 - httpx names it
        """Give the record."""
        return httpx.Response(200, headers=_HEADERS, stream=httpx.ByteStream(_BODY))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:  # noqa: ARG002 - httpx names it
        """Give the record."""
        return httpx.Response(200, headers=_HEADERS, stream=httpx.ByteStream(_BODY))


def _region() -> Any:
    from thrive_learning import Region

    tokens = "http://127.0.0.1:1/token/{tenant_id}"
    return Region.custom("canned", api_url=_API_URL, token_url=tokens, webhooks_token_url=tokens)


def ours(calls: int) -> object:
    """`ThriveClient.activities.get`."""
    from thrive_learning import BasicCredentials, ThriveClient

    with ThriveClient(_region(), BasicCredentials(TENANT, SECRET), transport=Canned()) as client:
        found = client.activities.get(ACTIVITY_ID)
        for _ in range(calls):
            client.activities.get(ACTIVITY_ID)
    return found


def ours_async(calls: int) -> object:
    """`AsyncThriveClient.activities.get` on asyncio."""
    from thrive_learning import AsyncThriveClient, BasicCredentials

    async def run() -> object:
        credentials = BasicCredentials(TENANT, SECRET)
        async with AsyncThriveClient(_region(), credentials, transport=Canned()) as client:
            found = await client.activities.get(ACTIVITY_ID)
            for _ in range(calls):
                await client.activities.get(ACTIVITY_ID)
        return found

    return asyncio.run(run())


def bare_httpx(calls: int) -> object:
    """`httpx.Client.get` and `json.loads`, to compare with."""
    url = f"{_API_URL}/activity/{ACTIVITY_ID}"
    with httpx.Client(headers=HEADERS, transport=Canned()) as client:
        found = json.loads(client.get(url).content)
        for _ in range(calls):
            json.loads(client.get(url).content)
    return found


RUNS: dict[str, Callable[[int], object]] = {
    "sync": ours,
    "async": ours_async,
    "bare httpx": bare_httpx,
}

if __name__ == "__main__":
    if problem := mismatch(RUNS[sys.argv[1]](int(sys.argv[2]))):
        sys.exit(problem)
