"""Measure reading many records by time: a local Dask cluster of two processes against one process."""

import contextlib
import importlib
import json
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from benchmarks.cluster_worker import Took
from benchmarks.figures import Row
from benchmarks.page_server import window
from benchmarks.pairing import Place
from benchmarks.subject import API_PATH, SECRET, STATUS_PATH, TENANT, TOKEN_PATH

ONE, HALVES, CLUSTER = "ours, one process", "ours, two processes without Dask", "ours, Dask, two workers"
#: Whole commands, with the start of all processes. The second is compared with the first.
COMMAND, DASK_COMMAND = "thrive activity export", "thrive activity export --dask local --workers 2"
_WHO = {
    ONE: "one",
    HALVES: "halves",
    CLUSTER: "cluster",
    COMMAND: "command",
    DASK_COMMAND: "dask-command",
}
MEASURES = (
    "records by time into Parquet, to one process",
    "records by time: CPU time of one process / of the busiest",
    "records by time: requests, to one process",
    "records by time: token requests",
)


class Run(NamedTuple):
    """One run of a contender.

    Attributes:
        took: What it took.
        requests: The requests for pages and counts.
        tokens: The token requests.
    """

    took: Took
    requests: int
    tokens: int


@contextlib.contextmanager
def page_server(records: int) -> Iterator[str]:
    """Run `page_server.py` in a separate process, and return its origin."""
    command = [sys.executable, "-m", "benchmarks.page_server", str(records)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:  # it closes stdin, which ends the process, and waits for it
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        port = process.stdout.readline().strip()
        if not port:
            raise RuntimeError("the page server did not start. See its messages above")
        yield f"http://127.0.0.1:{port}"


def settings(origin: str) -> dict[str, str]:
    """Return the settings of a client of the server."""
    token_url = f"{origin}{TOKEN_PATH}/{{tenant_id}}"
    return {
        "THRIVE_API_URL": origin + API_PATH,
        "THRIVE_TOKEN_URL": token_url,
        "THRIVE_WEBHOOKS_TOKEN_URL": token_url,
        "THRIVE_TENANT_ID": TENANT,
        "THRIVE_CLIENT_SECRET": SECRET,
    }


def _status(origin: str) -> Mapping[str, float]:
    with urllib.request.urlopen(origin + STATUS_PATH) as response:  # noqa: S310 - http, loopback
        found: dict[str, float] = json.load(response)
    return found


def _run(who: str, records: int, origin: str, place: Place) -> Run:
    place.say(f"{records:,} records by time: {who}")
    before = _status(origin)
    with tempfile.TemporaryDirectory(prefix="thrive-bench-") as folder:
        command = [sys.executable, "-m", "benchmarks.cluster_worker", _WHO[who], *map(str, window(records))]
        done = subprocess.run(
            [*command, folder],
            env={**place.environment, **settings(origin)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"the run of {who} failed: {done.stderr.strip()[-2000:]}")
        _check(folder, records, who)
    after = _status(origin)
    found = {name: int(after[name] - before.get(name, 0)) for name in after}
    return Run(
        Took(**json.loads(done.stdout)),
        found.get("pages", 0) + found.get("counts", 0),
        found.get("tokens", 0),
    )


def _check(folder: str, records: int, who: str) -> None:
    """Raise unless each record is in the result once."""
    dataset: Any = importlib.import_module("pyarrow.dataset")
    compute: Any = importlib.import_module("pyarrow.compute")
    ids = dataset.dataset(folder, format="parquet").to_table(columns=["id"])["id"]
    if (len(ids), compute.count_distinct(ids).as_py()) != (records, records):
        raise RuntimeError(f"the result of {who} does not have each of the {records:,} records once")


def measure(place: Place, records: int, rounds: int) -> list[Row]:
    """Measure all contenders, interleaved and in random order. Ratios are taken within a round.

    Args:
        place: The environment of the processes.
        records: The number of records.
        rounds: The number of runs of each contender.
    """
    names, runs = [*_WHO], list[dict[str, Run]]()
    with page_server(records) as origin:
        for _ in range(rounds):
            place.shuffle.shuffle(names)
            runs.append({name: _run(name, records, origin, place) for name in names})
    return [row for name in _WHO for row in _rows(name, records, runs)]


def _rows(name: str, records: int, runs: list[dict[str, Run]]) -> Iterator[Row]:
    kind = "limit" if name == HALVES else "ours"
    is_command = name in (COMMAND, DASK_COMMAND)
    base = COMMAND if is_command else ONE
    note = f"to {'the command in ' if is_command else ''}one process; {records:,} records"
    own, ones = [run[name] for run in runs], [run[base] for run in runs]
    fastest = min(own, key=lambda run: run.took.wall_s)
    also = {
        "records/s (best)": records / fastest.took.wall_s,
        "CPU µs per record, those that read": sum(fastest.took.cpu_s) / records * 1e6,
        "others": fastest.took.others_cpu_s / records * 1e6,
    }
    pairs = list(zip(own, ones, strict=True))
    rates = tuple(other.took.wall_s / run.took.wall_s for run, other in pairs)
    yield Row(MEASURES[0], name, rates, "times the records/s", note, also, kind)
    if not is_command:  # whose processes are not known
        busiest = tuple(other.took.cpu_s[0] / max(run.took.cpu_s) for run, other in pairs)
        yield Row(
            MEASURES[1], name, busiest, note=f"{note}. Less than 2 by extra work and uneven shares", kind=kind
        )
    requests = tuple(run.requests / other.requests for run, other in pairs)
    yield Row(MEASURES[2], name, requests, note=note, kind=kind)
    yield Row(MEASURES[3], name, tuple(float(run.tokens) for run in own), "requests", "cold", kind=kind)
