"""Compare the public API of two versions of the package, and say of each change whether it breaks callers.

Public is what `__all__` of a module lists, wherever it is defined, and the members of such a class that have
no leading underscore, inherited ones included. griffe reads the sources and imports nothing. It does not know
the constructors that attrs and tuples make (`tools.api_constructors`) or changes of types, values, and
decorators, so these are added here. A parameter may not accept less, and an attribute or a result may not
become more than it was. Any other change of a type is breaking.

Users implement a protocol, so an addition to one is breaking. The protocols of `thrive_learning.testing` are
an exception, because they describe the client and grow with it.

`nox -s api` compares the checkout with the last tag (`tools.release_need`).
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import griffe

from tools.api_constructors import add_constructor, has_fields
from tools.changes import Change, Impact

PACKAGE = "thrive_learning"
GENERATED = "_thrive_learning_api"
SOURCES = ("src", "generated")
ANYTHING = {"Any", "object"}
FREE_VALUES = {"__version__"}
#: Arguments of a decorator of attrs that callers do not notice, or that the constructor shows.
UNNOTICED = {"kw_only", "init", "repr", "slots"}
KINDS = griffe.BreakageKind
SENTENCES = {  # of a base class that was removed, `_members` knows more
    KINDS.PARAMETER_MOVED: "takes {name} at another position",
    KINDS.PARAMETER_REMOVED: "does not take {name} any more",
    KINDS.PARAMETER_CHANGED_KIND: "takes {name} in another way, by position or by keyword",
    KINDS.PARAMETER_CHANGED_DEFAULT: "has another default of {name}:",
    KINDS.PARAMETER_CHANGED_REQUIRED: "requires {name}",
    KINDS.PARAMETER_ADDED_REQUIRED: "has the new required parameter {name}",
    KINDS.RETURN_CHANGED_TYPE: "has no type of its result any more",
    KINDS.OBJECT_REMOVED: "was removed",
    KINDS.OBJECT_CHANGED_KIND: "is another kind of object",
}

Named = griffe.Object | griffe.Alias


def load_api(root: Path, ref: str | None = None) -> dict[str, Named]:
    """Return the public objects by their names, such as `ThriveClient` or `webhooks.verify`.

    Args:
        root: The repository.
        ref: A tag or commit; None for the files of the checkout.
    """
    options: dict[str, Any] = {
        "allow_inspection": False,
        "resolve_aliases": True,
        "resolve_external": True,
        "modules_collection": griffe.ModulesCollection(),
    }
    folders = [root / folder for folder in SOURCES]
    # Ours refers to the generated one.
    _, package = (
        griffe.load(name, search_paths=folders, **options)
        if ref is None
        else griffe.load_git(name, ref=ref, repo=root, search_paths=SOURCES, **options)
        for name in (GENERATED, PACKAGE)
    )
    public = {
        f"{module.path}.{name}".removeprefix(f"{PACKAGE}."): _class_of(module.members[name])
        for module in _modules(package)
        for name in map(str, module.exports or ())
        if name in module.members
    }
    for value in public.values():
        add_constructor(_target(value))
    return public


def compare_apis(old: Mapping[str, Named], new: Mapping[str, Named]) -> Iterator[Change]:
    """Yield the changes from one API to another, as `load_api` returns them."""
    for name in sorted(old.keys() - new.keys()):
        yield Change(name, "was removed", Impact.BREAKING)
    for name in sorted(new.keys() - old.keys()):
        yield Change(name, "was added", Impact.ADDITION)
    for name in sorted(old.keys() & new.keys()):
        before, after = _target(old[name]), _target(new[name])
        yield from _breakages(name, old[name], new[name])
        if before.kind is after.kind:
            yield from _members(name, before, after)


def _modules(module: Named) -> Iterator[Named]:
    yield module
    for inner in module.modules.values():
        if not (inner.is_alias or inner.name.startswith("_")):
            yield from _modules(inner)


def _target(value: Named) -> griffe.Object:
    return value.final_target if isinstance(value, griffe.Alias) else value


def _class_of(value: Named) -> Named:
    """Return the class that a name is only assigned to, such as a generated one, or the object itself."""
    target = _target(value)
    if isinstance(target, griffe.Attribute) and isinstance(
        target.value, griffe.ExprName | griffe.ExprAttribute
    ):
        try:
            found = target.modules_collection[target.value.canonical_path]
        except KeyError:
            return value
        return value if _target(found).is_attribute else found
    return value


def _breakages(name: str, old: Named, new: Named) -> Iterator[Change]:
    """Yield what griffe finds, with the public name of each object in place of its path."""
    modules: list[griffe.Module] = []
    for value in (old, new):
        module = griffe.Module(PACKAGE)
        module.exports = ["it"]
        module.members["it"] = griffe.Alias("it", value, parent=module)
        modules.append(module)
    targets = {_target(old).path, _target(new).path}
    for breakage in griffe.find_breaking_changes(*modules):
        if breakage.kind not in SENTENCES:
            continue
        before: Any = breakage.old_value
        after: Any = breakage.new_value
        what = SENTENCES[breakage.kind].format(name=getattr(before or after, "name", ""))
        if breakage.kind is KINDS.PARAMETER_CHANGED_DEFAULT:
            what += f" {after.default} instead of {before.default}"
        member = "" if breakage.obj.path in targets else f".{breakage.obj.name}"
        where = name + member
        if breakage.kind is not KINDS.OBJECT_REMOVED:
            where = where.removesuffix(".__init__")
        yield Change(where, what, Impact.BREAKING)


def _members(name: str, old: griffe.Object, new: griffe.Object) -> Iterator[Change]:
    """Yield what griffe leaves out: additions, changes of types, and bases that an `except` relies on."""
    if isinstance(old, griffe.Class) and isinstance(new, griffe.Class):
        for base in sorted(_bases(old) - _bases(new)):
            yield Change(name, f"is not a {base} any more", Impact.BREAKING)
        if _decorators(old) != _decorators(new):
            texts = (" and ".join(sorted(_decorators(value))) or "no decorator" for value in (new, old))
            yield Change(name, "has {} instead of {}".format(*texts), Impact.BREAKING)
        is_implemented = "Protocol" in _bases(old) and not name.startswith("testing.")
        added = Impact.BREAKING if is_implemented else Impact.ADDITION
        before, after = _public(old), _public(new)
        for member in sorted(after.keys() - before.keys()):
            yield Change(f"{name}.{member}", "was added", added)
        for member in sorted(before.keys() & after.keys()):
            where = f"{name}.{member}".removesuffix(".__init__")
            yield from _of_member(where, before[member], after[member], added)
    else:
        yield from _of_member(name, old, new, Impact.ADDITION)


def _bases(value: griffe.Class) -> set[str]:
    names = {
        str(base).partition("[")[0].rpartition(".")[2]
        for inner in (value, *value.mro())
        for base in inner.bases
    }
    return {name for name in names if not name.startswith("_")}


def _decorators(value: griffe.Class) -> set[str]:
    """Return the decorators of a class, without what callers do not notice."""
    found: set[str] = set()
    for decorator in value.decorators:
        call = decorator.value
        if isinstance(call, griffe.ExprCall):
            kept = [
                str(argument) for argument in call.arguments if getattr(argument, "name", "") not in UNNOTICED
            ]
            found.add(f"{call.function}({', '.join(kept)})" if kept else str(call.function))
        else:
            found.add(str(call))
    return found


def _public(value: griffe.Class) -> dict[str, griffe.Object]:
    return {name: _target(member) for name, member in value.all_members.items() if member.is_public}


def _of_member(name: str, old: griffe.Object, new: griffe.Object, added: Impact) -> Iterator[Change]:
    """Yield the changes of a function, or of an attribute.

    Args:
        name: Its public name.
        old: What it was.
        new: What it is.
        added: What an addition means.
    """
    yield from _nature(name, old, new)
    if isinstance(old, griffe.Function) and isinstance(new, griffe.Function):
        yield from _parameters(name, old, new, added)
        yield from _overloads(name, old, new)
        before, after = _alternatives(old.returns), _alternatives(new.returns)
    elif isinstance(old, griffe.Attribute) and isinstance(new, griffe.Attribute):
        before, after = _alternatives(old.annotation), _alternatives(new.annotation)
        yield from _values(name, old, new)
        if before and not after:
            yield Change(name, "has no type any more", Impact.BREAKING)
    else:
        return
    is_more = not (after <= before or before & ANYTHING)
    if before and after and (is_more or (added is Impact.BREAKING and after != before)):
        yield Change(name, f"is {_text(after)} instead of {_text(before)}", Impact.BREAKING)


def _nature(name: str, old: griffe.Object, new: griffe.Object) -> Iterator[Change]:
    """Yield the changes of how something is called or set, which its signature does not show."""
    for label in ("async", "classmethod", "staticmethod"):
        if (label in old.labels) != (label in new.labels):
            what = f"is {label} now" if label in new.labels else f"is not {label} any more"
            yield Change(name, what, Impact.BREAKING)
    was_set, is_set = ("property" not in value.labels or "writable" in value.labels for value in (old, new))
    if was_set and not is_set:
        yield Change(name, "cannot be set any more", Impact.BREAKING)
    if isinstance(old, griffe.Function) and isinstance(new, griffe.Function):
        before, after = (
            {str(decorator.value).partition("(")[0].rpartition(".")[2] for decorator in value.decorators}
            for value in (old, new)
        )
        for made in ("contextmanager", "asynccontextmanager"):
            if (made in before) != (made in after):
                yield Change(name, f"has become, or stopped being, a {made}", Impact.BREAKING)
        if "deprecated" in after - before:
            yield Change(name, "is deprecated", Impact.ADDITION)


def _values(name: str, old: griffe.Attribute, new: griffe.Attribute) -> Iterator[Change]:
    """Yield the changes of a constant, of a member of an enum, or of an alias of types.

    The value of a field is its default, which the constructor shows.
    """
    is_field = old.annotation is not None and has_fields(old.parent) and "instance-attribute" in old.labels
    if is_field or name in FREE_VALUES or str(old.value) == str(new.value):
        return
    before, after = (_choices(attribute.value) for attribute in (old, new))
    what = f"is {_text(after) or 'nothing'} instead of {_text(before) or 'nothing'}"
    yield Change(name, what, Impact.ADDITION if before and before < after else Impact.BREAKING)


def _choices(value: str | griffe.Expr | None) -> set[str]:
    """Return the members of an alias of types, or the text of any other value."""
    return _alternatives(value) if isinstance(value, griffe.Expr) else {str(value)} - {"None"}


def _parameters(name: str, old: griffe.Function, new: griffe.Function, added: Impact) -> Iterator[Change]:
    known = {parameter.name: parameter for parameter in old.parameters}
    for parameter in new.parameters:
        if parameter.name not in known:
            if not parameter.required:
                yield Change(name, f"has the new parameter {parameter.name}", added)
            continue
        before, after = (
            _alternatives(known[parameter.name].annotation),
            _alternatives(parameter.annotation),
        )
        is_less = not (before <= after or after & ANYTHING)
        if before and after and (is_less or (added is Impact.BREAKING and after != before)):
            what = f"accepts {_text(after)} instead of {_text(before)} as {parameter.name}"
            yield Change(name, what, Impact.BREAKING)


def _overloads(name: str, old: griffe.Function, new: griffe.Function) -> Iterator[Change]:
    before, after = (
        [f"({_signature(one)}) -> {one.returns}" for one in value.overloads or ()] for value in (old, new)
    )
    for signature in before:
        if signature not in after:
            yield Change(name, f"does not have the signature {signature} any more", Impact.BREAKING)
    for signature in after:
        if before and signature not in before:
            yield Change(name, f"has the new signature {signature}", Impact.ADDITION)


def _signature(value: griffe.Function) -> str:
    return ", ".join(
        f"{parameter.name}: {parameter.annotation}" + ("" if parameter.default is None else " = …")
        for parameter in value.parameters
    )


def _alternatives(annotation: str | griffe.Expr | None) -> set[str]:
    """Return the members of a union, as text."""
    if isinstance(annotation, griffe.ExprBinOp) and annotation.operator == "|":
        return _alternatives(annotation.left) | _alternatives(annotation.right)
    if isinstance(annotation, griffe.ExprSubscript) and str(annotation.left) in {"Literal", "typing.Literal"}:
        inner = annotation.slice
        elements = inner.elements if isinstance(inner, griffe.ExprTuple) else [inner]
        return {f"Literal[{element}]" for element in elements}
    text = str(annotation or "").strip("\"'")
    return {text} - {""} if "|" not in text or "[" in text else {part.strip() for part in text.split("|")}


def _text(alternatives: set[str]) -> str:
    return " | ".join(sorted(alternatives, key=lambda name: (name == "None", name)))
