"""Activity records: the operations of the contract's tag `activity`."""

import datetime as dt
from collections.abc import AsyncIterable, Awaitable, Iterable, Iterator
from typing import TYPE_CHECKING

from thrive_learning._budget import Budget
from thrive_learning._call.generated import GET_ACTIVITY, LIST_ACTIVITIES
from thrive_learning._call.run import acall, call, run, run_async, with_response
from thrive_learning._call.seam import AsyncCaller, Call, Caller
from thrive_learning._filters import ActivityFilters
from thrive_learning._ids import activity_id as validated
from thrive_learning.errors import Attempt
from thrive_learning.models import Activity, ActivityPage, ActivityType, ApiResponse
from thrive_learning.policies import CallOptions, RetryPolicy, Timeout

if TYPE_CHECKING:
    from thrive_learning._bulk.pages import ActivityStream, AsyncActivityStream
    from thrive_learning._bulk.tasks import AsyncResultStream
    from thrive_learning._bulk.threads import ResultStream
    from thrive_learning._observation import Observation


class Activities:
    """Reads activity records. Found as `client.activities`."""

    def __init__(self, http: Caller) -> None:
        self._http = http

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
        return with_response(*self._run(activity_id, timeout, retry), self._http)

    def _run(
        self, activity_id: str, timeout: Timeout | float | None, retry: RetryPolicy | None
    ) -> tuple[Activity, Call]:
        arguments = {"id": validated(activity_id)}
        return run(GET_ACTIVITY, self._http, arguments, self._http.seam.begin(timeout, retry))

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
        """Get one page of the activity records that pass all filters.

        The order of the records is not documented, and records that arrive between two calls may move others
        to another page. `iterate` takes care of that.

        Args:
            page: The number of the page, counted from 1.
            per_page: How many records a page has, from 1 to 1,000.
            types: The types to keep: `ActivityType`s or other texts; empty for all.
            omit_types: The types to leave out; empty for none. It cannot be combined with `types`.
            content_ids: The content that the activities relate to, by its IDs of 24 hexadecimal digits;
                empty for any.
            content_type: The type of that content, such as `content`; None for any.
            since: The earliest time, aware of its time zone; rounded down to whole seconds, which is what the
                API has. None for no limit. The API does not document whether a record of that very moment is
                among them.
            until: The latest time, aware of its time zone; rounded up to whole seconds, as `since` is rounded
                down. None for no limit.
            timeout: Time-outs for this call, or seconds for the whole of it; None for those of the client.
            retry: How often to try; None for the client's policy.

        Raises:
            ConfigurationError: An argument is not valid; nothing was sent.
            InvalidIdError: A content ID is not valid; nothing was sent.
            ApiError: The API answered with a status that is not a success.
            TokenError: The token endpoint rejected the request or sent an invalid response.
            UnexpectedResponseError: The response breaks the contract.
            ConnectionFailedError: There was no response, or (`DeadlineExceededError`) none in time.
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
        """Get all activity records that pass all filters, page by page.

        The end of the time window is fixed at the beginning, so that new records do not move others to
        another page. A record that comes again within about twenty pages is dropped. Pages are requested one
        after the other, up to two of them ahead. After a transient failure, the walk pauses, and the page is
        requested again, as `get_many` does. It ends with an empty page, or with the last one by the server's
        count.

        The result is an iterator and a context manager; `with` ends what is in flight at the end of its
        block. Nothing is sent before the first record is asked for.

        Args:
            page: The page to begin with, to go on with an earlier walk that had the same filters and
                `until`. It must be 1 with more than 100 content IDs, which take several walks.
            per_page: How many records a page has, from 1 to 1,000.
            types: The types to keep: `ActivityType`s or other texts; empty for all.
            omit_types: The types to leave out; empty for none. It cannot be combined with `types`.
            content_ids: The content that the activities relate to, by its IDs of 24 hexadecimal digits;
                empty for any.
            content_type: The type of that content, such as `content`; None for any.
            since: The earliest time, aware of its time zone; rounded down to whole seconds, which is what the
                API has. None for no limit. The API does not document whether a record of that very moment is
                among them.
            until: The latest time, aware of its time zone; rounded up to whole seconds, as `since` is rounded
                down. None for now.
            timeout: Time-outs for each page, or seconds for the whole of it, pauses included; None for those
                of the client.
            retry: The delays between the attempts for a page, which is tried until `timeout` is over; None
                for the client's policy. With one attempt, nothing is retried.

        Raises:
            ConfigurationError: An argument is not valid; nothing was sent.
            InvalidIdError: A content ID is not valid; nothing was sent.
            ClientClosedError: The client is closed. This, and what follows, comes while records are read.
            ApiError: The API answered with a status that is not a success.
            TokenError: The token endpoint rejected the request or sent an invalid response.
            UnexpectedResponseError: The response breaks the contract, or the pages repeat each other without
                end.
            ConnectionFailedError: There was no response, or (`DeadlineExceededError`) none in time.

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
    """Reads activity records. Found as `client.activities`."""

    def __init__(self, http: AsyncCaller) -> None:
        self._http = http

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
        return with_response(*(await self._run(activity_id, timeout, retry)), self._http)

    def _run(
        self, activity_id: str, timeout: Timeout | float | None, retry: RetryPolicy | None
    ) -> Awaitable[tuple[Activity, Call]]:
        arguments = {"id": validated(activity_id)}
        return run_async(GET_ACTIVITY, self._http, arguments, self._http.seam.begin(timeout, retry))

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
        """Get one page of the activity records that pass all filters.

        The order of the records is not documented, and records that arrive between two calls may move others
        to another page. `iterate` takes care of that.

        Args:
            page: The number of the page, counted from 1.
            per_page: How many records a page has, from 1 to 1,000.
            types: The types to keep: `ActivityType`s or other texts; empty for all.
            omit_types: The types to leave out; empty for none. It cannot be combined with `types`.
            content_ids: The content that the activities relate to, by its IDs of 24 hexadecimal digits;
                empty for any.
            content_type: The type of that content, such as `content`; None for any.
            since: The earliest time, aware of its time zone; rounded down to whole seconds, which is what the
                API has. None for no limit. The API does not document whether a record of that very moment is
                among them.
            until: The latest time, aware of its time zone; rounded up to whole seconds, as `since` is rounded
                down. None for no limit.
            timeout: Time-outs for this call, or seconds for the whole of it; None for those of the client.
            retry: How often to try; None for the client's policy.

        Raises:
            ConfigurationError: An argument is not valid; nothing was sent.
            InvalidIdError: A content ID is not valid; nothing was sent.
            ApiError: The API answered with a status that is not a success.
            TokenError: The token endpoint rejected the request or sent an invalid response.
            UnexpectedResponseError: The response breaks the contract.
            ConnectionFailedError: There was no response, or (`DeadlineExceededError`) none in time.
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
        """Get all activity records that pass all filters, page by page.

        The end of the time window is fixed at the beginning, so that new records do not move others to
        another page. A record that comes again within about twenty pages is dropped. Pages are requested one
        after the other, up to two of them ahead. After a transient failure, the walk pauses, and the page is
        requested again, as `get_many` does. It ends with an empty page, or with the last one by the server's
        count.

        The result is an iterator and a context manager; `with` ends what is in flight at the end of its
        block. Nothing is sent before the first record is asked for.

        Args:
            page: The page to begin with, to go on with an earlier walk that had the same filters and
                `until`. It must be 1 with more than 100 content IDs, which take several walks.
            per_page: How many records a page has, from 1 to 1,000.
            types: The types to keep: `ActivityType`s or other texts; empty for all.
            omit_types: The types to leave out; empty for none. It cannot be combined with `types`.
            content_ids: The content that the activities relate to, by its IDs of 24 hexadecimal digits;
                empty for any.
            content_type: The type of that content, such as `content`; None for any.
            since: The earliest time, aware of its time zone; rounded down to whole seconds, which is what the
                API has. None for no limit. The API does not document whether a record of that very moment is
                among them.
            until: The latest time, aware of its time zone; rounded up to whole seconds, as `since` is rounded
                down. None for now.
            timeout: Time-outs for each page, or seconds for the whole of it, pauses included; None for those
                of the client.
            retry: The delays between the attempts for a page, which is tried until `timeout` is over; None
                for the client's policy. With one attempt, nothing is retried.

        Raises:
            ConfigurationError: An argument is not valid; nothing was sent.
            InvalidIdError: A content ID is not valid; nothing was sent.
            ClientClosedError: The client is closed. This, and what follows, comes while records are read.
            ApiError: The API answered with a status that is not a success.
            TokenError: The token endpoint rejected the request or sent an invalid response.
            UnexpectedResponseError: The response breaks the contract, or the pages repeat each other without
                end.
            ConnectionFailedError: There was no response, or (`DeadlineExceededError`) none in time.

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
        walk, plan = Walk(filters.with_end(), page, per_page), plan_of(self._http.seam.begin(timeout, retry))

        def open_pages(
            current: ActivityFilters, numbers: Iterator[int], observation: "Observation | None"
        ) -> "AsyncResultStream":
            async def fetch(number: str, budget: Budget, history: tuple[Attempt, ...]) -> ActivityPage:
                arguments = current.page_arguments(int(number), per_page)
                return (await run_async(LIST_ACTIVITIES, self._http, arguments, budget, history))[0]

            return AsyncResultStream(TaskRun(self._http, fetch, numbers, plan, observation))

        return AsyncActivityStream(walk, open_pages, self._http.observer)
