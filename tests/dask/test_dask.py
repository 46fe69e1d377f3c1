"""`thrive_learning.dask`: DataFrames of a period and of IDs, with schedulers in this process."""

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest
from list_server import BEGIN, ListServer, listing

dask: Any = pytest.importorskip("dask")
dd: Any = pytest.importorskip("dask.dataframe")
pytest.importorskip("distributed")

from thrive_learning.dask import read_activities  # noqa: E402 - needs the extra

DAY = dt.timedelta(days=1)
TYPES = {
    "id": "string",
    "type": "string",
    "user": "string",
    "date": "datetime64[us, UTC]",
    "contextId": "string",
    "contextType": "string",
    "name": "string",
    "data": "string",
    "with": "string",
    "extra": "string",
}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ListServer]:
    """2,000 records, one a second, and the settings with which clients find them."""
    with listing(2000) as served, dask.config.set(scheduler="synchronous"):
        for name, value in served.environment.items():
            monkeypatch.setenv(name, value)
        yield served


def test_a_period_is_read_in_parts_with_the_documented_types(server: ListServer) -> None:
    frame: Any = read_activities(BEGIN, BEGIN + DAY, rows_per_partition=500)
    planning = len(server.requests)
    assert frame.npartitions == 5
    assert planning <= 15
    assert frame.known_divisions is False
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == TYPES
    found = frame.compute()
    assert {name: str(dtype) for name, dtype in found.dtypes.items()} == TYPES
    assert all(found[name].dtype.storage == "pyarrow" for name in TYPES if name != "date")
    assert sorted(found["id"]) == sorted(server.ids)
    assert len(server.requests) == planning + 5


def test_an_empty_period_has_one_empty_partition(server: ListServer) -> None:
    frame: Any = read_activities(BEGIN - DAY, BEGIN - DAY / 2)
    assert len(server.requests) == 1
    assert frame.npartitions == 1
    found = frame.compute()
    assert len(found) == 0
    assert {name: str(dtype) for name, dtype in found.dtypes.items()} == TYPES
