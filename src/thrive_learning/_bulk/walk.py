"""What a walk through the pages of a list decides: the next page, what is new on it, and the end. Pure."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from thrive_learning._budget import Budget
from thrive_learning._bulk.schedule import JobKind, Plan
from thrive_learning._filters import ActivityFilters, page_number, page_size
from thrive_learning.errors import ThriveError, UnexpectedResponseError
from thrive_learning.models import Activity, ActivityPage, Pagination

#: How many pages are requested at once, and how many are kept ahead of the caller.
PAGES_AT_ONCE: Final = 2
PAGES_AHEAD: Final = 3

#: How many pages' worth of IDs are remembered. Records that arrive during a walk push others to later pages.
REMEMBERED_PAGES: Final = 20

#: After this many pages in a row without a new record, a walk that has no end in sight fails.
FRUITLESS_PAGES: Final = 10


class PageResult(NamedTuple):
    """One page, or why there is none.

    Attributes:
        number: The number of the page.
        page: The page.
        error: Why there is no page.
    """

    number: int
    page: ActivityPage
    error: ThriveError | None


#: Pages by their numbers.
PAGES = JobKind("page", "iterate", str, PageResult)


def plan_of(budget: Budget) -> Plan:
    """Return the plan for a run through pages."""
    return Plan(PAGES_AT_ONCE, True, budget.timeout, budget.retry, None, PAGES_AHEAD, PAGES)  # noqa: FBT003


class Walk:
    """One walk through all pages of a list, or several one after the other.

    Args:
        filters: Which records are wanted. `until` is there: it keeps new records from shifting the pages.
        page: The page to begin with.
        per_page: How many records a page has.

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
        self._walks = iter(filters.walks)
        self.current: ActivityFilters = next(self._walks)
        self._next = page_number(page)
        self._most_ids = max(REMEMBERED_PAGES * page_size(per_page), 1000)
        self._known: dict[str, None] = {}  # in the order of their arrival
        self._fruitless = 0

    def pages(self) -> Iterator[int]:
        """Return the numbers of the pages to request now. There is at least one."""
        total = None if self.pagination is None else self.pagination.total_pages
        # A server that does not say how many pages there are is asked for one after the other.
        return iter(range(self._next, max(self._next, total or 0) + 1))

    def take(self, number: int, page: ActivityPage) -> list[Activity]:
        """Take a page, and return the records on it that are new.

        Args:
            number: The number of the page; pages come in their order.
            page: The page.

        Raises:
            UnexpectedResponseError: The pages repeat each other without end.
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
        for _ in range(len(known) - self._most_ids):
            del known[next(iter(known))]
        self._fruitless = 0 if new else self._fruitless + 1
        total = page.pagination.total_pages
        if (not page.results and not unreadable) or (total is not None and number >= total):
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
            self.current, self._next, self.pagination, self._fruitless = following, 1, None, 0
