"""Deliveries of webhooks as the platform sends them: a pure function from an event and the time to a request.

Like the rest of the sandbox, it shares no code with the receiver, which is tested against it.
"""

import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, cast

TENANT_ID = "example-org"
#: The default secret that signs deliveries. It is public.
WEBHOOK_SECRET = "not-a-secret: sandbox webhooks"  # noqa: S105 - see there

#: The events whose fields are documented. Assignments may have others.
EVENT_TYPES = (
    *("content.completed", "content.passed", "content.created", "content.updated"),
    *("content.published", "content.deleted", "content.archived", "content.restored"),
    *("assignment.assigned", "assignment.updated", "assignment.removed"),
    "notification.dispatched",
    *("user.activated", "user.deactivated", "user.updated", "user.created"),
)

_PEOPLE = (
    ("64b6f4a8c2e4a1b9d3f2c501", "E-1815", "Ada", "Lovelace"),
    ("64b6f4a8c2e4a1b9d3f2c502", "E-1906", "Grace", "Hopper"),
    ("64b6f4a8c2e4a1b9d3f2c503", None, "Katherine", "Johnson"),
)
_CONTENT = (
    ("64b6f4a8c2e4a1b9d3f2c401", "Relative Time Dilation - Practical Guide", "article"),
    ("64b6f4a8c2e4a1b9d3f2c402", "Fire Safety at Work", "course"),
    ("64b6f4a8c2e4a1b9d3f2c407", "Nuit des comètes ☄", "video"),
)


class SandboxDelivery(NamedTuple):
    """A request that delivers an event.

    Attributes:
        headers: The headers, including the signature.
        body: The body, exactly as it was signed.
    """

    headers: dict[str, str]
    body: bytes


def delivery(
    event_type: str,
    secret: str | None,
    now: float,
    *,
    number: int = 0,
    changes: Mapping[str, Any] | None = None,
) -> SandboxDelivery:
    """Build the delivery of an event. The same arguments give the same bytes.

    Args:
        event_type: One of `EVENT_TYPES`. Other types have only the four common members.
        secret: Signs the body; None for a subscription without a secret.
        now: The time of the dispatch in Unix seconds. The event happened two seconds earlier.
        number: Distinguishes events of one type. It selects the users and the content, and each number
            happened a millisecond before the next lower one.
        changes: Members to replace, by name. An object replaces the members that it names.

    Source: the vendor's pages on webhooks, as far as they are known.
    """
    dispatched_at = datetime.fromtimestamp(now, UTC)
    created_at = dispatched_at - timedelta(seconds=2, milliseconds=number)
    payload = {
        "eventType": event_type,
        "tenantId": TENANT_ID,
        "createdAt": _written(created_at),
        "dispatchedAt": _written(dispatched_at),
        **_members(event_type, number, created_at),
    }
    text = json.dumps(_merged(payload, changes or {}), ensure_ascii=False, separators=(",", ":"))
    body = text.encode(errors="surrogatepass")
    headers = {"content-type": "application/json"}
    if secret is not None:
        headers["x-hmac-signature"] = f"sha256={hmac.digest(secret.encode(), body, 'sha256').hex()}"
    return SandboxDelivery(headers, body)


def _written(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"


def _merged(document: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(document)
    for name, value in changes.items():
        held: Any = merged.get(name)
        are_objects = isinstance(held, dict) and isinstance(value, Mapping)
        merged[name] = _merged(*cast("Any", (held, value))) if are_objects else value
    return merged


def _user(number: int) -> dict[str, Any]:
    user_id, reference, first_name, last_name = _PEOPLE[number % len(_PEOPLE)]
    return {
        "id": user_id,
        "reference": reference,
        "email": f"{first_name.lower()}@example.org",
        "firstName": first_name,
        "lastName": last_name,
    }


def _content(number: int) -> dict[str, Any]:
    content_id, title, kind = _CONTENT[number % len(_CONTENT)]
    url = f"https://example.learn.link/content/{content_id}"
    return {"id": content_id, "title": title, "type": kind, "urls": [url]}


def _members(event_type: str, number: int, created_at: datetime) -> dict[str, Any]:
    """Return the members of an event besides the common ones."""
    match event_type.partition(".")[0] if event_type in EVENT_TYPES else None:
        case "content":
            # A user deletes content, but content is archived when it expires, without a user.
            by = {} if event_type == "content.archived" else {"user": _user(number)}
            return {**by, "content": _content(number)}
        case "assignment":
            return {
                "reason": "audience",
                "assignment": {
                    "id": f"65f0c0de0000000000{number % 10**6:06}",
                    "audienceId": "65f0c0de00000000000000a1",
                    "primaryContentId": _content(number)["id"],
                    "completionPeriod": 30,
                    "recurring": True,
                    "recurrence": "yearly",
                },
                "content": _content(number),
                "users": [_user(number), _user(number + 1)],
            }
        case "notification":
            title = _content(number)["title"]
            link = _content(number)["urls"][0]
            return {
                "user": _user(number),
                "notification": {
                    "messageType": "assignment-due",
                    "messageTitle": f"{title} is due in 7 days",
                    "messageActions": [{"label": "Open", "links": [link]}],
                    "createdAt": _written(created_at),
                    "dispatchedAt": _written(created_at + timedelta(seconds=1)),
                },
            }
        case "user":
            status = "inactive" if event_type == "user.deactivated" else "active"
            return {"user": {**_user(number), "status": status, "role": "learner"}}
        case _:
            return {}
