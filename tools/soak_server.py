"""The server of `tools.soak`: the token endpoint and the API on one port, with random faults (moods)."""

import collections
import contextlib
import json
import random
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from harness import PAGE_EXAMPLE

TOKEN_LIFE_S = 3600
SLOW_S = 0.15
MOODS = {"well": 90, "throttles": 3, "fails": 3, "cuts": 2, "slow": 1, "resets": 1}  # in 100 responses


class Clock:
    """A clock in seconds that its owner moves."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


class SoakServer(ThreadingHTTPServer):
    """Counts requests and connections.

    Args:
        clock: The clock by which its tokens expire.
        seed: The seed of the moods.
    """

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, clock: Clock, seed: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.clock = clock
        self.random = random.Random(seed)  # noqa: S311 - nothing secret
        self.tokens: dict[str, float] = {}
        self.counts: collections.Counter[str] = collections.Counter()
        self.down = False
        self.lock = threading.Lock()
        self.open: set[Any] = set()
        self.most_open = 0

    def process_request(self, request: Any, client_address: Any) -> None:
        """Count a connection."""
        with self.lock:
            self.open.add(request)
            self.counts["connections"] += 1
            self.most_open = max(self.most_open, len(self.open))
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget a connection."""
        with self.lock:
            self.open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - socketserver names them
        """Count a connection that its caller has left."""
        self.counts["connections that callers left"] += 1

    def restart(self) -> None:
        """Drop every connection, as a restart does."""
        with self.lock:
            connections = list(self.open)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(2)
        self.counts["restarts"] += 1

    def revoke(self) -> None:
        """Reject all tokens issued so far."""
        with self.lock:
            self.tokens.clear()
        self.counts["revocations"] += 1

    def mint(self) -> dict[str, Any]:
        """Return the body of a token response."""
        with self.lock:
            self.counts["tokens"] += 1
            value = f"fake-token-{self.counts['tokens']}"
            life = self.random.choice([TOKEN_LIFE_S, TOKEN_LIFE_S, TOKEN_LIFE_S // 4])
            self.tokens[value] = self.clock() + life
        return {"access_token": value, "token_type": "Bearer", "expires_in": life}

    def accepts(self, authorization: str) -> bool:
        """Return whether a token is valid."""
        with self.lock:
            return self.clock() < self.tokens.get(authorization.removeprefix("Bearer "), 0.0)

    def mood(self) -> str:
        """Return the mood for the next request."""
        with self.lock:
            [mood] = self.random.choices([*MOODS], [*MOODS.values()])
        return mood


class Handler(BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    protocol_version = "HTTP/1.1"
    timeout = 30.0
    disable_nagle_algorithm = True

    @property
    def of(self) -> SoakServer:
        """The server."""
        return cast("SoakServer", self.server)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server names it
        """Log nothing."""

    def answer(self, status: int, body: Any, *, cut: bool = False, **headers: str) -> None:
        """Send a response, or cut it off in its middle."""
        data = json.dumps(body).encode()
        lines = [f"HTTP/1.1 {status} Status", f"Content-Length: {len(data)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.wfile.write("\r\n".join([*lines, "", ""]).encode() + (data[: len(data) // 2] if cut else data))
        self.close_connection = cut

    def is_moody(self) -> bool:
        """Apply a mood to a request, and return whether it failed."""
        if self.of.down:
            self.close_connection = True
            return True
        mood = self.of.mood()
        self.of.counts[f"the server {mood}" if mood != "well" else "the server is well"] += 1
        match mood:
            case "throttles":
                self.answer(429, {}, Retry_After="0")
            case "fails":
                self.answer(503, {})
            case "cuts":
                self.answer(200, PAGE_EXAMPLE, cut=True)
            case "resets":
                self.close_connection = True
            case _:
                if mood == "slow":
                    time.sleep(SLOW_S)
                return False
        return True

    def do_POST(self) -> None:
        """Answer a request for a token."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.of.counts["token requests"] += 1
        if not self.is_moody():
            self.answer(200, self.of.mint())

    def do_GET(self) -> None:
        """Answer a request of the API."""
        self.of.counts["API requests"] += 1
        if not self.is_moody():
            if self.of.accepts(self.headers["Authorization"]):
                self.answer(200, PAGE_EXAMPLE)
            else:
                self.answer(401, {})
