"""Each program has a page that shows it and says how to install what it needs."""

import re

from example_programs import EXAMPLES
from harness import ROOT

PAGES = ROOT / "docs" / "how-to"


def test_every_program_is_on_a_page() -> None:
    programs = {
        path.relative_to(ROOT).as_posix() for path in EXAMPLES.rglob("*") if path.suffix in {".py", ".yml"}
    }
    linked = {
        f"examples/{name}"
        for page in PAGES.glob("*.md")
        for name in re.findall(
            r"\]\(\.\./\.\./examples/([\w/-]+\.(?:py|yml))\)", page.read_text(encoding="utf-8")
        )
    }
    assert linked == programs


def test_a_page_with_a_program_has_a_command_that_installs_the_package() -> None:
    pages = {
        page.name: text
        for page in PAGES.glob("*.md")
        if "](../../examples/" in (text := page.read_text(encoding="utf-8"))
    }
    del pages["github-actions.md"]  # the workflow installs what it needs
    assert [
        name
        for name, text in sorted(pages.items())
        if not re.search(r"python3 -m pip install (--target \w+ )?'\.(\[[a-z,]+\])?'", text)
    ] == []
