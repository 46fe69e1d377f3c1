"""What type checkers say of the protocols: mypy and pyright read this file, and pytest runs it.

A comment that ignores an error is an error of mypy's where there is none: so it shows that fakes which are
wrong are refused.
"""

import pytest

from thrive_learning import Activity, AsyncThriveClient, RetryPolicy, ThriveClient, Timeout
from thrive_learning.testing import AsyncThriveClientProtocol, ThriveClientProtocol, make_activity

ID = "60d5ec49b60b4b3a2c8f9a10"


def user_of(client: ThriveClientProtocol, activity_id: str) -> str | None:
    return client.activities.get(activity_id, timeout=5.0, retry=RetryPolicy(attempts=1)).user


async def user_of_async(client: AsyncThriveClientProtocol, activity_id: str) -> str | None:
    return (await client.activities.get(activity_id, timeout=Timeout(total=5))).user


class FakeActivities:
    def get(
        self, activity_id: str, *, timeout: Timeout | float | None = None, retry: RetryPolicy | None = None
    ) -> Activity:
        assert timeout is not None
        assert retry is not None
        return make_activity(id=activity_id, user="f" * 24)


class FakeClient:
    activities = FakeActivities()


class FakeAsyncActivities:
    async def get(
        self, activity_id: str, *, timeout: Timeout | float | None = None, retry: RetryPolicy | None = None
    ) -> Activity:
        return FakeActivities().get(activity_id, timeout=timeout, retry=retry or RetryPolicy())


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
    assert user_of(FakeClient(), ID) == "f" * 24


@pytest.mark.anyio
async def test_the_async_client_and_a_fake_fit() -> None:
    async with AsyncThriveClient.sandbox() as client:
        assert await user_of_async(client, ID) == "60d5ec49b60b4b3a2c8f9a11"
    assert await user_of_async(FakeAsyncClient(), ID) == "f" * 24


def test_what_is_wrong_does_not_fit() -> None:
    with pytest.raises(TypeError):
        user_of(WrongClient(), ID)  # type: ignore[arg-type]
    twisted: ThriveClientProtocol = FakeAsyncClient()  # type: ignore[assignment]
    assert isinstance(twisted, FakeAsyncClient)
