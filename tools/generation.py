"""Write the generated client, or compare the committed one with what the generator writes.

    python -m tools.generation write     what `nox -s generate` does
    python -m tools.generation check     what `nox -s drift` does

Both generate into a temporary folder first. `write` then replaces the committed folder with it, so that files
that the generator no longer writes disappear. `check` compares the two, byte by byte.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tools.contract_facts import module_of
from tools.contract_walk import ContractError

ROOT = Path(__file__).parents[1]
CONTRACT = ROOT / "openapi" / "thrive.yaml"
COMMITTED = ROOT / "generated"
PACKAGE = "_thrive_learning_api"


def _read(path: Path) -> Any:
    # With the library that the generator brings, and reads the same files with.
    return YAML(typ="safe").load(path)


def generate(contract: Path, into: Path) -> None:
    """Write the package into an empty folder, or exit after the generator's own message."""
    try:
        text = module_of(_read(contract))
    except (ContractError, YAMLError, UnicodeDecodeError) as error:
        sys.exit(f"{contract}:\n{error}")
    options = ["--meta", "none", "--fail-on-warning", "--config", str(ROOT / "generator-config.yaml")]
    options += ["--path", str(contract), "--output-path", str(into / PACKAGE)]
    command = [sys.executable, "-m", "openapi_python_client", "generate", *options]
    # The post hooks call ruff by name. This must be the pinned ruff, which is installed beside the generator.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    if subprocess.run(command, check=False, env={**os.environ, "PATH": path}).returncode != 0:
        sys.exit(f"openapi-python-client failed on {contract}, or warned, which counts as much: see above.")
    # The generator writes it only where it writes packaging metadata too.
    (into / PACKAGE / "py.typed").touch()
    facts = into / PACKAGE / "contract.py"
    facts.write_text(text, encoding="utf-8")
    for hook in _read(ROOT / "generator-config.yaml")["post_hooks"]:
        subprocess.run(shlex.split(hook), check=True, cwd=facts.parent, env={**os.environ, "PATH": path})


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below the folder, hidden ones too, without Python's caches."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if not path.is_dir() and "__pycache__" not in path.parts
    }


def differences(generated: dict[str, bytes], committed: dict[str, bytes]) -> list[str]:
    """Return one line for each file that is not the same on both sides."""
    verdicts = {
        **dict.fromkeys(generated.keys() & committed.keys(), "changed"),
        **dict.fromkeys(generated.keys() - committed.keys(), "missing"),
        **dict.fromkeys(committed.keys() - generated.keys(), "extra"),
    }
    return [
        f"{verdict}: {name}"
        for name, verdict in sorted(verdicts.items())
        if generated.get(name) != committed.get(name)
    ]


def main() -> None:
    """Run one of the two commands."""
    parser = argparse.ArgumentParser(description="Write the generated client, or check the committed one.")
    parser.add_argument("command", choices=["write", "check"])
    parser.add_argument("--contract", type=Path, default=CONTRACT, help="default: %(default)s")
    parser.add_argument("--committed", type=Path, default=COMMITTED, help="default: %(default)s")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as temporary:
        fresh = Path(temporary) / "generated"
        fresh.mkdir()
        generate(arguments.contract, fresh)
        if arguments.command == "write":
            shutil.rmtree(arguments.committed, ignore_errors=True)
            shutil.copytree(fresh, arguments.committed)
        elif lines := differences(contents(fresh), contents(arguments.committed)):
            sys.exit(
                "\n".join(
                    [
                        f"{arguments.committed} is not what the generator writes from {arguments.contract}:",
                        *lines,
                        "It is never edited by hand: run `nox -s generate` and commit what that writes.",
                    ]
                )
            )
        else:
            print(f"{arguments.committed} is what the generator writes from {arguments.contract}")


if __name__ == "__main__":
    main()
