from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thrive_learning.sandbox.generation import CYCLE, ArrivedSeries
from thrive_learning.sandbox.timeline import (
    END_OF_TIME_MS,
    UNDATED_MS,
    ListedRecords,
    NumberedRecords,
    RecordSource,
    newest_first,
    sorted_entries,
)


def listed(*dates: tuple[str, object]) -> dict[str, dict[str, Any]]:
    return {record_id: {"id": record_id, "date": date} for record_id, date in dates}


def ids(records: list[Mapping[str, Any]]) -> list[str]:
    return [record["id"] for record in records]


def everything(*runs: RecordSource, offset: int = 0, limit: int = 10**6) -> tuple[int, list[str]]:
    total, records = newest_first(
        runs, first_ms=UNDATED_MS, last_ms=END_OF_TIME_MS - 1, offset=offset, limit=limit
    )
    return total, ids(records)


@pytest.mark.parametrize(
    ("date", "date_ms"),
    [
        ("1970-01-01T00:00:01.234Z", 1234),
        ("1970-01-01T00:00:01.234999Z", 1234),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1970-01-01T00:00:00+0000", 0),
        ("1970-01-01 00:00:02", 2000),
        ("1969-12-31T23:59:59.999Z", -1),
        ("yesterday", UNDATED_MS),
        (None, UNDATED_MS),
        (["1970"], UNDATED_MS),
        (7, UNDATED_MS),
    ],
)
def test_the_date_of_a_record(date: object, date_ms: int) -> None:
    [entry] = sorted_entries(listed(("a", date)))

    assert entry.date_ms == date_ms
    assert entry.record()["id"] == "a"


@pytest.mark.parametrize("date", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59.999-23:59"])
def test_no_date_is_beyond_the_ends_of_time(date: str) -> None:
    [entry] = sorted_entries(listed(("a", date)))

    assert UNDATED_MS < entry.date_ms < END_OF_TIME_MS - 1


def test_a_record_without_a_date_is_the_oldest() -> None:
    [first, second] = sorted_entries({"b": {"id": "b", "date": "0001-01-01T00:00:00Z"}, "a": {"id": "a"}})

    assert (first.id, second.id) == ("a", "b")
    assert everything(ListedRecords([first, second])) == (2, ["b", "a"])


def test_records_of_the_same_date_are_ordered_by_id_whatever_their_source() -> None:
    run = ListedRecords(sorted_entries(listed(("b", "1970-01-01T00:00:00Z"), ("a", "1970-01-01T00:00:00Z"))))
    other = NumberedRecords(ArrivedSeries((0,), prefix="9" * 14), range(CYCLE))

    assert everything(run, other)[1] == ["b", "a", "9" * 14 + "0000000001"]
    assert everything(other, run, offset=1, limit=1)[1] == ["a"]


def test_the_last_page_of_a_window_ends_with_it() -> None:
    run = NumberedRecords(ArrivedSeries(tuple(range(10))), range(CYCLE))
    total, found = newest_first([run], first_ms=3, last_ms=6, offset=2, limit=5)

    assert total == 4
    assert [int(record_id[14:]) - 1 for record_id in ids(found)] == [4, 3]


# Few distinct dates, so that many records share one.
DATES = st.lists(st.integers(0, 5), max_size=30)


@given(
    held=DATES,
    arrived=DATES.map(sorted),
    remainders=st.sets(st.integers(0, 40)).map(sorted),
    without=st.sets(st.integers(1, 30)),
    window=st.tuples(st.integers(-1, 6), st.integers(-1, 6)),
    offset=st.integers(0, 70),
    limit=st.integers(1, 70),
)
def test_a_page_is_the_slice_of_a_list_of_all_records(
    held: list[int],
    arrived: list[int],
    remainders: list[int],
    without: set[int],
    window: tuple[int, int],
    offset: int,
    limit: int,
) -> None:
    numbers = [number for number in range(1, len(arrived) + 1) if number - 1 in remainders]
    excluded = sorted(without.intersection(numbers))
    records = listed(
        *((f"{index:024}", f"1970-01-01T00:00:00.{date:03}Z") for index, date in enumerate(held))
    )
    runs: list[RecordSource] = [
        ListedRecords(sorted_entries(records)),
        NumberedRecords(ArrivedSeries(tuple(arrived)), remainders, excluded),
    ]
    total, found = newest_first(runs, first_ms=window[0], last_ms=window[1], offset=offset, limit=limit)

    dates = {record_id: int(record["date"][-4:-1]) for record_id, record in records.items()}
    prefix = ArrivedSeries(()).prefix
    dates |= {f"{prefix}{number:010}": arrived[number - 1] for number in numbers if number not in excluded}
    expected = sorted(
        ((date, record_id) for record_id, date in dates.items() if window[0] <= date <= window[1]),
        reverse=True,
    )
    assert total == len(expected)
    assert ids(found) == [record_id for _, record_id in expected[offset : offset + limit]]


def test_a_page_in_the_middle_of_many_makes_no_other_record() -> None:
    made: list[int] = []

    class Counted(ArrivedSeries):
        __slots__ = ()

        def date_ms(self, number: int) -> int:
            made.append(number)
            return super().date_ms(number)

    run = NumberedRecords(Counted(tuple(range(100_000))), range(CYCLE))
    total, found = everything(run, offset=50_000, limit=10)

    assert (total, len(found)) == (100_000, 10)
    assert len(made) <= 12
