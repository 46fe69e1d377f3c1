"""Install a wheel with one extra, and use all extras. The missing ones must be named in an error.

`python -m tools.wheel` calls this.
"""

import concurrent.futures
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

_PROJECT = Path(__file__).parents[1] / "pyproject.toml"

#: The packages of each extra.
EXTRAS: dict[str, list[str]] = tomllib.loads(_PROJECT.read_text(encoding="utf-8"))["project"][
    "optional-dependencies"
]

_START = "import sys, thrive_learning as t; ID = '60d5ec49b60b4b3a2c8f9a10'; "
_CLIENT = "t.ThriveClient('staging', t.BasicCredentials('tenant', 'example')"
_EXPORT = "activity export --since 2024-06-01 --sandbox -o"

#: Python code or a command line, by the extras that it needs.
USES = {
    "": "import importlib, pkgutil; all(map(importlib.import_module, (f'thrive_learning.{module.name}' "
    "for module in pkgutil.iter_modules(t.__path__) if not module.name.startswith('_'))))",
    "arrow,cli": f"thrive {_EXPORT} table.csv",
    "cache": f"{_CLIENT}, token_store=t.FileTokenStore('tokens')).close()",
    "cli": f"thrive {_EXPORT} records.ndjson",
    "dask": "from thrive_learning.dask import read_activities_by_id; "
    "read_activities_by_id([ID], client=t.ThriveClient.sandbox()).compute()",
    "fast": f"{_CLIENT}, engine='fast').close()",
    "otel": "t.ThriveClient.sandbox(telemetry=t.OpenTelemetry()).activities.get(ID)",
    "redis": f"{_CLIENT}, token_store=t.RedisTokenStore('redis://127.0.0.1')).close()",
    # A server does not end by itself, so this ends after the first line of its output.
    "sandbox": "import subprocess; server = subprocess.Popen([sys.executable, '-m', 'thrive_learning', "
    "'sandbox', '--port', '0'], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True); "
    "lines = [server.stdout.readline() for _ in range(2)]; server.kill(); server.wait(); "
    "sys.exit(0 if 'running at' in lines[0] else ''.join(lines))",
}


def extras_of(names: str) -> set[str]:
    """Return the extras in a text such as `arrow,cli`."""
    return {name for name in names.split(",") if name}


def missing_of(installed: str, needed: str) -> set[str]:
    """Return the needed extras that name a package that the installed ones do not name."""
    packages = {package for extra in extras_of(installed) for package in EXTRAS[extra]}
    return {extra for extra in extras_of(needed) if not packages.issuperset(EXTRAS[extra])}


def mistake_of(installed: str, needed: str, code: int, output: str) -> str | None:
    """Return what is wrong with a use, or None.

    Args:
        installed: The extras that are installed.
        needed: The extras that the use needs.
        code: The exit code.
        output: All output.
    """
    use, missing = f"with [{installed}], the use of [{needed}]", missing_of(installed, needed)
    if not missing:
        return f"{use} exits with {code}: {output}" if code else None
    named = extras_of(",".join(re.findall(r"thrive-learning\[([a-z,]+)\]", output)))
    if needed == "sandbox":  # without any command, that is what is missing first
        missing |= {"cli"}
    if code and named & missing and named <= missing | extras_of(needed):
        return None
    return f"{use} exits with {code} and does not name {sorted(missing)}: {output}"


def install(wheel: Path, extras: str, folder: Path, python: str | Path) -> Path:
    """Install a wheel with extras into a new environment in a folder, and return its interpreter."""
    environment = folder / "environment"
    interpreter = environment / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    wanted = f"thrive-learning[{extras}] @ {wheel.as_uri()}"
    for arguments in (
        ["venv", "--quiet", "--python", python, environment],
        ["pip", "install", "--quiet", "--python", interpreter, wanted],
    ):
        command: list[str | Path] = ["uv", *arguments]
        subprocess.run(command, check=True)
    return interpreter


def use(needed: str, interpreter: Path, folder: Path) -> tuple[int, str]:
    """Use extras in an environment, and return the exit code and all output."""
    code = USES[needed]
    arguments = (
        ["-m", "thrive_learning", *code.split()[1:]] if code.startswith("thrive ") else ["-c", _START + code]
    )
    done = subprocess.run(
        [interpreter, *arguments],
        check=False,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stdout


def mistakes(wheel: Path, folder: Path, python: str | Path = sys.executable) -> Iterator[str]:
    """Yield what is wrong with the extras of a wheel.

    Args:
        wheel: The file.
        folder: A folder outside the checkout.
        python: The interpreter to install it for.
    """
    for extra in EXTRAS:
        installed = "arrow,cli" if extra == "arrow" else extra  # `arrow` extends the command
        home = folder / extra
        interpreter = install(wheel, installed, home, python)
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            outcomes = pool.map(lambda needed: use(needed, interpreter, home), USES)  # noqa: B023 - ends here
            for needed, outcome in zip(USES, outcomes, strict=True):
                if mistake := mistake_of(installed, needed, *outcome):
                    yield mistake
