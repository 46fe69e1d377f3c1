"""Where the next run begins, and which records it skips."""

import datetime as dt
import random

import pytest

from thrive_learning.cli.export import overlap as overlaps
from thrive_learning.cli.export.overlap import ROUNDED_S, Overlap

SINCE = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
UNTIL = SINCE + dt.timedelta(days=1)
FIVE_MINUTES = dt.timedelta(minutes=5)


def key(number: int) -> bytes:
    return number.to_bytes(12, "big")


def at(seconds: float) -> dt.datetime:
    return SINCE + dt.timedelta(seconds=seconds)


@pytest.mark.parametrize("order", ["newest first", "oldest first", "any"])
def test_the_next_run_begins_before_the_newest_record(order: str) -> None:
    numbers = list(range(20_000))
    if order == "newest first":
        numbers.reverse()
    elif order == "any":
        random.Random(1).shuffle(numbers)  # noqa: S311 - not for secrets
    seen = Overlap(SINCE, UNTIL, FIVE_MINUTES, {})
    for number in numbers:
        seen.note(key(number), at(number + 0.9))
        assert len(seen._dated) <= 3200
    assert seen.since == at(19_999 - 300)
    assert seen.keys == {key(number): _second(number) for number in range(19_699 - ROUNDED_S, 20_000)}


def _second(number: int) -> int:
    return int(SINCE.timestamp()) + number


def test_the_next_run_begins_no_earlier_than_this_one() -> None:
    seen = Overlap(SINCE, UNTIL, FIVE_MINUTES, {key(1): _second(7), key(2): None})
    assert (seen.since, seen.keys) == (SINCE, {key(1): _second(7), key(2): None})
    seen.note(key(3), at(60))
    assert (seen.since, set(seen.keys)) == (SINCE, {key(1), key(2), key(3)})
    seen.note(key(4), at(-61))
    assert (seen.since, set(seen.keys)) == (SINCE, {key(1), key(2), key(3)})


@pytest.mark.parametrize("step_s", [1, 60])
def test_a_server_that_compares_rounded_times_gets_no_record_exported_again(step_s: int) -> None:
    """It returns records of up to a step before the beginning of a run."""
    records = {key(number): at(number + 0.6) for number in range(1000)}
    exported: list[bytes] = []
    since, keys = SINCE, dict[bytes, int | None]()
    for _run in range(3):
        seen = Overlap(since, UNTIL, FIVE_MINUTES, keys)
        beginning = since.timestamp() // step_s * step_s
        for identifier, date in records.items():
            if date.timestamp() + (0.5 if step_s == 1 else 0) >= beginning:
                if identifier not in keys:
                    exported.append(identifier)
                seen.note(identifier, date)
        since, keys = seen.since, seen.keys
    assert sorted(exported) == sorted(records)


def test_earlier_exports_are_forgotten_after_the_overlap() -> None:
    seen = Overlap(SINCE, UNTIL, FIVE_MINUTES, {key(1): _second(639), key(2): _second(640)})
    seen.note(key(3), at(1000))
    assert (seen.since, set(seen.keys)) == (at(700), {key(2), key(3)})


def test_a_date_after_the_period_does_not_move_the_next_run_beyond_it() -> None:
    seen = Overlap(SINCE, UNTIL, FIVE_MINUTES, {})
    seen.note(key(1), UNTIL + dt.timedelta(days=365))
    assert seen.since == UNTIL - FIVE_MINUTES


def test_records_without_a_date_are_remembered_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlaps, "MAX_UNDATED", 3)
    seen = Overlap(SINCE, UNTIL, FIVE_MINUTES, {key(0): None})
    for number in (1, 2, 2, 3):
        seen.note(key(number), None)
    assert seen.keys == dict.fromkeys(map(key, (1, 2, 3)))
