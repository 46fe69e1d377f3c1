"""What type checkers say of `ActivityResult`: mypy and pyright read this file, and pytest runs it."""

from collections.abc import Iterable
from typing import assert_never, assert_type

from thrive_learning import (
    Activity,
    ActivityFailed,
    ActivityFound,
    ActivityResult,
    AsyncThriveClient,
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
