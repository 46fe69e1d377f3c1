"""Types of the protocols. mypy and pyright read this file, and pytest runs it.

A comment that ignores an error is an error of mypy if the line has no error. So it shows that fakes which are
wrong are refused.
"""

import datetime as dt
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import assert_type

import pytest

from thrive_learning import (
    Activity,
    ActivityPage,
    ActivityType,
    AsyncThriveClient,
    RetryPolicy,
    ThriveClient,
    Timeout,
)
from thrive_learning.testing import AsyncThriveClientProtocol, ThriveClientProtocol, make_activity

ID = "60d5ec49b60b4b3a2c8f9a10"
NEW_YEAR = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)


def user_of(client: ThriveClientProtocol, activity_id: str) -> str | None:
    return client.activities.get(activity_id, timeout=5.0, retry=RetryPolicy(attempts=1)).user


async def user_of_async(client: AsyncThriveClientProtocol, activity_id: str) -> str | None:
    return (await client.activities.get(activity_id, timeout=Timeout(total=5))).user


def users(client: ThriveClientProtocol) -> tuple[list[str | None], list[str | None]]:
    page = client.activities.list(types=["viewed"], per_page=3)
    assert_type(page[0], Activity)
    assert_type(page[:2], tuple[Activity, ...])
    for activity in page:
        assert_type(activity, Activity)
    streamed = client.activities.iterate(types=["viewed"], since=NEW_YEAR)
    assert_type(next(streamed), Activity)
    return [activity.user for activity in page], [activity.user for activity in streamed]


async def users_async(client: AsyncThriveClientProtocol) -> list[str | None]:
    page = await client.activities.list(types=["viewed"], per_page=3)
    assert_type(page, ActivityPage)
    streamed = client.activities.iterate(types=[activity.type or "" for activity in page])
    return [activity.user async for activity in streamed]


class FakeActivities:
    def get(
        self, activity_id: str, *, timeout: Timeout | float | None = None, retry: RetryPolicy | None = None
    ) -> Activity:
        assert timeout is not None
        assert retry is not None
        return make_activity(id=activity_id, user="f" * 24)

    def list(self, *, types: Iterable[ActivityType | str] = (), **_filters: object) -> ActivityPage:
        return ActivityPage(results=tuple(self.iterate(types=types)))

    def iterate(self, *, types: Iterable[ActivityType | str] = (), **_filters: object) -> Iterator[Activity]:
        return (make_activity(user=f"{kind}") for kind in types)


class FakeClient:
    activities = FakeActivities()


class FakeAsyncActivities:
    async def get(
        self, activity_id: str, *, timeout: Timeout | float | None = None, retry: RetryPolicy | None = None
    ) -> Activity:
        return FakeActivities().get(activity_id, timeout=timeout, retry=retry or RetryPolicy())

    async def list(self, *, types: Iterable[ActivityType | str] = (), **_filters: object) -> ActivityPage:
        return FakeActivities().list(types=types)

    async def iterate(
        self, *, types: Iterable[ActivityType | str] = (), **_filters: object
    ) -> AsyncIterator[Activity]:
        for activity in FakeActivities().iterate(types=types):
            yield activity


class FakeAsyncClient:
    def __init__(self) -> None:
        self.activities = FakeAsyncActivities()


class WrongActivities:
    def get(self, activity_id: int) -> str:
        return str(activity_id)


class WrongClient:
    activities = WrongActivities()


def test_the_client_and_a_fake_fit() -> None:
    with ThriveClient.sandbox() as client:
        assert user_of(client, ID) == "60d5ec49b60b4b3a2c8f9a11"
        on_page, streamed = users(client)
        assert len(on_page) == 3
        assert streamed
    assert user_of(FakeClient(), ID) == "f" * 24
    assert users(FakeClient()) == (["viewed"], [])


@pytest.mark.anyio
async def test_the_async_client_and_a_fake_fit() -> None:
    async with AsyncThriveClient.sandbox() as client:
        assert await user_of_async(client, ID) == "60d5ec49b60b4b3a2c8f9a11"
        assert await users_async(client)
    assert await users_async(FakeAsyncClient()) == ["viewed"]  # the type that made-up records have
    assert await user_of_async(FakeAsyncClient(), ID) == "f" * 24


def test_wrong_types_do_not_fit() -> None:
    with pytest.raises(TypeError):
        user_of(WrongClient(), ID)  # type: ignore[arg-type]
    twisted: ThriveClientProtocol = FakeAsyncClient()  # type: ignore[assignment]
    assert isinstance(twisted, FakeAsyncClient)
