"""Measure bulk runs: records per second, failures, connections, and memory."""

import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from benchmarks.contenders import OURS, OURS_FAST
from benchmarks.figures import Row
from benchmarks.pairing import Place
from benchmarks.servers import Server

RAW, HTTPX = "raw asyncio streams", "workers on one httpx.AsyncClient"
OURS_SYNC = "ours, sync, engine httpx"
_LATENCY_ROW = "bulk: get_many, 100 in flight, 50 ms"
_NO_LATENCY_ROW = "bulk: get_many, 32 in flight, no latency"
_RISE_ROW = "bulk: throughput at 256 in flight / at 8"
_FAILURES_ROW = "bulk: 1,000 ids, 1,000 in flight, 50 ms"
_CONNECTIONS_ROW = "bulk: connections opened / in flight"
_MEMORY_ROW = "bulk: peak RSS of many ids less that of 10 k"
_COST_ROW = "bulk: cost per record of many ids / of 10 k"
MEASURES = (
    *(_LATENCY_ROW, _NO_LATENCY_ROW, _RISE_ROW, _FAILURES_ROW, _CONNECTIONS_ROW, _MEMORY_ROW, _COST_ROW),
)
LATENCY_S = 0.05
#: Fewer IDs than for the others, which would take minutes. The rate does not depend on the number.
HTTPX_IDS = 500
_NOT_YET = "not available yet: the clients have no activities.get_many"


class Scale(NamedTuple):
    """The size of bulk runs.

    Attributes:
        ids: The number of IDs in a run.
        many_ids: The number of IDs whose memory and cost are compared with those of 10 k.
        runs: The number of runs of each kind.
        by_time: The number of records that are read by time.
    """

    ids: int
    many_ids: int
    runs: int
    by_time: int


def has_get_many() -> bool:
    """Return whether the clients have `activities.get_many`."""
    from thrive_learning.activities import Activities, AsyncActivities

    return hasattr(Activities, "get_many") and hasattr(AsyncActivities, "get_many")


def run(who: str, server: Server, ids: int, in_flight: int, place: Place) -> dict[str, Any]:
    """Run a bulk contender in a fresh process."""
    place.say(f"bulk: {who}, {ids} ids, {in_flight} in flight")
    command = [sys.executable, "-m", "benchmarks.bulk_worker", who, server.api_url, str(ids), str(in_flight)]
    done = subprocess.run(command, env=place.environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"bulk run of {who} failed: {done.stderr.strip()[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _contenders(engines: Sequence[str]) -> dict[str, str]:
    """Return our contenders by their names in the table, each with its name in a worker."""
    if not has_get_many():
        return {}
    names = {"httpx": OURS, "fast": OURS_FAST}
    return {names[engine]: f"ours:{engine}" for engine in engines} | {OURS_SYNC: "ours-sync:httpx"}


def _missing(measure: str, engines: Sequence[str], unit: str = "ratio") -> list[Row]:
    if has_get_many():
        if "fast" in engines:
            return []
        return [Row(measure, OURS_FAST, (), unit, "not available yet without the fast engine", kind="ours")]
    return [Row(measure, OURS, (), unit, _NOT_YET, kind="ours")]


def _rate(result: dict[str, Any]) -> float:
    return float(result["records"] / result["wall_s"])


def _cost_us(result: dict[str, Any]) -> float:
    """Return the CPU time per record, which depends less on the load of the machine than the rate."""
    return float(result["cpu_s"] / max(result["records"], 1) * 1e6)


def _rates_and_costs(rates: Sequence[float], costs: Sequence[float]) -> dict[str, float]:
    return {"records/s": statistics.median(rates), "CPU µs per record": statistics.median(costs)}


def with_latency(slow: Server, place: Place, engines: Sequence[str], scale: Scale) -> list[Row]:
    """Measure records per second with a latency of 50 ms, relative to the optimum of 100 in flight."""
    in_flight, ideal = 100, 100 / LATENCY_S
    contenders = {RAW: "raw", **_contenders(engines), HTTPX: "httpx"}
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    costs: dict[str, list[float]] = {name: [] for name in contenders}
    opened: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for _ in range(scale.runs):
        place.shuffle.shuffle(names)
        for name in names:
            if name == HTTPX and rates[name]:
                continue  # one run is enough, because it is slow
            ids = HTTPX_IDS if name == HTTPX else scale.ids
            before = slow.connections_opened()
            result = run(contenders[name], slow, ids, in_flight, place)
            rates[name].append(_rate(result))
            costs[name].append(_cost_us(result))
            # Without the connection that requested the second count.
            opened[name].append(slow.connections_opened() - before - 1)
    rows = [
        Row(
            _LATENCY_ROW,
            name,
            tuple(rate / ideal for rate in rates[name]),
            note=f"to the ideal {ideal:,.0f} records/s; {HTTPX_IDS if name == HTTPX else scale.ids:,} ids",
            also=_rates_and_costs(rates[name], costs[name]),
            kind=_kind(name),
        )
        for name in contenders
    ]
    connections = [
        Row(
            _CONNECTIONS_ROW,
            name,
            tuple(count / in_flight for count in opened[name]),
            note="in the runs with 100 in flight and 50 ms",
            kind=_kind(name),
        )
        for name in contenders
    ]
    return [
        *rows,
        *_missing(_LATENCY_ROW, engines),
        *connections,
        *_missing(_CONNECTIONS_ROW, engines),
    ]


def _kind(name: str) -> str:
    return {RAW: "limit", HTTPX: "bare"}.get(name, "ours")


def without_latency(fast: Server, place: Place, engines: Sequence[str], scale: Scale) -> list[Row]:
    """Measure records per second with 32 in flight, relative to 32 workers on one `httpx.AsyncClient`."""
    in_flight = 32
    contenders = {RAW: "raw", **_contenders(engines)}
    factors: dict[str, list[float]] = {name: [] for name in contenders}
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    costs: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for _ in range(scale.runs):
        place.shuffle.shuffle(names)
        unit = _rate(run("httpx", fast, HTTPX_IDS, in_flight, place))
        for name in names:
            result = run(contenders[name], fast, scale.ids, in_flight, place)
            rate = _rate(result)
            factors[name].append(rate / unit)
            rates[name].append(rate)
            costs[name].append(_cost_us(result))
    rows = [
        Row(
            _NO_LATENCY_ROW,
            name,
            tuple(factors[name]),
            unit="times the records/s",
            note=f"to 32 workers on one default httpx.AsyncClient; {scale.ids:,} ids",
            also=_rates_and_costs(rates[name], costs[name]),
            kind=_kind(name),
        )
        for name in contenders
    ]
    return [*rows, *_missing(_NO_LATENCY_ROW, engines, "times the records/s")]


def rise(fast: Server, place: Place, engines: Sequence[str], scale: Scale) -> list[Row]:
    """Measure the throughput with 256 in flight relative to that with 8."""
    contenders = {**_contenders(engines), RAW: "raw"}
    factors: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(scale.runs):
        for name, who in contenders.items():
            few = _rate(run(who, fast, scale.ids // 2, 8, place))
            factors[name].append(_rate(run(who, fast, scale.ids // 2, 256, place)) / few)
    note = f"records/s to records/s, no latency, {scale.ids // 2:,} ids"
    rows = [Row(_RISE_ROW, name, tuple(factors[name]), note=note, kind=_kind(name)) for name in contenders]
    return [*rows, *_missing(_RISE_ROW, engines)]


def all_at_once(slow: Server, place: Place, engines: Sequence[str], scale: Scale) -> list[Row]:
    """Count failures with all IDs in flight at once, with which bare httpx runs out of connections."""
    contenders = {**_contenders(engines), RAW: "raw"}
    if scale.runs > 1:  # failing takes almost a minute
        contenders[HTTPX] = "httpx"
    rows: list[Row] = []
    for name, who in contenders.items():
        runs = 1 if name == HTTPX else scale.runs
        results = [run(who, slow, 1000, 1000, place) for _ in range(runs)]
        failures = [sum(result["failures"].values()) for result in results]
        kinds = sorted({kind for result in results for kind in result["failures"]})
        rows.append(
            Row(
                _FAILURES_ROW,
                name,
                tuple(float(count) for count in failures),
                "failures",
                ", ".join(kinds),
                {"s": statistics.median(result["wall_s"] for result in results)},
                _kind(name),
            )
        )
    return [*rows, *_missing(_FAILURES_ROW, engines, "failures")]


def memory(fast: Server, place: Place, engines: Sequence[str], scale: Scale) -> list[Row]:
    """Measure the peak memory and the CPU time per record for many IDs, relative to 10 k."""
    few_ids, in_flight = 10_000, 32
    rows: list[Row] = []
    for name, who in _contenders(engines).items():
        few = run(who, fast, few_ids, in_flight, place)
        many = run(who, fast, scale.many_ids, in_flight, place)
        costs = (many["cpu_s"] / scale.many_ids, few["cpu_s"] / few_ids)
        note = f"{scale.many_ids:,} ids to {few_ids:,}, 32 in flight"
        rows.append(Row(_COST_ROW, name, (costs[0] / costs[1],), note=f"CPU time, {note}", kind="ours"))
        if many["peak_rss_bytes"] is None:
            rows.append(Row(_MEMORY_ROW, name, (), "MB", "not available without Linux's /proc"))
        else:
            growth = (many["peak_rss_bytes"] - few["peak_rss_bytes"]) / 1e6
            rows.append(Row(_MEMORY_ROW, name, (growth,), "MB", note, kind="ours"))
    return [*rows, *_missing(_MEMORY_ROW, engines, "MB"), *_missing(_COST_ROW, engines)]
