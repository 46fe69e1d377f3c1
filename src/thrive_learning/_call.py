"""Runs one generated operation and turns its model into ours."""

import datetime as dt
from collections.abc import Awaitable, Callable
from typing import Any, Generic, NamedTuple, TypeVar, cast

from _thrive_learning_api import Client
from _thrive_learning_api.types import Response

from thrive_learning._auth import Authorization
from thrive_learning._http import AsyncHttpClient, Call, HttpClient, current_call
from thrive_learning._outcome import Reply, unexpected_response
from thrive_learning.models import ApiResponse
from thrive_learning.policies import Budget

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
        problem: Says how a JSON object breaks the contract, or gives None.
        build: Makes our model from the JSON text and the generated model.
    """

    name: str
    noun: str
    sync: Callable[..., Response[Any]]
    asyncio: Callable[..., Awaitable[Response[Any]]]
    successes: frozenset[int]
    problem: Callable[[dict[str, Any]], str | None]
    build: Callable[[str, Any], T]


def run(  # noqa: PLR0913, PLR0917 - what makes up a call
    operation: Operation[T],
    http: HttpClient,
    api: Client,
    identifier: str,
    budget: Budget,
    sleep: Callable[[float], object] | None = None,
) -> tuple[T, Call]:
    """Run an operation on the record of an id: give our model, and the call that it came from.

    `sleep` is how a bulk run waits, if it is one that asks.
    """
    call = Call(operation.name, operation.noun, identifier, budget, operation.successes)
    if sleep is not None:
        call.is_bulk, call.sleep = True, sleep
    parsed, flaw = None, None
    outer = current_call.set(call)
    try:
        parsed = operation.sync(identifier, client=api).parsed
    except _PARSER_ERRORS as error:
        flaw = _flaw(error, call)
    finally:
        current_call.reset(outer)
    return _conclude(operation, call, parsed, flaw, http.authorizer)


async def run_async(  # noqa: PLR0913 - what makes up a call
    operation: Operation[T],
    http: AsyncHttpClient,
    api: Client,
    identifier: str,
    budget: Budget,
    *,
    is_bulk: bool = False,
) -> tuple[T, Call]:
    """Run an operation on the record of an id. See `run`; `is_bulk` says that a bulk run asks."""
    call = Call(operation.name, operation.noun, identifier, budget, operation.successes)
    call.is_bulk = is_bulk
    parsed, flaw = None, None
    outer = current_call.set(call)
    try:
        parsed = (await operation.asyncio(identifier, client=api)).parsed
    except _PARSER_ERRORS as error:
        flaw = _flaw(error, call)
    finally:
        current_call.reset(outer)
    return _conclude(operation, call, parsed, flaw, http.authorizer)


def _flaw(error: Exception, call: Call) -> str:
    if call.reply is None:
        raise error  # it is not the parser's
    return f"the generated parser failed on it ({type(error).__name__})"


def _conclude(
    operation: Operation[T], call: Call, parsed: Any, flaw: str | None, authorization: Authorization
) -> tuple[T, Call]:
    problem = operation.problem(call.document) or flaw
    if problem is None:
        try:
            return operation.build(call.text, parsed), call
        except _PARSER_ERRORS as cause:
            problem = f"no record can be made of it ({type(cause).__name__})"
    circumstances = authorization.circumstances(call.subject, call.token)
    error = unexpected_response(_reply(call), circumstances, problem)
    error.history = tuple(call.history)
    raise error


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
