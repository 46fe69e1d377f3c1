"""ARCHITECTURE.md is true: its diagram is that of traced calls, and its layers, files, and names exist."""

import ast
import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Self

import pytest
from harness import ACTIVITY_ID, ROOT

from thrive_learning import NotFoundError, RateLimit, RetryPolicy, ThriveClient
from thrive_learning._limits.limiter import SyncLimiter
from thrive_learning._settings.engine_names import EngineName
from thrive_learning.testing import ServedSandbox, ThriveSandbox

PAGE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
SOURCE = ROOT / "src" / "thrive_learning"
MISSING_ID = "0" * 24

NODE = re.compile(r'^  (\w+)\["([^"<]+)<br/>[^"<]+"\]$')
ARROW = re.compile(r"^  (\w+) (-->|-\.->) (\w+)$")


def section(heading: str) -> str:
    """The text below a heading, up to the next one."""
    return re.split(rf"^## {re.escape(heading)}$", PAGE, flags=re.MULTILINE)[1].split("\n## ")[0]


def block(language: str) -> list[str]:
    [lines] = re.findall(rf"```{language}\n(.+?)```", PAGE, re.DOTALL)
    return str(lines).splitlines()


def diagram() -> tuple[dict[str, str], list[tuple[str, str, str]]]:
    """The files of the diagram by the name of their node, and its arrows."""
    first, *lines = block("mermaid")
    assert first == "flowchart TD"
    nodes = {found[1]: found[2] for line in lines if (found := NODE.match(line))}
    arrows = [(nodes[found[1]], found[2], nodes[found[3]]) for line in lines if (found := ARROW.match(line))]
    assert len(nodes) + len(arrows) == len(lines)  # no line has another form
    return nodes, arrows


def file_of(frame: FrameType) -> str | None:
    """Return the file of a frame, or the folder if the diagram has one box for it; None if it is not ours."""
    path = Path(frame.f_code.co_filename)
    for name, folder in {"generated/": ROOT / "generated", "_http_fast/": SOURCE / "_http_fast"}.items():
        if path.is_relative_to(folder):
            return name
    return path.relative_to(SOURCE).as_posix() if path.is_relative_to(SOURCE) else None


class Trace:
    """The files of ours that this thread passes through, and which of them calls which."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self.calls: set[tuple[str, str]] = set()

    def __enter__(self) -> Self:
        sys.setprofile(self._note)
        return self

    def __exit__(self, *_error: object) -> None:
        sys.setprofile(None)

    def _note(self, frame: FrameType, event: str, _argument: Any) -> None:
        if event != "call" or (callee := file_of(frame)) is None:
            return
        self.files.add(callee)
        caller, above = None, frame.f_back
        while above is not None and (caller := file_of(above)) in {None, callee}:
            above = above.f_back
        if above is not None:
            self.calls.add((str(caller), callee))


@pytest.fixture
def trace(
    thrive_server: ServedSandbox, thrive_sandbox: ThriveSandbox, monkeypatch: pytest.MonkeyPatch
) -> Callable[[EngineName], Trace]:
    """Return a function that traces calls with an engine."""
    goes_at_once = SyncLimiter.goes_at_once
    # Each attempt goes through the line, however much time has passed since the one before.
    monkeypatch.setattr(SyncLimiter, "goes_at_once", lambda limiter: goes_at_once(limiter) and False)

    def traced(engine: EngineName) -> Trace:
        trace = Trace()
        retry = RetryPolicy(first_delay=0.001, max_delay=0.001)
        region, credentials = thrive_server.region, thrive_sandbox.credentials
        limit = RateLimit(per_second=1000, burst=1)
        with ThriveClient(region, credentials, retry=retry, engine=engine, rate_limit=limit) as client:
            thrive_sandbox.fail_next(503)
            with trace:  # a new token, and a second attempt
                client.activities.get(ACTIVITY_ID)
            thrive_sandbox.revoke_tokens()
            with trace, pytest.raises(NotFoundError):  # a 401, another token, and a 404
                client.activities.get(MISSING_ID)
        return trace

    return traced


def test_the_diagram_is_that_of_real_calls(trace: Callable[[EngineName], Trace]) -> None:
    nodes, arrows = diagram()
    by_default, fast = trace("httpx"), trace("fast")
    solid = {(caller, callee) for caller, kind, callee in arrows if kind == "-->"}
    dotted = {(caller, callee) for caller, kind, callee in arrows if kind != "-->"}
    assert sorted(solid - by_default.calls) == []
    assert sorted(dotted - (fast.calls - by_default.calls)) == []
    ends = {name for caller, _kind, callee in arrows for name in (caller, callee)}
    assert ends == {*nodes.values()}
    named = ends | {*re.findall(r"`([\w/]+\.py)`", section("The path of a call"))}
    assert sorted((by_default.files | fast.files) - named) == []


def test_the_layers_are_those_that_are_checked() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [layers] = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    assert block("layers") == layers
    assert not any(":" in row for row in layers)


def test_each_file_and_folder_of_the_package_is_listed_once() -> None:
    listed = re.findall(r"^\| `([\w./]+)` \|", section("Files and folders"), re.MULTILINE)
    there = {f"{path.name}/" if path.is_dir() else path.name for path in SOURCE.iterdir()}
    assert sorted(listed) == sorted(there - {"__pycache__/", "py.typed"})


def test_each_path_and_name_exists() -> None:
    """A path counts from the package, or else from the root; a name behind `::` is defined there."""
    found = re.findall(r"`([\w.-]+/(?:[\w./-]+)?|[\w/]+\.(?:py|toml|yaml|md))(?:::([\w.]+))?`", PAGE)
    assert len(found) > 50  # the pattern still matches
    for path, name in found:
        there = next((base / path for base in (SOURCE, ROOT) if (base / path).exists()), None)
        assert there is not None, path
        if name:
            defined = ast.parse(there.read_text(encoding="utf-8")).body
            for part in name.split("."):
                matching = [node for node in defined if getattr(node, "name", None) == part]
                assert matching, f"{path}::{name}"
                defined = getattr(matching[0], "body", [])


@pytest.mark.parametrize(
    "question", ["a 401 replayed", "a proxy chosen", "a 404 become an error", "a new operation go"]
)
def test_a_reader_finds_where(question: str) -> None:
    [row] = re.findall(rf"^\| .*{question}.* \| (.+) \|$", section("Where is it?"), re.MULTILINE)
    assert re.search(r"`[\w/]+\.py(?:::[\w.]+)?`", row)
