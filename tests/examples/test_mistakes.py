"""A program of examples/ that is started with a mistake says so, and shows no traceback."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from example_programs import EXAMPLES, modules_imported_by

PROGRAMS = [path for path in sorted(EXAMPLES.rglob("*.py")) if "__main__" in path.read_text(encoding="utf-8")]
SERVICE = "webhook_store/service.py"


def start(program: str, folder: Path, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Start a program in an empty folder, without credentials, unless its packages are missing."""
    path = EXAMPLES / program
    for module in modules_imported_by(path.read_text(encoding="utf-8")):
        if not (path.parent / f"{module}.py").exists() and importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    return subprocess.run(
        [sys.executable, str(path)],
        cwd=folder,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "RUNTIME__DLTHUB_TELEMETRY": "false",
            **environ,
        },
        capture_output=True,
        check=False,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_a_program_without_settings_says_which_are_missing(path: Path, tmp_path: Path) -> None:
    done = start(str(path.relative_to(EXAMPLES)), tmp_path)
    assert done.returncode in {1, 2}
    assert "Traceback" not in done.stderr
    assert any(
        word in done.stderr for word in ("no credentials are set", "is needed", "required", "is not set")
    )


@pytest.mark.parametrize("missing", ["DATABASE_URL", "THRIVE_WEBHOOK_SECRET"])
def test_the_service_names_a_variable_that_is_missing(missing: str, tmp_path: Path) -> None:
    environ = {"DATABASE_URL": "postgresql://localhost", "THRIVE_WEBHOOK_SECRET": "example"}
    del environ[missing]
    done = start(SERVICE, tmp_path, **environ)
    assert (done.returncode, done.stderr) == (1, f"{missing} is not set\n")


def test_an_overlap_that_is_not_a_number_is_rejected(tmp_path: Path) -> None:
    done = start("pipelines/dlt_activities.py", tmp_path, OVERLAP_DAYS="two")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("OVERLAP_DAYS is not a number: ")
