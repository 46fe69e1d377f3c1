"""Checks the pages that Sphinx wrote: links, anchors, and that nothing is loaded from elsewhere. Pure.

Sphinx checks the links of the sources. This reads the result, as a browser would.
"""

import html.parser
import posixpath
import re
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import NamedTuple

_URL = re.compile(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)")
#: Elements that load what they name. An `a` only leads there.
_LOADING = {"audio", "embed", "iframe", "img", "link", "object", "script", "source", "video"}
_FOR_SEARCH_ENGINES = {"canonical", "next", "prev", "search", "index", "alternate"}


class Page(NamedTuple):
    """The ids of a page, and everything that it refers to."""

    ids: set[str]
    #: The targets of its links.
    links: list[str]
    #: The files that a browser loads with it.
    loads: list[str]


class _Reader(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page = Page(set(), [], [])
        self._is_style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.page.ids.update(values[name] for name in ("id", "name") if name in values)
        self._is_style = tag == "style"
        is_loading = tag in _LOADING and values.get("rel") not in _FOR_SEARCH_ENGINES
        for name in ("href", "src", "data", "poster"):
            if name in values and (tag in _LOADING or tag == "a"):
                (self.page.loads if is_loading else self.page.links).append(values[name])
        for choice in values.get("srcset", "").split(","):
            self.page.loads.extend(choice.split()[:1])
        self.page.loads.extend(in_style(values.get("style", "")))

    def handle_data(self, data: str) -> None:
        if self._is_style:
            self.page.loads.extend(in_style(data))
            self._is_style = False


def read_page(text: str) -> Page:
    """Return what an HTML page refers to."""
    reader = _Reader()
    reader.feed(text)
    return reader.page


def in_style(text: str) -> list[str]:
    """Return what a style sheet loads."""
    return [found[1] or found[2] for found in _URL.finditer(text)]


def find_flaws(files: Mapping[str, str | None]) -> Iterator[str]:
    """Yield what is wrong with a site, one line each: a link that leads nowhere, or something external.

    Args:
        files: The content of each file by its path, where it is HTML or CSS; None for any other file.
    """
    pages = {name: read_page(text or "") for name, text in files.items() if name.endswith(".html")}
    for name, page in pages.items():
        for target in page.loads:
            yield from _flaw_of_load(name, target, files)
        for target in page.links:
            yield from _flaw_of_link(name, target, files, pages)
    for name, text in files.items():
        if name.endswith(".css"):
            for target in in_style(text or ""):
                yield from _flaw_of_load(name, target, files)


def _local(name: str, path: str) -> str:
    joined = posixpath.join(posixpath.dirname(name), urllib.parse.unquote(path)) if path else name
    return posixpath.normpath(joined)


def _flaw_of_load(name: str, target: str, files: Mapping[str, str | None]) -> Iterator[str]:
    parts = urllib.parse.urlsplit(target)
    if parts.scheme == "data" or (not parts.scheme and not parts.netloc and target.startswith("#")):
        return
    if parts.scheme or parts.netloc:
        yield f"{name} loads {target}, which is not part of the site"
    elif _local(name, parts.path) not in files:
        yield f"{name} loads {target}, which does not exist"


def _flaw_of_link(
    name: str, target: str, files: Mapping[str, str | None], pages: Mapping[str, Page]
) -> Iterator[str]:
    parts = urllib.parse.urlsplit(target)
    if parts.scheme or parts.netloc:
        return
    file = _local(name, parts.path)
    if file not in files:
        yield f"{name} links to {target}, which does not exist"
    elif (
        parts.fragment
        and urllib.parse.unquote(parts.fragment) not in pages.get(file, Page(set(), [], [])).ids
    ):
        yield f"{name} links to {target}, and {file} has no such anchor"


def find_missing_names(inventory: set[str], names: set[str]) -> list[str]:
    """Return the public names that the reference does not describe.

    Args:
        inventory: What the reference describes, such as `thrive_learning.Activity`.
        names: The public names.
    """
    return sorted(names - inventory)
