"""Nothing is published before everything has passed, and slow checks run on a schedule."""

import re
import shlex
from itertools import takewhile
from pathlib import Path
from typing import Any

import yaml

from tools.interpreters import VERSIONS

ROOT = Path(__file__).parents[2]


def jobs_of(name: str) -> dict[str, Any]:
    text = (ROOT / ".github/workflows" / f"{name}.yml").read_text(encoding="utf-8")
    jobs: dict[str, Any] = yaml.safe_load(text)["jobs"]
    return jobs


def commands_of(job: dict[str, Any]) -> str:
    return "\n".join(step.get("run", "") for step in job.get("steps", ()))


def test_publishing_waits_for_every_check() -> None:
    release = jobs_of("release")
    assert release["publish"]["needs"] == ["checks", "build"]
    assert release["checks"]["uses"] == jobs_of("ci")["checks"]["uses"] == "$/.github/workflows/checks.yml"
    assert jobs_of("checks").keys() == {"everything", "tests", "lowest", "platforms", "release-check"}


def test_the_checks_run_on_every_python_and_system() -> None:
    checks = jobs_of("checks")
    assert checks["tests"]["strategy"]["matrix"]["python"] == list(VERSIONS)
    assert checks["tests"]["continue-on-error"] == "${{ matrix.python == '3.14t' }}"
    systems = checks["platforms"]["strategy"]["matrix"]["system"]
    assert sorted(system.partition("-")[0] for system in systems) == ["macos", "windows"]
    for name, job in checks.items():
        assert name == "tests" or "continue-on-error" not in job


def test_jobs_that_compare_with_the_last_tag_fetch_all_tags() -> None:
    checks = jobs_of("checks")
    for name in ("everything", "release-check"):
        assert checks[name]["steps"][0]["with"]["fetch-depth"] == 0


def test_slow_checks_run_on_a_schedule() -> None:
    scheduled = jobs_of("scheduled")
    sessions = {name: commands_of(job) for name, job in scheduled.items()}
    assert sessions.keys() == {"fuzz", "soak", "mutation", "recipes", "cluster", "newest", "generator"}
    for name in ("fuzz", "soak", "mutation"):
        assert f"nox --session {name}" in sessions[name]
    assert "--session recipes" in sessions["recipes"]
    assert "--session cluster simulation" in sessions["cluster"]
    assert "uv lock --upgrade" in sessions["newest"]
    assert "tests-3.11 contract docs" in sessions["newest"]
    assert "gh pr create" in sessions["generator"]


def test_workflows_run_every_session_but_some() -> None:
    commands = [
        shlex.split(line)
        for path in (ROOT / ".github/workflows").glob("*.yml")
        for job in jobs_of(path.stem).values()
        for line in commands_of(job).splitlines()
        if line.strip().startswith("nox ")
    ]
    named = {
        re.sub(r"-(3\.\d+|\$PYTHON)$", "", word)
        for words in commands
        for word in takewhile(lambda word: word[:1] != "-", words[words.index("--session") + 1 :])
    }
    text = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    sessions = {
        (re.findall(r'name="([\w-]+)"', options) or [name])[0]: "default=False" not in options
        for options, name in re.findall(r"^@nox\.session(.*)\ndef (\w+)", text, re.MULTILINE)
    }
    assert named <= sessions.keys()
    unnamed = {name for name, is_default in sessions.items() if not is_default} - named
    # The workflow `container` uses Docker, the job `drift` runs `generate`, and tests compare the reference.
    assert unnamed == {"bench", "bench-guard", "container", "drift", "reference"}


def test_the_release_uses_the_tool_that_is_tested() -> None:
    commands = commands_of(jobs_of("release")["build"])
    assert "python -m tools.sbom" in commands
    assert "SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)" in commands
