"""Type checkers accept the Python blocks in the documents, so a reader's editor does not underline them.

Each block is a module of its own, as a reader copies it. It imports the names that earlier blocks of its page
define. A block that begins with `# name.py` is a module with that name.
"""

import ast
import builtins
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import ROOT

pytest.importorskip("mypy", reason="mypy is not installed; `nox -s types` runs this")
pytest.importorskip("pyright", reason="pyright is not installed; `nox -s types` runs this")

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("openapi/*.md")])
_BLOCK = re.compile(r"^([ \t]*)```python\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)


def blocks_of(page: str) -> list[str]:
    return [re.sub(f"^{indent}", "", block, flags=re.MULTILINE) for indent, block in _BLOCK.findall(page)]


def bound_in(block: str) -> set[str]:
    """Return the names that a block defines anywhere, parameters included."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(block)):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                names.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                names.update((alias.asname or alias.name).partition(".")[0] for alias in aliases)
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
                names.add(name)
            case _:
                pass
    return names


def imports_of(block: str) -> dict[str, str]:
    """Return the imports of a block by the name that each binds."""
    return {
        alias.asname or alias.name: ast.unparse(
            ast.Import([alias]) if isinstance(node, ast.Import) else ast.ImportFrom(node.module, [alias], 0)
        )
        for node in ast.walk(ast.parse(block))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }


def used_in(block: str) -> set[str]:
    loaded = {
        node.id
        for node in ast.walk(ast.parse(block))
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }
    return loaded - bound_in(block) - set(dir(builtins))


def modules_of(path: Path) -> dict[str, str]:
    """Return the blocks of a document as modules, by name."""
    slug = re.sub(r"\W", "_", path.relative_to(ROOT).with_suffix("").as_posix())
    modules: dict[str, str] = {}
    sources: dict[str, str] = {}  # the statement that gives a later block a name
    for number, block in enumerate(blocks_of(path.read_text(encoding="utf-8")), start=1):
        file = re.match(r"# (\w+)\.py\n", block)
        name = file[1] if file else f"{slug}_{number}"
        imports = "; ".join(sources[used] for used in sorted(used_in(block)))
        modules[name] = f"{imports}\n{block}"
        sources.update({bound: f"from {name} import {bound}" for bound in bound_in(block)})
        sources.update(imports_of(block))
    return modules


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("documents")
    written: set[str] = set()
    for path in DOCUMENTS:
        for name, code in modules_of(path).items():
            assert name not in written, f"two documents have a file {name}.py"
            written.add(name)
            (folder / f"{name}.py").write_text(code, encoding="utf-8")
    assert len(written) > 40
    return folder


def mypy(folder: Path) -> list[str]:
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--no-error-summary", "."]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False, text=True)
    return (done.stdout + done.stderr).splitlines()


def pyright(folder: Path) -> list[str]:
    settings = {"extraPaths": [f"{ROOT}/src", f"{ROOT}/generated"], "typeCheckingMode": "standard"}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False, text=True)
    return [line.replace(f"{folder}/", "") for line in done.stdout.splitlines() if " - error: " in line]


@pytest.mark.parametrize("check", [mypy, pyright])
def test_every_python_block_has_the_right_types(folder: Path, check: Callable[[Path], list[str]]) -> None:
    assert check(folder) == []


@pytest.mark.parametrize("check", [mypy, pyright])
def test_a_mistake_in_a_block_is_found(tmp_path: Path, check: Callable[[Path], list[str]]) -> None:
    code = "from thrive_learning import ThriveClient\n\nThriveClient.sandbox().activities.get(5)\n"
    (tmp_path / "wrong.py").write_text(code, encoding="utf-8")
    assert "wrong.py" in "".join(check(tmp_path))


def test_names_of_earlier_blocks_are_imported() -> None:
    assert used_in("def f(a: int) -> int:\n    return a + b\nc = len(d)") == {"b", "d"}
    assert blocks_of("x\n  ```python\n  a = 1\n\n  b = 2\n  ```\n") == ["a = 1\n\nb = 2\n"]
