"""Rewrites the links of a page, which are relative to its place in the repository, for the site. Pure."""

import posixpath
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import NamedTuple

_FENCE = re.compile(r"[ \t>*-]*(`{3,}|~{3,})")
_CODE = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)")
_LINKS = (
    re.compile(r"(?<=\]\()([^()\s]+)(?=(?:\s+\"[^\"]*\")?\))"),  # [text](target)
    re.compile(r"(?<=\]: )(\S+)()$"),  # [label]: target
    re.compile(r"""(?<=\bsrc=")([^"]+)(?=")|(?<=\bhref=")([^"]+)(?=")"""),
)
_ABSOLUTE = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:|//")


class BrokenLinkError(Exception):
    """A link of a page leads to a file that does not exist."""


class Repository(NamedTuple):
    """The targets that links may have."""

    #: The paths of all files, relative to the root of the repository.
    files: Collection[str]
    #: Where a page of the repository is on the site, and a file that is copied along, such as an image.
    places: Mapping[str, str]
    #: The address of the repository on the web.
    url: str


def rewrite_links(text: str, page: str, repository: Repository) -> str:
    """Return the Markdown of a page with its relative links as the site needs them.

    A link to another page of the site stays relative. A link to any other file or folder of the repository
    becomes absolute.

    Args:
        text: The Markdown.
        page: The path of the page in the repository.
        repository: What links may lead to.

    Raises:
        BrokenLinkError: A link leads to a file that does not exist.
    """

    def rewritten(target: str) -> str:
        return _rewrite(target, page, repository)

    return "".join(line if is_code else _outside_code(line, rewritten) for line, is_code in lines_of(text))


def lines_of(text: str) -> Iterator[tuple[str, bool]]:
    """Yield each line, and whether it belongs to a fenced block."""
    fence = ""
    for line in text.splitlines(keepends=True):
        found = _FENCE.match(line)
        if not fence and found:
            fence = found[1]
            yield line, True
        elif fence:
            yield line, True
            if line.strip(" \t\n>") == fence:
                fence = ""
        else:
            yield line, False


def _outside_code(line: str, rewritten: Callable[[str], str]) -> str:
    # Spans of code are set aside: what looks like a link in them is text.
    spans: list[str] = []

    def set_aside(found: re.Match[str]) -> str:
        spans.append(found[0])
        return f"\0{len(spans) - 1}\0"

    line = _CODE.sub(set_aside, line)
    for pattern in _LINKS:
        line = pattern.sub(lambda found: rewritten(found[1] or found[2]), line)
    return re.sub(r"\0(\d+)\0", lambda found: spans[int(found[1])], line)


def _rewrite(target: str, page: str, repository: Repository) -> str:
    path, hash_, anchor = target.partition("#")
    if not path or _ABSOLUTE.match(target):
        return target
    wanted = posixpath.normpath(posixpath.join(posixpath.dirname(page), path))
    place = repository.places.get(wanted) or repository.places.get(f"{wanted}/README.md")
    if place is not None:
        return posixpath.relpath(place, posixpath.dirname(repository.places[page]) or ".") + hash_ + anchor
    if wanted in repository.files:
        return f"{repository.url}/blob/main/{wanted}{hash_}{anchor}"
    if any(name.startswith(f"{wanted}/") for name in repository.files):
        return f"{repository.url}/tree/main/{wanted}"
    raise BrokenLinkError(f"{page} links to {target}, and there is no file {wanted}")
