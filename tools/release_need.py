"""Say which version the changes since the last tag need, and fail if the version or CHANGELOG.md disagrees.

    python -m tools.release_need          part of `nox -s api`

A tag is named like v1.2.3. Without one there is nothing to compare. Before 1.0.0, a breaking change is a
minor release and an addition a patch. From 1.0.0 on, they are a major and a minor release. Users read the
same rules in docs/explanation/compatibility.md.
"""

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tools.api_comparison import compare_apis, load_api
from tools.changes import Change, Impact
from tools.contract_comparison import compare_contracts
from tools.package_comparison import compare_packages
from tools.versions import Version, code_version, git, last_tag, version_of

ROOT = Path(__file__).parents[1]
CONTRACT = "openapi/thrive.yaml"
PROJECT = "pyproject.toml"


def lowest_version(old: Version, impact: Impact) -> Version:
    """Return the lowest version that may have changes of an impact."""
    major, minor, patch = old
    if impact is Impact.HARMLESS:
        return old
    if impact is Impact.BREAKING:
        return (major + 1, 0, 0) if major else (0, minor + 1, 0)
    return (major, minor + 1, 0) if major else (0, minor, patch + 1)


def changes_since(root: Path, tag: str) -> list[Change]:
    """Return the changes of the public API, of the contract, and of the package since a tag."""
    (old_contract, contract), (old_project, project) = (
        (git(root, "show", f"{tag}:{name}"), (root / name).read_text(encoding="utf-8"))
        for name in (CONTRACT, PROJECT)
    )
    return [
        *compare_apis(load_api(root, tag), load_api(root)),
        *compare_contracts(old_contract, contract),
        *compare_packages(old_project, project),
    ]


def problems(changes: Sequence[Change], old: str | None, version: str, changelog: str) -> Iterator[str]:
    """Yield a sentence for each way in which the version or the changelog disagrees with the changes.

    Args:
        changes: All changes since the last tag.
        old: The last tag, or None.
        version: The version of the code.
        changelog: The text of CHANGELOG.md.
    """
    announced = re.search(r"^This will be (\d+\.\d+\.\d+)", changelog, re.MULTILINE)
    if announced and announced[1] != version:
        yield f"CHANGELOG.md announces {announced[1]}, and _version.py has {version}. Make them equal."
    if old is None:
        return
    impact = max((change.impact for change in changes), default=Impact.HARMLESS)
    needed = lowest_version(version_of(old), impact)
    if version_of(version) < needed:
        numbers = ".".join(map(str, needed))
        yield (
            f"{impact.name.lower()} changes since {old} need version {numbers} or higher, and "
            f"_version.py has {version}. Raise it."
        )
    section = changelog.partition(f"\n## [{old.removeprefix('v')}]")[0]
    breaking = "\n".join(line for line in section.splitlines() if "Breaking:" in line)
    # A schema that two operations share changes in both, and needs one line.
    for change in {(change.where.split()[-1], change.impact): change for change in changes}.values():
        name = change.where.split()[-1].rpartition(".")[2].strip("'") or change.where
        sentence = f"{change.where} {change.what}."
        is_of_api = re.fullmatch(r"[\w.]+", change.where)
        named = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)")  # `get` is not `get_many`
        if change.impact is Impact.BREAKING and not named.search(breaking):
            yield f"CHANGELOG.md has no line with 'Breaking:' and {name!r}. Add one: {sentence}"
        if change.impact is Impact.ADDITION and is_of_api and not named.search(section):
            yield f"CHANGELOG.md does not mention {name!r} since {old}. Add a line: {sentence}"


def main() -> None:
    """Print the changes and the version that they need, and exit with an error if something disagrees."""
    parser = argparse.ArgumentParser(description="Compare the checkout with the last tag.")
    parser.add_argument("--root", type=Path, default=ROOT, help="the repository (default: this one)")
    root: Path = parser.parse_args().root
    old, version = last_tag(root), code_version(root)
    changes = changes_since(root, old) if old else []
    for change in sorted(changes, key=lambda change: -change.impact):
        print(change)
    if old is None:
        print("There is no tag like v1.2.3 before this commit, so there is nothing to compare.")
        if git(root, "rev-parse", "--is-shallow-repository").strip() == "true":
            print("This clone is shallow. Run `git fetch --unshallow --tags`, because tags may be missing.")
    else:
        impact = max((change.impact for change in changes), default=Impact.HARMLESS)
        needed = ".".join(map(str, lowest_version(version_of(old), impact)))
        count = f"{len(changes)} change{' needs' if len(changes) == 1 else 's need'}"
        print(f"Since {old}, {count} version {needed} or higher. This is {version}.")
    changelog = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    if found := list(problems(changes, old, version, changelog)):
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
