"""Types of `ActivityResult`. mypy and pyright read this file, and pytest runs it."""

from collections.abc import Iterable
from typing import assert_never, assert_type

import pytest

from thrive_learning import (
    Activity,
    ActivityFailed,
    ActivityFound,
    ActivityPage,
    ActivityResult,
    ActivityStream,
    ActivityType,
    AsyncActivityStream,
    AsyncThriveClient,
    Pagination,
    ThriveClient,
    ThriveError,
)

IDS = ["60d5ec49b60b4b3a2c8f9a10", "none"]


def by_activity(result: ActivityResult) -> str:
    if result.activity is None:
        assert_type(result.error, ThriveError)
        return str(result.error)
    assert_type(result.activity, Activity)
    assert_type(result.error, None)
    return result.activity.id


def by_error(result: ActivityResult) -> str:
    if result.error is not None:
        assert_type(result.error, ThriveError)
        assert_type(result.activity, None)
        return str(result.error)
    return result.activity.id


def by_truth(result: ActivityResult) -> str:
    return str(result.error) if not result.activity else result.activity.id


def by_class(result: ActivityResult) -> str:
    if isinstance(result, ActivityFound):
        return result.activity.id
    return str(result.error)


def by_match(result: ActivityResult) -> str:
    match result:
        case ActivityFound(activity=activity):
            return activity.id
        case ActivityFailed(error=error):
            return str(error)
        case _:
            assert_never(result)


def described(results: Iterable[ActivityResult]) -> list[list[str]]:
    return [
        [way(result) for result in results] for way in (by_activity, by_error, by_truth, by_class, by_match)
    ]


def streamed(client: ThriveClient) -> list[str]:
    with client.activities.iterate(types=[ActivityType.VIEWED, "of our own"], per_page=5) as stream:
        assert_type(stream, ActivityStream)
        for activity in stream:
            assert_type(activity, Activity)
            assert_type(stream.pagination, Pagination | None)
    return sorted(activity.id for activity in client.activities.iterate())


async def streamed_async(client: AsyncThriveClient) -> list[str]:
    async with client.activities.iterate() as stream:
        assert_type(stream, AsyncActivityStream)
        async for activity in stream:
            assert_type(activity, Activity)
    page = await client.activities.list(per_page=5)
    assert_type(page, ActivityPage)
    assert_type(page.results, tuple[Activity, ...])
    assert_type(page.pagination.total_pages, int | None)
    return [activity.id async for activity in client.activities.iterate(content_type="content")]


async def first_of(client: AsyncThriveClient) -> ActivityResult:
    async for result in client.activities.get_many(IDS):
        if result.error is None:
            assert_type(result.activity, Activity)
        return result
    raise AssertionError


def test_a_result_narrows_in_each_way() -> None:
    with ThriveClient.sandbox() as client:
        ways = described(list(client.activities.get_many(IDS, ordered=True)))
    assert ways == [ways[0]] * 5
    assert ways[0][0] == IDS[0]
    assert "none" in ways[0][1]


@pytest.mark.anyio
async def test_streams_and_pages_hold_records() -> None:
    with ThriveClient.sandbox() as client:
        assert len(streamed(client)) > 5
    async with AsyncThriveClient.sandbox() as client:
        assert await streamed_async(client)
