"""Deliveries of webhooks for the tests of a receiver."""

import datetime as dt
import itertools
from typing import Any

import attrs

from thrive_learning.sandbox.webhooks import WEBHOOK_SECRET, delivery

_numbers = itertools.count()


@attrs.frozen
class SignedWebhook:
    """A delivery to send to a receiver, for example with the test client of its framework.

    Attributes:
        body: The body, exactly as it was signed.
        headers: The content type and the signature.
        secret: The secret that signed the delivery; None if it is not signed.
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
    """Create a delivery of a unique event, with the given members.

    Args:
        event_type: The type of the event. Documented types have realistic members, others only the common
            ones.
        secret: The secret that the receiver expects; None for a delivery without a signature.
        dispatched_at: The time of the dispatch, aware of its time zone; None for now.
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
