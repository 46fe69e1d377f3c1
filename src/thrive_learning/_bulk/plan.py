"""The arguments of a bulk run, and the kind of item that it fetches. Pure."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from thrive_learning._budget import MAX_CONNECTIONS, Budget
from thrive_learning._ids import validate_activity_id
from thrive_learning.errors import ConfigurationError, ThriveError
from thrive_learning.models import Activity, ActivityFailed, ActivityFound, ActivityResult
from thrive_learning.policies import RetryPolicy, Timeout


class JobKind(NamedTuple):
    """The kind of item that a run fetches.

    Attributes:
        noun: The item of one job, in words.
        method: The method that starts runs.
        key: Validates the identifier of an item, and returns it as text.
        result: Returns the result for an identifier, an item, and an error.
        records: Returns the number of records in a result without an error.
        in_turn: Whether a job is read only after the outcome of the previous one.
        tag: The tag of the contract that the method belongs to.
    """

    noun: str
    method: str
    key: Callable[[Any], str]
    result: Callable[[Any, Any, ThriveError | None], Any]
    records: Callable[[Any], int]
    in_turn: bool = False
    tag: str = "activities"

    @property
    def operation(self) -> str:
        """The method with its tag, such as `activities.get_many`."""
        return f"{self.tag}.{self.method}"


def _record_result(given: str, activity: Activity, error: ThriveError | None) -> ActivityResult:
    return (
        ActivityFound(id=given, activity=activity) if error is None else ActivityFailed(id=given, error=error)
    )


def _one_record(_result: object) -> int:
    return 1


#: Records by their IDs.
RECORDS = JobKind("record", "get_many", validate_activity_id, _record_result, _one_record)


class Plan(NamedTuple):
    """The arguments of a run; see `Activities.get_many`.

    Attributes:
        most_ahead: The number of jobs that may be read before their results are taken; None for a multiple of
            the concurrency.
    """

    concurrency: int
    ordered: bool
    timeout: Timeout
    retry: RetryPolicy
    deadline_s: float | None
    most_ahead: int | None = None
    kind: JobKind = RECORDS

    @classmethod
    def of(cls, concurrency: object, ordered: object, deadline: object, budget: Budget) -> "Plan":
        """Check the arguments of `get_many`.

        Raises:
            ConfigurationError: An argument is not valid.
        """
        if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
            raise ConfigurationError(f"concurrency is {concurrency!r}. Use a whole number above 0.")
        if concurrency > MAX_CONNECTIONS:
            raise ConfigurationError(
                f"concurrency is {concurrency}. Use at most {MAX_CONNECTIONS}, the connections of a client."
            )
        if not isinstance(ordered, bool):
            raise ConfigurationError(f"ordered is {ordered!r}. Pass True or False.")
        if deadline is not None and (
            isinstance(deadline, bool)
            or not isinstance(deadline, (int, float))
            or not 0 < deadline < math.inf
        ):
            raise ConfigurationError(
                f"deadline is {deadline!r}. Use a number of seconds above 0 for the whole run, or None."
            )
        return cls(concurrency, ordered, budget.timeout, budget.retry, deadline)
