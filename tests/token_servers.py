"""Servers on this machine for several processes: a token server, and Redis."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from harness import ACTIVITY_ID, PAGE_EXAMPLE
from loopback_http import QuietHandler, Server, unused_port
from patience import PATIENCE_S

from thrive_learning import Region

REDIS_SERVER = shutil.which("redis-server")
NO_REDIS = (
    "!!! NOT TESTED: the Redis cache against a real server, as redis-server is not on PATH "
    "(Debian: apt-get install redis-server)"
)


class Handler(QuietHandler):
    def post(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        token = self.server.tokens.mint()  # type: ignore[attr-defined]
        self._answer({"access_token": token, "token_type": "Bearer", "expires_in": 3600})

    def get(self) -> None:
        self._answer(PAGE_EXAMPLE | {"name": self.headers["authorization"]})

    def _answer(self, document: dict[str, Any]) -> None:
        self.respond(200, json.dumps(document).encode())


class TokenServer:
    """Gives a new token for each token request, and a record that names the token it was asked with."""

    def __init__(self) -> None:
        self.count = 0
        self.asked = threading.Event()
        self.answers = threading.Event()
        self.answers.set()
        self.takes_s = 0.0
        self._mutex = threading.Lock()
        self._server = Server(("127.0.0.1", 0), Handler)
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
        assert self.answers.wait(PATIENCE_S)
        return token

    def stop(self) -> None:
        self.answers.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


#: Options of a Redis URL, for a server that answers late because the machine is busy.
PATIENT = f"socket_timeout={PATIENCE_S}&socket_connect_timeout={PATIENCE_S}"


class RedisServer:
    """A Redis server of this machine, without a disk, that can be stopped and started again."""

    def __init__(
        self,
        password: str,
        tls_files: Mapping[str, Path] | None = None,
        options: Mapping[str, str] | None = None,
    ) -> None:
        self._password = password
        self._options = options or {}
        self._tls_files = tls_files or {}
        self.port: int = unused_port()
        user = f":{password}@" if password else ""
        self.url = f"redis://{user}127.0.0.1:{self.port}/0?{PATIENT}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert REDIS_SERVER is not None
        port = {"port": "0", "tls-port": str(self.port)} if self._tls_files else {"port": str(self.port)}
        options = {**port, "bind": "127.0.0.1", "save": "", "requirepass": self._password}
        options |= self._options
        options |= {name: str(path) for name, path in self._tls_files.items()}
        arguments = [text for name, value in options.items() for text in (f"--{name}", value)]
        self._process = subprocess.Popen([REDIS_SERVER, *arguments], stdout=subprocess.DEVNULL)
        ends_at = time.monotonic() + PATIENCE_S
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
def redis_server(
    password: str = "",
    tls_files: Mapping[str, Path] | None = None,
    options: Mapping[str, str] | None = None,
) -> Iterator[RedisServer]:
    if REDIS_SERVER is None:
        pytest.skip(NO_REDIS)
    server = RedisServer(password, tls_files, options)
    server.start()
    try:
        yield server
    finally:
        server.stop()


#: A Python that loads all it needs, and is forked into processes that start cold at the same moment.
MACHINE = """
import os, sys
import anyio, anyio._backends._asyncio, filelock, redis
import thrive_learning as thrive
from thrive_learning._auth import authorizer, sharing

# All processes compete for the processors, so that a file may take long.
authorizer.ANSWER_S = sharing.ANSWER_S = authorizer._SAVING_S = 60.0
url, activity_id, count = sys.argv[1:]
region = thrive.Region.custom("here", api_url=url + "/rest", token_url=url + "/token/{tenant_id}")
credentials = thrive.ClientCredentials("tenant", "client", "fake-client-secret")


def cache():
    CACHE


def work():
    with thrive.ThriveClient(region, credentials, token_store=cache()) as client:
        return client.activities.get(activity_id).name


async def work_async():
    async with thrive.AsyncThriveClient(region, credentials, token_store=cache()) as client:
        return (await client.activities.get(activity_id)).name


# They all have the TLS context of these, which is dear to make.
kept = thrive.ThriveClient(region, credentials), thrive.AsyncThriveClient(region, credentials)
start, go = os.pipe()
for number in range(int(count)):
    if os.fork() == 0:
        os.close(go)
        os.read(start, 1)
        name = anyio.run(work_async) if number % 2 else work()
        os.write(1, (name + chr(10)).encode())
        os._exit(0)
print("ready", flush=True)
sys.stdin.readline()
os.close(go)
for _ in range(int(count)):
    assert os.wait()[1] == 0
"""


class Machine:
    """Processes of one user on one machine, sync and async by turns, which make a call each when told to."""

    def __init__(self, server: TokenServer, cache: str, home: Path, *, processes: int) -> None:
        code = MACHINE.replace("CACHE", cache)
        self.processes = processes
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, server.url, ACTIVITY_ID, str(processes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_environment(home),
            text=True,
            start_new_session=True,
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

    def kill(self) -> None:
        """Kill each of its processes with SIGKILL, so that nothing is released."""
        if self.process.returncode is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.end()


def _environment(home: Path) -> dict[str, str]:
    own = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "PYTHONPATH": os.pathsep.join(sys.path)}
    return os.environ | own


def cold_start(server: TokenServer, cache: str, *homes: Path, processes: int) -> list[str]:
    """Let processes on machines with these homes start at the same time: what each of them sent."""
    machines = [Machine(server, cache, home, processes=processes) for home in homes]
    try:
        assert [machine.line() for machine in machines] == ["ready"] * len(machines)
        for machine in machines:
            machine.go()
        names = [machine.line() for machine in machines for _ in range(processes)]
        assert [machine.end() for machine in machines] == [0] * len(machines)
        return names
    finally:
        for machine in machines:
            machine.kill()
