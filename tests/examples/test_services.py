"""The programs that serve activity records, each in its real framework and with a client of its own."""

import contextlib
import json
import logging
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import ModuleType
from typing import Any

import pytest
from example_programs import django_client, load

from thrive_learning import (
    ConfigurationError,
    ConnectionFailedError,
    DeadlineExceededError,
    InvalidIdError,
    NotFoundError,
    RateLimitedError,
    ServerError,
    ThriveClient,
    ThriveError,
    TokenError,
    UnauthorizedError,
)
from thrive_learning.testing import ServedSandbox, ThriveSandbox

#: Requests a path and returns the status, the headers in lower case, and the JSON of the answer.
Get = Callable[[str], tuple[int, dict[str, str], Any]]

SECRET = "thrive/client secret"


class AtExit:
    """Stands in for `atexit` in a program, so that its client is closed at the end of a test."""

    def __init__(self, program: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
        self._functions: list[Callable[[], object]] = []
        monkeypatch.setattr(program, "atexit", self)

    def register(self, function: Callable[[], object]) -> None:
        self._functions.append(function)

    def run(self) -> None:
        [close] = self._functions
        close()


def with_fastapi(_server: ServedSandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Get]:
    testing = pytest.importorskip("fastapi.testclient", reason="FastAPI is not installed")
    with testing.TestClient(load("fastapi/service.py", monkeypatch).app) as client:

        def get(path: str) -> tuple[int, dict[str, str], Any]:
            answer = client.get(path)
            return answer.status_code, dict(answer.headers), answer.json()

        yield get


def with_flask(_server: ServedSandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Get]:
    pytest.importorskip("flask", reason="Flask is not installed")
    service = load("flask/service.py", monkeypatch)
    at_exit = AtExit(service, monkeypatch)
    client = service.create_app().test_client()

    def get(path: str) -> tuple[int, dict[str, str], Any]:
        answer = client.get(path)
        return answer.status_code, {name.lower(): value for name, value in answer.headers}, answer.json

    yield get
    at_exit.run()


def with_django(_server: ServedSandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Get]:
    pytest.importorskip("django", reason="Django is not installed")
    at_exit = AtExit(load("django/activity_views.py", monkeypatch), monkeypatch)
    client = django_client("activity_views", monkeypatch)

    def get(path: str) -> tuple[int, dict[str, str], Any]:
        answer = client.get(path)
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return answer.status_code, headers, json.loads(answer.content)

    yield get
    at_exit.run()


class Invocation:
    """The context of an invocation of AWS Lambda."""

    remaining = 4000

    def get_remaining_time_in_millis(self) -> int:
        return self.remaining


def with_lambda(server: ServedSandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Get]:
    secret = server.environ["THRIVE_CLIENT_SECRET"]

    class Extension(BaseHTTPRequestHandler):
        """The extension of Lambda that reads secrets, as AWS documents it."""

        def do_GET(self) -> None:
            assert self.path == "/secretsmanager/get?secretId=thrive%2Fclient%20secret"
            assert self.headers["X-Aws-Parameters-Secrets-Token"] == "session"
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"Name": SECRET, "SecretString": secret}).encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            pass

    with HTTPServer(("localhost", 0), Extension) as extension:
        thread = threading.Thread(target=extension.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            monkeypatch.setenv("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT", str(extension.server_port))
            yield from invoke_lambda(server, monkeypatch)
        finally:
            extension.shutdown()
            thread.join()


def invoke_lambda(server: ServedSandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Get]:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "session")
    monkeypatch.setenv("SECRET_NAME", SECRET)
    monkeypatch.setenv("THRIVE_REGION", "staging")
    monkeypatch.delenv("THRIVE_CLIENT_SECRET")
    function = load("aws_lambda/function.py", monkeypatch)
    function.client.close()  # it is for the real region, and has sent nothing
    client = function.create_client(server.region)
    monkeypatch.setattr(function, "client", client)

    def get(path: str) -> tuple[int, dict[str, str], Any]:
        event = {"rawPath": path, "pathParameters": {"id": path.removeprefix("/activities/")}}
        answer = json.loads(json.dumps(function.lambda_handler(event, Invocation())))
        return answer["statusCode"], answer.get("headers", {}), json.loads(answer.get("body", "null"))

    yield get
    client.close()


SERVICES = {"fastapi": with_fastapi, "flask": with_flask, "django": with_django, "lambda": with_lambda}


@pytest.fixture(params=SERVICES)
def get(
    request: pytest.FixtureRequest, thrive_server: ServedSandbox, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Get]:
    for name, value in thrive_server.environ.items():
        monkeypatch.setenv(name, value)
    yield from SERVICES[request.param](thrive_server, monkeypatch)


def test_a_record_is_served_as_received(get: Get, thrive_sandbox: ThriveSandbox) -> None:
    activity = thrive_sandbox.add(name="Nuit des comètes ☄")
    status, headers, body = get(f"/activities/{activity.id}")
    assert (status, body) == (200, activity.to_dict())
    assert (headers.get("content-type") or headers["Content-Type"]) == "application/json"


def test_requests_share_one_client(get: Get, thrive_sandbox: ThriveSandbox) -> None:
    for _ in range(3):
        get(f"/activities/{thrive_sandbox.add().id}")
    assert len(thrive_sandbox.token_requests) == 1


def test_an_invalid_id_sends_nothing(get: Get, thrive_sandbox: ThriveSandbox) -> None:
    assert get("/activities/60d5ec49")[0] == 400
    assert thrive_sandbox.requests == []


def test_a_missing_record_is_not_found(get: Get) -> None:
    assert get(f"/activities/{'0' * 24}")[0] == 404


@pytest.mark.parametrize(("fault", "expected"), [("503:120s", 503), ("429:120s", 503), ("403", 500)])
def test_a_failure_is_answered_and_logged(
    get: Get,
    fault: str,
    expected: int,
    thrive_sandbox: ThriveSandbox,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    activity = thrive_sandbox.add()
    thrive_sandbox.fail_next(fault)
    status, headers, body = get(f"/activities/{activity.id}")
    assert status == expected
    if body is not None:  # Lambda's has no body, and no header
        assert headers.get("retry-after") == ("120" if expected == 503 else None)
        assert list(body) == ["detail"]
    assert activity.id not in json.dumps(body)  # the message is for operators
    ours = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert activity.id in "".join([*ours, capsys.readouterr().out])


ERRORS: list[tuple[ThriveError, int]] = [
    (InvalidIdError("x", value="x"), 400),
    (NotFoundError("x", status_code=404), 404),
    (DeadlineExceededError("x"), 504),
    (ConnectionFailedError("x"), 503),
    (RateLimitedError("x", status_code=429), 503),
    (ServerError("x", status_code=503), 503),
    (TokenError("x", status_code=503), 503),
    (TokenError("x", status_code=401), 500),
    (UnauthorizedError("x", status_code=401), 500),
    (ConfigurationError("x"), 500),
]


@pytest.mark.parametrize("program", ["fastapi/service.py", "flask/service.py", "django/activity_views.py"])
@pytest.mark.parametrize(("error", "status"), ERRORS)
def test_each_error_has_its_status(
    program: str, error: ThriveError, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(program.partition("/")[0], reason="the framework is not installed")
    assert load(program, monkeypatch).http_status(error) == status


def test_lambda_answers_before_its_time_is_over(
    thrive_server: ServedSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in thrive_server.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(Invocation, "remaining", 1100)
    activity = thrive_server.sandbox.add()
    thrive_server.sandbox.fail_next("slow:60s")
    for get in with_lambda(thrive_server, monkeypatch):
        assert get(f"/activities/{activity.id}")[0] == 503
    thrive_server.sandbox.script.clear()  # the time may be over before a request has arrived


def test_the_django_client_is_created_with_the_first_request(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("django", reason="Django is not installed")
    views = load("django/activity_views.py", monkeypatch)  # without credentials, as `manage.py` does
    with pytest.raises(ConfigurationError):
        views.thrive_client()


def test_threads_share_one_django_client(
    thrive_server: ServedSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("django", reason="Django is not installed")
    views = load("django/activity_views.py", monkeypatch)
    at_exit = AtExit(views, monkeypatch)
    for name, value in thrive_server.environ.items():
        monkeypatch.setenv(name, value)
    create = ThriveClient.from_env
    both_inside = threading.Barrier(2)

    def create_slowly(**options: Any) -> ThriveClient:
        with contextlib.suppress(threading.BrokenBarrierError):
            both_inside.wait(0.1)  # for another thread that creates a client
        return create(**options)

    monkeypatch.setattr(ThriveClient, "from_env", create_slowly)
    clients: list[Any] = []
    threads = [threading.Thread(target=lambda: clients.append(views.thrive_client())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(client) for client in clients}) == 1
    at_exit.run()
