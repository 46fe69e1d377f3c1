"""How workers create their clients, and how long they keep them."""

import os
import pickle
import signal
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from command import OAUTH as OAUTH_VARIABLES
from harness import BASIC, OAUTH, Kept

from thrive_learning import (
    AsyncThriveClient,
    ClientClosedError,
    ClientCredentials,
    ConfigurationError,
    FileTokenStore,
    MemoryTokenStore,
    RateLimit,
    Region,
    Secret,
    ThriveClient,
)
from thrive_learning._cluster import clients
from thrive_learning._cluster.clients import ClientSource, client_of, close_clients


@pytest.fixture(autouse=True)
def _no_clients_left() -> Iterator[None]:
    yield
    close_clients(None)


@pytest.mark.usefixtures("oauth")
def test_a_client_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    source = ClientSource.of(rate_limit=RateLimit(per_second=5))
    monkeypatch.setenv("THRIVE_REGION", "staging")
    client = client_of(source)
    assert client.region is Region.STAGING
    assert client._options.rate_limit == RateLimit(per_second=5)
    assert client_of(ClientSource.of(rate_limit=RateLimit(per_second=5))) is client  # the same settings
    monkeypatch.setenv("THRIVE_REGION", "production")
    assert client_of(source).region is Region.PRODUCTION


def test_a_copy_of_a_client_has_its_options_and_the_secret_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with ThriveClient(Region.STAGING, OAUTH, application="reports", timeout=7) as client:
        source = ClientSource.of(client, rate_limit=RateLimit(per_second=5))
    assert OAUTH.client_secret.reveal().encode() not in pickle.dumps(source)
    assert repr(source) == "ClientSource()"
    with pytest.raises(ConfigurationError, match="no credentials are set"):
        client_of(source)
    for name, value in OAUTH_VARIABLES.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("THRIVE_TENANT_ID", OAUTH.tenant_id)
    copy = client_of(pickle.loads(pickle.dumps(source)))
    assert (copy.region, copy._options.application) == (Region.STAGING, "reports")
    assert copy._options.rate_limit == RateLimit(per_second=5)
    assert client_of(source) is copy


def test_a_token_store_of_the_caller_is_kept() -> None:
    secret = Secret("fake-client-secret", may_pickle=True)
    credentials = ClientCredentials(OAUTH.tenant_id, "fake-client", secret)
    ours, theirs = MemoryTokenStore(), FileTokenStore("/nowhere")
    with ThriveClient(Region.STAGING, credentials, token_store=theirs) as client:
        for source, expected in (
            (ClientSource.of(client), FileTokenStore),
            (ClientSource.of(client, token_store=MemoryTokenStore()), MemoryTokenStore),
        ):
            with source.create(ours) as copy:
                assert type(copy._options.token_store) is expected
                assert copy._options.token_store is not ours
    with ThriveClient(Region.STAGING, credentials) as client, ClientSource.of(client).create(ours) as copy:
        assert copy._options.token_store is ours


@pytest.mark.usefixtures("oauth")
def test_a_token_store_for_the_environment() -> None:
    store = MemoryTokenStore()
    with ClientSource.of().create(store) as client:
        assert client._options.token_store is store
    with ClientSource.of(token_store=FileTokenStore("/nowhere")).create(store) as client:
        assert isinstance(client._options.token_store, FileTokenStore)
    with ClientSource.of().create(None) as client:
        assert client._options.token_store is None


def test_clients_that_cannot_be_sent_are_rejected() -> None:
    with ThriveClient(
        Region.STAGING, BASIC, transport=httpx.MockTransport(lambda _: httpx.Response(500))
    ) as client:
        with pytest.raises(ConfigurationError, match="The client cannot be sent to workers"):
            ClientSource.of(client)
        with pytest.raises(ConfigurationError, match="client= and profile= exclude each other"):
            ClientSource.of(client, "work")
    with pytest.raises(ConfigurationError, match="client is of type AsyncThriveClient"):
        ClientSource.of(AsyncThriveClient(Region.STAGING, BASIC))
    with pytest.raises(ConfigurationError, match="The options of the client cannot be sent to workers"):
        ClientSource.of(token_store=lambda: None)


def secret_of_a_script() -> str:
    return "fake-client-secret"


def test_a_function_that_workers_cannot_import_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    credentials = ClientCredentials(OAUTH.tenant_id, client_secret=secret_of_a_script)
    with ThriveClient(Region.STAGING, credentials) as client:
        source = ClientSource.of(client)
    client_of(source)
    close_clients(None)
    monkeypatch.delitem(globals(), "secret_of_a_script")
    with pytest.raises(ConfigurationError, match="define functions in a module that workers can import"):
        client_of(source)


@pytest.mark.usefixtures("oauth")
def test_clients_are_closed_with_their_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    class Worker:
        def __init__(self, address: str) -> None:
            self.address = address

    first, second = Worker("tcp://first"), Worker("tcp://second")
    begun: list[Any] = []

    def begin(worker: Any) -> MemoryTokenStore:
        begun.append(worker)
        return MemoryTokenStore()

    source = ClientSource.of()
    opened: list[ThriveClient] = []
    with monkeypatch.context() as patch:
        patch.setattr(clients, "_begin", begin)
        for worker in (first, second, first):
            patch.setattr(clients, "_current_worker", lambda worker=worker: worker)
            opened.append(client_of(source))
    assert begun == [first, second]
    assert opened[0] is opened[2] is not opened[1]
    close_clients(first.address)
    with pytest.raises(ClientClosedError):
        opened[0].activities.get("0" * 24)
    assert not opened[1]._http.seam.closed
    close_clients(second.address)
    with pytest.raises(ClientClosedError):
        opened[1].activities.get("0" * 24)


def test_missing_settings_of_a_worker_are_reported_with_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    class Worker:
        address = "tcp://10.0.0.5:40001"

    monkeypatch.setattr(clients, "_begin", lambda _worker: None)
    monkeypatch.setattr(clients, "_current_worker", Worker)
    with pytest.raises(ConfigurationError) as caught:
        client_of(ClientSource.of())
    message = str(caught.value)
    assert message.startswith(
        "the worker tcp://10.0.0.5:40001 cannot create its client: no credentials are set"
    )
    assert message.endswith(". Check the environment in which this worker was started.")
    assert caught.value.__context__ is None


def test_a_scheduler_that_cannot_keep_tokens_is_reported(monkeypatch: pytest.MonkeyPatch, kept: Kept) -> None:
    store = pytest.importorskip("thrive_learning._cluster.scheduler_store")

    def fail(_worker: object) -> None:
        raise OSError

    monkeypatch.setattr(store, "run_at_end", lambda _worker, _at_end: None)
    monkeypatch.setattr(store, "SchedulerTokenStore", fail)
    assert clients._begin(None) is None
    [record] = [record for record in kept.records if record.name == "thrive_learning.cluster"]
    assert record.getMessage() == (
        "the scheduler cannot keep tokens (OSError), so each worker has its own token and rate limit. "
        "Look for the cause in the log of the scheduler, or pass token_store="
    )


@pytest.mark.usefixtures("oauth")
@pytest.mark.parametrize("kind", ["client", "environment"])
@pytest.mark.parametrize(
    ("place", "store", "count"),
    [
        pytest.param("another process", None, 1, id="another-process"),
        pytest.param("another process", MemoryTokenStore(), 0, id="with-a-store"),
        pytest.param("this process", None, 0, id="this-process"),
    ],
)
def test_processes_without_a_store_are_reported_once(
    monkeypatch: pytest.MonkeyPatch,
    kept: Kept,
    kind: str,
    place: str,
    store: MemoryTokenStore | None,
    count: int,
) -> None:
    with ThriveClient.from_env() as client:
        source = ClientSource.of(client if kind == "client" else None, token_store=store)
    source = pickle.loads(pickle.dumps(source))
    if place == "another process":
        monkeypatch.setattr(os, "getpid", lambda: -1)
    client_of(source)
    client_of(source)
    message = (
        "the processes of this scheduler share no memory, so each has its own token and rate limit. Pass "
        "token_store=, or use a distributed.Client"
    )
    records = [record for record in kept.records if record.name == "thrive_learning.cluster"]
    assert [record.getMessage() for record in records] == [message] * count


def test_without_distributed_there_is_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(__import__("sys").modules, "distributed", raising=False)
    assert clients._current_worker() is None
    assert os.environ.get("THRIVE_REGION") is None


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.usefixtures("oauth")
def test_a_forked_child_does_not_wait_for_the_lock_of_a_thread_that_it_does_not_have() -> None:
    with clients._lock:
        child = os.fork()
        if not child:
            signal.alarm(60)  # ends a child that hangs
            code = 1
            try:
                code = client_of(ClientSource.of()).region is not Region.PRODUCTION
            finally:
                os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


@pytest.mark.usefixtures("oauth")
def test_the_lock_is_replaced_after_a_fork() -> None:
    with clients._lock:
        clients._after_fork()
        assert client_of(ClientSource.of()).region is Region.PRODUCTION
