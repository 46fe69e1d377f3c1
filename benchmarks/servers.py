"""Start the servers: one that is as fast as possible, and one whose responses take 50 ms."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.subject import (
    AFTER_ID,
    API_PATH,
    BEFORE_ID,
    PAGES,
    STATUS_PATH,
    TOKEN_ANSWER,
    TOKEN_PATH,
    page_text,
)

#: Runs as the current user, in the foreground, with all its files in one folder.
_NGINX_CONFIGURATION = """
daemon off;
worker_processes 1;
worker_rlimit_nofile {files};
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections {connections}; multi_accept on; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
  tcp_nodelay on;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  default_type application/json;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location ~ "^{api}/activity/([0-9a-f]{{24}})$" {{ return 200 '{before_id}$1{after_id}'; }}
    location = {api}/activities {{ root {folder}; try_files /page-$arg_page.json =404; }}
    location {token}/ {{ return 200 '{token_answer}'; }}
    location = {status} {{ stub_status; }}
  }}
}}
"""
_START_S = 10.0


class Server(NamedTuple):
    """A running server.

    Attributes:
        kind: The program, for the table.
        origin: The scheme, the host, and the port.
    """

    kind: str
    origin: str

    @property
    def api_url(self) -> str:
        """The base URL of the API."""
        return self.origin + API_PATH

    def connections_opened(self) -> int:
        """Return the number of connections so far, including the one for this request."""
        with urllib.request.urlopen(self.origin + STATUS_PATH) as response:  # noqa: S310 - http, loopback
            counts = re.search(r"requests\s+(\d+)", response.read().decode())
        if counts is None:
            raise RuntimeError(f"{self.kind} does not report how many connections it has accepted")
        return int(counts[1])


def nginx_path() -> str | None:
    """Find nginx, which system packages may install outside the user's PATH."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin"])
    return shutil.which("nginx", path=path)


@contextlib.contextmanager
def fast_server() -> Iterator[Server]:
    """Run nginx, or else the fallback. The table says which."""
    program = nginx_path()
    if program is None:
        with fallback_server() as server:
            yield server
        return
    with tempfile.TemporaryDirectory(prefix="thrive-bench-") as folder:
        port = _free_port()
        configuration = Path(folder, "nginx.conf")
        configuration.write_text(_nginx_configuration(folder, port), encoding="utf-8")
        Path(folder).chmod(0o755)  # nginx, started as root, reads files as another user
        for number in range(1, PAGES + 1):
            Path(folder, f"page-{number}.json").write_text(page_text(number), encoding="utf-8")
        process = subprocess.Popen([program, "-e", "stderr", "-p", folder, "-c", str(configuration)])
        try:
            _wait_for(port, process)
            yield Server(_nginx_version(program), f"http://127.0.0.1:{port}")
        finally:
            _end(process)


def _nginx_configuration(folder: str, port: int) -> str:
    import resource

    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return _NGINX_CONFIGURATION.format(
        folder=folder,
        port=port,
        files=files,
        connections=min(4096, files - 64),
        api=API_PATH,
        before_id=BEFORE_ID,
        after_id=AFTER_ID,
        token=TOKEN_PATH,
        token_answer=TOKEN_ANSWER,
        status=STATUS_PATH,
    )


def _nginx_version(program: str) -> str:
    said = subprocess.run([program, "-v"], capture_output=True, text=True, check=True)
    return (said.stderr + said.stdout).strip().removeprefix("nginx version: ")


@contextlib.contextmanager
def fallback_server(latency_s: float = 0.0) -> Iterator[Server]:
    """Run `fallback_server.py` in a separate process.

    Args:
        latency_s: The latency of each response in seconds.
    """
    command = [sys.executable, "-m", "benchmarks.fallback_server", str(latency_s)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    try:
        port = process.stdout.readline().strip()
        if not port:
            raise RuntimeError("the fallback server did not start. See its messages above")
        late = f", {latency_s * 1000:.0f} ms" if latency_s else ""
        yield Server(f"asyncio.Protocol{late}", f"http://127.0.0.1:{port}")
    finally:
        _end(process)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _START_S
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise RuntimeError(f"nginx did not start within {_START_S:.0f} s. See its messages above")


def _end(process: "subprocess.Popen[bytes] | subprocess.Popen[str]") -> None:
    process.terminate()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
