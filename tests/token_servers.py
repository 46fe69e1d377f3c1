"""Servers of this machine that several processes share: one that gives tokens, and Redis."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from harness import ACTIVITY_ID, PAGE_EXAMPLE

from thrive_learning import Region

REDIS_SERVER = shutil.which("redis-server")
NO_REDIS = (
    "!!! NOT TESTED: the Redis cache against a real server, as redis-server is not on PATH "
    "(Debian: apt-get install redis-server)"
)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        token = self.server.tokens.mint()  # type: ignore[attr-defined]
        self._answer({"access_token": token, "token_type": "Bearer", "expires_in": 3600})

    def do_GET(self) -> None:
        self._answer(PAGE_EXAMPLE | {"name": self.headers["authorization"]})

    def _answer(self, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        with contextlib.suppress(OSError):  # whoever asked was killed
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


class TokenServer:
    """Gives a new token for each token request, and a record that names the token it was asked with."""

    def __init__(self) -> None:
        self.count = 0
        self.asked = threading.Event()
        self.answers = threading.Event()
        self.answers.set()
        self.takes_s = 0.0
        self._mutex = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.tokens = self  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.region = Region.custom(
            "here", api_url=f"{self.url}/rest", token_url=self.url + "/token/{tenant_id}"
        )

    def mint(self) -> str:
        with self._mutex:
            self.count += 1
            token = f"token-{self.count}"
        self.asked.set()
        time.sleep(self.takes_s)
        assert self.answers.wait(60)
        return token

    def stop(self) -> None:
        self.answers.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class RedisServer:
    """A Redis server of this machine, without a disk, that can be stopped and started again."""

    def __init__(self) -> None:
        assert REDIS_SERVER is not None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert REDIS_SERVER is not None
        options = {"port": str(self.port), "bind": "127.0.0.1", "save": "", "appendonly": "no"}
        arguments = [text for name, value in options.items() for text in (f"--{name}", value)]
        self._process = subprocess.Popen([REDIS_SERVER, *arguments], stdout=subprocess.DEVNULL)
        ends_at = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
            except ConnectionRefusedError:
                assert self._process.poll() is None, "redis-server ended"
                assert time.monotonic() < ends_at
                time.sleep(0.02)
            else:
                return

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextmanager
def redis_server() -> Iterator[RedisServer]:
    if REDIS_SERVER is None:
        pytest.skip(NO_REDIS)
    server = RedisServer()
    server.start()
    try:
        yield server
    finally:
        server.stop()


WORKER = """
import functools, sys
import anyio
import thrive_learning as thrive

url, activity_id, how = sys.argv[1:]
region = thrive.Region.custom("here", api_url=url + "/rest", token_url=url + "/token/{tenant_id}")
credentials = thrive.ClientCredentials("tenant", "client", "fake-client-secret")
cache = CACHE


def work():
    with thrive.ThriveClient(region, credentials, token_cache=cache) as client:
        return client.activities.get(activity_id).name


async def work_async():
    async with thrive.AsyncThriveClient(region, credentials, token_cache=cache) as client:
        return (await client.activities.get(activity_id)).name


print("ready", flush=True)
sys.stdin.readline()
print(work() if how == "sync" else anyio.run(work_async), flush=True)
"""


class Worker:
    """A process that makes one call as soon as it is told to."""

    def __init__(self, server: TokenServer, cache: str, *, asynchronous: bool, home: Path) -> None:
        how = "async" if asynchronous else "sync"
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER.replace("CACHE", cache), server.url, ACTIVITY_ID, how],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_environment(home),
            text=True,
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def end(self) -> int:
        self.process.communicate()
        return self.process.returncode


def _environment(home: Path) -> dict[str, str]:
    own = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "PYTHONPATH": os.pathsep.join(sys.path)}
    return os.environ | own


def cold_start(
    server: TokenServer, cache: str, homes: list[Path], *, meanwhile: Callable[[], None] | None = None
) -> list[str]:
    """Let one process for each home start at the same time, sync and async by turns: what each sent."""
    workers = [
        Worker(server, cache, asynchronous=bool(number % 2), home=home) for number, home in enumerate(homes)
    ]
    try:
        assert [worker.line() for worker in workers] == ["ready"] * len(homes)
        for worker in workers:
            worker.go()
        if meanwhile is not None:
            meanwhile()
        names = [worker.line() for worker in workers]
        assert [worker.end() for worker in workers] == [0] * len(homes)
        return names
    finally:
        for worker in workers:
            worker.process.kill()
            worker.end()
