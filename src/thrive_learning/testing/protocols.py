"""Protocols of a client for code that reads records, so that tests can inject a fake.

They have the methods that most services use, so that a fake stays small. A service that uses more of the
client can extend them, or use the sandbox, which supports the whole client.
"""

import datetime as dt
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Protocol

from thrive_learning.models import Activity, ActivityPage, ActivityType
from thrive_learning.policies import RetryPolicy, Timeout


class ActivitiesProtocol(Protocol):
    """The `activities` of a `ThriveClientProtocol`."""

    def get(
        self, activity_id: str, *, timeout: Timeout | float | None = None, retry: RetryPolicy | None = None
    ) -> Activity:
        """Get one activity record. See `Activities.get`."""
        ...

    def list(  # noqa: PLR0913 - the filters of the API
        self,
        *,
        page: int = 1,
        per_page: int = 100,
        types: Iterable[ActivityType | str] = (),
        omit_types: Iterable[ActivityType | str] = (),
        content_ids: Iterable[str] = (),
        content_type: str | None = None,
        since: dt.datetime | None = None,
        until: dt.datetime | None = None,
        timeout: Timeout | float | None = None,
        retry: RetryPolicy | None = None,
    ) -> ActivityPage:
        """Get one page of the activity records that match all filters. See `Activities.list`."""
        ...

    def iterate(  # noqa: PLR0913 - the filters of the API
        self,
        *,
        page: int = 1,
        per_page: int = 1000,
        types: Iterable[ActivityType | str] = (),
        omit_types: Iterable[ActivityType | str] = (),
        content_ids: Iterable[str] = (),
        content_type: str | None = None,
        since: dt.datetime | None = None,
        until: dt.datetime | None = None,
        timeout: Timeout | float | None = None,
        retry: RetryPolicy | None = None,
    ) -> Iterator[Activity]:
        """Get all activity records that match all filters. See `Activities.iterate`."""
        ...


class ThriveClientProtocol(Protocol):
    """A `ThriveClient`, or a fake of one."""

    @property
    def activities(self) -> ActivitiesProtocol:
        """Reads activity records."""
        ...


class AsyncActivitiesProtocol(Protocol):
    """The `activities` of an `AsyncThriveClientProtocol`."""

    async def get(
        self, activity_id: str, *, timeout: Timeout | float | None = None, retry: RetryPolicy | None = None
    ) -> Activity:
        """Get one activity record. See `AsyncActivities.get`."""
        ...

    async def list(  # noqa: PLR0913 - the filters of the API
        self,
        *,
        page: int = 1,
        per_page: int = 100,
        types: Iterable[ActivityType | str] = (),
        omit_types: Iterable[ActivityType | str] = (),
        content_ids: Iterable[str] = (),
        content_type: str | None = None,
        since: dt.datetime | None = None,
        until: dt.datetime | None = None,
        timeout: Timeout | float | None = None,
        retry: RetryPolicy | None = None,
    ) -> ActivityPage:
        """Get one page of the activity records that match all filters. See `AsyncActivities.list`."""
        ...

    def iterate(  # noqa: PLR0913 - the filters of the API
        self,
        *,
        page: int = 1,
        per_page: int = 1000,
        types: Iterable[ActivityType | str] = (),
        omit_types: Iterable[ActivityType | str] = (),
        content_ids: Iterable[str] = (),
        content_type: str | None = None,
        since: dt.datetime | None = None,
        until: dt.datetime | None = None,
        timeout: Timeout | float | None = None,
        retry: RetryPolicy | None = None,
    ) -> AsyncIterator[Activity]:
        """Get all activity records that match all filters. See `AsyncActivities.iterate`."""
        ...


class AsyncThriveClientProtocol(Protocol):
    """An `AsyncThriveClient`, or a fake of one."""

    @property
    def activities(self) -> AsyncActivitiesProtocol:
        """Reads activity records."""
        ...
