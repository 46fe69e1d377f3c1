"""Activity records: the operations of the contract's tag `activity`."""

from collections.abc import AsyncIterable, Awaitable, Iterable
from typing import TYPE_CHECKING

from thrive_learning._budget import Budget
from thrive_learning._call.generated import GET_ACTIVITY, async_client_of, client_of
from thrive_learning._call.operation import run, run_async, with_response
from thrive_learning._call.seam import AsyncCaller, Call, Caller
from thrive_learning._ids import activity_id as validated
from thrive_learning.errors import Attempt
from thrive_learning.models import Activity, ApiResponse
from thrive_learning.policies import RetryPolicy, Timeout

if TYPE_CHECKING:
    from thrive_learning._bulk.tasks import AsyncResultStream
    from thrive_learning._bulk.threads import ResultStream


class Activities:
    """Reads activity records. Found as `client.activities`."""

    def __init__(self, http: Caller) -> None:
        self._http = http
        self._api = client_of(http)

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
        return self._run(activity_id, timeout, retry)[0]

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
        return with_response(*self._run(activity_id, timeout, retry))

    def _run(
        self, activity_id: str, timeout: Timeout | float | None, retry: RetryPolicy | None
    ) -> tuple[Activity, Call]:
        identifier = validated(activity_id)
        return run(GET_ACTIVITY, self._http, self._api, identifier, self._http.seam.begin(timeout, retry))

    def get_many(  # noqa: PLR0913 - what a run can be told
        self,
        ids: Iterable[str],
        *,
        concurrency: int = 32,
        ordered: bool = False,
        timeout: Timeout | float | None = None,
        retry: RetryPolicy | None = None,
        deadline: float | None = None,
    ) -> "ResultStream":
        """Get many activity records, with many requests at once; give each as soon as it is there.

        IDs are read as slots become free, so `ids` may be endless, and memory does not grow with it. An ID
        that is on its way already is not fetched twice; each place at which it stands has its result. After a
        transient failure of any kind, all requests of the run pause, and the ID is fetched again: it fails
        only when its time limit is over, or after the attempts of the retry policy while other IDs succeed.
        Failures that mean nothing will work end the run after five in a row.

        The result is an iterator and a context manager; `with` ends what is in flight at the end of its
        block. Nothing is sent before the first result is asked for.

        Args:
            ids: The records' IDs. An ID that is none gives a result with an InvalidIdError.
            concurrency: How many requests may be in flight, 1,000 at the most.
            ordered: Give the results in the order of the IDs. A slow one then holds up those behind it, and
                at four times the concurrency the reading of IDs.
            timeout: Time-outs for each record, or seconds for the whole of it from its first request, pauses
                included; None for those of the client.
            retry: How often to try an ID that fails while others succeed; None for the client's policy. With
                one attempt, nothing is retried.
            deadline: Seconds for the whole run, from the first result asked for. At its end no further ID is
                read, each that was has its result, with a DeadlineExceededError if need be, and the results
                end.

        Raises:
            ConfigurationError: An argument makes no sense.
            ClientClosedError: The client is closed. This, and what follows, comes while results are read.
            UnauthorizedError: The API rejects the credentials, so every other ID would fail as well.
            TokenError: The token endpoint rejects them.
            ThriveError: Five failures in a row mean that nothing will work; this is the last of them.

        Whatever `ids` raises is raised behind the results of the IDs before.

        Source: the reference page of `GET /activity/{id}`.
        """
        from thrive_learning._bulk.run import iterator_of  # noqa: PLC0415 - few need it
        from thrive_learning._bulk.schedule import Plan  # noqa: PLC0415
        from thrive_learning._bulk.threads import ResultStream, ThreadedRun  # noqa: PLC0415

        def fetch(identifier: str, budget: Budget, history: tuple[Attempt, ...]) -> Activity:
            return run(GET_ACTIVITY, self._http, self._api, identifier, budget, history)[0]

        plan = Plan.of(concurrency, ordered, deadline, self._http.seam.begin(timeout, retry))
        source = iterator_of(ids)
        return ResultStream(ThreadedRun(self._http, fetch, source, plan))


class AsyncActivities:
    """Reads activity records. Found as `client.activities`."""

    def __init__(self, http: AsyncCaller) -> None:
        self._http = http
        self._api = async_client_of(http)

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
        return (await self._run(activity_id, timeout, retry))[0]

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
        return with_response(*(await self._run(activity_id, timeout, retry)))

    def _run(
        self, activity_id: str, timeout: Timeout | float | None, retry: RetryPolicy | None
    ) -> Awaitable[tuple[Activity, Call]]:
        identifier = validated(activity_id)
        return run_async(
            GET_ACTIVITY, self._http, self._api, identifier, self._http.seam.begin(timeout, retry)
        )

    def get_many(  # noqa: PLR0913 - what a run can be told
        self,
        ids: Iterable[str] | AsyncIterable[str],
        *,
        concurrency: int = 32,
        ordered: bool = False,
        timeout: Timeout | float | None = None,
        retry: RetryPolicy | None = None,
        deadline: float | None = None,
    ) -> "AsyncResultStream":
        """Get many activity records, with many requests at once; give each as soon as it is there.

        IDs are read as slots become free, so `ids` may be endless, and memory does not grow with it. An ID
        that is on its way already is not fetched twice; each place at which it stands has its result. After a
        transient failure of any kind, all requests of the run pause, and the ID is fetched again: it fails
        only when its time limit is over, or after the attempts of the retry policy while other IDs succeed.
        Failures that mean nothing will work end the run after five in a row.

        The result is an iterator and a context manager; `with` ends what is in flight at the end of its
        block. Nothing is sent before the first result is asked for.

        Args:
            ids: The records' IDs. An ID that is none gives a result with an InvalidIdError.
            concurrency: How many requests may be in flight, 1,000 at the most.
            ordered: Give the results in the order of the IDs. A slow one then holds up those behind it, and
                at four times the concurrency the reading of IDs.
            timeout: Time-outs for each record, or seconds for the whole of it from its first request, pauses
                included; None for those of the client.
            retry: How often to try an ID that fails while others succeed; None for the client's policy. With
                one attempt, nothing is retried.
            deadline: Seconds for the whole run, from the first result asked for. At its end no further ID is
                read, each that was has its result, with a DeadlineExceededError if need be, and the results
                end.

        Raises:
            ConfigurationError: An argument makes no sense.
            ClientClosedError: The client is closed. This, and what follows, comes while results are read.
            UnauthorizedError: The API rejects the credentials, so every other ID would fail as well.
            TokenError: The token endpoint rejects them.
            ThriveError: Five failures in a row mean that nothing will work; this is the last of them.

        Whatever `ids` raises is raised behind the results of the IDs before.

        Source: the reference page of `GET /activity/{id}`.
        """
        from thrive_learning._bulk.run import iterator_of  # noqa: PLC0415 - few need it
        from thrive_learning._bulk.schedule import Plan  # noqa: PLC0415
        from thrive_learning._bulk.tasks import AsyncResultStream, TaskRun  # noqa: PLC0415

        async def fetch(identifier: str, budget: Budget, history: tuple[Attempt, ...]) -> Activity:
            return (await run_async(GET_ACTIVITY, self._http, self._api, identifier, budget, history))[0]

        plan = Plan.of(concurrency, ordered, deadline, self._http.seam.begin(timeout, retry))
        source = ids if isinstance(ids, AsyncIterable) else iterator_of(ids)
        return AsyncResultStream(TaskRun(self._http, fetch, source, plan))
