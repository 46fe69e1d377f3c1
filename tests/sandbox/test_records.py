import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from thrive_learning import Activity
from thrive_learning.sandbox.records import DEPARTING_IDS, records_from_ndjson, seeded_records

CONTRACT = yaml.safe_load((Path(__file__).parents[2] / "openapi/thrive.yaml").read_text(encoding="utf-8"))
SCHEMAS = CONTRACT["components"]["schemas"]
KNOWN_TYPES: list[str] = SCHEMAS["ActivityType"]["enum"]
REFERENCE_PAGE: dict[str, Any] = CONTRACT["paths"]["/activity/{id}"]["get"]["responses"]["200"]["content"][
    "application/json"
]["examples"]["referencePage"]["value"]

VALIDATOR = Draft202012Validator(
    {"$ref": "#/components/schemas/Activity", "components": CONTRACT["components"]},
    format_checker=Draft202012Validator.FORMAT_CHECKER,
)


@pytest.mark.parametrize("record", [pytest.param(r, id=k) for k, r in seeded_records().items()])
def test_a_record_is_valid_against_the_contract_or_a_departure(record: dict[str, Any]) -> None:
    assert VALIDATOR.is_valid(record) is (record["id"] not in DEPARTING_IDS)
    assert any(problem.breaks_contract for problem in Activity.from_dict(record).problems) is (
        record["id"] in DEPARTING_IDS
    )


@pytest.mark.parametrize(
    "field", [{"date": "yesterday"}, {"user": "ada"}, {"with": []}, {"data": None}, {"name": None}]
)
def test_the_validation_above_can_fail(field: dict[str, Any]) -> None:
    assert not VALIDATOR.is_valid(REFERENCE_PAGE | field)


def test_records_are_stored_under_their_own_ids() -> None:
    records = seeded_records()

    assert list(records) == [record["id"] for record in records.values()]


def test_the_example_of_the_reference_page_is_there_exactly() -> None:
    assert seeded_records()["60d5ec49b60b4b3a2c8f9a10"] == REFERENCE_PAGE


def test_the_twenty_types_are_there_in_order_under_ids_that_count_up() -> None:
    records = seeded_records()

    assert len(KNOWN_TYPES) == 20
    for number, activity_type in enumerate(KNOWN_TYPES, start=1):
        assert records[f"665d7d88b60b4b3a2c0000{number:02}"]["type"] == activity_type


def test_one_record_has_an_unknown_type_and_an_unknown_field() -> None:
    unknown = seeded_records()["665d7d88b60b4b3a2c000021"]
    known_fields = SCHEMAS["Activity"]["properties"].keys()

    assert unknown["type"] == "file"
    assert "file" not in KNOWN_TYPES
    assert unknown.keys() - known_fields == {"visibility"}


def test_some_records_look_like_real_ones() -> None:
    real = [seeded_records()[f"665d7d88b60b4b3a2c0000{number}"] for number in range(23, 29)]

    assert not any("name" in record or "with" in record for record in real)
    assert {record.get("contentType") for record in real} == {"video", "quiz", None}
    percentages = [record["data"].get("progresspercentage") for record in real]
    assert {type(percentage) for percentage in percentages} == {str, float, type(None)}
    assert any(isinstance(record["data"].get("source"), str) for record in real)
    assert any(isinstance(record["data"].get("searchresults"), str) for record in real)
    [answered] = [record for record in real if record["type"] not in KNOWN_TYPES]
    assert answered["data"]["name"].keys() == {"en-GB", "fr-FR"}
    assert answered["data"]["choices"][0]["description"] == {"en-GB": "Mercury"}


def test_each_kind_of_departure_can_be_seen_in_a_record() -> None:
    problems = [
        [(problem.kind, problem.field) for problem in Activity.from_dict(seeded_records()[id_]).problems]
        for id_ in sorted(DEPARTING_IDS)
    ]

    novelty = ("unknown_field", "contentType")
    assert [[problem for problem in found if problem != novelty] for found in problems] == [
        [("null", "contextId"), ("null", "data"), ("null", "name")],
        [("wrong_type", "name")],
        [("wrong_type", "data")],
        [("wrong_type", "contextId"), ("wrong_type", "contextType")],
        [("unreadable_date", "date")],
        [("unreadable_date", "date")],
    ]
    assert all(novelty in found for found in problems)


def test_one_record_has_nothing_but_its_id() -> None:
    assert seeded_records()["665d7d88b60b4b3a2c000022"] == {"id": "665d7d88b60b4b3a2c000022"}


@pytest.mark.parametrize(
    ("activity_type", "keys"),
    [
        ("viewed", {"duration", "source"}),
        ("found", {"keyword", "results"}),
        ("searched", {"keyword"}),
        ("completed", {"score"}),
        ("passed", {"score"}),
        ("commented", {"comment"}),
        ("progressed", {"progress"}),
    ],
)
def test_data_fits_the_type(activity_type: str, keys: set[str]) -> None:
    records = [record for record in seeded_records().values() if record.get("type") == activity_type][:1]

    assert records
    assert all(keys <= record["data"].keys() for record in records)


def test_with_is_an_object_or_null_or_absent() -> None:
    records = seeded_records().values()

    assert any(isinstance(record.get("with"), dict) for record in records)
    assert any("with" in record and record["with"] is None for record in records)
    assert any("with" not in record for record in records)


def test_some_records_have_a_context_and_a_name_and_some_have_none() -> None:
    records = seeded_records().values()

    assert {str(record.get("contextType")) for record in records} > {"content", "course", "None"}
    assert any("name" in record for record in records)
    assert any("name" not in record for record in records)


def test_dates_go_up_in_the_order_of_the_ids() -> None:
    dates = {
        key: record["date"].replace(" ", "T") for key, record in seeded_records().items() if "date" in record
    }
    usual = [date for key, date in dates.items() if key not in DEPARTING_IDS]
    departing = [date for key, date in dates.items() if key in DEPARTING_IDS]

    assert len(set(dates.values())) == len(dates) == 34
    assert usual == sorted(usual)
    assert departing == sorted(departing)
    assert max(departing) < usual[1]  # only that of the vendor's page is older


def test_every_caller_gets_a_copy() -> None:
    before = copy.deepcopy(seeded_records())
    for record in seeded_records().values():
        (record.get("data") or []).clear()
        record.clear()

    assert seeded_records() == before


ONE = b'{"id": "aaaaaaaaaaaaaaaaaaaaaaaa", "type": "viewed"}\n'
TWO = '{"id": "bbbbbbbbbbbbbbbbbbbbbbbb", "name": "Très"}'.encode()


def test_records_of_a_file() -> None:
    assert records_from_ndjson([b"\xef\xbb\xbf" + ONE, b"\n", b" \r\n", TWO], "x") == {
        "a" * 24: {"id": "a" * 24, "type": "viewed"},
        "b" * 24: {"id": "b" * 24, "name": "Très"},
    }
    assert records_from_ndjson([], "x") == {}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"{", "this is not JSON: Expecting property name"),
        (b"\xff", "this is not JSON: 'utf-8' codec can't decode"),
        (b'{"id": NaN}', "this is not JSON: NaN is not valid in JSON"),
        (b"[" * 100_000, "this is not JSON: "),
        (b"[]", "this is not a JSON object"),
        (b"{}", "the record has no 'id'"),
        (b'{"id": 1}', "the ID '1' is not 24 hexadecimal digits"),
        (b'{"id": "' + b"g" * 999 + b'"}', "ggg' is not 24 hexadecimal digits"),
        (ONE.upper().replace(b"ID", b"id").replace(b"TYPE", b"type"), "is already in line 1"),
    ],
)
def test_a_line_that_is_not_a_record_is_named(line: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=r"^records\.ndjson, line 3: ") as caught:
        records_from_ndjson([ONE, b"\n", line], "records.ndjson")

    assert problem in str(caught.value)
    assert len(str(caught.value)) < 300
