"""Where an export may write: its own files, tables, and streams. Nothing else is replaced or left behind."""

import io
import json
import os
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from command import Call, assert_complaint
from harness import ACTIVITY_ID, PAGE_EXAMPLE

from thrive_learning.cli import program
from thrive_learning.cli.export import output
from thrive_learning.cli.export.output import Output, StreamTarget, output_of
from thrive_learning.cli.export.streams import StreamError, StreamOutput
from thrive_learning.errors import ConfigurationError

EXPORT = ("activity", "export", "ids.txt", "--sandbox")


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ids.txt").write_text(f"{ACTIVITY_ID}\nfoo\n")


def names() -> list[str]:
    return sorted(path.name for path in Path().iterdir())


@pytest.mark.parametrize("options", [(), ("--force",)])
@pytest.mark.parametrize("link", [False, True])
def test_a_device_stays_a_device(call: Call, options: tuple[str, ...], link: bool) -> None:  # noqa: FBT001 - a parameter
    before = Path("/dev/null").stat()
    name = "/dev/null"
    if link:
        Path("link").symlink_to("/dev/null")
        name = "link"
    code, out, err = call(*EXPORT, "-o", name, *options)
    assert (code, out) == (9, "")
    assert err.splitlines()[0].startswith("thrive: error: 'foo' is not an activity ID")
    assert "--resume" not in err
    after = Path("/dev/null").stat()
    assert stat.S_ISCHR(after.st_mode)
    assert (after.st_ino, after.st_rdev) == (before.st_ino, before.st_rdev)
    assert names() == ["ids.txt", *(["link"] if link else [])]
    assert not [path for path in Path("/dev").iterdir() if path.name.startswith(("null.", ".thrive"))]


def test_a_full_device_is_reported(call: Call) -> None:
    code, out, err = call(*EXPORT, "-o", "/dev/full", "--quiet")
    assert (code, out) == (1, "")
    assert err.endswith("thrive: error: cannot write /dev/full: No space left on device\n")


def test_a_fifo_gets_the_records_as_they_come(call: Call) -> None:
    os.mkfifo("fifo")
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(Path("fifo").read_bytes()))
    reader.start()
    assert call(*EXPORT, "-o", "fifo", "--force").code == 9
    reader.join(60)
    assert json.loads(received[0]) == PAGE_EXAMPLE
    assert stat.S_ISFIFO(Path("fifo").stat().st_mode)
    assert names() == ["fifo", "ids.txt"]


def test_the_reader_of_a_fifo_may_go_away(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo("fifo")
    Path("ids.txt").write_text("\n".join(f"665d7d88b60b4b3a2c0000{number:02x}" for number in range(1, 10)))
    reader = threading.Thread(target=lambda: os.close(os.open("fifo", os.O_RDONLY)))
    write = StreamOutput.write_record

    def write_after_it(output: StreamOutput, key: bytes, line: bytes) -> None:
        reader.join(60)
        write(output, key, line)

    monkeypatch.setattr(StreamOutput, "write_record", write_after_it)
    reader.start()
    # The command discards what follows on stdout, so this is not the one that pytest reads.
    with Path("stdout").open("w", encoding="utf-8") as stdout, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stdout)
        code = program.run([*EXPORT, "-o", "fifo"])
    reader.join(60)
    assert (code, *capsys.readouterr()) == (141, "", "")
    assert Path("stdout").read_text(encoding="utf-8") == ""


@pytest.mark.parametrize("name", ["fifo", "/dev/null", "/dev/stdout", "/dev/fd/1", "-", "link"])
def test_a_stream_cannot_be_resumed(call: Call, name: str) -> None:
    os.mkfifo("fifo")
    Path("link").symlink_to("/dev/null")
    result = call(*EXPORT, "-o", name, "--resume")
    assert_complaint(result, 2)
    assert "because it is a stream. Remove --resume, or choose a file." in result.err
    result = call(*EXPORT, "-o", name, "--to", "csv")
    assert_complaint(result, 2)
    assert "--to csv needs a file" in result.err
    assert names() == ["fifo", "ids.txt", "link"]


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
def test_names_of_stdout_are_stdout(call: Call, name: str) -> None:
    Path("link").symlink_to("/dev/stdout")
    code, out, _ = call(*EXPORT, "-o", name, "--force")
    assert (code, json.loads(out)) == (9, PAGE_EXAMPLE)
    assert names() == ["ids.txt", "link"]


def test_a_file_as_stdout_is_not_started_again() -> None:
    Path("out").write_text("before\n")
    script = "from thrive_learning.cli import main; main()"
    for name in ("/dev/stdout", "/dev/fd/3"):
        shell = f'"$1" -c "$2" activity export ids.txt --sandbox -o {name} >> out 3>&1'
        done = subprocess.run(
            ["/bin/sh", "-c", shell, "sh", sys.executable, script],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 9, done.stderr
    before, *records = Path("out").read_text().splitlines()
    assert before == "before"
    assert [json.loads(record) for record in records] == [PAGE_EXAMPLE] * 2
    assert names() == ["ids.txt", "out"]


@pytest.mark.parametrize("is_dangling", [True, False])
def test_the_target_of_a_link_is_written(call: Call, is_dangling: bool) -> None:  # noqa: FBT001 - a parameter
    Path("data").mkdir()
    Path("out.ndjson").symlink_to("data/june.ndjson")
    options = ["--resume"]
    if not is_dangling:
        Path("data/june.ndjson").write_text("old\n")
        assert_complaint(call(*EXPORT, "-o", "out.ndjson"), 2)
        options = ["--force"]
    assert call(*EXPORT, "-o", "out.ndjson", *options).code == 9
    assert json.loads(Path("data/june.ndjson").read_text()) == PAGE_EXAMPLE
    assert Path("out.ndjson").is_symlink()
    assert names() == ["data", "ids.txt", "out.ndjson"]
    assert sorted(path.name for path in Path("data").iterdir()) == [
        "june.failures.ndjson",
        "june.ndjson",
        "june.ndjson.journal",
    ]
    code, _, err = call(*EXPORT, "-o", "data/june.ndjson", "--resume")  # the same export under another name
    assert (code, "skipped 1 ID: already in the output" in err) == (9, True)


def test_the_target_of_a_link_to_a_table_is_written(call: Call) -> None:
    Path("data").mkdir()
    Path("out.csv").symlink_to("data/june.table")
    assert call(*EXPORT, "-o", "out.csv").code == 9
    assert Path("data/june.table").read_text().startswith('"id",')
    assert Path("out.csv").is_symlink()
    assert "june.table.ndjson" in {path.name for path in Path("data").iterdir()}


@pytest.mark.parametrize("planted", ["out.ndjson", "out.failures.ndjson", "out.ndjson.journal"])
def test_a_link_that_the_user_did_not_name_is_not_followed(call: Call, planted: str) -> None:
    Path("victim").write_text("precious")
    Path(planted).symlink_to("victim")
    for options in ((), ("--force",), ("--resume",)):
        result = call(*EXPORT, "-o", "out.csv", *options)
        assert_complaint(result, 2)
        assert f"{planted} is a symbolic link, not a regular file" in result.err
    assert Path("victim").read_text() == "precious"
    assert names() == sorted(["ids.txt", planted, "victim"])


def test_an_invalid_output_for_a_table_is_rejected(call: Call) -> None:
    os.mkfifo("fifo.csv")
    Path("folder.csv").mkdir()
    for name, said in (
        ("fifo.csv", "a stream"),
        ("folder.csv", "cannot write folder.csv: it is a folder"),
    ):
        result = call(*EXPORT, "-o", name, "--to", "csv", "--force")
        assert_complaint(result, 2)
        assert said in result.err
    Path("link.csv").symlink_to("link.ndjson")
    with pytest.raises(ConfigurationError, match=r"links to .*, which is also the file for the records"):
        output_of("link.csv", None)
    assert names() == ["fifo.csv", "folder.csv", "ids.txt", "link.csv"]


@pytest.mark.parametrize(
    ("name", "form", "output"),
    [
        ("out.ndjson", None, Output(Path("out.ndjson"), None, "ndjson")),
        ("out.JSONL", None, Output(Path("out.JSONL"), None, "ndjson")),
        ("out", None, Output(Path("out"), None, "ndjson")),
        ("out.v1", "ndjson", Output(Path("out.v1"), None, "ndjson")),
        ("out.CSV", None, Output(Path("out.ndjson"), Path("out.CSV"), "csv")),
        ("out.jsonl", "parquet", Output(Path("out.jsonl"), Path("out.parquet"), "parquet")),
        ("out", "parquet", Output(Path("out.ndjson"), Path("out.parquet"), "parquet")),
        ("-", "ndjson", Output(StreamTarget("stdout", 1), None, "ndjson")),
        ("/dev/stderr", None, Output(StreamTarget("/dev/stderr", 2), None, "ndjson")),
    ],
)
def test_the_name_says_where_records_go(name: str, form: str | None, output: Output) -> None:
    assert output_of(name, form) == output


def test_a_descriptor_of_this_process_is_a_stream() -> None:
    name = f"/proc/{os.getpid()}/fd/7"  # not a parameter, because each worker would collect another test
    assert output_of(name, None) == Output(StreamTarget(name, 7), None, "ndjson")


def test_an_invalid_output_for_records_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("loop").symlink_to("loop")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("socket")
    Path("locked").mkdir()
    for name, said in (
        ("loop", "cannot write loop: Too many levels of symbolic links"),
        ("socket", "cannot write socket: it is a socket"),
        ("a\0b", "-o is 'a\\\\x00b'"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            output_of(name, None)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(ConfigurationError, match="the folder locked is not writable"):
        output_of("locked/out.ndjson", None)
    monkeypatch.setattr(output, "kind_of", lambda *_, **__: "a disk")
    with pytest.raises(ConfigurationError, match="cannot write out: it is a disk"):
        output_of("out", None)


def test_a_stream_that_cannot_be_opened_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="cannot write /dev/fd/9: Bad file descriptor"):
        StreamOutput(StreamTarget("/dev/fd/9", 999))
    Path("file").write_text("precious")
    with pytest.raises(ConfigurationError, match="file is no longer a stream"):
        StreamOutput(StreamTarget("file", None))
    assert Path("file").read_text() == "precious"
    with StreamOutput(StreamTarget("/dev/full", None)) as full:
        with pytest.raises(StreamError, match="cannot write /dev/full: No space left"):
            full.write_record(b"", b"{}\n")

    def half(file: io.FileIO, data: bytes) -> int:
        return os.write(file.fileno(), data[:2])

    monkeypatch.setattr(io, "FileIO", type("Half", (io.FileIO,), {"write": half}))
    read, write = os.pipe()
    with StreamOutput(StreamTarget("x", write)) as stream:
        stream.write_record(b"", b'{"id":1}\n')
    os.close(write)
    with open(read, "rb") as received:  # noqa: PTH123 - a descriptor
        assert received.read() == b'{"id":1}\n'


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_terminal_gets_no_character_that_it_would_obey(
    is_terminal: bool,  # noqa: FBT001 - a parameter of the test
    capfdbinary: pytest.CaptureFixture[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal)
    line = '{"id":"x","name":"a\x9b31m\U000e0041"}\n'.encode()
    StreamOutput(StreamTarget("stdout", 1)).write_record(b"", line)
    shown = capfdbinary.readouterr().out
    assert json.loads(shown) == json.loads(line)
    assert (shown == line) is not is_terminal
    assert is_terminal is shown.isascii()


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ("", "ids.txt"),
        ("\n# none\n", "ids.txt"),
        ("\ufeff", "ids.txt"),
        ("id\n,\n", "ids.csv"),
        ("[]", "ids.json"),
    ],
)
def test_an_input_without_ids_is_an_error_and_nothing_is_created(call: Call, content: str, name: str) -> None:
    Path("ids.txt").unlink()
    Path(name).write_text(content, encoding="utf-8")
    result = call("activity", "export", name, "--sandbox", "-o", "out.ndjson")
    assert_complaint(result, 10)
    assert f"{name} contains no IDs" in result.err
    assert "Check the file or the command that produces it." in result.err
    assert names() == [name]


def test_an_empty_stdin_is_an_error(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    for options in (("-o", "out.ndjson"), ("-o", "-"), ("-o", "out.parquet", "--resume")):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
        result = call("activity", "export", "-", "--sandbox", *options)
        assert_complaint(result, 10)
        assert "stdin contains no IDs" in result.err
    assert names() == ["ids.txt"]


def test_stdin_that_is_the_output_is_rejected() -> None:
    script = "from thrive_learning.cli import main; main()"
    shell = '"$1" -c "$2" activity export - --sandbox -o ids.ndjson --force < ids.ndjson'
    Path("ids.ndjson").write_text(ACTIVITY_ID)
    done = subprocess.run(
        ["/bin/sh", "-c", shell, "sh", sys.executable, script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, "stdin is both the input and a file of the export" in done.stderr) == (2, True)
    assert Path("ids.ndjson").read_text() == ACTIVITY_ID


def test_empty_cells_are_skipped_and_counted(call: Call) -> None:
    Path("ids.csv").write_text(f"n;id\n1;{ACTIVITY_ID}\n2;\n3; \n")
    code, _, err = call("activity", "export", "ids.csv", "--sandbox", "-o", "out.ndjson")
    assert (code, "thrive: skipped 2 empty cells\n" in err) == (0, True)
    assert json.loads(Path("out.ndjson").read_text()) == PAGE_EXAMPLE


@pytest.mark.usefixtures("basic")
def test_a_rejected_export_leaves_nothing_behind(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "ftp://proxy.example")
    for options in (("--concurrency", "2000"), ("--deadline", "nan"), ("--profile", "no-such"), ()):
        result = call("activity", "export", "ids.txt", "-o", "out.csv", *options)
        assert result.code == 2, result
        assert names() == ["ids.txt"], options


def test_help_does_not_load_the_modules_of_an_export(call: Call) -> None:
    assert call("activity", "export", "--help").code == 0
    result: Any = call("activity", "export", "--help").out
    for option in ("--delimiter", "--spreadsheet-safe", "--concurrency"):
        assert option in result


def test_a_descriptor_that_nothing_can_be_written_to_is_rejected(call: Call) -> None:
    reader = os.open(os.devnull, os.O_RDONLY)
    try:
        result = call(*EXPORT, "-o", f"/dev/fd/{reader}")
    finally:
        os.close(reader)
    assert_complaint(result, 2)
    assert f"cannot write /dev/fd/{reader}: Bad file descriptor. Choose another output." in result.err
