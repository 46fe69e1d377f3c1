"""Which export of a period is resumed, and at which page."""

import datetime as dt
from typing import Any

import pytest

from thrive_learning._filters import ActivityFilters
from thrive_learning.cli.export.journal import Position
from thrive_learning.cli.export.query import (
    PeriodQuery,
    filters_document,
    first_page,
    parse_stored_time,
    stamp,
)
from thrive_learning.errors import ConfigurationError

BEGIN = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)


def query(
    days: int = 0, since_asked: str = "7d", until_asked: str | None = None, **filters: Any
) -> PeriodQuery:
    since, until = BEGIN + days * DAY, BEGIN + (days + 7) * DAY
    return PeriodQuery(ActivityFilters(since=since, until=until, **filters), since_asked, until_asked)


def test_the_period_of_a_resumed_export_is_that_of_its_first_run() -> None:
    begun, later = query(types=("viewed", "completed")), query(days=1, types=("completed", "viewed"))
    resumed = later.resuming({**begun.document(), "per_page": 500})
    assert (resumed.since, resumed.until, resumed.per_page) == (begun.since, begun.until, 500)
    assert resumed.document() == {**begun.document(), "per_page": 500}


@pytest.mark.parametrize(
    "stored",
    [
        {},
        query(since_asked="8d").document(),
        query(until_asked="1h").document(),
        query(types=("viewed",)).document(),
        query(omit_types=("viewed",)).document(),
        query(content_ids=("0" * 24,)).document(),
        query(content_type="x").document(),
        {**query().document(), "has_state": True},
        {**query().document(), "since": "yesterday"},
        {**query().document(), "since": 5},
        {**query().document(), "per_page": None},
    ],
)
def test_an_export_with_other_options_is_not_resumed(stored: dict[str, Any]) -> None:
    mine = query(days=1)
    assert mine.resuming(stored) is mine


def test_a_resumed_export_reads_a_few_pages_again() -> None:
    assert [first_page(Position(0, page)) for page in (1, 3, 4, 5, 900)] == [1, 1, 1, 2, 897]


def test_parts_of_different_exports_have_different_names() -> None:
    tags = {query(days=days, types=types).tag() for days in (0, 1) for types in ((), ("viewed",))}
    assert len(tags) == 4
    assert query().tag() == query().tag()
    assert query().tag().startswith("20260108T000000Z-")
    assert stamp(BEGIN) == "20260101T000000Z"


def test_filters_in_another_order_are_the_same() -> None:
    first = ActivityFilters(types=("a", "b"), content_ids=("1", "2"))
    second = ActivityFilters(types=("b", "a"), content_ids=("2", "1"), since=BEGIN)
    assert filters_document(first) == filters_document(second)


def test_a_time_of_our_files_has_a_time_zone() -> None:
    assert parse_stored_time(BEGIN.isoformat()) == BEGIN
    for text in ("2026-01-01", "x", None, 5):
        with pytest.raises(ConfigurationError, match="its time"):
            parse_stored_time(text)
