"""What a client looks like to code that reads records, for those who inject a fake of it.

They hold what most services use, so that a fake stays small. A service that uses more of the client can
extend them, or be tested with the sandbox instead, which is the whole of it.
"""

import datetime as dt
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Protocol

from thrive_learning.models import Activity, ActivityPage, ActivityType
from thrive_learning.policies import RetryPolicy, Timeout


class ActivitiesProtocol(Protocol):
    """What `client.activities` of a `ThriveClientProtocol` can do."""

    def get(
        self, activity_id: str, *, timeout: Timeout | float | None = None, retry: RetryPolicy | None = None
    ) -> Activity:
        """Get one activity record; see `Activities.get`."""
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
        """Get one page of the activity records that pass all filters; see `Activities.list`."""
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
        """Get all activity records that pass all filters; see `Activities.iterate`."""
        ...


class ThriveClientProtocol(Protocol):
    """A `ThriveClient`, or a fake of one."""

    @property
    def activities(self) -> ActivitiesProtocol:
        """Reads activity records."""
        ...


class AsyncActivitiesProtocol(Protocol):
    """What `client.activities` of an `AsyncThriveClientProtocol` can do."""

    async def get(
        self, activity_id: str, *, timeout: Timeout | float | None = None, retry: RetryPolicy | None = None
    ) -> Activity:
        """Get one activity record; see `AsyncActivities.get`."""
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
        """Get one page of the activity records that pass all filters; see `AsyncActivities.list`."""
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
        """Get all activity records that pass all filters; see `AsyncActivities.iterate`."""
        ...


class AsyncThriveClientProtocol(Protocol):
    """An `AsyncThriveClient`, or a fake of one."""

    @property
    def activities(self) -> AsyncActivitiesProtocol:
        """Reads activity records."""
        ...
