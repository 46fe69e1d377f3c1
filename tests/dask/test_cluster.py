"""A cluster of real worker processes: one token, each record once, and no secret on the way."""

import datetime as dt
import os
import pickle
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from list_server import BEGIN, listing
from token_servers import redis_server

from thrive_learning import (
    ConfigurationError,
    NotFoundError,
    RateLimit,
    RedisTokenStore,
    ThriveClient,
    TokenError,
)
from thrive_learning.sandbox.server import SandboxServer
from thrive_learning.testing import ServedSandbox
from thrive_learning.testing.plugin import started_server

pytest.importorskip("dask.dataframe")
distributed: Any = pytest.importorskip("distributed")

from thrive_learning.dask import read_activities, read_activities_by_id  # noqa: E402 - needs the extra

LONG_AGO = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A client of two worker processes with two threads each."""
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=2, dashboard_address="127.0.0.1:0"
        ) as processes,
        distributed.Client(processes) as client,
    ):
        yield client


@pytest.fixture
def _thrive_server() -> Iterator[SandboxServer]:
    """A server of its own for each test, because the scheduler and the workers keep tokens by URL."""
    with started_server() as server:
        yield server


def set_environment(client: Any, environ: dict[str, str]) -> None:
    """Give the settings of clients to all workers, including replacements, but not to this process."""

    class Environment(distributed.WorkerPlugin):  # type: ignore[misc]
        name = "environment"

        def setup(self, worker: Any) -> None:
            del worker
            for name in [name for name in os.environ if name.startswith("THRIVE_")]:
                del os.environ[name]
            os.environ.update(environ)

    client.wait_for_workers(2)  # one may just have been killed
    client.register_plugin(Environment())


def test_a_cold_cluster_sends_one_token_request(cluster: Any, thrive_server: ServedSandbox) -> None:
    sandbox = thrive_server.sandbox
    sandbox.generate(3000)
    set_environment(cluster, dict(thrive_server.environ))
    frame: Any = read_activities(LONG_AGO, rows_per_partition=400, rate_limit=RateLimit(per_second=1000))
    assert frame.npartitions >= 8
    found = frame.compute()
    assert len(found) == found["id"].nunique() == 3000
    assert len(sandbox.token_requests) == 1
    by_id: Any = read_activities_by_id(found["id"].head(100), ids_per_partition=10)
    assert list(by_id["id"].compute()) == list(found["id"].head(100))
    assert len(sandbox.token_requests) == 1
    assert {request.status_code for request in sandbox.requests} == {200}


def test_a_cluster_shares_a_token_through_redis(cluster: Any, thrive_server: ServedSandbox) -> None:
    sandbox = thrive_server.sandbox
    sandbox.generate(1000)
    set_environment(cluster, dict(thrive_server.environ))
    with redis_server() as server:
        store = RedisTokenStore(f"redis://127.0.0.1:{server.port}/0")
        limit = RateLimit(per_second=500)
        frame: Any = read_activities(LONG_AGO, rows_per_partition=100, token_store=store, rate_limit=limit)
        assert len(frame.compute()) == 1000
        assert len(sandbox.token_requests) == 1
        assert {request.status_code for request in sandbox.requests} == {200}
        with redis.Redis(port=server.port) as connection:
            found: Any = connection.keys("*")
            # A limit that nobody uses is forgotten within seconds, so the server says whether there was one.
            assert len([key for key in found if not key.endswith(b":limit")]) == 1
            assert "cmdstat_evalsha" in connection.info("commandstats")


def test_the_work_of_a_killed_worker_is_redone(cluster: Any) -> None:
    killed = threading.Event()

    with listing(3000) as server:
        set_environment(cluster, server.environment)
        frame: Any = read_activities(BEGIN, rows_per_partition=200)
        pid = min(cluster.run(os.getpid).values())
        first = len(server.requests)

        def kill_once(_page: int, _query: dict[str, str]) -> None:
            if len(server.requests) > first + 4 and not killed.is_set():
                killed.set()
                os.kill(pid, signal.SIGKILL)

        server.hook = kill_once
        found = frame.compute()
        ids = server.ids
    assert killed.is_set()
    assert pid not in cluster.run(os.getpid, on_error="ignore").values()
    assert sorted(found["id"]) == sorted(ids)


def test_dask_reads_a_partition_again_if_asked_to(cluster: Any) -> None:
    failed = threading.Event()

    def fail_once(page: int, query: dict[str, str]) -> tuple[int, Any] | None:
        if page == 1 and query["perPage"] == "1000" and not failed.is_set():
            failed.set()
            return 400, {"error": "Bad Request", "message": "not now", "status": 400}
        return None

    with listing(300) as server:
        set_environment(cluster, server.environment)
        server.hook = fail_once
        frame: Any = read_activities(BEGIN, rows_per_partition=100)
        assert sorted(frame.compute(retries=1)["id"]) == sorted(server.ids)
    assert failed.is_set()


def test_no_secret_is_in_a_graph_a_log_or_the_state_of_the_cluster(
    cluster: Any, thrive_server: ServedSandbox, tmp_path: Path
) -> None:
    cloudpickle = pytest.importorskip("cloudpickle")  # with which Dask sends graphs
    sandbox = thrive_server.sandbox
    set_environment(cluster, dict(thrive_server.environ))
    secret = sandbox.credentials.client_secret.reveal()

    folder = tmp_path / "logs"
    folder.mkdir()
    cluster.run(_log_everything, str(folder))
    cluster.run_on_scheduler(_log_everything, str(folder))
    try:
        with ThriveClient(thrive_server.region, sandbox.credentials) as client:
            frame: Any = read_activities(LONG_AGO, client=client, rate_limit=RateLimit(per_second=1000))
            persisted = frame.persist()
            distributed.wait(persisted)
        assert len(persisted.compute()) > 20
        cluster.dump_cluster_state(str(tmp_path / "state"), format="yaml")
    finally:
        cluster.run_on_scheduler(_log_as_usual)
        cluster.run(_log_as_usual)
    assert len(sandbox.token_requests) == 1
    tokens = {
        value.removeprefix("Bearer ")
        for request in sandbox.activity_requests
        for name, value in request.headers.items()
        if name.lower() == "authorization"
    }
    assert len(tokens) >= 1
    logs = "".join(path.read_text(encoding="utf-8") for path in folder.iterdir())
    state = (tmp_path / "state.yaml").read_text(encoding="utf-8")
    graph = cloudpickle.dumps(frame.optimize().__dask_graph__())
    assert "thrive_learning_store" in logs  # messages were logged
    for hidden in (secret, *tokens):
        assert hidden not in logs
        assert hidden not in state
        assert hidden.encode() not in graph


def _log_everything(folder: str) -> None:
    import logging  # noqa: PLC0415 - runs in another process

    handler = logging.FileHandler(f"{folder}/{os.getpid()}.log", encoding="utf-8")
    handler.name = "everything"
    logging.getLogger("distributed").addHandler(handler)
    logging.getLogger("distributed").setLevel(logging.DEBUG)


def _log_as_usual() -> None:
    import logging  # noqa: PLC0415 - runs in another process

    logger = logging.getLogger("distributed")
    logger.setLevel(logging.INFO)
    for handler in [handler for handler in logger.handlers if handler.name == "everything"]:
        logger.removeHandler(handler)
        handler.close()


def test_errors_of_workers_arrive_with_their_advice(cluster: Any, thrive_server: ServedSandbox) -> None:
    set_environment(cluster, dict(thrive_server.environ) | {"THRIVE_CLIENT_SECRET": "fake-wrong-secret"})
    with pytest.raises(TokenError, match="Check that client ID, client secret") as caught:
        read_activities(LONG_AGO)
    assert "fake-wrong-secret" not in repr(caught.value)
    assert pickle.loads(pickle.dumps(caught.value)).status_code == caught.value.status_code
    set_environment(cluster, {})
    with pytest.raises(ConfigurationError, match=r"the worker tcp://.* no credentials are set.*this worker"):
        read_activities(LONG_AGO)
    set_environment(cluster, dict(thrive_server.environ))
    frame: Any = read_activities_by_id(["0" * 24])
    with pytest.raises(NotFoundError, match="0" * 24):
        frame.compute()
