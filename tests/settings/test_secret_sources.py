import io
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import traceback
import types
from pathlib import Path
from typing import Any

import pytest

from thrive_learning import ConfigurationError, Secret
from thrive_learning._settings import secret_process, secret_sources
from thrive_learning._settings.secret_sources import COMMAND_KEPT_S, SecretCommand, SecretFile, exposure_of


def python(code: str) -> SecretCommand:
    return SecretCommand([sys.executable, "-c", code])


def assert_hidden(error: BaseException) -> None:
    """Neither message, nor chain, nor the locals of our frames have it."""
    assert error.__context__ is None
    frames = traceback.TracebackException.from_exception(error, capture_locals=True).stack
    shown = [repr(frame.locals) for frame in frames if "thrive_learning" in frame.filename]
    assert "canary" not in str(error) + "".join(shown)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_file_is_read_without_byte_order_mark_and_line_end(tmp_path: Path, mark: bytes, end: str) -> None:
    path = tmp_path / "secret"
    path.write_bytes(mark + f"sé cret{end}".encode())
    secret = Secret(SecretFile(str(path)))
    assert secret.reveal() == "sé cret"
    path.write_text("new\n")
    assert secret.reveal() == "new"


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "the secret is empty. Set it"),
        (b"\n", "the secret is empty. Set it"),
        (b" \n", "the secret is only white space. Set it"),
        (b"canary\n\n", "the secret ends with a line end. Remove it"),
        (b"canary\nurl: x\n", "the secret contains a line end. Remove it"),
        (b" canary", "the secret begins with white space. Remove it"),
        (b"canary ", "the secret ends with white space. Remove it"),
        (b"canary\x00", "the secret contains a NUL character, as UTF-16 text does. Save it as UTF-8"),
        (
            "canary".encode("utf-16-le"),
            "the secret contains a NUL character, as UTF-16 text does. Save it as",
        ),
        ("canary".encode("utf-16"), "the secret is UTF-16. Save it as UTF-8"),
        (b"\xfe\xff\0c", "the secret is UTF-16. Save it as UTF-8"),
        (b"canary\xff", "the secret is not UTF-8. Save it as UTF-8"),
        ("canary\u200b".encode(), "the secret contains the invisible character U+200B. Remove it"),
        ("\ufeff\ufeffcanary".encode(), "the secret begins with a byte-order mark. Remove it"),
        (b"canary" * 20_000, "the secret is longer than 64 KiB. Save only the secret"),
    ],
)
def test_a_file_without_a_secret_is_named_and_not_shown(tmp_path: Path, content: bytes, cause: str) -> None:
    """Each message names one cause."""
    path = tmp_path / "secret-file"
    path.write_bytes(content)
    for ask in (SecretFile(str(path)), Secret(SecretFile(str(path))).reveal):
        with pytest.raises(ConfigurationError) as caught:
            ask()
        assert str(caught.value).startswith(f"the secret file '{path}': {cause}")
        assert_hidden(caught.value)


def test_a_file_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match=r"the secret file '/no/such' cannot be read: No such file"):
        SecretFile("/no/such")()
    with pytest.raises(ConfigurationError, match=r"cannot be read: its name is not valid on this system"):
        SecretFile("\0")()
    with pytest.raises(ConfigurationError, match=r"is not a regular file"):
        SecretFile(str(tmp_path))()
    (tmp_path / "secret").write_text("canary")

    def fail(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdopen", fail)
    with pytest.raises(ConfigurationError, match=r"cannot be read: Input/output error"):
        SecretFile(str(tmp_path / "secret"))()


@pytest.mark.skipif(os.name == "nt", reason="no such files there")
def test_a_pipe_is_not_a_secret_file_and_nobody_waits_for_it(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(ConfigurationError, match=r"pipe' is not a regular file. Use one, because it is read"):
        SecretFile(str(path))()


@pytest.mark.skipif(os.name == "nt", reason="files have no such mode there")
def test_other_users_that_can_use_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret"
    path.write_text("fake")
    for mode, exposure in {
        0o600: None,
        0o400: None,
        0o640: f"other users can read {path} (mode 0640)",
        0o604: f"other users can read {path} (mode 0604)",
        0o666: f"other users can change {path} (mode 0666)",
    }.items():
        path.chmod(mode)
        assert exposure_of(str(path)) == exposure
    assert exposure_of(str(tmp_path / "none")) is None
    assert exposure_of("\0") is None
    monkeypatch.setattr(os, "name", "nt")
    assert exposure_of(str(path)) is None


def test_a_command(capfd: pytest.CaptureFixture[str]) -> None:
    code = "import sys; print('se cret'); print('canary', file=sys.stderr); print(sys.stdin.read(), end='')"
    assert Secret(python(code)).reveal() == "se cret"
    assert capfd.readouterr() == ("", "")


def test_no_shell_reads_it() -> None:
    assert SecretCommand([sys.executable, "-c", "import sys; print(sys.argv[1])", "$HOME;|"])() == "$HOME;|"


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("print('canary'); raise SystemExit(3)", " exited with code 3. Run it yourself to see why"),
        ("pass", " printed nothing. Run it yourself to see why; it has no input and no terminal"),
        ("print()", " printed nothing. Run it yourself to see why; it has no input and no terminal"),
        ("print(' canary')", ": the secret begins with white space. Remove it"),
        ("print('canary\\nurl')", ": the secret contains a line end. Remove it"),
        (
            "import sys; sys.stdout.buffer.write(b'canary\\xff')",
            ": the secret is not UTF-8. Save it as UTF-8",
        ),
        ("while True: print('canary' * 1000)", ": the secret is longer than 64 KiB. Save only the secret"),
        ("print('x' * 70_000)", ": the secret is longer than 64 KiB. Save only the secret"),
    ],
)
def test_a_command_that_fails_is_named_and_not_shown(code: str, cause: str) -> None:
    for ask in (python(code), Secret(python(code)).reveal):
        with pytest.raises(ConfigurationError) as caught:
            ask()
        assert str(caught.value) == f"the secret command {sys.executable!r}{cause}"
        assert_hidden(caught.value)


@pytest.mark.skipif(os.name == "nt", reason="no such signals there")
@pytest.mark.parametrize(("number", "name"), [(signal.SIGTERM, "SIGTERM"), (40, "40")])
def test_a_command_that_a_signal_ends(number: int, name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"was killed by the signal {name}. Run it yourself"):
        python(f"import os; os.kill(os.getpid(), {int(number)})")()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["/no/such"], "the secret command '/no/such' cannot be run: No such file"),
        (["a\0"], "cannot be run: the system cannot pass one of its arguments"),
    ],
)
def test_a_command_that_cannot_be_run(command: list[str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        SecretCommand(command)()


def test_a_command_has_a_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret_sources, "COMMAND_LIMIT_S", 0.05)
    for code in (
        "print('canary', flush=True); import time; time.sleep(60)",
        "import os, time; os.close(1); time.sleep(60)",  # its output has ended
    ):
        with pytest.raises(
            ConfigurationError, match=r"did not exit within 0\.05 s. Run it yourself"
        ) as caught:
            python(code)()
        assert_hidden(caught.value)


@pytest.mark.skipif(os.name == "nt", reason="there are no groups of processes there")
def test_children_of_a_command_end_with_it_at_its_time_limit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pid = tmp_path / "pid"
    for limit_s in (0.5, 2, 8, 30):  # until the child has started within the limit
        monkeypatch.setattr(secret_sources, "COMMAND_LIMIT_S", limit_s)
        with pytest.raises(ConfigurationError, match=r"did not exit within"):
            SecretCommand(["sh", "-c", f"sleep 600 & echo $! > {pid}; wait"])()
        if pid.exists() and pid.read_text():
            break
    ends_at = time.monotonic() + 60
    while is_running(int(pid.read_text())):
        assert time.monotonic() < ends_at
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    try:
        return not Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].startswith(" Z")
    except FileNotFoundError:
        return False


@pytest.mark.skipif(os.name == "nt", reason="there, it waits until the output is closed")
def test_the_wait_ends_with_the_program_though_a_child_keeps_its_output_open(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    command = SecretCommand(["sh", "-c", f"sleep 600 & echo $! > {pid}; echo secret"])
    assert command() == "secret"
    assert is_running(int(pid.read_text()))  # an agent, say
    os.kill(int(pid.read_text()), signal.SIGKILL)


@pytest.mark.skipif(os.name == "nt", reason="there is no such terminal")
def test_a_prompt_fails_at_once() -> None:
    """Neither stdin nor a terminal is there to answer."""
    for code in ("read answer; echo $answer", "read answer </dev/tty; echo $answer"):
        with pytest.raises(ConfigurationError, match=r"printed nothing|exited with code"):
            SecretCommand(["sh", "-c", code])()
    assert os.getsid(0) != int(SecretCommand(["sh", "-c", "ps -o sid= -p $$ | tr -d ' '"])())


class JobEndedError(Exception):
    pass


@pytest.mark.skipif(os.name == "nt", reason="no such signals there")
def test_an_exception_of_a_signal_handler_ends_the_command_and_shows_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid, was_read = tmp_path / "pid", tmp_path / "was-read"

    class Output(io.BytesIO):
        def write(self, data: Any, /) -> int:
            was_read.touch()
            return super().write(data)

    monkeypatch.setattr(secret_process, "io", types.SimpleNamespace(BytesIO=Output))
    wait = f"while ! test -e {was_read}; do sleep 0.01; done"

    def interrupt(_number: int, _frame: object) -> None:
        raise JobEndedError

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with pytest.raises(JobEndedError) as caught:
            SecretCommand(
                ["sh", "-c", f"echo $$ > {pid}; echo canary; {wait}; kill -USR1 $PPID; sleep 600"]
            )()
    finally:
        signal.signal(signal.SIGUSR1, before)
    frames = traceback.TracebackException.from_exception(caught.value, capture_locals=True).stack
    shown = [repr(frame.locals) for frame in frames if "secret_process" in frame.filename]
    assert shown
    assert "canary" not in "".join(shown).replace("echo canary", "")
    assert not is_running(int(pid.read_text()))


def test_where_pipes_cannot_be_polled(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []

    class Kept(subprocess.Popen[bytes]):
        def __init__(self, *arguments: object, **options: object) -> None:
            super().__init__(*arguments, **options)  # type: ignore[call-overload]
            started.append(self)

    monkeypatch.setattr(secret_process, "_PIPES_CAN_BE_POLLED", False)
    monkeypatch.setattr(subprocess, "Popen", Kept)
    monkeypatch.setattr(secret_sources, "COMMAND_LIMIT_S", 30)
    assert python("print('secret')")() == "secret"
    monkeypatch.setattr(secret_sources, "COMMAND_LIMIT_S", 0.05)
    monkeypatch.delattr(os, "killpg")
    with pytest.raises(ConfigurationError, match=r"did not exit within"):
        python("import time; time.sleep(60)")()
    assert started[1].poll() is not None
    assert started[1].stdout is not None
    started[1].stdout.close()


def test_a_command_is_not_run_for_each_request(tmp_path: Path) -> None:
    path, now = tmp_path / "runs", [0.0]
    code = f"f = open({str(path)!r}, 'a+'); f.write('x'); f.seek(0); print('secret', len(f.read()))"
    command = SecretCommand([sys.executable, "-c", code], clock=lambda: now[0])
    assert [command(), command()] == ["secret 1", "secret 1"]
    now[0] = COMMAND_KEPT_S - 1
    assert command() == "secret 1"
    now[0] = COMMAND_KEPT_S
    assert command() == "secret 2"


def test_many_threads_run_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[int] = []

    def run(*_: object) -> io.BytesIO:
        ran.append(1)
        return io.BytesIO(b"secret\n")

    monkeypatch.setattr(secret_process, "output_of", run)
    command = SecretCommand(["x"])
    threads = [threading.Thread(target=command) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ran == [1]


def test_a_lock_that_was_held_when_it_was_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret_sources, "COMMAND_LIMIT_S", 10)
    command = python("print('secret')")
    command._lock.acquire()
    monkeypatch.setattr(secret_sources, "COMMAND_LIMIT_S", 0.01)
    monkeypatch.setattr(secret_process, "output_of", lambda *_: io.BytesIO(b"secret\n"))
    assert command() == "secret"
    assert command._lock.locked()


def test_they_travel_without_the_secret(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("canary")
    for source in (SecretFile(str(path)), python("print('canary')")):
        source()
        pickled = pickle.dumps(Secret(source))
        assert b"canary" not in pickled.replace(b"print('canary')", b"")
        assert pickle.loads(pickled) == Secret(source)
        assert pickle.loads(pickled).reveal() == "canary"


def test_equal_sources_are_equal_and_show_no_secret() -> None:
    assert SecretFile("a") == SecretFile("a") != SecretFile("b")
    assert hash(SecretFile("a")) == hash(SecretFile("a")) != hash(SecretFile("b"))
    assert SecretCommand(["a", "b"]) == SecretCommand(("a", "b")) != SecretCommand(["a"])
    assert hash(SecretCommand(["a"])) == hash(SecretCommand(["a"])) != hash(SecretCommand(["b"]))
    others: tuple[object, ...] = (SecretFile("a"), "a")
    assert SecretCommand(["a"]) not in others
    assert repr(SecretFile("a")) == "SecretFile('a')"
    assert repr(SecretCommand(["op", "read"])) == "SecretCommand('op')"
