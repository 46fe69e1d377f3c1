"""`thrive webhook send` and `thrive webhook listen`, with each other and with other programs."""

import contextlib
import datetime as dt
import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx
from command import OBEYED, Call, assert_complaint

from thrive_learning import Secret, SignatureError
from thrive_learning.cli import webhook_receiver
from thrive_learning.cli.commands.webhook import _WEBHOOK
from thrive_learning.cli.webhook_receiver import Received, WebhookReceiver
from thrive_learning.cli.webhook_sender import require_url
from thrive_learning.sandbox.webhooks import EVENT_TYPES
from thrive_learning.testing import SignedWebhook, make_webhook
from thrive_learning.webhooks import construct_event, parse

SECRET = "canary"
URL = "http://receiver.example/hook?key=1"


class Running:
    """A receiver in a thread, and its deliveries."""

    def __init__(self, receiver: WebhookReceiver) -> None:
        self.url = receiver.url
        self.received: queue.SimpleQueue[Received] = queue.SimpleQueue()

    def post(self, webhook: SignedWebhook) -> httpx.Response:
        return httpx.post(self.url, content=webhook.body, headers=webhook.headers, timeout=60)


@contextlib.contextmanager
def receiving(*secrets: str, max_age_s: float | None = None, host: str = "127.0.0.1") -> Iterator[Running]:
    receiver = WebhookReceiver(host, 0, tuple(map(Secret, secrets)), max_age_s)
    running, last = Running(receiver), make_webhook(secret=None)

    def work() -> None:
        for received in receiver.deliveries():
            if received.body == last.body:
                return
            running.received.put(received)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield running
    finally:
        running.post(last)
        thread.join()
        receiver.server_close()


@pytest.fixture
def secret_file(tmp_path: Path) -> str:
    path = tmp_path / "secret.txt"
    path.write_text(f"{SECRET}\n", encoding="utf-8")
    path.chmod(0o600)
    return str(path)


@pytest.fixture
def receiver() -> Iterator[respx.Route]:
    with respx.mock() as router:
        yield router.post(URL)


# Sending


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_an_event_is_posted_and_can_be_verified(
    call: Call, secret_file: str, receiver: respx.Route, event_type: str
) -> None:
    receiver.respond(202, text="thanks")
    result = call("webhook", "send", URL, "--event", event_type, "--secret-file", secret_file)
    assert (result.code, result.err) == (0, "")
    document = json.loads(result.out)
    assert document.pop("seconds") >= 0
    assert document == {"event": event_type, "status": 202, "accepted": True, "response": "thanks"}
    request = receiver.calls.last.request
    event = construct_event(request.content, request.headers, SECRET, max_age=60)
    assert event.event_type == event_type
    assert request.headers["content-type"] == "application/json"
    assert request.headers["content-length"] == str(len(request.content))
    assert "authorization" not in request.headers


def test_the_secret_may_be_in_the_environment(
    call: Call, monkeypatch: pytest.MonkeyPatch, receiver: respx.Route, secret_file: str
) -> None:
    receiver.respond(204)
    monkeypatch.setenv("THRIVE_WEBHOOK_SECRET", "of the environment é")
    call("webhook", "send", URL)
    request = receiver.calls.last.request
    construct_event(request.content, request.headers, "of the environment é")
    call("webhook", "send", URL, "--secret-file", secret_file)  # which takes precedence
    request = receiver.calls.last.request
    construct_event(request.content, request.headers, SECRET)


def test_an_unsigned_event_is_sent_for_the_asking(call: Call, receiver: respx.Route) -> None:
    receiver.respond(204)
    result = call("webhook", "send", URL, "--unsigned")
    assert result.code == 1
    assert "the receiver accepted an unsigned event with 204, and anyone can send one" in result.err
    request = receiver.calls.last.request
    assert "x-hmac-signature" not in request.headers
    assert parse(request.content).event_type == "content.completed"


def test_people_get_a_table(terminal: Call, secret_file: str, receiver: respx.Route) -> None:
    receiver.respond(200, text=f"\x1b[31mfine\nyou sent {SECRET}")
    result = terminal("webhook", "send", URL, "--secret-file", secret_file)
    table = r"event     content\.completed\nstatus    200\naccepted  true\nseconds   [\d.]+\nresponse  (.*)\n"
    found = re.fullmatch(table, result.out)
    assert found is not None
    assert found[1] == "[31mfine you sent **********"


@pytest.mark.parametrize("status", [302, 400, 401, 500])
def test_any_other_status_is_a_failure_and_nothing_is_sent_again(
    call: Call, secret_file: str, receiver: respx.Route, status: int
) -> None:
    receiver.respond(status, headers={"location": "http://elsewhere.example/", "retry-after": "0"})
    result = call("webhook", "send", URL, "--secret-file", secret_file)
    assert result.code == 1
    document = json.loads(result.out)
    assert (document["status"], document["accepted"]) == (status, False)
    assert (
        f"the receiver responded with {status}, so the platform would resend the event. Check that both use"
        in result.err
    )
    assert receiver.call_count == 1


@pytest.mark.parametrize("status", [400, 401, 403, 422])
def test_a_rejected_unsigned_event_is_a_success(call: Call, receiver: respx.Route, status: int) -> None:
    receiver.respond(status)
    result = call("webhook", "send", URL, "--unsigned")
    assert (result.code, result.err) == (0, "")
    document = json.loads(result.out)
    assert (document["status"], document["accepted"]) == (status, False)


@pytest.mark.parametrize("status", [302, 404, 405, 500])
def test_another_response_to_an_unsigned_event_proves_nothing(
    call: Call, receiver: respx.Route, status: int
) -> None:
    receiver.respond(status)
    result = call("webhook", "send", URL, "--unsigned")
    assert result.code == 1
    assert f"responded with {status}, which does not show whether it verifies signatures" in result.err


def test_a_receiver_that_cannot_be_reached_is_named(call: Call) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # no other process gets the port, and nothing listens there
        result = call("webhook", "send", f"http://127.0.0.1:{closed.getsockname()[1]}/", "--unsigned")
    assert_complaint(result, 7)
    assert "127.0.0.1 refused the connection" in result.err
    assert "Check the URL and that the server is running" in result.err


def test_a_receiver_that_is_slow_is_given_up(call: Call) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        result = call("webhook", "send", url, "--unsigned", "--timeout", "0.2")
    assert_complaint(result, 7)
    assert "did not answer within Timeout.total=0.2 s" in result.err
    assert "allow more time with --timeout" in result.err


def test_its_connection_is_closed(call: Call) -> None:
    rest: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection, connection.makefile("rb") as lines:
                length = 0
                while (line := lines.readline()) != b"\r\n":
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.partition(b":")[2])
                lines.read(length)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                connection.settimeout(60)
                rest.append(lines.read())  # until the connection closes

        thread = threading.Thread(target=serve)
        thread.start()
        result = call("webhook", "send", f"http://127.0.0.1:{server.getsockname()[1]}/", "--unsigned")
        thread.join()
    assert (result.code, rest) == (1, [b""])


def test_the_platform_waits_for_thirty_seconds(call: Call) -> None:
    words = " ".join(call("webhook", "send", "--help").out.split())
    assert "--timeout SECONDS Time limit for the response. [default: 30, as on the platform]" in words


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("receiver.example/x", "does not begin with http:// or https:// and a host"),
        ("ftp://receiver.example", "does not begin with http:// or https:// and a host"),
        ("https:///x", "does not begin with http:// or https:// and a host"),
        ("http://a b.example", "contains a space or characters that are not printable ASCII"),
        ("http://é.example", "contains a space or characters that are not printable ASCII"),
        ("http://receiver.example:x/", "is not a valid URL (Port could not be cast"),
        ("http://[::1/", "is not a valid URL (Invalid IPv6 URL)"),
        ("http://receiver.example:0/", "has an invalid host or port"),
        ("http://-a.example/", "has an invalid host or port"),
        ("http://1.2.3/", "has an invalid host or port"),
        ("http://receiver.example/a\\b", "contains a backslash. Write / instead"),
        ("http://receiver.example:99999/", "is not a valid URL (Port out of range 0-65535)"),
    ],
)
def test_an_invalid_url_is_rejected(call: Call, url: str, problem: str) -> None:
    result = call("webhook", "send", url, "--unsigned")
    assert_complaint(result, 2)
    assert problem in result.err


def test_a_password_in_a_url_does_not_show(call: Call) -> None:
    result = call("webhook", "send", "http://user:canary@receiver.example/", "--unsigned")
    assert_complaint(result, 2)
    assert "the URL contains a user name. Remove it" in result.err
    assert "canary" not in result.err


@pytest.mark.parametrize(
    "url",
    ["http://localhost", "https://a-b.example:8443/x?y=z#f", "http://[::1]:80/", "http://127.0.0.1/%20"],
)
def test_a_valid_url_is_accepted(url: str) -> None:
    require_url(url)


# Secrets


@pytest.mark.parametrize("command", [["send", URL], ["listen"]])
def test_a_secret_is_needed(call: Call, command: list[str]) -> None:
    result = call("webhook", *command)
    assert_complaint(result, 2)
    assert "A secret is required. Use --secret-file FILE, THRIVE_WEBHOOK_SECRET, " in result.err
    assert ("--unsigned" in result.err) == (command[0] == "send")


def test_the_secret_may_be_an_argument(
    call: Call, monkeypatch: pytest.MonkeyPatch, receiver: respx.Route
) -> None:
    receiver.respond(200, text=f"you sent {SECRET}")
    monkeypatch.setenv("THRIVE_WEBHOOK_SECRET", "of the environment")  # over which it takes precedence
    result = call("webhook", "send", URL, "--secret", SECRET)
    assert (result.code, json.loads(result.out)["response"]) == (0, "you sent **********")
    request = receiver.calls.last.request
    construct_event(request.content, request.headers, SECRET)


def test_a_receiver_accepts_several_secrets_of_its_arguments(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted: list[str] = []

    def receiver(_host: str, _port: int, secrets: tuple[Secret, ...], _max_age_s: float | None) -> object:
        accepted.extend(secret.reveal() for secret in secrets)
        raise OSError(0, "not in this test")

    monkeypatch.setattr(webhook_receiver, "WebhookReceiver", receiver)
    call("webhook", "listen", "--secret", "new", "--secret", "old")
    assert accepted == ["new", "old"]


@pytest.mark.parametrize("command", [["send", URL], ["listen"]])
def test_a_secret_has_one_source_and_is_not_shown(call: Call, command: list[str], secret_file: str) -> None:
    both = call("webhook", *command, "--secret", SECRET, "--secret-file", secret_file)
    assert "--secret and --secret-file cannot be used together." in both.err
    unusable = call("webhook", *command, f"--secret= {SECRET}")
    assert "--secret: the secret begins with white space" in unusable.err
    empty = call("webhook", *command, "--secret", "")
    assert "--secret: the secret is empty" in empty.err
    misplaced = call("webhook", "--secret", SECRET, *command)
    for result in (both, unusable, empty, misplaced):
        assert_complaint(result, 2)
        assert SECRET not in result.err


@pytest.mark.parametrize("command", ["send", "listen"])
def test_help_says_who_can_see_the_secret(call: Call, command: str) -> None:
    text = "".join(call("webhook", command, "--help").out.split())  # lines may end at a hyphen
    advice = "Other users of this machine can see it, so use --secret-file for real secrets."
    assert advice.replace(" ", "") in text


@pytest.mark.parametrize("command", [["send", URL], ["listen"]])
def test_an_unusable_secret_is_named_and_not_shown(
    call: Call, command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "secret.txt"
    path.write_text(f" {SECRET}", encoding="utf-8")
    path.chmod(0o600)
    result = call("webhook", *command, "--secret-file", str(path))
    assert_complaint(result, 2)
    assert "the secret begins with white space" in result.err
    assert str(path) in result.err
    monkeypatch.setenv("THRIVE_WEBHOOK_SECRET", f" {SECRET}")
    other = call("webhook", *command)
    assert_complaint(other, 2)
    assert "THRIVE_WEBHOOK_SECRET: the secret begins with white space" in other.err
    assert SECRET not in result.err + other.err


def test_a_secret_file_that_others_can_read_is_a_warning(
    call: Call, secret_file: str, receiver: respx.Route
) -> None:
    receiver.respond(204)
    Path(secret_file).chmod(0o644)
    result = call("webhook", "send", URL, "--secret-file", secret_file)
    assert result.code == 0
    assert f"thrive: warning: other users can read {secret_file}" in result.err


@pytest.mark.parametrize("option", ["--secret-file", "--secret"])
def test_signing_and_not_signing_exclude_each_other(call: Call, secret_file: str, option: str) -> None:
    result = call("webhook", "send", URL, "--unsigned", option, secret_file)
    assert_complaint(result, 2)
    assert f"--unsigned and {option} cannot be used together" in result.err


# Receiving


def test_a_verified_delivery_is_accepted() -> None:
    with receiving("older", SECRET) as running:
        for secret in (SECRET, "older"):
            webhook = make_webhook(secret=secret)
            answer = running.post(webhook)
            assert (answer.status_code, answer.content) == (204, b"")
            received = running.received.get(timeout=60)
            assert (received.event, received.error) == (parse(webhook.body), None)
            assert received.body == webhook.body


def test_an_unverified_delivery_is_rejected_with_the_reason() -> None:
    long_ago = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    cases = {
        "wrong_signature": make_webhook(secret="guessed"),
        "missing_signature": make_webhook(secret=None),
        "too_old": make_webhook(secret=SECRET, dispatched_at=long_ago),
        "malformed": make_webhook(secret=SECRET, eventType=None),
    }
    with receiving(SECRET, max_age_s=60) as running:
        for reason, webhook in cases.items():
            answer = running.post(webhook)
            received = running.received.get(timeout=60)
            assert received.error is not None
            assert (answer.status_code, answer.text) == (400, f"{received.error}\n")
            assert (received.event, received.error.reason) == (None, reason)


def test_a_body_that_is_too_large_is_not_read() -> None:
    with receiving(SECRET) as running:
        address = httpx.URL(running.url)
        with socket.create_connection((address.host, address.port or 0)) as connection:
            connection.sendall(b"POST / HTTP/1.1\r\nContent-Length: 1048577\r\n\r\n")
            assert connection.recv(1000).startswith(b"HTTP/1.0 413 ")
        received = running.received.get(timeout=60)
        assert received.error is not None
        assert (received.body, received.error.reason) == (b"", "too_large")


@pytest.mark.parametrize("length", [b"", b"Content-Length: x\r\n", b"Content-Length: %s\r\n" % (b"9" * 5000)])
def test_a_body_without_a_valid_length_is_rejected(length: bytes) -> None:
    with receiving(SECRET) as running:
        address = httpx.URL(running.url)
        with socket.create_connection((address.host, address.port or 0)) as connection:
            connection.sendall(b"POST / HTTP/1.1\r\n%s\r\n" % length)
            assert connection.recv(1000).startswith(b"HTTP/1.0 411 ")


def test_other_methods_are_rejected() -> None:
    with receiving(SECRET) as running:
        answer = httpx.get(running.url)
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
        assert httpx.put(running.url).status_code == 501
        assert running.post(make_webhook(secret=SECRET)).status_code == 204


def set_up_after(event: threading.Event) -> Callable[[Any], None]:
    set_up = webhook_receiver._Handler.setup

    def wait_and_set_up(handler: Any) -> None:
        assert event.wait(60)
        set_up(handler)

    return wait_and_set_up


def test_clients_that_hang_up_or_are_slow_do_not_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving(SECRET) as running:
        address = httpx.URL(running.url)
        for is_slow in (False, True):
            sent = threading.Event()
            with monkeypatch.context() as patch:
                if is_slow:  # its time begins after what it sends has arrived
                    patch.setattr(webhook_receiver._Handler, "timeout", 0.05)
                    patch.setattr(webhook_receiver._Handler, "setup", set_up_after(sent))
                with socket.create_connection((address.host, address.port or 0)) as connection:
                    connection.sendall(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab")
                    sent.set()
                    if not is_slow:
                        connection.shutdown(socket.SHUT_WR)
                    assert connection.recv(1000) == b""
        assert running.post(make_webhook(secret=SECRET)).status_code == 204
        assert running.received.get(timeout=60).event is not None


def test_a_defect_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(webhook_receiver, "construct_event", fail)
    receiver = WebhookReceiver("127.0.0.1", 0, (Secret(SECRET),))
    webhook = make_webhook()

    def post() -> None:
        with contextlib.suppress(httpx.HTTPError):
            httpx.post(receiver.url, content=webhook.body)

    thread = threading.Thread(target=post)
    thread.start()
    with receiver, pytest.raises(ZeroDivisionError):
        next(receiver.deliveries())
    thread.join()


def test_a_client_that_does_not_wait_for_its_response_is_tolerated() -> None:
    with WebhookReceiver("127.0.0.1", 0, (Secret(SECRET),)) as receiver:
        try:
            raise ConnectionResetError  # noqa: TRY301 - what it is called for
        except ConnectionResetError:
            receiver.handle_error(None, None)


def test_an_address_of_ipv6_is_shown_in_brackets() -> None:
    try:
        with receiving(SECRET, host="::1") as running:
            assert running.url.startswith("http://[::1]:")
            assert running.post(make_webhook(secret=SECRET)).status_code == 204
    except OSError as error:
        pytest.skip(f"this machine has no IPv6: {error}")


# Showing


def listened(call: Call, monkeypatch: pytest.MonkeyPatch, *received: Received, end: Any = None) -> Any:
    def deliveries(_self: WebhookReceiver) -> Iterator[Received]:
        yield from received
        raise end or KeyboardInterrupt

    monkeypatch.setattr(WebhookReceiver, "deliveries", deliveries)
    monkeypatch.setenv("THRIVE_WEBHOOK_SECRET", SECRET)
    return call("webhook", "listen")


AT = dt.datetime(2026, 11, 28, 9, 15, 31, tzinfo=dt.UTC)
REJECTED = Received(AT, b"hidden", None, SignatureError("not genuine", reason="wrong_signature"))


def verified(body: bytes) -> Received:
    return Received(AT, body, parse(body), None)


def test_programs_get_a_line_of_json_each(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    body = b'\xef\xbb\xbf{ "eventType": "user.updated", "user": {"id": 5}, "n": 1.50, "s": "\\u00e9 \x7f" }'
    result = listened(call, monkeypatch, verified(body), REJECTED)
    assert result.code == 0
    assert re.fullmatch(
        r"thrive: listening on http://127\.0\.0\.1:\d+ \(press Ctrl-C to stop\)\n", result.err
    )
    first, second = result.out.splitlines()
    assert json.loads(first) == {
        "received_at": "2026-11-28T09:15:31+00:00",
        "verified": True,
        "event_type": "user.updated",
        "deduplication_key": parse(body).deduplication_key,
        "problems": ["the field 'user.id' is a number, not a string"],
        "payload": parse(body).payload,
    }
    assert '"n":1.50' in first
    assert json.loads(second) == {
        "received_at": "2026-11-28T09:15:31+00:00",
        "verified": False,
        "reason": "wrong_signature",
        "problem": "not genuine",
    }
    assert not OBEYED.search(result.out)


def test_people_get_what_they_can_read(terminal: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    body = json.dumps({"eventType": "user.updated", "user": {"id": 5}, "x": "\x1b[2J\n"}).encode()
    result = listened(terminal, monkeypatch, verified(body), REJECTED)
    assert result.code == 0
    lines = result.out.splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d  verified", lines[0])
    assert lines[1].strip() == "the field 'user.id' is a number, not a string"
    assert "eventType  user.updated" in lines
    assert re.fullmatch(r"\d\d:\d\d:\d\d  rejected  not genuine", lines[-1])
    assert "hidden" not in result.out
    assert not OBEYED.search(result.out)


def test_a_reader_that_goes_away_ends_it(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    assert listened(call, monkeypatch, end=BrokenPipeError()).code == 141


def test_a_port_that_is_taken_is_named(call: Call, secret_file: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = call("webhook", "listen", "--secret-file", secret_file, "--port", port)
    assert_complaint(result, 2)
    assert f"cannot listen on 127.0.0.1, port {port}: Address already in use" in result.err


def test_the_options_of_listen_reach_the_receiver(
    call: Call, monkeypatch: pytest.MonkeyPatch, secret_file: str, tmp_path: Path
) -> None:
    other = tmp_path / "other.txt"
    other.write_text("second", encoding="utf-8")
    other.chmod(0o600)
    given: list[Any] = []

    def init(_self: WebhookReceiver, *arguments: Any) -> None:
        given.extend(arguments)
        raise OSError(5, "enough")

    monkeypatch.setattr(WebhookReceiver, "__init__", init)
    files = ("--secret-file", secret_file, "--secret-file", str(other))
    call("webhook", "listen", *files, "--host", "::1", "--port", "8000", "--max-age", "60")
    assert given == ["::1", 8000, (Secret(SECRET), Secret("second")), 60.0]


def test_both_commands_work_together(secret_file: str, call: Call) -> None:
    script = "from thrive_learning.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", script, "webhook", "listen", "--secret-file", secret_file],
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    line = process.stderr.readline()
    found = re.search(r"http://\S+\d", line)
    assert found, line
    sent = call("webhook", "send", found[0], "--event", "user.created", "--secret-file", secret_file)
    rejected = call("webhook", "send", found[0], "--unsigned")
    assert process.stdout is not None
    # A delivery is shown after its response, perhaps after the sender has ended.
    documents = [json.loads(process.stdout.readline()) for _ in range(2)]
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "", "")
    assert (sent.code, rejected.code) == (0, 0)
    assert [document["verified"] for document in documents] == [True, False]
    assert documents[0]["payload"]["eventType"] == "user.created"


def test_the_help_names_every_event(call: Call) -> None:
    text = call("webhook", "send", "--help").out
    assert re.findall(r"^    ([a-z]+\.[a-z]+)$", text, re.MULTILINE) == list(EVENT_TYPES)
    assert "because other users of this machine can see it in the list of processes" in _WEBHOOK
