"""The fast engine is behind a wall: without its folder, all the rest of the SDK works."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: The core of the test suite: calls, tokens, retries, messages, and the default engine.
CORE = (
    *("call/test_operation.py", "call/test_seam.py", "auth/test_endpoint.py", "exchange/test_body.py"),
    *("exchange/test_failures.py", "exchange/test_messages.py", "exchange/test_retries.py"),
    *("http/test_httpx_adapter.py", "http/test_surplus.py", "test_client.py"),
)


@pytest.fixture
def without_fast_engine(tmp_path: Path) -> dict[str, str]:
    """Copy the code without the folder, and return an environment whose Python imports the copy."""
    for folder in ("src", "generated"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    shutil.copytree(ROOT / "openapi", tmp_path / "openapi")
    shutil.rmtree(tmp_path / "src/thrive_learning/_http_fast")
    path = os.pathsep.join(str(tmp_path / folder) for folder in ("src", "generated"))
    return {**os.environ, "PYTHONPATH": path}


def test_the_core_of_the_tests_passes_without_the_fast_engine(
    without_fast_engine: dict[str, str], tmp_path: Path
) -> None:
    tests = [str(ROOT / "tests" / name) for name in CORE]
    folder = f"--basetemp={tmp_path / 'temporary'}"  # one of its own, because runs clear a shared one
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", folder, *tests]
    done = subprocess.run(
        command, cwd=ROOT, env=without_fast_engine, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def test_its_absence_is_an_error_that_says_so(without_fast_engine: dict[str, str]) -> None:
    code = (
        "import thrive_learning as t, importlib.util as u\n"
        "assert u.find_spec('thrive_learning._http_fast') is None\n"
        "try: t.ThriveClient('staging', t.BasicCredentials('t', 's'), engine='fast')\n"
        "except t.ConfigurationError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=without_fast_engine, check=True, capture_output=True, text=True
    )
    assert done.stdout.startswith("The fast engine cannot be used: a part of it is not installed (No module")
