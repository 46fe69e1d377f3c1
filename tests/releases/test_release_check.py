"""A release with a stray file, a missing file, or an unknown license is rejected."""

import copy
import importlib.metadata
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from releases.repository import FILES, Repository

from tools import release_check, sbom

ROOT = Path(__file__).parents[2]
COMMITTED = ["README.md", "src/thrive_learning/errors.py", ".github/workflows/ci.yml", ".ci/run"]
SDIST = ["PKG-INFO", "README.md", "src/thrive_learning/errors.py"]
WHEEL = [
    "thrive_learning/cli/export/run.py",
    "thrive_learning/sandbox/viewer/swagger-ui.css",
    "_thrive_learning_api/py.typed",
    "thrive_learning-0.1.0.dist-info/licenses/LICENSE",
]


def test_an_sdist_as_expected_has_no_mistakes() -> None:
    assert list(release_check.mistakes_in_sdist(SDIST, COMMITTED)) == []


@pytest.mark.parametrize(
    ("names", "committed", "mistake"),
    [
        (SDIST[:-1], COMMITTED, "the sdist lacks src/thrive_learning/errors.py"),
        ([*SDIST, "notes.md"], COMMITTED, "the sdist has notes.md, which is not committed"),
        ([*SDIST, ".ci/run"], COMMITTED, "the sdist has .ci/run, which is not committed"),
        ([*SDIST, "src/.env"], [*COMMITTED, "src/.env"], "the sdist has src/.env, which IN_SDIST"),
    ],
)
def test_a_stray_or_missing_file_of_an_sdist_is_named(
    names: list[str], committed: list[str], mistake: str
) -> None:
    [found] = release_check.mistakes_in_sdist(names, committed)
    assert found.startswith(mistake)


def test_a_stray_file_of_a_wheel_is_named() -> None:
    assert list(release_check.mistakes_in_wheel(WHEEL)) == []
    for name in ("tests/test_ids.py", "thrive_learning/.env", "thrive_learning/notes.md"):
        [found] = release_check.mistakes_in_wheel([*WHEEL, name])
        assert found.startswith(f"the wheel has {name}, which IN_WHEEL")


def test_every_committed_file_is_allowed() -> None:
    """Otherwise add its pattern to IN_SDIST of tools/release_check.py."""
    committed = release_check.committed_files(ROOT)
    names = [name for name in committed if not name.startswith((".github/", ".ci/"))]
    assert list(release_check.mistakes_in_sdist([*names, "PKG-INFO"], committed)) == []


def test_the_sdist_lists_what_belongs_in_it_so_that_stray_files_are_left_out() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed = project["tool"]["hatch"]["build"]["targets"]["sdist"]["only-include"]
    roots = {name.partition("/")[0] for name in release_check.committed_files(ROOT)}
    assert {*listed} == roots - {".ci", ".github"}


def test_builds_that_differ_are_named(tmp_path: Path) -> None:
    paths: list[Path] = []
    for folder, content in (("a", "1"), ("b", "1"), ("c", "2")):
        path = tmp_path / folder / "x.whl"
        path.parent.mkdir()
        path.write_text(content, encoding="utf-8")
        paths.append(path)
    assert list(release_check.unequal(paths[:1], paths[1:2])) == []
    assert list(release_check.unequal(paths[:1], paths[2:])) == ["two builds of x.whl differ"]


def test_committed_files_are_copied_as_they_are_or_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "repository").mkdir()
    repository = Repository(tmp_path / "repository")
    repository.commit("v0.1.0")
    repository.replace("CHANGELOG.md", "# Changelog", "# Changes")
    (repository.folder / "stray.txt").write_text("x", encoding="utf-8")
    (repository.folder / "src/thrive_learning/webhooks.py").unlink()
    (repository.folder / "pyproject.toml").chmod(0o755)
    removed = {"src/thrive_learning/webhooks.py"}
    for name, ref, heading, files in (
        ("now", None, "# Changes", FILES.keys() - removed),
        ("then", "v0.1.0", "# Changelog", FILES.keys()),
    ):
        release_check.copy_committed(repository.folder, tmp_path / name, ref)
        text = (tmp_path / name / "CHANGELOG.md").read_text(encoding="utf-8")
        assert text.startswith(heading)
        found = [path for path in (tmp_path / name).rglob("*") if path.is_file()]
        assert {path.relative_to(tmp_path / name).as_posix() for path in found} == files
    modes = [(tmp_path / "now" / name).stat().st_mode & 0o777 for name in ("CHANGELOG.md", "pyproject.toml")]
    assert modes == [0o600, 0o700]  # a build keeps the bit for execution


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return sbom.make_sbom(ROOT)


def test_the_sbom_is_complete_and_always_the_same(document: dict[str, Any]) -> None:
    assert list(sbom.problems_in(document)) == []
    assert sbom.make_sbom(ROOT) == document
    [viewer] = [component for component in document["components"] if "npm" in component["purl"]]
    assert {file["name"] for file in viewer["components"]} >= {"swagger-ui-bundle.js", "swagger-ui.css"}
    [root] = [item for item in document["dependencies"] if item["ref"].startswith("thrive-learning")]
    assert viewer["bom-ref"] in root["dependsOn"]


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (lambda d: d["components"][0].pop("licenses"), "anyio has no license"),
        (lambda d: d["components"][0].pop("externalReferences"), "anyio has no hash"),
        (lambda d: d["metadata"]["component"].pop("version"), "thrive-learning has no version"),
        (lambda d: d["components"].pop(), "the SBOM lacks Swagger UI"),
    ],
)
def test_an_incomplete_sbom_is_rejected(
    document: dict[str, Any], edit: Callable[[dict[str, Any]], object], problem: str
) -> None:
    changed = copy.deepcopy(document)
    edit(changed)
    [found] = sbom.problems_in(changed)
    assert found.startswith(problem)


def test_a_viewer_that_was_changed_is_rejected(tmp_path: Path) -> None:
    folder = tmp_path / sbom.VIEWER
    folder.mkdir(parents=True)
    for path in (ROOT / sbom.VIEWER).iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    assert sbom.viewer_component(tmp_path)["name"] == "swagger-ui-dist"
    with (folder / "swagger-ui.css").open("a", encoding="utf-8") as file:
        file.write("/* */")
    with pytest.raises(ValueError, match=r"viewer/swagger-ui\.css does not have the hash"):
        sbom.viewer_component(tmp_path)


def test_a_package_without_metadata_has_the_license_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sbom.READ_IN_FILES, "not-installed", "MIT")
    assert sbom.license_of("not-installed") == sbom.license_of("redis") == "MIT"
    assert sbom.license_of("not-installed-either") is None
    monkeypatch.setattr(importlib.metadata, "distribution", _not_installed)
    assert sbom.license_of("tzdata") == "Apache-2.0"  # only the tests have it on Linux


def _not_installed(name: str) -> None:
    raise importlib.metadata.PackageNotFoundError(name)


def test_the_program_writes_the_sbom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["sbom", str(tmp_path / "sbom.json")])
    sbom.main()
    assert '"CycloneDX"' in (tmp_path / "sbom.json").read_text(encoding="utf-8")
    monkeypatch.setattr(sbom, "license_of", lambda _: None)
    with pytest.raises(SystemExit, match="has no license"):
        sbom.main()
