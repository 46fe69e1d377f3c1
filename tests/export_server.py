"""An API on loopback for tests of exports, with a record for every ID and a count of requests."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

#: The server's response for an ID: a status, and a JSON object.
Answer = Callable[[str], tuple[int, dict[str, Any]]]


def record_of(activity_id: str) -> dict[str, Any]:
    """A record, with another ID than was asked for where that ends in 7: the vendor's example does that."""
    number = int(activity_id[-6:], 16)
    return {
        "id": "f" * 24 if activity_id.endswith("7") else activity_id.lower(),
        "type": "viewed",
        "date": "2020-02-12T14:58:23.621Z",
        "data": {"asked": activity_id, "filling": "é" * (number * 37 % 3000)},
        "unknownField": number,
    }


class ExportServer(NamedTuple):
    """The server.

    Attributes:
        environment: The settings with which the command asks it.
        counts: How often each ID was asked for.
        changed: Is notified of each.
    """

    environment: dict[str, str]
    counts: Counter[str]
    changed: threading.Condition

    def wait_for(self, total: int, timeout_s: float = 60) -> None:
        """Wait until so many requests have come."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.counts.total() >= total, timeout_s)


@contextmanager
def serving(answer: Answer | None = None) -> Iterator[ExportServer]:
    """Serve on loopback."""
    counts: Counter[str] = Counter()
    changed = threading.Condition()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            activity_id = self.path.rpartition("/")[2]
            status, document = answer(activity_id) if answer else (200, record_of(activity_id))
            body = json.dumps(document).encode()
            with changed:
                counts[activity_id] += 1
                changed.notify_all()
            head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\nContent-Type: application/json"
            try:
                self.wfile.write(head.encode() + b"\r\n\r\n" + body)
            except OSError:  # the one who asked was killed
                self.close_connection = True

        def handle(self) -> None:
            with suppress(OSError):
                super().handle()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 256

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    environment = {
        "THRIVE_REGION": "here",
        "THRIVE_API_URL": url,
        "THRIVE_TOKEN_URL": f"{url}/oauth2/token/{{tenant_id}}",
        "THRIVE_WEBHOOKS_TOKEN_URL": f"{url}/webhooks/oauth2/token/{{tenant_id}}",
        "THRIVE_TENANT_ID": "eu-west-2_AbcdEfghI",
        "THRIVE_API_SECRET": "fake-api-secret",
    }
    try:
        yield ExportServer(environment, counts, changed)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
