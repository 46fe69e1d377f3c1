"""`thrive_learning.dask`: DataFrames of a period and of IDs, with schedulers in this process."""

import datetime as dt
import json
import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import ACTIVITY_ID, Kept
from list_server import BEGIN, ListServer, listing

from thrive_learning import (
    ClientClosedError,
    ConfigurationError,
    NotFoundError,
    RateLimitStore,
    StoredToken,
    ThriveClient,
    ThriveError,
    TokenStore,
    __version__,
)
from thrive_learning._cluster import clients, versions
from thrive_learning._cluster.clients import close_clients
from thrive_learning._cluster.versions import check_versions
from thrive_learning._documented_types import _report
from thrive_learning.testing import ServedSandbox, ThriveSandbox

dask: Any = pytest.importorskip("dask")
bags: Any = pytest.importorskip("dask.bag")
distributed: Any = pytest.importorskip("distributed")
pytest.importorskip("dask.dataframe")

from thrive_learning._cluster import scheduler_store  # noqa: E402 - needs the extra
from thrive_learning._cluster.scheduler_store import SchedulerTokenStore, run_at_end  # noqa: E402 - needs the extra
from thrive_learning.dask import read_activities, read_activities_by_id  # noqa: E402 - needs the extra

DAY = dt.timedelta(days=1)
TYPES = {
    "id": "string",
    "type": "string",
    "user": "string",
    "date": "datetime64[us, UTC]",
    "contextId": "string",
    "contextType": "string",
    "name": "string",
    "data": "string",
    "with": "string",
    "extra": "string",
}


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let workers of this process be slow, on a machine that runs other tests meanwhile."""
    monkeypatch.setattr(scheduler_store, "_TIMEOUT_S", 60.0)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ListServer]:
    """2,000 records, one a second, and the settings with which clients find them."""
    with listing(2000) as served, dask.config.set(scheduler="synchronous"):
        for name, value in served.environment.items():
            monkeypatch.setenv(name, value)
        yield served


def test_a_period_is_read_in_parts_with_the_documented_types(server: ListServer) -> None:
    frame: Any = read_activities(BEGIN, BEGIN + DAY, rows_per_partition=500)
    planning = len(server.requests)
    assert 4 <= frame.npartitions <= 6
    assert planning <= 20
    assert frame.known_divisions is False
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == TYPES
    found = frame.compute()
    assert {name: str(dtype) for name, dtype in found.dtypes.items()} == TYPES
    assert all(found[name].dtype.storage == "pyarrow" for name in TYPES if name != "date")
    assert sorted(found["id"]) == sorted(server.ids)
    comparing = 2 * (frame.npartitions - 1)  # at both sides of each boundary
    assert len(server.requests) == planning + frame.npartitions + comparing


def test_no_request_is_for_more_records_than_per_page(server: ListServer) -> None:
    def fail(_page: int, query: dict[str, str]) -> tuple[int, object] | None:
        if query["perPage"] == "1":  # without a date, a page is requested as well
            record = {"id": ACTIVITY_ID, "type": "viewed", "date": "yesterday"}
            return 200, {"pagination": {"totalResults": 2000}, "results": [record]}
        return None

    server.hook = fail
    read_activities(BEGIN, BEGIN + DAY, rows_per_partition=500, per_page=120)
    assert {int(query["perPage"]) for query in server.requests} == {1, 120}


def test_an_empty_period_has_one_empty_partition(server: ListServer) -> None:
    frame: Any = read_activities(BEGIN - DAY, BEGIN - DAY / 2)
    assert len(server.requests) == 1
    assert frame.npartitions == 1
    found = frame.compute()
    assert len(found) == 0
    assert {name: str(dtype) for name, dtype in found.dtypes.items()} == TYPES


def test_an_undocumented_type_is_reported(server: ListServer, caplog: pytest.LogCaptureFixture) -> None:
    _report.cache_clear()
    read_activities(BEGIN, BEGIN + DAY, types=["vewed"])
    assert server.requests
    assert "'vewed' is not a documented type. Did you mean 'viewed'?" in caplog.messages


def test_columns_are_chosen_before_they_are_converted(server: ListServer) -> None:
    frame: Any = read_activities(BEGIN, BEGIN + DAY, types=["viewed"], rows_per_partition=500)
    found = frame[["id", "date"]].compute()
    assert list(found.columns) == ["id", "date"]
    assert set(found["id"]) == {identifier for identifier in server.ids if int(identifier, 16) % 3 == 0}
    assert frame["date"].max().compute().to_pydatetime() == BEGIN + dt.timedelta(seconds=1998)


def test_two_reads_of_the_same_period_are_two_results(server: ListServer) -> None:
    first: Any = read_activities(BEGIN, BEGIN + DAY)
    second: Any = read_activities(BEGIN, BEGIN + DAY)
    assert first.__dask_keys__() != second.__dask_keys__()
    assert first["id"].__dask_keys__() == first["id"].__dask_keys__()
    server.add([1])
    assert len(first) == 2001  # read when it is computed


@pytest.mark.usefixtures("server")
def test_the_end_is_fixed_when_the_period_is_planned() -> None:
    with pytest.raises(ConfigurationError, match="is in the future"):
        read_activities(dt.datetime.now(dt.UTC) + DAY)
    with pytest.raises(ConfigurationError, match="rows_per_partition is 0"):
        read_activities(BEGIN, rows_per_partition=0)
    with pytest.raises(ConfigurationError, match="per_page is 1001"):
        read_activities(BEGIN, per_page=1001)


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch, thrive_server: ServedSandbox) -> Iterator[ThriveSandbox]:
    """The sandbox, and the settings with which clients find it."""
    for name, value in thrive_server.environ.items():
        monkeypatch.setenv(name, value)
    with dask.config.set(scheduler="synchronous"):
        yield thrive_server.sandbox


def test_ids_of_a_list(records: ThriveSandbox) -> None:
    ids = [records.add().id for _ in range(25)]
    frame: Any = read_activities_by_id(ids, ids_per_partition=10)
    assert frame.npartitions == 3
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == TYPES
    assert list(frame["id"].compute()) == ids
    again: Any = read_activities_by_id(iter(ids))
    assert list(again.compute()["id"]) == ids
    empty: Any = read_activities_by_id([])
    assert len(empty) == 0
    assert {name: str(dtype) for name, dtype in empty.compute().dtypes.items()} == TYPES


@pytest.mark.parametrize("on_error", ["raise", "keep"])
@pytest.mark.parametrize(
    ("ids", "problem"),
    [
        (["0" * 24, Path("x.csv")], "ids has a path among IDs. Pass only IDs, or only paths."),
        ([Path("x.csv"), "0" * 24], "ids has a value of type str among paths. Pass only IDs, or only paths."),
    ],
    ids=["id-first", "path-first"],
)
def test_mixtures_of_ids_and_paths_are_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ids: list[Any], problem: str, on_error: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.csv").write_text(f"id\n{ACTIVITY_ID}\n")
    with ThriveClient.sandbox() as client, pytest.raises(ConfigurationError) as caught:
        read_activities_by_id(iter(ids), client=client, on_error=on_error)
    assert str(caught.value) == problem


def test_ids_of_files(records: ThriveSandbox, tmp_path: Path) -> None:
    ids = [records.add().id for _ in range(3)]
    (tmp_path / "ids.txt").write_text("\n".join(ids[:1]))
    (tmp_path / "ids.csv").write_text(f"name,Activity\nx,{ids[1]}\n")
    (tmp_path / "ids").write_text(json.dumps({"Activity": ids[2]}))
    paths = [tmp_path / "ids.csv"]
    frame: Any
    for frame, expected in (
        (read_activities_by_id(tmp_path / "ids.txt"), ids[:1]),
        (read_activities_by_id(paths, field="Activity"), ids[1:2]),
        (read_activities_by_id(tmp_path / "ids", file_format="ndjson", field="Activity"), ids[2:]),
    ):
        assert list(frame.compute()["id"]) == expected
    with pytest.raises(ThriveError, match="with field="):
        read_activities_by_id(paths)
    with pytest.raises(ThriveError, match="Use file_format='json' or file_format='ndjson'"):
        read_activities_by_id(tmp_path / "ids")
    with pytest.raises(ThriveError, match="or set the format with file_format"):
        read_activities_by_id(tmp_path / "ids.txt", file_format="ndjson")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        pytest.param("missing.txt", "No such file or directory", id="missing"),
        pytest.param("folder", "Is a directory|Permission denied", id="folder"),
        pytest.param("latin-1.txt", "byte 2 is not valid UTF-8", id="latin-1"),
        pytest.param("broken.csv.gz", "the gzip data is truncated", id="gzip"),
        pytest.param("a\0b", "embedded null", id="NUL"),
        pytest.param("empty.txt", "contains no IDs", id="empty"),
    ],
)
def test_a_file_that_cannot_be_read_is_an_error_with_its_name(
    tmp_path: Path, name: str, problem: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "latin-1.txt").write_bytes("aé\n".encode("latin-1"))
    (tmp_path / "broken.csv.gz").write_bytes(b"\x1f\x8b\x08")
    (tmp_path / "empty.txt").touch()
    with pytest.raises(ThriveError, match=problem) as caught:
        read_activities_by_id([tmp_path / name])
    assert str(tmp_path / name) in str(caught.value)


def test_a_file_without_permission_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_arguments: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(ThriveError, match=r"cannot read .*ids\.txt: Permission denied"):
        read_activities_by_id(tmp_path / "ids.txt")


def test_a_path_may_be_bytes(records: ThriveSandbox, tmp_path: Path) -> None:
    activity = records.add()
    (tmp_path / "ids.txt").write_text(activity.id)

    class BytesPath:
        def __fspath__(self) -> bytes:
            return bytes(tmp_path / "ids.txt")

    paths: Any = BytesPath()
    frame: Any = read_activities_by_id(paths)
    assert list(frame.compute()["id"]) == [activity.id]


def test_invalid_sources_of_ids_are_rejected(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text(ACTIVITY_ID)
    mixed: Any = [tmp_path / "ids.txt", 5]
    with pytest.raises(ConfigurationError, match="ids has a value of type int among paths"):
        read_activities_by_id(mixed)
    unknown: Any = "xml"
    with pytest.raises(ConfigurationError, match=r"file_format is 'xml'\. Choose 'text', 'csv', 'ndjson',"):
        read_activities_by_id(tmp_path / "ids.txt", file_format=unknown)


def test_ids_of_a_bag(records: ThriveSandbox) -> None:
    ids = [records.add().id for _ in range(9)]
    bag = bags.from_sequence(ids, npartitions=3)
    frame: Any = read_activities_by_id(bag, on_error="keep")
    assert frame.npartitions == 3
    found = frame.compute()
    assert list(found["id"]) == ids
    assert found["error"].isna().all()


def test_failures_are_kept_or_raised(records: ThriveSandbox) -> None:
    ids = [records.add().id, "0" * 24, "nonsense"]
    raising: Any = read_activities_by_id(ids)
    with pytest.raises(NotFoundError, match="0" * 24):
        raising.compute()
    kept: Any = read_activities_by_id(ids, on_error="keep")
    found = kept.compute()
    assert {name: str(dtype) for name, dtype in found.dtypes.items()} == TYPES | {
        "error_type": "string",
        "error": "string",
    }
    assert list(found["id"]) == ids
    assert list(found["error_type"].fillna("")) == ["", "NotFoundError", "InvalidIdError"]
    assert list(kept["error_type"].compute().fillna("")) == ["", "NotFoundError", "InvalidIdError"]


@pytest.mark.parametrize("ids", [ACTIVITY_ID, b"x", 5], ids=["text", "bytes", "number"])
def test_anything_else_is_not_ids(ids: Any) -> None:
    with pytest.raises(ConfigurationError, match="ids is of type"):
        read_activities_by_id(ids)


def test_invalid_options_are_rejected() -> None:
    wrong: Any = "ignore"
    with pytest.raises(ConfigurationError, match="Choose 'raise' or 'keep'"):
        read_activities_by_id([ACTIVITY_ID], on_error=wrong)
    with pytest.raises(ConfigurationError, match="concurrency is True"):
        read_activities_by_id([ACTIVITY_ID], concurrency=True)
    with pytest.raises(ConfigurationError, match="ids_per_partition is '5'"):
        read_activities_by_id([ACTIVITY_ID], ids_per_partition="5")  # type: ignore[arg-type]


def test_a_missing_package_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'thrive-learning\[dask\]'"):
        read_activities(BEGIN)


def test_a_client_of_the_sandbox_is_copied() -> None:
    with ThriveClient.sandbox() as client, dask.config.set(scheduler="synchronous"):
        expected = [record.id for record in client.activities.iterate()]
        frame: Any = read_activities(None, client=client, rows_per_partition=10)
        found = frame.compute()
    assert sorted(found["id"]) == sorted(expected)
    close_clients(None)


# A cluster in this process


@pytest.fixture
def cluster() -> Iterator[Any]:
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=2,
            processes=False,
            protocol="tcp",  # "inproc" would look for this machine's address
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
        ) as local,
        distributed.Client(local) as client,
    ):
        yield client


PYTHON = "{}.{}".format(*sys.version_info)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (
            (PYTHON, "9.9"),
            f"has thrive-learning 9.9, and this machine has {__version__}. Install the same ver",
        ),
        ((PYTHON, None), f"does not have thrive-learning, and this machine has {__version__}. Install the "),
        (("3.9", __version__), f"has Python 3.9, and this machine has {PYTHON}. Install the same version"),
        (ImportError("no x"), "cannot import thrive-learning (ImportError: no x). Install the same packages"),
    ],
    ids=["other", "missing", "python", "broken"],
)
@pytest.mark.parametrize("machine", ["the scheduler", "the worker tcp://"], ids=["scheduler", "worker"])
@pytest.mark.usefixtures("cluster", "records")
def test_machines_with_other_versions_are_rejected(
    monkeypatch: pytest.MonkeyPatch, machine: str, answer: tuple[str, str | None] | Exception, problem: str
) -> None:
    run = distributed.Client.run

    def scheduler(_self: Any, *_arguments: object) -> object:
        if isinstance(answer, Exception):
            raise answer
        return answer

    def workers(self: Any, *arguments: object, **options: Any) -> dict[str, object]:
        return dict.fromkeys(run(self, *arguments, **options), answer)

    if machine == "the scheduler":
        monkeypatch.setattr(distributed.Client, "run_on_scheduler", scheduler)
    else:
        monkeypatch.setattr(distributed.Client, "run", workers)
    with (
        dask.config.set(scheduler=None),
        pytest.raises(ConfigurationError, match=f"^{machine}.*{re.escape(problem)}"),
    ):
        read_activities(BEGIN)


def test_a_worker_without_the_package_or_that_has_just_left_is_recognized(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_versions(cluster)
    with monkeypatch.context() as patched:
        patched.setattr(versions, "_PACKAGE", "thrive_learning_is_not_here")
        with pytest.raises(ConfigurationError, match=r"^the scheduler does not have thrive-learning, and "):
            check_versions(cluster)
    monkeypatch.setattr(distributed.Client, "run", lambda *_a, **_o: {"tcp://left": OSError("closed")})
    check_versions(cluster)


def test_the_package_that_a_worker_imports_counts_and_not_its_metadata(tmp_path: Path) -> None:
    package = tmp_path / "thrive_learning"
    package.mkdir()
    (package / "__init__.py").write_text("__version__ = '9.9'\n")
    with (
        distributed.LocalCluster(
            n_workers=0, processes=False, protocol="tcp", host="127.0.0.1", dashboard_address="127.0.0.1:0"
        ) as local,
        distributed.Client(local, set_as_default=False) as client,
    ):
        command = [sys.executable, "-m", "distributed.cli.dask_worker", local.scheduler_address]
        worker = subprocess.Popen(
            [*command, "--no-nanny", "--no-dashboard", "--local-directory", str(tmp_path)],
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            stderr=subprocess.DEVNULL,
        )
        try:
            client.wait_for_workers(1, timeout=120)
            with pytest.raises(
                ConfigurationError, match=r"^the worker tcp://.* has thrive-learning 9\.9, and"
            ):
                check_versions(client)
        finally:
            worker.kill()
            worker.wait()


def test_a_cluster_without_workers_is_waited_for_without_a_limit(
    records: ThriveSandbox, monkeypatch: pytest.MonkeyPatch, kept: Kept
) -> None:
    records.generate(10)
    limits: list[object] = []
    wait = distributed.Future.result

    def result(self: Any, timeout: object = None) -> object:
        limits.append(timeout)
        local.adapt(minimum=0, maximum=1, interval="100 ms")  # which starts workers only for work
        return wait(self)

    monkeypatch.setattr(distributed.Future, "result", result)
    with (
        distributed.LocalCluster(
            n_workers=0,
            processes=False,
            protocol="tcp",
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
        ) as local,
        distributed.Client(local),
        dask.config.set(scheduler=None),
    ):
        frame: Any = read_activities(dt.datetime(2000, 1, 1, tzinfo=dt.UTC))
        [record] = [one for one in kept.records if one.name == "thrive_learning.cluster"]
        address = local.scheduler_address
    assert record.getMessage() == f"the Dask scheduler at {address} has no workers. Waiting for one"
    assert limits == [None]
    assert frame.npartitions == 1


def test_workers_share_a_token_and_close_their_clients(cluster: Any, records: ThriveSandbox) -> None:
    records.generate(1000)
    with dask.config.set(scheduler=None):
        frame: Any = read_activities(dt.datetime(2000, 1, 1, tzinfo=dt.UTC), rows_per_partition=100)
        assert len(frame.compute()) == 1000
    assert len(records.token_requests) == 1
    workers = {worker for worker, *_ in clients._clients}
    assert workers <= {*cluster.scheduler_info()["workers"]}
    assert len(workers) == 2
    opened = [*clients._clients.values()]
    cluster.retire_workers([*workers])
    cluster.cluster.scale(0)
    deadline = time.monotonic() + 60
    while clients._clients and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not clients._clients
    for client in opened:
        with pytest.raises(ClientClosedError):
            client.activities.get(ACTIVITY_ID)


KEY, LEFT, OTHER = (digit * 32 for digit in "012")
TOKEN = StoredToken(value="fake-token", expires_at=4e9, lifetime_s=3600, scopes=("api/read",))


def use_store() -> list[object]:
    """Runs in a worker."""
    store: Any = SchedulerTokenStore(distributed.get_worker())
    run_at_end(distributed.get_worker(), print)  # adds nothing if it was added
    run_at_end(distributed.get_worker(), print)
    found: list[object] = [isinstance(store, TokenStore), isinstance(store, RateLimitStore), repr(store)]
    found += [store.load(KEY), store.save(KEY, TOKEN), store.load(KEY) == TOKEN]
    found += [store.forget(KEY, "another"), store.load(KEY) == TOKEN]
    found += [store.forget(KEY, TOKEN.value), store.load(KEY)]
    release = store.try_lock(KEY, 60)
    assert release is not None
    found += [store.try_lock(KEY, 60), release(), release()]
    other = store.try_lock(KEY, 60)
    assert other is not None
    other()
    take = {"per_second": 0.01, "burst": 1.0, "longest_wait_s": 1e6}
    waits = [round(store.take(KEY, **take), -2) for _ in range(3)]
    store.slow(KEY, pause_s=3000.0)
    return [*found, waits, store.take(KEY, **take) > 2900]


def test_the_store_of_the_scheduler_is_a_token_store(cluster: Any, kept: Kept) -> None:
    logging.getLogger("distributed").setLevel(logging.DEBUG)
    try:
        found = cluster.submit(use_store, pure=False).result()
    finally:
        logging.getLogger("distributed").setLevel(logging.WARNING)
    assert found == [
        *(True, True, "SchedulerTokenStore()"),
        *(None, None, True),
        *(None, True),
        *(None, None),
        *(None, None, None),
        *([0.0, 100.0, 200.0], True),
    ]
    assert not any(TOKEN.value in text for text in kept.texts())


def test_a_worker_that_leaves_gives_back_its_locks(cluster: Any) -> None:
    def take_and_keep() -> bool:
        return SchedulerTokenStore(distributed.get_worker()).try_lock(LEFT, 600) is not None

    def take_another() -> bool:
        store = SchedulerTokenStore(distributed.get_worker())
        return store.try_lock(OTHER, 600) is not None and store.try_lock(OTHER, 600) is None

    first, second = cluster.scheduler_info()["workers"]
    assert cluster.submit(take_another, workers=[second], pure=False).result() is True
    assert cluster.submit(take_and_keep, workers=[first], pure=False).result() is True
    assert cluster.submit(take_and_keep, workers=[second], pure=False).result() is False
    cluster.retire_workers([first])
    assert cluster.submit(take_and_keep, workers=[second], pure=False).result() is True
    assert cluster.submit(take_another, workers=[second], pure=False).result() is False  # still its own
