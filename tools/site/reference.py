"""Lists the public names by the page of the reference that describes them.

Nothing is listed by hand. The names are those of `__all__`, and each page is that of a public module.
"""

import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_args, is_typeddict

import thrive_learning

PACKAGE = "thrive_learning"
#: A private module whose classes the calls of a public one return.
_BELONGS_TO = {"_bulk": "activities", "_version": "client", "__init__": "client"}


class PublicName(NamedTuple):
    """One name that a user may import."""

    #: The module to import it from.
    module: str
    name: str
    value: Any
    #: The module that defines it.
    home: str

    @property
    def path(self) -> str:
        """The name as users write it."""
        return f"{self.module}.{self.name}"


def public_modules() -> list[str]:
    """Return the public modules that export names of their own, besides the package itself."""
    folder = Path(thrive_learning.__file__ or "").parent
    names = sorted(
        path.stem
        for path in folder.iterdir()
        if not path.name.startswith(("_", ".")) and (path.suffix == ".py" or (path / "__init__.py").exists())
    )
    return [name for name in names if hasattr(importlib.import_module(f"{PACKAGE}.{name}"), "__all__")]


def public_names() -> dict[str, list[PublicName]]:
    """Return the public names by the page that describes them, such as `errors`."""
    pages: dict[str, list[PublicName]] = {}
    for name in thrive_learning.__all__:
        home = thrive_learning._HOMES.get(name, f"{PACKAGE}._version")  # noqa: SLF001 - where lazy names are
        part = home.split(".")[1]
        page = _BELONGS_TO.get(part, part)
        pages.setdefault(page, []).append(PublicName(PACKAGE, name, getattr(thrive_learning, name), home))
    for page in public_modules():
        module = importlib.import_module(f"{PACKAGE}.{page}")
        for name in module.__all__:
            value = getattr(module, name)
            home = getattr(value, "__module__", None) or module.__name__
            pages.setdefault(page, []).append(PublicName(module.__name__, name, value, home))
    return {page: _in_order(pages[page]) for page in sorted(pages)}


def _in_order(names: list[PublicName]) -> list[PublicName]:
    """Return functions, classes, types for annotations, and constants, each in the order of their module."""

    def position(public: PublicName) -> tuple[int, bool, str, int]:
        try:
            line = inspect.getsourcelines(public.value)[1]
        except (TypeError, OSError):
            line = sys.maxsize
        if getattr(public.value, "__module__", "") != public.home:  # generated, and exported as it is
            line = sys.maxsize
        is_type = getattr(public.value, "_is_protocol", False) or is_typeddict(public.value)
        kind = 0 if inspect.isroutine(public.value) else 2 if is_type else 1 if _is_described(public) else 3
        return kind, "._" in public.home, public.home, line

    return sorted(names, key=position)


def _is_described(public: PublicName) -> bool:
    return inspect.isclass(public.value) or inspect.isroutine(public.value)


def title_of(page: str) -> str:
    """Return the title of a page of the reference."""
    return page.replace("_", " ").capitalize()


def page_of(page: str, names: list[PublicName]) -> str:
    """Return a page of the reference as reStructuredText."""
    title = title_of(page)
    modules = sorted({public.module for public in names})
    imports = " and ".join(f"``{module}``" for module in modules)
    parts = [f"{title}\n{'=' * len(title)}", f"Import these names from {imports}."]
    parts += [_directive(public) for public in names]
    return "\n\n".join(parts) + "\n"


def _directive(public: PublicName) -> str:
    value = public.value
    if not inspect.isclass(value):
        if inspect.isroutine(value):
            return f".. autofunction:: {public.path}"
        comment = re.sub(r"`+([^`]+)`+", r"``\1``", comment_of(public))
        name = f".. py:currentmodule:: {public.module}\n\n.. py:data:: {public.name}"
        return f"{name}\n{_shown(value)}\n{_indent(comment)}"
    lines = [f".. autoclass:: {public.path}", "   :members:"]
    if issubclass(value, Exception):
        lines.append("   :show-inheritance:")
    else:
        lines.append("   :inherited-members:")
    if hasattr(value, "__members__") and "Attributes:" not in (value.__doc__ or ""):  # an enum
        lines.append("   :undoc-members:")
    if not value.__doc__:
        lines += ["", _indent(comment_of(public))]
    return "\n".join(lines)


def _shown(value: object) -> str:
    text = repr(value)
    if get_args(value):
        text = re.sub(r"\b(?:\w+\.)+(\w+)", r"\1", text)
    elif not isinstance(value, (str, int, float)):
        return ""
    return f"   :value: {text}\n"


def _indent(text: str) -> str:
    return "\n".join(f"   {line}".rstrip() for line in text.splitlines())


def comment_of(public: PublicName) -> str:
    """Return the `#:` comment above the definition of a constant or an alias; empty if it has no comment."""
    for module in dict.fromkeys([public.home, public.module, *_sources(public)]):
        source = Path(importlib.import_module(module).__file__ or "").read_text(encoding="utf-8")
        found = re.search(rf"((?:^ *#: .*\n)+) *{public.name}\b *[:=]", source, re.MULTILINE)
        if found:
            return re.sub(r"^ *#: ?", "", found[1], flags=re.MULTILINE)
    return ""


def _sources(public: PublicName) -> Iterator[str]:
    """Yield the modules of the package that exports a name, any of which may define it."""
    module = importlib.import_module(public.module)
    for path in sorted(Path(module.__file__ or "").parent.glob("[a-z]*.py")):
        if public.module != PACKAGE and hasattr(module, "__path__"):
            yield f"{public.module}.{path.stem}"


def index_of(pages: dict[str, list[PublicName]]) -> str:
    """Return the list of all public names, each with the first sentence of its docstring, as Markdown."""
    parts = ["```{eval-rst}"]
    for page, names in pages.items():
        parts += [f".. rubric:: :doc:`{title_of(page)} <api/{page}>`", ""]
        parts += [f"* :py:obj:`~{public.path}`: {_summary(public)}" for public in names]
        parts.append("")
    return "\n".join([*parts, "```"])


def _summary(public: PublicName) -> str:
    text = (public.value.__doc__ if _is_described(public) else "") or comment_of(public)
    first = " ".join(text.strip().split("\n\n")[0].split())
    sentence = re.split(r"(?<=[.:]) (?=[A-Z`])", first)[0]
    return re.sub(r"`+([^`]+)`+", r"``\1``", sentence)
