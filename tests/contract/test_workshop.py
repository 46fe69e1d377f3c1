"""What the generated client rests on: exact pins, known settings, and no way back into the facade."""

import ast
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from openapi_python_client.config import ConfigFile

ROOT = Path(__file__).parents[2]
GROUPS: dict[str, list[Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))[
    "dependency-groups"
]
RUFF = next(requirement for requirement in GROUPS["generator"] if requirement.startswith("ruff"))


def test_the_generator_knows_every_key_of_its_configuration() -> None:
    """It ignores the others without a word."""
    configuration = yaml.safe_load((ROOT / "generator-config.yaml").read_text(encoding="utf-8"))
    assert configuration.keys() <= ConfigFile.model_fields.keys()


def test_the_generator_and_ruff_are_pinned_exactly_and_everywhere_alike() -> None:
    assert all(re.fullmatch(r"[a-z-]+==[0-9.]+", requirement) for requirement in GROUPS["generator"])
    assert GROUPS["lint"] == [RUFF]
    pre_commit = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    hooks = {hook["id"]: hook["additional_dependencies"] for hook in pre_commit["repos"][0]["hooks"]}
    pins = {name: dependencies for name, dependencies in hooks.items() if name.startswith("ruff")}
    assert pins == {"ruff-check": [RUFF], "ruff-format": [RUFF]}


def imported(source: str) -> set[str]:
    """The top-level names that a module imports; a relative import stays inside its own package."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(str(node.module).split(".")[0])
    return names


@pytest.mark.parametrize(
    "path", sorted((ROOT / "generated").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT))
)
def test_generated_code_imports_nothing_of_the_facade(path: Path) -> None:
    assert "thrive_learning" not in imported(path.read_text(encoding="utf-8"))
