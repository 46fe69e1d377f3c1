"""Standard streams that are closed, full, or unusual, set up by a shell."""

import errno
import io
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TextIO, cast

import pytest
from command import BASIC, Call
from harness import ACTIVITY_ID

from thrive_learning._settings.profiles import load_profiles
from thrive_learning.cli import program
from thrive_learning.cli.streams import ClosedInput, ClosedOutput, discard, open_closed_streams

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")

GET = f"activity get {ACTIVITY_ID} --sandbox"
NO_STDOUT = "stdout is closed, but this command writes to it. Redirect it to a file."
NO_STDIN = "stdin is closed, but this command reads it. Redirect it from a file."


class Done(NamedTuple):
    code: int
    out: str
    err: str


def shell(tmp_path: Path, line: str, **environment: str) -> Done:
    """Run a shell command, in which THRIVE is replaced by the command."""
    thrive = shlex.join([sys.executable, "-c", "from thrive_learning.cli import main; main()"])
    own = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "OUT": str(tmp_path / "out.ndjson")}
    done = subprocess.run(
        ["/bin/sh", "-c", line.replace("THRIVE", thrive)],
        capture_output=True,
        text=True,
        env=os.environ | own | environment,
        timeout=120,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(
    "command",
    [
        "--version",
        "--help",
        "activity get --help",
        "regions",
        "regions -o json",
        "config path",
        "config list",
        "config list -o json",
        GET,
        f"{GET} -o json",
        f"activity get {ACTIVITY_ID} {ACTIVITY_ID} --sandbox",
        "check --sandbox",
        "check --sandbox -o json",
        "token --sandbox",
        "completion bash",
        "activity export IDS --sandbox -o -",
    ],
)
def test_an_unwritable_output_is_a_usage_error(tmp_path: Path, command: str) -> None:
    ids = tmp_path / "ids"
    ids.write_text(f"{ACTIVITY_ID}\n")
    done = shell(tmp_path, f"THRIVE {command.replace('IDS', str(ids))} >&-")
    assert (done.code, done.out) == (2, "")
    assert NO_STDOUT in done.err
    assert "Traceback" not in done.err


def test_nothing_is_sent_if_the_answer_cannot_be_written(tmp_path: Path) -> None:
    urls = dict.fromkeys(("THRIVE_TOKEN_URL", "THRIVE_WEBHOOKS_TOKEN_URL"), "http://127.0.0.1:9/{tenant_id}")
    environment = BASIC | urls | {"THRIVE_API_URL": "http://127.0.0.1:9"}
    for command in (f"activity get {ACTIVITY_ID}", f"activity get {ACTIVITY_ID} -o json", "check", "token"):
        assert NO_STDOUT in shell(tmp_path, f"THRIVE {command} >&-", **environment).err
        assert NO_STDOUT not in shell(tmp_path, f"THRIVE {command}", **environment).err


@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- 2>&-"])
def test_a_stream_that_is_not_needed_may_be_closed(tmp_path: Path, closed: str) -> None:
    done = shell(tmp_path, f"THRIVE {GET} -o json {closed}")
    assert (done.code, done.err) == (0, "")
    assert ACTIVITY_ID in done.out
    assert shell(tmp_path, f"THRIVE activity get no-id {closed}").code == 2


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-", "2>/dev/full", ">/dev/full"])
def test_work_without_output_is_done(tmp_path: Path, closed: str) -> None:
    """No message ends up in the output file."""
    done = shell(tmp_path, f"THRIVE config set region staging {closed}")
    assert (done.code, done.out) == (0, "")
    path = tmp_path / "config" / "thrive-learning" / "config.toml"
    assert path.read_text() == '[default]\nregion = "staging"\n'
    assert load_profiles(path).tables == {"default": {"region": "staging"}}


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_an_export_to_a_file_needs_no_stream(tmp_path: Path, closed: str) -> None:
    ids = tmp_path / "ids"
    ids.write_text(f"{ACTIVITY_ID}\n")
    done = shell(tmp_path, f'THRIVE activity export {ids} --sandbox -o "$OUT" {closed}')
    assert (done.code, done.out) == (0, "")
    [line] = (tmp_path / "out.ndjson").read_text().splitlines()
    assert ACTIVITY_ID in line


@pytest.mark.parametrize("command", ["activity get - --sandbox", "config set api_secret"])
def test_unreadable_stdin_is_an_error(tmp_path: Path, command: str) -> None:
    done = shell(tmp_path, f"THRIVE {command} <&-")
    assert (done.code, done.out) == (2, "")
    assert NO_STDIN in done.err
    done = shell(tmp_path, f"THRIVE {command} 0> /dev/null")
    assert done.code in {2, 10}
    assert done.out == ""
    assert "cannot read stdin" in done.err
    assert "output" not in done.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no such device")
@pytest.mark.parametrize("command", ["--version", "regions", "config path", GET, "completion bash"])
def test_a_full_disk_is_named(tmp_path: Path, command: str) -> None:
    done = shell(tmp_path, f"THRIVE {command} >/dev/full")
    assert (done.code, done.out) == (1, "")
    assert done.err == "thrive: error: cannot write the output: No space left on device\n"


def test_all_streams_closed(tmp_path: Path) -> None:
    assert shell(tmp_path, f"THRIVE {GET} <&- >&- 2>&-") == (2, "", "")
    assert shell(tmp_path, "THRIVE --version <&- >&- 2>&-") == (2, "", "")
    assert shell(tmp_path, f"THRIVE {GET} -o json 2>/dev/full")[0] == 0
    assert shell(tmp_path, "THRIVE activity get no-id 2>/dev/full")[0] == 2


# In this process, where coverage sees it


class Unreadable(io.BytesIO):
    def read(self, _size: int | None = -1, /) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    def read1(self, _size: int | None = -1, /) -> bytes:
        raise io.UnsupportedOperation("not readable")


def test_stdin_that_fails_is_named(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Unreadable()))
    assert call("config", "set", "api_secret") == (
        *(2, "", "thrive: error: api_secret: cannot read stdin (Input/output error)\n"),
    )
    result = call("activity", "get", "-", "--sandbox", "-o", "ndjson")
    assert result == (10, "", "thrive: error: cannot read stdin: it is not open for reading\n")


def test_a_failing_stderr_does_not_fail_the_command(
    call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Full(io.TextIOWrapper):
        def write(self, _text: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with (tmp_path / "stderr").open("wb") as file, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", Full(file))
        code = program.run(["config", "set", "region", "staging"])
    assert code == 0
    assert call("config", "get", "region").out == "staging\n"


def test_closed_streams_are_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[str, int]] = []

    def closed(_number: int) -> None:
        raise OSError

    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", closed)
        patch.setattr(os, "open", lambda path, mode: opened.append((path, mode)))
        open_closed_streams()
    assert opened == [(os.devnull, os.O_WRONLY), (os.devnull, os.O_RDONLY), (os.devnull, os.O_RDONLY)]
    assert isinstance(sys.stdin, ClosedInput)
    assert isinstance(sys.stdout, ClosedOutput)
    assert sys.stderr.name == os.devnull
    before = sys.stderr
    open_closed_streams()
    assert sys.stderr is before
    before.close()


def test_a_closed_stream_fails_when_it_is_used() -> None:
    import click  # noqa: PLC0415 - of an extra

    output = ClosedOutput()
    uses: tuple[Callable[[], object], ...] = (
        lambda: output.write("x"),
        lambda: output.encoding,
        lambda: output.buffer,
        lambda: output.isatty,
        lambda: ClosedInput().buffer,
    )
    for use in uses:
        with pytest.raises(click.UsageError, match=r"is closed, but this command"):
            use()
    discard(cast("TextIO", output))
    assert not ClosedInput().isatty()
