"""One run that reads many records into Parquet: `python -m benchmarks.cluster_worker WHO SINCE UNTIL FOLDER`.

The settings of the client are in the environment. It prints seconds and the CPU time of each process as JSON.
"""

import datetime as dt
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

#: The number of records that are written at once, or that a partition has at most.
PART_ROWS = 100_000


class Job(NamedTuple):
    """What to read, and where to write it."""

    since: dt.datetime
    until: dt.datetime
    folder: Path


class Took(NamedTuple):
    """The costs of a run.

    Attributes:
        wall_s: Seconds.
        cpu_s: The CPU time of each process that reads, in seconds.
        others_cpu_s: The CPU time of the other processes together.
    """

    wall_s: float
    cpu_s: list[float]
    others_cpu_s: float = 0.0


def one(job: Job) -> Took:
    """Iterate over the records in one process, and write them to one file."""
    pa: Any = importlib.import_module("pyarrow")

    from thrive_learning import ThriveClient
    from thrive_learning._tables.arrow import TableBuilder, arrow_schema

    writer: Any = importlib.import_module("pyarrow.parquet").ParquetWriter
    path = job.folder / f"{job.since:%Y%m%dT%H%M%S}.parquet"
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    builder, waiting = TableBuilder(), 0
    with ThriveClient.from_env() as client, writer(path, arrow_schema(pa)) as file:
        for record in client.activities.iterate(since=job.since, until=job.until):
            builder.add(record.to_json())
            waiting += 1
            if waiting == PART_ROWS:
                file.write_table(builder.table())
                builder, waiting = TableBuilder(), 0
        file.write_table(builder.table())
    return Took(time.perf_counter() - wall_s, [time.process_time() - cpu_s])


def halves(job: Job) -> Took:
    """Do the same in two processes that know nothing of each other, with half of the period each."""
    middle = (job.since + (job.until - job.since) / 2).replace(microsecond=0)
    times = [(job.since, middle), (middle, job.until)]
    commands = [
        [sys.executable, "-m", "benchmarks.cluster_worker", "one", *map(str, pair), str(job.folder)]
        for pair in times
    ]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
    took = [Took(**json.loads(process.communicate()[0])) for process in running]
    return Took(max(part.wall_s for part in took), [part.cpu_s[0] for part in took])


def _import() -> None:
    for module in ("thrive_learning.dask", "dask.dataframe", "pyarrow.parquet"):
        importlib.import_module(module)


def cluster(job: Job) -> Took:
    """Read the records with two workers of a local Dask cluster, which write a file per partition."""
    from thrive_learning.dask import read_activities

    distributed: Any = importlib.import_module("distributed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as local,
        distributed.Client(local) as client,
    ):
        client.run(_import)  # as the other contenders have before their time begins
        before = client.run(time.process_time)
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        frame: Any = read_activities(job.since, job.until, rows_per_partition=PART_ROWS)
        frame.to_parquet(job.folder)
        took_s, own_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
        after = client.run(time.process_time)
    return Took(took_s, [after[name] - before[name] for name in before], own_s)


def command(job: Job) -> Took:
    """Export the records with the command in one process."""
    took = _export(job, "--output", str(job.folder / "records.parquet"))
    for kept in job.folder.glob("records.ndjson*"):
        kept.unlink()
    return took


def dask_command(job: Job) -> Took:
    """Export the records with the command and two workers of its own."""
    return _export(job, "--output", str(job.folder / "lake"), "--dask", "local", "--workers", "2")


def _export(job: Job, *options: str) -> Took:
    period = ("--since", job.since.isoformat(), "--until", job.until.isoformat())
    before, wall_s = os.times(), time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "thrive_learning", "activity", "export", *period, *options, "--quiet"],
        check=True,
    )
    wall_s, after = time.perf_counter() - wall_s, os.times()
    children_s = after.children_user + after.children_system - before.children_user - before.children_system
    return Took(wall_s, [children_s])


RUNS: dict[str, Callable[[Job], Took]] = {
    "one": one,
    "halves": halves,
    "cluster": cluster,
    "command": command,
    "dask-command": dask_command,
}


def main(who: str, since: str, until: str, folder: str) -> None:
    """Run, and print what it took."""
    job = Job(dt.datetime.fromisoformat(since), dt.datetime.fromisoformat(until), Path(folder))
    print(json.dumps(RUNS[who](job)._asdict()))


if __name__ == "__main__":
    main(*sys.argv[1:])
