"""Compare what two versions of pyproject.toml promise to those who install the package.

`nox -s api` compares the checkout with the last tag (`tools.release_need`).
"""

import re
import tomllib
from collections.abc import Iterator
from typing import Any

from tools.changes import Change, Impact


def compare_packages(old: str, new: str) -> Iterator[Change]:
    """Yield the changes of extras, commands, entry points, and the required Python.

    Args:
        old: The text of the earlier pyproject.toml.
        new: The text of the later one.
    """
    before, after = (tomllib.loads(text).get("project", {}) for text in (old, new))
    was, found = _names(before), _names(after)
    for name in sorted(was - found):
        yield Change(name, "was removed", Impact.BREAKING)
    for name in sorted(found - was):
        yield Change(name, "was added", Impact.ADDITION)
    pythons = before.get("requires-python", ""), after.get("requires-python", "")
    if pythons[0] != pythons[1]:
        oldest, now = map(_lowest, pythons)
        only_lower = now <= oldest and pythons[1] == f">={'.'.join(map(str, now))}"
        what = f"is {pythons[1]!r} instead of {pythons[0]!r}"
        yield Change("requires-python", what, Impact.ADDITION if only_lower else Impact.BREAKING)


def _names(project: dict[str, Any]) -> set[str]:
    entry_points = {f"entry point {group}" for group in project.get("entry-points", {})}
    commands = {f"command {name}" for name in project.get("scripts", {})}
    return entry_points | commands | {f"extra {name}" for name in project.get("optional-dependencies", {})}


def _lowest(python: str) -> list[int]:
    """Return the version after `>=`, or nothing."""
    found = re.search(r">=\s*([\d.]+)", python)
    return [int(part) for part in found[1].split(".")] if found else []
