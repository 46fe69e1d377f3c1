"""Lint the contract with Redocly, where Node.js can start it.

    python -m tools.redocly          part of `nox -s contract`

Redocly needs npx and, once, npm's registry. Without them the check is skipped with a message, because the
tests check the examples in Python too. In CI, npx that cannot start Redocly is an error, so that the check
cannot disappear there unnoticed.
"""

import os
import shutil
import subprocess
import sys

REDOCLY = "@redocly/cli@2.77.0"
CANNOT_START = f"npx cannot start {REDOCLY}. It needs a recent Node.js and, once, npm's registry."


def run(*options: str, silent: bool = False) -> int | None:
    """Run Redocly, and return its exit status, or None without npx.

    Args:
        options: Its arguments.
        silent: Discard its output.
    """
    npx = shutil.which("npx")
    if npx is None:
        return None
    quiet = {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"}
    command = [npx, "--yes", REDOCLY, *options]
    output = subprocess.DEVNULL if silent else None
    return subprocess.run(command, check=False, env={**os.environ, **quiet}, stdout=output).returncode


def lint() -> int | str | None:
    """Lint the contract, or print why not, and return what the script exits with."""
    started = run("--version", silent=True)
    if started == 0:
        return run("lint", "openapi/thrive.yaml", "--config", "openapi/redocly.yaml")
    if started is None:
        print("Redocly SKIPPED: npx is not on PATH. Install Node.js to run it.")
    elif os.environ.get("CI"):
        return CANNOT_START
    else:
        print(f"Redocly SKIPPED: {CANNOT_START}")
    return None


if __name__ == "__main__":
    sys.exit(lint())
