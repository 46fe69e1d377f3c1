import io
import sys
from typing import Any

import pytest

from thrive_learning.cli import terminal
from thrive_learning.cli.export.progress import LINE_INTERVAL_S, Advance, duration, shown


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (7.25, "7.2 s"), (61, "1 min 01 s"), (3599, "59 min 59 s"), (7325, "2 h 02 min")],
)
def test_a_span_of_time_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("advance", "text"),
    [
        (Advance(0, 0, 0.0), "0 records, 0/s"),
        (Advance(12_000, 3, 10.0), "12,000 records, 3 failed, 1,200/s"),
        (Advance(500, 0, 10.0, 0.25), "500 records, 50/s, 25%, 30.0 s left"),
        (Advance(500, 0, 10.0, 0.75, 0.5), "500 records, 50/s, 75%, 10.0 s left"),
        (Advance(1, 0, 10.0, 0.505, 0.5), "1 record, 0/s, 50%"),
        (Advance(500, 0, 10.0, 0.75, 0.5, is_paused=True), "500 records, 50/s, 75%, paused"),
    ],
)
def test_how_far_it_is_in_a_few_words(advance: Advance, text: str) -> None:
    assert advance.text == text


def test_a_log_gets_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    records = iter(range(1, 100))
    with shown(
        lambda: Advance(next(records), 0, 1.0), quiet=False, to_terminal=False, clock=lambda: now
    ) as display:
        for _ in range(5):
            display.show()
        assert capsys.readouterr().err == ""
        now = LINE_INTERVAL_S
        display.show()
        display.show()
        now *= 2
        display.show()
    assert capsys.readouterr().err == "thrive: 1 record, 1/s\nthrive: 2 records, 2/s\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        raise OSError


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Make stderr a terminal. No fixture does that: pytest sets stderr anew before the test begins."""
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
    look: Any = lambda: Advance(1234, 1, 10.0, fraction)  # noqa: E731
    with shown(look, quiet=False, to_terminal=False, clock=lambda: now) as display:
        now = 1.0
        display.show()
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
    with shown(lambda: Advance(1, 0, 1.0), quiet=False, to_terminal=True, clock=lambda: now) as display:
        now = LINE_INTERVAL_S
        display.show()
    assert screen.getvalue() == "thrive: 1 record, 1/s\n"


def test_quiet_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = on_terminal(monkeypatch)
    with shown(lambda: Advance(1, 0, 1.0), quiet=True, to_terminal=False, clock=lambda: 1e9) as display:
        display.show()
    assert screen.getvalue() == ""


def test_a_pause_is_shown_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = on_terminal(monkeypatch)
    advance = Advance(1, 0, 1.0, 0.5)
    with shown(lambda: advance, quiet=False, to_terminal=False, clock=lambda: 0.0) as display:
        advance = advance._replace(is_paused=True)
        display.show()  # too early
        assert "paused" not in screen.getvalue()
        display.pause()
        terminal.say("said meanwhile")  # rich draws above the bar what comes
    assert "1 record, 1/s, 50%, paused" in screen.getvalue()
    with shown(lambda: advance, quiet=False, to_terminal=True) as display:
        display.pause()
