"""Receive webhooks with Flask.

Run it with `flask --app flask_app run --port 8000`, and with THRIVE_WEBHOOK_SECRET set.
"""

import os

from flask import Flask, request

from thrive_learning import WebhookError, webhooks
from thrive_learning.webhooks import WebhookEvent

app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = webhooks.MAX_BODY_BYTES  # a larger body gets 413


@app.post("/webhooks")
def receive() -> tuple[str, int]:
    """Accept a genuine delivery. `get_data()` has the bytes as received, and `request.json` does not."""
    body = request.get_data()
    try:
        event = webhooks.construct_event(body, request.headers, os.environ["THRIVE_WEBHOOK_SECRET"])
    except WebhookError as error:
        app.logger.warning("rejected a delivery: %s", error)  # for operators, not for the sender
        return "", 400
    handle(event)
    return "", 204


def handle(event: WebhookEvent) -> None:
    """Put the event into a queue if the work takes more than a few seconds."""
    print(f"{event.event_type} {event.deduplication_key}")
