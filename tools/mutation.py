"""Change a module in small ways with mutmut, and count the changes that its tests notice.

    python -m tools.mutation                 what `nox -s mutation` does: all modules below
    python -m tools.mutation ids regions     some of them

Each module is changed in a copy of the checkout. `--copies` names the folder of the copies, so that
`mutmut show` can be run there afterwards.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
_AUTHORIZED = ["tests/auth/test_authorizer.py", "tests/auth/test_endpoint.py"]
_CALLS = ["tests/call/test_seam.py", "tests/exchange/test_retries.py", "tests/auth/test_authorizer.py"]
_QUICK = ["-k", "not every_status"]
#: The tests that must notice a change of a module, which are about it and quick.
#: A module is named by its path below src/thrive_learning, without `.py`.
MUTATED = {
    "_ids": ["tests/test_ids.py"],
    "regions": ["tests/test_regions.py"],
    "errors": ["tests/test_errors.py"],
    "_exchange/retries": ["tests/exchange/test_retries.py"],
    "_exchange/body": ["tests/exchange/test_body.py"],
    "_exchange/failures": ["tests/exchange/test_failures.py"],
    "_http/port": ["tests/http/test_port.py"],
    "_call/requests": ["tests/call/test_requests.py", "tests/call/test_requests_of_httpx.py"],
    "_auth/single_flight": ["tests/auth/test_single_flight.py"],
    "_auth/endpoint": [*_AUTHORIZED, "tests/auth/test_token_failures.py"],
    "_auth/token_reply": _AUTHORIZED,
    "_auth/authorizer": [
        *(*_CALLS, "tests/auth/test_sharing.py", "tests/auth/test_endpoint.py"),
        *("tests/auth/test_token_failures.py", *_QUICK),
    ],
    "_exchange/attempts": [*_CALLS, "tests/test_client.py", *_QUICK],
    "_limits/bucket": ["tests/limits/test_bucket.py"],
    "_limits/memory": ["tests/limits/test_bucket.py", "tests/limits/test_reservations.py"],
    "_limits/quota_headers": ["tests/limits/test_server_limits.py"],
    "_limits/server_limits": ["tests/limits/test_server_limits.py"],
    "_limits/reservations": ["tests/limits/test_reservations.py"],
    "_limits/limiter": ["tests/limits/test_rate_limited_calls.py", "tests/test_frozen_clocks.py"],
    "_limits/line": ["tests/limits/test_line.py", "tests/limits/test_reservations.py"],
    "_cluster/windows": ["tests/dask/test_windows.py"],
    "_bulk/permits": ["tests/bulk/test_permits.py"],
    "cli/export/cluster/plan": ["tests/cli/test_cluster_parts.py"],
    "cli/export/cluster/folder": ["tests/cli/test_cluster_folder.py"],
    "cli/export/cluster/dispatch": ["tests/cli/test_cluster_dispatch.py"],
    "_call/seam": [*_CALLS, "tests/test_client.py", "tests/exchange/test_engines.py", *_QUICK],
}
KILLED_AT_LEAST = 0.9  # of the mutants of a module

# mutmut ends a test that takes too long by its process ID, even if that process ended long ago and another
# one has its ID. So it may only send signals to its own children, which the system can tell.
_MUTMUT = """
import os
import sys
import types

from mutmut.__main__ import cli
from mutmut.workers import timeout


def kill_child(pid, number):
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        raise ProcessLookupError from None
    os.kill(pid, number)


timeout.os = types.SimpleNamespace(kill=kill_child, getpid=os.getpid)
sys.exit(cli())
"""


def missing(module: str, root: Path = ROOT) -> list[str]:
    """Return what is needed to mutate a module and does not exist: files, or its row in MUTATED."""
    if module not in MUTATED:
        return [f"{module} in MUTATED of tools/mutation.py"]
    files = [source_of(module), *(name for name in MUTATED[module] if name.startswith("tests/"))]
    return [name for name in files if not (root / name).is_file()]


def source_of(module: str) -> str:
    """Return the path of a module."""
    return f"src/thrive_learning/{module}.py"


def settings(module: str) -> str:
    """Return the setup.cfg that makes mutmut change one module and run its tests."""
    lists = {
        "source_paths": ["src"],
        "only_mutate": [source_of(module)],
        "also_copy": ["generated", "openapi"],
        "pytest_add_cli_args": ["--hypothesis-profile=mutation"],
        "pytest_add_cli_args_test_selection": MUTATED[module],
    }
    return "[mutmut]\n" + "".join(
        f"{name}=\n" + "".join(f"    {value}\n" for value in values) for name, values in lists.items()
    )


def kill(module: str, copies: Path) -> tuple[int, int]:
    """Mutate a copy of a module, and return how many mutants its tests killed, of how many.

    Args:
        module: Its name in MUTATED.
        copies: The folder for the copy of the checkout.
    """
    copy = copies / module
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "__pycache__"))
    (copy / "setup.cfg").write_text(settings(module), encoding="utf-8")

    def mutmut(*options: str, silent: bool = False) -> None:
        command = [sys.executable, "-c", _MUTMUT, *options]
        subprocess.run(command, cwd=copy, check=True, stdout=subprocess.DEVNULL if silent else None)

    mutmut("run", "--max-children", str(os.cpu_count() or 1), silent=True)
    mutmut("results")
    mutmut("export-cicd-stats", silent=True)
    stats = json.loads((copy / "mutants" / "mutmut-cicd-stats.json").read_text(encoding="utf-8"))
    unchecked = stats["total"] - sum(count for name, count in stats.items() if name != "total")
    if unchecked:
        sys.exit(f"{module}: {unchecked} mutants were not checked. Run `mutmut run` in {copy} to check them.")
    return stats["killed"] + stats["timeout"], stats["total"] - stats["skipped"]


def main() -> None:
    """Mutate modules; exit with 1 if the tests of one of them notice too little."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("modules", nargs="*", default=list(MUTATED), help="default: all that are listed")
    parser.add_argument("--copies", type=Path, help="default: a new temporary folder")
    arguments = parser.parse_args()
    if absent := [name for module in arguments.modules for name in missing(module)]:
        sys.exit(f"does not exist: {', '.join(absent)}")
    copies = arguments.copies or Path(tempfile.mkdtemp())
    scores = {module: kill(module, copies) for module in arguments.modules}
    for module, (dead, total) in scores.items():
        print(f"{module}: {dead} of {total} killed, {dead / total:.1%}")
    if weak := [module for module, (dead, total) in scores.items() if dead < total * KILLED_AT_LEAST]:
        sys.exit(f"fewer than {KILLED_AT_LEAST:.0%} killed: {', '.join(weak)}")


if __name__ == "__main__":
    main()
