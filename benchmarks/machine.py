"""The machine and the versions with which the numbers were measured."""

import datetime as dt
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

from benchmarks.servers import Server

#: The packages whose versions a table names.
_PACKAGES = (
    *("thrive-learning", "httpx", "httpcore", "anyio", "attrs", "aiohttp", "azure-core", "openai"),
    *("openapi-generator-cli", "pydantic", "pyreqwest", "requests", "urllib3"),
)


def version(package: str) -> str | None:
    """Return an installed version."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def processor() -> str:
    """Name the processor, as Linux does, or else as Python does."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def commit() -> str:
    """Name the commit, and whether there are changes on top of it."""
    try:
        named = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--exclude=*"],  # noqa: S607 - git as the user has it
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return named.stdout.strip()


def description(fast: Server, slow: Server, mode: str) -> dict[str, str]:
    """Describe the machine, the versions, and the run."""
    load = f", load average {os.getloadavg()[0]:.1f} at the start" if hasattr(os, "getloadavg") else ""
    versions = [f"{package} {found}" for package in _PACKAGES if (found := version(package))]
    return {
        "Date": dt.datetime.now(dt.UTC).date().isoformat(),
        "Commit": commit(),
        "Run": mode,
        "Processor": f"{processor()}, {os.cpu_count()} cores{load}",
        "System": f"{platform.system()} {platform.release()} {platform.machine()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}, "
        f"{platform.python_compiler()}",
        "Versions": ", ".join(versions),
        "Server": f"{fast.kind}; with latency: {slow.kind}",
    }
