"""Check what a release ships: contents, equal builds, the SBOM, every Python present, and pickles.

    python -m tools.release_check          what `nox -s release-check` does; it needs uv on PATH

- The sdist and the wheel hold the files that are committed and allowed, and no others.
- Two builds from different folders, with other times and permissions, have the same bytes.
- The SBOM has a version, a license, and hashes for each component.
- The wheel installs and works on each Python of this machine.
- Pickles of the last tag's version are read by this one, and the other way around.
"""

import fnmatch
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path

from tools import interpreters, sbom, wheel
from tools.versions import git, last_tag

ROOT = Path(__file__).parents[1]
#: Every file of the wheel matches one of these, whose `*` matches slashes too.
IN_WHEEL = (
    "thrive_learning/*.py",
    "thrive_learning/py.typed",
    "thrive_learning/sandbox/thrive.yaml",
    "thrive_learning/sandbox/viewer/*",
    "_thrive_learning_api/*.py",
    "_thrive_learning_api/py.typed",
    "thrive_learning-*.dist-info/METADATA",
    "thrive_learning-*.dist-info/RECORD",
    "thrive_learning-*.dist-info/WHEEL",
    "thrive_learning-*.dist-info/entry_points.txt",
    "thrive_learning-*.dist-info/licenses/*",
)
#: The same for the sdist, below its own folder.
IN_SDIST = (
    "*.md",
    "LICENSE",
    "PKG-INFO",
    ".gitignore",
    ".pre-commit-config.yaml",
    "generator-config.yaml",
    "noxfile.py",
    "pyproject.toml",
    "uv.lock",
    *(f"benchmarks/*.{kind}" for kind in ("json", "py")),
    *(f"docs/*.{kind}" for kind in ("css", "html", "js", "json", "png", "py", "svg", "toml", "txt")),
    *(f"examples/*.{kind}" for kind in ("ipynb", "py", "sql", "toml", "txt", "yaml", "yml")),
    *("examples/sandbox/Dockerfile", "examples/sandbox/Dockerfile.dockerignore"),
    "generated/*.py",
    "generated/*.typed",
    "openapi/*.yaml",
    "src/*.py",
    "src/*.typed",
    "src/thrive_learning/sandbox/viewer/*",
    *(f"tests/*.{kind}" for kind in ("json", "pickle", "py", "toml", "txt", "yaml")),
    *(f"tools/*.{kind}" for kind in ("json", "py", "txt")),
)
NOT_IN_SDIST = (".github/*", ".ci/*")  # as pyproject.toml says
ONLY_IN_SDIST = {"PKG-INFO"}


def mistakes_in_sdist(names: Collection[str], committed: Collection[str]) -> Iterator[str]:
    """Yield a sentence for each file of an sdist that is missing or does not belong there.

    Args:
        names: The files of the sdist, below its folder.
        committed: The files of the repository.
    """
    expected = {name for name in committed if not _matches(name, NOT_IN_SDIST)} | ONLY_IN_SDIST
    for name in sorted(expected - set(names)):
        yield f"the sdist lacks {name}"
    for name in sorted(set(names) - expected):
        yield f"the sdist has {name}, which is not committed"
    for name in sorted(expected & set(names)):
        if not _matches(name, IN_SDIST):
            yield f"the sdist has {name}, which IN_SDIST of tools/release_check.py does not allow"


def mistakes_in_wheel(names: Collection[str]) -> Iterator[str]:
    """Yield a sentence for each file of a wheel that does not belong there.

    `nox -s package` compares the wheel with the checkout, so that no file is missing.
    """
    for name in sorted(names):
        if not _matches(name, IN_WHEEL):
            yield f"the wheel has {name}, which IN_WHEEL of tools/release_check.py does not allow"


def _matches(name: str, patterns: Collection[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def build(source: Path, out: Path, epoch: str) -> tuple[Path, Path]:
    """Build the sdist, and the wheel from it. Return both paths.

    Args:
        source: The folder with pyproject.toml.
        out: The folder for both files.
        epoch: The time of every file in them, in seconds since 1970; release.yml takes that of the commit.
    """
    environment = {**os.environ, "SOURCE_DATE_EPOCH": epoch}
    command: list[str | Path] = ["uv", "build", "--quiet", "--out-dir", out]
    subprocess.run(command, cwd=source, check=True, env=environment)
    [sdist], [built] = out.glob("*.tar.gz"), out.glob("*.whl")
    return sdist, built


def copy_committed(root: Path, folder: Path, ref: str | None = None) -> None:
    """Copy the committed files as they are now, or as they were at a tag, to another folder."""
    if ref is not None:
        archive = folder.with_suffix(".zip")  # Python 3.11.2 (Debian 12) extracts no tar file safely
        git(root, "archive", "--output", str(archive), ref)
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(folder)  # noqa: S202 - unlike tarfile, it writes nothing outside the folder
        return
    for name in committed_files(root):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, target)
        executable = (root / name).stat().st_mode & 0o100  # which git keeps, and so does a build
        target.chmod(0o600 | executable)  # other permissions and times than in the checkout


def committed_files(root: Path) -> list[str]:
    """Return the names of the committed files that are still there."""
    return [name for name in git(root, "ls-files", "-z").split("\0") if name and (root / name).exists()]


def unequal(first: Collection[Path], second: Collection[Path]) -> Iterator[str]:
    """Yield a sentence for each file of two builds that differs."""
    for one, other in zip(first, second, strict=True):
        if one.name != other.name or one.read_bytes() != other.read_bytes():
            yield f"two builds of {one.name} differ"


def exchange(old: Path, new: Path, folder: Path, *, same: bool) -> Iterator[str]:
    """Yield a sentence for each pickle that one version writes and the other one does not read.

    Args:
        old: The wheel of the earlier version.
        new: The wheel of this one.
        folder: An empty folder.
        same: The wheels are of the same version.
    """
    script = ROOT / "tools/pickle_exchange.py"
    pythons: dict[str, Path] = {}
    for name, package in (("old", old), ("new", new)):
        wheel.run("uv", "venv", "--quiet", name, folder=folder)
        python = folder / name / ("Scripts" if sys.platform == "win32" else "bin") / "python"
        wheel.run("uv", "pip", "install", "--quiet", "--python", python, package, folder=folder)
        pythons[name] = python
    for writer, reader in (("old", "new"), ("new", "old")):
        pickles = folder / f"pickles-{writer}"
        wheel.run(pythons[writer], script, "write", pickles, folder=folder, stderr=subprocess.DEVNULL)
        older = ["--older"] if reader == "old" and not same else []
        command: list[str | Path] = [pythons[reader], script, "read", pickles, *older]
        done = subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True)
        if done.returncode:
            yield f"the {reader} version does not read a pickle of the {writer} one: {done.stderr.strip()}"


def install_everywhere(package: Path, folder: Path) -> None:
    """Use the wheel on each Python of this machine, and name those that are missing."""
    for version in interpreters.VERSIONS:
        python = interpreters.find_interpreter(version)
        if python is None:
            print(interpreters.describe(version, None))
            continue
        place = folder / re.sub(r"\W", "-", version)
        place.mkdir()
        wheel.use(package, place, python)
        print(f"Python {version}: the wheel installs and works")


def main() -> None:
    """Check everything, and exit with all that is wrong."""
    found: list[str] = []
    with tempfile.TemporaryDirectory() as temporary:
        outside = Path(temporary).resolve()
        copy_committed(ROOT, outside / "copy")
        epoch = git(ROOT, "log", "-1", "--format=%ct").strip()
        built = build(ROOT, outside / "first", epoch)
        found += unequal(built, build(outside / "copy", outside / "second", epoch))
        print("Two builds: compared")
        with tarfile.open(built[0]) as archive:
            names = {name.partition("/")[2] for name in archive.getnames()}
        found += mistakes_in_sdist(names, committed_files(ROOT))
        with zipfile.ZipFile(built[1]) as archive:
            found += mistakes_in_wheel(archive.namelist())
        print(f"Contents: {len(names)} files in the sdist")
        document = sbom.make_sbom()
        found += sbom.problems_in(document)
        print(f"SBOM: {len(document['components'])} components")
        install_everywhere(built[1], outside)
        tag, earlier = last_tag(ROOT), built[1]
        if tag is not None:
            copy_committed(ROOT, outside / "tag", tag)
            earlier = build(outside / "tag", outside / "earlier", epoch)[1]
        found += exchange(earlier, built[1], outside, same=tag is None)
        print(f"Pickles: exchanged with {tag or 'this version itself, because there is no tag'}")
    if found:
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
