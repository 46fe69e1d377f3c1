"""Iterates over the records of all pages of a list, in sync and async code."""

import datetime as dt
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any, Self, TypeAlias, cast

from thrive_learning._bulk.run import logger
from thrive_learning._bulk.tasks import AsyncResultStream
from thrive_learning._bulk.threads import ResultStream
from thrive_learning._bulk.walk import PAGES, PageResult, Walk
from thrive_learning._filters import ActivityFilters
from thrive_learning._log import fields
from thrive_learning.models import Activity, Pagination

if TYPE_CHECKING:
    from thrive_learning._observation import Observation, Observer

#: Starts a run through pages, given the filters, the page numbers, and the observation of the walk.
OpenPages: TypeAlias = Callable[[ActivityFilters, Iterator[int], "Observation | None"], ResultStream]
AsyncOpenPages: TypeAlias = Callable[
    [ActivityFilters, Iterator[int], "Observation | None"], AsyncResultStream
]


class _WalkProgress:
    """The progress of a walk, and the decisions that sync and async code share."""

    def __init__(self, walk: Walk, observer: "Observer | None") -> None:
        self._walk = walk
        self._observer = observer
        self._observation: Observation | None = None
        self._ready: Iterator[Activity] = iter(())

    def _take(self, result: Any) -> bool:
        """Process a result of the run through the pages, and return whether the run continues."""
        if result is None:
            return False
        found: PageResult = result
        if found.error is not None:
            raise found.error
        current = self._walk.current
        self._ready = iter(self._walk.take(found.number, found.page))
        return self._walk.current is current and not self._walk.is_over

    def _observe(self) -> "Observation | None":
        """Return the observation of the walk, which begins with its first run through pages."""
        if self._observation is None and self._observer is not None:
            self._observation = self._observer.run(PAGES.operation)
            weakref.finalize(self, self._observation.end)  # in case the walk is dropped
        return self._observation

    def _pages_ended(self) -> None:
        walk = self._walk
        if walk.is_over and walk.missing:
            logger.warning(
                "%s: the server counted %d record%s that %s on no page",
                PAGES.operation,
                walk.missing,
                "" if walk.missing == 1 else "s",
                "was" if walk.missing == 1 else "were",
                extra=fields("missing_records", operation=PAGES.operation, count=walk.missing),
            )
        if self._observation is not None and self._walk.is_over:
            self._observation.end(is_complete=True)

    def _end(self, failure: type[BaseException] | None = None) -> None:
        self._walk.is_over = True
        self._ready = iter(())
        if self._observation is not None:
            self._observation.end(failure)

    @property
    def until(self) -> dt.datetime:
        """The end of the walk's time window in UTC, which is fixed when the walk is created."""
        return cast("dt.datetime", self._walk.filters.until)

    @property
    def page(self) -> int:
        """The number of the page of the last record; 0 before the first record."""
        return self._walk.number

    @property
    def pagination(self) -> Pagination | None:
        """The server's pagination on that page; None before the first page."""
        return self._walk.pagination

    @property
    def unreadable(self) -> int:
        """The number of items that were left out because they are not records. See `ActivityPage`."""
        return self._walk.unreadable

    @property
    def missing(self) -> int:
        """The number of records that the server counted, but that were on no page; 0 before the last page.

        Get shorter periods or fewer records per page, because some servers limit both. If it stays, ask the
        API's support: their count may be wrong.
        """
        return self._walk.missing


class ActivityStream(_WalkProgress, Iterator[Activity]):
    """The result of `activities.iterate`: an iterator of records and a context manager.

    Use it in one thread at a time. It leaves no thread and no connection open; see `ResultStream`.
    """

    def __init__(self, walk: Walk, open_pages: OpenPages, observer: "Observer | None") -> None:
        super().__init__(walk, observer)
        self._open = open_pages
        self._pages: ResultStream | None = None

    def __iter__(self) -> Iterator[Activity]:  # noqa: PYI034 - `self` would be slower
        # A `for` loop gets records from a generator much faster than from `__next__`.
        while True:
            yield from self._ready
            if self._walk.is_over:
                return
            if self._pages is None:
                self._pages = self._open(self._walk.current, self._walk.pages(), self._observe())
            try:
                if not self._take(next(self._pages, None)):
                    self._pages.close()
                    self._pages = None
                    self._pages_ended()
            except BaseException as error:
                self._end(type(error))
                self.close()
                raise

    def __next__(self) -> Activity:
        for record in self:
            return record
        raise StopIteration

    def close(self) -> None:
        """Cancel the requests in flight and end the iteration. Closing again does nothing."""
        self._end()
        if self._pages is not None:
            self._pages.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


class AsyncActivityStream(_WalkProgress, AsyncIterator[Activity]):
    """The result of `activities.iterate`: an iterator of records and a context manager.

    Use it in one event loop. It leaves no task and no connection open; see `AsyncResultStream`.
    """

    def __init__(self, walk: Walk, open_pages: AsyncOpenPages, observer: "Observer | None") -> None:
        super().__init__(walk, observer)
        self._open = open_pages
        self._pages: AsyncResultStream | None = None

    async def __anext__(self) -> Activity:
        while True:
            for record in self._ready:
                return record
            if self._walk.is_over:
                raise StopAsyncIteration
            if self._pages is None:
                self._pages = self._open(self._walk.current, self._walk.pages(), self._observe())
            try:
                if not self._take(await anext(self._pages, None)):
                    await self._pages.aclose()
                    self._pages = None
                    self._pages_ended()
            except BaseException as error:
                self._end(type(error))
                await self.aclose()
                raise

    async def aclose(self) -> None:
        """Cancel the requests in flight and end the iteration. Closing again does nothing."""
        self._end()
        if self._pages is not None:
            await self._pages.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.aclose()
