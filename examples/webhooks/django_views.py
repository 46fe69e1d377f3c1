"""Receive webhooks with Django.

Add `path("", include("django_views"))` to the URLs of your project, and set THRIVE_WEBHOOK_SECRET. Django
itself rejects a body above DATA_UPLOAD_MAX_MEMORY_SIZE, which is 2.5 MB by default.
"""

import logging
import os

from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from thrive_learning import WebhookError, webhooks
from thrive_learning.webhooks import WebhookEvent

logger = logging.getLogger(__name__)


@csrf_exempt  # the signature takes its place
@require_POST
def receive(request: HttpRequest) -> HttpResponse:
    """Accept a genuine delivery. `request.body` has the bytes as received."""
    try:
        event = webhooks.construct_event(request.body, request.headers, os.environ["THRIVE_WEBHOOK_SECRET"])
    except WebhookError as error:
        logger.warning("rejected a delivery: %s", error)  # for operators, not for the sender
        return HttpResponse(status=400)
    handle(event)
    return HttpResponse(status=204)


def handle(event: WebhookEvent) -> None:
    """Put the event into a queue if the work takes more than a few seconds."""
    print(f"{event.event_type} {event.deduplication_key}")


urlpatterns = [path("webhooks", receive)]
