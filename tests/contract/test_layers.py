"""The rules about imports that `nox -s layers` checks: each of them breaks when a module breaks it."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONTRACTS = {contract["id"]: contract for contract in PROJECT["tool"]["importlinter"]["contracts"]}
PURE = re.compile(r"\bPure[.,:]|\ba pure function from\b")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of everything that import-linter reads, for a test to spoil."""
    for folder in ("src", "generated"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint(project: Path) -> tuple[int, str]:
    """Run import-linter over a copy: its exit code, and what it prints."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"]
    path = os.pathsep.join(str(project / folder) for folder in ("src", "generated"))
    environment = {**os.environ, "PYTHONPATH": path, "COLUMNS": "200"}
    result = subprocess.run(
        command, cwd=project, env=environment, check=False, capture_output=True, text=True
    )
    return result.returncode, result.stdout


def test_the_rules_hold(copy: Path) -> None:
    code, output = lint(copy)
    assert code == 0, output
    assert output.count("KEPT") == len(CONTRACTS)


@pytest.mark.parametrize(
    ("module", "line", "broken"),
    [
        ("errors", "import thrive_learning._ids", "layers"),
        ("errors", "from thrive_learning import ThriveClient", "layers"),
        ("_loops", "import thrive_learning.errors", "layers"),
        ("regions", "import thrive_learning.credentials", "layers"),
        ("credentials", "import thrive_learning._budget", "layers"),
        ("models", "import thrive_learning._settings.resolution", "layers"),
        ("_settings/resolution", "import thrive_learning._http.port", "layers"),
        ("_http/port", "import thrive_learning._exchange.reply", "layers"),
        ("_exchange/reply", "import thrive_learning._auth.masking", "layers"),
        ("_auth/single_flight", "import thrive_learning._call.seam", "layers"),
        ("_call/seam", "import thrive_learning._bulk.run", "layers"),
        ("_bulk/run", "import thrive_learning.activities", "layers"),
        ("activities", "import thrive_learning.tokens", "layers"),
        ("tokens", "import thrive_learning.client", "layers"),
        ("client", "import thrive_learning.cli", "layers"),
        ("testing/sandbox", "import thrive_learning.cli", "layers"),
        ("newcomer", "", "layers"),
        ("errors", "import httpx", "httpx"),
        ("tokens", "import httpcore", "httpx"),
        ("sandbox/core", "import httpx", "httpx"),
        ("activities", "import _thrive_learning_api", "generated"),
        ("_auth/sharing", "from _thrive_learning_api.models import Activity", "generated"),
        ("_http_fast/__init__", "import thrive_learning._ids", "engine"),
        ("_http_fast/__init__", "import thrive_learning.models", "engine"),
        ("_call/seam", "import thrive_learning._http_fast", "wall"),
        ("errors", "import socket", "pure"),
        ("_ids", "import anyio", "pure"),
        ("_bulk/schedule", "import asyncio", "pure"),
        ("_bulk/schedule", "import thrive_learning._settings.secret_process", "pure"),
        ("credentials", "import _thrive_learning_api", "pure"),
        ("sandbox/core", "import thrive_learning.errors", "layers"),
        ("sandbox/core", "import thrive_learning", "layers"),
        ("../_thrive_learning_api/client", "import thrive_learning.errors", "sandbox"),
    ],
)
def test_a_breach_is_found(copy: Path, module: str, line: str, broken: str) -> None:
    folder = "generated/_thrive_learning_api" if module.startswith("..") else "src/thrive_learning"
    name = Path(module).name if module.startswith("..") else module
    with (copy / folder / f"{name}.py").open("a") as file:
        file.write(f"\n{line}\n")
    code, output = lint(copy)
    assert code == 1, output
    assert f"{CONTRACTS[broken]['name']} BROKEN" in output


def test_modules_that_say_that_they_are_pure_are_in_the_contract() -> None:
    listed = set(CONTRACTS["pure"]["source_modules"])
    source = ROOT / "src"
    described = {
        ".".join(path.relative_to(source).with_suffix("").parts): docstring
        for path in source.rglob("*.py")
        if path.name != "__init__.py"  # a package speaks of its modules
        and (docstring := ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))))
    }
    assert {name for name, docstring in described.items() if PURE.search(docstring)} == listed
