"""Measure fresh processes: imports, starts, creation of a client, and the first record."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.contenders import OURS, OURS_FAST
from benchmarks.figures import Row, ratios
from benchmarks.pairing import Place
from benchmarks.subject import ACTIVITY_ID, SECRET, TENANT, TOKEN_PATH

NOTHING = "pass"
IMPORT_OURS = "from thrive_learning import ThriveClient"
IMPORT_HTTPX = "import httpx"
_REGION = (
    "region = Region.custom('bench', api_url={api!r}, token_url={token!r}, webhooks_token_url={token!r})"
)
_OURS_FIRST = f"""
from thrive_learning import BasicCredentials, Region, ThriveClient
{_REGION}
with ThriveClient(region, BasicCredentials({TENANT!r}, {SECRET!r}){{engine}}) as client:
    assert client.activities.get({ACTIVITY_ID!r}).id == {ACTIVITY_ID!r}
"""
_HTTPX_FIRST = f"""
import httpx
with httpx.Client(base_url={{api!r}}, auth=({TENANT!r}, {SECRET!r})) as client:
    assert client.get("/activity/{ACTIVITY_ID}").raise_for_status().json()["id"] == {ACTIVITY_ID!r}
"""
#: The class is imported before, because its import is another measure.
_CONSTRUCTION = """
import json, time
{imports}
took = []
kept = []
for _ in range(3):
    start = time.process_time()
    kept.append({construct})
    took.append(time.process_time() - start)
print(json.dumps(took))
"""
_OUR_IMPORTS = "from thrive_learning import BasicCredentials, Region, ThriveClient"
_OUR_CLIENT = f"ThriveClient(Region.PRODUCTION, BasicCredentials({TENANT!r}, {SECRET!r}){{engine}})"
_RSS = """
{imports}
print(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1])
"""
_VERSION = "import sys; sys.argv = ['thrive', '--version']; from thrive_learning.cli import main; main()"


class Ended(NamedTuple):
    """A process that has ended: its CPU time in seconds, children included, and what it printed."""

    cpu_s: float
    printed: str


def run(code: str, environment: Mapping[str, str]) -> Ended:
    """Run code in a fresh Python.

    Raises:
        RuntimeError: It failed.
    """
    command = [sys.executable, "-c", code]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None  # noqa: S101 - both are pipes
    assert process.stderr is not None  # noqa: S101
    printed, complaints = process.stdout.read(), process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)  # unlike wait(), it returns the usage of this process
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    process.stderr.close()
    if process.returncode:
        raise RuntimeError(f"{code!r} failed: {complaints.decode(errors='replace').strip()}")
    return Ended(usage.ru_utime + usage.ru_stime, printed.decode())


def interleaved(codes: Mapping[str, str], place: Place, rounds: int, measure: str) -> dict[str, list[Ended]]:
    """Run each code once per round, in random order. The first round writes bytecode and does not count."""
    found: dict[str, list[Ended]] = {name: [] for name in codes}
    names = list(codes)
    for number in range(rounds + 1):
        place.say(f"{measure}: round {number} of {rounds}")
        place.shuffle.shuffle(names)
        for name in names:
            ended = run(codes[name], place.environment)
            if number:
                found[name].append(ended)
    return found


def _engine_argument(engine: str, engines: Sequence[str]) -> str:
    return f", engine={engine!r}" if len(engines) > 1 else ""


def first_record(place: Place, engines: Sequence[str], rounds: int) -> list[Row]:
    """Measure a process from its start to its first record, relative to the same by hand."""
    measure = "cold start to first record"
    token = place.api_url.removesuffix("/rest/v1") + TOKEN_PATH + "/{tenant_id}"
    codes = {"httpx by hand": _HTTPX_FIRST.format(api=place.api_url)}
    for engine in engines:
        name = OURS_FAST if engine == "fast" else OURS
        argument = _engine_argument(engine, engines)
        codes[name] = _OURS_FIRST.format(api=place.api_url, token=token, engine=argument)
    ended = interleaved(codes, place, rounds, measure)
    by_hand = [process.cpu_s for process in ended["httpx by hand"]]
    return [
        Row(
            measure,
            name,
            ratios([process.cpu_s for process in processes], by_hand),
            note="to the same with httpx by hand: whole processes, Python's own start included",
            also={"CPU ms": _median_ms(processes)},
            kind="ours",
        )
        for name, processes in ended.items()
        if name != "httpx by hand"
    ]


def _median_ms(processes: Sequence[Ended]) -> float:
    return sorted(process.cpu_s for process in processes)[len(processes) // 2] * 1e3


def imports(place: Place, rounds: int) -> list[Row]:
    """Measure imports and `thrive --version`, minus the start of Python."""
    measure = "import"
    peers = {
        "requests": "import requests",
        "aiohttp": "import aiohttp",
        "Stainless SDK (openai)": "from openai import OpenAI",
    }
    codes = {
        "Python": NOTHING,
        "httpx": IMPORT_HTTPX,
        "ours": IMPORT_OURS,
        "thrive --version": _VERSION,
        **peers,
    }
    ended = interleaved(codes, place, rounds, measure)
    bare = [process.cpu_s for process in ended["Python"]]
    above = {
        name: [process.cpu_s - python for process, python in zip(processes, bare, strict=True)]
        for name, processes in ended.items()
    }
    note = "to `import httpx`, both less what Python takes to start"
    rows = [
        Row(
            measure,
            name,
            ratios(above[name], above["httpx"]),
            note=note,
            also={"CPU ms above Python": sorted(above[name])[len(bare) // 2] * 1e3},
            kind="ours" if name == "ours" else "peer",
        )
        for name in ("ours", *peers)
    ]
    version = Row(
        "thrive --version",
        "ours",
        tuple(above["thrive --version"]),
        unit="s of CPU",
        note="above bare Python",
        kind="ours",
    )
    return [*rows, version]


def construction(place: Place, engines: Sequence[str], rounds: int) -> list[Row]:
    """Measure the first and the second client of a process, relative to `httpx.Client()`."""
    measure = "client construction"
    codes = {"httpx": _CONSTRUCTION.format(imports="import httpx", construct="httpx.Client()")}
    for engine in engines:
        name = OURS_FAST if engine == "fast" else OURS
        client = _OUR_CLIENT.format(engine=_engine_argument(engine, engines))
        codes[name] = _CONSTRUCTION.format(imports=_OUR_IMPORTS, construct=client)
    ended = interleaved(codes, place, rounds, measure)
    took: dict[str, list[list[float]]] = {
        name: [json.loads(process.printed) for process in processes] for name, processes in ended.items()
    }
    return [
        Row(
            f"{order} client construction",
            name,
            ratios([one[index] for one in took[name]], [one[index] for one in took["httpx"]]),
            note=f"to the {order} httpx.Client() of a process",
            also={"CPU µs": sorted(one[index] for one in took[name])[rounds // 2] * 1e6},
            kind="ours",
        )
        for index, order in enumerate(("first", "second"))
        for name in took
        if name != "httpx"
    ]


def memory_after_import(place: Place, rounds: int) -> list[Row]:
    """Measure the resident memory of a process that has imported something."""
    measure = "RSS after import"
    if not Path("/proc/self/status").exists():
        return [Row(measure, "ours", (), note="not available without Linux's /proc")]
    codes = {"Python": "", "httpx": IMPORT_HTTPX, "ours": IMPORT_OURS, "openai": "from openai import OpenAI"}
    ended = interleaved(
        {name: _RSS.format(imports=code) for name, code in codes.items()}, place, rounds, measure
    )
    return [
        Row(
            measure,
            name,
            tuple(int(process.printed) / 1024 for process in processes),
            unit="MB",
            kind="ours" if name == "ours" else "bare",
        )
        for name, processes in ended.items()
    ]
