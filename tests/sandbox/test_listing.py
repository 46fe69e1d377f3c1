"""The list of the sandbox, compared with a simple filtered and sorted list in memory."""

import base64
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest
from conformance import CONTRACT, valid
from hypothesis import given, settings
from hypothesis import strategies as st

from thrive_learning.sandbox import Sandbox, SandboxRequest, SandboxResponse
from thrive_learning.sandbox.collection import Arrived
from thrive_learning.sandbox.generation import numbered_id
from thrive_learning.sandbox.records import DEPARTING_IDS, seeded_records

NOW = 1_700_000_000.25
SANDBOX = Sandbox()
AUTHORIZATION = {
    "authorization": "Basic "
    + base64.b64encode(f"{SANDBOX.tenant_id}:{SANDBOX.api_secret}".encode()).decode()
}
OPERATION = CONTRACT["paths"]["/activities"]["get"]
OVERRIDDEN = numbered_id("67748a80b60b4b", 7)
MIXED = Sandbox(
    records={
        **seeded_records(),
        OVERRIDDEN: {"id": OVERRIDDEN, "type": "liked", "date": "2020-02-12T00:00:00Z"},
    },
    generated=1500,
    arrived=Arrived(dates_ms=(int(NOW * 1000),) * 40, late=25),
)


def respond(query: str = "", *, method: str = "GET", sandbox: Sandbox = SANDBOX) -> SandboxResponse:
    target = f"/rest/v1/activities?{query}" if query else "/rest/v1/activities"
    request = SandboxRequest(method, target, AUTHORIZATION)
    return valid(request, sandbox.respond(request, now=NOW))


def page(query: dict[str, object] | str = "", *, sandbox: Sandbox = SANDBOX) -> dict[str, Any]:
    response = respond(query if isinstance(query, str) else urlencode(query), sandbox=sandbox)
    assert response.status == 200, response.body
    content: dict[str, Any] = json.loads(response.body)
    return content


def found(query: dict[str, object], *, sandbox: Sandbox = SANDBOX) -> list[str]:
    """Return the IDs of a page of the largest size."""
    return [record["id"] for record in page({"perPage": 1000, **query}, sandbox=sandbox)["results"]]


def refusal(query: str) -> str:
    response = respond(query)
    content = json.loads(response.body)
    assert response.status == content["status"] == 400
    assert content.keys() == {"status", "error", "message"}
    message: str = content["message"]
    return message


def all_records(sandbox: Sandbox) -> Iterator[dict[str, Any]]:
    """Return every record of a sandbox by ID."""
    prefixes = {"67748a80b60b4b": sandbox.generated, "67748a80b60b4c": 40, "67748a80b60b4d": 25}
    ids = {
        numbered_id(prefix, number) for prefix, count in prefixes.items() for number in range(1, count + 1)
    }
    for record_id in ids | sandbox.records.keys():
        request = SandboxRequest("GET", f"/rest/v1/activity/{record_id}", AUTHORIZATION)
        yield json.loads(sandbox.respond(request, now=NOW).body)


ALL = list(all_records(MIXED))


def date_of(record: dict[str, Any]) -> datetime | None:
    try:
        date = datetime.fromisoformat(record["date"])
    except KeyError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def as_date(timestamp: str) -> datetime:
    return datetime.strptime(timestamp, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)


#: For each parameter, whether a record matches a value.
PASSES: dict[str, Callable[[dict[str, Any], str], bool]] = {
    "actions": lambda record, value: record.get("type") in value.split(","),
    "omitActions": lambda record, value: record.get("type") not in value.split(","),
    "contentIds": lambda record, value: str(record.get("contextId")).lower() in value.lower().split(","),
    "contentType": lambda record, value: value in (record.get("contextType"), record.get("contentType")),
    "timestampFrom": lambda record, value: (date := date_of(record)) is not None and date > as_date(value),
    "timestampTo": lambda record, value: (date := date_of(record)) is not None and date < as_date(value),
}
TYPES = st.lists(st.sampled_from(["viewed", "completed", "answered", "file", "unheard-of"]), min_size=1).map(
    ",".join
)
CONTENT = st.sampled_from(
    ["64b6f4a8c2e4a1b9d3f2c401", "64C10000B60B4B3A2C000000", "64c10000b60b4b3a2c000003", "f" * 24]
)
MOMENTS = st.sampled_from(
    [
        "2020-02-12 14:58:23",
        "2024-06-03 08:47:00",
        "2025-07-01 00:00:00",
        "2026-01-01 00:00:00",
        "2026-07-01 00:00:00",
    ]
)
QUERIES = st.fixed_dictionaries(
    {},
    optional={
        "actions": TYPES,
        "omitActions": TYPES,
        "contentIds": st.lists(CONTENT, min_size=1).map(",".join),
        "contentType": st.sampled_from(["content", "video", "quiz", "event", "unheard-of"]),
        "timestampFrom": MOMENTS,
        "timestampTo": MOMENTS,
    },
)


@settings(deadline=None)
@given(filters=QUERIES, number=st.integers(1, 6), per_page=st.sampled_from([1, 7, 20, 500, 1000]))
def test_a_page_is_that_of_a_list_of_all_records(filters: dict[str, str], number: int, per_page: int) -> None:
    passing = [
        record for record in ALL if all(PASSES[name](record, value) for name, value in filters.items())
    ]
    oldest = datetime.min.replace(tzinfo=UTC)
    passing.sort(key=lambda record: (date_of(record) or oldest, record["id"]), reverse=True)
    got = page({**filters, "page": number, "perPage": per_page}, sandbox=MIXED)

    assert got["results"] == passing[(number - 1) * per_page : number * per_page]
    assert got["pagination"] == {
        "totalResults": len(passing),
        "totalPages": -(-len(passing) // per_page),
        "page": number,
        "perPage": per_page,
    }


def test_the_comparison_above_is_about_every_filter() -> None:
    assert {parameter["name"] for parameter in OPERATION["parameters"]} == {*PASSES, "page", "perPage"}
    assert len(ALL) == len(MIXED.collection) == 1500 + 40 + 25 + 35
    assert len(found({}, sandbox=MIXED)) == 1000


def test_a_page_has_20_records_unless_asked() -> None:
    first = page()

    assert len(first["results"]) == 20
    assert first["pagination"] == {"totalResults": 35, "totalPages": 2, "page": 1, "perPage": 20}
    assert page("page=1&perPage=20") == first
    assert len(page("page=2")["results"]) == 15


def test_pages_one_after_the_other_hold_every_record_once_the_newest_first() -> None:
    pages = [found({"page": number, "perPage": 9}) for number in range(1, 5)]
    ids = [record_id for ids in pages for record_id in ids]

    assert [len(ids) for ids in pages] == [9, 9, 9, 8]
    assert sorted(ids) == sorted(seeded_records())
    # The page's example is from 2020. One record has no date.
    assert ids[-2:] == ["60d5ec49b60b4b3a2c8f9a10", "665d7d88b60b4b3a2c000022"]
    assert ids[0] == "665d7d88b60b4b3a2c000028"


def test_a_record_that_is_held_in_another_form_is_listed_once() -> None:
    ids = [record_id for number in (1, 2) for record_id in found({"page": number}, sandbox=MIXED)]

    assert len(ids) == len(set(ids)) == len(ALL)
    assert ids.count(OVERRIDDEN) == 1
    # It is in the order of its own date, not of the generated record's.
    assert ids.index(OVERRIDDEN) > ids.index(numbered_id("67748a80b60b4b", 1))


@pytest.mark.parametrize("number", [3, 1000, 10**400])
def test_a_page_after_the_last_is_empty(number: int) -> None:
    got = page(f"page={number}")

    assert got["results"] == []
    assert got["pagination"] == {"totalResults": 35, "totalPages": 2, "page": number, "perPage": 20}


def test_an_empty_result_has_no_pages() -> None:
    assert page("actions=unheard-of") == {
        "pagination": {"totalResults": 0, "totalPages": 0, "page": 1, "perPage": 20},
        "results": [],
    }
    assert page(sandbox=Sandbox(records={}))["results"] == []


def test_the_ends_of_a_window_are_not_in_it() -> None:
    dates = {"a": "2020-01-01T00:00:00Z", "b": "2020-01-01T00:00:00.001Z", "c": "2020-01-01T00:00:01Z"}
    sandbox = Sandbox(records={key * 24: {"id": key * 24, "date": date} for key, date in dates.items()})

    def between(**bounds: str) -> str:
        return "".join(record_id[0] for record_id in found(dict(bounds), sandbox=sandbox))

    assert between(timestampFrom="2020-01-01 00:00:00") == "cb"
    assert between(timestampTo="2020-01-01 00:00:01") == "ba"
    assert between(timestampFrom="2020-01-01 00:00:00", timestampTo="2020-01-01 00:00:01") == "b"
    assert between(timestampFrom="2020-01-01 00:00:01", timestampTo="2020-01-01 00:00:00") == ""


def test_a_window_of_generated_records_is_the_share_of_the_year_that_it_is() -> None:
    query = {"timestampFrom": "2026-01-01 00:00:00", "timestampTo": "2026-02-01 00:00:00", "perPage": 1}
    total = page(query, sandbox=Sandbox(records={}, generated=1_000_000))["pagination"]["totalResults"]

    assert abs(total - 1_000_000 * 31 / 365) < 2


@pytest.mark.parametrize("name", ["actions", "omitActions", "contentType"])
def test_an_empty_filter_filters_nothing(name: str) -> None:
    assert page({name: "", "perPage": 1000}) == page("perPage=1000")
    assert page(f"{name}&perPage=1000") == page("perPage=1000")


def test_both_filters_by_type_count() -> None:
    assert {record["type"] for record in page("actions=viewed,liked,&omitActions=viewed")["results"]} == {
        "liked"
    }


def test_values_that_break_the_contract_pass_no_filter() -> None:
    record_id = min(DEPARTING_IDS)  # which openapi-core does not look at
    record: dict[str, Any] = {"id": record_id, "type": ["viewed"], "contextId": 1, "contextType": {}}
    sandbox = Sandbox(records={record_id: record})

    assert found({"actions": "viewed"}, sandbox=sandbox) == []
    assert found({"contentIds": "1" * 24}, sandbox=sandbox) == []
    assert found({"contentType": "content"}, sandbox=sandbox) == []
    assert found({"omitActions": "viewed"}, sandbox=sandbox) == [record_id]


def test_unknown_parameters_are_ignored() -> None:
    assert page("sort=asc&sort=desc&pages=0") == page()


@pytest.mark.parametrize("value", ["", "0", "-1", "1.0", "x", "+1", " 1", "1_0", "\u0663", "0x1", "1" * 1001])
@pytest.mark.parametrize("name", ["page", "perPage"])
def test_a_page_that_is_not_a_number_from_1_is_a_bad_request(name: str, value: str) -> None:
    upto = " to 1000" if name == "perPage" else ""
    assert refusal(urlencode({name: value})) == f"The parameter {name} is not a whole number from 1{upto}"


def test_a_page_has_at_most_1000_records() -> None:
    assert page("perPage=1000")["pagination"]["perPage"] == 1000
    assert refusal("perPage=1001") == "The parameter perPage is not a whole number from 1 to 1000"


@pytest.mark.parametrize(
    "value", ["", ",", "x", "f" * 23, "f" * 24 + ",", "g" * 24, "f" * 24 + ", " + "f" * 24]
)
def test_content_ids_that_are_not_hexadecimal_are_a_bad_request(value: str) -> None:
    assert "contentIds is not a comma-separated list of IDs with 24 hexadecimal digits" in refusal(
        urlencode({"contentIds": value})
    )


@pytest.mark.parametrize(
    "value",
    [
        "",
        "2020-01-01",
        "2020-01-01T00:00:00",
        "2020-01-01T00:00:00Z",
        "2020-01-01 00:00:00Z",
        "2020-01-01 00:00:00.000",
        "2020-01-01 24:00:00",
        "2020-01-01 00:00:60",
        "2020-02-30 00:00:00",
        "0000-01-01 00:00:00",
        "\u0662020-01-01 00:00:00",
        "1577836800",
    ],
)
@pytest.mark.parametrize("name", ["timestampFrom", "timestampTo"])
def test_a_malformed_time_is_a_bad_request(name: str, value: str) -> None:
    message = f"The parameter {name} is not a time such as 2020-01-31 23:59:59"
    assert refusal(urlencode({name: value})) == message


@pytest.mark.parametrize("value", ["0001-01-01 00:00:00", "9999-12-31 23:59:59"])
def test_the_first_and_the_last_moment_are_times(value: str) -> None:
    assert page({"timestampFrom": value})["pagination"]["totalResults"] == (34 if value < "1" else 0)
    assert page({"timestampTo": value})["pagination"]["totalResults"] == (0 if value < "1" else 34)


def test_a_repeated_parameter_is_a_bad_request() -> None:
    # The query of a generated client that ignores `explode: false`.
    message = "The parameter contentIds is repeated. Separate its values with commas"
    assert refusal(f"contentIds={'a' * 24}&contentIds={'b' * 24}") == message


def test_a_query_that_is_not_utf_8_is_a_bad_request() -> None:
    assert refusal("contentType=%ff") == "The query is not UTF-8"


@pytest.mark.parametrize("query", ["", "page=0", "perPage=1000"])
def test_head_is_answered_like_get_without_the_body(query: str) -> None:
    response, head = respond(query), respond(query, method="HEAD")

    assert (head.status, head.body) == (response.status, b"")
    assert head.headers["content-length"] == response.headers["content-length"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "get", ""])
def test_any_other_method_is_not_allowed(method: str) -> None:
    response = respond("page=0", method=method)

    assert response.status == 405
    assert response.headers["allow"] == "GET, HEAD"


def test_the_list_needs_credentials_before_its_query_is_read() -> None:
    for headers, status in (
        ({}, 401),
        ({"authorization": "Basic eDp5"}, 401),
        ({"authorization": "Bearer x"}, 401),
    ):
        request = SandboxRequest("GET", "/rest/v1/activities?page=0", headers)
        assert valid(request, SANDBOX.respond(request, now=NOW)).status == status


def test_records_that_break_the_contract_are_listed_as_well() -> None:
    assert set(found({})) > DEPARTING_IDS


def test_the_order_is_kept_for_the_next_page_and_recomputed_for_other_records() -> None:
    first = page()
    more = SANDBOX.with_records({"f" * 24: {"id": "f" * 24, "date": "2026-01-01T00:00:00Z"}})

    assert page(sandbox=more)["results"][0]["id"] == "f" * 24
    assert page() == first
    assert page(sandbox=more.with_records({}, without="f" * 24)) == first
    assert more.with_arrived(Arrived(late=1)) != more


def test_the_number_of_generated_records_is_checked() -> None:
    for generated in (-1, 10**10):
        with pytest.raises(
            ValueError, match=f"generated is {generated}. Choose a number from 0 to 9999999999"
        ):
            Sandbox(generated=generated)
    assert page("page=9999999999&perPage=1", sandbox=Sandbox(records={}, generated=10**10 - 1))["results"]


def test_a_generated_record_can_be_got_by_its_id() -> None:
    sandbox = Sandbox(generated=1500)
    for record in page("perPage=1000", sandbox=sandbox)["results"][::97]:
        request = SandboxRequest("GET", f"/rest/v1/activity/{record['id'].upper()}", AUTHORIZATION)
        assert json.loads(valid(request, sandbox.respond(request, now=NOW)).body) == record
