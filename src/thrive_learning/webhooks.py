"""Webhook deliveries of the platform: who sent them, and which event they report. Pure.

`construct_event` verifies a delivery and reads its event. `verify` and `parse` do one half each. Use `parse`
alone only for subscriptions without a secret, whose deliveries anyone can forge.
"""

import datetime as dt
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias, cast

import attrs

from thrive_learning._deliveries import flaw_of_body, flaw_of_delivery, flaw_of_signature, read_document
from thrive_learning._views import read_view
from thrive_learning.credentials import Secret
from thrive_learning.drift import Drift
from thrive_learning.errors import ConfigurationError, ThriveError, WebhookError

__all__ = [
    "MAX_BODY_BYTES",
    "MAX_CLOCK_SKEW_S",
    "WebhookAssignment",
    "WebhookContent",
    "WebhookEvent",
    "WebhookMessageAction",
    "WebhookNotification",
    "WebhookUser",
    "construct_event",
    "parse",
    "verify",
]

#: The default size limit of a body, in bytes.
MAX_BODY_BYTES: Final = 1_048_576
#: How far an event's dispatch time may be ahead of this machine's clock, in seconds.
MAX_CLOCK_SKEW_S: Final = 300.0

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
#: The attributes of each family of events, besides the common ones. The name of an event begins with its
#: family's name.
_FAMILIES = {
    "content": ("user", "content"),
    "assignment": ("reason", "assignment", "content", "users"),
    "notification": ("user", "notification"),
    "user": ("user",),
}
#: Events that are not about the state of the object that names their family.
_COMPLETIONS = {"content.completed", "content.passed"}
_COMMON = ("event_type", "tenant_id", "created_at", "dispatched_at")

_Secret: TypeAlias = str | Secret | Callable[[], str]
_Secrets: TypeAlias = _Secret | Iterable[_Secret]
_Headers: TypeAlias = Mapping[str, Any] | Iterable[tuple[str, str]] | Iterable[tuple[bytes, bytes]] | None


@attrs.frozen(kw_only=True)
class WebhookUser:
    """The user who triggered the event, or whom it is about.

    Attributes:
        id: The user's ID. Its format may differ from the API's.
        reference: The ID in the customer's own system.
        email: The email address.
        first_name: The first name.
        last_name: The last name.
        status: The status of the account; only in events such as `user.updated`.
        role: The role; only in events such as `user.updated`.
    """

    id: str | None = None
    reference: str | None = None
    email: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    status: str | None = None
    role: str | None = None


@attrs.frozen(kw_only=True)
class WebhookContent:
    """The content that an event is about.

    Attributes:
        id: The ID of the content.
        title: The title.
        type: The kind of content, such as `video`.
        urls: The URLs of the content.
    """

    id: str | None = None
    title: str | None = None
    type: str | None = None
    urls: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class WebhookAssignment:
    """The assignment that an event is about.

    Attributes:
        id: The ID of the assignment.
        audience_id: The ID of its audience.
        primary_content_id: The ID of the content to complete.
        completion_period: The days within which it must be completed.
        recurring: Whether it recurs.
        recurrence: How often it recurs, as the platform describes it.
    """

    id: str | None = None
    audience_id: str | None = None
    primary_content_id: str | None = None
    completion_period: int | None = None
    recurring: bool | None = None
    recurrence: str | None = None


@attrs.frozen(kw_only=True)
class WebhookMessageAction:
    """An action that a notification offers to its reader.

    Attributes:
        label: The text of the button.
        links: The targets of the button.
    """

    label: str | None = None
    links: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class WebhookNotification:
    """The notification that was sent to a user.

    Attributes:
        message_type: The kind of notification.
        message_title: The title.
        message_actions: The offered actions.
        created_at: The time of its creation.
        dispatched_at: The time when it was sent to the user.
    """

    message_type: str | None = None
    message_title: str | None = None
    message_actions: tuple[WebhookMessageAction, ...] = ()
    created_at: dt.datetime | None = None
    dispatched_at: dt.datetime | None = None


@attrs.frozen(kw_only=True)
class WebhookEvent:
    """An event that the platform reported.

    Only `event_type` is always set. A missing or null member is None, or `()` for a list. So is a member of
    the wrong JSON type, and a date that is not RFC 3339 with a time zone; `problems` lists these. `payload`
    has everything as received, including the fields of events that are not documented, such as
    `page.created`. IDs are not validated, because webhooks use other formats than the API.

    Attributes:
        event_type: What happened, such as `content.completed`.
        tenant_id: The tenant of the event.
        created_at: The time of the event, with a time zone.
        dispatched_at: The time when the delivery was sent, with a time zone.
        payload: The whole object as received.
        user: In `content.*`, the user who acted; in `notification.*` and `user.*`, the user it is about.
        users: In `assignment.*`, the users it is about.
        content: In `content.*` and `assignment.*`, the content it is about.
        assignment: In `assignment.*`, the assignment.
        reason: In `assignment.*`, why it happened.
        notification: In `notification.*`, the notification.
        problems: The values that were left out, each with the reason; at most 50.

    Source: the vendor's pages on webhooks.
    """

    event_type: str
    tenant_id: str | None = None
    created_at: dt.datetime | None = None
    dispatched_at: dt.datetime | None = None
    payload: dict[str, Any] = attrs.field(factory=dict[str, Any], repr=False, hash=False)
    user: WebhookUser | None = None
    users: tuple[WebhookUser, ...] = ()
    content: WebhookContent | None = None
    assignment: WebhookAssignment | None = None
    reason: str | None = None
    notification: WebhookNotification | None = None
    problems: tuple[Drift, ...] = ()

    @property
    def deduplication_key(self) -> str:
        """64 hexadecimal digits that are the same for each delivery of one event, in every release.

        A repeated delivery may have another `dispatchedAt`, order, or spelling. The key covers the event
        type, `createdAt`, the tenant, the reason, and every object: by its IDs, or as a whole if it has no
        `id` or if the event is about its state, such as the user in `user.*`. If `createdAt` or all IDs are
        missing, and for events that the vendor does not document, it covers the whole payload except
        `dispatchedAt`. So the key differs if the platform changes what is covered before it repeats a
        delivery. Handling an event twice is better than losing one.
        """
        family = self.event_type.partition(".")[0]
        subject = "" if self.event_type in _COMPLETIONS else family
        facts = [*_identities(self.payload, subject)]
        about: object = sorted({json.dumps(fact, sort_keys=True) for fact in facts})
        has_ids = any(not isinstance(fact[-1], dict) for fact in facts)
        if self.created_at is None or not has_ids or family not in _FAMILIES:
            about = _undated(self.payload)
        moment = (
            None if self.created_at is None else (self.created_at - _EPOCH) // dt.timedelta(microseconds=1)
        )
        identity = [self.event_type, self.tenant_id, moment, self.payload.get("reason"), about]
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def verify(
    body: bytes | bytearray, signature: str | None, secrets: _Secrets, *, max_body_bytes: int = MAX_BODY_BYTES
) -> None:
    """Check that a delivery was signed with one of the secrets. The comparison takes constant time.

    Args:
        body: The body exactly as received. A body that was parsed and serialized again does not match.
        signature: The value of the header `x-hmac-signature`; None if the header is missing.
        secrets: The secret that was agreed with the vendor, or several during a rotation. Each is text, a
            `Secret`, or a function that returns the text.
        max_body_bytes: The size limit of the body, in bytes.

    Raises:
        SignatureError: The signature is missing, is not valid, or belongs to another body or secret.
        WebhookError: The body is too large.
        ConfigurationError: A secret is missing or not valid, or the body is not bytes.

    Source: the vendor's page on webhooks; RFC 2104.
    """
    failure = flaw_of_body(body, max_body_bytes) or flaw_of_signature(body, signature, secrets)
    del body, signature, secrets  # a traceback may show local variables
    if failure is not None:
        raise failure


def parse(body: bytes | bytearray, *, max_body_bytes: int = MAX_BODY_BYTES) -> WebhookEvent:
    """Read the event of a delivery without verifying it. Anyone may have sent it.

    Use it after `verify`, or for a subscription without a secret. In that case, confirm in another way that
    the platform is the sender, or treat the event as a hint and ask the API.

    Args:
        body: The body as received.
        max_body_bytes: The size limit of the body, in bytes.

    Raises:
        WebhookError: The body is too large, is not a JSON object, or has no `eventType`.
        ConfigurationError: The body is not bytes.

    Source: the vendor's pages on webhooks.
    """
    event = flaw_of_body(body, max_body_bytes) or _parsed(body)
    del body  # a traceback may show local variables
    if isinstance(event, ThriveError):
        raise event
    return event


def construct_event(  # noqa: PLR0913 - the parts of a delivery and its limits
    body: bytes | bytearray,
    headers: _Headers,
    secrets: _Secrets,
    *,
    max_age: float | None = None,
    now: dt.datetime | None = None,
    max_body_bytes: int = MAX_BODY_BYTES,
) -> WebhookEvent:
    """Verify a delivery and read its event.

    Args:
        body: The body exactly as received.
        headers: The headers of the request, as a mapping or pairs of text, or of bytes as in ASGI. Names may
            be in any case, or in WSGI's form, such as `HTTP_X_HMAC_SIGNATURE`.
        secrets: The secret that was agreed with the vendor, or several (see `verify`).
        max_age: The maximum age of the event since its dispatch, in seconds; None for no limit. With a limit,
            an event is also rejected if it was dispatched more than five minutes in the future, or if its
            `dispatchedAt` is not valid. The vendor does not document whether a repeated delivery has a new
            `dispatchedAt`, so allow for hours.
        now: The time to compare with, which must have a time zone; None for this machine's clock.
        max_body_bytes: The size limit of the body, in bytes.

    Raises:
        SignatureError: The signature is missing, is not valid, or belongs to another body or secret.
        WebhookError: The body is too large, the event is too old, or the body is not an event.
        ConfigurationError: A secret is missing, or an argument is not valid.

    Source: the vendor's pages on webhooks; RFC 2104.
    """
    event = (
        _flaw_of_limit(max_age, now)
        or flaw_of_body(body, max_body_bytes)
        or flaw_of_delivery(body, headers, secrets)
        or _parsed(body)
    )
    del body, headers, secrets  # a traceback may show local variables
    if isinstance(event, WebhookEvent) and max_age is not None:
        event = _flaw_of_age(event, max_age, now or dt.datetime.now(dt.UTC)) or event
    if isinstance(event, ThriveError):
        raise event
    return event


def _flaw_of_limit(max_age: object, now: object) -> ConfigurationError | None:
    is_number = isinstance(max_age, (int, float)) and not isinstance(max_age, bool)
    if max_age is not None and not (is_number and 0 < cast("float", max_age) < math.inf):
        return ConfigurationError(f"max_age is {max_age!r}. Pass a number of seconds above 0, or None.")
    if now is not None and not (isinstance(now, dt.datetime) and now.utcoffset() is not None):
        return ConfigurationError(f"now is {now!r}. Pass a datetime that has a time zone, or None.")
    return None


def _parsed(body: bytes | bytearray) -> WebhookEvent | WebhookError:
    document = read_document(body)
    if isinstance(document, WebhookError):
        return document
    family = document["eventType"].partition(".")[0]
    names = (*_COMMON, *_FAMILIES.get(family, ()))
    event, problems = read_view(WebhookEvent, document, names, payload=document)
    return attrs.evolve(event, problems=problems) if problems else event


def _flaw_of_age(event: WebhookEvent, max_age: float, now: dt.datetime) -> WebhookError | None:
    if event.dispatched_at is None:
        return WebhookError(
            "The event has no valid 'dispatchedAt', so its age is unknown. Reject it, or leave out max_age=.",
            reason="undated",
        )
    age_s = (now - event.dispatched_at).total_seconds()
    if age_s > max_age:
        return WebhookError(
            f"The event was dispatched at {event.dispatched_at}, {age_s:.0f} s ago, and max_age is "
            f"{max_age:g} s. Reject it; if it is genuine, allow more with max_age=, or check this machine's "
            "clock.",
            reason="too_old",
        )
    if age_s < -MAX_CLOCK_SKEW_S:
        return WebhookError(
            f"The event was dispatched at {event.dispatched_at}, {-age_s:.0f} s in the future. Reject it; if "
            "it is genuine, check this machine's clock.",
            reason="from_the_future",
        )
    return None


def _identities(value: object, subject: str, path: tuple[str, ...] = ()) -> Iterator[list[object]]:
    """Yield the facts that tell an event from others, each with the names of the members that lead to it.

    The last part of a fact is an ID, or an object without one.

    Args:
        value: The payload, or a part of it.
        subject: The name of the object whose state the event is about; empty without one.
        path: The names of the members that lead to the part.
    """
    if isinstance(value, list):
        for item in cast("list[object]", value):
            yield from _identities(item, subject, path)
    elif isinstance(value, dict):
        members = cast("dict[str, object]", value)
        counts_whole = bool(path) and (path == (subject,) or not _is_id(members.get("id")))
        if counts_whole and (known := _undated(members)):
            yield [*path, known]
        for name, member in members.items():
            if path and (name == "id" or name.endswith("Id")) and _is_id(member):
                yield [*path, name, member]
            else:
                yield from _identities(member, subject, (*path, name))


def _is_id(value: object) -> bool:
    return bool(value.strip()) if isinstance(value, str) else isinstance(value, int)


def _undated(value: Any) -> Any:
    """Return a value without times of dispatch and without null members, which equal missing ones."""
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value).items()
        return {name: _undated(item) for name, item in members if name != "dispatchedAt" and item is not None}
    return [_undated(item) for item in value] if isinstance(value, list) else value  # pyright: ignore[reportUnknownVariableType] - it is Any
