"""The results of a bulk run that nobody has taken yet, in the order of completion or of the IDs. Pure."""

import copy
from collections import deque
from collections.abc import Iterable
from typing import Any

from thrive_learning._bulk.plan import Plan
from thrive_learning.errors import ThriveError


class Results:
    """The results of a run.

    Args:
        plan: The arguments of the run.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._ready: deque[Any] = deque()  # in the order of completion
        self._by_place: dict[int, Any] = {}  # by position
        self._places = 0
        self._taken = 0

    @property
    def outstanding(self) -> int:
        """The number of results that were not taken, whether they are available or not."""
        return self._places - self._taken

    def next_place(self) -> int:
        """Return the position of the next ID."""
        self._places += 1
        return self._places - 1

    def put(self, places: Iterable[tuple[int, Any]], fetched: object, error: ThriveError | None) -> None:
        """Add the results of one job.

        Args:
            places: The position of each occurrence of its ID, with the ID as passed.
            fetched: The item; None with an error.
            error: The error; None with an item.
        """
        if error is not None:
            error.__traceback__ = None
        for index, (place, given) in enumerate(places):
            # Raising an error changes it, so each occurrence gets its own copy.
            own = copy.copy(error) if index and error is not None else error
            result = self._plan.kind.result(given, fetched, own)
            if self._plan.ordered:
                self._by_place[place] = result
            else:
                self._ready.append(result)

    def take(self, *, in_order: bool) -> Any:
        """Return the next result; None if it is not available yet.

        Args:
            in_order: Whether earlier results are waited for, if the run is ordered.
        """
        result = None
        if self._ready:
            result = self._ready.popleft()
        elif self._by_place:
            place = self._taken if in_order else min(self._by_place)
            result = self._by_place.pop(place, None)
        if result is not None:
            self._taken += 1
        return result
