"""The committed client is what the generator writes, byte for byte; any departure is found and named."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tools" / "generation.py"
CONTRACT = (ROOT / "openapi" / "thrive.yaml").read_text(encoding="utf-8")
PACKAGE = "_thrive_learning_api"


def run(command: str, *options: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tools.generation", command, *options],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of generated/ for a test to spoil."""
    return shutil.copytree(ROOT / "generated", tmp_path / "generated")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_committed_client_is_what_the_generator_writes() -> None:
    result = run("check")
    assert result.returncode == 0, result.stderr


def edit(package: Path) -> None:
    """Line endings alone: the smallest edit there is."""
    file = package / "client.py"
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))


def add(package: Path) -> None:
    (package / "extra.py").touch()
    (package.parent / ".hidden").touch()


def remove(package: Path) -> None:
    (package / "py.typed").unlink()


@pytest.mark.parametrize(
    ("spoil", "verdicts"),
    [
        (edit, [f"changed: {PACKAGE}/client.py"]),
        (add, ["extra: .hidden", f"extra: {PACKAGE}/extra.py"]),
        (remove, [f"missing: {PACKAGE}/py.typed"]),
    ],
)
def test_a_departure_fails_and_names_the_files(
    copy: Path, spoil: Callable[[Path], None], verdicts: list[str]
) -> None:
    spoil(copy / PACKAGE)
    result = run("check", "--committed", copy)
    assert result.returncode == 1
    assert result.stderr.splitlines()[1:-1] == verdicts
    assert "run `nox -s generate`" in result.stderr


def test_a_changed_contract_fails(tmp_path: Path) -> None:
    contract = tmp_path / "changed.yaml"
    contract.write_text(CONTRACT.replace("- loggedout", "- loggedout\n        - applauded"), encoding="utf-8")
    result = run("check", "--contract", contract)
    assert result.returncode == 1
    assert result.stderr.splitlines()[1:-1] == [f"changed: {PACKAGE}/models/activity_type.py"]


def test_writing_twice_gives_the_same_bytes_and_clears_what_is_left_over(copy: Path, tmp_path: Path) -> None:
    add(copy / PACKAGE)
    assert run("write", "--committed", copy, PYTHONHASHSEED="1", LC_ALL="C", TZ="UTC").returncode == 0
    other = tmp_path / "elsewhere" / "generated"
    assert run("write", "--committed", other, PYTHONHASHSEED="2", TZ="Asia/Kolkata").returncode == 0
    assert contents(copy) == contents(other)
    assert f"{PACKAGE}/extra.py" not in contents(copy)


def test_a_warning_of_the_generator_is_an_error(tmp_path: Path) -> None:
    contract = tmp_path / "dubious.yaml"
    contract.write_text(CONTRACT.replace("        '400':", "        '4OO':"), encoding="utf-8")
    result = run("check", "--contract", contract)
    assert result.returncode == 1
    assert "4OO" in result.stdout + result.stderr


@pytest.mark.parametrize(
    "text", [b"", b"a: [", b"\xff\xfe\x00", CONTRACT.replace("/Pagination'", "/Page'").encode()]
)
def test_a_broken_contract_leaves_the_committed_client_alone(copy: Path, tmp_path: Path, text: bytes) -> None:
    before = contents(copy)
    contract = tmp_path / "broken.yaml"
    contract.write_bytes(text)
    result = run("write", "--contract", contract, "--committed", copy)
    assert result.returncode == 1
    assert result.stderr.startswith(f"{contract}:\n")
    assert "Traceback" not in result.stderr
    assert contents(copy) == before
