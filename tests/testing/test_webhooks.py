import datetime as dt
import json

import pytest

from thrive_learning import SignatureError
from thrive_learning.testing import SignedWebhook, make_webhook
from thrive_learning.webhooks import construct_event


def test_a_delivery_is_signed_recent_and_like_no_other() -> None:
    webhooks = [make_webhook(), make_webhook()]
    keys: set[str] = set()
    for webhook in webhooks:
        event = construct_event(webhook.body, webhook.headers, webhook.secret or "", max_age=60)
        assert event.event_type == "content.completed"
        keys.add(event.deduplication_key)
    assert len(keys) == 2


def test_passed_values_are_kept() -> None:
    moment = dt.datetime(2026, 11, 28, 10, 15, 31, tzinfo=dt.timezone(dt.timedelta(hours=1)))
    webhook = make_webhook(
        "user.updated",
        secret="example",
        dispatched_at=moment,
        tenantId="acme",
        user={"role": "admin"},
        more=[1],
    )
    event = construct_event(webhook.body, webhook.headers, "example")
    assert (event.event_type, event.tenant_id, event.dispatched_at) == ("user.updated", "acme", moment)
    assert event.user is not None
    assert (event.user.role, event.user.status) == ("admin", "active")
    assert json.loads(webhook.body)["more"] == [1]


def test_a_delivery_may_lack_a_signature() -> None:
    webhook = make_webhook(secret=None)
    assert (webhook.secret, list(webhook.headers)) == (None, ["content-type"])
    with pytest.raises(SignatureError):
        construct_event(webhook.body, webhook.headers, "example")


def test_the_secret_does_not_show() -> None:
    assert "canary" not in repr(make_webhook(secret="canary"))
    assert repr(SignedWebhook(b"", {}, "canary")) == "SignedWebhook(body=b'', headers={})"


def test_an_invalid_event_is_rejected() -> None:
    with pytest.raises(ValueError, match="dispatched_at is 2026-11-28 00:00:00, which has no time zone"):
        make_webhook(dispatched_at=dt.datetime(2026, 11, 28))  # noqa: DTZ001 - that is the point
    with pytest.raises(TypeError, match="not JSON serializable"):
        make_webhook(user={"id": object()})
