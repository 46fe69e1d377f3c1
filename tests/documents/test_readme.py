"""The README renders on a package index, its links lead somewhere, and the metadata agrees with it."""

import re
import sys
import tomllib
from typing import Any

import pytest
from harness import ROOT
from markdown_links import RAW, REPOSITORY, SITE, URLS, flaw_of, is_ours, links_in

from tools import wheel

README = (ROOT / "README.md").read_text(encoding="utf-8")
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("openapi/*.md")])


def flaws_in(readme: str) -> list[str]:
    """Return the links that a package index could not follow."""
    flaws: list[str] = []
    for link in links_in(readme):
        if link.startswith("#"):
            flaw = flaw_of(f"{REPOSITORY}/blob/main/README.md{link}")
        elif not link.startswith("https://"):
            flaw = "relative"
        else:
            flaw = flaw_of(link) if is_ours(link) else None
        if flaw is not None:
            flaws.append(f"{link}: {flaw}")
    return flaws


def test_each_link_of_the_readme_is_absolute_and_leads_somewhere() -> None:
    assert flaws_in(README) == []
    assert len(links_in(README)) > 20  # the pattern still matches


@pytest.mark.parametrize(
    "dead",
    [
        "docs/tutorial.md",
        "#no-such-heading",
        "http://example.org",
        f"{SITE}no-such-page.html",
        f"{SITE}tutorial.md",
        f"{SITE}tutorial.html#no-such-heading",
        f"{REPOSITORY}/blob/main/no-such-file.md",
        f"{REPOSITORY}/blob/main/CONTRIBUTING.md#no-such-heading",
        f"{REPOSITORY}/blob/main/../../etc/passwd",
        f"{REPOSITORY}/wiki",
        f"{REPOSITORY}-2/blob/main/README.md",
        f"{RAW}docs/images/no-such-image.svg",
    ],
)
def test_a_dead_link_is_found(dead: str) -> None:
    [flaw] = flaws_in(f"[text]({dead})")
    assert flaw.startswith(f"{dead}: ")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_of_other_pages_to_the_repository_and_the_site_lead_somewhere(path: Any) -> None:
    links = filter(is_ours, links_in(path.read_text(encoding="utf-8")))
    assert [flaw for link in links if (flaw := flaw_of(link))] == []


def test_the_urls_of_the_project_lead_somewhere() -> None:
    assert [*URLS] == ["Homepage", "Documentation", "Source", "Issues", "Changelog"]
    assert [flaw for url in URLS.values() if (flaw := flaw_of(url))] == []


def test_the_license_is_stated_the_same_way_everywhere() -> None:
    """Hatchling and `nox -s package` check the expression itself."""
    expression = PROJECT["license"]
    assert f"License-Expression: {expression}" in wheel.FIELDS
    for name in ("README.md", "SECURITY.md", "LICENSE"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert re.findall(r"\bMIT (?:AND|OR|WITH) [\w.-]*\w", text) == [expression], name
        assert wheel.VIEWER in text
    assert not any(classifier.startswith("License ::") for classifier in PROJECT["classifiers"])


def test_the_readme_says_where_to_install_from_until_there_is_a_release() -> None:
    assert "Nothing is published yet" in README
    assert not re.search(r"pip install '?thrive-learning", README)
    assert re.findall(r"^python3 -m pip install (\S+)", README, re.MULTILINE) == [
        ".",
        "'.[cli]'",
        "'nox[uv]'",
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudoterminal")
def test_the_recording_is_what_the_commands_print_now() -> None:
    from tools import recording  # noqa: PLC0415 - it needs `pty`

    drawing = recording.DRAWING.read_text(encoding="utf-8")
    assert drawing == recording.current_drawing(), "run `nox -s reference`"
    assert f"{RAW}{recording.DRAWING.relative_to(ROOT).as_posix()}" in README


def test_the_recording_runs_nothing_and_loads_nothing() -> None:
    drawing = (ROOT / "docs/images/terminal.svg").read_text(encoding="utf-8")
    assert {*re.findall(r"<([^/>\s]+)", drawing)} == {"svg", "title", "style", "rect", "circle", "g", "text"}
    assert re.findall(r"url\(|@import|href|\bon\w+=|https?://(?!www\.w3\.org/2000/svg\")", drawing) == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudoterminal")
@pytest.mark.parametrize("printed", ["\x1b[35mpurple\x1b[0m", "one\x1b[2Jtwo", "a\tb"])
def test_output_that_cannot_be_drawn_is_an_error(printed: str) -> None:
    from tools import recording  # noqa: PLC0415 - it needs `pty`

    with pytest.raises((AssertionError, KeyError)):
        recording.drawing_of([("thrive", printed)])
