"""The messages of an export of a period while it runs, and at its end."""

from pathlib import Path

import pytest

from thrive_learning.cli.export.walk_tally import WalkTally


def tally_of(records: int, total: int | None, *, before: int = 0, elapsed_s: float = 10.0) -> WalkTally:
    return WalkTally(
        records=records, records_before=before, total=total, clock=lambda: elapsed_s, started_at=0.0
    )


@pytest.mark.parametrize(
    ("tally", "text"),
    [
        (tally_of(0, None, elapsed_s=0.0), "0 records, 0/s"),
        (tally_of(1, None), "1 record, 0/s"),
        (tally_of(5000, 20_000), "5,000 records of about 20,000, 500/s, 25%, 30.0 s left"),
        (tally_of(5000, 20_000, before=5000), "10,000 records of about 20,000, 500/s, 50%, 20.0 s left"),
        (tally_of(50, 20_000), "50 records of about 20,000, 5/s, 0%"),
        (tally_of(0, 20_000, before=19_000), "19,000 records of about 20,000, 0/s, 95%"),
        (tally_of(20_001, 20_000), "20,001 records, 2,000/s"),  # the server's count is wrong
        (tally_of(0, 0), "0 records, 0/s"),
    ],
)
def test_the_total_is_reported_while_it_is_plausible(tally: WalkTally, text: str) -> None:
    assert tally.progress == text
    tally.is_paused = True
    assert tally.progress.endswith(", paused")
    assert "left" not in tally.progress


def test_no_time_is_left_to_say_before_the_clock_moves() -> None:
    assert tally_of(5000, 20_000, elapsed_s=0.0).left_s is None


def test_the_summary_says_what_was_done() -> None:
    tally = tally_of(1, 20, before=1)
    assert tally.is_partial
    tally.is_whole = True
    assert not tally.is_partial
    assert tally.summary(None) == ["exported 1 record in 10.0 s (0/s)"]
    tally.again, tally.unreadable, tally.rows = 1, 2, 1
    assert tally.is_partial
    assert tally.summary(Path("out.ndjson"), Path("out.csv")) == [
        "exported 1 record in 10.0 s (0/s); out.ndjson has 2",
        "skipped 1 record: already exported",
        "skipped 2 items without an ID",
        "wrote 1 row to out.csv",
    ]
    tally.rows, tally.parts = 2, 1
    assert tally.summary(None, Path("lake"))[-1] == "wrote 2 rows in 1 part to lake"
