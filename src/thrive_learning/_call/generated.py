"""The generated operations that this package calls, and the generated clients that send by the seam."""

from typing import Any, cast

from _thrive_learning_api import Client
from _thrive_learning_api.api.activity import get_activity

from thrive_learning._call.operation import Operation
from thrive_learning._call.seam import AsyncCaller, Caller
from thrive_learning.models import Activity, activity_from, read_activity

GET_ACTIVITY: Operation[Activity] = Operation(
    name="activities.get",
    noun="activity",
    sync=get_activity.sync_detailed,
    asyncio=get_activity.asyncio_detailed,
    successes=frozenset({200}),
    read=read_activity,
    build=activity_from,
)


def client_of(http: Caller) -> Client:
    """Return a generated client that sends by the seam of a sync client."""
    return Client(base_url=http.seam.region.api_url).set_httpx_client(cast("Any", http))


def async_client_of(http: AsyncCaller) -> Client:
    """Return a generated client that sends by the seam of an async client."""
    return Client(base_url=http.seam.region.api_url).set_async_httpx_client(cast("Any", http))
