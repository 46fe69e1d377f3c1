"""Activity records: the operations of the contract's tag `activity`."""

import datetime as dt
from collections.abc import AsyncIterable, Awaitable, Iterable, Iterator
from typing import TYPE_CHECKING

from thrive_learning._budget import Budget
from thrive_learning._call.generated import GET_ACTIVITY, LIST_ACTIVITIES
from thrive_learning._call.run import acall, call, run, run_async, with_response
from thrive_learning._call.seam import AsyncCaller, Call, Caller
from thrive_learning._documented_types import report_undocumented_types
from thrive_learning._filters import ActivityFilters
from thrive_learning._ids import validate_activity_id
from thrive_learning.errors import Attempt
from thrive_learning.models import Activity, ActivityPage, ActivityType, ApiResponse
from thrive_learning.policies import CallOptions, RetryPolicy, Timeout

if TYPE_CHECKING:
    from thrive_learning._bulk.pages import ActivityStream, AsyncActivityStream
    from thrive_learning._bulk.tasks import AsyncResultStream
    from thrive_learning._bulk.threads import ResultStream
    from thrive_learning._observation import Observation


class Activities:
    """Reads activity records. Use it as `client.activities`."""

    def __init__(self, http: Caller) -> None:
        self._http = http

    def get(
        self, activity_id: str, *, timeout: Timeout | float | None = None, retry: RetryPolicy | None = None
    ) -> Activity:
        """Get one activity record.

        Args:
            activity_id: The record's ID, exactly 24 hexadecimal digits.
            timeout: The time limits of this call, or seconds for the whole call; None for the client's.
            retry: How often this call sends a request again; None for the client's policy.

        Raises:
            InvalidIdError: The ID is not 24 hexadecimal digits. Nothing was sent.
            NotFoundError: The region has no record with this ID.
            ApiError: The API responded with another status that is not a success.
            TokenError: The token endpoint rejected the request or sent an invalid response.
            UnexpectedResponseError: The response breaks the contract.
            ConnectionFailedError: No response arrived.
            DeadlineExceededError: No response arrived in time.
            ClientClosedError: The client is closed.

        Source: the reference page of `GET /activity/{id}`.
        """
        return self._run(activity_id, timeout, retry)[0]

    def get_with_response(
        self, activity_id: str, *, timeout: Timeout | float | None = None, retry: RetryPolicy | None = None
    ) -> ApiResponse[Activity]:
        """Get one activity record together with the facts of its response, such as the request ID.

        Args:
            activity_id: The record's ID, exactly 24 hexadecimal digits.
            timeout: The time limits of this call, or seconds for the whole call; None for the client's.
            retry: How often this call sends a request again; None for the client's policy.

        Raises:
            ThriveError: The same errors as `get`.

        Source: the reference page of `GET /activity/{id}`.
        """
        return with_response(*self._run(activity_id, timeout, retry), self._http)

    def _run(
        self, activity_id: str, timeout: Timeout | float | None, retry: RetryPolicy | None
    ) -> tuple[Activity, Call]:
        arguments = {"id": validate_activity_id(activity_id)}
        return run(GET_ACTIVITY, self._http, arguments, self._http.seam.begin(timeout, retry))

    def get_many(  # noqa: PLR0913 - the options of a run
        self,
        ids: Iterable[str],
        *,
        concurrency: int = 32,
        ordered: bool = False,
        timeout: Timeout | float | None = None,
        retry: RetryPolicy | None = None,
        deadline: float | None = None,
    ) -> "ResultStream":
        """Get many activity records concurrently. Each result is available as soon as it arrives.

        IDs are read from `ids` only as requests finish, so `ids` may be endless, and memory use stays
        constant. Duplicate IDs in flight share one request, and every occurrence still gets a result. After a
        transient failure, all requests of the run pause, and the ID is fetched again. An ID fails when its
        time limit is over, or after the attempts of the retry policy while other IDs succeed. Five failures
        in a row that would affect every ID end the run.

        The result is an iterator and a context manager. `with` cancels requests in flight at the end of its
        block. Nothing is sent until the first result is requested.

        Args:
            ids: The records' IDs. An invalid ID gets a result with an InvalidIdError.
            concurrency: The number of requests that may be in flight, at most 1,000.
            ordered: Yield the results in the order of the IDs. A slow record then delays the results after
                it, and no more IDs are read once four times `concurrency` are waiting.
            timeout: The time limits of each record, or seconds for each record from its first request,
                including pauses; None for the client's.
            retry: How often to send the request for an ID again while others succeed; None for the client's
                policy. With one attempt, nothing is retried.
            deadline: The time limit of the whole run in seconds, from the first requested result. After it,
                no more IDs are read, and IDs without a result get a DeadlineExceededError.

        Raises:
            ConfigurationError: An argument is not valid.
            ClientClosedError: The client is closed. This error and those below are raised while results are
                read.
            UnauthorizedError: The API rejects the credentials, so every other ID would fail as well.
            TokenError: The token endpoint rejects the credentials.
            ThriveError: Five failures in a row would affect every ID. The last one is raised.

        An exception that `ids` raises is raised after the results of the IDs before it.

        Source: the reference page of `GET /activity/{id}`.
        """
        from thrive_learning._bulk.plan import Plan  # noqa: PLC0415 - few need it
        from thrive_learning._bulk.run import iterator_of  # noqa: PLC0415
        from thrive_learning._bulk.threads import ResultStream, ThreadedRun  # noqa: PLC0415

        def fetch(identifier: str, budget: Budget, history: tuple[Attempt, ...]) -> Activity:
            return run(GET_ACTIVITY, self._http, {"id": identifier}, budget, history)[0]

        plan = Plan.of(concurrency, ordered, deadline, self._http.seam.begin(timeout, retry))
        source = iterator_of(ids)
        return ResultStream(ThreadedRun(self._http, fetch, source, plan))

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
        """Get one page of the activity records that match all filters.

        The order of the records is not documented, and records that arrive between two calls may move others
        to another page. `iterate` handles this.

        Args:
            page: The number of the page, from 1.
            per_page: The number of records per page, from 1 to 1,000.
            types: The types to include, as `ActivityType`s or other strings; empty for all.
            omit_types: The types to exclude; empty for none. Cannot be combined with `types`.
            content_ids: The IDs of the content that the activities relate to, 24 hexadecimal digits each;
                empty for any.
            content_type: The type of that content, such as `content`; None for any.
            since: The earliest time, with a time zone; rounded down to whole seconds, the API's precision.
                None for no limit. The API does not document whether records of exactly this time are
                included.
            until: The latest time, with a time zone; rounded up to whole seconds. None for no limit.
            timeout: The time limits of this call, or seconds for the whole call; None for the client's.
            retry: How often this call sends a request again; None for the client's policy.

        Raises:
            ConfigurationError: An argument is not valid. Nothing was sent.
            InvalidIdError: A content ID is not valid. Nothing was sent.
            ApiError: The API responded with a status that is not a success.
            TokenError: The token endpoint rejected the request or sent an invalid response.
            UnexpectedResponseError: The response breaks the contract.
            ConnectionFailedError: No response arrived.
            DeadlineExceededError: No response arrived in time.
            ClientClosedError: The client is closed.

        Source: the reference page of `GET /activities`.
        """
        filters = ActivityFilters.of(
            types=types,
            omit_types=omit_types,
            content_ids=content_ids,
            content_type=content_type,
            since=since,
            until=until,
        )
        report_undocumented_types(filters)
        options: CallOptions = {"timeout": timeout, "retry": retry}
        arguments = filters.page_arguments(page, per_page)
        return call(LIST_ACTIVITIES, self._http, options, **arguments)

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
    ) -> "ActivityStream":
        """Get all activity records that match all filters, page by page.

        The end of the time window is fixed at the beginning, so that new records do not move others to
        another page. A record that reappears within about twenty pages is dropped. Pages are requested one
        at a time, up to two in advance. After a transient failure, the iteration pauses, and the page is
        requested again. The iteration ends with an empty page, or with the last page by the server's count.

        The result is an iterator and a context manager. `with` cancels requests in flight at the end of its
        block. Nothing is sent until the first record is requested.

        Args:
            page: The first page to request, to resume an earlier iteration with the same filters and `until`.
                Must be 1 with more than 100 content IDs, because they need several queries.
            per_page: The number of records per page, from 1 to 1,000.
            types: The types to include, as `ActivityType`s or other strings; empty for all.
            omit_types: The types to exclude; empty for none. Cannot be combined with `types`.
            content_ids: The IDs of the content that the activities relate to, 24 hexadecimal digits each;
                empty for any.
            content_type: The type of that content, such as `content`; None for any.
            since: The earliest time, with a time zone; rounded down to whole seconds, the API's precision.
                None for no limit. The API does not document whether records of exactly this time are
                included.
            until: The latest time, with a time zone; rounded up to whole seconds. None for now.
            timeout: The time limits of each page, or seconds for each page, including pauses; None for the
                client's.
            retry: The delays between requests for the same page, which is requested until `timeout` is over;
                None for the client's policy. With one attempt, nothing is retried.

        Raises:
            ConfigurationError: An argument is not valid. Nothing was sent.
            InvalidIdError: A content ID is not valid. Nothing was sent.
            ClientClosedError: The client is closed. This error and those below are raised while records are
                read.
            ApiError: The API responded with a status that is not a success.
            TokenError: The token endpoint rejected the request or sent an invalid response.
            UnexpectedResponseError: A response breaks the contract, or the server repeats pages endlessly.
            ConnectionFailedError: No response arrived.
            DeadlineExceededError: No response arrived in time.

        Source: the reference page of `GET /activities`.
        """
        from thrive_learning._bulk.pages import ActivityStream  # noqa: PLC0415 - few need it
        from thrive_learning._bulk.threads import ResultStream, ThreadedRun  # noqa: PLC0415
        from thrive_learning._bulk.walk import Walk, plan_of  # noqa: PLC0415

        filters = ActivityFilters.of(
            types=types,
            omit_types=omit_types,
            content_ids=content_ids,
            content_type=content_type,
            since=since,
            until=until,
        )
        report_undocumented_types(filters)
        walk, plan = Walk(filters.with_end(), page, per_page), plan_of(self._http.seam.begin(timeout, retry))

        def open_pages(
            current: ActivityFilters, numbers: Iterator[int], observation: "Observation | None"
        ) -> "ResultStream":
            def fetch(number: str, budget: Budget, history: tuple[Attempt, ...]) -> ActivityPage:
                arguments = current.page_arguments(int(number), per_page)
                return run(LIST_ACTIVITIES, self._http, arguments, budget, history)[0]

            return ResultStream(ThreadedRun(self._http, fetch, numbers, plan, observation))

        return ActivityStream(walk, open_pages, self._http.observer)


class AsyncActivities:
    """Reads activity records. Use it as `client.activities`."""

    def __init__(self, http: AsyncCaller) -> None:
        self._http = http

    async def get(
        self, activity_id: str, *, timeout: Timeout | float | None = None, retry: RetryPolicy | None = None
    ) -> Activity:
        """Get one activity record.

        Args:
            activity_id: The record's ID, exactly 24 hexadecimal digits.
            timeout: The time limits of this call, or seconds for the whole call; None for the client's.
            retry: How often this call sends a request again; None for the client's policy.

        Raises:
            InvalidIdError: The ID is not 24 hexadecimal digits. Nothing was sent.
            NotFoundError: The region has no record with this ID.
            ApiError: The API responded with another status that is not a success.
            TokenError: The token endpoint rejected the request or sent an invalid response.
            UnexpectedResponseError: The response breaks the contract.
            ConnectionFailedError: No response arrived.
            DeadlineExceededError: No response arrived in time.
            ClientClosedError: The client is closed.

        Source: the reference page of `GET /activity/{id}`.
        """
        return (await self._run(activity_id, timeout, retry))[0]

    async def get_with_response(
        self, activity_id: str, *, timeout: Timeout | float | None = None, retry: RetryPolicy | None = None
    ) -> ApiResponse[Activity]:
        """Get one activity record together with the facts of its response, such as the request ID.

        Args:
            activity_id: The record's ID, exactly 24 hexadecimal digits.
            timeout: The time limits of this call, or seconds for the whole call; None for the client's.
            retry: How often this call sends a request again; None for the client's policy.

        Raises:
            ThriveError: The same errors as `get`.

        Source: the reference page of `GET /activity/{id}`.
        """
        return with_response(*(await self._run(activity_id, timeout, retry)), self._http)

    def _run(
        self, activity_id: str, timeout: Timeout | float | None, retry: RetryPolicy | None
    ) -> Awaitable[tuple[Activity, Call]]:
        arguments = {"id": validate_activity_id(activity_id)}
        return run_async(GET_ACTIVITY, self._http, arguments, self._http.seam.begin(timeout, retry))

    def get_many(  # noqa: PLR0913 - the options of a run
        self,
        ids: Iterable[str] | AsyncIterable[str],
        *,
        concurrency: int = 32,
        ordered: bool = False,
        timeout: Timeout | float | None = None,
        retry: RetryPolicy | None = None,
        deadline: float | None = None,
    ) -> "AsyncResultStream":
        """Get many activity records concurrently. Each result is available as soon as it arrives.

        IDs are read from `ids` only as requests finish, so `ids` may be endless, and memory use stays
        constant. Duplicate IDs in flight share one request, and every occurrence still gets a result. After a
        transient failure, all requests of the run pause, and the ID is fetched again. An ID fails when its
        time limit is over, or after the attempts of the retry policy while other IDs succeed. Five failures
        in a row that would affect every ID end the run.

        The result is an iterator and a context manager. `with` cancels requests in flight at the end of its
        block. Nothing is sent until the first result is requested.

        Args:
            ids: The records' IDs. An invalid ID gets a result with an InvalidIdError.
            concurrency: The number of requests that may be in flight, at most 1,000.
            ordered: Yield the results in the order of the IDs. A slow record then delays the results after
                it, and no more IDs are read once four times `concurrency` are waiting.
            timeout: The time limits of each record, or seconds for each record from its first request,
                including pauses; None for the client's.
            retry: How often to send the request for an ID again while others succeed; None for the client's
                policy. With one attempt, nothing is retried.
            deadline: The time limit of the whole run in seconds, from the first requested result. After it,
                no more IDs are read, and IDs without a result get a DeadlineExceededError.

        Raises:
            ConfigurationError: An argument is not valid.
            ClientClosedError: The client is closed. This error and those below are raised while results are
                read.
            UnauthorizedError: The API rejects the credentials, so every other ID would fail as well.
            TokenError: The token endpoint rejects the credentials.
            ThriveError: Five failures in a row would affect every ID. The last one is raised.

        An exception that `ids` raises is raised after the results of the IDs before it.

        Source: the reference page of `GET /activity/{id}`.
        """
        from thrive_learning._bulk.plan import Plan  # noqa: PLC0415 - few need it
        from thrive_learning._bulk.run import iterator_of  # noqa: PLC0415
        from thrive_learning._bulk.tasks import AsyncResultStream, TaskRun  # noqa: PLC0415

        async def fetch(identifier: str, budget: Budget, history: tuple[Attempt, ...]) -> Activity:
            return (await run_async(GET_ACTIVITY, self._http, {"id": identifier}, budget, history))[0]

        plan = Plan.of(concurrency, ordered, deadline, self._http.seam.begin(timeout, retry))
        source = ids if isinstance(ids, AsyncIterable) else iterator_of(ids)
        return AsyncResultStream(TaskRun(self._http, fetch, source, plan))

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
        """Get one page of the activity records that match all filters.

        The order of the records is not documented, and records that arrive between two calls may move others
        to another page. `iterate` handles this.

        Args:
            page: The number of the page, from 1.
            per_page: The number of records per page, from 1 to 1,000.
            types: The types to include, as `ActivityType`s or other strings; empty for all.
            omit_types: The types to exclude; empty for none. Cannot be combined with `types`.
            content_ids: The IDs of the content that the activities relate to, 24 hexadecimal digits each;
                empty for any.
            content_type: The type of that content, such as `content`; None for any.
            since: The earliest time, with a time zone; rounded down to whole seconds, the API's precision.
                None for no limit. The API does not document whether records of exactly this time are
                included.
            until: The latest time, with a time zone; rounded up to whole seconds. None for no limit.
            timeout: The time limits of this call, or seconds for the whole call; None for the client's.
            retry: How often this call sends a request again; None for the client's policy.

        Raises:
            ConfigurationError: An argument is not valid. Nothing was sent.
            InvalidIdError: A content ID is not valid. Nothing was sent.
            ApiError: The API responded with a status that is not a success.
            TokenError: The token endpoint rejected the request or sent an invalid response.
            UnexpectedResponseError: The response breaks the contract.
            ConnectionFailedError: No response arrived.
            DeadlineExceededError: No response arrived in time.
            ClientClosedError: The client is closed.

        Source: the reference page of `GET /activities`.
        """
        filters = ActivityFilters.of(
            types=types,
            omit_types=omit_types,
            content_ids=content_ids,
            content_type=content_type,
            since=since,
            until=until,
        )
        report_undocumented_types(filters)
        options: CallOptions = {"timeout": timeout, "retry": retry}
        arguments = filters.page_arguments(page, per_page)
        return await acall(LIST_ACTIVITIES, self._http, options, **arguments)

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
    ) -> "AsyncActivityStream":
        """Get all activity records that match all filters, page by page.

        The end of the time window is fixed at the beginning, so that new records do not move others to
        another page. A record that reappears within about twenty pages is dropped. Pages are requested one
        at a time, up to two in advance. After a transient failure, the iteration pauses, and the page is
        requested again. The iteration ends with an empty page, or with the last page by the server's count.

        The result is an iterator and a context manager. `with` cancels requests in flight at the end of its
        block. Nothing is sent until the first record is requested.

        Args:
            page: The first page to request, to resume an earlier iteration with the same filters and `until`.
                Must be 1 with more than 100 content IDs, because they need several queries.
            per_page: The number of records per page, from 1 to 1,000.
            types: The types to include, as `ActivityType`s or other strings; empty for all.
            omit_types: The types to exclude; empty for none. Cannot be combined with `types`.
            content_ids: The IDs of the content that the activities relate to, 24 hexadecimal digits each;
                empty for any.
            content_type: The type of that content, such as `content`; None for any.
            since: The earliest time, with a time zone; rounded down to whole seconds, the API's precision.
                None for no limit. The API does not document whether records of exactly this time are
                included.
            until: The latest time, with a time zone; rounded up to whole seconds. None for now.
            timeout: The time limits of each page, or seconds for each page, including pauses; None for the
                client's.
            retry: The delays between requests for the same page, which is requested until `timeout` is over;
                None for the client's policy. With one attempt, nothing is retried.

        Raises:
            ConfigurationError: An argument is not valid. Nothing was sent.
            InvalidIdError: A content ID is not valid. Nothing was sent.
            ClientClosedError: The client is closed. This error and those below are raised while records are
                read.
            ApiError: The API responded with a status that is not a success.
            TokenError: The token endpoint rejected the request or sent an invalid response.
            UnexpectedResponseError: A response breaks the contract, or the server repeats pages endlessly.
            ConnectionFailedError: No response arrived.
            DeadlineExceededError: No response arrived in time.

        Source: the reference page of `GET /activities`.
        """
        from thrive_learning._bulk.pages import AsyncActivityStream  # noqa: PLC0415 - few need it
        from thrive_learning._bulk.tasks import AsyncResultStream, TaskRun  # noqa: PLC0415
        from thrive_learning._bulk.walk import Walk, plan_of  # noqa: PLC0415

        filters = ActivityFilters.of(
            types=types,
            omit_types=omit_types,
            content_ids=content_ids,
            content_type=content_type,
            since=since,
            until=until,
        )
        report_undocumented_types(filters)
        walk, plan = Walk(filters.with_end(), page, per_page), plan_of(self._http.seam.begin(timeout, retry))

        def open_pages(
            current: ActivityFilters, numbers: Iterator[int], observation: "Observation | None"
        ) -> "AsyncResultStream":
            async def fetch(number: str, budget: Budget, history: tuple[Attempt, ...]) -> ActivityPage:
                arguments = current.page_arguments(int(number), per_page)
                return (await run_async(LIST_ACTIVITIES, self._http, arguments, budget, history))[0]

            return AsyncResultStream(TaskRun(self._http, fetch, numbers, plan, observation))

        return AsyncActivityStream(walk, open_pages, self._http.observer)
