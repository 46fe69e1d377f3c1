"""`thrive activity export --dask`, with the workers of a cluster in this process."""

import contextlib
import datetime as dt
import json
import logging
import math
import re
import shutil
import socket
import sys
import threading
import types
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from command import Call, assert_complaint
from list_server import ListServer, listing

from thrive_learning._documented_types import _report
from thrive_learning.cli.export.cluster import connection, dispatch, run
from thrive_learning.cli.export.cluster.dispatch import Dispatcher
from thrive_learning.cli.export.cluster.folder import PartFolder
from thrive_learning.cli.export.cluster.worker_settings import source_for
from thrive_learning.cli.export.paths import OutputError
from thrive_learning.errors import ConnectionFailedError

parquet: Any = pytest.importorskip("pyarrow.parquet")
distributed: Any = pytest.importorskip("distributed")
dask_config: Any = pytest.importorskip("dask.config")

COUNT = 2500
EXPORT = ("activity", "export", "--since", "2025-12-31", "--until", "2026-02-01")


def in_threads(workers: int) -> Any:
    """A cluster whose workers are threads of this process."""
    return distributed.LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=False,
        protocol="tcp",
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        silence_logs=logging.CRITICAL,
    )


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let workers of this process be slow, on a machine that runs other tests meanwhile."""
    monkeypatch.setattr(connection, "CONNECT_S", 60.0)
    monkeypatch.setattr("thrive_learning._cluster.scheduler_store._TIMEOUT_S", 60.0)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with in_threads(2) as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ListServer]:
    monkeypatch.chdir(tmp_path)
    with listing(COUNT) as served:
        for name, value in served.environment.items():
            monkeypatch.setenv(name, value)
        yield served


@pytest.fixture
def export(address: str) -> tuple[str, ...]:
    return (*EXPORT, "--dask", address, "--records-per-part", "400", "-o", "lake")


def parts() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(Path("lake").glob("*.parquet"))}


def work_files() -> list[str]:
    return sorted(path.name for path in Path("lake/_thrive").iterdir())


def ids_in(folder: str = "lake") -> Counter[str]:
    found: Counter[str] = Counter()
    for path in Path(folder).glob("*.parquet"):
        found.update(parquet.read_table(path, columns=["id"])["id"].to_pylist())
    return found


def fail_pages(server: ListServer, status: int, fails: Callable[[dict[str, str]], bool]) -> None:
    """Let the API answer pages of records, but not counts, with an error."""

    def hook(_page: int, query: dict[str, str]) -> tuple[int, Any] | None:
        if query["perPage"] == "1" or not fails(query):
            return None
        return status, {"status": status, "error": "error", "message": "no"}

    server.hook = hook


def pages(server: ListServer) -> int:
    return sum(query["perPage"] != "1" for query in server.requests)


def test_each_record_of_a_period_is_in_one_part(
    call: Call, server: ListServer, export: tuple[str, ...]
) -> None:
    code, out, err = call(*export)
    assert (code, out) == (0, ""), err
    assert ids_in() == dict.fromkeys(server.ids, 1)
    assert len(parts()) >= COUNT // 400
    assert {path.name for path in Path("lake").iterdir()} == {*parts(), "_thrive"}
    assert f"lake has 2,500 in {len(parts())} parts" in err
    assert work_files() == ["lock", "plan.json"]
    plan = json.loads(Path("lake/_thrive/plan.json").read_text())
    assert len(plan["parts"]) == len(parts())
    assert sum(records for *_, records, _overlap in plan["parts"]) >= COUNT


def test_filters_select_records(call: Call, server: ListServer, export: tuple[str, ...]) -> None:
    # More content IDs than fit into one request: each 100 of them have their own parts.
    wanted = [argument for number in range(101) for argument in ("--content-id", f"{number:024x}")]
    code, _, err = call(*export, "--quiet", *wanted[:40], *wanted[40:])
    assert (code, err) == (0, "")
    assert ids_in() == dict.fromkeys(server.ids, 1)
    plan = json.loads(Path("lake/_thrive/plan.json").read_text())
    assert {walk for walk, *_ in plan["parts"]} == {0, 1}
    server.requests.clear()
    assert call(*export, "--resume", *reversed_pairs(wanted)).code == 0
    assert server.requests == []
    assert call(*export, "--force", "--type", "viewed").code == 0
    assert ids_in().total() == -(-COUNT // 3)
    _report.cache_clear()
    code, _, err = call(*export, "--force", "--type", "vewed")
    assert code == 0
    assert err.count("thrive: 'vewed' is not a documented type. Did you mean 'viewed'?\n") == 1


def reversed_pairs(options: list[str]) -> list[str]:
    pairs = zip(options[::2], options[1::2], strict=True)
    return [argument for pair in reversed([*pairs]) for argument in pair]


def test_verbose_names_each_part_and_quiet_nothing(
    call: Call, server: ListServer, export: tuple[str, ...]
) -> None:
    fail_pages(server, 400, lambda query: query["timestampFrom"].startswith("2025"))
    code, _, err = call(*export, "-v")
    assert code == 9
    assert "thrive: tenant_id: " in err
    for name in parts():
        assert f"thrive: {name}: " in err
    assert ".parquet: failed: " in err
    code, out, err = call(*export, "--resume", "--quiet")
    assert (code, out) == (9, "")
    assert err == (
        "thrive: Run the same command with --resume to continue. It exports only the parts that are missing\n"
    )


def test_nothing_is_promised_of_a_folder_that_was_removed(
    call: Call, server: ListServer, export: tuple[str, ...]
) -> None:
    def remove(_query: object) -> bool:
        shutil.rmtree("lake", ignore_errors=True)
        return True

    fail_pages(server, 403, remove)
    code, _, err = call(*export)
    assert code == 4
    assert "thrive: exported 0 records in " in err
    assert "--resume" not in err


def test_a_failed_part_does_not_stop_the_others(
    call: Call, server: ListServer, export: tuple[str, ...]
) -> None:
    fail_pages(server, 400, lambda query: query["timestampFrom"].startswith("2025"))
    code, _, err = call(*export)
    assert code == 9
    assert "1 part failed: see lake/_thrive/failures.ndjson" in err
    assert "BadRequestError, from 2025-12-31 00:00:00 to 2026-01-01 " in err
    failure = json.loads(Path("lake/_thrive/failures.ndjson").read_text())
    assert (failure["error"], failure["status"]) == ("BadRequestError", 400)
    assert failure["period"].startswith("from 2025-12-31 00:00:00 to 2026-01-01 ")
    assert failure["url"].endswith("/activities")
    before = parts()
    server.hook = None
    server.requests.clear()
    code, _, err = call(*export, "--resume")
    assert code == 0, err
    assert f"skipped {len(before)} parts: already exported" in err
    assert pages(server) == 2  # the part, and the records near its end, which the next one has as well
    assert before.items() < parts().items()
    assert ids_in() == dict.fromkeys(server.ids, 1)
    assert work_files() == ["lock", "plan.json"]


def test_several_failures_in_a_row_end_the_export(
    call: Call, server: ListServer, export: tuple[str, ...]
) -> None:
    fail_pages(server, 400, lambda _query: True)
    code, _, err = call(*export)
    assert code == 6
    assert "complete parts are kept in lake. Run the same command with --resume to continue" in err
    assert "2 parts failed" in err
    assert parts() == {}


@pytest.mark.parametrize("status", [401, 403])
def test_rejected_credentials_end_the_export(
    call: Call, server: ListServer, export: tuple[str, ...], status: int
) -> None:
    fail_pages(server, status, lambda query: query["timestampTo"].startswith("2026-01-01 00:1"))
    code, _, err = call(*export)
    assert code == 4
    assert "failed" not in err
    assert not Path("lake/_thrive/failures.ndjson").exists()
    server.hook = None
    assert call(*export, "--resume").code == 0
    assert ids_in() == dict.fromkeys(server.ids, 1)


def test_an_error_while_records_are_counted_leaves_nothing(
    call: Call, server: ListServer, export: tuple[str, ...]
) -> None:
    server.hook = lambda _page, _query: (403, {"status": 403, "error": "forbidden", "message": "no"})
    result = call(*export)
    assert_complaint(result, 4)
    assert not Path("lake").exists()


def test_a_resumed_export_has_the_same_end(
    call: Call, server: ListServer, address: str, export: tuple[str, ...]
) -> None:
    relative = ("activity", "export", "--since", "9999d", "--dask", address, "-o", "lake")
    fail_pages(server, 403, lambda _query: True)
    assert call(*relative, "--resume").code == 4  # which begins an export
    plan = Path("lake/_thrive/plan.json").read_text()
    until = json.loads(plan)["query"]["until"]
    earlier = dt.datetime.fromisoformat(until) - dt.timedelta(days=1)  # as if the export had begun then
    plan = plan.replace(until, earlier.isoformat())
    Path("lake/_thrive/plan.json").write_text(plan)
    server.hook = None
    for other, difference in (
        (("--since", "9998d"), "its period differs"),
        (("--type", "viewed"), "its filters differ"),
        (("--until", "2026-02-01"), "its period differs"),
        (("--sandbox",), "its records come from region"),
    ):
        result = call(*relative, "--resume", *other)
        assert_complaint(result, 2)
        assert difference in result.err
    code, _, err = call(*relative, "--resume")
    assert code == 0
    since = dt.datetime.fromisoformat(json.loads(plan)["query"]["since"])
    times = f"from {since:%Y-%m-%d %H:%M:%S} to {earlier:%Y-%m-%d %H:%M:%S} UTC"
    assert f"continuing the period {times}, which was fixed when the export began" in err
    assert "--records-per-part" not in err
    assert Path("lake/_thrive/plan.json").read_text() == plan
    assert ids_in() == dict.fromkeys(server.ids, 1)
    assert call(*export).code == 2


@pytest.mark.usefixtures("server")
def test_a_resumed_export_says_that_it_keeps_its_parts(call: Call, export: tuple[str, ...]) -> None:
    assert call(*export).code == 0
    before = parts()
    notice = "--records-per-part 90 has no effect, because lake was planned with 400. Use --force to export"
    code, _, err = call(*export, "--resume", "--records-per-part", "90")
    assert (code, parts()) == (0, before)
    assert notice in err
    assert "continuing the period" not in err  # which --until has fixed
    assert call(*export, "--resume", "--records-per-part", "90", "--quiet").err == ""
    assert "--records-per-part" not in call(*export, "--resume").err


@pytest.mark.usefixtures("server")
def test_an_export_that_ends_while_another_begins_is_kept(
    call: Call, export: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = Path("lake/_thrive/plan.json")

    def source_of_a_slow_command(*arguments: Any) -> Any:
        plan.parent.mkdir(parents=True)
        plan.write_text("of the other command")
        return source_for(*arguments)

    monkeypatch.setattr(run, "source_for", source_of_a_slow_command)
    result = call(*export)
    assert_complaint(result, 2)
    assert "lake already contains an export. Use --resume to continue or --force to replace it." in result.err
    assert plan.read_text() == "of the other command"


def test_only_complete_parts_of_the_plan_count(
    call: Call, server: ListServer, export: tuple[str, ...]
) -> None:
    assert call(*export).code == 0
    first, second, *_ = sorted(parts())
    before = parts()
    (Path("lake") / first).write_bytes(before[first][:-9])
    (Path("lake") / second).unlink()
    (Path("lake") / first.replace(first[-16:-8], "0123abcd")).write_bytes(before[first])
    for name in (".thrive-0123456789abcdef.tmp", ".thrive-mine.tmp", "mine"):
        (Path("lake/_thrive") / name).touch()
    fail_pages(server, 403, lambda _query: True)
    assert call(*export, "--resume").code == 4
    assert parts().keys() == before.keys() - {first, second}  # readers see no damaged file meanwhile
    server.hook = None
    server.requests.clear()
    code, _, err = call(*export, "--resume")
    assert code == 0, err
    assert (
        pages(server) == 2 + 3
    )  # two parts, and the records near the three ends that they share with others
    assert parts().keys() == before.keys()
    assert ids_in() == dict.fromkeys(server.ids, 1)
    assert work_files() == [".thrive-mine.tmp", "lock", "mine", "plan.json"]


def test_leftovers_of_killed_workers_are_removed_at_the_end(
    call: Call, server: ListServer, export: tuple[str, ...]
) -> None:
    def leave(_page: int, query: dict[str, str]) -> None:
        if query["perPage"] != "1":
            Path("lake/_thrive/.thrive-0123456789abcdef.tmp").touch()

    server.hook = leave
    assert call(*export).code == 0
    assert work_files() == ["lock", "plan.json"]


def test_a_copy_of_another_part_does_not_count(
    call: Call, server: ListServer, export: tuple[str, ...]
) -> None:
    assert call(*export).code == 0
    before = parts()
    first, second, *_ = sorted(before)
    (Path("lake") / second).write_bytes(before[first])
    code, _, err = call(*export, "--resume")
    assert code == 0, err
    assert ids_in() == dict.fromkeys(server.ids, 1)


def test_a_damaged_part_is_exported_again(call: Call, server: ListServer, export: tuple[str, ...]) -> None:
    assert call(*export).code == 0
    before = parts()
    second = sorted(before)[1]
    data = before[second]
    (Path("lake") / second).write_bytes(data[:1000] + bytes(100) + data[1100:])
    code, _, err = call(*export, "--resume")
    assert code == 0, err
    assert ids_in() == dict.fromkeys(server.ids, 1)
    assert parts()[second] == data


def test_force_replaces_only_parts(call: Call, server: ListServer, export: tuple[str, ...]) -> None:
    assert call(*export).code == 0
    before = parts()
    (Path("lake") / "_SUCCESS").touch()
    result = call(*export)
    assert_complaint(result, 2)
    assert "lake already contains an export. Use --resume to continue or --force to replace it." in result.err
    assert parts() == before
    assert call(*export, "--force").code == 0
    assert parts().keys().isdisjoint(before)
    assert ids_in() == dict.fromkeys(server.ids, 1)
    assert (Path("lake") / "_SUCCESS").exists()
    Path("lake/_thrive/plan.json").write_text("{}")
    result = call(*export, "--resume")
    assert_complaint(result, 2)
    assert "cannot resume lake: its plan cannot be read by this version (see lake/_thrive/plan" in result.err
    Path("lake/_thrive/plan.json").unlink()
    result = call(*export, "--resume")
    assert_complaint(result, 2)
    assert "its plan (lake/_thrive/plan.json) is missing" in result.err


def test_a_folder_with_other_files_is_rejected(
    call: Call, server: ListServer, export: tuple[str, ...]
) -> None:
    Path("lake").mkdir()
    (Path("lake") / "other.parquet").touch()
    for option in ((), ("--force",), ("--resume",)):
        result = call(*export, *option)
        assert_complaint(result, 2)
        assert "lake contains other.parquet, which programs would read with the export." in result.err
    (Path("lake") / "other.parquet").unlink()
    assert call(*EXPORT, "-o", "lake", "--partition-by", "day", "--to", "ndjson").code == 0
    for path in Path("lake").glob("day=*"):
        path.rename(path.with_name(f".{path.name}"))
    result = call(*export, "--force")
    assert_complaint(result, 2)
    assert "lake contains an export with --partition-by" in result.err
    assert server.count == COUNT


def test_partition_by_rejects_the_folder_of_a_cluster(
    call: Call, server: ListServer, export: tuple[str, ...]
) -> None:
    assert call(*export).code == 0
    before = parts()
    for option in ((), ("--force",), ("--resume",), ("--state", "state.json")):
        result = call(*EXPORT, "-o", "lake", "--partition-by", "day", "--to", "ndjson", *option)
        assert_complaint(result, 2)
        assert "lake contains an export with --dask. Choose another folder." in result.err
    assert parts() == before
    assert server.count == COUNT


def test_one_command_at_a_time_writes_a_folder(
    call: Call, server: ListServer, export: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    with PartFolder(Path("lake")).locked():
        result = call(*export)
    assert_complaint(result, 2)
    assert "another export is writing lake." in result.err
    assert not Path("lake").exists()

    def lock(_descriptor: int, *, blocking: bool) -> bool:
        Path("lake/_thrive/lock").unlink()
        return not blocking

    monkeypatch.setattr("filelock.lock_descriptor", lock)
    result = call(*export)
    assert_complaint(result, 2)
    assert "another export is writing lake." in result.err
    assert server.requests == []


def test_ctrl_c_keeps_complete_parts(
    call: Call, server: ListServer, export: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    take = Dispatcher._take

    def interrupted(self: Dispatcher, *arguments: Any) -> None:
        take(self, *arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Dispatcher, "_take", interrupted)
        code, _, err = call(*export)
    assert code == 130
    assert "complete parts are kept in lake. Run the same command with --resume to continue" in err
    kept = parts()
    assert kept
    assert call(*export, "--resume").code == 0
    assert kept.items() <= parts().items()
    assert ids_in() == dict.fromkeys(server.ids, 1)


def test_the_deadline_ends_an_export(
    call: Call, server: ListServer, export: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "TICK_S", 0.01)
    goes_on = threading.Event()

    def wait(_page: int, query: dict[str, str]) -> None:
        if query["perPage"] != "1" and query["timestampFrom"].startswith("2025"):
            goes_on.wait(60)

    server.hook = wait
    code, _, err = call(*export, "--deadline", "2")
    goes_on.set()
    assert code == 9
    assert (
        "--deadline was reached before the last part. Run the same command with --resume to continue" in err
    )
    assert call(*export, "--resume").code == 0
    assert ids_in() == dict.fromkeys(server.ids, 1)
    code, _, err = call(*export, "--force", "--deadline", "0.001")
    assert code == 9
    assert "--deadline was reached" in err
    assert ids_in() == dict.fromkeys(server.ids, 1)


def test_items_without_an_id_are_counted(call: Call, server: ListServer, export: tuple[str, ...]) -> None:
    server.hook = lambda page, _query: (
        (200, {"pagination": {"totalResults": 1, "totalPages": 1}, "results": [{"type": "viewed"}]})
        if page == 1
        else None
    )
    code, _, err = call(*export)
    assert code == 9
    assert "exported 0 records" in err
    assert "lake has 0 in 1 part\n" in err
    assert "skipped 1 item without an ID" in err
    server.hook = None
    code, _, err = call(*export, "--resume")  # the part says it itself
    assert code == 9
    assert "skipped 1 item without an ID" in err


def test_records_that_are_on_no_page_are_missing(
    call: Call, server: ListServer, export: tuple[str, ...]
) -> None:
    server.hook = lambda page, query: (
        (200, {"pagination": {"totalResults": 3, "totalPages": 1}, "results": []})
        if query["perPage"] != "1" and page == 1
        else None
    )
    code, _, err = call(*export)
    assert code == 9
    assert "records that the server counted are missing, on no page. Export shorter periods" in err
    server.hook = None
    assert call(*export, "--resume").code == 9  # each part says it itself
    assert call(*export, "--force").code == 0


def test_the_sandbox_is_exported(call: Call, tmp_path: Path, address: str) -> None:
    output = str(tmp_path / "lake")
    code, _, err = call(
        "activity", "export", "--since", "2020-01-01", "--dask", address, "--sandbox", "-o", output
    )
    assert code == 0, err
    assert ids_in(output).total() == 34


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--dask", "8786"), "--dask is '8786'. Use 'local' for worker processes on this machine, or"),
        (("--dask", "http://a:1"), "--dask is 'http://a:1'. Use"),
        (("--dask", "tcp://a"), "--dask is 'tcp://a'. Use"),
        (("--dask", "tcp://a:b"), "--dask is 'tcp://a:b'. Use"),
        (("--dask", "tcp://a:1", "--workers", "2"), "--workers applies only to --dask local. Remove it."),
        (("--dask", "local", "--to", "csv"), "--dask writes Parquet, and --to is csv. Remove --to."),
        (
            ("--dask", "local", "-o", "lake.NDJSON"),
            "-o is lake.NDJSON, the name of a file, but --dask writes a folder. Use a name",
        ),
        (("--dask", "local", "-o", "lake.parquet"), "-o is lake.parquet, the name of a file, but"),
        (("--dask", "local", "--resume", "--force"), "--resume and --force cannot be used together."),
        (("--dask", "local", "--state", "s"), "--state cannot be used with --dask. Export the whole period"),
        (("--dask", "local", "--partition-by", "day"), "--partition-by cannot be used with --dask. "),
        (("--dask", "local", "--spreadsheet-safe"), "--spreadsheet-safe cannot be used with --dask. "),
        (("--dask", "local", "--concurrency", "2"), "--concurrency is for an export by IDs"),
        (("--dask", "local", "--since", "2999-01-01"), "is in the future. Set it to an earlier time."),
        (("--workers", "2"), "--workers has no effect without --dask. Add --dask local, or remove it."),
        (("--records-per-part", "2"), "--records-per-part has no effect without --dask."),
    ],
    ids=lambda value: "-".join(value).strip("-") if isinstance(value, tuple) else "",
)
def test_contradicting_options_are_rejected(
    call: Call, tmp_path: Path, options: tuple[str, ...], problem: str
) -> None:
    since = () if "--since" in options else ("--since", "2026-01-01")
    result = call("activity", "export", "-o", str(tmp_path / "lake"), "--sandbox", *since, *options)
    assert_complaint(result, 2)
    assert problem in result.err
    assert [*tmp_path.iterdir()] == []


def test_ids_and_other_outputs_are_rejected(call: Call, tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("60d5ec49b60b4b3a2c8f9a10\n")
    result = call("activity", "export", str(tmp_path / "ids.txt"), "--dask", "local", "-o", "lake")
    assert_complaint(result, 2)
    assert "--dask is for an export of a period and cannot be used with IDS." in result.err
    for output, problem in (("-", "--dask writes a folder"), (str(tmp_path / "ids.txt"), "is not a folder")):
        result = call(*EXPORT, "--dask", "local", "--sandbox", "-o", output)
        assert_complaint(result, 2)
        assert problem in result.err


# The cluster


def test_a_missing_extra_is_named(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    result = call(*EXPORT, "--dask", "local", "--sandbox", "-o", str(tmp_path / "lake"))
    assert_complaint(result, 2)
    assert "--dask needs the extra 'dask' (distributed is not installed). Install it with: " in result.err
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("answer", [None, b"HTTP/1.1 400 Bad Request\r\n\r\n" * 4], ids=["silent", "http"])
def test_another_server_is_not_a_scheduler(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes | None
) -> None:
    monkeypatch.setattr(connection, "CONNECT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with contextlib.suppress(OSError):  # perhaps nobody has connected, or the limit has passed
                accepted.append(listening.accept()[0])
                if answer is not None:
                    accepted[0].sendall(answer)
                    accepted[0].close()

        accepted: list[socket.socket] = []
        threading.Thread(target=serve, daemon=True).start()
        address = f"tcp://127.0.0.1:{listening.getsockname()[1]}"
        result = call(*EXPORT, "--dask", address, "--sandbox", "-o", str(tmp_path / "lake"))
    for one in accepted:
        one.close()
    assert_complaint(result, 7)
    assert f"cannot connect to a Dask scheduler at {address}" in result.err
    assert [*tmp_path.iterdir()] == []


def test_a_scheduler_that_cannot_be_reached_is_named(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CONNECT_S", 0.2)
    wait = connection._InThread.wait
    # On a busy machine, the thread may need longer than twice that.
    monkeypatch.setattr(connection._InThread, "wait", lambda run, _limit_s: wait(run, 60))
    # If its time is over before its first attempt has failed, Dask raises an AssertionError without words.
    for scheme, problem in (("tcp", "(?:Timed out|AssertionError)"), ("tls", "TLS")):
        address = f"{scheme}://127.0.0.1:1"
        result = call(*EXPORT, "--dask", address, "--sandbox", "-o", str(tmp_path / "lake"))
        assert_complaint(result, 7)
        assert re.search(rf"cannot connect to a Dask scheduler at {address}: {problem}", result.err)


def test_a_cluster_without_workers_is_rejected(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "FIRST_WORKER_S", 0.1)
    with in_threads(0) as cluster:
        address = cluster.scheduler_address
        result = call(*EXPORT, "--dask", address, "--sandbox", "-o", str(tmp_path / "lake"))
    assert_complaint(result, 7)
    assert f"has no workers after 0 s. Start one with: dask worker {address}" in result.err


@pytest.mark.parametrize("quiet", [False, True], ids=["loud", "quiet"])
def test_a_deadline_ends_the_wait_for_workers(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, quiet: bool
) -> None:
    monkeypatch.setattr(connection, "FIRST_WORKER_S", 3600.0)
    with in_threads(0) as cluster:
        address = cluster.scheduler_address
        options = (
            "--sandbox",
            "-o",
            str(tmp_path / "lake"),
            "--deadline",
            "1",
            *(["--quiet"] if quiet else []),
        )
        result = call(*EXPORT, "--dask", address, *options)
    assert result.code == 9
    if quiet:
        assert result.err == ""
        return
    first, *_, last = result.err.splitlines()
    start = f"Start one with: dask worker {address}"
    assert first == f"thrive: the Dask scheduler at {address} has no workers. {start}"
    assert last.startswith("thrive: --deadline was reached before the last part. ")


@pytest.mark.parametrize(
    ("most_s", "left_s", "expected"),
    [
        pytest.param(30.0, math.inf, 30.0, id="no-deadline"),
        pytest.param(30.0, 5.0, 5.0, id="deadline-first"),
        pytest.param(30.0, -1.0, 0.1, id="deadline-over"),
    ],
)
def test_a_time_limit_ends_with_the_deadline(
    monkeypatch: pytest.MonkeyPatch, most_s: float, left_s: float, expected: float
) -> None:
    monkeypatch.setattr(connection, "monotonic", lambda: 100.0)
    assert connection._limit(most_s, 100.0 + left_s) == expected


def test_a_complete_export_needs_no_cluster(
    call: Call, server: ListServer, export: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call(*export).code == 0
    before = parts()
    server.requests.clear()
    Path("lake/part-00000-20260101T000000Z-20260102T000000Z-00000000.parquet").touch()  # of another plan
    with monkeypatch.context() as patched:
        patched.setattr(distributed, "Client", None)
        code, _, err = call(*export, "--resume")
    assert code == 0, err
    exported, skipped = err.splitlines()
    assert exported.startswith("thrive: exported 0 records in ")
    assert exported.endswith(f"; lake has 2,500 in {len(before)} parts")
    assert skipped == f"thrive: skipped {len(before)} parts: already exported"
    assert parts() == before
    assert server.requests == []
    Path("lake", next(iter(before))).unlink()
    assert call(*export, "--resume").code == 0
    assert parts().keys() == before.keys()


@pytest.mark.parametrize("machine", ["the scheduler", "the worker tcp://"], ids=["scheduler", "worker"])
def test_machines_with_other_versions_are_rejected(
    call: Call, tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch, machine: str
) -> None:
    answer = ("{}.{}".format(*sys.version_info), "9.9")
    if machine == "the scheduler":
        monkeypatch.setattr(distributed.Client, "run_on_scheduler", lambda *_a: answer)
    else:
        monkeypatch.setattr(distributed.Client, "run", lambda *_a, **_o: {"tcp://there": answer})
    result = call(*EXPORT, "--dask", address, "--sandbox", "-o", str(tmp_path / "lake"))
    assert_complaint(result, 2)
    assert f": {machine}" in result.err
    assert "has thrive-learning 9.9, and this machine has " in result.err


def cannot_see(theirs: Path) -> Path:
    raise OutputError(f"it cannot see {theirs}")


def elsewhere(theirs: Path) -> Path:
    return theirs.with_name("on-another-machine")


def another_file(theirs: Path) -> Path:
    path = theirs.parents[2] / "mine"
    path.touch()
    return path


def has_left(_theirs: Path) -> Path:
    raise OSError("gone")


def test_a_folder_that_is_not_shared_is_rejected(
    call: Call, server: ListServer, export: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "VISIBLE_S", 0.2)
    for meet, code, problem in (
        (cannot_see, 1, "it cannot see /"),
        (elsewhere, 2, "on-another-machine, and this machine cannot see it. Choose a folder that"),
    ):
        monkeypatch.setattr(connection, "meet", meet)
        result = call(*export)
        assert_complaint(result, code)
        assert problem in result.err
        assert "worker tcp://127.0.0.1:" in result.err
        assert not Path("lake").exists()
    monkeypatch.setattr(connection, "meet", another_file)
    assert call(*export).code == 0
    assert Path("mine").exists()
    shutil.rmtree("lake")
    server.requests.clear()
    monkeypatch.setattr(connection, "meet", has_left)
    assert call(*export).code == 0
    assert work_files() == ["lock", "plan.json"]
    assert ids_in() == dict.fromkeys(server.ids, 1)


def test_a_part_that_cannot_be_seen_ends_the_export(
    call: Call, server: ListServer, export: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "is_visible", lambda _path: False)
    code, _, err = call(*export)
    assert code == 1
    assert "and this machine cannot read it. Choose a folder that this machine and all workers share" in err
    assert server.count == COUNT


def test_a_file_of_another_machine_may_take_a_while(tmp_path: Path) -> None:
    path = tmp_path / "part"
    thread = threading.Timer(0.05, path.touch)
    thread.start()
    assert connection.is_visible(path)
    thread.join()


def test_a_scheduler_that_ends_is_reported(
    call: Call, server: ListServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "TICK_S", 0.05)
    has_ended = threading.Event()
    with in_threads(1) as cluster:

        def close(_page: int, query: dict[str, str]) -> None:
            if query["perPage"] != "1":
                for client in distributed.Client._instances:
                    client._timeout = 1.0  # for the next connection, in place of CONNECT_S
                cluster.loop.add_callback(cluster.scheduler.close)
                has_ended.wait(60)  # meanwhile, no part is written

        server.hook = close
        code, _, err = call(
            *EXPORT, "--dask", cluster.scheduler_address, "--records-per-part", "400", "-o", "lake"
        )
        has_ended.set()
        with dask_config.set({"distributed.comm.timeouts.connect": "1s"}):  # to the scheduler that has ended
            cluster.close()
    assert code == 7
    assert "thrive: error: the connection to the Dask scheduler was lost" in err
    assert "Run the same command with --resume" in err


def test_errors_of_a_connection_are_converted(address: str) -> None:
    for error, shown in ((OSError("in <TCP>"), "in <TCP>"), (TimeoutError(), "TimeoutError")):
        with (
            pytest.raises(ConnectionFailedError, match=f"connection to the Dask scheduler was lost .{shown}"),
            connection.connected(address, None, math.inf, quiet=False),
        ):
            raise error


class FakeNanny:
    def kill(self) -> None: ...


class FakeCluster:
    def __init__(self, **options: Any) -> None:
        self.options = options
        self.workers = {0: FakeNanny(), 1: FakeNanny()}
        self.killed: list[object] = []
        self.is_closed = False

    def sync(self, function: Any, *, timeout: int, callback_timeout: float) -> None:
        assert callback_timeout
        self.killed.append((function.__self__, timeout))
        raise RuntimeError("it has ended already")

    def close(self, *, timeout: float) -> None:
        assert timeout
        self.is_closed = True
        raise KeyError("tls://127.0.0.1:1")  # as distributed does if a worker dies meanwhile


def interrupt(clusters: list[Any], cluster: Any) -> None:
    clusters.append(cluster)
    raise KeyboardInterrupt


def test_a_local_cluster_is_private_and_ends_at_once_after_an_error() -> None:
    fake: Any = types.SimpleNamespace(LocalCluster=FakeCluster, Security=distributed.Security)
    clusters: list[Any] = []
    with connection._local(fake, 3) as cluster:
        clusters.append(cluster)
    with pytest.raises(KeyboardInterrupt), connection._local(fake, None) as cluster:
        interrupt(clusters, cluster)
    assert [cluster.is_closed for cluster in clusters] == [True, True]
    assert clusters[0].killed == []
    assert clusters[1].killed == [(nanny, 0) for nanny in clusters[1].workers.values()]
    options = clusters[0].options
    assert (options["n_workers"], options["threads_per_worker"], options["processes"]) == (3, 1, True)
    assert options["security"].require_encryption
    assert clusters[1].options["n_workers"] >= 1
