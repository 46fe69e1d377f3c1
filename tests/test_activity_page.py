"""`ActivityPage` as a value, and as a sequence."""

import copy
import json
import pickle
from collections.abc import Sequence
from typing import Any

import anyio
import attrs
import httpx
import pytest
from fastapi import FastAPI
from harness import PAGE_EXAMPLE
from pydantic import BaseModel, TypeAdapter, ValidationError

from thrive_learning import Activity, ActivityPage, ActivityType, ConfigurationError, Pagination, ThriveClient
from thrive_learning._reading import MAX_UNREADABLE_ITEMS

RECORDS = [PAGE_EXAMPLE | {"id": text, "contentType": "video"} for text in ("a", "b", "c")]
PAGINATION = {"totalResults": 7, "totalPages": 3, "page": 1, "perPage": 3}
DOCUMENT: dict[str, Any] = {"results": RECORDS, "pagination": PAGINATION, "next": None}
#: Two of its items are not records.
SPOILED = DOCUMENT | {"results": [RECORDS[0], None, {"type": "viewed"}, RECORDS[1]]}


def page(**changes: Any) -> ActivityPage:
    return ActivityPage.from_dict(DOCUMENT | changes)


def test_a_page_is_a_sequence() -> None:
    found = page()
    assert isinstance(found, Sequence)
    ids = [record.id for record in found]
    assert ids == ["a", "b", "c"] == [record.id for record in found.results]
    assert (len(found), bool(found), bool(page(results=[]))) == (3, True, False)
    assert (found[0].id, found[-1].id) == ("a", "c")
    assert found[1:] == found.results[1:]
    assert [record.id for record in reversed(found)] == ["c", "b", "a"]
    assert found[1] in found
    assert Activity(id="a") not in found
    assert "a" not in [*found, found]
    assert (found.index(found[2]), found.count(found[2])) == (2, 1)
    with pytest.raises(IndexError):
        found[3]
    first, *_ = found
    assert first is found.results[0]


def test_a_page_is_a_value() -> None:
    found = page()
    assert found == page() == page(next=1)
    assert hash(found) == hash(page())
    assert len({found, page(), page(results=[])}) == 2
    assert found != page(pagination=PAGINATION | {"page": 2})
    assert found != page(results=RECORDS[:2])
    others: list[object] = [found.results, [*found], None]
    for other in others:
        assert found != other
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        found.results = ()  # type: ignore[misc]
    assert repr(found).startswith("ActivityPage(results=(Activity(id='a'")


@pytest.mark.parametrize(
    "copied",
    [lambda a: pickle.loads(pickle.dumps(a)), copy.copy, copy.deepcopy],
    ids=["pickle", "copy", "deepcopy"],
)
@pytest.mark.parametrize("document", [DOCUMENT, SPOILED], ids=["well", "spoiled"])
def test_a_page_travels(document: dict[str, Any], copied: Any) -> None:
    found = ActivityPage.from_dict(document)
    other = copied(found)
    assert other == found
    assert other.to_dict() == found.to_dict() == document
    assert other.problems == found.problems
    assert [record.to_json() for record in other] == [record.to_json() for record in found]


@pytest.mark.parametrize("document", [DOCUMENT, SPOILED], ids=["well", "spoiled"])
def test_a_stored_page_is_read_as_it_was(document: dict[str, Any]) -> None:
    found = ActivityPage.from_dict(document)
    again = ActivityPage.from_dict(found.to_dict())
    assert (again, again.problems, again.to_dict()) == (found, found.problems, document)
    assert json.loads(found.to_json()) == document
    assert [record.to_dict() for record in again] == [
        item for item in document["results"] if item is not None and "id" in item
    ]
    found.to_dict()["results"][0]["data"].clear()
    assert found.to_dict() == document


def test_a_page_reports_its_own_departures_and_its_records_theirs() -> None:
    found = ActivityPage.from_dict(SPOILED)
    assert [(drift.kind, drift.field) for drift in found.problems] == [
        ("unreadable_item", "results[1]"),
        ("unreadable_item", "results[2]"),
        ("unknown_field", "next"),
    ]
    assert [drift.field for drift in found[0].problems] == ["contentType"]


def test_an_item_with_a_blank_id_is_not_a_record() -> None:
    """Several would have one ID, and all but one would be dropped as duplicates."""
    found = ActivityPage.from_dict({"results": [{"id": ""}, {"id": "a"}, {"id": " "}]})
    assert [record.id for record in found] == ["a"]
    assert [str(drift) for drift in found.problems] == [
        "the item results[0] cannot be read: the field 'id' is blank",
        "the item results[2] cannot be read: the field 'id' is blank",
    ]


def test_an_evolved_page_has_its_new_fields() -> None:
    found = ActivityPage.from_dict(SPOILED)
    fewer = attrs.evolve(found, results=found.results[1:])
    assert [record.id for record in fewer] == ["b"]
    assert fewer.to_dict() == SPOILED | {"results": [RECORDS[1]]}
    assert [drift.field for drift in fewer.problems] == ["next"]
    moved = attrs.evolve(found, pagination=Pagination(page=2))
    assert moved.to_dict() == SPOILED | {"pagination": {"page": 2}}
    assert moved.results is found.results


def test_a_page_made_in_python_has_its_fields() -> None:
    made = ActivityPage(results=(Activity(id="a", type=ActivityType.VIEWED),))
    assert made.pagination == Pagination()
    assert made.to_dict() == {"results": [{"id": "a", "type": "viewed", "data": {}}], "pagination": {}}
    assert ActivityPage.from_dict(made.to_dict()) == made
    assert made.problems == ()


@pytest.mark.parametrize("pagination", [None, 7, [], "1"])
def test_a_page_without_pagination_has_an_empty_one(pagination: Any) -> None:
    found = page(pagination=pagination)
    assert found.pagination == Pagination()
    assert [drift.field for drift in found.problems] == ["pagination", "next"]
    assert found.to_dict()["pagination"] == pagination
    assert ActivityPage.from_dict({"results": []}).pagination == Pagination()


@pytest.mark.parametrize("value", ["1", 1.5, None, True, []])
def test_a_wrong_count_is_none(value: Any) -> None:
    found = page(pagination=PAGINATION | {"totalPages": value})
    assert found.pagination == Pagination(total_results=7, total_pages=None, page=1, per_page=3)
    (problem,) = found.pagination.problems
    assert problem.field == "totalPages"


@pytest.mark.parametrize("document", [{}, {"results": None}, {"results": {}}, {"results": "x"}, []])
def test_a_response_without_results_is_not_a_page(document: Any) -> None:
    with pytest.raises(ConfigurationError):
        ActivityPage.from_dict(document)


def test_pydantic_has_pages(contract: dict[str, Any]) -> None:
    class Report(BaseModel):
        page: ActivityPage

    report = Report(page=SPOILED)  # type: ignore[arg-type]
    assert report.page == ActivityPage.from_dict(SPOILED)
    assert report.model_dump()["page"] == json.loads(report.model_dump_json())["page"] == SPOILED
    assert Report.model_validate_json(report.model_dump_json()) == report
    assert Report(page=report.page).page is report.page
    with pytest.raises(ValidationError, match="results"):
        Report(page={"pagination": {}})  # type: ignore[arg-type]
    schema = TypeAdapter(ActivityPage).json_schema()
    described = contract["components"]["schemas"]
    assert schema["properties"].keys() == described["ActivityPage"]["properties"].keys()
    assert schema["required"] == described["ActivityPage"]["required"]
    items = schema["properties"]["results"]["items"]
    assert items["properties"].keys() == described["Activity"]["properties"].keys()
    pagination = schema["properties"]["pagination"]
    assert pagination["properties"]["totalPages"] == {"type": "integer"}


def test_fastapi_returns_pages() -> None:
    app = FastAPI()

    @app.get("/page")
    def read() -> ActivityPage:
        with ThriveClient.sandbox() as client:
            return client.activities.list(per_page=2)

    async def answers(*paths: str) -> list[Any]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
            return [(await client.get(path)).json() for path in paths]

    found, document = anyio.run(answers, "/page", "/openapi.json")
    assert len(found["results"]) == found["pagination"]["perPage"] == 2
    content = document["paths"]["/page"]["get"]["responses"]["200"]["content"]
    assert "results" in content["application/json"]["schema"]["properties"]


def test_unreadable_items_beyond_the_limit_are_counted() -> None:
    page = ActivityPage.from_dict({"results": [None] * (MAX_UNREADABLE_ITEMS + 2) + [{"id": "a"}]})
    assert len(page) == 1
    assert len(page.problems) == MAX_UNREADABLE_ITEMS + 1
    assert page.problems[-2].field == f"results[{MAX_UNREADABLE_ITEMS - 1}]"
    last = "the item results[…] cannot be read: there are 2 more such items"
    assert str(page.problems[-1]) == last
    full = ActivityPage.from_dict({"results": [None] * MAX_UNREADABLE_ITEMS})
    assert len(full.problems) == MAX_UNREADABLE_ITEMS
