"""Kill processes of exports by a cluster at random moments. Each record must be in the folder exactly once.

THRIVE_TEST_KILLS=100 kills more workers, and THRIVE_TEST_SEED repeats the moments of another run.
"""

import contextlib
import os
import random
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cluster_runs import Served, assert_once, served, start, workers_of

if TYPE_CHECKING:
    import subprocess

pytest.importorskip("distributed")
pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc")

COUNT = 40_000
PART = 1000
LOCAL = ("--dask", "local", "--workers", "3", "--records-per-part", str(PART), "--resume")
KILLS = int(os.environ.get("THRIVE_TEST_KILLS", "20"))
SEED = int(os.environ.get("THRIVE_TEST_SEED", str(time.time_ns())))


def wait_somewhere(serving: Served, command: "subprocess.Popen[bytes]", draw: random.Random) -> None:
    """Wait for a random moment: mostly among the pages, or during the start or the count of records."""
    kind = draw.random()
    if kind < 0.1:
        time.sleep(draw.uniform(0, 3))
        return
    requests, pages = serving.requests, serving.pages
    count = draw.randint(1, 80 if kind < 0.2 else 16)

    def has_come() -> bool:
        done = serving.requests - requests if kind < 0.2 else serving.pages - pages
        return done >= count or command.poll() is not None

    with serving.changed:
        serving.changed.wait_for(has_come, 60)
    time.sleep(draw.uniform(0, 0.3))  # perhaps while a part is written


def kill_a_worker(command: "subprocess.Popen[bytes]", draw: random.Random) -> bool:
    """Kill a worker, and return whether there was one."""
    workers = workers_of(command.pid)
    if not workers or command.poll() is not None:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(draw.choice(workers), signal.SIGKILL)
        return True
    return False


def test_workers_and_commands_are_killed_at_random_moments(tmp_path: Path) -> None:
    draw = random.Random(SEED)  # noqa: S311 - it draws moments
    kills = midway = commands = rounds = 0
    note = f"(seed {SEED})"
    began = time.monotonic()
    with served(COUNT) as serving:
        while kills < KILLS:
            rounds += 1
            folder = tmp_path / str(rounds)
            folder.mkdir()
            serving.tokens = serving.pages = 0
            starts = 1
            command = start(serving, folder, *LOCAL)
            errors = drained(command)
            # Two workers die in each round. In every third one, the command does as well.
            planned = ["worker", "worker", *(["command"] if rounds % 3 == 0 else [])]
            draw.shuffle(planned)
            for victim in planned:
                wait_somewhere(serving, command, draw)
                if victim == "worker":
                    kills += kill_a_worker(command, draw)
                else:
                    commands += command.poll() is None
                    command.kill()
                    command.wait()
                found = assert_once(folder, serving.ids, is_whole=False, note=note)
                midway += 0 < found < COUNT
                if victim == "command":
                    command = start(serving, folder, *LOCAL)
                    errors = drained(command)
                    starts += 1
            assert command.wait(timeout=180) == 0, (b"".join(errors).decode(), note)
            assert assert_once(folder, serving.ids, note=note) == COUNT
            left = sorted(path.name for path in (folder / "lake" / "_thrive").iterdir())
            print(  # noqa: T201 - the figures
                f"\nround {rounds}: {kills} workers and {commands} commands killed so far, {midway} of them "
                f"between the first and the last part; {COUNT:,} records once, {serving.pages} pages, "
                f"{serving.tokens} token requests for {starts} starts; _thrive has {', '.join(left)}"
            )
            assert serving.tokens <= starts, note
            assert {"lock", "plan.json"} <= {*left}, note
    print(f"\n{kills} workers killed in {time.monotonic() - began:.0f} s; seed {SEED}")  # noqa: T201 - figures


def drained(command: "subprocess.Popen[bytes]") -> list[bytes]:
    """Read the messages of a command while it runs, so that it never waits for a reader."""
    lines: list[bytes] = []

    def read() -> None:
        assert command.stderr is not None
        with command.stderr as messages:
            lines.extend(messages)

    threading.Thread(target=read, daemon=True).start()
    return lines


def test_a_worker_that_is_left_over_writes_nothing(tmp_path: Path) -> None:
    """A command is killed and replaced with --force, while its workers may still write."""
    draw = random.Random(SEED)  # noqa: S311 - it draws moments
    with served(COUNT) as serving:
        command = start(serving, tmp_path, *LOCAL)
        drained(command)
        errors: list[bytes] = []
        for _ in range(3):
            wait_somewhere(serving, command, draw)
            command.kill()
            command.wait()
            command = start(serving, tmp_path, *LOCAL[:-1], "--force")
            errors = drained(command)
        assert command.wait(timeout=180) == 0, (b"".join(errors).decode(), SEED)
        assert_once(tmp_path, serving.ids, note=f"(seed {SEED})")
