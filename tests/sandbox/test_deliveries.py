"""Webhooks for new records, posted to a local server."""

import hmac
import json
import socket
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from typing import Any, NamedTuple, cast

import pytest
from loopback_http import QuietHandler

from thrive_learning.sandbox import RecordArrivals
from thrive_learning.sandbox.deliveries import EVENTS, Deliveries
from thrive_learning.sandbox.webhooks import WEBHOOK_SECRET

NOW = 1_790_000_000.5


class Received(NamedTuple):
    path: str
    headers: dict[str, str]
    body: bytes


class Receiver(ThreadingHTTPServer):
    """A server that responds to every POST with one status, and keeps the requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.received: list[Received] = []
        self.status = 204
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(QuietHandler):
    def post(self) -> None:
        receiver = cast("Receiver", self.server)
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        receiver.received.append(Received(self.path, headers, body))
        self.send_response(receiver.status)
        self.send_header("location", "/elsewhere")
        self.send_header("content-length", "0")
        self.end_headers()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def delivered(url: str, records: Any, secret: str | None = WEBHOOK_SECRET) -> list[tuple[str, str]]:
    outcomes: list[tuple[str, str]] = []
    deliveries = Deliveries(
        url, secret, on_delivery=lambda *outcome: outcomes.append(outcome), clock=lambda: NOW
    )
    deliveries.announce(records)
    deliveries.close()
    return outcomes


ARRIVED = RecordArrivals().arrive(1000, now=NOW - 1)
ANNOUNCED = [record for record in ARRIVED if record["type"] in EVENTS]


def test_each_record_that_was_completed_or_passed_is_delivered_once_in_order(receiver: Receiver) -> None:
    outcomes = delivered(f"{receiver.url}/hooks?key=1", ARRIVED)

    assert len(ANNOUNCED) == 80 + 15
    assert outcomes == [(EVENTS[record["type"]], "204") for record in ANNOUNCED]
    assert {event for event, _ in outcomes} == {"content.completed", "content.passed"}
    for record, (path, headers, body) in zip(ANNOUNCED, receiver.received, strict=True):
        event = json.loads(body)
        signature = hmac.digest(WEBHOOK_SECRET.encode(), body, "sha256").hex()
        assert headers["x-hmac-signature"] == f"sha256={signature}"
        assert headers["content-type"] == "application/json"
        assert path == "/hooks?key=1"
        assert event["eventType"] == EVENTS[record["type"]]
        assert event["user"]["id"] == record["user"]
        assert (event["content"]["id"], event["content"]["type"]) == (
            record["contextId"],
            record["contentType"],
        )
        assert (event["createdAt"], event["dispatchedAt"]) == (record["date"], "2026-09-21T14:13:20.500Z")


def test_without_a_secret_there_is_no_signature(receiver: Receiver) -> None:
    delivered(receiver.url, ANNOUNCED[:1], None)

    [(path, headers, _)] = receiver.received
    assert path == "/"
    assert "x-hmac-signature" not in headers


@pytest.mark.parametrize("status", [302, 500])
def test_a_delivery_that_fails_is_not_repeated_and_others_follow(receiver: Receiver, status: int) -> None:
    receiver.status = status
    outcomes = delivered(receiver.url, ANNOUNCED[:2])

    assert [outcome for _, outcome in outcomes] == [str(status)] * 2
    assert [received.path for received in receiver.received] == ["/", "/"]


def test_a_receiver_that_is_not_there_is_reported() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        [(_, http), (_, again)] = delivered(f"http://127.0.0.1:{unused.getsockname()[1]}", ANNOUNCED[:2])
        [(_, https)] = delivered(f"https://127.0.0.1:{unused.getsockname()[1]}", ANNOUNCED[:1])

    assert "refused" in http
    assert http == again == https


def test_a_receiver_that_speaks_no_http_is_reported(receiver: Receiver) -> None:
    [(_, outcome)] = delivered(f"https://127.0.0.1:{receiver.server_port}", ANNOUNCED[:1])

    assert outcome.startswith("failed: ")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "x",
        "ftp://h/",
        "file:///etc/passwd",
        "http://",
        "http://h:x/",
        "http://h:65536/",
        "http://[",
        "http://user:not-a-secret@h/",
        "http:///x",
        "http://h/\n",
        "http://h/a b",
        "http://h/é",
    ],
)
def test_a_url_that_is_not_one_is_rejected(url: str) -> None:
    with pytest.raises(
        ValueError, match=r"not a valid URL for webhooks\. Write it as http://host:port/path$"
    ):
        Deliveries(url, None)


def test_a_host_that_cannot_be_a_name_is_reported() -> None:
    [(_, outcome)] = delivered(f"http://{'a' * 70}.example/", ANNOUNCED[:1])

    assert outcome.startswith(("failed: UnicodeError: ", "failed: UnicodeEncodeError: "))  # since Python 3.13


def test_outcomes_need_no_listener(receiver: Receiver) -> None:
    deliveries = Deliveries(receiver.url, None)
    deliveries.announce(ANNOUNCED[:1])
    deliveries.close()

    assert len(receiver.received) == 1
