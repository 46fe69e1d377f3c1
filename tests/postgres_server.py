"""A PostgreSQL server of this machine, for tests."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NO_POSTGRES = (
    "!!! NOT TESTED: the webhook service against a real PostgreSQL, as initdb is neither on PATH nor in "
    "/usr/lib/postgresql/*/bin (Debian: apt-get install postgresql)"
)


class PostgresServer:
    """A server with an empty database for each test, which can be stopped and started again."""

    def __init__(self, programs: Path, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._programs, self._data = programs, folder / "data"
        self._user: str | None = None
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            self._user = next(name for name in ("postgres", "nobody") if _exists(name))
            shutil.chown(folder, self._user)
        self._run("initdb", "-D", str(self._data), "-U", "tester", "-A", "trust", "-E", "UTF8", "--no-sync")
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://tester@127.0.0.1:{self.port}/{database}"

    def create_database(self) -> str:
        """Create an empty database. Returns its URL."""
        self._databases += 1
        name = f"test{self._databases}"
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "tester", name)
        return self.url(name)

    def start(self) -> None:
        options = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",  # only this machine's crash would lose anything
        }
        arguments = [text for name, value in options.items() for text in ("-c", f"{name}={value}")]
        self._process = subprocess.Popen(
            [str(self._programs / "postgres"), "-D", str(self._data), *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=self._user,
            cwd="/",
        )
        ends_at = time.monotonic() + 60
        ready = [str(self._programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        while subprocess.run(ready, check=False).returncode:
            assert self._process.poll() is None, "postgres ended"
            assert time.monotonic() < ends_at
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop the server as a restart would, which ends all connections."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(timeout=60)
            self._process = None

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [str(self._programs / program), *arguments],
            check=True,
            capture_output=True,
            user=self._user,
            cwd="/",
            timeout=120,
        )


def _exists(user: str) -> bool:
    try:
        return bool(pwd.getpwnam(user))
    except KeyError:
        return False


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    debian = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
    path = os.pathsep.join([os.environ["PATH"], *debian])
    initdb = shutil.which("initdb", path=path)
    if initdb is None:
        pytest.skip(NO_POSTGRES)
    # Below /tmp, because pytest's folder is closed to the user that runs the server.
    with tempfile.TemporaryDirectory(prefix="thrive-postgres-") as folder:
        server = PostgresServer(Path(initdb).resolve().parent, Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()
