"""The foundations of the workshop: exact pins, known settings, and scripts that detect mistakes."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from openapi_python_client.config import ConfigFile

from tools import extras, mutation, redocly, wheel

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


def test_generation_needs_only_its_group() -> None:
    """The sessions `generate` and `drift` install no more."""
    imports = {"openapi_python_client": "openapi-python-client", "ruamel": "ruamel-yaml"}
    names = ("generation", "contract_checks", "contract_facts", "contract_walk")
    files = [ROOT / "tools" / f"{name}.py" for name in names]
    used = {name for file in files for name in imported(file.read_text(encoding="utf-8"))}
    assert used - sys.stdlib_module_names == {"tools", *imports}
    installed = locked({requirement.split("==")[0] for requirement in GROUPS["generator"]})
    assert {*imports.values()} <= installed.keys()


@pytest.mark.parametrize(
    "path", sorted((ROOT / "generated").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT))
)
def test_generated_code_imports_nothing_of_the_facade(path: Path) -> None:
    assert "thrive_learning" not in imported(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("module", mutation.MUTATED)
def test_a_mutated_module_and_its_tests_exist(module: str) -> None:
    assert mutation.missing(module) == []


def test_a_missing_module_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(mutation.MUTATED, "gone", ["tests/test_gone.py", "-k", "not slow"])
    monkeypatch.setattr("sys.argv", ["mutation", "errors", "gone", "unlisted"])
    with pytest.raises(SystemExit) as stopped:
        mutation.main()
    names = "src/thrive_learning/gone.py, tests/test_gone.py, unlisted in MUTATED of tools/mutation.py"
    assert stopped.value.code == f"does not exist: {names}"


METADATA = "License-Expression: MIT AND Apache-2.0\nLicense-File: LICENSE\n\nText"
WHEEL = {
    "thrive_learning/py.typed": "",
    "_thrive_learning_api/py.typed": "",
    "thrive_learning/sandbox/thrive.yaml": "the contract",
    "a-1.dist-info/METADATA": METADATA,
    "a-1.dist-info/RECORD": "",
    "a-1.dist-info/licenses/LICENSE": "",
}
CODE = [name for name in WHEEL if ".dist-info/" not in name]


def mistakes_in(folder: Path, contents: Mapping[str, str]) -> list[str]:
    path = folder / "a-1.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in contents.items():
            archive.writestr(name, text)
    return wheel.mistakes_in(path, CODE, ["licenses/LICENSE"], b"the contract")


def test_a_wheel_as_expected_has_no_mistakes(tmp_path: Path) -> None:
    assert mistakes_in(tmp_path, WHEEL) == []


@pytest.mark.parametrize(
    ("changes", "mistake"),
    [
        (
            {"thrive_learning/sandbox/thrive.yaml": "another"},
            "thrive_learning/sandbox/thrive.yaml is not openapi/thrive.yaml",
        ),
        ({"tests/test_ids.py": ""}, "tests/test_ids.py does not belong there"),
        (
            {"a-1.dist-info/METADATA": METADATA.replace("MIT AND ", "")},
            "no 'License-Expression: MIT AND Apache-2.0'",
        ),
        *(({name: None}, f"{name} is missing") for name in ("_thrive_learning_api/py.typed", [*WHEEL][-1])),
    ],
)
def test_each_mistake_in_a_wheel_is_named(
    tmp_path: Path, changes: dict[str, str | None], mistake: str
) -> None:
    contents = {name: text for name, text in {**WHEEL, **changes}.items() if text is not None}
    assert mistakes_in(tmp_path, contents) == [mistake]


def test_every_extra_is_used() -> None:
    assert extras.extras_of(",".join(extras.USES)) == {*extras.EXTRAS}


def test_an_extra_may_work_or_be_named() -> None:
    message = "Run python3 -m pip install 'thrive-learning[cache]'."
    assert extras.mistake_of("redis", "cache", 1, message) is None
    assert extras.mistake_of("cache", "cache", 0, "") is None
    assert extras.mistake_of("cli", "cache", 0, "") is None  # its packages include those of `cache`


@pytest.mark.parametrize(
    ("installed", "needed", "code", "output"),
    [
        ("cache", "cache", 1, "ImportError"),
        ("redis", "cache", 0, ""),
        ("redis", "cache", 1, "ImportError"),
        ("redis", "cache", 1, "Install thrive-learning[fast]."),
        ("cli", "arrow,cli", 2, "Install thrive-learning[cli]."),
    ],
    ids=["it fails", "it works without", "no extra is named", "another is named", "a present one is named"],
)
def test_each_mistake_in_an_extra_is_named(installed: str, needed: str, code: int, output: str) -> None:
    mistake = extras.mistake_of(installed, needed, code, output)
    assert mistake is not None
    assert f"with [{installed}], the use of [{needed}]" in mistake


def test_the_wheel_is_expected_to_hold_the_checkout() -> None:
    assert {"thrive_learning/errors.py", "_thrive_learning_api/py.typed"} <= wheel.expected_code()
    assert not any("__pycache__" in name for name in wheel.expected_code())
    assert "licenses/LICENSE" in wheel.expected_licenses()


@pytest.mark.parametrize(
    ("started", "ci", "outcome"),
    [
        (None, "", None),
        (None, "true", None),
        (1, "", None),
        (1, "true", redocly.CANNOT_START),
        (0, "true", 7),
    ],
)
def test_redocly_is_skipped_if_it_cannot_start_but_not_in_ci(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    started: int | None,
    ci: str,
    outcome: int | str | None,
) -> None:
    def run(*options: str, silent: bool = False) -> int | None:
        assert silent == (options == ("--version",))
        return started if options == ("--version",) else 7

    monkeypatch.setattr(redocly, "run", run)
    monkeypatch.setenv("CI", ci)
    assert redocly.lint() == outcome
    assert capsys.readouterr().out.startswith("Redocly SKIPPED") == (outcome is None)


def test_the_fuzz_runs() -> None:
    """Its connections stand for internal ones of both engines, which may change."""
    command = [sys.executable, "-W", "error", "-m", "tools.fuzz", "--seconds", "0.1", "--seed", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "50 responses" in done.stdout


def test_the_noxfile_is_a_list_of_short_sessions() -> None:
    tree = ast.parse((ROOT / "noxfile.py").read_text(encoding="utf-8"))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    sessions = [node for node in functions if node.decorator_list]
    assert [node.name for node in functions if node not in sessions] == ["sync"]
    assert all(len(node.body) <= 8 for node in functions)
    assert all(ast.get_docstring(node) for node in functions)
    assert imported((ROOT / "noxfile.py").read_text(encoding="utf-8")) == {"nox", "os", "pathlib"}
