"""Assembles the sources of the site from the pages of the repository, which stay plain Markdown.

- A README.md of docs/ becomes the index of its folder, and the pages that it links to become the navigation.
- Links to files that are not on the site become absolute, and flowcharts become drawings.
- A paragraph that is a link to a program of examples/ becomes that link and the program.
- Pages of the repository that readers need are taken along (`TAKEN_ALONG`).
- The reference of the public names and of the contract is added to the page that introduces it.
"""

import os
import posixpath
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tools.site import contract_page, diagrams, links, reference

ROOT = Path(__file__).parent.parent.parent
#: Pages outside docs/ that are on the site, and where.
TAKEN_ALONG = {
    "ARCHITECTURE.md": "explanation/architecture.md",
    "SECURITY.md": "explanation/security.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "openapi/DEVIATIONS.md": "reference/deviations.md",
}
_WRITTEN = {"__pycache__", "build", "dist", "htmlcov"}
_HIDDEN = {".ci", ".github"}  # which belong to the repository
_ASSETS = (".png", ".svg")
_LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)\s]*)?\)")


def project() -> Any:
    """Return the table `project` of pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def repository_files() -> list[str]:
    """Return the paths of the repository's files, without those that tools write."""
    found: list[str] = []
    for folder, subfolders, files in os.walk(ROOT):
        subfolders[:] = [
            name for name in subfolders if name not in _WRITTEN and (name in _HIDDEN or name[0] != ".")
        ]
        found += [(Path(folder) / name).relative_to(ROOT).as_posix() for name in files]
    return found


def places_of(files: list[str]) -> dict[str, str]:
    """Return where each page and image is on the site, by its path in the repository."""
    places = dict(TAKEN_ALONG)
    for name in files:
        if name.startswith("docs/") and name.endswith((".md", *_ASSETS)) and "/_" not in name:
            place = name.removeprefix("docs/")
            folder, file = posixpath.split(place)
            places[name] = posixpath.join(folder, "index.md") if file == "README.md" else place
    return places


def assemble() -> dict[str, str | bytes]:
    """Return the sources of the site by their path.

    Raises:
        BrokenLinkError: A page links to a file that does not exist.
        DiagramError: A flowchart cannot be drawn.
    """
    files = repository_files()
    repository = links.Repository(files, places_of(files), project()["urls"]["Source"])
    sources: dict[str, str | bytes] = {}
    for name, place in repository.places.items():
        path = ROOT / name
        if place.endswith(_ASSETS):
            sources[place] = path.read_bytes()
            continue
        text = path.read_text(encoding="utf-8")
        text = with_programs(text, path.parent)
        text = links.rewrite_links(text, name, repository)
        text = with_drawings(text, name)
        if posixpath.basename(place) == "index.md":
            text = with_navigation(text, place, repository.places)
        sources[place] = text
    pages = reference.public_names()
    tree = [f"{reference.title_of(page)} <api/{page}>" for page in pages]
    _insert(sources, "reference/api.md", reference.index_of(pages), toctree("", tree))
    for page, names in pages.items():
        sources[f"reference/api/{page}.rst"] = reference.page_of(page, names)
    contract = yaml.safe_load((ROOT / "openapi" / "thrive.yaml").read_text(encoding="utf-8"))
    _insert(sources, "reference/contract.md", contract_page.render(contract))
    return sources


def _insert(sources: dict[str, str | bytes], place: str, *parts: str) -> None:
    """Insert generated parts below the introduction of a page."""
    introduction, heading, rest = str(sources[place]).partition("\n## ")
    sources[place] = "\n\n".join([introduction, *parts]) + "\n" + heading + rest


def with_navigation(text: str, place: str, places: Mapping[str, str]) -> str:
    """Return an index with a hidden table of contents for each of its sections.

    Args:
        text: The index, whose links are those of the site.
        place: Where it is on the site.
        places: Where everything else is.
    """
    folder = posixpath.dirname(place)
    pages = {posixpath.relpath(page, folder or ".") for page in places.values() if page.endswith(".md")}
    parts: list[str] = []
    taken: set[str] = set()
    introduction, *sections = re.split(r"(?=^## )", text, flags=re.MULTILINE)
    if sections:
        parts.append(introduction)
    for section in sections or [introduction]:
        heading = re.match(r"## (.+)", section)
        linked = [page for page in dict.fromkeys(_LINK.findall(section)) if page in pages - taken]
        taken.update(linked)
        parts.append(section)
        if linked:
            caption = heading[1] if heading and not folder else ""
            parts.append("\n" + toctree(caption, [page.removesuffix(".md") for page in linked]) + "\n\n")
    return "".join(parts)


def toctree(caption: str, pages: list[str]) -> str:
    """Return a hidden table of contents as Markdown."""
    options = [":hidden:", *([f":caption: {caption}"] if caption else [])]
    return "\n".join(["```{toctree}", *options, "", *pages, "```"])


def with_programs(text: str, folder: Path) -> str:
    """Return a page with the code of each program that a paragraph of its own links to.

    Args:
        text: The page, whose links are those of the repository.
        folder: The folder that the links start from.
    """

    def shown(found: re.Match[str]) -> str:
        # A link to a missing file is left to `rewrite_links`, which says so.
        path = folder / found[1]
        code = path.read_text(encoding="utf-8") if path.exists() else ""
        language = "python" if path.suffix == ".py" else "yaml"
        return f"{found[0]}\n\n```{language}\n{code}```"

    return re.sub(r"^\[`examples/[^`]+`\]\((\S+\.(?:py|yml))\)$", shown, text, flags=re.MULTILINE)


def with_drawings(text: str, name: str) -> str:
    """Return a page with a drawing in place of each flowchart, and no language that Sphinx does not know."""

    def drawn(found: re.Match[str]) -> str:
        return diagrams.draw(found[1], f"A flowchart; {name} has it as text.") + "\n"

    text = re.sub(r"^```mermaid\n(.+?)^```$", drawn, text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"^```layers$", "```text", text, flags=re.MULTILINE)


def write(folder: Path) -> None:
    """Write the sources into a folder, and remove what is no longer one. Sphinx rereads what has changed."""
    sources = assemble()
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        if path.relative_to(folder).as_posix() not in sources:
            path.unlink()
    for place, content in sources.items():
        path = folder / place
        data = content.encode() if isinstance(content, str) else content
        if not path.exists() or path.read_bytes() != data:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
