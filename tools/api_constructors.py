"""Add the `__init__` that attrs, a named tuple, or a typed dictionary has, which griffe does not know."""

from collections.abc import Iterator

import griffe

KINDS = griffe.ParameterKind


def add_constructor(value: griffe.Object) -> None:
    """Add the `__init__` that a class gets from its annotated attributes, if it has none of its own."""
    if not isinstance(value, griffe.Class) or "__init__" in value.members:
        return
    bases, made = _bases(value), _attrs(value)
    if "TypedDict" in bases:
        found = list(_keys(value))
    elif "NamedTuple" in bases or (made and "init=False" not in made[0]):
        found = list(_fields(value, is_keyword_only=bool(made) and "kw_only=True" in made[0]))
    else:
        return
    own = griffe.Parameter("self", kind=KINDS.positional_or_keyword)
    value.set_member("__init__", griffe.Function("__init__", parameters=griffe.Parameters(own, *found)))


def has_fields(value: griffe.Object | None) -> bool:
    """Return whether the annotated attributes of a class are fields, whose values are defaults."""
    if not isinstance(value, griffe.Class):
        return False
    return bool(_attrs(value) or _bases(value) & {"NamedTuple", "TypedDict"})


def _bases(value: griffe.Class) -> set[str]:
    return {str(base).rpartition(".")[2] for inner in (value, *value.mro()) for base in inner.bases}


def _attrs(value: griffe.Class) -> list[str]:
    decorators = [str(decorator.value) for decorator in value.decorators]
    return [text for text in decorators if text.startswith(("attrs.frozen", "attrs.define"))]


def _annotated(value: griffe.Class) -> Iterator[griffe.Attribute]:
    members = {
        member.name: member
        for inner in (*reversed(value.mro()), value)
        for member in inner.attributes.values()
        if member.annotation is not None and "instance-attribute" in member.labels
    }
    yield from members.values()


def _fields(value: griffe.Class, *, is_keyword_only: bool) -> Iterator[griffe.Parameter]:
    for member in _annotated(value):
        default, options = member.value, dict[str, object]()
        if isinstance(default, griffe.ExprCall) and str(default.function) == "attrs.field":
            options = {
                argument.name: argument.value
                for argument in default.arguments
                if isinstance(argument, griffe.ExprKeyword)
            }
            if str(options.get("init")) == "False":
                continue
            default = options.get("default", options.get("factory"))  # type: ignore[assignment]
        keyword = str(options.get("kw_only", is_keyword_only)) == "True"
        name = str(options.get("alias", member.name)).strip("\"'")
        yield griffe.Parameter(
            name if "alias" in options else name.lstrip("_"),
            annotation=member.annotation,
            kind=KINDS.keyword_only if keyword else KINDS.positional_or_keyword,
            default=None if default is None else str(default),
        )


def _keys(value: griffe.Class) -> Iterator[griffe.Parameter]:
    """Yield the keys of a typed dictionary, of which callers pass those that are required."""
    for member in _annotated(value):
        owner = member.parent
        is_optional = isinstance(owner, griffe.Class) and str(owner.keywords.get("total")) == "False"
        annotation = str(member.annotation)
        if annotation.startswith(("Required[", "NotRequired[")):
            is_optional = annotation.startswith("Not")
        yield griffe.Parameter(
            member.name,
            annotation=member.annotation,
            kind=KINDS.keyword_only,
            default="..." if is_optional else None,
        )
