"""Times and durations of the command line."""

import datetime as dt

import pytest

from thrive_learning.cli.moments import moment_of, span_of

NOW = dt.datetime(2026, 11, 29, 8, 30, 15, 500_000, dt.timezone(dt.timedelta(hours=2)))


def utc(*parts: int) -> dt.datetime:
    return dt.datetime(*parts, tzinfo=dt.UTC)  # type: ignore[arg-type, misc]


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-01-31", utc(2026, 1, 31)),
        (" 2026-01-31T12:00 ", utc(2026, 1, 31, 12)),
        ("2026-01-31 12:00:05", utc(2026, 1, 31, 12, 0, 5)),
        ("2026-01-31t12:00z", utc(2026, 1, 31, 12)),
        ("2026-01-31T12:00:00.25Z", utc(2026, 1, 31, 12, 0, 0, 250_000)),
        ("2026-01-31T01:00+02:00", utc(2026, 1, 30, 23)),
        ("2026-01-31T01:00-0230", utc(2026, 1, 31, 3, 30)),
        ("24h", utc(2026, 11, 28, 6, 30, 15, 500_000)),
        ("7D", utc(2026, 11, 22, 6, 30, 15, 500_000)),
        ("0s", utc(2026, 11, 29, 6, 30, 15, 500_000)),
        ("90m", utc(2026, 11, 29, 5, 0, 15, 500_000)),
        ("1w", utc(2026, 11, 22, 6, 30, 15, 500_000)),
    ],
)
def test_a_time_is_read(text: str, at: dt.datetime) -> None:
    moment = moment_of(text, NOW)
    assert (moment.at, moment.at.tzinfo) == (at, dt.UTC)


def test_two_runs_that_ask_for_the_same_have_the_same_text() -> None:
    later = NOW + dt.timedelta(days=1)
    assert moment_of("7d", NOW).asked == moment_of("7D", later).asked == "7d"
    written = {
        moment_of(text, NOW).asked for text in ("2026-01-31", "2026-01-31T00:00Z", "2026-01-31T02:00+02:00")
    }
    assert written == {"2026-01-31T00:00:00+00:00"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is not a time"),
        ("yesterday", "is not a time"),
        ("20260131", "is not a time"),
        ("2026-W05-1", "is not a time"),
        ("2026-1-1", "is not a time"),
        ("2026-01-31T12", "is not a time"),
        ("2026-01-31Z", "is not a time"),
        ("24", "is not a time"),
        ("24 h", "is not a time"),
        ("999999999d", "is not a time"),
        ("99999999h", "is not a time"),
        ("٢٤h", "is not a time"),
        ("2026-02-30", "does not exist"),
        ("2026-01-31T24:01", "does not exist"),
        ("2026-01-31T12:00+24:00", "does not exist"),
        ("0001-01-01T00:00+01:00", "does not exist"),
        ("0000-01-01", "does not exist"),
    ],
)
def test_an_invalid_time_is_rejected(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=r"Write 2026-01-31, ") as raised:
        moment_of(text, NOW)
    assert str(raised.value).startswith(f"{text!r} {problem}. ")


def test_a_span_of_time_is_read() -> None:
    assert span_of(" 5M ") == dt.timedelta(minutes=5)
    for text in ("", "5", "5y", "-5m", "999999999w"):
        with pytest.raises(ValueError, match=r"is not a duration\. Write "):
            span_of(text)
