"""Decides about a walk through the pages of a list: the next page, its new records, and the end. Pure."""

import itertools
from collections.abc import Iterator
from typing import Final, NamedTuple

from thrive_learning._budget import Budget
from thrive_learning._bulk.plan import JobKind, Plan
from thrive_learning._filters import MAX_VALUES, ActivityFilters, page_number, page_size
from thrive_learning.errors import ConfigurationError, ThriveError, UnexpectedResponseError
from thrive_learning.models import Activity, ActivityPage, Pagination

#: The number of pages that are requested before the caller requests their records.
PAGES_AHEAD: Final = 2

#: The number of pages whose IDs are remembered. Records that arrive during a walk push others to later pages.
REMEMBERED_PAGES: Final = 20

#: The number of pages in a row without a new record after which an endless walk fails.
FRUITLESS_PAGES: Final = 10


class PageResult(NamedTuple):
    """One page or its error.

    Attributes:
        number: The number of the page.
        page: The page.
        error: The error; None if the page was read.
    """

    number: int
    page: ActivityPage
    error: ThriveError | None


def _records_of_page(result: PageResult) -> int:
    return len(result.page)


#: Pages by number, each requested after the response to the previous one. If page 3 arrived before page 2, a
#: record inserted in between would move another record from page 2 to page 3, and that record would be on
#: neither.
PAGES = JobKind("page", "iterate", str, PageResult, _records_of_page, in_turn=True)


def plan_of(budget: Budget) -> Plan:
    """Return the plan for a run through pages."""
    return Plan(1, True, budget.timeout, budget.retry, None, PAGES_AHEAD, PAGES)  # noqa: FBT003


class Walk:
    """A walk through all pages of a list, or through several lists in sequence.

    Args:
        filters: The filters. They have `until`, so that new records do not shift the pages.
        page: The first page to request.
        per_page: The number of records per page.

    Raises:
        ConfigurationError: The page number or the number of records per page is not valid.

    Attributes:
        is_over: Whether all pages were processed.
        number: The number of the last processed page; 0 before the first.
        pagination: The server's pagination on that page.
        unreadable: The number of items that were not records.
        missing: The number of records that were on no page although the server counted them.
        current: The filters of the current pages.
    """

    def __init__(self, filters: ActivityFilters, page: int, per_page: int) -> None:
        self.filters: ActivityFilters = filters
        self.is_over: bool = False
        self.number: int = 0
        self.pagination: Pagination | None = None
        self.unreadable: int = 0
        self.missing: int = 0
        walks = filters.walks
        self._next = page_number(page)
        if self._next > 1 and len(walks) > 1:
            raise ConfigurationError(
                f"page={page} is ambiguous, because a request takes {MAX_VALUES} of the "
                f"{len(filters.content_ids)} content_ids. Pass page=1, or at most {MAX_VALUES} IDs."
            )
        self._walks = iter(walks)
        self.current: ActivityFilters = next(self._walks)
        self._per_page = page_size(per_page)
        self._most_ids = max(REMEMBERED_PAGES * self._per_page, 1000)
        self._known: dict[str, None] = {}  # in the order of arrival
        self._fruitless = 0
        self._total: int | None = None  # the current number of pages; None if the last page did not say
        self._said: int | None = None  # the number of the last page according to the server
        self._received = 0  # the records of this list, and those on the pages before the first requested one
        self._counted: int | None = None  # the fewest records of this list according to the server

    def pages(self) -> Iterator[int]:
        """Return the numbers of the pages to request now, at least one."""
        # Without a number of pages from the server, request one page at a time.
        return iter(range(self._next, max(self._next, self._total or 0) + 1))

    def take(self, number: int, page: ActivityPage) -> list[Activity]:
        """Process a page, and return its new records.

        Args:
            number: The number of the page. Pages are processed in order.
            page: The page.

        Raises:
            UnexpectedResponseError: The server repeats pages endlessly, or repeats the previous page.
        """
        unreadable = sum(drift.kind == "unreadable_item" for drift in page.problems)
        self.unreadable += unreadable
        if self.pagination is None:
            self._begin_at(number, page.pagination)
        self.number, self.pagination, self._next = number, page.pagination, number + 1
        known = self._known
        new: list[Activity] = []
        for record in page.results:
            if record.id not in known:
                known[record.id] = None
                new.append(record)
        self._count(page, new, unreadable)
        for oldest in [*itertools.islice(known, max(len(known) - self._most_ids, 0))]:
            del known[oldest]
        self._fruitless = 0 if new else self._fruitless + 1
        before, self._said = self._said, page.pagination.page
        if page.results and not new and before is not None and before == self._said:
            raise UnexpectedResponseError(
                f"The response to the request for page {number} is page {before} again, so records would be "
                "missing. Ask the API's support about its pages.",
                status_code=200,
                in_api_format=True,
            )
        total = self._total = page.pagination.total_pages
        is_empty = not page.results and not unreadable
        # A page that is not empty shows that there is at least one page.
        if is_empty or (total is not None and number >= total > 0):
            self._begin_next()
        elif self._fruitless >= FRUITLESS_PAGES:
            first = number - FRUITLESS_PAGES + 1
            raise UnexpectedResponseError(
                f"The pages {first} to {number} have no records that earlier pages do not have, so the list "
                "does not seem to end. Ask the API's support about its pages.",
                status_code=200,
                in_api_format=True,
            )
        return new

    def _begin_at(self, number: int, pagination: Pagination) -> None:
        """Count the records before the first requested page as received, if their number is known."""
        self._received = (number - 1) * self._per_page
        if number > 1 and pagination.per_page not in {None, self._per_page}:
            self._counted = 0

    def _count(self, page: ActivityPage, new: list[Activity], unreadable: int) -> None:
        """Count what the server sends, and the fewest records that it counts."""
        # Servers may list and count a record twice. Only a page that they repeat does not count.
        is_first = not self._received
        self._received += unreadable + (len(page.results) if new or is_first else 0)
        total = page.pagination.total_results
        if total is not None:
            self._counted = total if self._counted is None else min(total, self._counted)

    def _begin_next(self) -> None:
        """Begin the walk for the next content IDs, if any."""
        # Records that are added or deleted meanwhile do not make this positive, because it is the fewest.
        self.missing += max((self._counted or 0) - self._received, 0)
        self._received, self._counted = 0, None
        following = next(self._walks, None)
        if following is None:
            self.is_over = True
        else:
            self.current, self._next, self._total, self._fruitless = following, 1, None, 0
            self._said = None
