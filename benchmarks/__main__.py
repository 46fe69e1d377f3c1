"""`nox -s bench`: measure, print the tables, and after a complete run write them into docs/."""

import argparse
import json
import random
import re
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks import bulk, chart, cluster, fresh, machine, path, peers, report, shared_limit, targets
from benchmarks.contenders import ASYNC, SYNC, TOKEN_PATHS, WALKS, Contender
from benchmarks.figures import Row, as_json
from benchmarks.ours import engines
from benchmarks.pairing import Place, environment, measure_pairs
from benchmarks.servers import Server, fallback_server, fast_server

_PAGE = Path(__file__).parents[1] / "docs" / "explanation" / "performance"


class Mode(NamedTuple):
    """The number of measurements.

    Attributes:
        name: The name in the table.
        pairs: The number of pairs for each contender of a warm `get`.
        starts: The number of fresh processes of each kind.
        scale: The size of bulk runs.
        limited_s: The seconds for which processes share a rate limit.
    """

    name: str
    pairs: int
    starts: int
    scale: bulk.Scale
    limited_s: float


QUICK = Mode("quick", 7, 3, bulk.Scale(ids=2_000, many_ids=30_000, runs=1, by_time=100_000), 15)
DEFAULT = Mode("default", 31, 15, bulk.Scale(ids=10_000, many_ids=100_000, runs=3, by_time=1_000_000), 30)
FULL = Mode("full", 61, 31, bulk.Scale(ids=10_000, many_ids=1_000_000, runs=5, by_time=1_000_000), 60)


class Run(NamedTuple):
    """The resources that all measures share."""

    mode: Mode
    place: Place
    fast: Server
    slow: Server
    engines: list[str]

    def pairs(self, measure: str, group: str, contenders: Sequence[Contender]) -> list[Row]:
        """Measure contenders in pairs."""
        return measure_pairs(measure, group, contenders, self.place, self.mode.pairs)


#: The measures of the tables, each with its function. One function may provide several measures.
MEASURES: list[tuple[tuple[str, ...], Callable[[Run], list[Row]]]] = [
    ((targets.WARM_SYNC,), lambda run: run.pairs(targets.WARM_SYNC, "sync", SYNC)),
    ((targets.WARM_ASYNC,), lambda run: run.pairs(targets.WARM_ASYNC, "async", ASYNC)),
    ((targets.WALK,), lambda run: run.pairs(targets.WALK, "walk", WALKS)),
    ((targets.TOKEN_SYNC,), lambda run: run.pairs(targets.TOKEN_SYNC, "sync", TOKEN_PATHS["sync"])),
    ((targets.TOKEN_ASYNC,), lambda run: run.pairs(targets.TOKEN_ASYNC, "async", TOKEN_PATHS["async"])),
    ((targets.COLD_START,), lambda run: fresh.first_record(run.place, run.engines, run.mode.starts)),
    ((targets.IMPORT, targets.VERSION), lambda run: fresh.imports(run.place, run.mode.starts)),
    (
        (targets.FIRST_CLIENT, targets.SECOND_CLIENT),
        lambda run: fresh.construction(run.place, run.engines, run.mode.starts),
    ),
    ((path.FILES, path.PRIVATE), lambda run: path.measure(run.place, run.engines)),
    ((targets.RSS,), lambda run: fresh.memory_after_import(run.place, 3)),
    (
        (bulk.MEASURES[0], bulk.MEASURES[4]),
        lambda run: bulk.with_latency(run.slow, run.place, run.engines, run.mode.scale),
    ),
    (
        (bulk.MEASURES[1],),
        lambda run: bulk.without_latency(run.fast, run.place, run.engines, run.mode.scale),
    ),
    ((bulk.MEASURES[2],), lambda run: bulk.rise(run.fast, run.place, run.engines, run.mode.scale)),
    ((bulk.MEASURES[3],), lambda run: bulk.all_at_once(run.slow, run.place, run.engines, run.mode.scale)),
    (shared_limit.MEASURES, lambda run: shared_limit.measure(run.mode.limited_s, run.place)),
    (bulk.MEASURES[5:], lambda run: bulk.memory(run.fast, run.place, run.engines, run.mode.scale)),
    (
        cluster.MEASURES,
        lambda run: cluster.measure(run.place, run.mode.scale.by_time, run.mode.scale.runs),
    ),
]


def arguments(given: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="nox -s bench --", description=__doc__)
    how_long = parser.add_mutually_exclusive_group()
    how_long.add_argument("--quick", action="store_true", help="fewer pairs, smaller bulk")
    how_long.add_argument("--full", action="store_true", help="a million IDs for the measures of memory")
    names = ", ".join(name for measures, _ in MEASURES for name in measures)
    parser.add_argument(
        "--only", metavar="PATTERN", help=f"measures whose name matches this regular expression: {names}"
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all numbers to a file")
    parser.add_argument("--seed", type=int, help="the seed for the order of contenders (default: random)")
    options = parser.parse_args(given)
    if options.only is not None:
        try:
            pattern = re.compile(options.only, re.IGNORECASE)
        except re.error as error:
            parser.error(f"--only {options.only!r} is not a regular expression: {error}")
        options.only = pattern
        if not chosen(pattern):
            parser.error(f"--only {pattern.pattern!r} matches none of: {names}")
    return options


def chosen(only: re.Pattern[str] | None) -> list[Callable[[Run], list[Row]]]:
    """Return the requested measures."""
    return [
        measure for names, measure in MEASURES if only is None or any(only.search(name) for name in names)
    ]


def say(text: str) -> None:
    """Show progress, but only on a terminal."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()


def main(given: Sequence[str]) -> None:
    """Run the requested measures."""
    options = arguments(given)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # closing it also stops the servers
    mode = QUICK if options.quick else FULL if options.full else DEFAULT
    seed = random.randrange(10**6) if options.seed is None else options.seed  # noqa: S311 - orders only
    started = time.monotonic()
    rows: list[Row] = []
    with (
        peers.generated_client() as (generated, reason),
        fast_server() as fast,
        fallback_server(bulk.LATENCY_S) as slow,
    ):
        if reason:
            print(f"skipped: openapi-generator (urllib3): {reason}", file=sys.stderr)
        about = machine.description(fast, slow, f"{mode.name}, seed {seed}")
        place = Place(fast.api_url, environment(str(generated or "")), random.Random(seed), say)  # noqa: S311
        run = Run(mode, place, fast, slow, engines())
        for measure in chosen(options.only):
            rows += measure(run)
    say("")
    about["Run"] += f", {(time.monotonic() - started) / 60:.1f} minutes"
    picture: str | None = None
    if options.only is None and not options.quick:
        _PAGE.mkdir(exist_ok=True)
        picture = "chart.png"
        if not chart.draw(rows, [targets.WARM_SYNC, targets.WARM_ASYNC], _PAGE / picture):
            picture = None
        (_PAGE / "results.md").write_text(
            report.markdown(rows, targets.TARGETS, about, picture), encoding="utf-8"
        )
    if options.json is not None:
        options.json.write_text(json.dumps(as_json(rows, about), indent=1), encoding="utf-8")
    print(report.markdown(rows, targets.TARGETS, about, picture))


if __name__ == "__main__":
    main(sys.argv[1:])
