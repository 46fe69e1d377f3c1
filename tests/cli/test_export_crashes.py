"""`kill -9` of an export at random moments, then --resume. Each ID is in the output exactly once.

THRIVE_TEST_KILLS=100 kills more often, and `pytest -s` prints the counts.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from export_server import ExportServer, record_of, serving

COUNT = 600
KILLS = int(os.environ.get("THRIVE_TEST_KILLS", "15"))
IDS = [f"{number:024x}" for number in range(1, COUNT + 1)]
SCRIPT = "from thrive_learning.cli import main; main()"


def start(server: ExportServer, folder: Path, *options: str) -> "subprocess.Popen[bytes]":
    command = ["activity", "export", str(folder / "ids.txt"), "-o", str(folder / "out.ndjson"), *options]
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *command],
        env=os.environ | server.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def finished(running: "subprocess.Popen[bytes]") -> str:
    _, err = running.communicate(timeout=120)
    assert running.returncode == 0, err.decode()
    return err.decode()


def written(folder: Path) -> list[str]:
    """Return the requested IDs of the complete lines of the output."""
    output = folder / "out.ndjson"
    lines = output.read_bytes().split(b"\n")[:-1] if output.exists() else []
    return [json.loads(line)["data"]["asked"] for line in lines]


def kill(running: "subprocess.Popen[bytes]") -> bool:
    """Kill the export, and return whether it was still running."""
    running.kill()
    running.communicate()
    return running.returncode == -signal.SIGKILL


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no kill -9 here")
def test_kill_9_at_random_moments_loses_and_doubles_nothing(tmp_path: Path) -> None:
    seed = time.time_ns()
    draw = random.Random(seed)  # noqa: S311 - it draws moments
    kills = killed_midway = torn = requests = rounds = 0
    while kills < KILLS:
        rounds += 1
        folder = tmp_path / str(rounds)
        folder.mkdir()
        (folder / "ids.txt").write_text("\n".join(IDS))
        with serving() as server:
            for _ in range(min(12, KILLS - kills)):
                before = set(written(folder))
                asked_before = {one: server.counts[one] for one in before}
                running = start(server, folder, "--resume", "--concurrency", str(draw.choice([1, 4, 16])))
                if draw.random() < 0.2:
                    time.sleep(draw.uniform(0, 1.5))  # perhaps before it has begun, or during its checks
                elif (ahead := COUNT - len(before)) > 0:
                    goal = server.counts.total() + draw.randint(1, max(ahead // 5, 1))
                    server.wait_for(goal)
                    time.sleep(draw.uniform(0, 0.005))
                kills += kill(running)
                after = written(folder)
                killed_midway += len(before) < len(after) < COUNT
                torn += (folder / "out.ndjson").exists() and not (
                    folder / "out.ndjson"
                ).read_bytes().endswith(b"\n")
                assert len(after) == len(set(after)), f"doubled; seed {seed}"
                assert before <= set(after), f"lost; seed {seed}"
                asked = {one: server.counts[one] for one in before}
                assert asked == asked_before, f"what was there was fetched again; seed {seed}"
                if len(after) == COUNT:
                    break
            said = finished(start(server, folder, "--resume"))
            requests += server.counts.total()
        assert sorted(written(folder)) == IDS, f"seed {seed}"
        assert f"out.ndjson has {COUNT}" in said
        lines = (folder / "out.ndjson").read_bytes().splitlines()
        assert all(json.loads(line) == record_of(json.loads(line)["data"]["asked"]) for line in lines)
    assert killed_midway
    in_vain = requests - rounds * COUNT
    print(  # noqa: T201 - figures, for those who ask for them with -s
        f"\n{kills} kills, {killed_midway} of them with records written since the one before, {torn} with a "
        f"torn line; {rounds} exports of {COUNT} IDs, each ID exactly once; {in_vain} requests that were on "
        f"their way at a kill were sent again; seed {seed}"
    )
