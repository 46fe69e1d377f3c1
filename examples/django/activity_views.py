"""Serve activity records with Django.

Add `path("", include("activity_views"))` to the URLs of your project. The credentials come from the
environment.
"""

import atexit
import functools
import logging
import threading
from http import HTTPStatus

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.http import require_safe

from thrive_learning import (
    DeadlineExceededError,
    InvalidIdError,
    NotFoundError,
    ThriveClient,
    ThriveError,
)

logger = logging.getLogger(__name__)
_creation = threading.Lock()


def thrive_client() -> ThriveClient:
    """Return the client of this process. The first request creates it: `manage.py` needs no credentials."""
    with _creation:
        return _create_client()


@functools.cache
def _create_client() -> ThriveClient:
    client = ThriveClient.from_env(timeout=10)
    atexit.register(client.close)
    return client


@require_safe
def read_activity(_request: HttpRequest, activity_id: str) -> HttpResponse:
    """Return a record as JSON, or the status of the error. Its message is for operators, and is logged."""
    try:
        activity = thrive_client().activities.get(activity_id)
    except ThriveError as error:
        status = http_status(error)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            logger.error("%s", error)  # noqa: TRY400 - the message says all; the traceback is noise
        headers = {} if error.retry_after is None else {"Retry-After": f"{error.retry_after:.0f}"}
        return JsonResponse({"detail": status.phrase}, status=status, headers=headers)
    return HttpResponse(activity.to_json(), content_type="application/json")


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


urlpatterns = [path("activities/<activity_id>", read_activity)]
