"""What a walk through the pages of a list decides: the next page, what is new on it, and the end. Pure."""

import itertools
from collections.abc import Iterator
from typing import Final, NamedTuple

from thrive_learning._budget import Budget
from thrive_learning._bulk.schedule import JobKind, Plan
from thrive_learning._filters import MAX_VALUES, ActivityFilters, page_number, page_size
from thrive_learning.errors import ConfigurationError, ThriveError, UnexpectedResponseError
from thrive_learning.models import Activity, ActivityPage, Pagination

#: How many pages are requested before the caller asks for their records.
PAGES_AHEAD: Final = 2

#: How many pages' worth of IDs are remembered. Records that arrive during a walk push others to later pages.
REMEMBERED_PAGES: Final = 20

#: After this many pages in a row without a new record, a walk that has no end in sight fails.
FRUITLESS_PAGES: Final = 10


class PageResult(NamedTuple):
    """One page, or the error that stands for it.

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


#: Pages by their numbers, each requested after the response to the one before. Otherwise, a record that is
#: inserted between the response to page 3 and that to page 2 would move another one from page 2 to page 3,
#: and that one would be on neither of them.
PAGES = JobKind("page", "iterate", str, PageResult, _records_of_page, in_turn=True)


def plan_of(budget: Budget) -> Plan:
    """Return the plan for a run through pages."""
    return Plan(1, True, budget.timeout, budget.retry, None, PAGES_AHEAD, PAGES)  # noqa: FBT003


class Walk:
    """One walk through all pages of a list, or several one after the other.

    Args:
        filters: Which records are wanted. `until` is there: it keeps new records from shifting the pages.
        page: The page to begin with.
        per_page: How many records a page has.

    Raises:
        ConfigurationError: There is no such page, or no such number of records.

    Attributes:
        is_over: Whether all pages were taken.
        number: The page that was taken last; 0 before the first.
        pagination: What it said of all pages.
        unreadable: How many items so far were not records.
        current: The filters of the pages to request now.
    """

    def __init__(self, filters: ActivityFilters, page: int, per_page: int) -> None:
        self.filters: ActivityFilters = filters
        self.is_over: bool = False
        self.number: int = 0
        self.pagination: Pagination | None = None
        self.unreadable: int = 0
        walks = filters.walks
        self._next = page_number(page)
        if self._next > 1 and len(walks) > 1:
            raise ConfigurationError(
                f"page={page} does not say which IDs it is a page of, because a request takes {MAX_VALUES} "
                f"of the {len(filters.content_ids)} content_ids. Pass page=1, or at most {MAX_VALUES} IDs."
            )
        self._walks = iter(walks)
        self.current: ActivityFilters = next(self._walks)
        self._most_ids = max(REMEMBERED_PAGES * page_size(per_page), 1000)
        self._known: dict[str, None] = {}  # in the order of their arrival
        self._fruitless = 0
        self._total: int | None = None  # how many pages there are now; None if the last one did not say
        self._said: int | None = None  # which page the last one said that it is

    def pages(self) -> Iterator[int]:
        """Return the numbers of the pages to request now. There is at least one."""
        # A server that does not say how many pages there are is asked for one after the other.
        return iter(range(self._next, max(self._next, self._total or 0) + 1))

    def take(self, number: int, page: ActivityPage) -> list[Activity]:
        """Take a page, and return the records on it that are new.

        Args:
            number: The number of the page; pages come in their order.
            page: The page.

        Raises:
            UnexpectedResponseError: The pages repeat each other without end, or one is the page before again.
        """
        unreadable = sum(drift.kind == "unreadable_item" for drift in page.problems)
        self.unreadable += unreadable
        self.number, self.pagination, self._next = number, page.pagination, number + 1
        known = self._known
        new: list[Activity] = []
        for record in page.results:
            if record.id not in known:
                known[record.id] = None
                new.append(record)
        for oldest in [*itertools.islice(known, max(len(known) - self._most_ids, 0))]:
            del known[oldest]
        self._fruitless = 0 if new else self._fruitless + 1
        before, self._said = self._said, page.pagination.page
        if page.results and not new and before is not None and before == self._said:
            raise UnexpectedResponseError(
                f"the response to the request for page {number} is page {before} again, so records would be "
                "missing. Ask the API's support about its pages.",
                status_code=200,
                in_api_format=True,
            )
        total = self._total = page.pagination.total_pages
        is_empty = not page.results and not unreadable
        # A page that is not empty shows that there is more than no page.
        if is_empty or (total is not None and number >= total > 0):
            self._begin_next()
        elif self._fruitless >= FRUITLESS_PAGES:
            first = number - FRUITLESS_PAGES + 1
            raise UnexpectedResponseError(
                f"the pages {first} to {number} hold no record that earlier pages do not hold, so the "
                "list does not seem to end. Ask the API's support about its pages.",
                status_code=200,
                in_api_format=True,
            )
        return new

    def _begin_next(self) -> None:
        """Begin the walk for the next content IDs, if there are any."""
        following = next(self._walks, None)
        if following is None:
            self.is_over = True
        else:
            self.current, self._next, self._total, self._fruitless = following, 1, None, 0
            self._said = None
