"""Serve activity records with FastAPI.

Run it with `uvicorn service:app`. The credentials come from the environment.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Annotated, TypedDict

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse

from thrive_learning import (
    Activity,
    AsyncThriveClient,
    DeadlineExceededError,
    InvalidIdError,
    NotFoundError,
    ThriveError,
)

logger = logging.getLogger(__name__)


class State(TypedDict):
    """The state that all requests share."""

    thrive: AsyncThriveClient


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[State]:
    """Keep one client for as long as the process runs."""
    async with AsyncThriveClient.from_env(timeout=10) as client:
        yield {"thrive": client}


app = FastAPI(lifespan=lifespan)


def thrive_client(request: Request) -> AsyncThriveClient:
    """Return the client of this process."""
    client: AsyncThriveClient = request.state.thrive
    return client


@app.get("/activities/{activity_id}")
async def read_activity(
    activity_id: str, client: Annotated[AsyncThriveClient, Depends(thrive_client)]
) -> Activity:
    """Return a record as JSON."""
    return await client.activities.get(activity_id)


@app.exception_handler(ThriveError)
async def answer_error(_request: Request, error: ThriveError) -> JSONResponse:
    """Log the message, which is for operators, and answer with the status alone."""
    status = http_status(error)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.error("%s", error)
    headers = {} if error.retry_after is None else {"Retry-After": f"{error.retry_after:.0f}"}
    return JSONResponse({"detail": status.phrase}, status, headers)


def http_status(error: ThriveError) -> HTTPStatus:
    """Return the status that says who must act: the caller, or the operators."""
    match error:
        case InvalidIdError():
            return HTTPStatus.BAD_REQUEST
        case NotFoundError():
            return HTTPStatus.NOT_FOUND
        case DeadlineExceededError():
            return HTTPStatus.GATEWAY_TIMEOUT
        case _ if error.is_transient:
            return HTTPStatus.SERVICE_UNAVAILABLE
        case _:  # credentials, settings, or a response that breaks the contract
            return HTTPStatus.INTERNAL_SERVER_ERROR
