"""Runs one generated operation and turns its model into ours."""

import datetime as dt
from collections.abc import Awaitable, Callable
from typing import Any, Generic, NamedTuple, TypeVar, cast

from _thrive_learning_api import Client
from _thrive_learning_api.types import Response

from thrive_learning._budget import Budget
from thrive_learning._call.seam import AsyncCaller, Call, Caller, current_call
from thrive_learning._exchange.messages import unexpected_response
from thrive_learning._exchange.reply import Reply
from thrive_learning._frames import forget_locals
from thrive_learning._interruptions import interruption
from thrive_learning._reading import Reading
from thrive_learning.drift import Drift
from thrive_learning.errors import Attempt, UnexpectedResponseError
from thrive_learning.models import ApiResponse

T = TypeVar("T")

#: What the generated parsers raise when JSON is not of the form that they expect.
_PARSER_ERRORS = (TypeError, ValueError, KeyError, AttributeError)


class Operation(NamedTuple, Generic[T]):
    """One operation of the contract.

    Attributes:
        name: What errors, attempts and log records call it, such as `activities.get`.
        noun: What it gives, in words; messages put the ID behind it.
        sync: The generated function for sync clients.
        asyncio: The generated function for async clients; it runs on trio as well.
        successes: The statuses that the contract documents as successes.
        read: Compares a JSON object with the contract.
        build: Makes our model from the JSON text, the generated model, the reading and its problems.
    """

    name: str
    noun: str
    sync: Callable[..., Response[Any]]
    asyncio: Callable[..., Awaitable[Response[Any]]]
    successes: frozenset[int]
    read: Callable[[dict[str, Any]], Reading]
    build: Callable[[str, Any, Reading, tuple[Drift, ...]], T]


def run(  # noqa: PLR0913, PLR0917 - what makes up a call
    operation: Operation[T],
    http: Caller,
    api: Client,
    identifier: str,
    budget: Budget,
    history: tuple[Attempt, ...] = (),
) -> tuple[T, Call]:
    """Run an operation on the record of an ID; return our model, and the call that it came from.

    In an exception, no frame beneath this one keeps its local variables: they hold credentials and responses.

    Args:
        operation: The operation.
        http: The seam.
        api: The generated client.
        identifier: The ID.
        budget: What the call may spend.
        history: The attempts of earlier calls for the same record, which this one goes on with.
    """
    try:
        return _run(operation, http, api, identifier, budget, history)
    except BaseException as error:
        forget_locals(error)
        raise


def _run(  # noqa: PLR0913, PLR0917 - what makes up a call
    operation: Operation[T],
    http: Caller,
    api: Client,
    identifier: str,
    budget: Budget,
    history: tuple[Attempt, ...],
) -> tuple[T, Call]:
    call = Call(
        operation.name, operation.noun, identifier, budget, operation.successes, operation.read, history
    )
    parsed, flaw = None, None
    outer = current_call.set(call)
    try:
        parsed = operation.sync(identifier, client=api).parsed
    except _PARSER_ERRORS as error:
        flaw = _flaw(error, call)
    finally:
        current_call.reset(outer)
    outcome = _conclude(operation, call, parsed, flaw, http)
    if isinstance(outcome, UnexpectedResponseError):
        del call, parsed  # what a server sent may repeat credentials, and a raised error keeps its frames
        raise outcome
    return outcome, call


async def run_async(  # noqa: PLR0913, PLR0917 - what makes up a call
    operation: Operation[T],
    http: AsyncCaller,
    api: Client,
    identifier: str,
    budget: Budget,
    history: tuple[Attempt, ...] = (),
) -> tuple[T, Call]:
    """Run an operation on the record of an ID. See `run`."""
    try:
        return await _run_async(operation, http, api, identifier, budget, history)
    except BaseException as error:
        forget_locals(error)
        raise


async def _run_async(  # noqa: PLR0913, PLR0917 - what makes up a call
    operation: Operation[T],
    http: AsyncCaller,
    api: Client,
    identifier: str,
    budget: Budget,
    history: tuple[Attempt, ...],
) -> tuple[T, Call]:
    call = Call(
        operation.name, operation.noun, identifier, budget, operation.successes, operation.read, history
    )
    parsed, flaw = None, None
    outer = current_call.set(call)
    try:
        parsed = (await operation.asyncio(identifier, client=api)).parsed
    except _PARSER_ERRORS as error:
        flaw = _flaw(error, call)
    finally:
        current_call.reset(outer)
    outcome = _conclude(operation, call, parsed, flaw, http)
    if isinstance(outcome, UnexpectedResponseError):
        del call, parsed  # what a server sent may repeat credentials, and a raised error keeps its frames
        raise outcome
    return outcome, call


def _flaw(error: Exception, call: Call) -> str:
    if call.reply is None or interruption(error) is not None:
        raise error  # it is not the parser's
    return f"the generated parser failed on it ({type(error).__name__})"


def _conclude(
    operation: Operation[T], call: Call, parsed: Any, flaw: str | None, http: Caller | AsyncCaller
) -> T | UnexpectedResponseError:
    reading = call.reading
    flaw = http.seam.rejection(reading) or flaw
    if flaw is None:
        problems = http.seam.report(call, http.authorizer)
        try:
            return operation.build(call.text, parsed, reading, problems)
        except _PARSER_ERRORS as cause:
            if interruption(cause) is not None:
                raise
            flaw = f"no record can be made of it ({type(cause).__name__})"
    circumstances = http.authorizer.circumstances(call.subject, call.token)
    error = unexpected_response(_reply(call), circumstances, flaw)
    error.history = tuple(call.history)
    return error


def _reply(call: Call) -> Reply:
    return cast("Reply", call.reply)  # the seam gives a response only once it has set it


def with_response(data: T, call: Call) -> ApiResponse[T]:
    """Give what a call came to together with what is known of the response."""
    reply = _reply(call)
    return ApiResponse(
        data=data,
        status_code=reply.status_code,
        request_id=reply.request_id,
        elapsed=dt.timedelta(seconds=call.budget.elapsed()),
        history=tuple(call.history),
    )
