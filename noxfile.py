"""Sessions of nox. `nox` alone runs every check, and `nox -l` lists the sessions."""

import os
from pathlib import Path

import nox

PYTHONS = ["3.11", "3.12", "3.13", "3.14", "3.14t"]  # the last one is free-threaded
CODE = ["src", "tests", "tools", "benchmarks", "examples", "docs/conf.py", "noxfile.py"]
COPIED_WORKFLOWS = sorted(map(str, Path("examples/github").glob("*.yml")))  # by users
# Two processes for each processor, because many tests wait.
SPREAD = (f"--numprocesses={2 * (os.cpu_count() or 1)}", "--dist=worksteal")
# Other sessions run these, because they need libraries that no other test may depend on.
ELSEWHERE = [
    f"--ignore=tests/{name}"
    for name in ("cluster", "contract", "observers", "programs", "recipes", "releases", "with_httpx2")
]
# Plain `nox` runs these on each Python but the first, because all tests take minutes on each.
SHORT = [
    *("tests/test_exports.py", "tests/test_client.py", "tests/test_activities.py", "tests/test_models.py"),
    *("tests/test_errors.py", "tests/test_credentials.py", "tests/test_loops.py", "tests/test_process.py"),
    *("tests/test_webhooks.py", "tests/cli/test_activity.py", "tests/cli/test_help.py"),
    "tests/releases/test_pickle_exchange.py",
]

nox.needs_version = ">=2026.10"
nox.options.default_venv_backend = "uv"
nox.options.reuse_venv = "yes"  # `uv sync` brings a kept environment in line with uv.lock
# A missing Python is skipped and never downloaded. By default, nox would fail where CI is set.
nox.options.error_on_missing_interpreters = False
nox.options.download_python = "never"
os.environ["UV_PYTHON_DOWNLOADS"] = "never"
# Many tests start processes, which without bytecode would compile every module again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# nox finds the interpreters of uv, but only those of pyenv that its current setting allows.
PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob("versions/3.*/bin")
os.environ["PATH"] = os.pathsep.join([os.environ["PATH"], *sorted(map(str, PYENV))])


def sync(session: nox.Session, *options: str) -> None:
    """Sync the session's environment with uv.lock, including hashes."""
    session.run_install("uv", "sync", "--locked", "--quiet", *options)


@nox.session
def lint(session: nox.Session) -> None:
    """Check the code with all rules of ruff, its format, and the English of all texts."""
    sync(session, "--only-group", "lint")
    session.run("ruff", "check", *CODE)
    session.run("ruff", "format", "--check", *CODE)
    session.run("python", "-m", "tools.language")


@nox.session
def workflows(session: nox.Session) -> None:
    """Check the workflows of GitHub, the Dockerfile, and the compose file, all without a network."""
    sync(session, "--only-group", "workflows")
    session.run("actionlint")  # runs ShellCheck as well
    session.run("actionlint", *COPIED_WORKFLOWS)
    session.run("shellcheck", "--exclude", "SC1091", ".ci/run")  # which follows no file of an environment
    session.run("zizmor", "--offline", "--persona", "pedantic", "--no-progress", ".github", *COPIED_WORKFLOWS)
    session.run("hadolint", "examples/sandbox/Dockerfile")
    session.run("python", "-m", "tools.compose", "examples/sandbox/compose.yaml")


@nox.session
def types(session: nox.Session) -> None:
    """Check types with mypy and pyright, also those of public names and of Python blocks in documents."""
    sync(session, "--all-extras", "--group", "types")
    session.run("mypy")
    session.run("pyright")
    session.run("pyright", "--verifytypes", "thrive_learning", "--ignoreexternal")
    session.run("pytest", "-q", *SPREAD, "tests/typing")


@nox.session
def layers(session: nox.Session) -> None:
    """Check which modules import which with import-linter."""
    sync(session, "--group", "layers")
    session.run("lint-imports", "--no-cache", "--no-logo")


@nox.session
def contract(session: nox.Session) -> None:
    """Check the contract, the client generated from it, and the sandbox, which must follow it."""
    sync(session, "--all-extras", "--group", "contract")
    session.run("pytest", *SPREAD, "tests/contract", *session.posargs)
    session.run("python", "-m", "tools.redocly")


@nox.session
def api(session: nox.Session) -> None:
    """Compare the public API and the contract with the last tag, and say which version they need."""
    sync(session, "--all-extras", "--group", "api")
    session.run("pytest", *SPREAD, "tests/releases", *session.posargs)
    session.run("python", "-m", "tools.release_need")


@nox.session(default=False)
def generate(session: nox.Session) -> None:
    """Write generated/ from the contract."""
    sync(session, "--only-group", "generator")
    session.run("python", "-m", "tools.generation", "write")


@nox.session(default=False)
def reference(session: nox.Session) -> None:
    """Write docs/reference/cli.md and the recording of a terminal in the README (`tests` compares both)."""
    sync(session, "--all-extras", "--group", "tests")
    session.run("python", "-m", "tools.cli_reference", "write")
    session.run("python", "-m", "tools.recording", "write")


@nox.session(default=False)
def drift(session: nox.Session) -> None:
    """Compare generated/ with the contract, byte for byte (`contract` does it too)."""
    sync(session, "--only-group", "generator")
    session.run("python", "-m", "tools.generation", "check")


@nox.session
def interpreters(session: nox.Session) -> None:
    """Print where the Pythons of the tests are, and how to get those that are missing."""
    session.run("python", "-m", "tools.interpreters", *PYTHONS)


@nox.session(python=PYTHONS[1:])
def pythons(session: nox.Session) -> None:
    """Run a short selection of the tests on the other Pythons; `nox -s tests-3.12` runs all of them."""
    sync(session, "--all-extras", "--group", "tests")
    session.run("pytest", *SPREAD, *(session.posargs or SHORT))


@nox.session(python=PYTHONS, default=False)
def tests(session: nox.Session) -> None:
    """Run all tests except those of other sessions; `nox -s tests-3.11 -- tests/test_ids.py` runs some."""
    sync(session, "--all-extras", "--group", "tests")
    data = {"COVERAGE_FILE": f".coverage.{session.python}"}
    session.run("coverage", "erase", env=data)
    measured = ("--cov", "--cov-report=", "--cov-fail-under=0")  # `coverage` judges all Pythons together
    session.run("pytest", *SPREAD, *measured, *ELSEWHERE, *session.posargs, env=data)


@nox.session(python=PYTHONS[0], default=False)
def lowest(session: nox.Session) -> None:
    """Run the tests with the oldest versions that pyproject.toml allows, in place of those in uv.lock."""
    extras = nox.project.load_toml("pyproject.toml")["project"]["optional-dependencies"]
    oldest = ("--resolution", "lowest-direct", "--group", "tests")
    session.install("--quiet", *oldest, "--editable", f".[{','.join(extras)}]")
    session.run("pytest", *SPREAD, *ELSEWHERE, *session.posargs)


@nox.session(python=PYTHONS[0], name="old-trio", default=False)
def old_trio(session: nox.Session) -> None:
    """Run tests with the oldest supported trio, and with older ones that must not be used."""
    sync(session, "--all-extras", "--group", "tests")
    for version in ("0.22.0", "0.28.0"):
        session.install("--quiet", f"trio=={version}")
        session.run("pytest", "tests/test_old_trio.py")
    session.install("--quiet", "trio==0.31.0")  # `_loops.OLDEST_TRIO`
    session.run("pytest", "tests/test_old_trio.py", "tests/test_loops.py", "tests/test_client.py")


@nox.session(default=False)
def observers(session: nox.Session) -> None:
    """Check which requests respx, pytest-httpx, VCR.py, OpenTelemetry, Sentry, pook, and mocket see."""
    sync(session, "--all-extras", "--group", "observers")
    session.run("pytest", "tests/observers", *session.posargs)


@nox.session(default=False)
def httpx2(session: nox.Session) -> None:
    """Send requests through the transports of httpx2."""
    sync(session, "--all-extras", "--group", "httpx2")
    # The second and the third skip tests that need httpx2 if it is not installed.
    session.run(
        "pytest",
        "tests/with_httpx2",
        "tests/http/test_httpx_adapter.py",
        "tests/http/test_routes.py",
        *session.posargs,
    )


@nox.session(requires=["tests-3.11"])
def coverage(session: nox.Session) -> None:
    """Check that the tests of all Pythons together cover every branch of src/."""
    sync(session, "--only-group", "coverage")
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")


@nox.session(default=False)
def programs(session: nox.Session) -> None:
    """Run programs of examples/ in gunicorn, Celery's workers, and Dagster."""
    sync(session, "--all-extras", "--group", "programs")
    session.run("pytest", "tests/programs", *session.posargs)


@nox.session(default=False)
def airflow(session: nox.Session) -> None:
    """Run the program for Airflow in Airflow, which needs older versions of packages than uv.lock has."""
    alone = ("apache-airflow==3.3.2", "--group", "tests", "--editable", ".[sandbox]")
    session.install("--quiet", *alone)
    session.run("pytest", "tests/programs/test_airflow.py", *session.posargs)


@nox.session(default=False)
def recipes(session: nox.Session) -> None:
    """Run the programs of examples/ for dlt, Spark, polars, and PostgreSQL."""
    sync(session, "--all-extras", "--group", "recipes")
    session.run("pytest", "tests/recipes", "tests/examples/test_mistakes.py", *session.posargs)


@nox.session(default=False)
def container(session: nox.Session) -> None:
    """Carry out the steps of the sandbox's Dockerfile and compose file in a clean folder, without Docker."""
    sync(session, "--only-group", "container")
    session.run("python", "-m", "tools.container")


@nox.session(default=False)
def cluster(session: nox.Session) -> None:
    """Kill workers of exports by a Dask cluster at 20 random moments, and the command at a few more."""
    sync(session, "--all-extras", "--group", "tests")
    session.run("pytest", "-s", "tests/cluster", *session.posargs)


@nox.session(default=False)
def fuzz(session: nox.Session) -> None:
    """Feed responses of every kind to both engines for 60 s; `nox -s fuzz -- --seconds 600` for longer."""
    sync(session, "--all-extras", "--group", "tests")
    session.run("python", "-W", "error", "-m", "tools.fuzz", *session.posargs)


@nox.session(default=False)
def soak(session: nox.Session) -> None:
    """Run for four hours of fake time with all kinds of faults, and check for leaks."""
    sync(session, "--all-extras", "--group", "tests")
    session.run("python", "-W", "error", "-m", "tools.soak", *session.posargs)


@nox.session(default=False)
def simulation(session: nox.Session) -> None:
    """Simulate 100 workers against a server that throttles; `-- --own-limits` must fail."""
    sync(session, "--all-extras", "--group", "tests")
    session.run("python", "-m", "tools.simulation", *session.posargs)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure next to httpx, HTTP libraries, and other SDKs; `nox -s bench -- --quick` measures less."""
    sync(session, "--all-extras", "--group", "bench")
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session(name="bench-guard", default=False)
def bench_guard(session: nox.Session) -> None:
    """Compare the instructions of a warm `get` with those recorded; `-- --record` records them."""
    sync(session, "--extra", "fast")
    session.run("python", "-m", "benchmarks.instructions", *session.posargs)


@nox.session(default=False)
def mutation(session: nox.Session) -> None:
    """Check that tests notice small changes of the code; `nox -s mutation -- _ids` for one module."""
    sync(session, "--all-extras", "--group", "mutation")
    session.run("python", "-m", "tools.mutation", "--copies", session.create_tmp(), *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation site into build/site/html; a warning or a dead link is an error."""
    sync(session, "--all-extras", "--group", "docs")
    session.run("python", "-m", "tools.site")


@nox.session
def package(session: nox.Session) -> None:
    """Build the sdist and the wheel, and use the wheel as a user would."""
    sync(session, "--group", "package")  # includes uv, which builds
    session.run("python", "-m", "tools.wheel")


@nox.session(name="release-check", default=False)
def release_check(session: nox.Session) -> None:
    """Check contents, equal builds, the SBOM, pickles across versions, and each Python."""
    sync(session, "--all-extras", "--group", "nox")
    session.run("python", "-m", "tools.release_check")
