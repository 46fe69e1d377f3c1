"""A copy of the repository in which the contract can be changed, and the lines counted that this takes."""

import ast
import difflib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import yaml
from harness import ROOT

_PARTS = ("openapi", "src", "generated", "tools", "tests")
_FILES = ("pyproject.toml", "generator-config.yaml", "noxfile.py")
_UNUSED = shutil.ignore_patterns("__pycache__", "swagger-ui-*", "faults.md")


Process: TypeAlias = subprocess.CompletedProcess[str]


class Edit(NamedTuple):
    """One place where a person edits a file: a text that is there once, and what replaces it."""

    file: str
    old: str
    new: str


class Copy:
    """A copy of what the contract, the package, and their tests consist of.

    Args:
        folder: An empty folder for it.
    """

    def __init__(self, folder: Path) -> None:
        self.root: Path = folder
        for part in _PARTS:
            shutil.copytree(ROOT / part, folder / part, ignore=_UNUSED)
        for name in _FILES:
            shutil.copy(ROOT / name, folder / name)
        self._contract = folder / "openapi" / "thrive.yaml"
        self.document: dict[str, Any] = yaml.safe_load(self._contract.read_text(encoding="utf-8"))

    @property
    def schemas(self) -> dict[str, Any]:
        """The schemas of the contract."""
        schemas: dict[str, Any] = self.document["components"]["schemas"]
        return schemas

    def add_operation(self, path: str, method: str, operation_id: str, success: Any, **more: Any) -> None:
        """Add an operation to the contract, with the errors of `GET /activities`."""
        errors = self.document["paths"]["/activities"]["get"]["responses"]
        responses = {**success, **{status: error for status, error in errors.items() if status != "200"}}
        operation = {"operationId": operation_id, "tags": ["activity"], "responses": responses, **more}
        self.document["paths"].setdefault(path, {})[method] = operation

    def generate(self) -> Process:
        """Write the contract, and do what `nox -s generate` does."""
        self._contract.write_text(yaml.safe_dump(self.document, sort_keys=False), encoding="utf-8")
        return self._run("-m", "tools.generation", "write")

    def run(self, code: str) -> Process:
        """Run a program that uses the copy."""
        return self._run("-W", "error", "-c", _PRELUDE.format(root=str(self.root)) + code)

    def test(self, *names: str) -> Process:
        """Run tests of the copy."""
        plugins = [f"-p{name}" for name in ("anyio.pytest_plugin", "pytest_socket")]
        # Runs that share a folder for temporary files clear it at the same time.
        folder = f"--basetemp={self.root / 'temporary'}"
        return self._run("-m", "pytest", "-q", "--no-header", folder, *plugins, *names)

    def edit(self, edits: list[Edit]) -> None:
        """Do what a person has to do."""
        for file, old, new in edits:
            path = self.root / "src" / "thrive_learning" / file
            text = path.read_text(encoding="utf-8")
            assert text.count(old) == 1, f"{old!r} is not in {file} once"
            path.write_text(text.replace(old, new), encoding="utf-8")

    def handwritten_lines(self) -> Mapping[str, int]:
        """Format what was edited, and count its new lines, without docstrings, comments, and blank lines.

        Raises:
            AssertionError: ruff rejects an edit.
        """
        counts = {}
        for path in sorted((self.root / "src" / "thrive_learning").rglob("*.py")):
            name = path.relative_to(self.root / "src" / "thrive_learning")
            before = (ROOT / "src" / "thrive_learning" / name).read_text(encoding="utf-8")
            after = path.read_text(encoding="utf-8")
            if before != after:
                self._run("-m", "ruff", "format", str(path))
                checked = self._run("-m", "ruff", "check", "--fix", "--output-format=concise", str(path))
                assert checked.returncode == 0, checked.stdout
                lines = [*_new_lines(before, path.read_text(encoding="utf-8"))]
                counts[name.as_posix()] = len(lines)
        return counts

    def _run(self, *arguments: str) -> Process:
        paths = [self.root, self.root / "src", self.root / "generated", self.root / "tests"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
        # Most of the time of a short run would go into plugins that it does not use.
        environment |= {"NO_COLOR": "1", "COLUMNS": "200", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        return subprocess.run(
            [sys.executable, *arguments],
            check=False,
            cwd=self.root,
            capture_output=True,
            text=True,
            env={name: value for name, value in environment.items() if not name.startswith("COV")},
        )


def _new_lines(before: str, after: str) -> Iterator[str]:
    """Yield the lines of code that a change adds or replaces."""
    documented = {
        number
        for node in ast.walk(ast.parse(after))
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef, ast.Module))
        and ast.get_docstring(node) is not None
        for number in range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1)
    }
    lines = after.splitlines()
    matcher = difflib.SequenceMatcher(None, before.splitlines(), lines, autojunk=False)
    for kind, _, _, start, end in matcher.get_opcodes():
        for number in range(start, end) if kind != "equal" else ():
            if number + 1 not in documented and re.match(r"\s*[^\s#]", lines[number]):
                yield lines[number]


_PRELUDE = """
import asyncio, json, httpx, thrive_learning, _thrive_learning_api
from thrive_learning import *

for module in (thrive_learning, _thrive_learning_api):
    assert module.__file__.startswith({root!r}), module.__file__


def both(use, respond):
    '''Make a call with the sync and the async client, and return what both gave.'''
    transport, credentials = httpx.MockTransport(respond), BasicCredentials("tenant", "secret")
    with ThriveClient("staging", credentials, transport=transport) as client:
        first = use(client)

    async def main():
        async with AsyncThriveClient("staging", credentials, transport=transport) as client:
            return await use(client)

    return first, asyncio.run(main())


def error_of(use, respond):
    '''Return the errors that both clients raise.'''
    found = []
    for client_class in (ThriveClient, AsyncThriveClient):
        try:
            both(use, respond)
        except ThriveError as error:
            found.append(error)
    return found


ID = "60d5ec49b60b4b3a2c8f9a10"
"""


# Reports about changes


#: The tests that compare the contract with what is handwritten.
OPERATIONS = ("tests/call/test_operation.py", "-k", "each")
ALL = (
    *("tests/call/test_operation.py", "tests/contract/test_names.py", "tests/test_exports.py"),
    *("tests/test_client.py", "-k", "each or names or twins or exported or docstring or checkers"),
)
NAMES = ("tests/contract/test_names.py",)
#: The parts that follow the contract: the test kit, the tests of wrong values, and the schema for pydantic.
FOLLOWING = (
    *("tests/testing/test_kit_and_contract.py", "tests/test_models.py", "tests/test_pydantic.py"),
    *("-k", "fields or wrong_json_type or strict_client_rejects or schema"),
)


def stated(change: str) -> int:
    """Return how many lines CONTRIBUTING.md says that a change takes."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    [number] = re.findall(rf"^\| {re.escape(change)} \| (\d+) \|$", text, re.MULTILINE)
    return int(number)


def succeeded(process: Process, says: str = "") -> None:
    assert process.returncode == 0, process.stdout + process.stderr
    assert says in process.stdout


def failed(process: Process, *says: str) -> None:
    output = process.stdout + process.stderr
    assert process.returncode != 0, output
    for text in says:
        assert text in output


def ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def success(schema: dict[str, Any], status: str = "200") -> dict[str, Any]:
    return {status: {"description": "It worked.", "content": {"application/json": {"schema": schema}}}}


def with_fields(*names: str) -> dict[str, Any]:
    text = {"type": "string", "description": "x"}
    return {
        "type": "object",
        "description": "x",
        "required": ["id"],
        "properties": dict.fromkeys(names, text),
    }


PATH_ID = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}


def in_query(name: str, kind: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": {"type": kind}}
