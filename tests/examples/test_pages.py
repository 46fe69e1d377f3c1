"""Each program has a page that shows it."""

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
