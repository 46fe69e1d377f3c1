"""Receive deliveries of webhooks, and respond with 2xx only if the signature is valid."""

import datetime as dt
import http.server
import socket
import socketserver
import sys
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any, NamedTuple, cast

from thrive_learning.credentials import Secret
from thrive_learning.errors import WebhookError
from thrive_learning.webhooks import MAX_BODY_BYTES, WebhookEvent, construct_event

_PATIENCE_S = 10.0
_MOST_DIGITS = 15


class Received(NamedTuple):
    """A delivery, after the response was sent.

    Attributes:
        at: When the delivery arrived.
        body: The body; empty if it was too large to be read.
        event: The event; None if the delivery was rejected.
        error: Why the delivery was rejected; None if it was not.
    """

    at: dt.datetime
    body: bytes
    event: WebhookEvent | None
    error: WebhookError | None


class WebhookReceiver(socketserver.TCPServer):
    """An HTTP server that verifies deliveries one at a time.

    Args:
        host: The name or address to listen on.
        port: The port; 0 for a free one.
        secrets: The secrets that deliveries may be signed with.
        max_age_s: How old an event may be, in seconds; None for any age.

    Raises:
        OSError: The address cannot be bound.
    """

    allow_reuse_address = True

    def __init__(
        self, host: str, port: int, secrets: tuple[Secret, ...], max_age_s: float | None = None
    ) -> None:
        [(family, *_, (address, *_)), *_] = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        self.address_family: int = family
        self.secrets: tuple[Secret, ...] = secrets
        self.max_age_s: float | None = max_age_s
        self.arrived: list[Received] = []
        super().__init__((str(address), port), _Handler)
        shown = f"[{host}]" if ":" in host else host
        #: The URL of the server, without a slash at the end.
        self.url: str = f"http://{shown}:{self.socket.getsockname()[1]}"

    def deliveries(self) -> Iterator[Received]:
        """Serve requests until the process ends, and yield each delivery after its response."""
        while True:
            self.handle_request()
            yield from self.arrived
            self.arrived.clear()

    def handle_error(self, request: Any, client_address: object) -> None:
        """Ignore clients that disconnect or are too slow. Any other exception is a defect and is raised."""
        del client_address
        error = sys.exception()
        if error is not None and not isinstance(error, OSError):
            self.shutdown_request(request)
            raise error


class _Handler(http.server.BaseHTTPRequestHandler):
    timeout = _PATIENCE_S

    def do_POST(self) -> None:
        at = dt.datetime.now(dt.UTC)
        length = self.headers.get("content-length", "")
        if not (length.isascii() and length.isdigit() and len(length) <= _MOST_DIGITS):
            self._answer(HTTPStatus.LENGTH_REQUIRED, "The request has no valid Content-Length.")
            return
        size = int(length)
        if size > MAX_BODY_BYTES:
            error = WebhookError(
                f"The body of the delivery has {size} bytes, which is over the limit of {MAX_BODY_BYTES}.",
                reason="too_large",
            )
            self._conclude(Received(at, b"", None, error), HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return
        body = self.rfile.read(size)
        if len(body) < size:
            return  # the client disconnected
        server = cast("WebhookReceiver", self.server)
        try:
            headers = self.headers.items()
            event = construct_event(body, headers, server.secrets, max_age=server.max_age_s)
        except WebhookError as error:
            self._conclude(Received(at, body, None, error), HTTPStatus.BAD_REQUEST)
        else:
            self._conclude(Received(at, body, event, None), HTTPStatus.NO_CONTENT)

    def _conclude(self, received: Received, status: HTTPStatus) -> None:
        cast("WebhookReceiver", self.server).arrived.append(received)
        self._answer(status, "" if received.error is None else str(received.error))

    def do_GET(self) -> None:
        self._answer(HTTPStatus.METHOD_NOT_ALLOWED, "Send webhooks with POST.", allow="POST")

    def _answer(self, status: HTTPStatus, text: str, **headers: str) -> None:
        content = f"{text}\n".encode() if text else b""
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != HTTPStatus.NO_CONTENT:
            self.send_header("content-type", "text/plain; charset=utf-8")
            self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    log_message: Callable[..., None] = staticmethod(lambda *_arguments: None)
