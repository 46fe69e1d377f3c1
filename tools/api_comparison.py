"""Compare the public API of two versions of the package, and say of each change whether it breaks callers.

Public is what `__all__` of a module lists, wherever it is defined, and the members of such a class that have
no leading underscore, inherited ones included. griffe reads the sources and imports nothing. It does not know
the constructors that attrs makes or changes of types, so both are added here. A parameter may not accept
less, and an attribute or a result may not become more than it was. Any other change of a type is breaking.

`nox -s api` compares the checkout with the last tag (`tools.release_need`).
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import griffe

from tools.changes import Change, Impact

PACKAGE = "thrive_learning"
SOURCES = ("src", "generated")
ANYTHING = {"Any", "object"}
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
    if ref is None:
        folders = [root / folder for folder in SOURCES]
        package = griffe.load(
            PACKAGE, search_paths=folders, allow_inspection=False, resolve_aliases=True, resolve_external=True
        )
    else:
        package = griffe.load_git(
            PACKAGE,
            ref=ref,
            repo=root,
            search_paths=SOURCES,
            allow_inspection=False,
            resolve_aliases=True,
            resolve_external=True,
        )
    public = {
        f"{module.path}.{name}".removeprefix(f"{PACKAGE}."): module.members[name]
        for module in _modules(package)
        for name in map(str, module.exports or ())
        if name in module.members
    }
    for value in public.values():
        _add_constructor(_target(value))
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
        yield from _modules(inner)


def _target(value: Named) -> griffe.Object:
    return value.final_target if isinstance(value, griffe.Alias) else value


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
        yield Change((name + member).removesuffix(".__init__"), what, Impact.BREAKING)


def _members(name: str, old: griffe.Object, new: griffe.Object) -> Iterator[Change]:
    """Yield what griffe leaves out: additions, changes of types, and bases that an `except` relies on."""
    if isinstance(old, griffe.Class) and isinstance(new, griffe.Class):
        for base in sorted(_bases(old) - _bases(new)):
            yield Change(name, f"is not a {base} any more", Impact.BREAKING)
        before, after = _public(old), _public(new)
        for member in sorted(after.keys() - before.keys()):
            yield Change(f"{name}.{member}", "was added", Impact.ADDITION)
        for member in sorted(before.keys() & after.keys()):
            where = f"{name}.{member}".removesuffix(".__init__")
            yield from _types(where, before[member], after[member])
    else:
        yield from _types(name, old, new)


def _bases(value: griffe.Class) -> set[str]:
    names = {str(base).rpartition(".")[2] for inner in (value, *value.mro()) for base in inner.bases}
    return {name for name in names if not name.startswith("_") and "[" not in name}


def _public(value: griffe.Class) -> dict[str, griffe.Object]:
    return {name: _target(member) for name, member in value.all_members.items() if member.is_public}


def _types(name: str, old: griffe.Object, new: griffe.Object) -> Iterator[Change]:
    if isinstance(old, griffe.Function) and isinstance(new, griffe.Function):
        known = {parameter.name: parameter for parameter in old.parameters}
        for parameter in new.parameters:
            if parameter.name not in known:
                if not parameter.required:
                    yield Change(name, f"has the new parameter {parameter.name}", Impact.ADDITION)
                continue
            before, after = (
                _alternatives(known[parameter.name].annotation),
                _alternatives(parameter.annotation),
            )
            if before and after and not (before <= after or after & ANYTHING):
                what = f"accepts {_text(after)} instead of {_text(before)} as {parameter.name}"
                yield Change(name, what, Impact.BREAKING)
        before, after = _alternatives(old.returns), _alternatives(new.returns)
    elif isinstance(old, griffe.Attribute) and isinstance(new, griffe.Attribute):
        before, after = _alternatives(old.annotation), _alternatives(new.annotation)
    else:
        return
    if before and after and not (after <= before or before & ANYTHING):
        yield Change(name, f"is {_text(after)} instead of {_text(before)}", Impact.BREAKING)


def _alternatives(annotation: str | griffe.Expr | None) -> set[str]:
    """Return the members of a union, as text."""
    if isinstance(annotation, griffe.ExprBinOp) and annotation.operator == "|":
        return _alternatives(annotation.left) | _alternatives(annotation.right)
    text = str(annotation or "").strip("\"'")
    return {text} - {""} if "|" not in text or "[" in text else {part.strip() for part in text.split("|")}


def _text(alternatives: set[str]) -> str:
    return " | ".join(sorted(alternatives, key=lambda name: (name == "None", name)))


def _add_constructor(value: griffe.Object) -> None:
    """Add the `__init__` that attrs makes, whose parameters are the annotated attributes."""
    if not isinstance(value, griffe.Class):
        return
    decorators = [str(decorator.value) for decorator in value.decorators]
    made = [text for text in decorators if text.startswith(("attrs.frozen", "attrs.define"))]
    if not made or "init=False" in made[0] or "__init__" in value.members:
        return
    keyword_only = "kw_only=True" in made[0]
    kind = griffe.ParameterKind.keyword_only if keyword_only else griffe.ParameterKind.positional_or_keyword
    parameters = {"self": griffe.Parameter("self", kind=griffe.ParameterKind.positional_or_keyword)}
    for inner in (*reversed(value.mro()), value):
        for member in inner.attributes.values():
            if member.annotation is None or "ClassVar" in str(member.annotation):
                continue
            default = member.value
            if isinstance(default, griffe.ExprCall) and str(default.function) == "attrs.field":
                options = {
                    argument.name: argument.value
                    for argument in default.arguments
                    if isinstance(argument, griffe.ExprKeyword)
                }
                if str(options.get("init")) == "False":
                    continue
                default = options.get("default", options.get("factory"))
            name = member.name.lstrip("_")
            parameters[name] = griffe.Parameter(
                name,
                annotation=member.annotation,
                kind=kind,
                default=None if default is None else str(default),
            )
    constructor = griffe.Function("__init__", parameters=griffe.Parameters(*parameters.values()))
    value.set_member("__init__", constructor)
