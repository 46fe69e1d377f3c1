"""The contenders of a warm `get`, which fetch the same record, each as its documentation recommends.

Each has one client with default settings, created once, and does not import the others. Its result is
compared with the record before anything is measured (`subject.mismatch`).
"""

import asyncio
import json
import socket
import urllib.parse
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from benchmarks import ours
from benchmarks.subject import ACTIVITY_ID, HEADERS, PER_PAGE, SECRET, TENANT

Get = Callable[[], Any]
AsyncGet = Callable[[], Awaitable[Any]]

#: The folder in which `peers.generated_client` puts the output of openapi-generator.
GENERATED_PEER = "thrive_openapi_generator"
UNIT, ASYNC_UNIT = "httpx.Client.get + json.loads", "httpx.AsyncClient.get + json.loads"
OURS, OURS_FAST = "ours, engine httpx", "ours, engine fast"
OURS_OAUTH = "ours, engine httpx, OAuth"


class Contender(NamedTuple):
    """A client that fetches the record.

    Attributes:
        name: The name in the table.
        kind: `limit` (a lower bound), `bare` (an HTTP library by hand), `ours`, or `peer` (an SDK).
        build: Creates the client for the API's URL, and returns the function that is measured. A coroutine
            function is called in a running event loop.
    """

    name: str
    kind: str
    build: Callable[[str], Any]


# Limits: no HTTP library does less


def _prebuilt(api_url: str) -> tuple[tuple[str, int], bytes]:
    url = urllib.parse.urlsplit(f"{api_url}/activity/{ACTIVITY_ID}")
    assert url.hostname  # noqa: S101 - this is ours
    assert url.port  # noqa: S101
    lines = [f"GET {url.path} HTTP/1.1", f"Host: {url.netloc}", *(f"{k}: {v}" for k, v in HEADERS.items())]
    return (url.hostname, url.port), "\r\n".join([*lines, "", ""]).encode()


def body_length(head: bytes) -> int:
    """Return Content-Length from the head of a response, in any case."""
    return int(head.lower().split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])


def raw_socket(api_url: str) -> Get:
    """Send constant bytes on a socket, and read only the length of the response."""
    address, request = _prebuilt(api_url)
    connection = socket.create_connection(address)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def get() -> Any:
        connection.sendall(request)
        received = connection.recv(65536)
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += connection.recv(65536)
        whole = end + 4 + body_length(received[:end])
        while len(received) < whole:
            received += connection.recv(65536)
        return json.loads(received[end + 4 :])

    return get


def raw_streams(api_url: str) -> AsyncGet:
    """Do the same on asyncio's streams."""
    address, request = _prebuilt(api_url)
    streams: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def get() -> Any:
        if not streams:
            streams.append(await asyncio.open_connection(*address))
        reader, writer = streams[0]
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        return json.loads(await reader.readexactly(body_length(head)))

    return get


def httpx_transport(api_url: str) -> Get:
    """Send one prebuilt request through httpx's transport, which is the minimum for an SDK on httpx."""
    import httpx

    transport = httpx.HTTPTransport()
    request = httpx.Request("GET", f"{api_url}/activity/{ACTIVITY_ID}", headers=HEADERS)
    return lambda: json.loads(transport.handle_request(request).read())


def httpx_async_transport(api_url: str) -> AsyncGet:
    """Do the same in async code."""
    import httpx

    transport = httpx.AsyncHTTPTransport()
    request = httpx.Request("GET", f"{api_url}/activity/{ACTIVITY_ID}", headers=HEADERS)

    async def get() -> Any:
        return json.loads(await (await transport.handle_async_request(request)).aread())

    return get


# HTTP libraries by hand


def httpx_client(api_url: str) -> Get:
    """Send the unit of comparison in its cheapest form: whole URL, fixed headers, body parsed from bytes."""
    import httpx

    client = httpx.Client(headers=HEADERS)
    return lambda: json.loads(client.get(f"{api_url}/activity/{ACTIVITY_ID}").content)


def httpx_client_as_written(api_url: str) -> Get:
    """Use httpx as most people do: base_url, auth, raise_for_status, json."""
    import httpx

    client = httpx.Client(base_url=api_url, auth=(TENANT, SECRET))
    return lambda: client.get(f"/activity/{ACTIVITY_ID}").raise_for_status().json()


def httpx_async_client(api_url: str) -> AsyncGet:
    """Send the unit of async code in its cheapest form."""
    import httpx

    client = httpx.AsyncClient(headers=HEADERS)

    async def get() -> Any:
        return json.loads((await client.get(f"{api_url}/activity/{ACTIVITY_ID}")).content)

    return get


def httpcore_pool(api_url: str) -> Get:
    """Use httpcore, on which httpx is built."""
    import httpcore

    pool = httpcore.ConnectionPool()
    headers: list[tuple[bytes | str, bytes | str]] = [*HEADERS.items()]
    return lambda: json.loads(
        pool.request("GET", f"{api_url}/activity/{ACTIVITY_ID}", headers=headers).content
    )


def httpcore_async_pool(api_url: str) -> AsyncGet:
    """Do the same in async code."""
    import httpcore

    pool = httpcore.AsyncConnectionPool()
    headers: list[tuple[bytes | str, bytes | str]] = [*HEADERS.items()]

    async def get() -> Any:
        response = await pool.request("GET", f"{api_url}/activity/{ACTIVITY_ID}", headers=headers)
        return json.loads(response.content)

    return get


def http_client(api_url: str) -> Get:
    """Use the standard library."""
    import http.client

    url = urllib.parse.urlsplit(api_url)
    connection = http.client.HTTPConnection(url.netloc)

    def get() -> Any:
        connection.request("GET", f"{url.path}/activity/{ACTIVITY_ID}", headers=HEADERS)
        return json.loads(connection.getresponse().read())

    return get


def urllib3_pool(api_url: str) -> Get:
    """Use urllib3, on which requests and openapi-generator's client are built."""
    import urllib3

    pool = urllib3.PoolManager(headers=HEADERS)
    return lambda: json.loads(pool.request("GET", f"{api_url}/activity/{ACTIVITY_ID}").data)


def requests_session(api_url: str) -> Get:
    """Use requests with a session."""
    import requests

    session = requests.Session()
    session.headers.update(HEADERS)
    return lambda: json.loads(session.get(f"{api_url}/activity/{ACTIVITY_ID}").content)


def aiohttp_session(api_url: str) -> AsyncGet:
    """Use aiohttp with a session."""
    import aiohttp

    session = aiohttp.ClientSession(headers=HEADERS)

    async def get() -> Any:
        async with session.get(f"{api_url}/activity/{ACTIVITY_ID}") as response:
            return json.loads(await response.read())

    return get


def pyreqwest_client(api_url: str) -> Get:
    """Use Rust's reqwest. The CPU time of its threads counts as well."""
    from pyreqwest.client import SyncClientBuilder

    client = SyncClientBuilder().default_headers(HEADERS).build()
    return lambda: json.loads(
        client.get(f"{api_url}/activity/{ACTIVITY_ID}").build().send().bytes().to_bytes()
    )


def pyreqwest_async_client(api_url: str) -> AsyncGet:
    """Do the same in async code."""
    from pyreqwest.client import ClientBuilder

    client = ClientBuilder().default_headers(HEADERS).build()

    async def get() -> Any:
        response = await client.get(f"{api_url}/activity/{ACTIVITY_ID}").build().send()
        return json.loads((await response.bytes()).to_bytes())

    return get


# SDKs


def generated_client(api_url: str) -> Get:
    """Use the generated client directly, without our facade."""
    from _thrive_learning_api import Client
    from _thrive_learning_api.api.activity import get_activity

    client = Client(base_url=api_url, headers=HEADERS)
    return lambda: get_activity.sync(ACTIVITY_ID, client=client)


def generated_async_client(api_url: str) -> AsyncGet:
    """Do the same in async code."""
    from _thrive_learning_api import Client
    from _thrive_learning_api.api.activity import get_activity

    client = Client(base_url=api_url, headers=HEADERS)

    async def get() -> Any:
        return await get_activity.asyncio(ACTIVITY_ID, client=client)

    return get


def openapi_generator_client(api_url: str) -> Get:
    """Use the client that openapi-generator writes for our contract, with urllib3 and pydantic."""
    import importlib

    generated = importlib.import_module(GENERATED_PEER)
    configuration = generated.Configuration(host=api_url, username=TENANT, password=SECRET)
    api = generated.ActivityApi(generated.ApiClient(configuration))
    return lambda: api.get_activity(ACTIVITY_ID)


def stainless_client(api_url: str) -> Get:
    """Use OpenAI's SDK, which Stainless generates, in its documented way for other endpoints."""
    import openai

    client = openai.OpenAI(api_key="made-up", base_url=api_url, default_headers=HEADERS)
    return lambda: client.get(f"/activity/{ACTIVITY_ID}", cast_to=object)


def stainless_async_client(api_url: str) -> AsyncGet:
    """Do the same in async code."""
    import openai

    client = openai.AsyncOpenAI(api_key="made-up", base_url=api_url, default_headers=HEADERS)

    async def get() -> Any:
        return await client.get(f"/activity/{ACTIVITY_ID}", cast_to=object)

    return get


def azure_client(api_url: str) -> Get:
    """Use azure-core's pipeline, with the policies of its generated SDKs."""
    from azure.core import PipelineClient
    from azure.core.pipeline import policies
    from azure.core.rest import HttpRequest, HttpResponse

    client: PipelineClient[HttpRequest, HttpResponse] = PipelineClient(
        api_url,
        policies=[
            policies.RequestIdPolicy(),
            policies.HeadersPolicy(HEADERS),
            policies.UserAgentPolicy("bench"),
            policies.ProxyPolicy(),
            policies.ContentDecodePolicy(),
            policies.RedirectPolicy(),
            policies.RetryPolicy(),
            policies.CustomHookPolicy(),
            policies.NetworkTraceLoggingPolicy(),
            policies.DistributedTracingPolicy(),
            policies.HttpLoggingPolicy(),
        ],
    )

    def get() -> Any:
        request = HttpRequest("GET", f"{api_url}/activity/{ACTIVITY_ID}")
        response: HttpResponse = client.send_request(request)
        response.raise_for_status()
        return response.json()

    return get


SYNC: list[Contender] = [
    Contender(UNIT, "bare", httpx_client),
    Contender("raw socket", "limit", raw_socket),
    Contender("prebuilt request on httpx.HTTPTransport", "limit", httpx_transport),
    Contender(OURS, "ours", ours.sync_get("httpx")),
    Contender(OURS_FAST, "ours", ours.sync_get("fast")),
    Contender("httpx: base_url, auth, raise_for_status, json", "bare", httpx_client_as_written),
    Contender("httpcore", "bare", httpcore_pool),
    Contender("http.client", "bare", http_client),
    Contender("urllib3", "bare", urllib3_pool),
    Contender("requests", "bare", requests_session),
    Contender("pyreqwest", "bare", pyreqwest_client),
    Contender("generated client, as it is", "peer", generated_client),
    Contender("openapi-generator (urllib3)", "peer", openapi_generator_client),
    Contender("Stainless SDK (openai)", "peer", stainless_client),
    Contender("azure-core pipeline", "peer", azure_client),
]
ASYNC: list[Contender] = [
    Contender(ASYNC_UNIT, "bare", httpx_async_client),
    Contender("asyncio streams", "limit", raw_streams),
    Contender("prebuilt request on httpx.AsyncHTTPTransport", "limit", httpx_async_transport),
    Contender(OURS, "ours", ours.async_get("httpx")),
    Contender(OURS_FAST, "ours", ours.async_get("fast")),
    Contender("httpcore", "bare", httpcore_async_pool),
    Contender("aiohttp", "bare", aiohttp_session),
    Contender("pyreqwest", "bare", pyreqwest_async_client),
    Contender("generated client, as it is", "peer", generated_async_client),
    Contender("Stainless SDK (openai)", "peer", stainless_async_client),
]
TOKEN_PATHS: dict[str, list[Contender]] = {
    "sync": [
        Contender(OURS, "ours", ours.sync_get("httpx")),
        Contender(OURS_OAUTH, "ours", ours.sync_get("httpx", oauth=True)),
    ],
    "async": [
        Contender(OURS, "ours", ours.async_get("httpx")),
        Contender(OURS_OAUTH, "ours", ours.async_get("httpx", oauth=True)),
    ],
}
# All records of a list


def _last_record(get: Callable[[int], Any]) -> Any:
    """Walk through all pages, and return the last record."""
    record, number, pages = None, 0, 1
    while number < pages:
        number += 1
        document = get(number)
        pages = document["pagination"]["totalPages"]
        for found in document["results"]:
            record = found
    return record


def httpx_pages(api_url: str) -> Get:
    """Use one client of httpx, page by page."""
    import httpx

    client = httpx.Client(headers=HEADERS)

    def get(page: int) -> Any:
        params = {"page": page, "perPage": PER_PAGE}
        return json.loads(client.get(f"{api_url}/activities", params=params).content)

    return lambda: _last_record(get)


def httpx_pages_without_client(api_url: str) -> Get:
    """Use `httpx.get`, which creates a client for each page."""
    import httpx

    def get(page: int) -> Any:
        params = {"page": page, "perPage": PER_PAGE}
        return json.loads(httpx.get(f"{api_url}/activities", params=params, headers=HEADERS).content)

    return lambda: _last_record(get)


WALK_UNIT = "httpx.Client.get + json.loads, page by page"
WALKS: list[Contender] = [
    Contender(WALK_UNIT, "bare", httpx_pages),
    Contender("httpx.get + json.loads, page by page", "bare", httpx_pages_without_client),
    Contender(OURS, "ours", ours.walk("httpx")),
    Contender(OURS_FAST, "ours", ours.walk("fast")),
]
#: The contenders that a worker can be.
GROUPS: dict[str, list[Contender]] = {
    "sync": [*SYNC, TOKEN_PATHS["sync"][1]],
    "async": [*ASYNC, TOKEN_PATHS["async"][1]],
    "walk": WALKS,
}
