"""Kill exports of a period while records arrive. Each record must be in the output exactly once.

THRIVE_TEST_KILLS=100 kills more often, and `pytest -s` prints the counts.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from list_server import ListServer, listing

COUNT = 20_000
KILLS = int(os.environ.get("THRIVE_TEST_KILLS", "10"))
SCRIPT = "from thrive_learning.cli import main; main()"

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no kill -9 here")


def start(server: ListServer, folder: Path, *options: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, "activity", "export", "--since", "2025-12-31", *options],
        cwd=folder,
        env=os.environ | server.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def finish(server: ListServer, folder: Path, *options: str) -> str:
    running = start(server, folder, *options)
    _, err = running.communicate(timeout=120)
    assert running.returncode == 0, err.decode()
    return err.decode()


def kill_somewhere(server: ListServer, folder: Path, draw: random.Random, *options: str) -> bool:
    """Kill an export at a random moment, and return whether it was still running."""
    running = start(server, folder, *options)
    if draw.random() < 0.3:
        time.sleep(draw.uniform(0, 1.2))  # perhaps before it has begun, during its checks, or at its end
    else:
        with server.changed:
            goal = len(server.requests) + draw.randint(1, 8)
            server.changed.wait_for(lambda: len(server.requests) >= goal or running.poll() is not None, 5)
        time.sleep(draw.uniform(0, 0.02))
    running.kill()
    running.communicate()
    return running.returncode == -signal.SIGKILL


def counted(*files: Path) -> Counter[str]:
    """Return how often each ID is in the complete lines of some files."""
    found: Counter[str] = Counter()
    for path in files:
        lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
        found.update(json.loads(line)["id"] for line in lines)
    return found


def assert_once(found: Counter[str], wanted: set[str], seed: int) -> None:
    doubled = [one for one, count in found.items() if count > 1]
    assert not doubled, f"{len(doubled)} doubled; seed {seed}"
    lost = wanted - found.keys()
    assert not lost, f"{len(lost)} lost; seed {seed}"


def arrivals(server: ListServer, draw: random.Random) -> None:
    """Add late records while pages are read, on one page in three, and sometimes more than a page of them."""

    def hook(_page: int, _query: dict[str, str]) -> None:
        if draw.random() < 1 / 3:
            server.arrive_late(draw, draw.choice([1, 1, 1, 2, 2, 3, 30, 1500]))

    server.hook = hook


def test_kill_9_at_random_moments_while_records_arrive(tmp_path: Path) -> None:
    seed = time.time_ns()
    draw = random.Random(seed)  # noqa: S311 - it draws moments
    kills = midway = rounds = 0
    while kills < KILLS:
        rounds += 1
        folder = tmp_path / str(rounds)
        folder.mkdir()
        output = folder / "out.ndjson"
        with listing(COUNT) as server:
            wanted = server.ids
            arrivals(server, draw)
            for _ in range(min(10, KILLS - kills)):
                before = counted(output)
                kills += kill_somewhere(server, folder, draw, "-o", "out.ndjson", "--resume")
                after = counted(output)
                assert_once(after, set(before), seed)
                midway += len(before.keys() & wanted) < len(after.keys() & wanted) < COUNT
                server.arrive_late(draw, draw.choice([0, 10, 5000]))
            said = finish(server, folder, "-o", "out.ndjson", "--resume")
            requests = len(server.requests)
        assert_once(counted(output), wanted, seed)
        assert f"out.ndjson has {counted(output).total():,}" in said
        print(  # noqa: T201 - figures, for those who ask for them with -s
            f"\n{kills} kills, {midway} of them with records written since the one before; {COUNT:,} records "
            f"and {counted(output).total() - COUNT:,} late ones, {requests} pages; seed {seed}"
        )


def test_kill_9_of_a_folder_with_a_part_for_each_day(tmp_path: Path) -> None:
    seed = time.time_ns()
    draw = random.Random(seed)  # noqa: S311 - it draws moments
    options = ("-o", "lake", "--partition-by", "day", "--to", "ndjson", "--resume")
    with listing(COUNT, spacing_ms=20_000) as server:
        wanted = server.ids
        arrivals(server, draw)
        for _ in range(KILLS // 2):
            kill_somewhere(server, tmp_path, draw, *options)
            # Every file with its final name is complete.
            for part in tmp_path.glob("lake/day=*/*"):
                assert part.name.startswith((".thrive-", "part-"))
                assert part.name.startswith(".thrive-") or part.read_bytes().endswith(b"\n")
        finish(server, tmp_path, *options)
    assert_once(counted(*tmp_path.glob("lake/day=*/part-*")), wanted, seed)


def test_runs_with_a_state_that_are_killed_have_each_record_once(tmp_path: Path) -> None:
    seed = time.time_ns()
    draw = random.Random(seed)  # noqa: S311 - it draws moments
    options = ("--state", "state.json", "--overlap", "1h", "-o", "out-{until}.ndjson")
    with listing(COUNT // 2) as server:
        arrivals(server, draw)
        wanted = server.ids
        for _ in range(KILLS // 2):
            kill_somewhere(server, tmp_path, draw, *options)
            server.hook = None
            # They arrive within the overlap.
            last = server.records[-1][0]
            server.add([last - draw.randint(0, 3_000_000) for _ in range(50)])
            server.add([last + draw.randint(0, 10_000) for _ in range(500)])
        time.sleep(1.1)  # the last run must have its own period
        finish(server, tmp_path, *options)
        time.sleep(1.1)
        finish(server, tmp_path, *options)
        late = {one for one in server.ids if int(one, 16) >= COUNT // 2}
    outputs = [*tmp_path.glob("out-*.ndjson")]
    found = counted(*outputs)
    assert_once(found, wanted, seed)
    print(f"\n{len(outputs)} outputs, {len(late - found.keys())} late ones missed; seed {seed}")  # noqa: T201
    assert not list(tmp_path.glob("*.journal"))
