"""The workshop: `nox` alone runs every check, `nox -l` says what each session is for."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

import nox
from nox.command import CommandFailed

PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
CODE = ["src", "tests", "benchmarks", "noxfile.py"]
REDOCLY = "@redocly/cli@2.77.0"
ACTIVITY = "60d5ec49b60b4b3a2c8f9a10"  # the sandbox holds the reference page's example under this id
WORKFLOWS = ".github/workflows"
CONTRACT = Path("openapi/thrive.yaml")
CONTRACT_IN_WHEEL = "thrive_learning/sandbox/thrive.yaml"  # for `thrive sandbox`
# Which tests have to notice a change of which module: those that are about it, and quick.
MUTATED = {
    "ids": ["tests/test_ids.py"],
    "regions": ["tests/test_regions.py"],
    "errors": ["tests/test_errors.py"],
    "_retry": ["tests/test_retry.py"],
    "_token_cache": ["tests/test_token_cache.py"],
    "_token_endpoint": ["tests/test_token_endpoint.py", "tests/test_token_failures.py", "tests/test_auth.py"],
    "_token_reply": ["tests/test_token_endpoint.py", "tests/test_auth.py"],
    "_auth": [
        *("tests/test_auth.py", "tests/test_retry.py", "tests/test_http.py", "tests/test_shared_tokens.py"),
        *("tests/test_token_endpoint.py", "tests/test_token_failures.py"),
        *("-k", "not every_status"),
    ],
    "_seam": [
        *("tests/test_http.py", "tests/test_retry.py", "tests/test_auth.py", "tests/test_transport.py"),
        *("tests/test_client.py", "tests/test_engine.py", "tests/test_fast.py", "-k", "not every_status"),
    ],
}
KILLED_AT_LEAST = 0.9  # of the mutants of a module
SPREAD = ("--numprocesses=auto", "--dist=worksteal")  # over the processors

nox.needs_version = ">=2026.10"
nox.options.default_venv_backend = "uv"
nox.options.reuse_venv = "yes"  # `uv sync` brings a kept environment in line with uv.lock
# A Python that is not there is skipped (nox itself would fail where CI is set), and never downloaded.
nox.options.error_on_missing_interpreters = False
nox.options.download_python = "never"
os.environ["UV_PYTHON_DOWNLOADS"] = "never"


def sync(session: nox.Session, *options: str) -> None:
    """Make the session's environment what uv.lock says, hashes included: nothing more, nothing less."""
    session.run_install("uv", "sync", "--locked", "--quiet", *options)


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff: all rules, and the format."""
    sync(session, "--only-group", "lint")
    session.run("ruff", "check", *CODE)
    session.run("ruff", "format", "--check", *CODE)


@nox.session
def workflows(session: nox.Session) -> None:
    """Zizmor, offline: what is unsafe in the workflows of GitHub."""
    sync(session, "--only-group", "workflows")
    session.run("zizmor", "--offline", "--persona", "pedantic", "--no-progress", WORKFLOWS)


@nox.session
def types(session: nox.Session) -> None:
    """Mypy strict, pyright, whether everything public has a type, and the Python blocks of the documents."""
    sync(session, "--all-extras", "--group", "types")
    session.run("mypy")
    session.run("pyright")
    session.run("pyright", "--verifytypes", "thrive_learning", "--ignoreexternal")
    session.run("pytest", "-q", "tests/typing")


@nox.session
def layers(session: nox.Session) -> None:
    """Import-linter: who may import whom."""
    sync(session, "--group", "layers")
    session.run("lint-imports", "--no-cache", "--no-logo")


@nox.session
def contract(session: nox.Session) -> None:
    """The contract is valid, the generated client is what it gives, and the sandbox keeps to it."""
    sync(session, "--all-extras", "--group", "contract")
    session.run("pytest", "tests/contract", *session.posargs)
    redocly(session)


def redocly(session: nox.Session) -> None:
    """Lint the contract with Redocly where Node can start it.

    Who works offline, or with another Node, is told and not held up: the examples are checked in Python too.
    Where CI is set and npx is there, not to start is an error: no check may vanish there unnoticed.
    """

    def npx(*options: str, silent: bool = False) -> None:
        quiet = {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"}
        session.run("npx", "--yes", REDOCLY, *options, env=quiet, silent=silent, external=True)

    if shutil.which("npx") is None:
        session.warn("Redocly SKIPPED: there is no npx on PATH (it comes with Node.js)")
        return
    try:
        npx("--version", silent=True)
    except CommandFailed:
        reason = (
            f"npx cannot start {REDOCLY}, which needs a recent Node.js and, once, npm's registry: see above"
        )
        if os.environ.get("CI"):
            session.error(reason)
        session.warn(f"Redocly SKIPPED: {reason}")
        return
    npx("lint", "openapi/thrive.yaml", "--config", "openapi/redocly.yaml")


@nox.session(default=False)
def generate(session: nox.Session) -> None:
    """Write generated/ anew from the contract."""
    sync(session, "--only-group", "generator")
    session.run("python", "tests/contract/generation.py", "write")


@nox.session(default=False)
def reference(session: nox.Session) -> None:
    """Write what --help says into docs/reference/cli.md anew (`tests` compares it)."""
    sync(session, "--all-extras", "--group", "tests")
    session.run("python", "tests/cli_reference.py", "write")


@nox.session(default=False)
def drift(session: nox.Session) -> None:
    """Compare generated/ with what the contract gives, byte for byte (`contract` does it too)."""
    sync(session, "--only-group", "generator")
    session.run("python", "tests/contract/generation.py", "check")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """All tests but those of the contract; `nox -s tests-3.11 -- tests/test_ids.py` runs some of them."""
    sync(session, "--all-extras", "--group", "tests")
    data = {"COVERAGE_FILE": f".coverage.{session.python}"}
    session.run("coverage", "erase", env=data)
    measured = ("--cov", "--cov-report=", "--cov-fail-under=0")  # `coverage` judges all Pythons together
    session.run("pytest", *SPREAD, *measured, "--ignore=tests/contract", *session.posargs, env=data)


@nox.session(python=PYTHONS[0], default=False)
def lowest(session: nox.Session) -> None:
    """The tests with the oldest versions that pyproject.toml allows, where the others have uv.lock's."""
    extras = nox.project.load_toml("pyproject.toml")["project"]["optional-dependencies"]
    oldest = ("--resolution", "lowest-direct", "--group", "tests")
    session.install("--quiet", *oldest, "--editable", f".[{','.join(extras)}]")
    session.run("pytest", *SPREAD, "--ignore=tests/contract", *session.posargs)


@nox.session(requires=["tests"])
def coverage(session: nox.Session) -> None:
    """Every branch of src/ was taken by the tests, on one Python or another."""
    sync(session, "--only-group", "coverage")
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")


@nox.session(default=False)
def fuzz(session: nox.Session) -> None:
    """Responses made of anything, for a minute; `nox -s fuzz -- --seconds 600` for longer."""
    sync(session, "--all-extras", "--group", "tests")
    session.run("python", "-W", "error", "tests/fuzz/fuzz_responses.py", *session.posargs)


@nox.session(default=False)
def soak(session: nox.Session) -> None:
    """Four hours of fake time with everything that goes wrong in them: what is left behind is counted."""
    sync(session, "--all-extras", "--group", "tests")
    session.run("python", "-W", "error", "tests/soak/soak.py", *session.posargs)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Side by side with httpx, HTTP libraries and other SDKs; `nox -s bench -- --quick` takes a minute."""
    sync(session, "--all-extras", "--group", "bench")
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session(name="bench-guard", default=False)
def bench_guard(session: nox.Session) -> None:
    """Count the instructions of a warm `get`: more than recorded? `nox -s bench-guard -- --record`."""
    sync(session, "--extra", "fast")
    session.run("python", "-m", "benchmarks.instructions", *session.posargs)


@nox.session(default=False)
def mutation(session: nox.Session) -> None:
    """Mutmut: does a test notice each small change of the code? `nox -s mutation -- ids` for one module."""
    sync(session, "--all-extras", "--group", "mutation")
    modules = session.posargs or list(MUTATED)
    scores = {module: killed(session, module) for module in modules}
    for module, (dead, all_of_them) in scores.items():
        session.log(f"{module}: {dead} of {all_of_them} killed, {dead / all_of_them:.1%}")
    if weak := [module for module, (dead, total) in scores.items() if dead < total * KILLED_AT_LEAST]:
        session.error(f"fewer than {KILLED_AT_LEAST:.0%} killed: {', '.join(weak)}")


def killed(session: nox.Session, module: str) -> tuple[int, int]:
    """Give how many mutants of a module the tests kill, and how many there are. It works on a copy."""
    copy = Path(session.create_tmp(), "mutation", module)
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(".", copy, ignore=shutil.ignore_patterns(".*", "__pycache__"))
    lists = {
        "source_paths": ["src"],
        "only_mutate": [f"src/thrive_learning/{module}.py"],
        "also_copy": ["generated", "openapi"],
        "pytest_add_cli_args": ["--hypothesis-profile=ci"],  # the same examples each time, and no deadline
        "pytest_add_cli_args_test_selection": MUTATED[module],
    }
    settings = "".join(
        f"{name}=\n" + "".join(f"    {value}\n" for value in values) for name, values in lists.items()
    )
    (copy / "setup.cfg").write_text(f"[mutmut]\n{settings}", encoding="utf-8")
    with session.chdir(copy):
        session.run("mutmut", "run", "--max-children", str(os.cpu_count() or 1), silent=True)
        session.run("mutmut", "results")
        session.run("mutmut", "export-cicd-stats", silent=True)
    stats = json.loads((copy / "mutants" / "mutmut-cicd-stats.json").read_text(encoding="utf-8"))
    return stats["killed"] + stats["timeout"], stats["total"] - stats["skipped"]


@nox.session
def package(session: nox.Session) -> None:
    """Build the sdist and the wheel, and use the wheel as a stranger would."""
    sync(session)
    with tempfile.TemporaryDirectory() as temporary:
        outside = Path(temporary)
        session.run("uv", "build", "--quiet", "--wheel", "--out-dir", outside / "direct")
        session.run(
            "uv", "build", "--quiet", "--out-dir", outside / "dist"
        )  # its wheel comes out of its sdist
        [wheel] = outside.glob("dist/*.whl")
        if wheel.read_bytes() != (outside / "direct" / wheel.name).read_bytes():
            session.error("the sdist does not give the same wheel as the checkout")
        if mistakes := mistakes_in(wheel):
            session.error(f"{wheel.name}: {'; '.join(mistakes)}")
        with session.chdir(outside):
            session.run(
                "python", "-c", "import thrive_learning, _thrive_learning_api"
            )  # as `sync` left it: editable
            use(session, wheel)


def mistakes_in(wheel: Path) -> list[str]:
    """Compare a wheel with what it is meant to hold: both packages, contract, licences, and nothing else."""
    roots = [Path("src"), Path("generated")]
    code = {
        path.relative_to(root).as_posix()
        for root in roots
        for path in root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    code |= {CONTRACT_IN_WHEEL}
    viewer = Path("src/thrive_learning/sandbox/viewer")
    licences = [Path("LICENSE"), *viewer.glob("*LICENSE*"), viewer / "NOTICE"]
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        [metadata] = (name for name in names if name.endswith(".dist-info/METADATA"))
        fields = archive.read(metadata).decode().split("\n\n")[0].splitlines()
        if CONTRACT_IN_WHEEL not in names or archive.read(CONTRACT_IN_WHEEL) != CONTRACT.read_bytes():
            return [f"{CONTRACT_IN_WHEEL} is not {CONTRACT}"]
    about = {name for name in names if name.startswith(metadata.removesuffix("METADATA"))}
    wanted = code | {"thrive_learning/py.typed", "_thrive_learning_api/py.typed"}
    wanted |= {metadata.replace("METADATA", f"licenses/{path.as_posix()}") for path in licences}
    return [
        *(f"{name} is missing" for name in sorted(wanted - names)),
        *(f"{name} does not belong there" for name in sorted(names - about - code)),
        *(
            f"no {field!r}"
            for field in ("License-Expression: MIT AND Apache-2.0", "License-File: LICENSE")
            if field not in fields
        ),
    ]


def use(session: nox.Session, wheel: Path) -> None:
    """Do the main job with an installed wheel: in Python without extras, then with the command."""

    def output(*command: str | Path, success_codes: Iterable[int] = (0,), stderr: int | None = None) -> str:
        return str(
            session.run(*command, silent=True, external=True, success_codes=success_codes, stderr=stderr)
        )

    session.run("uv", "venv", "--quiet", "environment")
    scripts = Path("environment", "Scripts" if sys.platform == "win32" else "bin").absolute()
    install = ["uv", "pip", "install", "--quiet", "--python", str(scripts / "python")]
    command: list[str | Path] = [scripts / "thrive", "activity", "get", ACTIVITY, "--sandbox"]

    session.run(*install, wheel)
    code = f"import thrive_learning as t; print(t.ThriveClient.sandbox().activities.get({ACTIVITY!r}).id)"
    if output(scripts / "python", "-c", code).strip() != ACTIVITY:
        session.error("the installed package does not find the sandbox's record")
    said = output(*command, success_codes=range(1, 256), stderr=subprocess.STDOUT)
    if "thrive-learning[cli]" not in said or "Traceback" in said:
        session.error(f"without its extra, the command does not say what to install: {said}")

    session.run(*install, f"thrive-learning[cli] @ {wheel.as_uri()}")
    if json.loads(output(*command))["id"] != ACTIVITY:
        session.error("the installed command does not print the sandbox's record as JSON")
