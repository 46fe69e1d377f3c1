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


def locked(names: set[str]) -> dict[str, tuple[str, set[str]]]:
    """Version and hashes of packages and of all that they need, as uv.lock has them."""
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    packages = {package["name"]: package for package in lock["package"]}
    found: dict[str, tuple[str, set[str]]] = {}
    left = {*names}
    while left:
        package = packages[left.pop()]
        files = [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
        found[package["name"]] = (package["version"], {file["hash"] for file in files})
        left |= {needed["name"] for needed in package.get("dependencies", [])} - found.keys()
    return found


def test_ci_installs_nox_by_the_hashes_of_the_lock() -> None:
    """Otherwise: uv export --locked --only-group nox --no-header --output-file .ci/nox.txt."""
    text = (ROOT / ".ci/nox.txt").read_text(encoding="utf-8")
    entries = re.findall(
        r"^([\w.-]+)==(\S+)(?: ;[^\\]+)? \\\n((?:    --hash=\S+(?: \\)?\n)+)", text, re.MULTILINE
    )
    shown = {name: (version, {*re.findall(r"--hash=(\S+)", hashes)}) for name, version, hashes in entries}
    assert GROUPS["nox"] == ["nox[uv]>=2026.10"]
    assert shown == locked({"nox", "uv"})
    assert len(entries) == len(re.findall(r"^\w", text, re.MULTILINE))


def test_ci_runs_the_command_of_the_readme_and_installs_by_hash_alone() -> None:
    command = "python3 -m pip install 'nox[uv]' && nox"
    lines = (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()
    assert lines[-4:] == [
        "python3 -m pip install --quiet --require-hashes --requirement .ci/nox.txt",
        "export PIP_NO_INDEX=1",  # the next line finds what the first one installed, or fails
        "",
        command,
    ]
    assert f"```sh\n{command}\n```" in (ROOT / "README.md").read_text(encoding="utf-8")
    for workflow in (ROOT / ".github/workflows").glob("*.yml"):
        text = workflow.read_text(encoding="utf-8").replace("\\\n", " ")
        installs = re.findall(r"^.*pip install.*$", text, re.MULTILINE)
        assert all("--require-hashes" in install for install in installs), installs


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
