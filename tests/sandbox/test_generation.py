import json
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
from conformance import CONTRACT
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from thrive_learning.sandbox.generation import (
    CYCLE,
    END_MS,
    FIRST_MS,
    LARGEST_NUMBER,
    ArrivedSeries,
    GeneratedSeries,
    Series,
    late_date_ms,
    made_record,
    number_in,
    numbered_id,
    templates,
)

SCHEMAS = CONTRACT["components"]["schemas"]
VALIDATOR = Draft202012Validator(
    {"$ref": "#/components/schemas/Activity", "components": CONTRACT["components"]},
    format_checker=Draft202012Validator.FORMAT_CHECKER,
)
SERIES = GeneratedSeries(3 * CYCLE)


def record(number: int, series: Series = SERIES) -> dict[str, Any]:
    return made_record(numbered_id(series.prefix, number), number, series.date_ms(number))


RECORDS = [record(number) for number in range(1, SERIES.count + 1)]


def test_every_record_is_valid_against_the_contract() -> None:
    for made in RECORDS:
        VALIDATOR.validate(made)
        assert json.loads(json.dumps(made)).keys() == made.keys()


def test_records_look_like_real_ones() -> None:
    types = Counter(made["type"] for made in RECORDS)

    assert {*SCHEMAS["ActivityType"]["enum"], "answered", "attempted"} == types.keys()
    assert types["viewed"] == 3 * 452
    assert not any("name" in made or "with" in made for made in RECORDS)
    assert {made.get("contextType") for made in RECORDS} == {None, "content", "event", "tag"}
    assert {made.get("contentType") for made in RECORDS} > {None, "video", "quiz", "event"}
    assert all(made["contentType"] == "quiz" for made in RECORDS if made["type"] == "answered")
    assert all("contentType" in made for made in RECORDS if "contextId" in made)
    assert all(made["date"].endswith("Z") and made["date"][-5] == "." for made in RECORDS)
    assert len({made["user"] for made in RECORDS}) > 1000
    assert len({made["date"][-4:-1] for made in RECORDS}) > 900


def test_members_of_data_differ_in_type() -> None:
    members: dict[str, set[type]] = {}
    for made in RECORDS:
        for name, value in made["data"].items():
            members.setdefault(name, set()).add(type(value))

    assert members["progresspercentage"] == {str, float}
    assert members["duration"] == members["source"] == members["searchresults"] == {str}
    assert members["completion"] == members["success"] == {bool}
    assert members["name"] == members["description"] == {dict}
    assert {bool(made["data"]["skillBoosts"]) for made in RECORDS if "skillBoosts" in made["data"]} == {
        True,
        False,
    }
    assert {str(made["data"].get("tagName") is None) for made in RECORDS if made["type"] == "viewed"} == {
        "True",
        "False",
    }


def test_filterable_values_repeat_and_others_do_not() -> None:
    filtered = ("type", "contextId", "contextType", "contentType")
    for number in (1, 2, CYCLE):
        first, second = record(number), record(number + CYCLE)
        assert {name: first.get(name) for name in filtered} == {name: second.get(name) for name in filtered}
        assert first["user"] != second["user"]
        assert dict(templates()[number - 1]) == {name: first[name] for name in filtered if name in first}
    assert len(templates()) == CYCLE


def test_a_record_is_the_same_each_time() -> None:
    assert record(17) == record(17)
    # Fixed values, so that they are the same in every version of this package and of Python.
    assert (record(17)["id"], record(17)["date"], record(17)["type"]) == (
        "67748a80b60b4b0000000017",
        "2025-07-03T00:03:29.476Z",
        "viewed",
    )


@given(count=st.integers(1, 10**10 - 1), date_ms=st.integers(FIRST_MS - 10**6, END_MS + 10**6))
def test_dates_never_go_down_and_are_found(count: int, date_ms: int) -> None:
    series = GeneratedSeries(count)
    number = series.first_since(date_ms)

    assert number == count + 1 or series.date_ms(number) >= date_ms
    assert number == 1 or series.date_ms(number - 1) < date_ms
    assert FIRST_MS <= series.date_ms(1) <= series.date_ms(count) < END_MS


def test_no_record_has_no_first() -> None:
    assert GeneratedSeries(0).first_since(FIRST_MS) == 1
    assert ArrivedSeries(()).first_since(FIRST_MS) == 1


def test_records_that_arrived_are_found_by_date() -> None:
    series = ArrivedSeries((5, 5, 9))

    assert (series.count, series.date_ms(1), series.date_ms(3)) == (3, 5, 9)
    assert [series.first_since(date_ms) for date_ms in (0, 5, 6, 9, 10)] == [1, 1, 3, 3, 4]


def test_late_records_are_dated_anywhere_in_the_year() -> None:
    dates = [late_date_ms(number) for number in range(1, 100)]

    assert all(FIRST_MS <= date < END_MS for date in dates)
    assert len({datetime.fromtimestamp(date / 1000, UTC).month for date in dates}) == 12


@pytest.mark.parametrize("number", [1, 42, LARGEST_NUMBER])
def test_an_id_says_the_number(number: int) -> None:
    record_id = numbered_id(SERIES.prefix, number)

    assert len(record_id) == 24
    assert record_id.endswith(str(number))
    assert number_in(record_id, SERIES.prefix, LARGEST_NUMBER) == number
    assert number_in(record_id, SERIES.prefix, number - 1) is None
    assert number_in(record_id, "0" * 14, LARGEST_NUMBER) is None


@pytest.mark.parametrize(
    "digits", ["0000000000", "000000000a", "000000001", "00000000011", "\u0661" * 10, "+000000001"]
)
def test_any_other_id_says_no_number(digits: str) -> None:
    assert number_in(SERIES.prefix + digits, SERIES.prefix, LARGEST_NUMBER) is None
