"""The loggers, their fields, and THRIVE_LOG."""

import importlib
import io
import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from harness import ACTIVITY_ID, BASIC, OAUTH, ROOT, TENANT_ID, Flavour, Kept, page_response, token_response

from thrive_learning import ConfigurationError, Region, RetryPolicy, ThriveClient, _log
from thrive_learning._log import _HANDLER, _TREE, fields, follow_environment

SOURCES = [path for pattern in ("*.py", "_*/*.py") for path in (ROOT / "src/thrive_learning").glob(pattern)]
PAGE = (ROOT / "docs/how-to/log-records.md").read_text(encoding="utf-8")


def table(heading: str) -> list[list[str]]:
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| `")]


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    handlers, level = list(_TREE.handlers), _TREE.level
    yield
    _TREE.handlers[:] = handlers
    _TREE.setLevel(level)


def test_each_event_is_documented_with_its_logger_and_level() -> None:
    source = [path.read_text(encoding="utf-8") for path in SOURCES]
    events = {event for text in source for event in re.findall(r'fields\(\s*"(\w+)"', text)}
    assert sorted(row[0].strip("`") for row in table("Records")) == sorted(events)
    loggers = {name for text in source for name in re.findall(r'logger_of\("(\w+)"\)', text)}
    shown = {name for row in table("Records") for name in re.findall(r"`([a-z]+)`", row[1])}
    assert shown == loggers


def test_each_field_is_documented(flavour: Flavour) -> None:
    """The fields of an attempt are those of `Attempt`, so this compares the names in the source."""
    source = [path.read_text(encoding="utf-8") for path in SOURCES]
    calls = [call for text in source for call in re.findall(r"\bfields\(\s*(\".+?)\),?\n", text, re.DOTALL)]
    names = {name for call in calls for name in re.findall(r"\b(\w+)=", call)}
    kept = Kept()
    with attached(kept), flavour.answering(lambda _request: page_response()) as client:
        client.activities.get(ACTIVITY_ID)
    [record] = [record for record in kept.records if record.name == "thrive_learning.attempts"]
    names |= {name.removeprefix("thrive_") for name in vars(record) if name.startswith("thrive_")}
    assert {row[0].strip("`") for row in table("Fields")} == {f"thrive_{name}" for name in names}


def attached(handler: logging.Handler) -> Any:
    class Attached:
        def __enter__(self) -> None:
            _TREE.addHandler(handler)
            _TREE.setLevel(logging.DEBUG)

        def __exit__(self, *_error: object) -> None:
            _TREE.removeHandler(handler)

    return Attached()


def test_an_attempt_has_its_fields(flavour: Flavour) -> None:
    responses = iter([httpx.Response(503, headers={"x-request-id": "request-1"}), page_response()])
    kept = Kept()
    with attached(kept):
        retry = RetryPolicy(attempts=2, first_delay=0)
        with flavour.answering(lambda _request: next(responses), retry=retry) as client:
            client.activities.get(ACTIVITY_ID)
    first, second = [record for record in kept.records if record.name == "thrive_learning.attempts"]
    assert (first.levelname, second.levelname) == ("INFO", "DEBUG")
    found = {name: value for name, value in vars(first).items() if name.startswith("thrive_")}
    assert found.pop("thrive_elapsed") >= 0
    assert found == {
        "thrive_event": "attempt",
        "thrive_region": "production",
        "thrive_operation": "activities.get",
        "thrive_subject": ACTIVITY_ID,
        "thrive_number": 1,
        "thrive_status_code": 503,
        "thrive_error": "status 503",
        "thrive_delay": 0.0,
        "thrive_waited": 0.0,
        "thrive_request_id": "request-1",
        "thrive_url": f"{Region.PRODUCTION.api_url}/activity/{ACTIVITY_ID}",
    }


def test_no_record_has_a_secret_or_the_tenant_id(flavour: Flavour) -> None:
    def respond(request: httpx.Request) -> httpx.Response:
        return token_response() if request.method == "POST" else page_response()

    kept = Kept()
    with attached(kept), flavour.answering(respond, OAUTH) as client:
        client.activities.get(ACTIVITY_ID)
    assert len(kept.texts()) >= 2
    assert not [text for text in kept.texts() if "fake" in text or TENANT_ID in text]


def test_fields_have_a_prefix() -> None:
    assert fields("attempt", name="x") == {"thrive_event": "attempt", "thrive_name": "x"}


def client() -> ThriveClient:
    transport = httpx.MockTransport(lambda _request: page_response())
    return ThriveClient(Region.PRODUCTION, BASIC, transport=transport)


@pytest.mark.parametrize(("level", "count"), [("debug", 1), ("DEBUG", 1), ("info", 0), ("", 0)])
def test_thrive_log_writes_to_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], level: str, count: int
) -> None:
    monkeypatch.setenv("THRIVE_LOG", level)
    with client(), client() as second:  # the handler is added once
        second.activities.get(ACTIVITY_ID)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == count
    assert all(" DEBUG thrive_learning.attempts: production: attempt 1 of activities.get" in x for x in lines)


def test_an_invalid_thrive_log_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THRIVE_LOG", "verbose")
    with pytest.raises(ConfigurationError, match=r"^THRIVE_LOG is 'verbose'\. Set it to debug or info\.$"):
        client()


def test_a_lower_level_of_the_application_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    _TREE.setLevel(logging.DEBUG)
    monkeypatch.setenv("THRIVE_LOG", "info")
    follow_environment()
    assert _TREE.level == logging.DEBUG
    assert _HANDLER.level == logging.INFO


def test_another_copy_of_the_module_adds_no_second_handler(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("THRIVE_LOG", "debug")
    follow_environment()
    monkeypatch.delitem(sys.modules, "thrive_learning._log")
    other = importlib.import_module("thrive_learning._log")
    assert other is not _log
    other.follow_environment()
    _TREE.error("once")
    assert len(capsys.readouterr().err.splitlines()) == 1
    monkeypatch.setattr(sys.modules["thrive_learning"], "_log", _log)


@pytest.mark.parametrize("state", ["missing", "closed"])
def test_a_process_without_stderr_writes_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], state: str
) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setenv("THRIVE_LOG", "debug")
    follow_environment()
    monkeypatch.setattr(sys, "stderr", closed if state == "closed" else None)
    _TREE.error("lost")
    assert capsys.readouterr().out == ""


class Broken(io.StringIO):
    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def write(self, _text: str) -> int:
        raise self.error


def test_a_failing_stderr_is_left_to_logging(monkeypatch: pytest.MonkeyPatch) -> None:
    failures = list[logging.LogRecord]()
    monkeypatch.setenv("THRIVE_LOG", "debug")
    follow_environment()
    monkeypatch.setattr(_HANDLER, "handleError", failures.append)
    monkeypatch.setattr(sys, "stderr", Broken(OSError("no space left")))
    _TREE.error("lost")
    assert [record.getMessage() for record in failures] == ["lost"]


def test_without_logging_set_up_nothing_is_written() -> None:
    code = f"""
import json, logging, os
from thrive_learning import ThriveClient
with ThriveClient.sandbox(on_attempt=lambda attempt: 1 / 0) as client:
    client.activities.get("{ACTIVITY_ID}")
if hasattr(os, "fork"):
    os.environ["THRIVE_LOG"] = "debug"
    ThriveClient.sandbox().close()
    if not (child := os.fork()):
        ThriveClient.sandbox().activities.get("{ACTIVITY_ID}")
        os._exit(0)
    os.waitpid(child, 0)
print(json.dumps([logging.getLogger().handlers == []]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [True]
    lines = done.stderr.splitlines()
    assert len(lines) == (2 if hasattr(__import__("os"), "fork") else 0)  # a token and a record, in the child
