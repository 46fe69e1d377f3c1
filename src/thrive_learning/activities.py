"""Activity records: the operations of the contract's tag `activity`."""

from _thrive_learning_api import Client
from _thrive_learning_api.api.activity import get_activity

from thrive_learning._call import Operation, run, run_async
from thrive_learning._http import AsyncHttpClient, HttpClient
from thrive_learning.ids import activity_id as validated
from thrive_learning.models import Activity, ApiResponse, activity_from, activity_problem
from thrive_learning.policies import RetryPolicy, Timeout

_GET: Operation[Activity] = Operation(
    subject="activity",
    sync=get_activity.sync_detailed,
    asyncio=get_activity.asyncio_detailed,
    successes=frozenset({200}),
    problem=activity_problem,
    build=activity_from,
)


class Activities:
    """Reads activity records. Found as `client.activities`."""

    def __init__(self, http: HttpClient) -> None:
        self._http = http
        self._api = Client(base_url=http.seam.region.api_url).set_httpx_client(http)

    def get(
        self, activity_id: str, *, timeout: Timeout | float | None = None, retry: RetryPolicy | None = None
    ) -> Activity:
        """Get one activity record.

        Args:
            activity_id: The record's ID, exactly 24 hexadecimal digits.
            timeout: Time-outs for this call, or seconds for the whole of it; None for those of the client.
            retry: How often to try; None for the client's policy.

        Raises:
            InvalidIdError: The ID is none; nothing was sent.
            NotFoundError: The region holds no such record.
            ApiError: The API answered with another status that is no success.
            TokenError: The token endpoint refused.
            UnexpectedResponseError: The API's answer breaks the contract.
            ConnectionFailedError: There was no answer, or (`DeadlineExceededError`) none in time.
            ClientClosedError: The client is closed.

        Source: the reference page of `GET /activity/{id}`.
        """
        return self.get_with_response(activity_id, timeout=timeout, retry=retry).data

    def get_with_response(
        self, activity_id: str, *, timeout: Timeout | float | None = None, retry: RetryPolicy | None = None
    ) -> ApiResponse[Activity]:
        """Get one activity record together with what is known of the response.

        Args:
            activity_id: The record's ID, exactly 24 hexadecimal digits.
            timeout: Time-outs for this call, or seconds for the whole of it; None for those of the client.
            retry: How often to try; None for the client's policy.

        Raises:
            ThriveError: As `get`.

        Source: the reference page of `GET /activity/{id}`.
        """
        return run(_GET, self._http, self._api, validated(activity_id), self._http.seam.begin(timeout, retry))


class AsyncActivities:
    """Reads activity records. Found as `client.activities`."""

    def __init__(self, http: AsyncHttpClient) -> None:
        self._http = http
        self._api = Client(base_url=http.seam.region.api_url).set_async_httpx_client(http)

    async def get(
        self, activity_id: str, *, timeout: Timeout | float | None = None, retry: RetryPolicy | None = None
    ) -> Activity:
        """Get one activity record.

        Args:
            activity_id: The record's ID, exactly 24 hexadecimal digits.
            timeout: Time-outs for this call, or seconds for the whole of it; None for those of the client.
            retry: How often to try; None for the client's policy.

        Raises:
            InvalidIdError: The ID is none; nothing was sent.
            NotFoundError: The region holds no such record.
            ApiError: The API answered with another status that is no success.
            TokenError: The token endpoint refused.
            UnexpectedResponseError: The API's answer breaks the contract.
            ConnectionFailedError: There was no answer, or (`DeadlineExceededError`) none in time.
            ClientClosedError: The client is closed.

        Source: the reference page of `GET /activity/{id}`.
        """
        return (await self.get_with_response(activity_id, timeout=timeout, retry=retry)).data

    async def get_with_response(
        self, activity_id: str, *, timeout: Timeout | float | None = None, retry: RetryPolicy | None = None
    ) -> ApiResponse[Activity]:
        """Get one activity record together with what is known of the response.

        Args:
            activity_id: The record's ID, exactly 24 hexadecimal digits.
            timeout: Time-outs for this call, or seconds for the whole of it; None for those of the client.
            retry: How often to try; None for the client's policy.

        Raises:
            ThriveError: As `get`.

        Source: the reference page of `GET /activity/{id}`.
        """
        return await run_async(
            _GET, self._http, self._api, validated(activity_id), self._http.seam.begin(timeout, retry)
        )
