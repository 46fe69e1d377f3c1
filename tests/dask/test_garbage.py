"""While a large partition is read, the garbage collector ignores older objects, and only then."""

import contextlib
import datetime as dt
import gc
import os
import signal
from collections.abc import Iterator

import httpx
import pytest
from harness import BASIC

from thrive_learning import Region, ThriveClient
from thrive_learning._cluster import garbage
from thrive_learning._cluster.garbage import ignoring_older_objects
from thrive_learning._cluster.reading import plan_parts, read_part
from thrive_learning._filters import ActivityFilters


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


def test_a_few_frozen_objects_are_those_of_python(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patches:
        patches.setattr(gc, "get_freeze_count", lambda: 375)  # as in a new process of Python 3.12
        block = ignoring_older_objects()
        block.__enter__()
    assert gc.get_freeze_count() > 1000
    block.__exit__(None, None, None)
    assert gc.get_freeze_count() == 0


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("is_locked", [False, True], ids=["reading", "beginning"])
def test_a_forked_child_looks_at_all_objects_again(*, is_locked: bool) -> None:
    """A child has no thread that would end a block, or release the lock."""
    block = ignoring_older_objects()
    block.__enter__()
    with garbage._blocks.lock if is_locked else contextlib.nullcontext():
        child = os.fork()
        if not child:
            code = 1
            signal.alarm(60)  # ends a child that hangs
            try:
                before = gc.get_freeze_count()
                with ignoring_older_objects():
                    meanwhile = gc.get_freeze_count()
                block.__exit__(None, None, None)  # if it was the thread of the block that has forked
                with ignoring_older_objects():
                    again = gc.get_freeze_count()
                counts = [before, meanwhile > 1000, again > 1000, gc.get_freeze_count()]
                code = counts != [0, True, True, 0]
            finally:
                os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert gc.get_freeze_count() > 1000
    block.__exit__(None, None, None)
    assert gc.get_freeze_count() == 0


def test_the_block_of_a_forked_child_has_ended() -> None:
    block = ignoring_older_objects()
    garbage._after_fork()
    with block:
        assert gc.get_freeze_count() > 1000
        garbage._after_fork()
        assert gc.get_freeze_count() == 0
        gc.freeze()  # the choice of the program in the child
    assert gc.get_freeze_count() > 1000


@pytest.mark.parametrize("records", [9_999, 10_000])
def test_large_partitions_are_read_in_such_a_block(records: int) -> None:
    counts: list[int] = []

    def respond(_request: httpx.Request) -> httpx.Response:
        counts.append(gc.get_freeze_count())
        record = {"id": "0" * 24, "date": "2025-01-01T00:00:01Z"}
        pagination = {"totalResults": records, "totalPages": 1}
        return httpx.Response(200, json={"pagination": pagination, "results": [record]})

    begin = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)
    filters = ActivityFilters(since=begin, until=begin + dt.timedelta(days=1))
    with ThriveClient(Region.PRODUCTION, BASIC, transport=httpx.MockTransport(respond)) as client:
        (part,) = plan_parts(client, filters, 100_000)
        assert not any(counts)
        counts.clear()
        read_part(client, part)
    assert len(counts) == 1
    assert any(counts) is (records >= 10_000)
    assert gc.get_freeze_count() == 0
