"""Warnings about types in filters that are not documented."""

import datetime as dt
import logging
from collections.abc import Iterator

import httpx
import pytest
from harness import Flavour

from thrive_learning import ActivityType
from thrive_learning._documented_types import _report

SINCE = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


@pytest.fixture(autouse=True)
def unreported() -> Iterator[None]:
    _report.cache_clear()
    yield
    _report.cache_clear()


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "thrive_learning.filters"]


def empty_list(_request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json={"results": [], "pagination": {"totalResults": 0}})


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        pytest.param("vewed", "Did you mean 'viewed'?", id="typo"),
        pytest.param("Completed", "Did you mean 'completed'?", id="case"),
        pytest.param("xyz", "Check its spelling if no records match.", id="nothing-similar"),
    ],
)
def test_an_undocumented_type_is_sent_and_logged_once(
    flavour: Flavour, caplog: pytest.LogCaptureFixture, name: str, advice: str
) -> None:
    sent: list[str] = []

    def respond(request: httpx.Request) -> httpx.Response:
        sent.append(request.url.params.get("actions") or request.url.params["omitActions"])
        return empty_list(request)

    with flavour.answering(respond) as client:
        for _ in range(2):
            assert not client.activities.list(types=[name])
            assert not list(client.activities.iterate(omit_types=[name], since=SINCE))
    assert sent == [name] * 4
    assert warnings_in(caplog) == [f"{name!r} is not a documented type. {advice}"]
    [record] = [record for record in caplog.records if record.name == "thrive_learning.filters"]
    assert record.levelno == logging.WARNING
    assert vars(record)["thrive_type"] == name


def test_each_of_the_methods_reports_it(flavour: Flavour, caplog: pytest.LogCaptureFixture) -> None:
    with flavour.answering(empty_list) as client:
        assert not client.activities.list(omit_types=["vewed"])
        assert not list(client.activities.iterate(types=["compleeted"], since=SINCE))
    assert len(warnings_in(caplog)) == 2


def test_documented_types_are_not_reported(flavour: Flavour, caplog: pytest.LogCaptureFixture) -> None:
    with flavour.answering(empty_list) as client:
        assert not client.activities.list(types=[*ActivityType])
        assert not client.activities.list(types=[str(name) for name in ActivityType])
    assert warnings_in(caplog) == []
