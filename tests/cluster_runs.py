"""Exports by a cluster in processes of their own, for tests that kill some of them."""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from thrive_learning.sandbox import FaultySandbox, Sandbox, SandboxReply, SandboxRequest
from thrive_learning.sandbox.core import is_token_target
from thrive_learning.sandbox.server import SandboxApp, SandboxServer, client_variables

parquet: Any = pytest.importorskip("pyarrow.parquet")

SCRIPT = "from thrive_learning.cli import main; main()"


class Served:
    """A sandbox on loopback, and the requests that it got.

    Attributes:
        ids: The IDs of all records.
        environment: The settings with which clients use it.
        tokens: The number of token requests.
        pages: The number of requested pages of records.
        requests: The number of all requests.
        changed: Is notified of each request.
        hook: Is called after each request.
    """

    def __init__(self, count: int) -> None:
        self.sandbox = Sandbox(records={}, generated=count)
        self.ids = {record_id for record_id, _ in self.sandbox.collection.some(count)}
        self.environment: dict[str, str] = {}
        self.tokens = self.pages = self.requests = 0
        self.changed = threading.Condition()
        self.hook: Callable[[], object] = lambda: None

    def note(self, request: SandboxRequest, _reply: SandboxReply) -> None:
        with self.changed:
            self.requests += 1
            if is_token_target(request.target):
                self.tokens += 1
            elif "perPage=1&" not in f"{request.target}&":  # which counts records
                self.pages += 1
            self.changed.notify_all()
        self.hook()


@contextlib.contextmanager
def served(count: int) -> Iterator[Served]:
    """Serve so many generated records."""
    serving = Served(count)
    app = SandboxApp(FaultySandbox(serving.sandbox), on_reply=serving.note)
    with SandboxServer(app) as server:
        serving.environment = client_variables(server.url, serving.sandbox)
        yield serving


def start(serving: Served, folder: Path, *options: str, is_group: bool = False) -> "subprocess.Popen[bytes]":
    """Start an export in a folder, perhaps in a process group of its own."""
    command = ["activity", "export", "--since", "2025-06-01", "--until", "2026-08-01", "-o", "lake"]
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *command, *options],
        cwd=folder,
        env=os.environ | serving.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=is_group,
    )


def workers_of(command: int) -> list[int]:
    """Return the process IDs of the workers of the command with a process ID."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):  # it has ended
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            line = (entry / "cmdline").read_bytes()  # a worker that is ready changes it
            if parent == command and (b"spawn_main" in line or line.startswith(b"dask worker")):
                found.append(int(entry.name))
    return sorted(found)


def wait_for_end(workers: Iterable[int]) -> None:
    """Wait until processes have ended. Their parent may have ended before, and nobody may reap them."""
    ends_at = time.monotonic() + 60
    for worker in workers:
        while state_of(worker) not in "ZX":
            assert time.monotonic() < ends_at, f"{worker} has not ended"
            time.sleep(0.01)


def state_of(process: int) -> str:
    """Return the letter of the state of a process, or that of one that does not exist."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def ids_in(folder: Path) -> Counter[str]:
    """Return how often each ID is in the parts of an export, which all must be complete."""
    found: Counter[str] = Counter()
    for path in folder.glob("lake/*.parquet"):
        found.update(parquet.read_table(path, columns=["id"])["id"].to_pylist())
    return found


def strangers(folder: Path) -> list[str]:
    """Return the names of everything in the folder that is neither a part nor hidden from readers."""
    return [
        path.name
        for path in folder.glob("lake/*")
        if path.name != "_thrive" and not (path.name.startswith("part-") and path.suffix == ".parquet")
    ]


def assert_once(folder: Path, wanted: set[str], *, is_whole: bool = True, note: str = "") -> int:
    """Check that each record is in the parts once, or at most once if not all are there yet."""
    found = ids_in(folder)
    doubled = [one for one, count in found.items() if count > 1]
    assert not doubled, f"{len(doubled)} doubled {note}"
    assert found.keys() <= wanted, note
    assert not is_whole or found.keys() == wanted, f"{len(wanted - found.keys())} lost {note}"
    assert strangers(folder) == [], note
    return len(found)
