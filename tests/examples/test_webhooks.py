"""The programs that receive webhooks, each in its real framework."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from example_programs import EXAMPLES, django_client, load
from harness import ROOT

from thrive_learning import webhooks
from thrive_learning.testing import SignedWebhook, make_webhook

FOLDER = EXAMPLES / "webhooks"
SECRET = "canary"

#: Sends a delivery and returns the status and the text of the answer.
Post = Callable[[SignedWebhook], tuple[int, str]]


def with_fastapi(monkeypatch: pytest.MonkeyPatch) -> Post:
    testing = pytest.importorskip("fastapi.testclient", reason="FastAPI is not installed")
    client = testing.TestClient(load("webhooks/fastapi_app.py", monkeypatch).app)

    def post(webhook: SignedWebhook) -> tuple[int, str]:
        answer = client.post("/webhooks", content=webhook.body, headers=webhook.headers)
        return answer.status_code, answer.text

    return post


def with_flask(monkeypatch: pytest.MonkeyPatch) -> Post:
    pytest.importorskip("flask", reason="Flask is not installed")
    client = load("webhooks/flask_app.py", monkeypatch).app.test_client()

    def post(webhook: SignedWebhook) -> tuple[int, str]:
        answer = client.post("/webhooks", data=webhook.body, headers=webhook.headers)
        return answer.status_code, answer.text

    return post


def with_django(monkeypatch: pytest.MonkeyPatch) -> Post:
    pytest.importorskip("django", reason="Django is not installed")
    load("webhooks/django_views.py", monkeypatch)
    client = django_client("django_views", monkeypatch)

    def post(webhook: SignedWebhook) -> tuple[int, str]:
        answer = client.post(
            "/webhooks", data=webhook.body, content_type="application/json", headers=webhook.headers
        )
        return answer.status_code, answer.content.decode()

    return post


def with_lambda(change: Callable[[dict[str, Any]], dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> Post:
    handler = load("webhooks/lambda_function.py", monkeypatch).lambda_handler

    def post(webhook: SignedWebhook) -> tuple[int, str]:
        request = {"headers": webhook.headers, "body": webhook.body.decode(), "isBase64Encoded": False}
        answer = json.loads(json.dumps(handler(json.loads(json.dumps(change(request))), object())))
        return answer["statusCode"], answer.get("body", "")

    return post


def as_rest_api(request: dict[str, Any]) -> dict[str, Any]:
    """API Gateway, payload format 1.0: the names of headers as they were sent."""
    headers = {name.title(): value for name, value in request["headers"].items()}
    multiple = {name: [value] for name, value in headers.items()}
    first = {"resource": "/webhooks", "path": "/webhooks", "httpMethod": "POST"}
    return {**first, **request, "headers": headers, "multiValueHeaders": multiple}


def as_http_api(request: dict[str, Any]) -> dict[str, Any]:
    """API Gateway, payload format 2.0, as function URLs have it too: names in lower case."""
    context = {"http": {"method": "POST", "path": "/webhooks"}}
    return {"version": "2.0", "rawPath": "/webhooks", "requestContext": context, **request}


def in_base64(request: dict[str, Any]) -> dict[str, Any]:
    body = base64.b64encode(request["body"].encode()).decode()
    return as_http_api({**request, "body": body, "isBase64Encoded": True})


RECEIVERS: dict[str, Callable[[pytest.MonkeyPatch], Post]] = {
    "fastapi": with_fastapi,
    "flask": with_flask,
    "django": with_django,
    "lambda, REST API": lambda monkeypatch: with_lambda(as_rest_api, monkeypatch),
    "lambda, HTTP API": lambda monkeypatch: with_lambda(as_http_api, monkeypatch),
    "lambda, base64": lambda monkeypatch: with_lambda(in_base64, monkeypatch),
}


@pytest.fixture(params=RECEIVERS)
def post(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Post:
    monkeypatch.setenv("THRIVE_WEBHOOK_SECRET", SECRET)
    return RECEIVERS[request.param](monkeypatch)


def test_a_genuine_delivery_is_accepted_and_handled(post: Post, capsys: pytest.CaptureFixture[str]) -> None:
    webhook = make_webhook(secret=SECRET, content={"title": "Nuit des comètes ☄"})
    event = webhooks.parse(webhook.body)
    assert post(webhook) == (204, "")
    assert capsys.readouterr().out == f"content.completed {event.deduplication_key}\n"


def test_an_event_that_is_not_known_is_accepted(post: Post, capsys: pytest.CaptureFixture[str]) -> None:
    assert post(make_webhook("page.created", secret=SECRET))[0] == 204
    assert capsys.readouterr().out.startswith("page.created ")


def rewritten(webhook: SignedWebhook) -> SignedWebhook:
    body = json.dumps(json.loads(webhook.body), indent=1).encode()
    return SignedWebhook(body, webhook.headers, webhook.secret)


@pytest.mark.parametrize(
    ("webhook", "problem"),
    [
        (make_webhook(secret=None), "has no header x-hmac-signature"),
        (make_webhook(secret="guessed"), "does not match its body"),
        (rewritten(make_webhook(secret=SECRET)), "does not match its body"),
        (SignedWebhook(b"", {}, None), "has no header x-hmac-signature"),
        (make_webhook(secret=SECRET, eventType=None), "is not an event"),
    ],
)
def test_any_other_delivery_is_rejected(
    post: Post,
    webhook: SignedWebhook,
    problem: str,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The reason goes into the log. Anyone may have sent the delivery, so the answer is the status alone."""
    status, text = post(webhook)
    assert status == 400
    assert text in {"", '{"detail":"Bad Request"}'}
    logged = caplog.text + capsys.readouterr().out  # Lambda logs stdout
    assert problem in logged
    assert "content.completed " not in logged


def test_a_body_that_is_too_large_is_rejected(
    post: Post, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    webhook = make_webhook(secret=SECRET, padding="x" * webhooks.MAX_BODY_BYTES)
    # Two of them stop reading. The others have read it all.
    stops = request.node.callspec.params["post"] in {"fastapi", "flask"}
    assert post(webhook)[0] == (413 if stops else 400)
    assert "content.completed " not in capsys.readouterr().out


def test_a_request_without_headers_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    """The console of API Gateway sends such requests."""
    monkeypatch.setenv("THRIVE_WEBHOOK_SECRET", SECRET)
    handler = load("webhooks/lambda_function.py", monkeypatch).lambda_handler
    assert handler({"headers": None, "body": None, "isBase64Encoded": False}, object())["statusCode"] == 400


def test_a_missing_secret_is_an_error_of_the_receiver(monkeypatch: pytest.MonkeyPatch) -> None:
    handler = load("webhooks/lambda_function.py", monkeypatch).lambda_handler
    with pytest.raises(KeyError):
        handler({"headers": None, "body": None}, object())


def test_every_program_is_tested_and_linked() -> None:
    page = (ROOT / "docs" / "how-to" / "receive-webhooks.md").read_text(encoding="utf-8")
    programs = {path.name for path in FOLDER.glob("*.py")}
    assert programs == {"fastapi_app.py", "flask_app.py", "django_views.py", "lambda_function.py"}
    assert [name for name in sorted(programs) if f"](../../examples/webhooks/{name})" not in page] == []
