"""The server of the benchmark of a cluster: its pages are those of a server that filters a list."""

import datetime as dt
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.cluster import page_server, settings
from benchmarks.page_server import FIRST, INTERVAL_MS, Store, record_id, window
from thrive_learning import ThriveClient

RECORDS = 250
STORE = Store.of(RECORDS)
DATES = [FIRST + number * dt.timedelta(milliseconds=INTERVAL_MS) for number in range(RECORDS)]


def page(**query: object) -> Any:
    head, listed, tail = STORE.page({name: str(value) for name, value in query.items()})
    head, _, body = (head + bytes(listed) + tail).partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    return json.loads(body)


def shown(moment: dt.datetime) -> str:
    return moment.replace(tzinfo=None).isoformat(" ", "seconds")


moments = st.integers(-100, RECORDS * INTERVAL_MS // 1000 + 100).map(
    lambda seconds: FIRST.replace(microsecond=0) + dt.timedelta(seconds=seconds)
)


@given(moments | st.none(), moments | st.none(), st.integers(1, 300), st.integers(1, 4))
def test_a_page_has_the_newest_records_of_its_window(
    since: dt.datetime | None, until: dt.datetime | None, size: int, number: int
) -> None:
    times = {"timestampFrom": since, "timestampTo": until}
    query = {name: shown(moment) for name, moment in times.items() if moment is not None}
    found = page(page=number, perPage=size, **query)
    expected = [
        record_id(index)
        for index in reversed(range(RECORDS))
        if (since is None or DATES[index] > since) and (until is None or DATES[index] < until)
    ]
    assert found["pagination"] == {
        "totalResults": len(expected),
        "totalPages": -(-len(expected) // size),
        "page": number,
        "perPage": size,
    }
    assert [record["id"] for record in found["results"]] == expected[(number - 1) * size : number * size]


def test_records_have_their_dates() -> None:
    assert [dt.datetime.fromisoformat(record["date"]) for record in page(perPage=1000)["results"]] == DATES[
        ::-1
    ]


@pytest.mark.parametrize("oauth", [True, False], ids=["OAuth", "Basic"])
def test_a_client_reads_each_record_once(monkeypatch: pytest.MonkeyPatch, *, oauth: bool) -> None:
    since, until = window(RECORDS)
    with page_server(RECORDS) as origin:
        for name, value in settings(origin).items():
            monkeypatch.setenv(name if oauth else name.replace("CLIENT_SECRET", "API_SECRET"), value)
        with ThriveClient.from_env() as client:
            ids = [record.id for record in client.activities.iterate(since=since, until=until, per_page=100)]
    assert ids == [record_id(number) for number in reversed(range(RECORDS))]
