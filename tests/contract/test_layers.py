"""The rules about imports that `nox -s layers` checks: each of them breaks when a module breaks it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


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


LAYERS = "A module imports downwards only"
PURE = "What decides knows no HTTP, no event loop and no generated code"
GENERATED = "Generated code knows nothing of the facade"


def test_the_rules_hold(copy: Path) -> None:
    code, output = lint(copy)
    assert code == 0, output
    assert output.count("KEPT") == 3


@pytest.mark.parametrize(
    ("module", "line", "broken"),
    [
        ("errors", "import thrive_learning.ids", LAYERS),
        ("errors", "from thrive_learning import ThriveClient", LAYERS),
        ("errors", "import httpx", PURE),
        ("ids", "import anyio", PURE),
        ("regions", "import httpcore", PURE),
        ("credentials", "import _thrive_learning_api", PURE),
        ("policies", "import httpx", PURE),
        ("models", "import thrive_learning._auth", LAYERS),
        ("_token_cache", "import thrive_learning._auth", LAYERS),
        ("_auth", "import thrive_learning._seam", LAYERS),
        ("_seam", "import thrive_learning._call", LAYERS),
        ("_call", "import thrive_learning.activities", LAYERS),
        ("activities", "import thrive_learning.tokens", LAYERS),
        ("settings", "import thrive_learning.client", LAYERS),
        ("client", "import thrive_learning.cli", LAYERS),
        ("sandbox/core", "import thrive_learning.errors", LAYERS),
        ("sandbox/core", "import thrive_learning", LAYERS),
        ("newcomer", "", LAYERS),
        ("../_thrive_learning_api/client", "import thrive_learning.errors", GENERATED),
    ],
)
def test_a_breach_is_found(copy: Path, module: str, line: str, broken: str) -> None:
    folder = "generated/_thrive_learning_api" if broken == GENERATED else "src/thrive_learning"
    with (copy / folder / f"{Path(module).name if broken == GENERATED else module}.py").open("a") as file:
        file.write(f"\n{line}\n")
    code, output = lint(copy)
    assert code == 1, output
    assert f"{broken} BROKEN" in output
