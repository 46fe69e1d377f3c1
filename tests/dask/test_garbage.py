"""While a partition is read, the garbage collector ignores older objects, and only then."""

import gc
from collections.abc import Iterator

import httpx
import pytest

from tests.dask.test_reading import period, reads
from thrive_learning._cluster.garbage import ignoring_older_objects
from thrive_learning._cluster.reading import plan_parts, read_ids, read_part


@pytest.fixture(autouse=True)
def _nothing_ignored() -> Iterator[None]:
    gc.unfreeze()
    yield
    gc.unfreeze()


def test_overlapping_blocks_end_with_the_last_one() -> None:
    first, second = ignoring_older_objects(), ignoring_older_objects()
    with first:
        assert gc.get_freeze_count() > 1000
        second.__enter__()
    assert gc.get_freeze_count() > 1000
    second.__exit__(None, None, None)
    assert gc.get_freeze_count() == 0
    with ignoring_older_objects():
        assert gc.get_freeze_count() > 1000


def test_the_choice_of_the_program_stays() -> None:
    gc.freeze()
    later: list[list[int]] = [[] for _ in range(10_000)]  # which a second gc.freeze() would add
    ignored = gc.get_freeze_count()
    with ignoring_older_objects():
        assert gc.get_freeze_count() <= ignored
    assert gc.get_freeze_count() > 1000
    del later


def test_what_python_itself_freezes_is_not_the_choice_of_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patches:
        patches.setattr(gc, "get_freeze_count", lambda: 375)  # as in a new process of Python 3.12
        block = ignoring_older_objects()
        block.__enter__()
    assert gc.get_freeze_count() > 1000
    block.__exit__(None, None, None)
    assert gc.get_freeze_count() == 0


def test_partitions_are_read_in_such_a_block() -> None:
    counts: list[int] = []

    def respond(request: httpx.Request) -> httpx.Response:
        counts.append(gc.get_freeze_count())
        record = {"id": "0" * 24, "date": "2025-01-01T00:00:01Z"}
        page = {"pagination": {"totalResults": 1, "totalPages": 1}, "results": [record]}
        return httpx.Response(200, json=page if request.url.path.endswith("/activities") else record)

    with reads(respond) as client:
        (part,) = plan_parts(client, period(0, 9), 10)
        assert not any(counts)
        counts.clear()
        read_part(client, part)
        read_ids(client, ["0" * 24])
    assert len(counts) == 2
    assert all(counts)
    assert gc.get_freeze_count() == 0
