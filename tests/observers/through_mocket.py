"""Read a record from behind mocket, and print its name.

A process of its own, because mocket replaces `socket.socket`, as pytest-socket does.

Args: `httpx.Client`, `httpx`, or `fast`; and `sync`, `asyncio`, or `trio`.
"""

import json
import sys

import anyio
import httpx
from mocket import Mocketizer  # type: ignore[import-untyped]
from mocket.mocks.mockhttp import Entry  # type: ignore[import-untyped]

from thrive_learning import (
    AsyncThriveClient,
    BasicCredentials,
    Region,
    RetryPolicy,
    ThriveClient,
    Timeout,
)

ID = "60d5ec49b60b4b3a2c8f9a10"
# A name, as the regions have, and of this machine, so that nothing leaves it; nobody listens there.
REGION = Region.custom(
    "mocked",
    api_url="https://localhost:9/rest/v1",
    token_url="https://localhost:9/{tenant_id}",
    webhooks_token_url="https://localhost:9/{tenant_id}",
)
RECORD = {"id": ID, "type": "viewed", "user": "a" * 24, "date": "2020-02-12T14:58:23.621Z", "name": "mocked"}
CREDENTIALS = BasicCredentials("tenant", "fake-api-secret")
ONCE = {"timeout": Timeout(total=30, connect=30), "retry": RetryPolicy(attempts=1)}


def read(sender: str) -> str | None:
    if sender == "httpx.Client":
        with httpx.Client() as plain:
            return str(plain.get(f"{REGION.api_url}/activity/{ID}").json()["name"])
    with ThriveClient(REGION, CREDENTIALS, engine=sender, **ONCE) as client:  # type: ignore[arg-type]
        return client.activities.get(ID).name


async def read_async(sender: str) -> str | None:
    if sender == "httpx.Client":
        async with httpx.AsyncClient() as plain:
            return str((await plain.get(f"{REGION.api_url}/activity/{ID}")).json()["name"])
    async with AsyncThriveClient(REGION, CREDENTIALS, engine=sender, **ONCE) as client:  # type: ignore[arg-type]
        return (await client.activities.get(ID)).name


def main(sender: str, runtime: str) -> None:
    with Mocketizer(strict_mode=True):
        url = f"{REGION.api_url}/activity/{ID}"
        Entry.single_register(
            Entry.GET, url, body=json.dumps(RECORD), headers={"Content-Type": "application/json"}
        )
        try:
            name = read(sender) if runtime == "sync" else anyio.run(read_async, sender, backend=runtime)
        except Exception:  # noqa: BLE001 - its sockets fail some libraries in ways of their own
            name = "not mocked"
    print(name)  # noqa: T201 - for the test


if __name__ == "__main__":
    main(*sys.argv[1:])
