"""The process of one bulk run: `python -m benchmarks.bulk_worker WHO API_URL IDS IN_FLIGHT` prints JSON.

The clock runs from the first ID to the last record. IDs come from an iterator, and records are counted but
not kept, so that only the contender's own memory can grow.
"""

import asyncio
import json
import sys
import time
import urllib.parse
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from benchmarks.contenders import body_length
from benchmarks.ours import our_async_client, our_client
from benchmarks.subject import API_PATH, HEADERS, many_ids


class Count:
    """The outcome for the IDs."""

    def __init__(self) -> None:
        self.records = 0
        self.failures: dict[str, int] = {}

    def add(self, asked: str, found: str | None, error: object) -> None:
        """Count a result: a record with the requested ID, or a failure."""
        if error is None and found == asked:
            self.records += 1
        else:
            name = "another record" if error is None else type(error).__name__
            self.failures[name] = self.failures.get(name, 0) + 1


async def ours(engine: str, api_url: str, ids: int, in_flight: int, count: Count) -> None:
    """Use `AsyncThriveClient.activities.get_many`."""
    async with our_async_client(api_url, engine) as client:
        async for result in client.activities.get_many(many_ids(ids), concurrency=in_flight):
            count.add(result.id, result.activity and result.activity.id, result.error)


def ours_sync(engine: str, api_url: str, ids: int, in_flight: int, count: Count) -> None:
    """Use `ThriveClient.activities.get_many`."""
    with our_client(api_url, engine) as client:
        for result in client.activities.get_many(many_ids(ids), concurrency=in_flight):
            count.add(result.id, result.activity and result.activity.id, result.error)


async def _in_workers(
    ids: int, in_flight: int, count: Count, fetcher: Callable[[], Awaitable[Callable[[str], Awaitable[Any]]]]
) -> None:
    """Share the IDs among workers. `fetcher` returns the function of each worker that gets a record."""
    waiting = many_ids(ids)

    async def work() -> None:
        fetch = await fetcher()
        for activity_id in waiting:
            try:
                record = await fetch(activity_id)
            except Exception as error:  # noqa: BLE001 - it counts as a failure, whatever it is
                count.add(activity_id, None, error)
            else:
                count.add(activity_id, record["id"], None)

    await asyncio.gather(*(work() for _ in range(in_flight)))


async def raw(api_url: str, ids: int, in_flight: int, count: Count) -> None:
    """Use asyncio's streams with one connection per worker, which is the limit."""
    url = urllib.parse.urlsplit(api_url)
    headers = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())

    async def connected() -> Callable[[str], Awaitable[Any]]:
        reader, writer = await asyncio.open_connection(url.hostname, url.port)

        async def fetch(activity_id: str) -> Any:
            target = f"{API_PATH}/activity/{activity_id}"
            writer.write(f"GET {target} HTTP/1.1\r\nHost: {url.netloc}\r\n{headers}\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            return json.loads(await reader.readexactly(body_length(head)))

        return fetch

    await _in_workers(ids, in_flight, count, connected)


async def httpx_workers(api_url: str, ids: int, in_flight: int, count: Count) -> None:
    """Share one default `httpx.AsyncClient` among workers."""
    import httpx

    async with httpx.AsyncClient(headers=HEADERS) as client:

        async def fetch(activity_id: str) -> Any:
            return json.loads((await client.get(f"{api_url}/activity/{activity_id}")).content)

        async def shared() -> Callable[[str], Awaitable[Any]]:
            return fetch

        await _in_workers(ids, in_flight, count, shared)


def peak_rss_bytes() -> int | None:
    """Return this process's peak of resident memory.

    getrusage returns more than that on Linux, where its value begins with the peak of the parent.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    return int(status.read_text(encoding="ascii").split("VmHWM:")[1].split()[0]) * 1024


def main(who: str, api_url: str, ids: int, in_flight: int) -> dict[str, Any]:
    """Run one contender over a number of IDs, and print the outcome."""
    name, _, engine = who.partition(":")
    runs: dict[str, Callable[[Count], Any]] = {
        "raw": lambda count: asyncio.run(raw(api_url, ids, in_flight, count)),
        "httpx": lambda count: asyncio.run(httpx_workers(api_url, ids, in_flight, count)),
        "ours": lambda count: asyncio.run(ours(engine, api_url, ids, in_flight, count)),
        "ours-sync": lambda count: ours_sync(engine, api_url, ids, in_flight, count),
    }
    if name == "httpx":
        import httpx  # noqa: F401 - imports are another measure
    count = Count()
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    runs[name](count)
    return {
        "cpu_s": time.process_time() - cpu_s,
        "wall_s": time.perf_counter() - wall_s,
        "records": count.records,
        "failures": count.failures,
        "peak_rss_bytes": peak_rss_bytes(),
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
