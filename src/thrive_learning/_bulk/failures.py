"""Which failures end a bulk run or concern one ID alone, and the errors of IDs without a request. Pure."""

import math

from thrive_learning._bulk.plan import Plan
from thrive_learning.errors import (
    ApiError,
    Attempt,
    ClientClosedError,
    ConfigurationError,
    DeadlineExceededError,
    RateLimitedError,
    ThriveError,
    TokenError,
    UnauthorizedError,
    UnexpectedResponseError,
)


def ends_run(error: ThriveError) -> bool:
    """Return whether every other ID would certainly get the same error."""
    if isinstance(error, TokenError):
        return not error.is_transient
    if isinstance(error, UnauthorizedError):
        return error.in_api_format
    return isinstance(error, (ClientClosedError, ConfigurationError))


def is_hopeless(error: ThriveError) -> bool:
    """Return whether an error suggests that every other ID would get the same error.

    This is the case if the credentials are rejected or not sufficient, or if the response is a redirect or is
    not in the API's own format, so that another server seems to have answered.
    """
    if isinstance(error, UnexpectedResponseError):
        return not error.in_api_format
    return isinstance(error, ApiError) and (
        not error.in_api_format or error.status_code in {401, 403} or 300 <= error.status_code <= 399  # noqa: PLR2004
    )


def may_be_about_the_id(error: ThriveError) -> bool:
    """Return whether a transient failure may be about the ID, and not about the client and its token."""
    return not isinstance(error, (RateLimitedError, TokenError))


def pause_asked_s(error: ThriveError) -> float:
    """Return the pause that a server asks for, in seconds; 0 without one."""
    return getattr(error, "retry_after", None) or 0.0


def cause_of(error: ThriveError) -> str:
    """Return what happened in a transient failure, in a few words."""
    if isinstance(error, (ApiError, TokenError)):
        what = f"status {error.status_code}"
    else:
        what = "no response in time" if isinstance(error, DeadlineExceededError) else "no complete response"
    return what if error.url is None else f"{what} from {error.url}"


def joined_attempts(earlier: tuple[Attempt, ...], later: tuple[Attempt, ...]) -> tuple[Attempt, ...]:
    """Join the attempts of a fetch to the earlier ones, unless it already includes them."""
    if later[: len(earlier)] == earlier:
        return later
    attempts = enumerate((*earlier, *later), start=1)
    return tuple(attempt._replace(number=number) for number, attempt in attempts)


def too_late(plan: Plan, *, is_refused: bool) -> DeadlineExceededError:
    """Return the error of an item that did not arrive before the deadline of the run.

    Args:
        plan: The plan of the run, which has a deadline.
        is_refused: Whether the rate limit would not allow another request before the deadline.
    """
    if is_refused:
        return DeadlineExceededError(
            f"The run's deadline={plan.deadline_s:g} s is over before the rate limit allows another "
            f"request, so this {plan.kind.noun} was not requested. Allow more time with deadline=."
        )
    return DeadlineExceededError(
        f"The run's deadline={plan.deadline_s:g} s was over before this {plan.kind.noun} "
        "arrived. Try again later, or allow more time with deadline=."
    )


def held_up(plan: Plan, cause: str, resumes_in_s: float) -> DeadlineExceededError:
    """Return the error of an item whose time limit was over before it could be requested.

    Args:
        plan: The plan of the run.
        cause: Why all requests of the run pause.
        resumes_in_s: When the pause ends, in seconds from now.
    """
    error = DeadlineExceededError(
        f"Timeout.total={plan.timeout.total:g} s was over before this "
        f"{plan.kind.noun} could be requested, because all requests of the run pause "
        f"({cause}). Try again later, or allow more time with timeout=."
    )
    error.retry_after = math.ceil(max(resumes_in_s, 0.0))
    return error
