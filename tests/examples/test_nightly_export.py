"""The scheduled workflow: the `run` steps of its file, as a runner would run them.

The three actions that it uses are replaced by copies of folders.
"""

import datetime as dt
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import Any

import pytest
import yaml
from example_programs import EXAMPLES

from thrive_learning.testing import ServedSandbox, ThriveSandbox

parquet: Any = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
pytest.importorskip("ensurepip", reason="this Python cannot create environments with pip")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the workflow runs on Linux")

PATH = EXAMPLES / "github" / "nightly-export.yml"
WORKFLOW: dict[Any, Any] = yaml.safe_load(PATH.read_text(encoding="utf-8"))
[JOB] = WORKFLOW["jobs"].values()
SECRETS = ("THRIVE_TENANT_ID", "THRIVE_CLIENT_ID", "THRIVE_CLIENT_SECRET")
BASH = shutil.which("bash") or "bash"
YESTERDAY = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment in which pip finds this package and what it needs, without a package index."""
    folder = tmp_path_factory.mktemp("python")
    venv.create(folder, with_pip=True, symlinks=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    [packages] = folder.glob(f"lib/{version}*/site-packages")
    # As this process sees them, and the finder of an editable installation.
    (packages / "outer.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    return folder


class GitHub:
    """Runs of the workflow, each on a new machine, with the repository's artifacts and caches."""

    def __init__(self, folder: Path, python: Path, server: ServedSandbox) -> None:
        self._folder = folder
        here = (str(python / "bin"), str(Path(sys.executable).parent), os.environ["PATH"])
        self._path = os.pathsep.join(here)
        self._server = server
        self._number = 0
        self.caches: dict[str, Path] = {}
        self.artifacts: dict[str, Path] = {}
        self.log = ""

    def run(self) -> int:
        """Run the job on a new machine. Returns the exit code of the first step that fails, or 0."""
        self._number += 1
        self.log = ""
        machine = self._folder / f"machine-{self._number}"
        machine.mkdir()
        for step in JOB["steps"]:
            action, _, version = step.get("uses", "").partition("@")
            inputs = {name: self._value(str(value)) for name, value in step.get("with", {}).items()}
            if not action:
                done = self._shell(step, machine)
                self.log += done.stdout
                if done.returncode:
                    return done.returncode
                continue
            assert re.fullmatch("[0-9a-f]{40}", version)
            match action:
                case "actions/setup-python":
                    pass
                case "actions/cache/restore":
                    self._restore(inputs, machine)
                case "actions/upload-artifact":
                    self._upload(inputs, machine)
                case "actions/cache/save":
                    assert inputs["key"] not in self.caches  # GitHub would keep the former one
                    kept = self._folder / "caches" / inputs["key"]
                    self.caches[inputs["key"]] = shutil.copytree(machine / inputs["path"], kept)
                case _:
                    raise AssertionError(action)
        return 0

    def _value(self, text: str) -> str:
        """Return the text with the values of its expressions."""

        def value_of(found: re.Match[str]) -> str:
            context, name, default = found.groups()
            if context == "secrets":
                assert name in SECRETS
                return self._server.environ[name]
            if context == "vars":
                return default or ""
            return {"run_id": f"1000{self._number}", "run_attempt": "1"}[name]

        return re.sub(r"\$\{\{ (secrets|vars|github)\.(\w+)(?: \|\| '([^']*)')? \}\}", value_of, text)

    def _shell(self, step: dict[str, Any], machine: Path) -> "subprocess.CompletedProcess[str]":
        urls = {name: value for name, value in self._server.environ.items() if name.endswith("_URL")}
        environ = {
            **urls,
            "HOME": str(machine),
            "PATH": self._path,
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_INDEX": "1",
            **{name: self._value(value) for name, value in step.get("env", {}).items()},
        }
        assert "${{" not in "".join([step["run"], *environ.values()])  # in a script, it would run its value
        script = machine.with_suffix(".sh")
        script.write_text(step["run"], encoding="utf-8")
        return subprocess.run(
            [BASH, "-e", str(script)],
            cwd=machine,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            text=True,
            timeout=120,
        )

    def _restore(self, inputs: dict[str, str], machine: Path) -> None:
        matching = [key for key in self.caches if key.startswith(inputs["restore-keys"])]
        if matching:  # the newest
            shutil.copytree(self.caches[matching[-1]], machine / inputs["path"])

    def _upload(self, inputs: dict[str, str], machine: Path) -> None:
        assert inputs["name"] not in self.artifacts
        kept = self._folder / "artifacts" / inputs["name"]
        root = Path(inputs["path"].partition("*")[0]).parent
        files = [*machine.glob(inputs["path"])]
        assert files or inputs["if-no-files-found"] == "ignore"
        for file in files:
            target = kept / file.relative_to(machine / root)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
            self.artifacts[inputs["name"]] = kept

    def ids(self) -> list[str]:
        """Return the IDs in the artifact of the last run."""
        kept = self.artifacts.get(f"activities-1000{self._number}-1")
        return sorted(
            str(identifier)
            for file in (kept.rglob("*.parquet") if kept else ())
            for identifier in parquet.ParquetFile(file).read(columns=["id"])["id"].to_pylist()
        )


@pytest.fixture
def github(thrive_server: ServedSandbox, tmp_path: Path, python: Path) -> GitHub:
    return GitHub(tmp_path, python, thrive_server)


def test_each_night_has_the_records_that_are_new(github: GitHub, thrive_sandbox: ThriveSandbox) -> None:
    first = [thrive_sandbox.add(date=YESTERDAY - dt.timedelta(days=days)).id for days in (0, 1, 30)]
    assert github.run() == 0, github.log
    assert github.ids() == sorted(first)
    assert "Requirement already satisfied: thrive-learning[arrow,cli]" in github.log
    assert "does not provide the extra" not in github.log

    new = thrive_sandbox.add(date=YESTERDAY + dt.timedelta(hours=1)).id
    late = thrive_sandbox.add(date=YESTERDAY - dt.timedelta(hours=47)).id
    assert github.run() == 0, github.log
    assert github.ids() == sorted([new, late])

    assert github.run() == 0, github.log
    assert github.ids() == []
    assert len(github.artifacts) == 2
    [folder, _] = github.artifacts.values()
    assert f"day={YESTERDAY:%Y-%m-%d}" in {path.name for path in folder.iterdir()}


def test_a_night_that_fails_loses_nothing(github: GitHub, thrive_sandbox: ThriveSandbox) -> None:
    thrive_sandbox.add(date=YESTERDAY - dt.timedelta(days=9))
    assert github.run() == 0, github.log
    arrived = thrive_sandbox.arrive(1500)
    thrive_sandbox.fail_next("slow:0s")  # the first page arrives
    thrive_sandbox.fail_next("403")
    assert github.run() == 4, github.log
    assert len(github.artifacts) == len(github.caches) == 1
    assert github.run() == 0, github.log
    assert github.ids() == sorted(arrived)


def test_an_item_without_an_id_is_a_warning(github: GitHub, thrive_sandbox: ThriveSandbox) -> None:
    record = thrive_sandbox.add(date=YESTERDAY)
    nameless = {"type": "viewed", "date": record.to_dict()["date"]}
    thrive_sandbox.sandbox = thrive_sandbox.sandbox.with_records({"f" * 24: nameless})
    assert github.run() == 0, github.log
    assert "skipped 1 item without an ID" in github.log
    assert "::warning::" in github.log
    assert github.ids() == [record.id]


def test_secrets_reach_one_step_and_no_file(
    github: GitHub, thrive_server: ServedSandbox, thrive_sandbox: ThriveSandbox, tmp_path: Path
) -> None:
    thrive_sandbox.add(date=YESTERDAY)
    assert github.run() == 0
    secret = thrive_server.environ["THRIVE_CLIENT_SECRET"]
    assert secret not in github.log
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if secret.encode() in path.read_bytes()]
    assert [step["name"] for step in JOB["steps"] if "secrets." in json.dumps(step)] == ["Export new records"]
    assert "secrets." not in json.dumps([WORKFLOW.get("env"), JOB.get("env")])


def test_the_workflow_may_do_nothing_else() -> None:
    assert WORKFLOW["permissions"] == {}
    assert "permissions" not in JOB
    assert WORKFLOW["concurrency"]["cancel-in-progress"] is False
    assert WORKFLOW[True].keys() == {"schedule", "workflow_dispatch"}  # YAML 1.1 reads `on` as true
