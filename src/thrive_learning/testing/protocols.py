"""What a client looks like to code that reads records, for those who inject a fake of it.

They hold what most services use, so that a fake stays small. A service that uses more of the client can
extend them, or be tested with the sandbox instead, which is the whole of it.
"""

from typing import Protocol

from thrive_learning.models import Activity
from thrive_learning.policies import RetryPolicy, Timeout


class ActivitiesProtocol(Protocol):
    """What `client.activities` of a `ThriveClientProtocol` can do."""

    def get(
        self, activity_id: str, *, timeout: Timeout | float | None = None, retry: RetryPolicy | None = None
    ) -> Activity:
        """Get one activity record; see `Activities.get`."""
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


class AsyncThriveClientProtocol(Protocol):
    """An `AsyncThriveClient`, or a fake of one."""

    @property
    def activities(self) -> AsyncActivitiesProtocol:
        """Reads activity records."""
        ...
