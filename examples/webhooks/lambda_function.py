"""Receive webhooks with AWS Lambda, behind API Gateway (REST or HTTP API) or a function URL.

Set THRIVE_WEBHOOK_SECRET. API Gateway limits bodies to 10 MB, and Lambda to 6 MB.
"""

import base64
import os
from typing import Any

from thrive_learning import WebhookError, webhooks
from thrive_learning.webhooks import WebhookEvent


def lambda_handler(request: dict[str, Any], _context: object) -> dict[str, Any]:
    """Accept a genuine delivery. The gateway passes the bytes as text, or in base64."""
    text = request.get("body") or ""
    body = base64.b64decode(text) if request.get("isBase64Encoded") else text.encode()
    try:
        event = webhooks.construct_event(body, request.get("headers"), os.environ["THRIVE_WEBHOOK_SECRET"])
    except WebhookError as error:
        print(f"[WARNING] rejected a delivery: {error}")  # for operators, not for the sender
        return {"statusCode": 400}
    handle(event)
    return {"statusCode": 204}


def handle(event: WebhookEvent) -> None:
    """Put the event into a queue if the work takes more than a few seconds."""
    print(f"{event.event_type} {event.deduplication_key}")
