"""`thrive activity export --since`, from its options to its exit code."""

import csv
import datetime as dt
import json
import random
import re
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command import Call, assert_complaint
from list_server import ListServer, listing, record_of

from thrive_learning._documented_types import _report
from thrive_learning.cli import options
from thrive_learning.cli.export import walk
from thrive_learning.cli.export.destinations import Destination
from thrive_learning.cli.export.files import ExportFiles
from thrive_learning.cli.export.partitions import parts_of
from thrive_learning.cli.export.paths import OutputError
from thrive_learning.cli.export.state import State, StateFile
from thrive_learning.cli.export.streams import StreamOutput

EXPORT = ("activity", "export")
ALL = (*EXPORT, "--since", "2025-12-31")
OUT = ("-o", "out.ndjson")
LAKE = ("-o", "lake", "--partition-by", "day", "--to", "ndjson")
STATE = (*ALL, "--state", "state.json")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ListServer]:
    monkeypatch.chdir(tmp_path)
    with listing(2500) as served:
        for name, value in served.environment.items():
            monkeypatch.setenv(name, value)
        yield served


def lines_of(*names: str | Path) -> list[dict[str, Any]]:
    texts = (Path(name).read_text(encoding="utf-8") for name in names)
    return [json.loads(line) for text in texts for line in text.splitlines()]


def ids_of(*names: str | Path) -> list[str]:
    return [record["id"] for record in lines_of(*names)]


def fail_at(server: ListServer, page: int) -> None:
    """Make the API reject the credentials from a page on."""

    def hook(asked: int, _query: dict[str, str]) -> tuple[int, Any] | None:
        return (403, {"status": 403, "error": "forbidden", "message": "no"}) if asked >= page else None

    server.hook = hook


def test_all_records_of_a_period_are_exported_as_received(call: Call, server: ListServer) -> None:
    code, out, err = call(*ALL, *OUT)
    assert (code, out) == (0, "")
    records = lines_of("out.ndjson")
    assert {record["id"] for record in records} == server.ids
    assert len(records) == 2500
    assert records[0] == record_of(2499, 2_499_000)
    assert err.startswith("thrive: exported 2,500 records in ")
    assert err.endswith("; out.ndjson has 2,500\n")
    assert [request["perPage"] for request in server.requests] == ["1000"] * 3
    assert {request["timestampFrom"] for request in server.requests} == {"2025-12-31 00:00:00"}
    assert len({request["timestampTo"] for request in server.requests}) == 1


def test_filters_are_sent(call: Call, server: ListServer) -> None:
    period = ("--since", "2026-01-01T00:10", "--until", "2026-01-01T02:20+02:00")
    filters = (
        "--type",
        "viewed",
        "--type",
        "completed",
        "--content-id",
        f"{5:024x}",
        "--content-type",
        "course",
    )
    assert call(*EXPORT, *period, *filters, "-o", "out.ndjson").code == 0
    assert server.requests == [
        {
            "page": "1",
            "perPage": "1000",
            "actions": "viewed,completed",
            "contentIds": f"{5:024x}",
            "contentType": "course",
            "timestampFrom": "2026-01-01 00:10:00",
            "timestampTo": "2026-01-01 00:20:00",
        }
    ]
    assert {record["type"] for record in lines_of("out.ndjson")} == {"viewed", "completed"}
    assert call(*EXPORT, *period, "--omit-type", "viewed", "-o", "out.ndjson", "--force").code == 0
    assert server.requests[-1]["omitActions"] == "viewed"


@pytest.mark.parametrize("option", ["--type", "--omit-type"])
@pytest.mark.parametrize("state", [pytest.param((), id="once"), pytest.param(STATE[4:], id="scheduled")])
def test_an_undocumented_type_is_a_warning(
    call: Call, server: ListServer, option: str, state: tuple[str, ...]
) -> None:
    _report.cache_clear()
    code, _, err = call(*ALL, *OUT, option, "vewed", *state)
    assert code == 0
    assert err.count("thrive: 'vewed' is not a documented type. Did you mean 'viewed'?\n") == 1
    assert server.requests


def test_a_quiet_export_does_not_warn(call: Call, server: ListServer) -> None:
    _report.cache_clear()
    assert call(*ALL, *OUT, "--type", "vewed", "--quiet") == (0, "", "")
    assert server.requests


def test_many_content_ids_are_asked_for_one_after_the_other(call: Call, server: ListServer) -> None:
    ids = [word for number in range(150) for word in ("--content-id", f"{number:024x}")]
    fail_at(server, 9)
    asked: list[str] = []

    def hook(_page: int, query: dict[str, str]) -> tuple[int, Any] | None:
        asked.append(query["contentIds"])
        return (403, {"status": 403, "error": "forbidden", "message": "no"}) if len(asked) == 4 else None

    server.hook = hook
    assert call(*ALL, *ids, *OUT).code == 4
    assert len(lines_of("out.ndjson")) == 2500
    assert [len(one.split(",")) for one in asked] == [100, 100, 100, 50]
    assert call(*ALL, *ids, *OUT, "--resume").code == 0
    assert len(asked) == 5  # records of the first part are not requested again
    assert len(lines_of("out.ndjson")) == 2500


def test_an_export_is_resumed_with_the_period_of_its_first_run(
    call: Call, server: ListServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk, "_MOST_BUFFERED_BYTES", 1)
    fail_at(server, 3)
    code, _, err = call(*EXPORT, "--since", "5000d", *OUT)
    assert code == 4
    assert (
        "thrive: records so far are kept in out.ndjson. Run the same command with --resume to continue" in err
    )
    first = server.requests[0]
    server.hook = None
    server.arrive_late(random.Random(1), 1500)  # noqa: S311 - it draws dates
    server.requests.clear()
    code, _, err = call(*EXPORT, "--since", "5000d", *OUT, "--resume")
    assert code == 0
    assert {request["timestampTo"] for request in server.requests} == {first["timestampTo"]}
    assert {request["timestampFrom"] for request in server.requests} == {first["timestampFrom"]}
    found = ids_of("out.ndjson")
    assert len(found) == len(set(found))
    assert {f"{number:024x}" for number in range(2500)} <= set(found)
    assert "records: already exported" in err
    server.requests.clear()
    assert call(*EXPORT, "--since", "5000d", *OUT, "--resume").code == 0
    assert server.requests == []  # it is complete


def test_resume_begins_an_export_that_is_not_there(call: Call, server: ListServer) -> None:
    assert call(*ALL, *OUT, "--resume").code == 0
    assert set(ids_of("out.ndjson")) == server.ids


@pytest.mark.usefixtures("server")
def test_a_journal_that_cannot_be_read_is_left_alone(call: Call) -> None:
    Path("out.ndjson.journal").write_text("mine")
    result = call(*ALL, *OUT, "--resume")
    assert_complaint(result, 2)
    assert "its journal cannot be read by this version" in result.err
    assert Path("out.ndjson.journal").read_text() == "mine"


def test_a_resumed_export_begins_a_few_pages_before_the_last_one(call: Call, server: ListServer) -> None:
    server.add([number * 1000 + 1 for number in range(7000)])
    fail_at(server, 8)
    assert call(*ALL, *OUT).code == 4
    server.hook = None
    server.add([3_500_000])  # on a page that is read again
    server.requests.clear()
    fail_at(server, 6)
    assert call(*ALL, *OUT, "--resume").code == 4
    assert server.requests[0]["page"] == "4"
    server.hook = None
    server.requests.clear()
    assert call(*ALL, *OUT, "--resume").code == 0
    assert server.requests[0]["page"] == "4"
    assert len(ids_of("out.ndjson")) == len(set(ids_of("out.ndjson")))
    assert {f"{number:024x}" for number in range(9500)} <= set(ids_of("out.ndjson"))


def test_the_output_is_on_the_disk_before_the_state_says_so(
    call: Call, server: ListServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []

    def note(owner: type, name: str) -> None:
        former = getattr(owner, name)

        def noted(*arguments: Any, **options: Any) -> Any:
            steps.append(f"{owner.__name__}.{name}")
            return former(*arguments, **options)

        monkeypatch.setattr(owner, name, noted)

    note(ExportFiles, "write_position")
    note(ExportFiles, "sync")
    note(Destination, "finish")
    note(Destination, "sync")
    note(StateFile, "save")
    note(Destination, "remove_work")
    assert call(*STATE, *OUT).code == 0
    assert len(server.requests) == 3
    last = len(steps) - steps[::-1].index("ExportFiles.write_position")
    assert steps[last:] == [
        "ExportFiles.sync",
        "Destination.finish",
        "Destination.sync",
        "StateFile.save",
        "Destination.remove_work",
        "ExportFiles.sync",
    ]


def test_another_export_is_not_resumed(call: Call, server: ListServer) -> None:
    call(*ALL, *OUT)
    Path("ids.txt").write_text(f"{1:024x}\n")
    for arguments, problem in (
        ((*EXPORT, "--since", "2025-12-30"), "its period differs"),
        ((*ALL, "--type", "viewed"), "its filters differ"),
        ((*EXPORT, "ids.txt"), "it is an export of a period"),
    ):
        result = call(*arguments, *OUT, "--resume")
        assert_complaint(result, 2)
        assert problem in result.err
    assert_complaint(result := call(*ALL, *OUT), 2)
    assert "out.ndjson already exists. Use --resume to continue or --force to overwrite." in result.err
    assert call(*ALL, *OUT, "--force").code == 0
    assert len(server.requests) == 6


def test_an_export_that_never_came_to_anything_leaves_nothing(call: Call, server: ListServer) -> None:
    fail_at(server, 1)
    assert call(*ALL, *OUT).code == 4
    assert list(Path().iterdir()) == []
    assert call(*STATE, *OUT).code == 4
    assert [path.name for path in Path().iterdir()] == ["state.json.lock"]


def test_a_table_is_made_of_the_records(call: Call, server: ListServer) -> None:
    fail_at(server, 2)
    assert call(*ALL, "-o", "out.csv").code == 4
    assert not Path("out.csv").exists()
    server.hook = None
    code, _, err = call(*ALL, "-o", "out.csv", "--resume", "--spreadsheet-safe")
    assert (code, err.splitlines()[-1]) == (0, "thrive: wrote 2,500 rows to out.csv")
    with Path("out.csv").open(newline="") as file:
        assert len({row["id"] for row in csv.DictReader(file)}) == 2500


def test_records_go_to_a_stream(call: Call, server: ListServer) -> None:
    code, out, err = call(*ALL, "-o", "-")
    assert (code, len({json.loads(line)["id"] for line in out.splitlines()})) == (0, 2500)
    assert err.startswith("thrive: exported 2,500 records in ")
    assert list(Path().iterdir()) == []
    fail_at(server, 2)
    code, out, err = call(*ALL, "-o", "-")
    assert (code, len(out.splitlines())) == (4, 1000)
    assert "is safe" not in err
    server.hook = None
    assert call(*ALL, "-o", "-", "--quiet", "--deadline", "0.000001").err == ""
    code, out, err = call(*ALL, "-o", "-", "--deadline", "0.000001")
    assert (code, len(out.splitlines())) == (9, 1)
    assert err.endswith("thrive: --deadline was reached before the last record\n")


def test_a_deadline_ends_it_to_be_resumed(call: Call, server: ListServer) -> None:
    code, _, err = call(*ALL, *OUT, "--deadline", "0.000001")
    assert (code, len(lines_of("out.ndjson"))) == (9, 1)
    assert "thrive: --deadline was reached before the last record. Run the same command with --resume" in err
    assert call(*ALL, *OUT, "--resume", "--quiet") == (0, "", "")
    assert len(set(ids_of("out.ndjson"))) == 2500
    assert len(server.requests) >= 3


def test_items_without_an_id_are_counted(call: Call, server: ListServer) -> None:
    items = [{"type": "viewed"}, record_of(1, 0), 5]
    server.hook = lambda _page, _query: (200, {"pagination": {"totalPages": 1}, "results": items})
    code, _, err = call(*ALL, *OUT)
    assert (code, ids_of("out.ndjson")) == (9, [f"{1:024x}"])
    assert "thrive: skipped 2 items without an ID\n" in err


def empty_from(server: ListServer, page: int) -> None:
    """Let pages be empty, although the server counts the records of all."""

    def hook(asked: int, _query: dict[str, str]) -> tuple[int, Any] | None:
        counts = {"totalResults": server.count, "totalPages": 3, "page": asked}
        return (200, {"pagination": counts, "results": []}) if asked >= page else None

    server.hook = hook


def first_ids(*paths: Path) -> dict[str, int]:
    """Return how often each ID is the first in a line."""
    lines = [line for path in paths for line in path.read_text(encoding="utf-8").splitlines()]
    return Counter(found[0] for line in lines if (found := re.search("[0-9a-f]{24}", line)))


@pytest.mark.parametrize("output", ["out.ndjson", "out.csv"])
def test_records_that_are_on_no_page_are_missing(call: Call, server: ListServer, output: str) -> None:
    empty_from(server, 2)
    code, _, err = call(*ALL, "-o", output)
    assert code == 9
    assert "thrive: 1,500 records that the server counted are missing, on no page. Export shorter" in err
    assert err.count("server counted") == 1
    assert call(*ALL, "-o", output, "--resume").code == 9
    server.hook = None
    assert call(*ALL, "-o", output, "--resume", "--quiet") == (0, "", "")
    assert first_ids(Path(output)) == dict.fromkeys(server.ids, 1)


@pytest.mark.parametrize(
    "output",
    [
        pytest.param(("-o", "out-{until}.csv"), id="file"),
        pytest.param(("--partition-by", "day", "--to", "csv", "-o", "lake"), id="folder"),
    ],
)
@pytest.mark.parametrize("is_elsewhere", [False, True])
def test_a_run_with_missing_records_is_not_the_beginning_of_the_next(
    call: Call, server: ListServer, output: tuple[str, ...], *, is_elsewhere: bool
) -> None:
    empty_from(server, 2)
    code, _, err = call(*STATE, *output)
    assert code == 9
    assert "the next run with state.json begins" not in err
    assert "thrive: the next run with state.json requests this period once more\n" in err
    if is_elsewhere:  # as in a scheduled workflow, which keeps only the state
        for path in [*Path().glob("out-*"), *Path().glob("lake*")]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    server.hook = None
    code, _, err = call(*STATE, *output)
    assert code == 0
    assert "continuing the interrupted run" in err
    assert "the next run with state.json begins" in err
    assert first_ids(*Path().rglob("*.csv")) == dict.fromkeys(server.ids, 1)


def test_a_wrong_count_does_not_stop_the_next_runs(call: Call, server: ListServer) -> None:
    missing = [3, 1, 2, 0]

    def hook(_page: int, query: dict[str, str]) -> tuple[int, Any]:
        status, document = server.answered(query)
        document["pagination"]["totalResults"] += missing[0]
        return status, document

    server.hook = hook
    assert at(call, 20).code == 9
    missing.pop(0)
    assert at(call, 20).code == 9  # fewer are missing, so it may be worth another request
    missing.pop(0)
    code, _, err = at(call, 20)
    assert code == 9
    assert "thrive: 2 records that the server counted are missing" in err
    assert "thrive: the next run with state.json begins at 2026-01-01 00:14:59 UTC\n" in err
    missing.pop(0)
    assert at(call, 30).code == 0
    assert len(set(ids_of(*outputs()))) == 1800


@pytest.mark.parametrize("minute", [19, 30])
def test_the_exit_code_is_also_that_of_a_continued_run(call: Call, server: ListServer, minute: int) -> None:
    fail_at(server, 2)
    assert at(call, 25).code == 4
    answers = [{"pagination": {"totalPages": 1}, "results": [{"type": "viewed"}]}]
    server.hook = lambda _page, _query: (200, answers.pop()) if answers else None
    code, _, err = at(call, minute)
    assert code == 9
    assert "continuing the interrupted run" in err
    assert err.count("thrive: nothing to export") == (minute == 19)


def test_a_pause_is_shown(call: Call, server: ListServer) -> None:
    answers = [(429, {"status": 429, "error": "too_many_requests", "message": "slow down"})]
    server.hook = lambda _page, _query: answers.pop() if answers else None
    code, _, err = call(*ALL, *OUT)
    assert code == 0
    assert "thrive: pausing " in err


def test_a_closed_pipe_ends_it_quietly(
    call: Call, server: ListServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(StreamOutput, "write_record", fails)
    assert call(*ALL, "-o", "-") == (141, "", "")
    assert len(server.requests) >= 1


@pytest.mark.parametrize("more", [(), ("--state", "state.json")], ids=["once", "scheduled"])
@pytest.mark.parametrize("error", [OutputError("the disk is full"), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("pages", [0, 2])
@pytest.mark.usefixtures("server")
def test_the_summary_counts_what_is_in_the_file(
    call: Call,
    monkeypatch: pytest.MonkeyPatch,
    *,
    more: tuple[str, ...],
    error: BaseException,
    pages: int,
) -> None:
    written = ExportFiles.write_records
    calls: list[None] = []

    def full(files: ExportFiles, records: Any) -> None:
        calls.append(None)
        if len(calls) > pages:
            raise error
        written(files, records)

    monkeypatch.setattr(ExportFiles, "write_records", full)
    code, _, err = call(*ALL, *OUT, *more)
    assert code == (130 if isinstance(error, KeyboardInterrupt) else 1)
    if pages:
        assert err.startswith("thrive: exported 2,000 records in ")
        assert "; out.ndjson has 2,000\n" in err
        assert len(lines_of("out.ndjson")) == 2000
    else:
        assert "out.ndjson has" not in err
        assert "records so far" not in err
        assert not Path("out.ndjson").exists()


def test_a_moved_output_is_an_error(call: Call, server: ListServer) -> None:
    for name in ("out.ndjson", "out.csv"):

        def move(page: int, _query: dict[str, str]) -> None:
            if page == 3:
                Path("out.ndjson").rename("elsewhere.ndjson")

        server.hook = move
        code, _, err = call(*ALL, "-o", name)
        assert code == 1
        assert err.startswith("thrive: error: out.ndjson was moved, replaced, or removed during the export.")
        assert not Path(name).exists()
        server.hook = None
        Path("elsewhere.ndjson").rename("out.ndjson")
        code, _, err = call(*ALL, "-o", name, "--resume")
        assert code == 0
        assert "; out.ndjson has 2,500\n" in err
        assert set(ids_of("out.ndjson")) == server.ids
        for path in Path().glob("out.*"):
            path.unlink()


def test_a_large_page_is_read_if_asked(
    call: Call, server: ListServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(options, "DEFAULT_PAGE_BYTES", 1000)
    code, _, err = call(*ALL, *OUT)
    assert code == 8
    assert "larger than 1000 bytes; max_page_bytes= raises this limit (in commands: --max-body)" in err
    assert "out.ndjson has" not in err

    def large(page: int, query: dict[str, str]) -> tuple[int, Any] | None:
        if page < 3:
            return None
        server.hook = None
        status, document = server.answer(query)
        document["padding"] = "x" * 1024 * 1024
        return status, document

    server.hook = large
    assert call(*ALL, *OUT, "--max-body", "1").code == 8
    server.hook = large
    code, _, err = call(*ALL, *OUT, "--max-body", "2", "--resume")
    assert code == 0
    assert "; out.ndjson has 2,500\n" in err
    assert server.hook is None


# With --partition-by


def test_a_folder_has_a_part_for_each_day(call: Call, server: ListServer) -> None:
    server.add([86_400_000, 86_400_001, 3 * 86_400_000])
    code, _, err = call(*ALL, *LAKE)
    assert (code, err.splitlines()[-1]) == (0, "thrive: wrote 2,503 rows in 3 parts to lake")
    days = {path.parent.name: len(lines_of(path)) for path in parts_of(Path("lake"))}
    assert days == {"day=2026-01-01": 2500, "day=2026-01-02": 2, "day=2026-01-04": 1}
    before = sorted(parts_of(Path("lake")))
    assert call(*ALL, *LAKE, "--resume").code == 0
    assert sorted(parts_of(Path("lake"))) == before


def test_a_folder_is_resumed_or_replaced_or_left_alone(call: Call, server: ListServer) -> None:
    fail_at(server, 2)
    assert call(*ALL, *LAKE).code == 4
    assert list(parts_of(Path("lake"))) == []
    server.hook = None
    result = call(*ALL, *LAKE)
    assert_complaint(result, 2)
    assert "lake already contains an export. Use --resume to continue or --force to replace it." in result.err
    assert call(*ALL, *LAKE, "--resume").code == 0
    [first] = parts_of(Path("lake"))
    assert call(*EXPORT, "--since", "2025-12-30", *LAKE, "--force").code == 0
    [second] = parts_of(Path("lake"))
    assert first.name != second.name
    for path in Path("lake/_thrive").iterdir():
        path.unlink()
    result = call(*ALL, *LAKE, "--resume")
    assert_complaint(result, 2)
    assert "lake already contains an export. Use --force to replace it." in result.err
    result = call(*ALL, *LAKE, "--resume", "--force")
    assert "--resume and --force cannot be used together." in result.err


def test_an_export_to_a_folder_follows_no_links(call: Call, server: ListServer) -> None:
    Path("home").mkdir()
    Path("lake").mkdir()
    Path("lake/_thrive").symlink_to(Path("home").absolute())
    for option in ((), ("--force",), ("--resume",)):
        result = call(*ALL, *LAKE, *option)
        assert_complaint(result, 2)
        assert "lake/_thrive is a symbolic link, not a folder. Move it, or choose another" in result.err
    Path("lake/_thrive").unlink()
    Path("lake/day=2020-01-01").symlink_to(Path("home").absolute())
    assert_complaint(call(*ALL, *LAKE), 2)
    assert not server.requests
    assert not [*Path("home").iterdir()]


def test_a_folder_has_parquet_by_default(call: Call, server: ListServer) -> None:
    assert call(*ALL, "--until", "2026-01-01T00:01", "-o", "lake", "--partition-by", "day").code == 0
    assert [path.suffix for path in parts_of(Path("lake"))] == [".parquet"]
    assert len(server.requests) == 1


# With --state


def outputs() -> list[Path]:
    return sorted(Path().glob("out-*.ndjson"))


def at(call: Call, minute: int, *more: str) -> Any:
    """Run with a state, a number of minutes after the beginning."""
    return call(*STATE, "--until", f"2026-01-01T00:{minute:02}", "-o", "out-{until}.ndjson", *more)


def test_each_run_exports_what_is_new(call: Call, server: ListServer) -> None:
    code, _, err = at(call, 20)
    assert (code, err.splitlines()[-1]) == (
        0,
        "thrive: the next run with state.json begins at 2026-01-01 00:14:59 UTC",
    )
    server.add([15 * 60_000 + 500, 5 * 60_000 + 500])  # one within the overlap, and one too late
    code, _, err = at(call, 30)
    assert code == 0
    assert "thrive: skipped 301 records: already exported" in err
    assert [path.name for path in outputs()] == [
        "out-20260101T002000Z.ndjson",
        "out-20260101T003000Z.ndjson",
    ]
    found = ids_of(*outputs())
    assert len(found) == len(set(found))
    assert set(found) == {f"{number:024x}" for number in [*range(1800), 2500]}
    assert not list(Path().glob("*.journal"))
    assert server.requests[-1]["timestampFrom"] == "2026-01-01 00:14:59"


def test_a_run_without_anything_new_writes_nothing(call: Call, server: ListServer) -> None:
    at(call, 20)
    count = len(server.requests)
    code, _, err = call(*STATE, "--until", "2026-01-01T00:14:59", "-o", "out-{until}.ndjson")
    assert (code, err) == (0, "thrive: nothing to export: state.json is already at 2026-01-01 00:14:59 UTC\n")
    assert len(server.requests) == count


def test_a_run_that_was_interrupted_is_continued_first(call: Call, server: ListServer) -> None:
    fail_at(server, 2)
    assert at(call, 30).code == 4
    assert json.loads(Path("state.json").read_text())["pending"]["output"].endswith("T003000Z.ndjson")
    server.hook = None
    code, _, err = at(call, 40)
    assert code == 0
    assert f"thrive: continuing the interrupted run: {Path('out-20260101T003000Z.ndjson').absolute()}" in err
    assert [len(lines_of(path)) for path in outputs()] == [1800, 600]
    assert len(set(ids_of(*outputs()))) == 2400
    assert not list(Path().glob("*.journal"))


def test_the_output_that_was_interrupted_can_be_named_again(call: Call, server: ListServer) -> None:
    fail_at(server, 2)
    run = (*STATE, "-o", "out.csv")
    assert call(*run).code == 4
    server.hook = None
    code, _, err = call(*run)
    assert code == 0
    assert "out.ndjson has" not in err
    assert f"thrive: wrote 2,500 rows to {Path('out.csv').absolute()}\n" in err
    assert sorted(path.name for path in Path().iterdir()) == ["out.csv", "state.json", "state.json.lock"]
    result = call(*run)
    assert_complaint(result, 2)
    assert "out.csv already exists, but each run with --state needs a new output." in result.err
    assert json.loads(Path("state.json").read_text())["pending"] is None
    assert call(*run, "--force").code == 0
    with Path("out.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == []


def test_force_starts_the_same_output_again(call: Call, server: ListServer) -> None:
    fail_at(server, 2)
    assert call(*STATE, *OUT).code == 4
    server.hook = None
    code, _, err = call(*STATE, *OUT, "--force")
    assert (code, "continuing" in err, len(set(ids_of("out.ndjson")))) == (0, False, 2500)


def test_a_run_that_is_cut_short_by_its_deadline_is_continued(call: Call, server: ListServer) -> None:
    assert at(call, 30, "--deadline", "0.000001").code == 9
    assert at(call, 40, "--deadline", "0.000001").code == 9
    assert len(outputs()) == 1
    assert at(call, 40, "--quiet") == (0, "", "")
    assert at(call, 14, "--quiet") == (0, "", "")
    assert len(set(ids_of(*outputs()))) == len(ids_of(*outputs())) == 2400
    assert len(server.requests) >= 5


def test_a_crash_after_the_output_and_before_the_state_doubles_nothing(
    call: Call, server: ListServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = StateFile.save

    def fails(self: StateFile, state: State | None) -> None:
        if state is not None and state.pending is None:
            raise KeyboardInterrupt
        saved(self, state)

    with monkeypatch.context() as patched:
        patched.setattr(StateFile, "save", fails)
        assert at(call, 20).code == 130
    count = len(server.requests)
    code, _, _ = at(call, 30)
    assert code == 0
    assert len(server.requests) == count + 1  # the first run was complete
    assert [len(lines_of(path)) for path in outputs()] == [1200, 600]


def test_each_run_adds_parts_to_a_folder(call: Call, server: ListServer) -> None:
    def run(until: str, *more: str) -> Any:
        return call(*STATE, "--until", until, *LAKE, *more)

    assert run("2026-01-01T00:20").code == 0
    Path("lake/_thrive/records").write_text("of a crash after the state was written\n")
    fail_at(server, 1)
    assert run("2026-01-01T00:30").code == 4
    server.hook = None
    assert run("2026-01-01T00:40").code == 0
    found = ids_of(*parts_of(Path("lake")))
    assert len(found) == len(set(found)) == 2400
    assert len(list(parts_of(Path("lake")))) == 2
    assert list(Path("lake/_thrive").iterdir()) == []
    result = run("2026-01-01T00:41", "--force")
    assert_complaint(result, 2)
    assert "--force cannot be used with --state and --partition-by" in result.err


def test_a_folder_that_was_interrupted_is_continued_and_then_added_to(call: Call, server: ListServer) -> None:
    fail_at(server, 2)
    assert call(*STATE, "--until", "2026-01-01T00:30", *LAKE).code == 4
    server.hook = None
    assert call(*STATE, "--until", "2026-01-01T00:40", *LAKE).code == 0
    found = ids_of(*parts_of(Path("lake")))
    assert len(found) == len(set(found)) == 2400
    assert len(list(parts_of(Path("lake")))) == 2


def test_a_folder_of_an_export_without_a_state_is_left_alone(call: Call, server: ListServer) -> None:
    assert call(*ALL, *LAKE).code == 0
    result = call(*STATE, *LAKE)
    assert_complaint(result, 2)
    assert "lake contains an export without --state. Choose another folder." in result.err
    assert len(server.requests) == 3


def test_a_state_of_another_export_is_left_alone(call: Call, server: ListServer) -> None:
    at(call, 20)
    before = Path("state.json").read_bytes()
    for arguments, problem in (
        (("--type", "viewed"), "it belongs to an export with other filters"),
        (
            ("--sandbox",),
            "it belongs to region here, tenant eu-west-2_AbcdEfghI, not to the sandbox",
        ),
    ):
        result = at(call, 30, *arguments)
        assert_complaint(result, 2)
        assert f"cannot use state.json: {problem}" in result.err
        assert ". Choose another file with --state." in result.err
    assert Path("state.json").read_bytes() == before
    assert len(server.requests) == 2


def test_later_runs_need_no_since(call: Call, server: ListServer) -> None:
    without = (*EXPORT, "--state", "state.json", "--until", "2026-01-01T00:30", "-o", "out-{until}.ndjson")
    result = call(*without)
    assert_complaint(result, 2)
    assert "state.json does not exist, so this is the first run. Set --since" in result.err
    at(call, 20)
    assert call(*without).code == 0
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((), "No records are selected. Pass a file with IDs, or use --since to export a period."),
        (("--until", "2026-01-01"), "Pass a file with IDs, or use --since"),
        (
            ("--since", "1d", "--concurrency", "3"),
            "--concurrency is for an export by IDs and cannot be used with a period. Remove it.",
        ),
        (
            ("--since", "1d", "--from", "csv"),
            "--from is for an export by IDs and cannot be used with a period. Remove it.",
        ),
        (("ids.txt", "--since", "1d"), "--since is for an export of a period and cannot be used with IDS."),
        (("ids.txt", "--overlap", "1d"), "--overlap is for an export of a period"),
        (("--since", "1d", "--overlap", "2d"), "--overlap has no effect without --state. Add --state FILE"),
        (("--since", "yesterday"), "'yesterday' is not a time. Write 2026-01-31, "),
        (("--since", "1d", "--state", "s", "--overlap", "x"), "'x' is not a duration."),
        (("--since", "9000-01-01"), "is in the future. Set it to an earlier time."),
        (
            ("--since", "2026-01-02", "--until", "2026-01-01"),
            "--since (2026-01-02 00:00:00 UTC) must be before --until (2026-01-01 00:00:00 UTC).",
        ),
        (
            ("--since", "1d", "--type", "a", "--omit-type", "b"),
            "--type and --omit-type cannot be used together",
        ),
        (
            ("--since", "1d", "--partition-by", "day", "-o", "d.ndjson"),
            "-o is d.ndjson, the name of a file, but --partition-by writes a folder. Use a name",
        ),
        (("--since", "1d", "--content-id", "x"), "content_ids has the value 'x'"),
        (("--since", "1d", "--resume", "--force"), "--resume and --force cannot be used together."),
        (
            ("--since", "1d", "--spreadsheet-safe"),
            "--spreadsheet-safe applies only to CSV, but the output is ndjson.",
        ),
        (
            ("--since", "1d", "-o", "x-{until}"),
            "{until} in -o needs --state. Add --state, or remove {until}.",
        ),
        (("--since", "1d", "--state", "s", "-o", "-"), "--state needs a file as output"),
        *(
            (
                ("--since", "1d", "--state", state, "-o", output),
                f"--state {state} would overwrite a file of the export",
            )
            for state, output in [
                ("x.ndjson", "x.ndjson"),
                ("x.ndjson", "x.csv"),
                ("x.csv", "x.csv"),
                ("x.ndjson.journal", "./x.ndjson"),
                ("x.failures.ndjson", "x.ndjson"),
            ]
        ),
        (("--since", "1d", "-o", "-", "--resume"), "cannot resume stdout"),
        (("--since", "1d", "--partition-by", "day", "-o", "-"), "Choose a folder."),
        (("--since", "1d", "-o", "out.json"), "unknown extension .json"),
        (("--since", "1d", "--state", "s", "-o", "out.json"), "unknown extension .json"),
        (("--since", "1d", "--partition-by", "month"), "'month' is not 'day'"),
    ],
)
def test_options_that_do_not_fit_are_rejected(
    call: Call, server: ListServer, arguments: tuple[str, ...], problem: str
) -> None:
    Path("ids.txt").touch()
    output = () if "-o" in arguments else OUT
    result = call(*EXPORT, *arguments, *output)
    assert_complaint(result, 2)
    assert problem in result.err
    assert server.requests == []
    assert [path.name for path in Path().iterdir()] == ["ids.txt"]


def test_the_end_of_the_period_is_now(call: Call, server: ListServer) -> None:
    before = dt.datetime.now(dt.UTC).replace(microsecond=0)
    assert call(*ALL, *OUT).code == 0
    until = dt.datetime.fromisoformat(server.requests[0]["timestampTo"]).replace(tzinfo=dt.UTC)
    assert before <= until <= dt.datetime.now(dt.UTC) + dt.timedelta(seconds=1)


def test_pages_are_asked_for_in_their_order_even_after_a_failure(call: Call, server: ListServer) -> None:
    answers = [
        (503, {}),
        None,
        (429, {"status": 429, "error": "too_many_requests", "message": "slow down"}),
        None,
    ]
    server.hook = lambda _page, _query: answers.pop() if answers else None
    assert call(*ALL, *OUT).code == 0
    assert [request["page"] for request in server.requests] == ["1", "2", "2", "3", "3"]


def test_a_record_that_moves_between_two_requests_is_not_lost(call: Call, server: ListServer) -> None:
    """A page from before a new record arrived must not follow a page from after it."""

    def hook(page: int, _query: dict[str, str]) -> None:
        if page == 2:
            with server.changed:  # is the next page requested meanwhile?
                is_early = server.changed.wait_for(lambda: server.requests[-1]["page"] == "3", timeout=0.3)
            if is_early:
                time.sleep(0.1)
            server.add([2_400_000])

    before = server.ids
    server.hook = hook
    assert call(*ALL, *OUT).code == 0
    assert before <= set(ids_of("out.ndjson"))
