"""A change of what an installation gives is named and judged."""

import pytest
from releases.repository import FILES

from tools.changes import Impact
from tools.package_comparison import compare_packages

PROJECT = FILES["pyproject.toml"]


@pytest.mark.parametrize(
    ("old", "new", "change"),
    [
        ("fast = []", "", "breaking  extra fast was removed"),
        ("fast = []", "fast = []\notel = []", "addition  extra otel was added"),
        ("[project.scripts]\nthrive =", "[project.scripts]\nlearn =", "breaking  command thrive was removed"),
        ("pytest11", "pytest12", "breaking  entry point pytest11 was removed"),
        (">=3.11", ">=3.12", "breaking  requires-python is '>=3.12' instead of '>=3.11'"),
        (">=3.11", ">=3.11,<3.14", "breaking  requires-python is '>=3.11,<3.14' instead of '>=3.11'"),
        (">=3.11", "<4", "breaking  requires-python is '<4' instead of '>=3.11'"),
        (">=3.11", ">=3.9", "addition  requires-python is '>=3.9' instead of '>=3.11'"),
    ],
)
def test_a_change_is_named_and_judged(old: str, new: str, change: str) -> None:
    assert PROJECT.count(old) == 1
    changes = list(compare_packages(PROJECT, PROJECT.replace(old, new)))
    assert change in map(str, changes)
    assert (max(found.impact for found in changes) is Impact.BREAKING) is change.startswith("breaking")


def test_a_change_of_dependencies_alone_is_not_reported() -> None:
    assert list(compare_packages(PROJECT, PROJECT.replace("cli = []", 'cli = ["rich"]'))) == []
