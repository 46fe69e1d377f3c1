"""HTTP servers on loopback, for tests."""

import random
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class QuietHandler(BaseHTTPRequestHandler):
    """Keeps connections open, logs nothing, and ignores that a client was killed."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def get(self) -> None:
        """Respond to GET."""
        raise NotImplementedError

    def post(self) -> None:
        """Respond to POST."""
        raise NotImplementedError

    def do_GET(self) -> None:
        self.get()

    def do_POST(self) -> None:
        self.post()

    def respond(
        self, status: int, body: bytes, media_type: str = "application/json", fields: str = ""
    ) -> None:
        """Send a response, with other header fields if there are any."""
        head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\nContent-Type: {media_type}\r\n{fields}"
        try:
            self.wfile.write(f"{head}\r\n".encode() + body)
        except OSError:
            self.close_connection = True

    def handle(self) -> None:
        with suppress(OSError):
            super().handle()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


class Server(ThreadingHTTPServer):
    """A server that many clients may connect to at once."""

    daemon_threads = True
    request_queue_size = 256


def unused_port() -> int:
    """Return a port for a server that starts later, or stops and starts again.

    The system does not assign such ports, so no other connection or server takes it in the meantime.
    """
    while True:
        port = random.randrange(20_000, 32_000)  # noqa: S311
        with socket.socket() as free, suppress(OSError):
            free.bind(("127.0.0.1", port))
            return port


@contextmanager
def serving_with(handler: type[QuietHandler]) -> Iterator[str]:
    """Serve on a free port in a thread, and yield the URL."""
    server = Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def settings_for(url: str) -> dict[str, str]:
    """Return the environment of a client of a server, with HTTP Basic."""
    return {
        "THRIVE_REGION": "here",
        "THRIVE_API_URL": url,
        "THRIVE_TOKEN_URL": f"{url}/oauth2/token/{{tenant_id}}",
        "THRIVE_WEBHOOKS_TOKEN_URL": f"{url}/webhooks/oauth2/token/{{tenant_id}}",
        "THRIVE_TENANT_ID": "eu-west-2_AbcdEfghI",
        "THRIVE_API_SECRET": "fake-api-secret",
    }
