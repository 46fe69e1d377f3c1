"""Find the Python interpreters of this machine, and say how to get those that are missing.

    python -m tools.interpreters          what `nox -s interpreters` does; a missing one is not a failure

Nothing is downloaded. pyenv and uv keep their interpreters off PATH, so both are asked.
"""

import argparse
import os
import shutil
import subprocess
from pathlib import Path

VERSIONS = ("3.11", "3.12", "3.13", "3.14", "3.14t")  # as in `noxfile.py`; a `t` is a free-threaded build
PROBE = (
    "import sys, sysconfig; print(*sys.version_info[:2], sysconfig.get_config_var('Py_GIL_DISABLED') or 0)"
)


def find_interpreter(version: str) -> Path | None:
    """Return the path of an interpreter, or None if this machine has no working one of this version.

    Args:
        version: Such as "3.12", or "3.14t" for a free-threaded build.
    """
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    folders = [*os.environ.get("PATH", "").split(os.pathsep), *map(str, sorted(pyenv.glob("*/bin")))]
    found = [shutil.which(f"python{version}", path=folder) for folder in folders if folder]
    return next((Path(path) for path in [*found, _known_to_uv(version)] if path and _is(path, version)), None)


def _known_to_uv(version: str) -> str | None:
    uv = shutil.which("uv")
    if uv is None:
        return None
    command = [uv, "python", "find", "--managed-python", "--no-python-downloads", "--no-project", version]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None


def _is(path: str, version: str) -> bool:
    """Return whether an interpreter starts, and is of this version; a shim of pyenv may do neither."""
    try:
        done = subprocess.run([path, "-c", PROBE], check=False, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    major, _, minor = version.removesuffix("t").partition(".")
    return done.stdout.split() == [major, minor, str(int(version.endswith("t")))]


def describe(version: str, path: Path | None) -> str:
    """Return the line that says where an interpreter is, or how to get it."""
    if path is not None:
        return f"Python {version}: {path}"
    return (
        f"Python {version}: not found. Install it with `uv python install {version}`, "
        f"`pyenv install {version}`, or the packages of the system."
    )


def main() -> None:
    """Print a line for each version."""
    parser = argparse.ArgumentParser(description="Find the interpreters that the tests run on.")
    parser.add_argument("versions", nargs="*", default=VERSIONS, help="such as 3.12 or 3.14t")
    for version in parser.parse_args().versions:
        print(describe(version, find_interpreter(version)))


if __name__ == "__main__":
    main()
