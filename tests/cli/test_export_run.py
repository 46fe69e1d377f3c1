"""The content of the lines, and the counts."""

import json
from pathlib import Path

import pytest
from harness import PAGE_EXAMPLE

from thrive_learning import errors
from thrive_learning.cli.export.done import HAS_FAILED, HAS_RECORD, key_of
from thrive_learning.cli.export.failures import FailedId, FailureCounts
from thrive_learning.cli.export.paths import ExportPaths
from thrive_learning.cli.export.run import record_line, unseen
from thrive_learning.cli.export.tally import Tally
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


URL = "https://public.api.learn.link/rest/v1/activity/x"


@pytest.mark.parametrize(
    ("error", "status", "retryable"),
    [
        (errors.InvalidIdError("m", value="x"), None, False),
        (errors.NotFoundError("m", status_code=404), 404, False),
        (errors.ApiError("m", status_code=404), 404, True),
        (errors.ApiError("m", status_code=302), 302, True),
        (errors.BadRequestError("m", status_code=400), 400, True),
        (errors.ForbiddenError("m", status_code=403), 403, True),
        (errors.RateLimitedError("m", status_code=429), 429, True),
        (errors.ServerError("m", status_code=500), 500, True),
        (errors.ServerError("m", status_code=501), 501, True),
        (errors.ConnectionFailedError("m"), None, True),
        (errors.DeadlineExceededError("m"), None, True),
        (errors.TokenError("m", status_code=405), 405, True),
        (errors.TokenError("m", status_code=200), 200, True),
        (errors.UnexpectedResponseError("m", status_code=200), 200, True),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_a_failure_is_final_only_if_it_is_about_the_id(
    error: errors.ThriveError,
    status: int | None,
    retryable: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    error.url = URL
    line = FailedId.of("x\n", error).line()
    assert json.loads(line) == {
        "id": "x\n",
        "error": type(error).__name__,
        "message": "m",
        "status": status,
        "url": URL,
        "retryable": retryable,
    }
    failure = FailedId.parsed(line)
    assert failure is not None
    assert failure == FailedId.of("x\n", error)
    assert failure.is_final_at("https://public.api.learn.link/rest/v1/") is not retryable
    assert failure.is_final_at(None) is not retryable
    # The outcome of an ID at another URL does not apply to this one.
    assert not failure.is_final_at("https://public.api.learn.link/rest/v10")


def test_an_id_that_is_not_valid_is_final_wherever_it_is_sent() -> None:
    assert FailedId.of("x", errors.InvalidIdError("m", value="x")).is_final_at("https://elsewhere.example")


@pytest.mark.parametrize(
    "line",
    [
        b"[]\n",
        b"5\n",
        b"{}\n",
        b"\0\0\n",
        b"[" * 100_000 + b"\n",
        FailedId("x", "E", "m", None, None, retryable=False).line()[:-1],
        FailedId("x", "E", "m", None, None, retryable=False).line().replace(b"false", b"0"),
        FailedId("x", "E", "m", None, None, retryable=False).line().replace(b'"x"', b"5"),
    ],
)
def test_a_line_that_is_not_a_failure_is_not_parsed(line: bytes) -> None:
    assert FailedId.parsed(line) is None


def failure(name: str, *, status: int | None = None, retryable: bool = True, id: str = "x") -> FailedId:  # noqa: A002 - its name
    return FailedId(id, name, f"{id} failed", status, None, retryable)


def counts_of(*failures: FailedId) -> FailureCounts:
    counts = FailureCounts()
    for one in failures:
        counts.add(one)
    return counts


def test_the_counts_make_the_summary() -> None:
    tally = Tally(clock=lambda: 100.25, started_at=100.0)
    tally.begin(0, FailureCounts())
    tally.size_bytes = 100
    assert tally.is_partial  # nothing was read
    assert not tally.can_continue
    tally.read_bytes = 50
    tally.is_paused = True
    assert tally.progress.endswith("50%, paused")
    tally.note(None)
    assert not tally.is_paused
    assert (tally.fraction, tally.begun_at) == (0.5, 0.5)
    tally.read_bytes = 200
    assert tally.fraction == 1.0
    tally.is_whole = True
    assert not tally.is_partial
    assert tally.summary(None)[0].startswith("exported 1 record in 0.")
    assert len(tally.summary(None)) == 1
    tally.note(failure("ServerError", status=500, id="a"))
    tally.note(failure("NotFoundError", status=404, retryable=False, id="b"))
    tally.note(failure("ServerError", status=500, id="c"))
    tally.note(failure("ServerError", status=502, id="d"))
    tally.note_done(99)
    tally.note_empty()
    assert tally.is_partial
    kinds = [
        "  2 ServerError, for example: a failed",
        "  1 NotFoundError: b failed",
        "  1 ServerError: d failed",
    ]
    assert tally.summary(None)[1:] == [
        "skipped 1 repeated ID",
        "skipped 1 empty cell",
        "4 IDs failed",
        *kinds,
    ]
    paths = ExportPaths.of(Path("out.ndjson"))
    tally.records_before, tally.kept_failures = 9, counts_of(failure("InvalidIdError", retryable=False))
    tally.rows = 10
    assert tally.summary(paths, Path("out.csv"))[0].endswith("; out.ndjson has 10")
    assert tally.summary(paths, Path("out.csv"))[3:] == [
        "5 IDs failed: see out.failures.ndjson",
        *kinds,
        "  1 InvalidIdError: x failed",
        "--resume would fetch 3 of them again",
        "wrote 10 rows to out.csv",
    ]


def test_failures_of_earlier_runs_count() -> None:
    tally = Tally()
    tally.is_whole = True
    tally.begin(0, counts_of(failure("NotFoundError", status=404, retryable=False)))
    assert tally.is_partial
    assert tally.can_continue
    tally.rows = 1
    assert tally.summary(ExportPaths.of(Path("out.ndjson")), Path("t.csv"))[1:] == [
        "1 ID failed: see out.failures.ndjson",
        "  1 NotFoundError: x failed",
        "these failures are final: --resume would not fetch them again",
        "wrote 1 row to t.csv",
    ]


def test_the_summary_says_why_ids_were_skipped() -> None:
    tally = Tally()
    ids = [f"{number:024x}" for number in range(4)]
    done = {key_of(ids[0]): HAS_RECORD, key_of(ids[1]): HAS_FAILED}
    assert list(unseen([*ids, ids[3], ids[0]], done, tally)) == ids[2:]
    assert tally.summary(None)[1:] == [
        "skipped 2 IDs: already in the output",
        "skipped 1 ID: failed permanently in an earlier run",
        "skipped 1 repeated ID",
    ]
