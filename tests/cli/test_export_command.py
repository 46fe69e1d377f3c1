"""`thrive activity export`, from its options to its exit code."""

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command import BASIC, Call, assert_complaint
from export_server import ExportServer, record_of, serving
from harness import ACTIVITY_ID, PAGE_EXAMPLE

from thrive_learning.cli import program
from thrive_learning.cli.export.files import ExportFiles
from thrive_learning.cli.export.paths import OutputError

OTHER_ID = "665d7d88b60b4b3a2c000002"
MISSING_ID = "0" * 24
EXPORT = ("activity", "export")
GONE = 404, {"status": 404, "error": "not_found", "message": "no such activity"}


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def say_ids(*ids: str, name: str = "ids.txt") -> str:
    Path(name).write_text("\n".join(ids), encoding="utf-8")
    return name


def lines_of(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(name).read_text(encoding="utf-8").splitlines()]


def ids_of(name: str) -> list[str]:
    return sorted(record["id"] for record in lines_of(name))


def use(monkeypatch: pytest.MonkeyPatch, server: ExportServer) -> None:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)


def test_records_are_written_as_received_and_each_once(call: Call) -> None:
    ids = say_ids("# mine", ACTIVITY_ID, "", OTHER_ID, ACTIVITY_ID.upper())
    code, out, err = call(*EXPORT, ids, "-o", "out.ndjson", "--sandbox")
    assert (code, out) == (0, "")
    assert PAGE_EXAMPLE in lines_of("out.ndjson")
    assert ids_of("out.ndjson") == sorted([ACTIVITY_ID, OTHER_ID])
    said = err.splitlines()
    assert said[0].startswith("thrive: exported 2 records in ")
    assert said[0].endswith("; out.ndjson has 2")
    assert said[1:] == ["thrive: skipped 1 repeated ID"]
    assert not Path("out.failures.ndjson").exists()


def test_failures_go_to_a_file_and_make_the_exit_code(call: Call) -> None:
    ids = say_ids(ACTIVITY_ID, "foo", MISSING_ID)
    code, out, err = call(*EXPORT, ids, "-o", "out.ndjson", "--sandbox")
    assert (code, out) == (9, "")
    assert "thrive: 2 IDs failed: see out.failures.ndjson\n" in err
    failures = {failure["id"]: failure for failure in lines_of("out.failures.ndjson")}
    assert {one: failure["error"] for one, failure in failures.items()} == {
        "foo": "InvalidIdError",
        MISSING_ID: "NotFoundError",
    }
    assert [failures[MISSING_ID][name] for name in ("status", "retryable")] == [404, False]
    again = call(*EXPORT, ids, "-o", "out.ndjson", "--sandbox", "--resume")
    assert (again.code, ids_of("out.ndjson"), len(lines_of("out.failures.ndjson"))) == (9, [ACTIVITY_ID], 2)


def test_quiet_says_nothing(call: Call) -> None:
    ids = say_ids(ACTIVITY_ID, "foo")
    assert call(*EXPORT, ids, "-o", "out.ndjson", "--sandbox", "--quiet") == (9, "", "")
    assert call(*EXPORT, ids, "-o", "t.csv", "--sandbox", "--quiet") == (9, "", "")


@pytest.mark.parametrize(
    ("name", "content", "options"),
    [
        ("ids.csv", f"n,id\n1,{ACTIVITY_ID}\n", ()),
        ("ids.csv", f"n,a b\n1,{ACTIVITY_ID}\n", ("--column", "a b")),
        ("ids.txt", f"n,x\n1,{ACTIVITY_ID}\n", ("--column", "x")),
        ("ids.txt", f"id\n{ACTIVITY_ID}\n", ("--from", "csv")),
        ("ids.ndjson", json.dumps({"id": ACTIVITY_ID}), ()),
        ("ids", json.dumps({"x": ACTIVITY_ID}), ("--field", "x")),
        ("ids.json", json.dumps([{"x": ACTIVITY_ID}]), ("--field", "x")),
        ("ids.json", json.dumps([ACTIVITY_ID]), ()),
        ("ids", f"n:id\n1:{ACTIVITY_ID}\n", ("--delimiter", ":")),
        ("ids", f"n\tid\n1\t{ACTIVITY_ID}\n", ("--delimiter", "\\t")),
        ("ids.tsv", f"n\tid\n1\t{ACTIVITY_ID}\n", ()),
        ("ids.csv", f"{ACTIVITY_ID}\n", ("--from", "text")),
    ],
)
def test_ids_come_from_text_csv_and_ndjson(
    call: Call, name: str, content: str, options: tuple[str, ...]
) -> None:
    Path(name).write_text(content, encoding="utf-8")
    assert call(*EXPORT, name, "-o", "out.ndjson", "--sandbox", *options).code == 0
    assert lines_of("out.ndjson") == [PAGE_EXAMPLE]


def test_ids_from_stdin_and_records_to_stdout(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def given() -> None:
        content = f"{ACTIVITY_ID}\nfoo\n{ACTIVITY_ID}".encode()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    given()
    code, out, err = call(*EXPORT, "-", "-o", "-", "--sandbox")
    assert (code, json.loads(out)) == (9, PAGE_EXAMPLE)
    assert err.splitlines()[0].startswith("thrive: error: 'foo' is not an activity ID")
    assert err.splitlines()[1].startswith("thrive: exported 1 record in ")
    given()
    assert call(*EXPORT, "-", "-o", "out.ndjson", "--sandbox").code == 9
    assert lines_of("out.ndjson") == [PAGE_EXAMPLE]
    assert sorted(path.name for path in Path().iterdir()) == [
        "out.failures.ndjson",
        "out.ndjson",
        "out.ndjson.journal",
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ("ids.txt", "-o", "out.ndjson", "--resume", "--force"),
            "--resume and --force cannot be used together",
        ),
        (("ids.txt", "-o", "-", "--resume"), "cannot resume stdout, because it is a stream"),
        (("ids.txt", "-o", "-", "--to", "csv"), "--to csv needs a file, but stdout is a stream"),
        (
            ("ids.txt", "-o", "out.csv", "--to", "parquet"),
            "--to parquet does not match -o out.csv",
        ),
        (("ids.txt", "-o", "out.csv", "--to", "ndjson"), "--to ndjson does not match -o out.csv"),
        (("ids.txt", "-o", "there.csv"), "there.csv already exists. Use --resume to"),
        (
            ("ids.txt", "-o", "out.ndjson", "--from", "text", "--column", "x"),
            "--column applies only to csv, but IDS is",
        ),
        (
            ("ids.txt", "-o", "out.ndjson", "--column", "x", "--field", "x"),
            "--field applies only to json and ndjson, but IDS is",
        ),
        (
            ("ids.ndjson", "-o", "ids.ndjson", "--force"),
            "ids.ndjson is both the input and a file of the export",
        ),
        (
            ("out.failures.ndjson", "-o", "out.ndjson", "--force"),
            "failures.ndjson is both the input and a file of the export",
        ),
        (("no-such.txt", "-o", "out.ndjson"), "'no-such.txt' does not exist"),
        (("ids.txt", "-o", "out.ndjson", "--concurrency", "0"), "--concurrency"),
        (
            ("ids.txt", "-o", "out.ndjson", "--concurrency", "2000"),
            "'2000' is not a whole number from 1 to 1000.",
        ),
        (("ids.txt", "-o", "out.ndjson", "--deadline", "nan"), "'nan' is not a number of seconds"),
        (("ids.txt", "-o", "out.ndjson", "--deadline", "inf"), "'inf' is not a number of seconds"),
        (("ids.txt", "-o", "out.ndjson", "--timeout", "nan"), "'nan' is not a number of seconds"),
        (("ids.txt", "-o", "out.ndjson", "--timeout", "0"), "'0' is not a number of seconds greater than 0."),
        (("ids.txt", "-o", ""), "-o is ''. Use the path of a file, or - for stdout"),
        (
            ("ids.txt", "-o", "x.xlsx"),
            "unknown extension .xlsx in -o x.xlsx. Use one of .ndjson, .jsonl, .p",
        ),
        (("ids.txt", "-o", "x.json"), "unknown extension .json in -o x.json"),
        (("ids.txt", "-o", "x.ndjson.gz"), "unknown extension .gz"),
        (
            ("ids.txt", "-o", "no/x.ndjson"),
            "the folder no does not exist. Create it, or choose another output",
        ),
        (("ids.txt", "-o", "no/x.csv"), "the folder no does not exist"),
        (("ids.txt", "-o", "."), "cannot write .: it is a folder. Choose a file"),
        (("ids.txt", "-o", "new/"), "cannot write new/: it is a folder. Choose a file"),
        (("ids.txt", "-o", "ids.txt/x.ndjson"), "cannot write ids.txt/x.ndjson: Not a directory"),
        (("ids.txt", "-o", "x.ndjson", "--spreadsheet-safe"), "--spreadsheet-safe applies only to CSV"),
        (
            ("ids.txt", "-o", "x.ndjson", "--from", "text", "--delimiter", ";"),
            "--delimiter applies only to csv",
        ),
        (("ids.txt", "-o", "x.ndjson", "--delimiter", ";;"), "--delimiter is ';;'. Use one character"),
        (("ids.txt", "-o", "x.ndjson", "--delimiter", '"'), "Use one character"),
        (("ids.txt",), "Missing option '-o'"),
    ],
)
def test_contradictory_options_are_rejected(call: Call, options: tuple[str, ...], said: str) -> None:
    for name in ("ids.txt", "ids.ndjson", "out.failures.ndjson", "there.csv"):
        say_ids(ACTIVITY_ID, name=name)
    there = {path.name: path.read_bytes() for path in Path().iterdir()}
    result = call(*EXPORT, *options, "--sandbox")
    assert_complaint(result, 2)
    assert said in result.err
    assert {path.name: path.read_bytes() for path in Path().iterdir()} == there


def test_an_output_is_not_overwritten_by_accident(call: Call) -> None:
    ids = say_ids(ACTIVITY_ID)
    assert call(*EXPORT, ids, "-o", "out.ndjson", "--sandbox").code == 0
    result = call(*EXPORT, say_ids(OTHER_ID), "-o", "out.ndjson", "--sandbox")
    assert_complaint(result, 2)
    assert "--resume" in result.err
    assert lines_of("out.ndjson") == [PAGE_EXAMPLE]
    assert call(*EXPORT, ids, "-o", "out.ndjson", "--sandbox", "--force").code == 0
    assert ids_of("out.ndjson") == [OTHER_ID]


def test_resume_fetches_what_is_missing_and_nothing_else(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [f"{number:024x}" for number in range(1, 9)]
    broken = True

    def answer(activity_id: str) -> tuple[int, dict[str, Any]]:
        return GONE if activity_id == ids[0] else (400, {}) if broken else (200, record_of(activity_id))

    with serving(answer) as server:
        use(monkeypatch, server)
        first = call(*EXPORT, say_ids(*ids[:2]), "-o", "out.ndjson")
        assert first.code == 9
        assert "thrive: --resume would fetch 1 of them again\n" in first.err
        assert {one["retryable"] for one in lines_of("out.failures.ndjson")} == {True, False}
        broken = False
        server.counts.clear()
        second = call(*EXPORT, say_ids(*ids[1:]), "-o", "out.ndjson", "--resume")
        assert second.code == 9  # one failure is kept
        assert server.counts == dict.fromkeys(ids[1:], 1)
        assert [one["id"] for one in lines_of("out.failures.ndjson")] == [ids[0]]
        server.counts.clear()
        third = call(*EXPORT, say_ids(*ids), "-o", "out.ndjson", "--resume")
        assert not server.counts
        assert "exported 0 records" in third.err
    assert sorted(one["data"]["asked"] for one in lines_of("out.ndjson")) == ids[1:]
    assert ids_of("out.ndjson").count("f" * 24) == 1  # a record with another ID counts for the requested one


@pytest.mark.usefixtures("basic")
def test_records_of_two_regions_do_not_mix(call: Call) -> None:
    ids = say_ids(ACTIVITY_ID)
    assert call(*EXPORT, ids, "-o", "out.ndjson", "--sandbox").code == 0
    result = call(*EXPORT, ids, "-o", "out.ndjson", "--resume", "--region", "staging")
    assert_complaint(result, 2)
    assert f"come from the sandbox, not from region staging, tenant {BASIC['THRIVE_TENANT_ID']}" in result.err


def test_credentials_that_are_lost_half_way(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [f"{number:024x}" for number in range(1, 31)]
    lost = True

    def answer(activity_id: str) -> tuple[int, dict[str, Any]]:
        return (401, {}) if lost and activity_id > ids[9] else (200, record_of(activity_id))

    with serving(answer) as server:
        use(monkeypatch, server)
        code, out, err = call(*EXPORT, say_ids(*ids), "-o", "out.ndjson", "--concurrency", "1")
        assert (code, out) == (4, "")
        said = err.splitlines()
        assert said[0].endswith("; out.ndjson has 10")
        assert said[-2] == (
            "thrive: records so far are kept in out.ndjson. Run the same command with --resume to continue"
        )
        assert "answered 401" in said[-1]
        lost = False
        again = call(*EXPORT, "ids.txt", "-o", "out.ndjson", "--resume", "--quiet")
        assert again == (0, "", "")
        assert max(server.counts.values()) <= 2
    assert sorted(one["data"]["asked"] for one in lines_of("out.ndjson")) == ids


def test_a_line_that_cannot_be_read_ends_it_with_all_before_it_safe(call: Call) -> None:
    Path("ids.txt").write_bytes(f"{ACTIVITY_ID}\n{OTHER_ID}\n\xff\n".encode("latin-1"))
    code, out, err = call(*EXPORT, "ids.txt", "-o", "out.ndjson", "--sandbox", "--quiet")
    assert (code, out) == (10, "")
    assert err.splitlines() == [
        "thrive: records so far are kept in out.ndjson. Run the same command with --resume to continue",
        "thrive: error: cannot read ids.txt, line 3: byte 1 is not valid UTF-8",
    ]
    assert len(lines_of("out.ndjson")) == 2
    code, out, err = call(*EXPORT, "ids.txt", "-o", "-", "--sandbox", "--quiet")
    assert (code, out.count("\n"), err.count("\n")) == (10, 2, 1)  # nothing to resume


def test_the_deadline_ends_it(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [f"{number:024x}" for number in range(1, 5000)]
    with serving() as server:
        use(monkeypatch, server)
        code, _, err = call(*EXPORT, say_ids(*ids), "-o", "out.ndjson", "--deadline", "0.5")
        assert code == 9
        assert "--deadline was reached before the last ID. Run the same command with --resume to" in err
        assert len(lines_of("out.ndjson")) < len(ids)
        code, _, err = call(*EXPORT, "ids.txt", "-o", "-", "--deadline", "0.000001", "--concurrency", "1")
        assert code == 9
        assert err.endswith("thrive: --deadline was reached before the last ID\n")


def test_a_full_disk_is_reported(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    written = ExportFiles.write_record

    def full(files: ExportFiles, key: bytes, line: bytes) -> None:
        if files.records == 1:
            raise OutputError(f"cannot write {files.paths.output}: No space left on device")
        written(files, key, line)

    monkeypatch.setattr(ExportFiles, "write_record", full)
    code, out, err = call(*EXPORT, say_ids(ACTIVITY_ID, OTHER_ID), "-o", "out.ndjson", "--sandbox")
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == "thrive: error: cannot write out.ndjson: No space left on device"
    assert "--resume" in err
    assert len(lines_of("out.ndjson")) == 1


@pytest.mark.parametrize("name", ["out.ndjson", "-"])
def test_a_pipe_that_closes_ends_it_without_a_word(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def closed(*_arguments: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("thrive_learning.cli.export.run.take", closed)
    with monkeypatch.context() as patched:  # protects pytest's stdout
        patched.setattr(os, "dup2", lambda *_descriptors: None)
        code = program.run([*EXPORT, say_ids(ACTIVITY_ID), "-o", name, "--sandbox"])
    assert (code, *capfd.readouterr()) == (141, "", "")


def test_leftovers_of_a_crash_are_reported(call: Call) -> None:
    ids = say_ids(ACTIVITY_ID)
    call(*EXPORT, ids, "-o", "out.ndjson", "--sandbox")
    with Path("out.ndjson").open("ab") as file:
        file.write(b'{"id"')
    code, _, err = call(*EXPORT, ids, "-o", "out.ndjson", "--sandbox", "--resume")
    assert code == 0
    assert err.startswith("thrive: removed incomplete data (5 bytes) from the end of out.ndjson\n")
    assert lines_of("out.ndjson") == [PAGE_EXAMPLE]


@pytest.mark.parametrize(
    ("output", "to", "table"),
    [
        ("out.parquet", (), "out.parquet"),
        ("out.csv", (), "out.csv"),
        ("out.ndjson", ("--to", "parquet"), "out.parquet"),
        ("out.v1", ("--to", "csv"), "out.v1.csv"),
    ],
)
def test_a_table_is_made_of_the_records(call: Call, output: str, to: tuple[str, ...], table: str) -> None:
    ids = say_ids(ACTIVITY_ID)
    code, _, err = call(*EXPORT, ids, "-o", output, *to, "--sandbox")
    assert code == 0
    assert err.endswith(f"thrive: wrote 1 row to {table}\n")
    say_ids(ACTIVITY_ID, OTHER_ID)
    code, _, err = call(*EXPORT, ids, "-o", output, *to, "--sandbox", "--resume")
    assert (code, err.endswith(f"thrive: wrote 2 rows to {table}\n")) == (0, True)
    assert Path(table).stat().st_size
    assert ids_of(table.rpartition(".")[0] + ".ndjson") == sorted([ACTIVITY_ID, OTHER_ID])


@pytest.mark.parametrize(("missing", "extra"), [("pyarrow", "'arrow'"), ("filelock", "'cli'")])
def test_an_extra_that_is_missing_is_named_before_anything_is_fetched(
    call: Call, monkeypatch: pytest.MonkeyPatch, missing: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    result = call(*EXPORT, say_ids(ACTIVITY_ID), "-o", "out.parquet", "--sandbox")
    assert_complaint(result, 2)
    assert extra in result.err
    assert not Path("out.ndjson").exists()


# Processes


@pytest.fixture(scope="module")
def server() -> Iterator[ExportServer]:
    with serving() as one:
        yield one


def start(server: ExportServer, *options: str) -> "subprocess.Popen[bytes]":
    script = "from thrive_learning.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", script, *EXPORT, *options],
        env=os.environ | server.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_ctrl_c_leaves_what_is_there_and_says_how_to_go_on(server: ExportServer) -> None:
    ids = say_ids(*(f"{number:024x}" for number in range(1, 100_000)))
    running = start(server, ids, "-o", "out.ndjson", "--concurrency", "4")
    server.wait_for(server.counts.total() + 30)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    assert b"thrive: records so far are kept in out.ndjson. Run the same command with --resume" in err
    assert b"Traceback" not in err
    count = len(lines_of("out.ndjson"))
    assert f"out.ndjson has {count}\n".encode() in err
    assert Path("out.ndjson.journal").read_bytes().count(b"\n") == count + 3


def test_a_closed_pipe_ends_it_quietly(server: ExportServer) -> None:
    ids = say_ids(*(f"{number:024x}" for number in range(1, 100_000)))
    running = start(server, ids, "-o", "-")
    assert running.stdout is not None
    assert json.loads(running.stdout.readline())["type"] == "viewed"
    running.stdout.close()
    assert running.stderr is not None
    err = running.stderr.read()
    running.stderr.close()
    assert (running.wait(timeout=60), err) == (141, b"")


def test_help_loads_nothing_that_only_an_export_needs() -> None:
    code = (
        "import sys\nfrom thrive_learning.cli.program import run\nrun(['activity', 'export', '--help'])\n"
        "print(*{'rich', 'pyarrow', 'filelock', 'csv', 'httpx'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == ""


def test_an_input_that_cannot_be_opened_is_not_an_output_that_cannot_be_written(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = say_ids(ACTIVITY_ID)

    opened = Path.open

    def denied(path: Path, *arguments: Any, **more: Any) -> Any:
        if path.name == ids:
            raise PermissionError(13, "Permission denied")
        return opened(path, *arguments, **more)  # such as those of an import

    monkeypatch.setattr(Path, "open", denied)
    result = call(*EXPORT, ids, "-o", "out.ndjson", "--sandbox")
    assert_complaint(result, 10)
    assert result.err == "thrive: error: cannot read ids.txt: Permission denied\n"
