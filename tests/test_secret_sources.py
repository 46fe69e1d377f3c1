import pickle
import subprocess
import sys
import threading
import traceback
from pathlib import Path

import pytest

from thrive_learning import ConfigurationError, Secret, secret_sources
from thrive_learning.secret_sources import COMMAND_KEPT_S, SecretCommand, SecretFile


def python(code: str) -> SecretCommand:
    return SecretCommand([sys.executable, "-c", code])


def assert_hidden(error: BaseException) -> None:
    """Neither message, nor chain, nor the locals of our frames have it."""
    assert error.__context__ is None
    frames = traceback.TracebackException.from_exception(error, capture_locals=True).stack
    shown = [repr(frame.locals) for frame in frames if "thrive_learning" in frame.filename]
    assert "canary" not in str(error) + "".join(shown)


@pytest.mark.parametrize("content", ["se cret", "se cret\n", "se cret\r\n"])
def test_a_file_but_for_its_line_end(tmp_path: Path, content: str) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content.encode())
    secret = Secret(SecretFile(str(path)))
    assert secret.reveal() == "se cret"
    path.write_text("new\n")
    assert secret.reveal() == "new"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"canary\n\n", "white space around it or control characters"),
        (b" canary", "white space around it"),
        (b"", "a secret is empty"),
        (b"canary\xff", "gives what is not UTF-8"),
    ],
)
def test_a_file_without_a_secret_is_named_and_not_shown(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "secret-file"
    path.write_bytes(content)
    for ask in (SecretFile(str(path)), Secret(SecretFile(str(path))).reveal):
        with pytest.raises(ConfigurationError, match=f"secret-file.*{said}") as caught:
            ask()
        assert_hidden(caught.value)


def test_a_file_that_cannot_be_read() -> None:
    with pytest.raises(ConfigurationError, match=r"'/no/such', .*cannot be read: No such file"):
        SecretFile("/no/such")()
    with pytest.raises(ConfigurationError, match=r"cannot be read: its name is none"):
        SecretFile("\0")()


def test_a_command(capfd: pytest.CaptureFixture[str]) -> None:
    code = "import sys; print('se cret'); print('canary', file=sys.stderr); print(sys.stdin.read(), end='')"
    assert Secret(python(code)).reveal() == "se cret"
    assert capfd.readouterr() == ("", "")


def test_no_shell_reads_it() -> None:
    assert SecretCommand([sys.executable, "-c", "import sys; print(sys.argv[1])", "$HOME;|"])() == "$HOME;|"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("print('canary'); raise SystemExit(3)", "ended with the code 3: run it yourself"),
        ("pass", "a secret is empty"),
        ("print(' canary')", "white space around it"),
        ("import sys; sys.stdout.buffer.write(b'canary\\xff')", "not UTF-8"),
    ],
)
def test_a_command_that_fails_is_named_and_not_shown(code: str, said: str) -> None:
    for ask in (python(code), Secret(python(code)).reveal):
        with pytest.raises(ConfigurationError, match=f"python.*{said}") as caught:
            ask()
        assert_hidden(caught.value)


@pytest.mark.parametrize(
    ("command", "said"),
    [(["/no/such"], "cannot be run: No such file"), (["a\0"], "cannot be run: its arguments are none")],
)
def test_a_command_that_cannot_be_run(command: list[str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        SecretCommand(command)()


def test_a_command_has_a_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret_sources, "COMMAND_LIMIT_S", 0.05)
    with pytest.raises(ConfigurationError, match=r"did not end within 0\.05 s") as caught:
        python("print('canary', flush=True); import time; time.sleep(60)")()
    assert_hidden(caught.value)


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

    def run(*_: object, **__: object) -> "subprocess.CompletedProcess[bytes]":
        ran.append(1)
        return subprocess.CompletedProcess([], 0, b"secret\n")

    monkeypatch.setattr(subprocess, "run", run)
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
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, b"secret\n"))
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
    assert SecretFile("a") != SecretCommand(["a"]) != "a"
    assert repr(SecretFile("a")) == "SecretFile('a')"
    assert repr(SecretCommand(["op", "read"])) == "SecretCommand('op')"
