import hmac
import json
from typing import Any

import pytest

from thrive_learning.sandbox.webhooks import EVENT_TYPES, TENANT_ID, delivery

NOW = 1_764_321_330.25
SECRET = "fake-secret"


def payload(event_type: str, **options: Any) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(delivery(event_type, SECRET, NOW, **options).body)
    return document


@pytest.mark.parametrize("event_type", [*EVENT_TYPES, "page.created"])
def test_the_same_arguments_give_the_same_bytes(event_type: str) -> None:
    made = delivery(event_type, SECRET, NOW, number=4)
    assert made == delivery(event_type, SECRET, NOW, number=4)
    digest = hmac.new(SECRET.encode(), made.body, "sha256").hexdigest()
    assert made.headers == {"content-type": "application/json", "x-hmac-signature": f"sha256={digest}"}


def test_each_number_is_another_event() -> None:
    bodies = {delivery("content.completed", SECRET, NOW, number=number).body for number in range(50)}
    assert len(bodies) == 50


def test_the_four_common_members() -> None:
    assert payload("page.created") == {
        "eventType": "page.created",
        "tenantId": TENANT_ID,
        "createdAt": "2025-11-28T09:15:28.250Z",
        "dispatchedAt": "2025-11-28T09:15:30.250Z",
    }
    assert payload("page.created", number=251)["createdAt"] == "2025-11-28T09:15:27.999Z"


def test_the_members_are_those_of_the_vendors_page() -> None:
    person = {"id", "reference", "email", "firstName", "lastName"}
    content = {"id", "title", "type", "urls"}
    completed = payload("content.passed")
    assert (completed["user"].keys(), completed["content"].keys()) == (person, content)
    assert "user" not in payload("content.archived")
    assigned = payload("assignment.assigned")
    assert assigned["content"].keys() == content
    assert [user.keys() for user in assigned["users"]] == [person, person]
    assert assigned["assignment"].keys() == {
        "id",
        "audienceId",
        "primaryContentId",
        "completionPeriod",
        "recurring",
        "recurrence",
    }
    notification = payload("notification.dispatched")["notification"]
    assert notification.keys() == {
        "messageType",
        "messageTitle",
        "messageActions",
        "createdAt",
        "dispatchedAt",
    }
    assert notification["messageActions"][0].keys() == {"label", "links"}
    assert payload("user.updated")["user"].keys() == person | {"status", "role"}
    assert payload("user.deactivated")["user"]["status"] == "inactive"


def test_members_can_be_replaced() -> None:
    user = {"id": "usr_1", "email": None}
    changed = payload("content.completed", changes={"user": user, "content": None, "more": {"a": 1}})
    assert changed["user"] == payload("content.completed")["user"] | user
    assert (changed["content"], changed["more"]) == (None, {"a": 1})
    assert payload("content.completed", changes={"user": "x"})["user"] == "x"


def test_a_subscription_without_a_secret_has_no_signature() -> None:
    assert delivery("user.created", None, NOW).headers == {"content-type": "application/json"}
