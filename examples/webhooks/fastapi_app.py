"""Receive webhooks with FastAPI.

Run it with `uvicorn fastapi_app:app --port 8000`, and with THRIVE_WEBHOOK_SECRET set.
"""

import logging
import os

from fastapi import BackgroundTasks, FastAPI, HTTPException, Request

from thrive_learning import WebhookError, webhooks
from thrive_learning.webhooks import WebhookEvent

logger = logging.getLogger(__name__)
app = FastAPI()


@app.post("/webhooks", status_code=204)
async def receive(request: Request, background: BackgroundTasks) -> None:
    """Accept a genuine delivery. The body is read as bytes: a parameter of this function would be parsed."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > webhooks.MAX_BODY_BYTES:
            raise HTTPException(413)
    try:
        event = webhooks.construct_event(body, request.headers, os.environ["THRIVE_WEBHOOK_SECRET"])
    except WebhookError as error:
        logger.warning("rejected a delivery: %s", error)  # for operators, not for the sender
        raise HTTPException(400) from None
    background.add_task(handle, event)  # after the answer; a queue would also survive a restart


def handle(event: WebhookEvent) -> None:
    """Handle the event."""
    print(f"{event.event_type} {event.deduplication_key}")
