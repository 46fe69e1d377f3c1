"""Build the documentation site into build/site/html, and check it. Exit code 1 if anything is wrong.

python -m tools.site            what `nox -s docs` does
"""

import shutil
import sys
from pathlib import Path

from sphinx.cmd.build import build_main
from sphinx.util.inventory import InventoryFile

from tools.site import assembly, built_pages, links, reference
from tools.site.diagrams import DiagramError

FOLDER = assembly.ROOT / "build" / "site"


def build() -> int:
    """Build the site and return the exit code."""
    sources, pages = FOLDER / "source", FOLDER / "html"
    try:
        assembly.write(sources)
    except (links.BrokenLinkError, DiagramError) as error:
        print(error, file=sys.stderr)
        return 1
    shutil.rmtree(pages, ignore_errors=True)
    options = ["--fail-on-warning", "--keep-going", "--nitpicky", "--quiet", "--jobs", "auto"]
    configuration = ["-c", str(assembly.ROOT / "docs"), "-d", str(FOLDER / "doctrees")]
    if build_main([*options, *configuration, "-b", "html", str(sources), str(pages)]):
        return 1
    flaws = [*built_pages.find_flaws(read(pages)), *missing_names(pages)]
    print(*flaws, sep="\n", end="\n" if flaws else "", file=sys.stderr)
    if not flaws:
        print(f"The site is in {pages / 'index.html'}.")
    return 1 if flaws else 0


def read(folder: Path) -> dict[str, str | None]:
    """Return the files of a site: the text of HTML and CSS, and None for anything else."""
    return {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8")
        if path.suffix in {".html", ".css"}
        else None
        for path in folder.rglob("*")
        if path.is_file()
    }


def missing_names(pages: Path) -> list[str]:
    """Return a line for each public name that the built reference does not describe."""
    inventory = InventoryFile.loads((pages / "objects.inv").read_bytes(), uri="").data
    described = {name for kind, names in inventory.items() if kind.startswith("py:") for name in names}
    names = {public.path for page in reference.public_names().values() for public in page}
    missing = built_pages.find_missing_names(described, names)
    return [f"the reference does not describe {name}" for name in missing]


if __name__ == "__main__":
    sys.exit(build())
