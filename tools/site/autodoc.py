"""The extension of Sphinx that reads our docstrings, where a name in backticks may be a public one."""

import ast
import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import inspect as sphinx_inspect

import thrive_learning
from tools.site import reference

#: Stands for a colon while napoleon reads a docstring.
_COLON = "\uf8ff "
_WORD = re.compile(r"(?<![`:\w])`([^`]+?)`(?!`)(?=(\w?))")


class _Names:
    """The public names, by what a docstring or an annotation may call them."""

    def __init__(self) -> None:
        self.paths: dict[str, str] = {}
        self.values: dict[str, Any] = {}
        for names in reference.public_names().values():
            for public in names:
                self.values[public.path] = public.value
                self.paths.setdefault(public.name, public.path)
                self.paths[public.path] = public.path
                self.paths[f"{public.home}.{public.name}"] = public.path

    def find(self, name: str) -> str | None:
        """Return the path of a name or of a member of a class, such as `Region.parse`."""
        owner, _, member = name.rpartition(".")
        if name in self.paths:
            return self.paths[name]
        return f"{self.paths[owner]}.{member}" if owner in self.paths else None


def import_guarded_names() -> None:
    """Make the names that modules import for type checkers alone known to `typing.get_type_hints`."""
    for found in pkgutil.walk_packages(thrive_learning.__path__, "thrive_learning."):
        if found.name.rpartition(".")[2] not in {"__main__", "plugin"}:
            importlib.import_module(found.name)
    for name, module in list(sys.modules.items()):
        if name.startswith("thrive_learning.") and module.__file__:
            tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
            for block in tree.body:
                if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING":
                    imports: list[ast.stmt] = [
                        node for node in block.body if isinstance(node, ast.Import | ast.ImportFrom)
                    ]
                    code = compile(ast.Module(imports, []), module.__file__, "exec")
                    exec(code, vars(module))  # noqa: S102 - its own imports


def _protect_colon(
    _app: Sphinx, what: str, _name: str, _object: object, _options: Any, lines: list[str]
) -> None:
    """Keep napoleon from reading the text before a colon as the type of a property."""
    if what in {"attribute", "data", "property"} and lines:
        lines[0] = lines[0].replace(": ", _COLON)


def _process_docstring(
    _app: Sphinx, _what: str, name: str, _object: object, _options: Any, lines: list[str]
) -> None:
    """Turn words in single backticks, which are code, into links to public names or into code."""

    def link(found: re.Match[str]) -> str:
        words = " ".join(found[1].split())  # it may go on in the next line
        path = _NAMES.find(words)
        is_known = path is not None and path != name and hasattr_path(path)
        shown = f":py:obj:`{words} <{path}>`" if is_known else f"``{words}``"
        return shown + ("\\ " if found[2] else "")  # a plural, such as `Activity`s

    lines[:] = _WORD.sub(link, "\n".join(lines).replace(_COLON, ": ")).split("\n")


def _process_signature(
    _app: Sphinx, what: str, name: str, value: Any, _options: Any, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """Show what users pass: no private parameters, and public names for what is private."""
    signature, returns = (
        None if text is None else _with_public_types(text, name) for text in (signature, returns)
    )
    signature = signature and re.sub(r"<\w+>", "...", signature)  # a default that a function makes
    if what != "class" or signature is None:
        return signature, returns
    parameters = inspect.signature(value).parameters.values()
    private = [each for each in parameters if "thrive_learning._" in _type_of(each)]
    if any(each.default is inspect.Parameter.empty for each in private):
        return "", None  # users get objects of this class, and create none
    if private:
        whole = sphinx_inspect.signature(value)
        kept = [each for each in whole.parameters.values() if each.name not in {p.name for p in private}]
        public = sphinx_inspect.stringify_signature(
            whole.replace(parameters=kept), show_return_annotation=False, unqualified_typehints=True
        )
        return _with_public_types(public, name), None
    return signature, None


def _type_of(parameter: inspect.Parameter) -> str:
    annotation = parameter.annotation
    return getattr(annotation, "__module__", "") + "." + str(annotation)


def _with_public_types(text: str, name: str) -> str:
    """Replace the variables of a generic base class by what the public class fills in for them."""
    for private, public in _substitutions(name):
        text = text.replace(private, public)
    return text


def _substitutions(name: str) -> Iterator[tuple[str, str]]:
    for owner in (name, name.rpartition(".")[0]):
        for base in getattr(_NAMES.values.get(owner), "__orig_bases__", ()):
            variables = getattr(get_origin(base), "__parameters__", ())
            for variable, filled in zip(variables, get_args(base), strict=False):
                if inspect.isclass(filled):
                    yield (
                        f"~{variable.__module__}.{variable.__name__}",
                        f"~{filled.__module__}.{filled.__name__}",
                    )
    for public in _NAMES.values.values():
        for base in getattr(public, "__orig_bases__", ()):
            origin, arguments = get_origin(base), get_args(base)
            if (
                origin is not None
                and origin.__name__.startswith("_")
                and all(map(inspect.isclass, arguments))
            ):
                shown = ", ".join(f"~{each.__module__}.{each.__name__}" for each in arguments)
                yield (
                    f"~{origin.__module__}.{origin.__name__}[{shown}]",
                    f"~{public.__module__}.{public.__name__}",
                )


def hasattr_path(path: str) -> bool:
    """Return whether a path such as `thrive_learning.Region.parse` leads to something with a docstring."""
    parts = path.split(".")
    found: Any = importlib.import_module(parts[0])
    for part in parts[1:]:
        try:
            found = inspect.getattr_static(found, part) if inspect.isclass(found) else getattr(found, part)
        except AttributeError:
            return False
    return not (len(parts) > 2 and parts[-1][0].isupper()) or inspect.isclass(found)


def _skip_member(
    _app: Sphinx, _what: str, _name: str, member: Any, _skip: object, _options: Any
) -> bool | None:
    """Leave out what a class inherits from elsewhere, and the fields of a named tuple, which have entries."""
    if (getattr(member, "__doc__", None) or "").startswith("Alias for field number"):
        return True
    module = getattr(member, "__module__", None) or getattr(
        getattr(member, "__objclass__", None), "__module__", None
    )
    function = getattr(member, "fget", None) or getattr(member, "__func__", None)
    module = getattr(function, "__module__", module)
    return True if module and not module.startswith(("thrive_learning", "_thrive_learning_api")) else None


def _process_bases(_app: Sphinx, _name: str, _object: object, _options: Any, bases: list[type]) -> None:
    bases[:] = [base for base in bases if not base.__name__.startswith("_")]


def _resolve(app: Sphinx, env: BuildEnvironment, node: pending_xref, contnode: Any) -> Any:
    """Resolve the name of a class in the module that defines it, which users do not import it from."""
    path = _NAMES.find(node.get("reftarget", ""))
    if node.get("refdomain") != "py" or path is None:
        return None
    domain = env.get_domain("py")
    # The entry of a class stands for an attribute that has no entry of its own.
    for target in (path, path.rpartition(".")[0]):
        found = domain.resolve_xref(env, node["refdoc"], app.builder, "obj", target, node, contnode)
        if found is not None:
            return found
    return None


_NAMES = _Names()


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect the functions above."""
    import_guarded_names()
    code = "".join(path.read_text(encoding="utf-8") for path in sorted(Path(__file__).parent.glob("*.py")))
    app.add_config_value("site_code", code, "env")  # a change makes Sphinx read all pages again
    app.connect("autodoc-process-docstring", _protect_colon, priority=400)  # before napoleon
    app.connect("autodoc-process-docstring", _process_docstring, priority=900)  # after napoleon
    app.connect("autodoc-process-signature", _process_signature)
    app.connect("autodoc-skip-member", _skip_member)
    app.connect("autodoc-process-bases", _process_bases)
    app.connect("missing-reference", _resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
