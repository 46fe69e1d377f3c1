"""`nox -s bench-guard`: check that a warm `get` does not take more machine instructions than recorded.

Callgrind counts the instructions of a process with N calls and of one with 2 N. The difference is that of N
calls. It varies by at most 0.1 % between runs, regardless of the load on the machine, so unlike a time it can
be compared with a number in the repository. It depends on the build of the interpreter and on the versions of
the packages. If they differ from those of the record, the check is skipped with a message.
"""

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.canned import RUNS
from benchmarks.machine import version

RECORD = Path(__file__).with_name("instructions.json")
_CALLS = 200
#: The change that needs an explanation.
_TOLERANCE = 0.03
#: Calls with a rate limit that is not reached, each with the same call without one, and the most it may add.
_LIMITED = {"sync, rate limit": "sync", "async, rate limit": "async"}
_MOST_FOR_LIMIT = 0.03
_PACKAGES = ("anyio", "attrs", "httpcore", "httptools", "httpx", "idna")
_COLLECTED = re.compile(r"Collected : (\d+)")


class Verdict(NamedTuple):
    """The outcome of one count."""

    name: str
    now: float
    then: float
    change: float

    @property
    def is_regression(self) -> bool:
        """Whether the call takes more than the tolerance allows."""
        return self.change > _TOLERANCE

    @property
    def is_stale(self) -> bool:
        """Whether the call takes so much less that the record would hide a later regression."""
        return self.change < -_TOLERANCE


def circumstances() -> dict[str, str]:
    """Return everything besides our code that the counts depend on."""
    options = str(sysconfig.get_config_var("CONFIG_ARGS") or "")
    flags = [flag for flag in ("enable-optimizations", "with-lto", "with-pydebug") if flag in options]
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "build": ", ".join([platform.python_compiler(), *flags]),
        "machine": f"{platform.system()} {platform.machine()}",
        **{package: found for package in _PACKAGES if (found := version(package))},
    }


def ran(who: str, calls: int, *prefix: str) -> str:
    """Run a process that makes a number of calls, and return its stderr.

    Raises:
        RuntimeError: The process failed.
    """
    environment = {
        name: value
        for name, value in os.environ.items()
        if name in {"PATH", "PYTHONPATH", "HOME", "VIRTUAL_ENV", "LD_LIBRARY_PATH"}
    }
    done = subprocess.run(
        [*prefix, sys.executable, "-m", "benchmarks.canned", who, str(calls)],
        env=environment | {"PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{who!r} failed: {(done.stderr + done.stdout).strip()[-2000:]}")
    return done.stderr


def counted(who: str, calls: int, valgrind: str) -> int:
    """Count the instructions of a process that makes a number of calls.

    Raises:
        RuntimeError: The process failed.
    """
    said = ran(who, calls, valgrind, "--tool=callgrind", "--callgrind-out-file=/dev/null")
    collected = _COLLECTED.search(said)
    if collected is None:
        raise RuntimeError(f"callgrind printed no count for {who!r}: {said.strip()[-2000:]}")
    return int(collected[1])


def per_call(who: str, valgrind: str) -> int:
    """Count the instructions of one warm call."""
    ran(who, 1)  # writes bytecode, which would distort the first count, and shows errors immediately
    return round((counted(who, 2 * _CALLS, valgrind) - counted(who, _CALLS, valgrind)) / _CALLS)


def compared(now: Mapping[str, float], then: Mapping[str, float]) -> list[Verdict]:
    """Compare counts with those of the record."""
    return [Verdict(name, now[name], then[name], now[name] / then[name] - 1) for name in now if name in then]


def costly_limits(now: Mapping[str, float]) -> list[str]:
    """Return the calls to which a rate limit that is not reached adds more than it may."""
    added = {name: now[name] / now[base] - 1 for name, base in _LIMITED.items()}
    return [f"{name}: {share:+.2%}" for name, share in added.items() if share > _MOST_FOR_LIMIT]


def differences(here: Mapping[str, str], there: Mapping[str, str]) -> list[str]:
    """Return how these circumstances differ from those of the record."""
    return [
        f"{name} is {here.get(name, 'missing')}, but was {there.get(name, 'missing')}"
        for name in sorted({*here, *there})
        if here.get(name) != there.get(name)
    ]


def _skipped(reason: str) -> int:
    line = "!" * 100
    print(f"{line}\nbench-guard SKIPPED, nothing was compared: {reason}\n{line}", file=sys.stderr)
    return 0


def _judge(now: Mapping[str, float], record: Mapping[str, Any]) -> int:
    verdicts = compared(now, record["instructions_per_get"])
    for verdict in verdicts:
        print(f"{verdict.name}: {verdict.then:,.0f} → {verdict.now:,.0f}, {verdict.change:+.2%}")
    ours = [verdict for verdict in verdicts if verdict.name != "bare httpx"]
    if any(verdict.is_stale for verdict in ours):
        print("cheaper than the record. Update it with `nox -s bench-guard -- --record`")
    if dearer := [verdict.name for verdict in ours if verdict.is_regression]:
        print(
            f"FAILED: {', '.join(dearer)}: more than {_TOLERANCE:.0%} above the record. "
            "Find out why, or explain in the commit why this is acceptable and run "
            "`nox -s bench-guard -- --record`",
            file=sys.stderr,
        )
        return 1
    if costly := costly_limits(now):
        print(
            f"FAILED: a rate limit that is not reached adds more than {_MOST_FOR_LIMIT:.0%}: "
            f"{'; '.join(costly)}",
            file=sys.stderr,
        )
    return 1 if costly else 0


def main(given: Sequence[str]) -> int:
    """Compare or record the counts, and return an exit code."""
    parser = argparse.ArgumentParser(prog="nox -s bench-guard --", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--record", action="store_true", help=f"rewrite {RECORD.name}")
    options = parser.parse_args(given)
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        return _skipped("valgrind is not on PATH. Install it with the system's package manager")
    here = circumstances()
    record: dict[str, Any] = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    if not options.record:
        if not record:
            return _skipped(f"{RECORD.name} does not exist. Write it with `nox -s bench-guard -- --record`")
        if other := differences(here, record["circumstances"]):
            return _skipped(f"{'; '.join(other)}. Record again with `nox -s bench-guard -- --record`")
    now = {who: per_call(who, valgrind) for who in RUNS}
    for name in (name for name in now if name != "bare httpx"):
        relative = now[name] / now["bare httpx"]
        print(f"{name}: {now[name]:,} instructions per get, {relative:.2f} times bare httpx")
    for name, base in _LIMITED.items():
        print(f"{name}: {now[name] / now[base] - 1:+.2%} compared with {base}")
    if options.record:
        text = json.dumps({"circumstances": here, "instructions_per_get": now}, indent=2)
        RECORD.write_text(text + "\n", encoding="utf-8")
        print(f"recorded in {RECORD.name}")
        return 0
    return _judge(now, record)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
