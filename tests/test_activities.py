"""The list of activity records: every filter, as it is sent to the real URLs and as the sandbox reads it."""

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest
import respx
from harness import ACTIVITY_ID, BASIC, OAUTH, TENANT_ID, Flavour, token_response
from test_client import HOSTS

from thrive_learning import (
    ActivityPage,
    ActivityType,
    BadRequestError,
    InvalidIdError,
    NotFoundError,
    Pagination,
    Region,
)
from thrive_learning.testing import ThriveSandbox

UTC = dt.UTC
EAST = dt.timezone(dt.timedelta(hours=5, minutes=30))
OTHER_ID = "60D5EC49B60B4B3A2C8F9A1F"
BODY = {
    "pagination": {"totalResults": 34223, "totalPages": 1, "page": 1, "perPage": 100},
    "results": [{"id": ACTIVITY_ID}],
}

#: Filters, and what a request says of them.
FILTERS: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, ""),
    "one type": ({"types": [ActivityType.VIEWED]}, "&actions=viewed"),
    "types": ({"types": ("viewed", "of our own")}, "&actions=viewed%2Cof%20our%20own"),
    "types to leave out": ({"omit_types": iter(["viewed", "loggedin"])}, "&omitActions=viewed%2Cloggedin"),
    "a type to encode": ({"types": ["a+b&c=d%é/?#"]}, "&actions=a%2Bb%26c%3Dd%25%C3%A9%2F%3F%23"),
    "content IDs": (
        {"content_ids": [ACTIVITY_ID, OTHER_ID, ACTIVITY_ID]},
        f"&contentIds={ACTIVITY_ID}%2C{OTHER_ID.lower()}",
    ),
    "a type of content": ({"content_type": "content"}, "&contentType=content"),
    "since": (
        {"since": dt.datetime(2026, 1, 1, 5, 30, 0, 999999, tzinfo=EAST)},
        "&timestampFrom=2026-01-01%2000%3A00%3A00",
    ),
    "until": (
        {"until": dt.datetime(2026, 1, 1, 5, 30, 0, 1, tzinfo=EAST)},
        "&timestampTo=2026-01-01%2000%3A00%3A01",
    ),
    "all": (
        {
            "omit_types": ["viewed"],
            "content_ids": [ACTIVITY_ID],
            "content_type": "content",
            "since": dt.datetime(999, 1, 1, tzinfo=UTC),
            "until": dt.datetime(2026, 1, 1, tzinfo=UTC),
        },
        (
            f"&omitActions=viewed&contentIds={ACTIVITY_ID}&contentType=content"
            "&timestampFrom=0999-01-01%2000%3A00%3A00&timestampTo=2026-01-01%2000%3A00%3A00"
        ),
    ),
}


@pytest.fixture
def network() -> Iterator[respx.MockRouter]:
    """Mock what httpx's own transports send, so that the client's real transport is used."""
    with respx.mock(assert_all_mocked=True, assert_all_called=True) as router:
        yield router


def freshly(name: str) -> tuple[dict[str, Any], str]:
    given, sent = FILTERS[name]
    if name == "types to leave out":
        given = {"omit_types": iter(["viewed", "loggedin"])}
    return given, sent


@pytest.mark.parametrize("region", HOSTS, ids=str)
@pytest.mark.parametrize("name", FILTERS)
def test_the_query_of_a_list(flavour: Flavour, network: respx.MockRouter, region: Region, name: str) -> None:
    route = network.get(url__startswith=f"https://{HOSTS[region]}/rest/v1/activities").respond(200, json=BODY)
    given, sent = freshly(name)
    with flavour.open(region, BASIC) as client:
        page = client.activities.list(**given)
        paged = client.activities.list(page=3, per_page=1000)
    assert page == paged == ActivityPage.from_dict(BODY)
    queries = [call.request.url.query.decode() for call in route.calls]
    assert queries == [f"page=1&perPage=100{sent}", "page=3&perPage=1000"]
    assert {call.request.url.raw_path.partition(b"?")[0] for call in route.calls} == {b"/rest/v1/activities"}
    assert {call.request.content for call in route.calls} == {b""}


@pytest.mark.parametrize("region", HOSTS, ids=str)
@pytest.mark.parametrize("name", FILTERS)
def test_the_queries_of_a_walk(
    flavour: Flavour, network: respx.MockRouter, region: Region, name: str
) -> None:
    tokens = network.post(f"https://{HOSTS[region]}/oauth2/token/{TENANT_ID}").mock(
        return_value=token_response()
    )
    route = network.get(url__startswith=f"https://{HOSTS[region]}/rest/v1/activities").respond(200, json=BODY)
    given, sent = freshly(name)
    with flavour.open(region, OAUTH) as client:
        stream = client.activities.iterate(**given)
        assert [record.id for record in stream] == [ACTIVITY_ID]
    if "timestampTo" not in sent:
        sent += f"&timestampTo={stream.until:%Y-%m-%d%%20%H%%3A%M%%3A%S}"
    assert route.calls.last.request.url.query.decode() == f"page=1&perPage=1000{sent}"
    assert route.calls.last.request.headers["authorization"] == "Bearer fake-token"
    assert (route.call_count, tokens.call_count) == (1, 1)


def test_an_invalid_content_id_sends_nothing(flavour: Flavour, network: respx.MockRouter) -> None:
    with flavour.open(Region.PRODUCTION, BASIC) as client:
        for call in (client.activities.list, client.activities.iterate):
            with pytest.raises(InvalidIdError):
                call(content_ids=["507f1f77bcf86cd79943901"])
    assert not network.calls


@pytest.mark.parametrize(("status", "kind"), [(400, BadRequestError), (404, NotFoundError)])
def test_an_error_of_a_list_is_about_the_list(
    flavour: Flavour, network: respx.MockRouter, status: int, kind: type[Exception]
) -> None:
    network.get(path="/rest/v1/activities").respond(status, json={"status": status, "message": "m"})
    with flavour.open("staging", BASIC) as client:
        for call in (lambda: client.activities.list(page=7), lambda: list(client.activities.iterate(page=7))):
            with pytest.raises(kind, match="page 7 of the activities") as caught:
                call()
            for word in ("ID;", "the ID", "record is", "such record"):
                assert word not in str(caught.value)
            assert getattr(caught.value, "url", None) == f"https://{HOSTS[Region.STAGING]}/rest/v1/activities"
            advice = "Check the arguments and the region"
            assert (advice in str(caught.value)) is (status == 404)


# As the sandbox reads it


@pytest.fixture(scope="module")
def sandbox() -> ThriveSandbox:
    sandbox = ThriveSandbox()
    sandbox.generate(400)
    return sandbox


def opened(flavour: Flavour, sandbox: ThriveSandbox) -> Any:
    return flavour.open(sandbox.region, sandbox.credentials, transport=sandbox.transport)


def test_filters_of_the_sandbox(flavour: Flavour, sandbox: ThriveSandbox) -> None:
    with opened(flavour, sandbox) as client:
        records = [record for record in client.activities.iterate(per_page=150) if record.date is not None]
        assert len(records) > 300
        middle = records[len(records) // 2]
        assert middle.date is not None
        whole = middle.date.replace(microsecond=0)
        contents = [record.context_id for record in records if record.context_id is not None][:3]
        kinds = [ActivityType.VIEWED, "completed"]
        second = dt.timedelta(seconds=1)
        cases: list[tuple[dict[str, Any], Any]] = [
            ({"types": kinds}, lambda record: record.type in kinds),
            ({"omit_types": kinds}, lambda record: record.type not in kinds),
            ({"content_ids": contents}, lambda record: record.context_id in contents),
            (
                {"content_ids": [text.upper() for text in contents]},
                lambda record: record.context_id in contents,
            ),
            ({"content_type": "content"}, lambda record: record.context_type == "content"),
            ({"since": middle.date.astimezone(EAST)}, lambda record: record.date > whole),
            ({"until": middle.date.astimezone(EAST)}, lambda record: record.date < whole + second),
            (
                {"since": middle.date, "until": middle.date + second, "omit_types": ["nothing"]},
                lambda record: whole < record.date < whole + 2 * second,
            ),
        ]
        for given, passes in cases:
            expected = [record.id for record in records if passes(record)]
            assert expected
            assert [record.id for record in client.activities.iterate(per_page=90, **given)] == expected
            window = given if "until" in given else given | {"until": dt.datetime.now(UTC)}
            page = client.activities.list(per_page=5, page=1, **window)
            assert [record.id for record in page] == expected[:5]
            assert page.pagination.total_results == len(expected)
            assert (page.pagination.page, page.pagination.per_page) == (1, 5)


def test_pages_of_the_sandbox(flavour: Flavour, sandbox: ThriveSandbox) -> None:
    with opened(flavour, sandbox) as client:
        first = client.activities.list()
        assert len(first) == 100
        pages = [client.activities.list(page=number) for number in (1, 2)]
        assert pages[0] == first
        assert not {record.id for record in pages[0]} & {record.id for record in pages[1]}
        beyond = client.activities.list(page=10**6, per_page=1)
        assert not beyond
        assert beyond.pagination == Pagination(
            total_results=first.pagination.total_results,
            total_pages=first.pagination.total_results,
            page=10**6,
            per_page=1,
        )
