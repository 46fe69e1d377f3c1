"""Webhook deliveries. Unsigned ones are rejected, and no delivery causes another exception."""

import copy
import datetime as dt
import hmac
import json
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thrive_learning import (
    ConfigurationError,
    Drift,
    Secret,
    SignatureError,
    ThriveError,
    WebhookError,
    webhooks,
)
from thrive_learning._views import MAX_PROBLEMS
from thrive_learning.sandbox.webhooks import EVENT_TYPES, delivery
from thrive_learning.webhooks import (
    MAX_CLOCK_SKEW_S,
    WebhookAssignment,
    WebhookContent,
    WebhookEvent,
    WebhookMessageAction,
    WebhookNotification,
    WebhookUser,
    construct_event,
    parse,
    verify,
)

SECRET, OLDER = "canary secret é", "canary-older"
COMMON = {
    "eventType": "content.completed",
    "tenantId": "acme-corp",
    "createdAt": "2026-11-28T09:15:30.250Z",
    "dispatchedAt": "2026-11-28T09:15:31Z",
}
USER = {"id": "usr_abc123", "reference": "E-1", "email": "a@b.example", "firstName": "A", "lastName": "B"}
CONTENT = {"id": "60d5", "title": "Très clair", "type": "video", "urls": ["https://a.example/1"]}
DISPATCHED = dt.datetime(2026, 11, 28, 9, 15, 31, tzinfo=dt.UTC)
A_USER = WebhookUser(id="usr_abc123", reference="E-1", email="a@b.example", first_name="A", last_name="B")
SOME_CONTENT = WebhookContent(id="60d5", title="Très clair", type="video", urls=("https://a.example/1",))


def body_of(**members: Any) -> bytes:
    return json.dumps({**COMMON, "user": USER, "content": CONTENT, **members}, ensure_ascii=False).encode()


def signature_of(body: bytes, secret: str = SECRET) -> str:
    return f"sha256={hmac.new(secret.encode(), body, 'sha256').hexdigest()}"


BODY = body_of()
SIGNATURE = signature_of(BODY)
HEADERS = {"X-Hmac-Signature": SIGNATURE}


# The signature


def test_a_signed_delivery_is_accepted() -> None:
    verify(BODY, SIGNATURE, SECRET)
    event = construct_event(BODY, HEADERS, SECRET)
    assert (event.event_type, event.tenant_id) == ("content.completed", "acme-corp")
    assert event == parse(BODY)


def test_the_signature_is_that_of_rfc_4231() -> None:
    """Test case 2 of the RFC, which our code did not compute."""
    digest = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    verify(b"what do ya want for nothing?", f"sha256={digest}", "Jefe")


@pytest.mark.parametrize(
    "secrets",
    [
        SECRET,
        Secret(SECRET),
        lambda: SECRET,
        Secret(lambda: SECRET),
        [SECRET],
        (OLDER, SECRET),
        {SECRET, OLDER},
        iter([OLDER, Secret(SECRET)]),
        [lambda: OLDER, lambda: SECRET],
    ],
    ids=range(9),
)
def test_a_secret_may_be_given_in_any_form(secrets: Any) -> None:
    verify(BODY, SIGNATURE, secrets)


def test_both_secrets_count_during_a_rotation() -> None:
    for secret in (OLDER, SECRET):
        verify(BODY, signature_of(BODY, secret), [SECRET, OLDER])
    with pytest.raises(SignatureError, match="with any of the 2 secrets"):
        verify(BODY, signature_of(BODY, "a third"), [SECRET, OLDER])


def test_every_secret_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[object, object]] = []

    def compare(one: object, other: object) -> bool:
        compared.append((one, other))
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", compare)
    verify(BODY, SIGNATURE, [SECRET, OLDER, "a third"])
    assert len(compared) == 3


def test_the_digits_may_be_in_either_case() -> None:
    digits = SIGNATURE.removeprefix("sha256=")
    verify(BODY, f"sha256={digits.upper()}", SECRET)
    verify(BODY, f"sha256={digits[:9].upper()}{digits[9:]}", SECRET)


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "sha256=",
        SIGNATURE[:-1],
        f"{SIGNATURE}0",
        f"{SIGNATURE}\n",
        SIGNATURE.removeprefix("sha256="),
        SIGNATURE.replace("sha256", "sha1"),
        SIGNATURE.replace("sha256", "SHA256"),
        f"{SIGNATURE}, {SIGNATURE}",
        f"sha256={'é' * 64}",
        f"sha256={'٣' * 64}",
        SECRET,
        b"\xff",
        5,
    ],
)
def test_a_malformed_signature_is_rejected(signature: Any) -> None:
    for attempt in (
        lambda: verify(BODY, signature, SECRET),
        lambda: construct_event(BODY, [("x-hmac-signature", signature)], SECRET),
    ):
        with pytest.raises(SignatureError) as caught:
            attempt()
        assert caught.value.reason == "malformed_signature"
        assert "64 hexadecimal digits" in str(caught.value)


def test_a_wrong_signature_is_rejected() -> None:
    for body, signature, secret in (
        (BODY, signature_of(BODY, OLDER), SECRET),
        (BODY + b" ", SIGNATURE, SECRET),
        (json.dumps(json.loads(BODY)).encode(), SIGNATURE, SECRET),  # parsed and written again
        (BODY, SIGNATURE, SECRET + "é"),
    ):
        with pytest.raises(SignatureError, match="does not match its body with the secret") as caught:
            verify(body, signature, secret)
        assert caught.value.reason == "wrong_signature"


def test_an_unsigned_delivery_is_rejected() -> None:
    for attempt in (
        lambda: verify(BODY, None, SECRET),
        lambda: construct_event(BODY, {}, SECRET),
        lambda: construct_event(BODY, None, SECRET),
        lambda: construct_event(BODY, {"x-hmac-signature-2": SIGNATURE}, SECRET),
    ):
        with pytest.raises(
            SignatureError, match=r"has no header x-hmac-signature.*webhooks\.parse"
        ) as caught:
            attempt()
        assert caught.value.reason == "missing_signature"


def test_the_signature_is_checked_before_the_body_is_read() -> None:
    with pytest.raises(SignatureError):
        construct_event(b"nonsense", {}, SECRET)


@pytest.mark.parametrize(
    ("secrets", "problem"),
    [
        ("", "the secret is empty. Set it"),
        (["a", ""], "the secret is empty. Set it"),
        (" ", "the secret is only white space"),
        (f"{SECRET}\n", "the secret ends with a line end. Remove it"),
        ((), "it is missing. Pass the secret that was agreed with the vendor"),
        (None, "it is None. Pass the secret that was agreed with the vendor"),
        (5, "it is of type int. Pass text, a Secret, or several of them"),
        (b"bytes", "a secret is of type bytes. Pass it as text"),
        ([None], "a secret is of type NoneType. Pass it as text"),
        (lambda: "", "the function that returns a secret: the secret is empty"),
    ],
)
def test_an_invalid_secret_is_a_mistake_of_the_receiver(secrets: Any, problem: str) -> None:
    for attempt in (
        lambda: verify(BODY, SIGNATURE, secrets),
        lambda: construct_event(BODY, HEADERS, secrets),
    ):
        with pytest.raises(ConfigurationError) as caught:
            attempt()
        assert str(caught.value).startswith(f"The secret for webhooks cannot be used: {problem}")


# Headers


@pytest.mark.parametrize(
    "headers",
    [
        {"x-hmac-signature": SIGNATURE},
        {"X-HMAC-SIGNATURE": SIGNATURE, "Content-Type": "application/json"},
        {"HTTP_X_HMAC_SIGNATURE": SIGNATURE, "wsgi.input": object(), "REMOTE_PORT": 5},
        [("X-Hmac-Signature", SIGNATURE)],
        [(b"content-type", b"application/json"), (b"x-hmac-signature", SIGNATURE.encode())],
        {b"x-hmac-signature": SIGNATURE.encode()},
        (pair for pair in [("x-hmac-signature", f" {SIGNATURE}\t")]),
        [("x-hmac-signature", SIGNATURE), ("X-Hmac-Signature", SIGNATURE)],
        httpx.Headers(HEADERS),
    ],
    ids=lambda headers: type(headers).__name__,
)
def test_headers_may_be_given_as_any_framework_has_them(headers: Any) -> None:
    assert construct_event(BODY, headers, SECRET).user == A_USER


def test_headers_that_contradict_each_other_are_rejected() -> None:
    headers = [("x-hmac-signature", SIGNATURE), ("X-Hmac-Signature", signature_of(BODY, OLDER))]
    with pytest.raises(SignatureError, match="2 different x-hmac-signature headers") as caught:
        construct_event(BODY, headers, SECRET)
    assert caught.value.reason == "malformed_signature"


@pytest.mark.parametrize("headers", [5, "x-hmac-signature", [SIGNATURE], [5], object()])
def test_invalid_headers_are_a_mistake_of_the_receiver(headers: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"headers is of type \w+\. Pass a mapping"):
        construct_event(BODY, headers, SECRET)


def test_an_exception_of_a_signal_handler_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thrive_learning._deliveries.interruption", lambda error: error)
    wrong: list[Any] = [(5, SECRET), (HEADERS, 5)]
    for headers, secrets in wrong:
        with pytest.raises(TypeError):
            construct_event(BODY, headers, secrets)


# The body


@pytest.mark.parametrize("body", ["text", {"eventType": "x"}, None, [1]])
def test_a_body_that_is_not_bytes_is_a_mistake_of_the_receiver(body: Any) -> None:
    attempts: list[Callable[[], object]] = [
        lambda: verify(body, SIGNATURE, SECRET),
        lambda: parse(body),
        lambda: construct_event(body, HEADERS, SECRET),
    ]
    for attempt in attempts:
        with pytest.raises(ConfigurationError, match=r"body is of type \w+\. Pass the raw bytes"):
            attempt()


def test_a_bytearray_will_do() -> None:
    assert construct_event(bytearray(BODY), HEADERS, SECRET) == parse(BODY)


def test_a_body_that_is_too_large_is_rejected_before_it_is_hashed() -> None:
    size = len(BODY)
    assert construct_event(BODY, HEADERS, SECRET, max_body_bytes=size) == parse(BODY, max_body_bytes=size)
    verify(BODY, SIGNATURE, SECRET, max_body_bytes=size)
    attempts: list[Callable[[], object]] = [
        lambda: verify(BODY, None, SECRET, max_body_bytes=size - 1),
        lambda: parse(BODY, max_body_bytes=size - 1),
        lambda: construct_event(BODY, {}, SECRET, max_body_bytes=size - 1),
    ]
    for attempt in attempts:
        with pytest.raises(WebhookError, match=f"has {size} bytes, and the limit is {size - 1}") as caught:
            attempt()
        assert (type(caught.value), caught.value.reason) == (WebhookError, "too_large")
    assert webhooks.MAX_BODY_BYTES == 1024 * 1024
    with pytest.raises(WebhookError, match="the limit is 1048576"):
        parse(b" " * 1_048_577)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "its body is empty"),
        (b"nonsense", "its body is not JSON"),
        (b"<html>", "its body is HTML or XML"),
        (b"[]", "its body is JSON, but an array and not an object"),
        (b"\xff", "its body is not JSON"),
        (b'{"eventType": "a.b", "x": NaN}', "NaN is not JSON"),
        (b'{"eventType": "a.b", "x": 1e999}', "a number that is too large"),
        (b'{"eventType": "a.b", "x": ' + b"9" * 5000 + b"}", "a number that is too large"),
        (b'{"eventType": "a.b", "x": {"y": 1, "y": 1}}', "two members of the same name in one object"),
        (b'{"eventType": "a.b", "eventType": "c.d"}', "two members of the same name in one object"),
        (b'{"eventType": "a.b", "x": ' + b"[" * 100 + b"]" * 100 + b"}", "nested too deeply"),
        (b'{"eventType": "a.b", "x": ' + b'{"a":' * 200 + b"1" + b"}" * 201, "nested too deeply"),
        (b'{"eventType": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        (b"{}", "its 'eventType' is missing or empty"),
        (b'{"eventType": null}', "its 'eventType' is missing or empty"),
        (b'{"eventType": ""}', "its 'eventType' is missing or empty"),
        (b'{"eventType": 5}', "its 'eventType' is not a string"),
        (b'{"messageType": "content.completed"}', "its 'eventType' is missing or empty"),
    ],
)
def test_a_body_that_is_not_an_event_is_rejected(body: bytes, problem: str) -> None:
    attempts: list[Callable[[], object]] = [
        lambda: parse(body),
        lambda: construct_event(body, {"x-hmac-signature": signature_of(body)}, SECRET),
    ]
    for attempt in attempts:
        with pytest.raises(WebhookError) as caught:
            attempt()
        assert str(caught.value).startswith("The delivery is not an event: ")
        assert problem in str(caught.value)
        assert (type(caught.value), caught.value.reason) == (WebhookError, "malformed")
        assert caught.value.__cause__ is caught.value.__context__ is None


def test_a_byte_order_mark_and_100_levels_are_read() -> None:
    deep = b'{"eventType": "a.b", "x": ' + b"[" * 99 + b"]" * 99 + b"}"
    assert parse(b"\xef\xbb\xbf" + deep).event_type == "a.b"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text() | st.sampled_from([*COMMON, "user", "id"]), inner)
    ),
)


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_nothing_that_is_received_leads_to_another_exception(body: bytes) -> None:
    try:
        event = parse(body)
    except WebhookError:
        return
    assert len(event.deduplication_key) == 64


MEMBERS = st.sampled_from(["user", "users", "content", "assignment", "notification", "reason", "tenantId"])
INNER = st.sampled_from(
    ["id", "urls", "links", "messageActions", "createdAt", "completionPeriod", "recurring"]
)
VALUES = (
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False)
)
NESTED = st.recursive(VALUES, lambda inner: st.lists(inner) | st.dictionaries(INNER, inner))


@given(st.sampled_from([*EVENT_TYPES, "page.created"]), st.dictionaries(MEMBERS, NESTED))
def test_a_member_never_has_a_value_of_another_type(event_type: str, members: dict[str, Any]) -> None:
    event = parse(json.dumps({"eventType": event_type, **members}).encode())
    for value in leaves(event):
        assert value is None or isinstance(value, (str, bool, int, dt.datetime))
    assert event.payload == {"eventType": event_type, **members}
    assert pickle.loads(pickle.dumps(event)) == event
    assert len(event.deduplication_key) == 64


def leaves(value: Any) -> Iterator[Any]:
    if attrs.has(type(value)):
        names = [
            field.name for field in attrs.fields(type(value)) if field.name not in {"payload", "problems"}
        ]
        for name in names:
            yield from leaves(getattr(value, name))
    elif isinstance(value, tuple):
        for item in value:
            yield from leaves(item)
    else:
        yield value


# The age


@pytest.mark.parametrize(
    ("seconds", "max_age", "reason"),
    [
        (0, 60, None),
        (60, 60, None),
        (60.001, 60, "too_old"),
        (1e9, None, None),
        (-MAX_CLOCK_SKEW_S, 60, None),
        (-MAX_CLOCK_SKEW_S - 0.001, 60, "from_the_future"),
        (-1e9, None, None),
    ],
)
def test_an_event_may_be_too_old_or_from_the_future(
    seconds: float, max_age: float | None, reason: str | None
) -> None:
    now = DISPATCHED + dt.timedelta(seconds=seconds)
    now = now.astimezone(dt.timezone(dt.timedelta(hours=5)))
    if reason is None:
        assert construct_event(BODY, HEADERS, SECRET, max_age=max_age, now=now) == parse(BODY)
        return
    with pytest.raises(WebhookError) as caught:
        construct_event(BODY, HEADERS, SECRET, max_age=max_age, now=now)
    assert (type(caught.value), caught.value.reason) == (WebhookError, reason)
    assert "2026-11-28 09:15:31+00:00" in str(caught.value)


def test_the_age_counts_by_the_clock_of_this_machine() -> None:
    now = dt.datetime.now(dt.UTC)
    for age_s, is_accepted in ((0, True), (-1000, False), (7200, False)):
        body = body_of(dispatchedAt=(now - dt.timedelta(seconds=age_s)).isoformat())
        headers = {"x-hmac-signature": signature_of(body)}
        if is_accepted:
            construct_event(body, headers, SECRET, max_age=3600)
        else:
            with pytest.raises(WebhookError):
                construct_event(body, headers, SECRET, max_age=3600)


@pytest.mark.parametrize("dispatched_at", [None, "yesterday", 5, "2026-11-28T09:15:31"])
def test_an_event_without_a_date_has_no_age(dispatched_at: object) -> None:
    body = body_of(dispatchedAt=dispatched_at)
    headers = {"x-hmac-signature": signature_of(body)}
    assert construct_event(body, headers, SECRET).dispatched_at is None
    with pytest.raises(WebhookError, match="so its age is unknown") as caught:
        construct_event(body, headers, SECRET, max_age=60)
    assert caught.value.reason == "undated"


HOUR = dt.timedelta(hours=1)


@pytest.mark.parametrize("max_age", [0, -1, float("nan"), float("inf"), True, "60", HOUR])
def test_an_invalid_age_is_a_mistake_of_the_receiver(max_age: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        construct_event(BODY, HEADERS, SECRET, max_age=max_age)
    assert str(caught.value) == f"max_age is {max_age!r}. Pass a number of seconds above 0, or None."


class NoZone(dt.tzinfo):
    """A time zone that is not one, which Python allows."""

    def utcoffset(self, _moment: dt.datetime | None) -> None:
        return None

    dst = tzname = utcoffset


@pytest.mark.parametrize(
    "now",
    [DISPATCHED.replace(tzinfo=None), DISPATCHED.replace(tzinfo=NoZone()), 0, "2026-11-28T09:15:31Z"],
    ids=type,
)
def test_a_time_without_a_zone_is_a_mistake_of_the_receiver(now: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        construct_event(BODY, HEADERS, SECRET, max_age=60, now=now)
    assert str(caught.value) == f"now is {now!r}. Pass a datetime that has a time zone, or None."


@pytest.mark.parametrize("limit", [0, -1, None, "5", 1.5])
def test_an_invalid_limit_of_the_body_is_a_mistake_of_the_receiver(limit: Any) -> None:
    attempts: list[Callable[[], object]] = [
        lambda: verify(BODY, SIGNATURE, SECRET, max_body_bytes=limit),
        lambda: parse(BODY, max_body_bytes=limit),
        lambda: construct_event(BODY, HEADERS, SECRET, max_body_bytes=limit),
    ]
    for attempt in attempts:
        with pytest.raises(
            ConfigurationError, match=r"max_body_bytes is .+\. Pass a number of bytes above 0"
        ):
            attempt()


# The event


def test_the_four_common_fields() -> None:
    event = parse(BODY)
    assert event.created_at == dt.datetime(2026, 11, 28, 9, 15, 30, 250_000, tzinfo=dt.UTC)
    assert event.dispatched_at == DISPATCHED
    assert event.payload == json.loads(BODY)
    assert event.problems == ()


@pytest.mark.parametrize("event_type", ["content.completed", "content.passed", "content.restored"])
def test_an_event_of_content(event_type: str) -> None:
    event = parse(body_of(eventType=event_type))
    assert (event.user, event.content) == (A_USER, SOME_CONTENT)
    assert (event.users, event.assignment, event.reason, event.notification) == ((), None, None, None)


def test_content_that_nobody_changed() -> None:
    event = parse(body_of(eventType="content.archived", user=None, content={"id": "1", "urls": None}))
    assert (event.user, event.content) == (None, WebhookContent(id="1"))
    assert parse(body_of(user=dict.fromkeys(USER))).user == WebhookUser()
    assert event.problems == ()


def test_an_event_of_an_assignment() -> None:
    assignment = {
        "id": None,
        "audienceId": "a1",
        "primaryContentId": "c1",
        "completionPeriod": 30,
        "recurring": False,
        "recurrence": "yearly",
    }
    body = body_of(
        eventType="assignment.reopened",  # the set is open
        reason="audience",
        assignment=assignment,
        users=[USER, None, {"id": "2"}],
    )
    event = parse(body)
    assert event.assignment == WebhookAssignment(
        audience_id="a1",
        primary_content_id="c1",
        completion_period=30,
        recurring=False,
        recurrence="yearly",
    )
    assert (event.reason, event.content) == ("audience", SOME_CONTENT)
    assert event.users == (A_USER, WebhookUser(id="2"))
    assert event.user is None  # not a field of these events
    assert event.problems == ()


def test_a_notification() -> None:
    notification = {
        "messageType": "due",
        "messageTitle": "Soon",
        "messageActions": [{"label": "Open", "links": ["https://a.example"]}, {}],
        "dispatchedAt": "2026-11-28T09:15:31Z",
        "createdAt": "2026-11-28T10:15:31+01:00",
    }
    event = parse(body_of(eventType="notification.dispatched", notification=notification))
    assert event.user == A_USER
    assert event.notification == WebhookNotification(
        message_type="due",
        message_title="Soon",
        message_actions=(
            WebhookMessageAction(label="Open", links=("https://a.example",)),
            WebhookMessageAction(),
        ),
        created_at=DISPATCHED,
        dispatched_at=DISPATCHED,
    )


def test_an_event_of_a_user() -> None:
    event = parse(body_of(eventType="user.updated", user={**USER, "status": "active", "role": "admin"}))
    assert event.user == attrs.evolve(A_USER, status="active", role="admin")
    assert event.content is None  # not a field of these events


@pytest.mark.parametrize("event_type", ["page.created", "contentious.thing", "x", "moderation.a.b", "\ud800"])
def test_an_unknown_event_survives(event_type: str) -> None:
    body = json.dumps({**COMMON, "eventType": event_type, "page": {"id": 1.50}, "user": 5}).encode()
    event = parse(body)
    assert (event.event_type, event.tenant_id, event.dispatched_at) == (event_type, "acme-corp", DISPATCHED)
    assert event.payload["page"] == {"id": 1.5}
    assert (event.user, event.problems) == (None, ())
    assert len(event.deduplication_key) == 64


def test_a_departure_from_the_documentation_becomes_null_and_is_reported() -> None:
    event = parse(
        body_of(
            eventType="assignment.assigned",
            tenantId=5,
            createdAt="2026-11-28 09:15:30",
            dispatchedAt=1_764_321_330,
            content={"id": 5, "title": {"en": "x"}, "urls": "https://a.example", "type": True},
            assignment={"completionPeriod": True, "recurring": "yes", "id": ["a"], "recurrence": 0},
            users=[5, {"id": None}, {"email": False, "unknown": 5}],
            reason=[],
        )
    )
    assert (event.tenant_id, event.created_at, event.dispatched_at) == (None, None, None)
    assert (event.content, event.assignment) == (WebhookContent(), WebhookAssignment())
    assert (event.users, event.reason) == ((WebhookUser(), WebhookUser()), None)
    date = "a date and time with a time zone as in RFC 3339"
    assert sorted(event.problems) == sorted(
        [
            Drift("wrong_type", "tenantId", "a number", "a string"),
            Drift("unreadable_date", "createdAt", "text of another form", date),
            Drift("wrong_type", "dispatchedAt", "a number", "a string"),
            Drift("wrong_type", "content.id", "a number", "a string"),
            Drift("wrong_type", "content.title", "an object", "a string"),
            Drift("wrong_type", "content.urls", "a string", "an array"),
            Drift("wrong_type", "content.type", "a boolean", "a string"),
            Drift("wrong_type", "assignment.completionPeriod", "a boolean", "a whole number"),
            Drift("wrong_type", "assignment.recurring", "a string", "a boolean"),
            Drift("wrong_type", "assignment.id", "an array", "a string"),
            Drift("wrong_type", "assignment.recurrence", "a number", "a string"),
            Drift("wrong_type", "users[0]", "a number", "an object"),
            Drift("wrong_type", "users[2].email", "a boolean", "a string"),
            Drift("wrong_type", "reason", "an array", "a string"),
        ]
    )


def test_the_problems_of_one_event_are_bounded() -> None:
    event = parse(body_of(eventType="assignment.assigned", users=[5] * 1000))
    assert (len(event.problems), event.users) == (MAX_PROBLEMS, ())


def test_an_event_is_frozen_and_travels() -> None:
    event = parse(BODY)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        event.event_type = "x"  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(event)) == copy.deepcopy(event) == event
    assert hash(event) == hash(parse(BODY))
    assert WebhookEvent(event_type="a.b").payload == {}
    assert "payload" not in repr(event)


# Repeated deliveries


def key_of(**members: Any) -> str:
    return parse(body_of(**members)).deduplication_key


def test_a_second_delivery_has_the_same_key() -> None:
    pretty = json.dumps(dict(reversed(json.loads(BODY).items())), indent=2).encode()
    assert parse(pretty).deduplication_key == key_of()
    assert key_of(dispatchedAt="2026-11-28T10:00:00Z", createdAt="2026-11-28T10:15:30.25+01:00") == key_of()
    assert key_of(user={**USER, "email": "new@b.example"}, more=5) == key_of()
    users = [{"id": "1"}, {"id": "2"}]
    given = {"eventType": "assignment.assigned"}
    assert key_of(**given, users=users) == key_of(**given, users=users[::-1])


def test_the_key_stays_as_it_is() -> None:
    """Users store it: another release must not change it."""
    assert key_of() == "6e480ead7e707a6752c8f5aa541e659584178e665126ecb80a6e45e17828f424"


def test_another_event_has_another_key() -> None:
    keys = [
        key_of(),
        key_of(eventType="content.passed"),
        key_of(tenantId="other"),
        key_of(createdAt="2026-11-28T09:15:30.251Z"),
        key_of(user={**USER, "id": "usr_other"}),
        key_of(user={**USER, "id": 5}),
        key_of(content={**CONTENT, "id": "usr_abc123"}, user={**USER, "id": "60d5"}),
        key_of(assignment={"audienceId": "a"}),
        key_of(assignment={"primaryContentId": "a"}),
        key_of(eventType="page.created"),
        key_of(eventType="page.created", page={"id": "1"}),
        key_of(eventType="notification.dispatched"),
        key_of(eventType="notification.dispatched", notification={"messageType": "due"}),
        key_of(eventType="notification.dispatched", notification={"messageTitle": "due"}),
    ]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    ("event_type", "name", "given", "others"),
    [
        ("content.completed", "user", {}, [{"reference": "1"}, {"reference": "2"}, {"email": "a"}]),
        ("content.completed", "user", {"id": None}, [{"reference": "1"}, {"reference": "2"}]),
        ("content.completed", "user", {"id": " ", "email": "a"}, [{"email": "b"}]),
        ("content.completed", "user", {"id": ["x"]}, [{"id": ["y"]}, {"id": 1.5}, {"id": 2.5}, {"id": 1}]),
        ("content.completed", "content", {"title": "a"}, [{"title": "b"}]),
        ("content.updated", "content", {"id": "c", "title": "a"}, [{"title": "b"}, {"type": "page"}]),
        ("user.updated", "user", {"id": "u", "status": "active"}, [{"status": "inactive"}, {"role": "x"}]),
        ("assignment.updated", "assignment", {"id": "a", "recurring": True}, [{"recurring": False}]),
        ("assignment.assigned", "users", [{"email": "a"}, {"id": "b"}], [[{"email": "c"}, {"id": "b"}]]),
        ("assignment.removed", "reason", "left", ["deleted"]),
        ("notification.dispatched", "notification", {"messageActions": []}, [{"messageActions": [{}]}]),
        ("page.created", "pageId", "1", ["2"]),
    ],
    ids=range(12),
)
def test_events_that_differ_in_what_identifies_them_are_not_taken_for_one(
    event_type: str, name: str, given: Any, others: list[Any]
) -> None:
    values = [given, *(given | other if isinstance(given, dict) else other for other in others)]
    keys = {key_of(**{"eventType": event_type, name: value}) for value in values}
    assert len(keys) == len(values)


def test_a_repeated_delivery_with_other_details_has_the_same_key() -> None:
    for event_type in ("content.completed", "content.passed"):
        changed = {"title": "new", "urls": ["https://a.example/signed"]}
        assert key_of(eventType=event_type, content=CONTENT | changed) == key_of(eventType=event_type)
    sent = [{"messageType": "due", "dispatchedAt": time} for time in ("2026-11-28T10:00:00Z", None)]
    notifications = {key_of(eventType="notification.dispatched", notification=one) for one in sent}
    assert len(notifications) == 1
    user = {"id": None, "email": "a"}
    assert key_of(user=user) == key_of(user={"email": "a"})
    assert key_of(eventType="content.created", user={"id": None}) == key_of(
        eventType="content.created", user=None
    )


def test_an_event_without_distinct_ids_is_never_lost() -> None:
    for known in ({"createdAt": None}, {"user": {"email": "a"}, "content": None}):
        first, again = key_of(**known, page=1), key_of(**known, page=1, dispatchedAt="2026-11-29T00:00:00Z")
        assert first == again
        assert first != key_of(**known, page=2)


# Secrets


def shown(error: BaseException) -> list[str]:
    texts = [str(error), repr(error), repr(vars(error)), *traceback.format_exception(error)]
    texts += [repr(pickle.dumps(error)), repr(error.__cause__), repr(error.__context__)]
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    ours = [frame for frame in frames if "thrive_learning" in frame.f_code.co_filename]
    assert ours
    return texts + [repr(frame.f_locals) for frame in ours]


FAILURES: list[Callable[[], object]] = [
    lambda: verify(BODY, None, SECRET),
    lambda: verify(BODY, SECRET, [SECRET]),
    lambda: verify(BODY, signature_of(BODY, OLDER), [SECRET]),
    lambda: verify(BODY, SIGNATURE, [SECRET, ""]),
    lambda: verify(BODY, SIGNATURE, f"{SECRET}\n"),
    lambda: verify(BODY, SIGNATURE, SECRET.encode()),  # type: ignore[arg-type]
    lambda: verify(BODY, SIGNATURE, {SECRET: 5, 5: SECRET}),  # type: ignore[dict-item]
    lambda: verify(BODY, SIGNATURE, lambda: f"{SECRET}\n"),
    lambda: verify(BODY.decode(), SIGNATURE, SECRET),  # type: ignore[arg-type]
    lambda: construct_event(BODY, {"x-hmac-signature": signature_of(BODY, OLDER)}, SECRET),
    lambda: construct_event(BODY, {"x-hmac-signature": SECRET}, SECRET),
    lambda: construct_event(BODY, {}, SECRET, max_body_bytes=5),
    lambda: construct_event(BODY, 5, SECRET),  # type: ignore[arg-type]
    lambda: construct_event(BODY, HEADERS, SECRET, max_age=0),
    lambda: construct_event(BODY, HEADERS, SECRET, max_age=1),
    lambda: construct_event(BODY[:-1], {"x-hmac-signature": signature_of(BODY[:-1])}, SECRET),
    lambda: parse(BODY[:-1]),
]


@pytest.mark.parametrize("number", range(len(FAILURES)))
def test_no_error_shows_a_secret_the_body_or_the_right_signature(number: int) -> None:
    with pytest.raises(ThriveError) as caught:
        FAILURES[number]()
    error = caught.value
    assert error.__cause__ is error.__context__ is None
    for hidden in ("canary", "a@b.example", SIGNATURE.removeprefix("sha256=")):
        assert not [text for text in shown(error) if hidden in text]
    other = pickle.loads(pickle.dumps(error))
    assert (type(other), str(other), vars(other)) == (type(error), str(error), vars(error))


def test_the_search_finds_what_is_there() -> None:
    code = compile("def leak(secret):\n raise ThriveError('x')", "thrive_learning/x.py", "exec")
    namespace: dict[str, Any] = {"ThriveError": ThriveError}
    exec(code, namespace)  # noqa: S102
    with pytest.raises(ThriveError) as caught:
        namespace["leak"](SECRET)
    assert [text for text in shown(caught.value) if "canary" in text]


# Deliveries of the sandbox


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_every_event_of_the_sandbox_is_read_without_a_problem(event_type: str) -> None:
    now = DISPATCHED.timestamp()
    headers, body = delivery(event_type, SECRET, now)
    event = construct_event(body, headers, SECRET, max_age=1, now=DISPATCHED)
    assert (event.event_type, event.problems) == (event_type, ())
    assert event.created_at == DISPATCHED - dt.timedelta(seconds=2)
    names = ("user", "users", "content", "assignment", "reason", "notification")
    assert event.payload.keys() - COMMON.keys() == {name for name in names if getattr(event, name)}


def test_the_module_loads_no_http() -> None:
    watched = {"httpx", "httpcore", "anyio", "asyncio", "ssl", "_thrive_learning_api"}
    code = f"import sys, thrive_learning.webhooks; print(*{watched} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
