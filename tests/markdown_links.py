"""Where the links of Markdown pages lead: relative ones, and ones to the addresses in `[project.urls]`."""

import re
import tomllib
from pathlib import Path

from harness import ROOT

URLS: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]
REPOSITORY, SITE = URLS["Source"], URLS["Documentation"]
RAW = REPOSITORY.replace("https://github.com/", "https://raw.githubusercontent.com/") + "/main/"


def links_in(text: str) -> list[str]:
    """Return the targets of links and images outside code blocks."""
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    return [*re.findall(r"\]\(([^)]+)\)", text), *re.findall(r"<(https?://[^>]+)>", text)]


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def is_ours(link: str) -> bool:
    """Whether a link leads to the repository or the site."""
    owner = REPOSITORY.removeprefix("https://").split("/")[1]
    return bool(
        re.match(rf"https://(?:github\.com/{owner}/|raw\.githubusercontent\.com/{owner}/|{owner}\.)", link)
    )


def flaw_of(link: str) -> str | None:
    """Return what is wrong with a link to the repository or the site, or None if it leads somewhere."""
    address, _, anchor = link.partition("#")
    if address in {REPOSITORY, f"{REPOSITORY}/issues"}:
        return None
    if address.startswith(SITE):
        page = address.removeprefix(SITE)
        if page and not page.endswith(".html"):
            return "the site's pages end in .html"
        file = ROOT / "docs" / (f"{page.removesuffix('.html')}.md" if page else "README.md")
    elif found := re.match(rf"(?:{re.escape(REPOSITORY)}/(?:blob|tree)/main/|{re.escape(RAW)})(.+)", address):
        file = ROOT / found[1]
    else:
        return "neither the repository nor the site has such a page"
    return _flaw_of_target(file, anchor)


def _flaw_of_target(file: Path, anchor: str) -> str | None:
    if not file.exists() or not file.resolve().is_relative_to(ROOT):
        return f"{file.relative_to(ROOT)} does not exist"
    if anchor and anchor not in anchors(file.read_text(encoding="utf-8")):
        return f"{file.relative_to(ROOT)} has no heading #{anchor}"
    return None
