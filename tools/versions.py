"""The version of the code, and the tags of releases, which are named like v1.2.3."""

import re
import subprocess
from pathlib import Path

NUMBERS = re.compile(r"v?(\d+)\.(\d+)\.(\d+)")

Version = tuple[int, int, int]


def git(root: Path, *arguments: str) -> str:
    """Run git in a repository, and return its output."""
    return subprocess.check_output(["git", *arguments], cwd=root, text=True)  # noqa: S607


def version_of(text: str) -> Version:
    """Return the three numbers that a version or a tag begins with."""
    found = NUMBERS.match(text)
    if found is None:
        raise ValueError(f"{text!r} is not a version. Write it as 1.2.3")
    return int(found[1]), int(found[2]), int(found[3])


def code_version(root: Path) -> str:
    """Return the version in `_version.py`."""
    code = (root / "src/thrive_learning/_version.py").read_text(encoding="utf-8")
    [version] = re.findall(r'^__version__ = "(.+)"$', code, re.MULTILINE)
    return str(version)


def last_tag(root: Path) -> str | None:
    """Return the highest tag that the current commit comes after, or None.

    A tag of the current commit is left out, because it is the release that is being checked.
    """
    own = set(git(root, "tag", "--points-at", "HEAD").split())
    tags = [
        tag for tag in git(root, "tag", "--merged", "HEAD").split() if re.fullmatch(r"v\d+\.\d+\.\d+", tag)
    ]
    return max((tag for tag in tags if tag not in own), key=version_of, default=None)
