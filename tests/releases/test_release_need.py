"""The changes since the last tag decide on the version, and CHANGELOG.md names them."""

from pathlib import Path

import pytest
from releases.repository import Repository

from tools import release_need, versions
from tools.changes import Change, Impact

INNER = "src/thrive_learning/inner.py"
VERSION = "src/thrive_learning/_version.py"


def judge(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return what the program fails with, or an empty text."""
    monkeypatch.setattr("sys.argv", ["release_need", "--root", str(repository.folder)])
    try:
        release_need.main()
    except SystemExit as stopped:
        return str(stopped.code)
    return ""


def test_without_a_tag_there_is_nothing_to_compare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert judge(Repository(tmp_path), monkeypatch) == ""
    assert "so there is nothing to compare" in capsys.readouterr().out


def test_a_shallow_clone_may_lack_tags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    repository = Repository(tmp_path)
    repository.commit("v0.1.0")
    repository.commit()
    assert judge(repository, monkeypatch) == ""
    assert "shallow" not in capsys.readouterr().out
    repository.git("clone", "--quiet", "--depth=1", "--no-tags", tmp_path.as_uri(), "shallow")
    monkeypatch.setattr(repository, "folder", tmp_path / "shallow")
    assert judge(repository, monkeypatch) == ""
    assert "git fetch --unshallow --tags" in capsys.readouterr().out


def test_a_tag_of_the_current_commit_is_the_release_itself(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    repository.commit("v0.1.0")
    assert versions.last_tag(tmp_path) is None
    repository.commit("v0.10.0")
    assert versions.last_tag(tmp_path) == "v0.1.0"
    repository.commit("nightly")
    repository.commit("v0.9.0")
    repository.commit()
    assert versions.last_tag(tmp_path) == "v0.10.0"


def test_a_break_of_the_api_needs_a_version_and_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    repository = Repository(tmp_path)
    repository.commit("v0.1.0")
    repository.replace(INNER, "    def get(", "    def fetch(")
    repository.commit()
    lines = judge(repository, monkeypatch).splitlines()
    assert "breaking  Client.get was removed" in capsys.readouterr().out
    assert [line.partition(",")[0] for line in lines] == [
        "breaking changes since v0.1.0 need version 0.2.0 or higher",
        "CHANGELOG.md has no line with 'Breaking:' and 'get'. Add one: Client.get was removed.",
        "CHANGELOG.md does not mention 'fetch' since v0.1.0. Add a line: Client.fetch was added.",
    ]
    repository.replace(VERSION, "0.1.0", "0.2.0")
    repository.replace(
        "CHANGELOG.md", "[Unreleased]\n", "[Unreleased]\n\n- Breaking: `get` is now `fetch`.\n"
    )
    assert judge(repository, monkeypatch) == ""


def test_a_break_of_the_contract_needs_a_version_and_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = Repository(tmp_path)
    repository.commit("v0.1.0")
    repository.replace("openapi/thrive.yaml", "name: page", "name: number")
    repository.commit()
    assert judge(repository, monkeypatch).splitlines() == [
        "breaking changes since v0.1.0 need version 0.2.0 or higher, and _version.py has 0.1.0. Raise it.",
        "CHANGELOG.md has no line with 'Breaking:' and 'page'. Add one: "  # noqa: ISC004
        "GET /things, query parameter page was removed.",
    ]


def test_a_removed_extra_needs_a_version_and_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    repository = Repository(tmp_path)
    repository.commit("v0.1.0")
    repository.replace("pyproject.toml", "fast = []\n", "")
    repository.commit()
    assert judge(repository, monkeypatch).splitlines() == [
        "breaking changes since v0.1.0 need version 0.2.0 or higher, and _version.py has 0.1.0. Raise it.",
        "CHANGELOG.md has no line with 'Breaking:' and 'fast'. Add one: extra fast was removed.",
    ]
    assert "Since v0.1.0, 1 change needs version 0.2.0 or higher. This is 0.1.0." in capsys.readouterr().out


def test_a_change_of_prose_needs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = Repository(tmp_path)
    repository.commit("v0.1.0")
    repository.replace("openapi/thrive.yaml", "All of them", "Some of them")
    repository.commit()
    assert judge(repository, monkeypatch) == ""


@pytest.mark.parametrize(
    ("old", "impact", "lowest"),
    [
        ((0, 3, 4), Impact.HARMLESS, (0, 3, 4)),
        ((0, 3, 4), Impact.ADDITION, (0, 3, 5)),
        ((0, 3, 4), Impact.BREAKING, (0, 4, 0)),
        ((1, 3, 4), Impact.HARMLESS, (1, 3, 4)),
        ((1, 3, 4), Impact.ADDITION, (1, 4, 0)),
        ((1, 3, 4), Impact.BREAKING, (2, 0, 0)),
    ],
)
def test_the_lowest_version(old: tuple[int, int, int], impact: Impact, lowest: tuple[int, int, int]) -> None:
    assert release_need.lowest_version(old, impact) == lowest


def test_a_line_of_an_earlier_release_does_not_count() -> None:
    changelog = "## [Unreleased]\n\n- `get` is gone.\n\n## [0.1.0] - 2026-11-01\n\n- Breaking: `get`.\n"
    removed = Change("Client.get", "was removed", Impact.BREAKING)
    [problem] = release_need.problems([removed], "v0.1.0", "0.2.0", changelog)
    assert problem.startswith("CHANGELOG.md has no line with 'Breaking:' and 'get'")


def test_a_line_about_another_name_does_not_count() -> None:
    changelog = "## [Unreleased]\n\n- Breaking: `get_many` and `budget` are gone.\n"
    removed = Change("Client.get", "was removed", Impact.BREAKING)
    added = Change("Client.many", "was added", Impact.ADDITION)
    found = list(release_need.problems([removed, added], "v0.1.0", "0.2.0", changelog))
    assert [line.partition(".")[0] for line in found] == ["CHANGELOG"] * 2


def test_the_announced_version_is_that_of_the_code() -> None:
    changelog = "## [Unreleased]\n\nThis will be 0.2.0, soon.\n"
    [problem] = release_need.problems([], None, "0.1.0", changelog)
    assert problem == "CHANGELOG.md announces 0.2.0, and _version.py has 0.1.0. Make them equal."


def test_text_that_is_not_a_version_is_rejected() -> None:
    with pytest.raises(ValueError, match="'one' is not a version"):
        versions.version_of("one")


def test_a_change_that_two_operations_share_needs_one_line() -> None:
    wheres = [
        f"GET /{path}, status 200, field type, value 'found'" for path in ("activities", "activity/{id}")
    ]
    removed = [Change(where, "was removed", Impact.BREAKING) for where in wheres]
    [problem] = release_need.problems(removed, "v0.1.0", "0.2.0", "## [Unreleased]\n")
    assert problem.startswith("CHANGELOG.md has no line with 'Breaking:' and 'found'")
