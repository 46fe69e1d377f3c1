"""Build the sdist and the wheel, compare the wheel with what it should hold, and use it as a stranger would.

python -m tools.wheel            what `nox -s package` does; it needs uv on PATH
"""

import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Collection, Iterable
from pathlib import Path

from tools import extras

ROOT = Path(__file__).parents[1]
ACTIVITY = "60d5ec49b60b4b3a2c8f9a10"  # the sandbox has the example of the vendor's page under this ID
CONTRACT = "openapi/thrive.yaml"
CONTRACT_IN_WHEEL = "thrive_learning/sandbox/thrive.yaml"  # for `thrive sandbox`
VIEWER = "src/thrive_learning/sandbox/viewer"
FIELDS = ("License-Expression: MIT AND Apache-2.0", "License-File: LICENSE")


def expected_code(root: Path = ROOT) -> set[str]:
    """Return the names in the wheel of both packages' files, and of the contract."""
    code = {
        path.relative_to(folder).as_posix()
        for folder in (root / "src", root / "generated")
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    return code | {CONTRACT_IN_WHEEL}


def expected_licenses(root: Path = ROOT) -> set[str]:
    """Return the names of the license files, as the metadata folder of the wheel has them."""
    viewer = root / VIEWER
    licenses = [root / "LICENSE", *viewer.glob("*LICENSE*"), viewer / "NOTICE"]
    return {f"licenses/{path.relative_to(root).as_posix()}" for path in licenses}


def mistakes_in(wheel: Path, code: Collection[str], licenses: Collection[str], contract: bytes) -> list[str]:
    """Compare a wheel with what it should hold, and return one sentence for each difference.

    Args:
        wheel: The file.
        code: The names of all files outside the metadata.
        licenses: The names of the license files below the metadata folder.
        contract: The contract as it should be in the wheel.
    """
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        [metadata] = (name for name in names if name.endswith(".dist-info/METADATA"))
        fields = archive.read(metadata).decode().split("\n\n")[0].splitlines()
        same_contract = CONTRACT_IN_WHEEL in names and archive.read(CONTRACT_IN_WHEEL) == contract
    folder = metadata.removesuffix("METADATA")
    about = {name for name in names if name.startswith(folder)}
    wanted = {*code, "thrive_learning/py.typed", "_thrive_learning_api/py.typed"}
    wanted |= {f"{folder}{name}" for name in licenses}
    return [
        *([] if same_contract else [f"{CONTRACT_IN_WHEEL} is not {CONTRACT}"]),
        *(f"{name} is missing" for name in sorted(wanted - names)),
        *(f"{name} does not belong there" for name in sorted(names - about - set(code))),
        *(f"no {field!r}" for field in FIELDS if field not in fields),
    ]


def run(*command: str | Path, folder: Path, codes: Iterable[int] = (0,), stderr: int | None = None) -> str:
    """Run a command in a folder and return its output, or exit unless it ends with one of the codes."""
    done = subprocess.run(command, check=False, cwd=folder, stdout=subprocess.PIPE, stderr=stderr, text=True)
    if done.returncode not in codes:
        sys.exit(f"{' '.join(map(str, command))} exited with {done.returncode}: {done.stdout}")
    return done.stdout


def use(wheel: Path, folder: Path, python: str | Path = sys.executable) -> None:
    """Use an installed wheel: in Python without extras, then with the command.

    Args:
        wheel: The file.
        folder: An empty folder outside the checkout.
        python: The interpreter to install it for.
    """
    run("uv", "venv", "--quiet", "--python", python, "environment", folder=folder)
    scripts = folder / "environment" / ("Scripts" if sys.platform == "win32" else "bin")
    install: list[str | Path] = ["uv", "pip", "install", "--quiet", "--python", scripts / "python"]
    command: list[str | Path] = [scripts / "thrive", "activity", "get", ACTIVITY, "--sandbox"]

    run(*install, wheel, folder=folder)
    code = f"import thrive_learning as t; print(t.ThriveClient.sandbox().activities.get({ACTIVITY!r}).id)"
    if run(scripts / "python", "-c", code, folder=folder).strip() != ACTIVITY:
        sys.exit("the installed package does not find the sandbox's record")
    output = run(*command, folder=folder, codes=range(1, 256), stderr=subprocess.STDOUT)
    if "thrive-learning[cli]" not in output or "Traceback" in output:
        sys.exit(f"without its extra, the command does not say what to install: {output}")

    run(*install, f"thrive-learning[cli] @ {wheel.as_uri()}", folder=folder)
    if json.loads(run(*command, folder=folder))["id"] != ACTIVITY:
        sys.exit("the installed command does not print the sandbox's record as JSON")


def main() -> None:
    """Build, compare, and use."""
    with tempfile.TemporaryDirectory() as temporary:
        outside = Path(temporary).resolve()
        build = ["uv", "build", "--quiet", "--out-dir"]
        run(*build, outside / "direct", "--wheel", folder=ROOT)
        run(*build, outside / "dist", folder=ROOT)  # builds this wheel from its sdist
        [wheel] = outside.glob("dist/*.whl")
        both = outside.glob("dist/thrive_learning-*")
        run(sys.executable, "-m", "twine", "check", "--strict", *both, folder=outside)
        if wheel.read_bytes() != (outside / "direct" / wheel.name).read_bytes():
            sys.exit("the wheel from the sdist is not the wheel from the checkout")
        contract = (ROOT / CONTRACT).read_bytes()
        if mistakes := mistakes_in(wheel, expected_code(), expected_licenses(), contract):
            sys.exit(f"{wheel.name}: {'; '.join(mistakes)}")
        # The editable installation that `uv sync` left must work outside the checkout too.
        run(sys.executable, "-c", "import thrive_learning, _thrive_learning_api", folder=outside)
        use(wheel, outside)
        if problems := [*extras.mistakes(wheel, outside / "extras")]:
            sys.exit("\n".join(problems))


if __name__ == "__main__":
    main()
