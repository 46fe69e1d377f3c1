"""Runs one generated operation and converts its result into our model."""

import datetime as dt
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from thrive_learning._budget import Budget
from thrive_learning._call.operation import Operation
from thrive_learning._call.seam import AsyncCaller, Call, Caller, current_call
from thrive_learning._exchange.messages import unexpected_response
from thrive_learning._exchange.reply import Reply
from thrive_learning._frames import forget_locals
from thrive_learning._interruptions import interruption
from thrive_learning.errors import Attempt, UnexpectedResponseError
from thrive_learning.models import ApiResponse
from thrive_learning.policies import CallOptions

if TYPE_CHECKING:
    from contextvars import Token

T = TypeVar("T")

#: The exceptions of the generated parsers for JSON of an unexpected form.
_PARSER_ERRORS = (TypeError, ValueError, KeyError, AttributeError)


def call(operation: Operation[T], http: Caller, options: CallOptions, /, **arguments: object) -> T:
    """Run the operation of a method, and return our model.

    Args:
        operation: The operation.
        http: The seam.
        options: The options of the method.
        **arguments: The arguments of the generated function: path, query, and body.
    """
    return run(operation, http, arguments, http.seam.begin(**options))[0]


async def acall(
    operation: Operation[T], http: AsyncCaller, options: CallOptions, /, **arguments: object
) -> T:
    """Run the operation of a method. See `call`."""
    return (await run_async(operation, http, arguments, http.seam.begin(**options)))[0]


def run(
    operation: Operation[T],
    http: Caller,
    arguments: Mapping[str, Any],
    budget: Budget,
    history: tuple[Attempt, ...] | None = None,
) -> tuple[T, Call]:
    """Run an operation, and return our model and the call.

    If it raises, no frame below this one keeps its local variables, which contain credentials and responses.

    Args:
        operation: The operation.
        http: The seam.
        arguments: The arguments of the generated function by name: path, query, and body.
        budget: The call's time and attempts.
        history: The attempts of earlier calls for the same subject in a bulk run, which has a span of its
            own; None for a call, which gets one.
    """
    if history is None and http.observer is not None:
        with http.observer.call(operation.name, operation.key_of(arguments)):
            return run(operation, http, arguments, budget, ())
    try:
        return _run(operation, http, arguments, budget, history or ())
    except BaseException as error:
        forget_locals(error)
        raise


def _run(
    operation: Operation[T],
    http: Caller,
    arguments: Mapping[str, Any],
    budget: Budget,
    history: tuple[Attempt, ...],
) -> tuple[T, Call]:
    call, flaw = Call(operation, arguments, budget, history), None
    outer = current_call.set(call)
    try:
        operation.sync(**arguments, client=http.api)
    except _PARSER_ERRORS as error:
        flaw = _flaw(error, call)
    finally:
        current_call.reset(outer)
    outcome = _conclude(operation, call, flaw, http)
    if isinstance(outcome, UnexpectedResponseError):
        del call  # a raised error keeps its frames, and the response may repeat credentials
        raise outcome
    return outcome, call


async def run_async(
    operation: Operation[T],
    http: AsyncCaller,
    arguments: Mapping[str, Any],
    budget: Budget,
    history: tuple[Attempt, ...] | None = None,
) -> tuple[T, Call]:
    """Run an operation. See `run`."""
    if history is None and http.observer is not None:
        with http.observer.call(operation.name, operation.key_of(arguments)):
            return await run_async(operation, http, arguments, budget, ())
    try:
        return await _run_async(operation, http, arguments, budget, history or ())
    except BaseException as error:
        forget_locals(error)
        raise


async def _run_async(
    operation: Operation[T],
    http: AsyncCaller,
    arguments: Mapping[str, Any],
    budget: Budget,
    history: tuple[Attempt, ...],
) -> tuple[T, Call]:
    call, flaw = Call(operation, arguments, budget, history), None
    outer = current_call.set(call)
    try:
        await operation.asyncio(**arguments, client=http.api)
    except _PARSER_ERRORS as error:
        flaw = _flaw(error, call)
    finally:
        _leave(call, outer)
    outcome = _conclude(operation, call, flaw, http)
    if isinstance(outcome, UnexpectedResponseError):
        del call  # a raised error keeps its frames, and the response may repeat credentials
        raise outcome
    return outcome, call


def _leave(call: Call, outer: "Token[Call]") -> None:
    """Reset the current call, unless this is another context, in which a dropped coroutine ends."""
    if current_call.get(None) is call:
        current_call.reset(outer)


def _flaw(error: Exception, call: Call) -> str:
    if call.reply is None or interruption(error) is not None:
        raise error  # not from the parser
    return f"the generated parser failed on it ({type(error).__name__})"


def _conclude(
    operation: Operation[T], call: Call, flaw: str | None, http: Caller | AsyncCaller
) -> T | UnexpectedResponseError:
    reading = call.reading
    flaw = http.seam.rejection(reading) or flaw
    if flaw is None:
        http.seam.report(call, http.authorizer)
        return operation.build(reading)
    circumstances = http.authorizer.circumstances(call.subject, call.token)
    error = unexpected_response(_reply(call), circumstances, flaw)
    error.history = tuple(call.history)
    return error


def _reply(call: Call) -> Reply:
    return cast("Reply", call.reply)  # the seam sets it before it returns a response


def with_response(data: T, call: Call, http: Caller | AsyncCaller) -> ApiResponse[T]:
    """Return the result of a call together with the facts of its response."""
    reply = _reply(call)
    secrets = http.authorizer.circumstances(call.subject, call.token).secrets
    return ApiResponse(
        data=data,
        status_code=reply.status_code,
        request_id=reply.request_id,
        elapsed=dt.timedelta(seconds=call.budget.elapsed()),
        history=tuple(call.history),
        headers=reply.kept_headers(secrets),
    )
