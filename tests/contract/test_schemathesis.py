"""Schemathesis judges the sandbox by the contract that it serves: all checks, none excluded."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from conformance import CONTRACT

from thrive_learning.sandbox import (
    FaultScript,
    FaultySandbox,
    Sandbox,
    SandboxRateLimit,
    SandboxReply,
    SandboxRequest,
)
from thrive_learning.sandbox.records import DEPARTING_IDS, seeded_records
from thrive_learning.sandbox.server import SandboxApp, SandboxServer

OPERATIONS = sum("responses" in value for path in CONTRACT["paths"].values() for value in path.values())
#: Without the records that break the contract, which a list would show.
SANDBOX = Sandbox(
    records={key: record for key, record in seeded_records().items() if key not in DEPARTING_IDS},
    generated=1500,
)


class Verdict(NamedTuple):
    code: int
    output: str
    report: dict[str, Any]
    statuses: Counter[int]


class Served:
    """A server, and the statuses of its answers."""

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.app = SandboxApp(FaultySandbox(SANDBOX), on_reply=self._count)
        self.server = SandboxServer(self.app)

    def _count(self, _request: SandboxRequest, reply: SandboxReply) -> None:
        self.statuses[reply.response.status] += 1


@pytest.fixture
def served() -> Iterator[Served]:
    served = Served()
    with served.server:
        yield served


def judged(served: Served, folder: Path, authorization: str, *options: str) -> Verdict:
    """Run Schemathesis in a process of its own, with the same cases each time."""
    report, settings = folder / "report.json", folder / "schemathesis.toml"
    settings.write_text(f"[auth.openapi]\n{authorization}\n", encoding="utf-8")
    command = [
        *(str(Path(sys.executable).with_name("st")), "--config-file", str(settings)),
        *("run", f"{served.server.url}/openapi.yaml", "--checks", "all", "--max-response-time", "60"),
        *("--suppress-health-check", "too_slow"),  # which judges this machine
        *("--seed", "1", "--no-color", "--report", "json", "--report-json-path", str(report), *options),
    ]
    hooks = {"SCHEMATHESIS_HOOKS": str(Path(__file__).with_name("schemathesis_hooks.py"))}
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **hooks}, check=False, capture_output=True, text=True
    )
    output = done.stdout + done.stderr
    assert report.exists(), output
    return Verdict(done.returncode, output, json.loads(report.read_text("utf-8")), served.statuses)


BASIC = f'basicAuth = {{ username = "{SANDBOX.tenant_id}", password = "{SANDBOX.api_secret}" }}'


def oauth(served: Served) -> str:
    form = {
        "grant_type": "client_credentials",
        "client_id": SANDBOX.client_id,
        "client_secret": SANDBOX.client_secret,
    }
    token = httpx.post(f"{served.server.url}/oauth2/token/{SANDBOX.tenant_id}", data=form).json()
    return f'oauth2 = {{ bearer = "{token["access_token"]}" }}'


@pytest.mark.parametrize(("kind", "examples"), [("HTTP Basic", 150), ("OAuth", 40)])
def test_it_finds_nothing(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, examples: int
) -> None:
    authorization = BASIC if kind == "HTTP Basic" else oauth(served)
    verdict = judged(served, tmp_path, authorization, "--max-examples", str(examples))
    report = verdict.report

    assert verdict.code == 0, verdict.output
    assert report["complete"]
    assert report["failures"] == report["errors"] == []
    assert not any(report["warnings"].values()), report["warnings"]
    assert report["operations"]["tested"] == report["operations"]["total"] == OPERATIONS
    # The test did something.
    assert report["test_cases"]["generated"] >= examples
    assert {200, 400, 401, 404, 405} <= verdict.statuses.keys()
    assert verdict.statuses[200] > examples / 4
    with capsys.disabled():
        print(f"\nSchemathesis, {kind}: {report['test_cases']['generated']} cases, 0 findings")  # noqa: T201


def test_it_accepts_a_rate_limit(served: Served, tmp_path: Path) -> None:
    served.app.sandbox = FaultySandbox(SANDBOX, rate_limit=SandboxRateLimit(20))
    # Every second request comes too soon, however fast this machine is.
    served.app.clock = lambda: 1_000_000 + served.statuses.total() / 40
    verdict = judged(served, tmp_path, BASIC, "--max-examples", "20")

    assert verdict.report["failures"] == verdict.report["errors"] == [], verdict.output
    assert {200, 429} <= verdict.statuses.keys()


@pytest.mark.parametrize("fault", ["html"])
def test_it_finds_what_breaks_the_contract(served: Served, tmp_path: Path, fault: str) -> None:
    served.app.sandbox = FaultySandbox(SANDBOX, FaultScript([fault]))
    verdict = judged(served, tmp_path, BASIC, "--phases", "examples")

    assert verdict.code == 1, verdict.output
    assert verdict.report["failures"] or verdict.report["errors"]
