import io
import sys

import pytest

from thrive_learning.cli import terminal
from thrive_learning.cli.export.counts import duration
from thrive_learning.cli.export.failures import FailedId, FailureCounts
from thrive_learning.cli.export.progress import LINE_INTERVAL_S, shown
from thrive_learning.cli.export.tally import Tally


def tally_of(
    records: int, failures: int, elapsed_s: float, fraction: float | None = None, begun_at: float = 0.0
) -> Tally:
    counts = FailureCounts()
    if failures:
        counts.add(FailedId("x", "E", "m", None, None, retryable=True), failures)
    return Tally(
        records=records,
        failures=counts,
        size_bytes=None if fraction is None else 1000,
        read_bytes=1000 * (fraction or 0),
        begun_at=begun_at,
        clock=lambda: elapsed_s,
        started_at=0.0,
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (7.25, "7.2 s"), (61, "1 min 01 s"), (3599, "59 min 59 s"), (7325, "2 h 02 min")],
)
def test_a_span_of_time_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("tally", "text"),
    [
        (tally_of(0, 0, 0.0), "0 records, 0/s"),
        (tally_of(12_000, 3, 10.0), "12,000 records, 3 failed, 1,200/s"),
        (tally_of(500, 0, 10.0, 0.25), "500 records, 50/s, 25%, 30.0 s left"),
        (tally_of(500, 0, 10.0, 0.75, 0.5), "500 records, 50/s, 75%, 10.0 s left"),
        (tally_of(1, 0, 10.0, 0.505, 0.5), "1 record, 0/s, 50%"),
    ],
)
def test_how_far_it_is_in_a_few_words(tally: Tally, text: str) -> None:
    assert tally.progress == text
    tally.is_paused = True
    assert tally.progress.endswith(", paused")
    assert "left" not in tally.progress


def test_a_log_gets_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    tally = tally_of(1, 0, 1.0)
    with shown(tally, quiet=False, to_terminal=False, clock=lambda: now) as show:
        for _ in range(5):
            show()
        assert capsys.readouterr().err == ""
        now = LINE_INTERVAL_S
        show()
        show()
        now *= 2
        tally.records = 2
        show()
    assert capsys.readouterr().err == "thrive: 1 record, 1/s\nthrive: 2 records, 2/s\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        raise OSError


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Make stderr a terminal. No fixture can, because pytest replaces stderr before the test."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    return stream


@pytest.mark.parametrize("fraction", [None, 0.5])
def test_a_terminal_gets_a_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fraction: float | None
) -> None:
    screen = on_terminal(monkeypatch)
    now = 0.0
    with shown(tally_of(1234, 1, 10.0, fraction), quiet=False, to_terminal=False, clock=lambda: now) as show:
        now = 1.0
        show()
        terminal.say("said meanwhile")
        terminal.write("a record")
    printed = screen.getvalue()
    assert "1,234 records, 1 failed, 124/s" in printed  # 123.5 rounds to even
    assert ("50%, 10.0 s left" in printed) == (fraction is not None)
    assert "thrive: said meanwhile" in printed
    assert "a record" not in printed
    assert capsys.readouterr().out == "a record\n"


def test_records_on_the_terminal_leave_no_room_for_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = on_terminal(monkeypatch)
    now = 0.0
    with shown(tally_of(1, 0, 1.0), quiet=False, to_terminal=True, clock=lambda: now) as show:
        now = LINE_INTERVAL_S
        show()
    assert screen.getvalue() == "thrive: 1 record, 1/s\n"


def test_quiet_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = on_terminal(monkeypatch)
    with shown(tally_of(1, 0, 1.0), quiet=True, to_terminal=False, clock=lambda: 1e9) as show:
        show()
    assert screen.getvalue() == ""


def test_a_pause_is_shown_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = on_terminal(monkeypatch)
    tally = tally_of(1, 0, 1.0, 0.5)
    with shown(tally, quiet=False, to_terminal=False, clock=lambda: 0.0) as show:
        tally.is_paused = True
        show()  # too early
        assert "paused" not in screen.getvalue()
        show(is_pause=True)
        terminal.say("said meanwhile")  # rich prints messages above the bar
        assert "1 record, 1/s, 50%, paused" in screen.getvalue()
    before = screen.getvalue()
    with shown(tally, quiet=False, to_terminal=True) as show:
        show(is_pause=True)  # it has a separate line
    assert screen.getvalue() == before
