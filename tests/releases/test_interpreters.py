"""Interpreters are found where pyenv and uv keep them, and a missing one is described."""

import sys
from pathlib import Path

import pytest

from tools import interpreters

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture(autouse=True)
def no_interpreters(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))


def write(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def real_interpreter(path: Path) -> Path:
    return write(path, f'exec {sys.executable} "$@"')


def test_an_interpreter_of_pyenv_is_found_although_its_shim_fails(tmp_path: Path) -> None:
    write(tmp_path / f"python{VERSION}", "exit 127")
    real = real_interpreter(tmp_path / "pyenv" / "versions" / f"{VERSION}.1" / "bin" / f"python{VERSION}")
    assert interpreters.find_interpreter(VERSION) == real


def test_an_interpreter_of_uv_is_found(tmp_path: Path) -> None:
    real = real_interpreter(tmp_path / "uv-pythons" / "python")
    write(tmp_path / "uv", f'[ "$1 $2" = "python find" ] && echo {real}')
    assert interpreters.find_interpreter(VERSION) == real


@pytest.mark.parametrize("script", ["exit 1", "echo 3 99 0"])
def test_a_file_that_is_not_this_interpreter_is_passed_over(tmp_path: Path, script: str) -> None:
    write(tmp_path / f"python{VERSION}", script)
    assert interpreters.find_interpreter(VERSION) is None


def test_a_file_that_cannot_be_started_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / f"python{VERSION}"
    path.write_bytes(b"\x7fELF")
    path.chmod(0o755)
    assert interpreters.find_interpreter(VERSION) is None


def test_a_free_threaded_build_is_not_mistaken(tmp_path: Path) -> None:
    write(tmp_path / "python3.14t", "echo 3 14 0")
    assert interpreters.find_interpreter("3.14t") is None
    free_threaded = write(tmp_path / "python3.14t", "echo 3 14 1")
    assert interpreters.find_interpreter("3.14t") == free_threaded


def test_a_missing_interpreter_is_described_and_is_not_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    real = real_interpreter(tmp_path / f"python{VERSION}")
    monkeypatch.setattr("sys.argv", ["interpreters", VERSION, "3.99"])
    interpreters.main()
    found, missing = capsys.readouterr().out.splitlines()
    assert found == f"Python {VERSION}: {real}"
    assert missing.startswith("Python 3.99: not found. Install it with `uv python install 3.99`,")


def test_the_noxfile_tests_the_same_versions() -> None:
    text = (Path(__file__).parents[2] / "noxfile.py").read_text(encoding="utf-8")
    listed = ", ".join(f'"{version}"' for version in interpreters.VERSIONS)
    assert f"PYTHONS = [{listed}]" in text
