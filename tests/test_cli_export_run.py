"""What goes into the lines, and what is counted."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import PAGE_EXAMPLE

from thrive_learning import errors
from thrive_learning.cli.export_files import ExportPaths
from thrive_learning.cli.export_run import StandardOutput, Tally, counted, failure_line, record_line
from thrive_learning.cli.id_sources import UnreadableInputError
from thrive_learning.models import Activity


def test_a_record_is_a_line_as_it_was_received() -> None:
    document = {"new": 1, **PAGE_EXAMPLE, "name": "Très\u2028\x85\n👍"}
    line = record_line(Activity.from_dict(document))
    assert json.loads(line) == document
    assert list(json.loads(line)) == list(document)
    assert line.splitlines() == [line[:-1]]
    assert line.startswith(b'{"new":1,"id":"')
    assert "Très\u2028\x85\\n👍" in line.decode()


def test_a_lone_surrogate_is_written_as_json_says_it() -> None:
    line = record_line(Activity.from_dict({"id": "x", "name": "\ud800\u2028"}))
    assert line == b'{"id":"x","name":"\\ud800\\u2028"}\n'


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_terminal_gets_no_character_that_it_would_obey(
    is_terminal: bool,  # noqa: FBT001 - a parameter of the test
    capfdbinary: pytest.CaptureFixture[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal)
    line = record_line(Activity.from_dict({"id": "x", "name": "a\x9b31m"}))
    StandardOutput().write_record(b"", line)
    shown = capfdbinary.readouterr().out
    assert json.loads(shown) == json.loads(line)
    assert (shown == line) is not is_terminal
    assert is_terminal is shown.isascii()


@pytest.mark.parametrize(
    ("error", "status", "retryable"),
    [
        (errors.InvalidIdError("m", value="x"), None, False),
        (errors.NotFoundError("m", status_code=404), 404, False),
        (errors.ForbiddenError("m", status_code=403), 403, False),
        (errors.RateLimitedError("m", status_code=429), 429, True),
        (errors.ServerError("m", status_code=500), 500, True),
        (errors.ServerError("m", status_code=501), 501, False),
        (errors.ApiError("m", status_code=408), 408, True),
        (errors.ConnectionFailedError("m"), None, True),
        (errors.DeadlineExceededError("m"), None, True),
        (errors.TokenError("m", status_code=503), 503, True),
        (errors.TokenError("m", status_code=200), 200, False),
        (errors.UnexpectedResponseError("m", status_code=200), 200, False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_a_failure_says_whether_trying_again_can_help(
    error: errors.ThriveError,
    status: int | None,
    retryable: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    assert json.loads(failure_line("x\n", error)) == {
        "id": "x\n",
        "error": type(error).__name__,
        "message": "m",
        "status": status,
        "retryable": retryable,
    }


def test_an_input_that_the_system_cannot_read_is_named() -> None:
    def broken() -> Iterator[bytes]:
        yield b"a\n"
        raise OSError(5, "Input/output error")

    tally = Tally()
    lines = counted(broken(), "ids.txt", tally)
    assert next(lines) == b"a\n"
    with pytest.raises(UnreadableInputError, match=r"ids\.txt cannot be read: Input/output error"):
        next(lines)
    assert tally.read_bytes == 2
    assert list(counted([b"b"], "ids.txt", tally)) == [b"b"]


def test_what_is_counted_makes_the_summary() -> None:
    tally = Tally()
    tally.begin(StandardOutput(), 100)
    assert tally.is_partial  # nothing was read
    tally.read_bytes = 50
    tally.note(None)
    assert (tally.advance().fraction, tally.advance().begun_at) == (0.5, 0.5)
    tally.read_bytes = 200
    assert tally.advance().fraction == 1.0
    tally.is_whole = True
    assert not tally.is_partial
    assert tally.summary(None)[0].startswith("exported 1 record in 0.")
    assert len(tally.summary(None)) == 1
    tally.note(errors.ServerError("m", status_code=500))
    tally.note(errors.NotFoundError("m", status_code=404))
    tally.repeated = 1
    assert tally.is_partial
    assert tally.summary(None)[1:] == [
        "1 ID skipped: there already, or named before",
        "2 IDs failed",
        "1 of them may succeed a little later",
    ]
    paths = ExportPaths.of(Path("out.ndjson"))
    tally.records_before, tally.failures_before = 9, 1
    assert tally.summary(paths)[0].endswith("; out.ndjson has 10")
    assert tally.summary(paths)[2:] == [
        "3 IDs failed: see out.failures.ndjson",
        "1 of them may succeed a little later; --resume tries them again",
    ]


def test_failures_of_earlier_runs_count() -> None:
    tally = Tally()
    tally.is_whole = True
    tally.failures_before = 1
    assert tally.is_partial
