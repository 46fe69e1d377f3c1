"""One client in many places: event loops, forked children, pickles, and closing at odd times."""

import asyncio
import gc
import multiprocessing
import os
import pickle
import ssl
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import anyio
import httpx
import loopback_http
import pytest
import trio
from anyio.from_thread import start_blocking_portal
from harness import ACTIVITY_ID, BASIC, OAUTH, Flavour, page_response
from loopback_http import QuietHandler
from patience import PATIENCE_S

from thrive_learning import (
    AsyncThriveClient,
    BasicCredentials,
    ClientClosedError,
    ClientCredentials,
    ConfigurationError,
    Region,
    RetryPolicy,
    Secret,
    ThriveClient,
    Timeout,
)
from thrive_learning._call import seam
from thrive_learning._exchange import engines
from thrive_learning._settings.engine_names import ENGINES, EngineName
from thrive_learning.sandbox import Sandbox, SandboxRequest

SANDBOX = Sandbox()
#: The sandbox's secret, which protects nothing, so it may be pickled.
CREDENTIALS = ClientCredentials(
    SANDBOX.tenant_id, SANDBOX.client_id, Secret(SANDBOX.client_secret, may_pickle=True)
)


class Handler(QuietHandler):
    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        response = SANDBOX.respond(SandboxRequest(self.command, self.path, headers, body), now=1e9)
        self.server.requests.append((self.command, self.client_address))  # type: ignore[attr-defined]
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(response.body)

    do_GET = do_POST = answer  # noqa: N815 - the names that http.server asks for


class Server:
    """The sandbox on a real port of this machine, for clients of one engine."""

    def __init__(self, engine: EngineName) -> None:
        self.engine: EngineName = engine
        self._server = loopback_http.Server(("127.0.0.1", 0), Handler)
        self._server.requests = []  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        url = f"http://127.0.0.1:{self._server.server_port}"
        self.region = Region.custom(
            "here", api_url=f"{url}/rest/v1", token_url=url + "/oauth2/token/{tenant_id}"
        )

    def counts(self) -> tuple[int, int, int]:
        """Give the numbers of connections, token requests and calls."""
        requests = self._server.requests  # type: ignore[attr-defined]
        methods = [method for method, _ in requests]
        return len({address for _, address in requests}), methods.count("POST"), methods.count("GET")

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture(params=ENGINES)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Start a server for clients of one engine, and then of the other."""
    server = Server(request.param)
    try:
        yield server
    finally:
        server.stop()


def test_a_connection_is_used_again(flavour: Flavour, server: Server) -> None:
    with flavour.open(server.region, CREDENTIALS, engine=server.engine) as client:
        for _ in range(20):
            client.activities.get(ACTIVITY_ID)
    assert server.counts() == (1, 1, 20)


async def get(client: AsyncThriveClient) -> str:
    return (await client.activities.get(ACTIVITY_ID)).id


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # the loops below end with connections open
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_one_async_client_in_one_event_loop_after_the_other(server: Server) -> None:
    client = AsyncThriveClient(server.region, CREDENTIALS, engine=server.engine)
    for _ in range(3):
        assert asyncio.run(get(client)) == ACTIVITY_ID
        assert trio.run(get, client) == ACTIVITY_ID
    assert server.counts() == (6, 1, 6)
    assert (
        len(client._http.attempts.routes._engines._values) <= 2
    )  # those of loops that have ended are forgotten
    del client
    gc.collect()


async def close_here(client: AsyncThriveClient) -> None:
    """Close the connections of this loop, and let the client go on in the others."""
    for engine in client._http.attempts.routes.take_those_to_close():
        await engine.aclose()


def test_one_async_client_in_event_loops_side_by_side(server: Server) -> None:
    client = AsyncThriveClient(server.region, CREDENTIALS, engine=server.engine)
    results: list[str] = []

    def work(backend: str) -> None:
        with start_blocking_portal(backend) as portal:
            results.extend(portal.call(get, client) for _ in range(5))
            portal.call(close_here, client)

    threads = [threading.Thread(target=work, args=(backend,)) for backend in ("asyncio", "trio") * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [ACTIVITY_ID] * 20
    assert server.counts()[1] == 1


def test_threads_share_a_client(server: Server) -> None:
    with ThriveClient(server.region, CREDENTIALS, engine=server.engine) as client:
        threads = [
            threading.Thread(target=lambda: [client.activities.get(ACTIVITY_ID) for _ in range(5)])
            for _ in range(16)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert server.counts()[1:] == (1, 80)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_connections_of_its_own_and_keeps_the_token(server: Server) -> None:
    with ThriveClient(server.region, CREDENTIALS, engine=server.engine) as client:
        client.activities.get(ACTIVITY_ID)
        child = os.fork()
        if child == 0:
            try:
                client.activities.get(ACTIVITY_ID)
                client.close()
            finally:
                os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        client.activities.get(ACTIVITY_ID)
    assert server.counts() == (2, 1, 3)


def read(client: ThriveClient) -> str:
    with client:
        return client.activities.get(ACTIVITY_ID).id


def test_a_client_travels_to_a_pool_of_processes(server: Server) -> None:
    client = ThriveClient(
        server.region,
        CREDENTIALS,
        engine=server.engine,
        timeout=Timeout(total=PATIENCE_S),
        application="pool",
    )
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert list(pool.map(read, [client] * 3)) == [ACTIVITY_ID] * 3
    client.close()


def revived(client: Any) -> Any:
    return pickle.loads(pickle.dumps(client))


def test_a_pickle_has_the_settings_and_no_token(flavour: Flavour) -> None:
    client = flavour.wrap(
        flavour.client_class.sandbox(timeout=7, retry=RetryPolicy(attempts=2), application="reports/1")
    )
    token = client.tokens.get()
    data = pickle.dumps(client._subject if hasattr(client, "_subject") else client)
    assert token.value.encode() not in data
    other = flavour.wrap(pickle.loads(data))
    assert other.activities.get(ACTIVITY_ID).id == ACTIVITY_ID
    assert (other.region, other._http.seam.timeout.total) == (client.region, 7)
    assert other._http.seam.retry == RetryPolicy(attempts=2)
    assert other._http.seam.headers == client._http.seam.headers
    client.close()
    other.close()


def secret_of_the_vault() -> str:
    return "fake-from-the-vault"


@pytest.mark.parametrize("cls", [ThriveClient, AsyncThriveClient])
@pytest.mark.parametrize(
    "create",
    [
        lambda secret: BasicCredentials("tenant", secret),
        lambda secret: ClientCredentials("tenant", "client", secret),
    ],
    ids=["Basic", "Client"],
)
def test_a_secret_travels_only_if_its_owner_says_so(
    monkeypatch: pytest.MonkeyPatch, cls: type, create: Callable[[Any], Any]
) -> None:
    allowed = create(Secret("canary", may_pickle=True))
    assert revived(cls(Region.STAGING, allowed))._http.authorizer.credentials == allowed
    given = create(secret_of_the_vault)
    assert b"from-the-vault" not in pickle.dumps(cls(Region.STAGING, given))
    assert revived(cls(Region.STAGING, given))._http.authorizer.credentials == given

    mine = create("canary")
    data = pickle.dumps(cls(Region.STAGING, mine))
    assert b"canary" not in data
    with pytest.raises(ConfigurationError, match="THRIVE_TENANT_ID"):
        pickle.loads(data)
    secret = "THRIVE_API_SECRET" if isinstance(mine, BasicCredentials) else "THRIVE_CLIENT_SECRET"
    monkeypatch.setenv(secret, "canary")
    monkeypatch.setenv("THRIVE_TENANT_ID", "tenant")
    if isinstance(mine, ClientCredentials):
        monkeypatch.setenv("THRIVE_CLIENT_ID", "client")
    assert pickle.loads(data)._http.authorizer.credentials == mine
    monkeypatch.setenv("THRIVE_TENANT_ID", "another")
    with pytest.raises(ConfigurationError, match="the tenant 'tenant' without their secret"):
        pickle.loads(data)


def test_clients_that_cannot_be_pickled() -> None:
    wrong: list[dict[str, Any]] = [
        {"verify": ssl.create_default_context()},
        {"proxy": "http://me:canary@proxy:1"},
    ]
    for options in wrong:
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(ThriveClient(Region.STAGING, BASIC, **options))


def test_a_secret_may_change_while_the_client_runs(flavour: Flavour) -> None:
    secrets = iter(["one", "two", "", "four"])
    sent: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        sent.append(request.headers["authorization"])
        return page_response()

    with flavour.answering(handler, BasicCredentials("tenant", lambda: next(secrets))) as client:
        client.activities.get(ACTIVITY_ID)
        client.activities.get(ACTIVITY_ID)
        with pytest.raises(ConfigurationError, match="the function that returns a secret"):
            client.activities.get(ACTIVITY_ID)
        client.activities.get(ACTIVITY_ID)
        with pytest.raises(ConfigurationError, match=r"failed .StopIteration.") as caught:
            client.activities.get(ACTIVITY_ID)
    assert caught.value.__context__ is None
    assert len(set(sent)) == 3


def test_an_error_does_not_need_the_secret_again(flavour: Flavour) -> None:
    secrets = iter(["one"])
    with flavour.answering(
        lambda _r: httpx.Response(404), BasicCredentials("t", lambda: next(secrets))
    ) as client:
        with pytest.raises(Exception, match="answered 404"):
            client.activities.get(ACTIVITY_ID)


def test_close_during_a_call_is_a_clear_error() -> None:
    arrived, go_on = threading.Event(), threading.Event()

    def handler(_request: httpx.Request) -> httpx.Response:
        arrived.set()
        assert go_on.wait(PATIENCE_S)
        raise httpx.ReadError("closed")

    client = ThriveClient(Region.STAGING, BASIC, transport=httpx.MockTransport(handler), retry=RetryPolicy(5))
    errors: list[BaseException] = []

    def work() -> None:
        try:
            client.activities.get(ACTIVITY_ID)
        except ClientClosedError as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert arrived.wait(PATIENCE_S)
    client.close()
    client.close()
    go_on.set()
    thread.join()
    assert len(errors) == 1


@pytest.mark.anyio
async def test_aclose_during_a_call_is_a_clear_error() -> None:
    arrived = anyio.Event()

    class Waiting(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            del request
            arrived.set()
            await closed.wait()
            raise httpx.ReadError("closed")

    closed = anyio.Event()
    client = AsyncThriveClient(Region.STAGING, OAUTH, transport=Waiting)

    async def work() -> None:
        with pytest.raises(ClientClosedError):
            await client.activities.get(ACTIVITY_ID)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work)
        await arrived.wait()
        await client.aclose()
        await client.aclose()
        closed.set()


def test_a_client_that_nobody_closes_is_collected_without_a_sound() -> None:
    client = ThriveClient(Region.STAGING, OAUTH)
    gone = weakref.ref(client)
    del client
    gc.collect()
    assert gone() is None


def test_the_interpreter_ends_with_a_client_open(server: Server) -> None:
    code = f"""
import thrive_learning as t
region = t.Region.custom("here", api_url={server.region.api_url!r}, token_url={server.region.urls[1]!r})
credentials = t.BasicCredentials({SANDBOX.tenant_id!r}, {SANDBOX.api_secret!r})
client = t.ThriveClient(region, credentials, engine={server.engine!r})
print(client.activities.get({ACTIVITY_ID!r}).id)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, ACTIVITY_ID)
    assert "Traceback" not in done.stderr


def test_clients_share_what_is_dear_to_make(monkeypatch: pytest.MonkeyPatch) -> None:
    contexts: list[ssl.SSLContext] = []
    for name in ("sync_engines", "async_engines"):
        build = getattr(engines, name)("httpx")

        def record(context: ssl.SSLContext, proxy: str | None, build: Any = build) -> Any:
            contexts.append(context)
            return build(context, proxy)

        monkeypatch.setattr(seam, name, lambda _name, record=record: record)
    for cls in (ThriveClient, AsyncThriveClient, ThriveClient):
        cls(Region.STAGING, BASIC, engine="httpx")
    assert len(contexts) == 3
    assert len(set(map(id, contexts))) == 1
