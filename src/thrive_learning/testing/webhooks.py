"""Deliveries of webhooks for the tests of a receiver."""

import datetime as dt
import itertools
from typing import Any

import attrs

from thrive_learning.sandbox.webhooks import WEBHOOK_SECRET, delivery

_numbers = itertools.count()


@attrs.frozen
class SignedWebhook:
    """A delivery to send to a receiver, such as with the test client of its framework.

    Attributes:
        body: The body, exactly as it was signed.
        headers: The content type and the signature.
        secret: What it was signed with; None if it was not.
    """

    body: bytes
    headers: dict[str, str]
    secret: str | None = attrs.field(repr=False)


def make_webhook(
    event_type: str = "content.completed",
    *,
    secret: str | None = WEBHOOK_SECRET,
    dispatched_at: dt.datetime | None = None,
    **members: Any,
) -> SignedWebhook:
    """Make a delivery of an event that is like no other, but for what is passed.

    Args:
        event_type: What happened. A documented event has realistic members, any other only the common ones.
        secret: What the receiver expects it to be signed with; None for a delivery without a signature.
        dispatched_at: When it was sent, aware of its time zone; None for now.
        **members: Members of the payload by their names in JSON, such as `user={"id": "usr_1"}`. An object
            replaces the members that it names and keeps the others.

    Raises:
        TypeError: A member cannot be JSON.
        ValueError: `dispatched_at` has no time zone.
    """
    moment = dt.datetime.now(dt.UTC) if dispatched_at is None else dispatched_at
    if moment.tzinfo is None:
        raise ValueError(f"dispatched_at is {moment}, which has no time zone. Pass an aware datetime.")
    headers, body = delivery(event_type, secret, moment.timestamp(), number=next(_numbers), changes=members)
    return SignedWebhook(body, headers, secret)
