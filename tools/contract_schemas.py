"""Compare two schemas of the contract: what a caller may send, or what a caller may receive."""

from collections.abc import Iterator, Mapping
from typing import Any

from thrive_learning._formats import FORMATS
from tools.changes import Change, Impact

PROSE = {"description", "title", "example", "examples", "externalDocs", "deprecated", "$comment"}
LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
UNIONS = ("anyOf", "oneOf", "allOf")
KNOWN = {
    *("$ref", "type", "enum", "const", "pattern", "format", "default", "required", "properties"),
    *("additionalProperties", "items", *LOWER, *UPPER, *UNIONS, *PROSE),
}


class Document:
    """An OpenAPI document whose references are resolved."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self.root = root

    def resolve(self, value: Mapping[str, Any] | bool) -> Mapping[str, Any]:  # noqa: FBT001 - a schema
        """Return what a reference refers to, with the keys beside the reference, or the object itself."""
        if isinstance(value, bool):
            return {} if value else {"not": {}}
        while "$ref" in value:
            target: Any = self.root
            for part in str(value["$ref"]).removeprefix("#/").split("/"):
                target = target[part.replace("~1", "/").replace("~0", "~")]
            value = {**target, **{key: own for key, own in value.items() if key != "$ref"}}
        return value

    def has_fields(self, value: Mapping[str, Any], seen: tuple[str, ...] = ()) -> bool:
        """Return whether a schema, or one that it combines, has fields."""
        reference = str(value.get("$ref", ""))
        if reference and reference in seen:
            return False
        schema = self.resolve(value)
        branches = [branch for key in UNIONS for branch in schema.get(key, ())]
        return "properties" in schema or any(
            self.has_fields(branch, (*seen, reference)) for branch in branches
        )


def compare_extensions(
    where: str, old: Mapping[str, Any], new: Mapping[str, Any], known: set[str]
) -> Iterator[Change]:
    """Yield the changes of keys that have no rule of their own. A new extension alone breaks nothing.

    Args:
        where: What the objects describe.
        old: The earlier object.
        new: The later object.
        known: The keys that other rules compare.
    """
    for key in sorted((old.keys() | new.keys()) - known):
        if key not in old and key.startswith("x-") and key != "x-enum-varnames":  # which renames members
            yield Change(f"{where} {key}".strip(), "was added", Impact.ADDITION)
        elif old.get(key) != new.get(key):
            what = f"is {new.get(key)!r} instead of {old.get(key)!r}"
            yield Change(f"{where} {key}".strip(), what, Impact.BREAKING)


class SchemaComparison:
    """The schemas of two documents, all of requests or all of responses."""

    def __init__(self, old: Document, new: Document, *, request: bool) -> None:
        self._old = old
        self._new = new
        self._request = request

    def compare(
        self,
        where: str,
        old: Mapping[str, Any] | bool,  # noqa: FBT001 - a schema
        new: Mapping[str, Any] | bool,  # noqa: FBT001
        seen: tuple[Any, ...] = (),
    ) -> Iterator[Change]:
        """Yield the changes of a schema and of all schemas within it.

        Args:
            where: What the schema describes.
            old: The earlier schema.
            new: The later schema.
            seen: The pairs of references that led here.
        """
        pair = tuple(schema.get("$ref") if isinstance(schema, Mapping) else None for schema in (old, new))
        if any(pair) and pair in seen:
            return
        seen = (*seen, pair)
        old, new = self._old.resolve(old), self._new.resolve(new)
        if new.get("deprecated") and not old.get("deprecated"):
            yield Change(where, "is deprecated", Impact.ADDITION)
        yield from self._types(where, old, new)
        yield from self._values(where, old, new)
        yield from self._limits(where, old, new)
        yield from self._properties(where, old, new, seen)
        yield from self._unions(where, old, new, seen)
        if "items" in old or "items" in new:
            yield from self.compare(f"{where}, items", old.get("items", {}), new.get("items", {}), seen)
        yield from compare_extensions(where, old, new, KNOWN)

    def _restriction(self, *, narrowed: bool) -> Impact:
        """Return what it means that fewer values are valid than before, or more."""
        return Impact.BREAKING if narrowed == self._request else Impact.HARMLESS

    def _types(self, where: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
        before, after = _types(old), _types(new)
        if before == after:
            return
        what = f"has the type {_named(after)} instead of {_named(before)}"
        narrowed = after is not None and (before is None or after < before)
        widened = before is not None and (after is None or before < after)
        if narrowed or widened:
            yield Change(where, what, self._restriction(narrowed=narrowed))
        else:
            yield Change(where, what, Impact.BREAKING)

    def _values(self, where: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
        before, after = _values(old), _values(new)
        if before is None and after is not None:
            yield Change(where, "is limited to certain values", self._restriction(narrowed=True))
        elif before is not None and after is None:
            yield Change(where, "is not limited to certain values", self._restriction(narrowed=False))
        elif before is not None and after is not None:
            for value in [value for value in before if value not in after]:
                # The SDK exports the values as an enum, whose member disappears.
                yield Change(f"{where}, value {value!r}", "was removed", Impact.BREAKING)
            for value in [value for value in after if value not in before]:
                yield Change(f"{where}, value {value!r}", "was added", Impact.ADDITION)

    def _limits(self, where: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
        for key in (*LOWER, *UPPER):
            before, after = old.get(key), new.get(key)
            if before != after:
                narrowed = after is not None and (
                    before is None or (after > before if key in LOWER else after < before)
                )
                what = f"has the {key} {after} instead of {before}"
                yield Change(where, what, self._restriction(narrowed=narrowed))
        for key in ("pattern", "format"):
            before, after = old.get(key), new.get(key)
            if before != after:
                what = f"has the {key} {after} instead of {before}"
                only_one = before is None or after is None
                # The SDK returns a value of another type for text of these formats.
                is_converted = not self._request and key == "format" and {before, after} & FORMATS.keys()
                impact = self._restriction(narrowed=before is None)
                impact = impact if only_one and not is_converted else Impact.BREAKING
                yield Change(where, what, impact)
        if repr(old.get("default")) != repr(new.get("default")):  # 1 equals True
            what = f"has the default {new.get('default')!r} instead of {old.get('default')!r}"
            yield Change(where, what, Impact.BREAKING if self._request else Impact.HARMLESS)

    def _properties(
        self, where: str, old: Mapping[str, Any], new: Mapping[str, Any], seen: tuple[Any, ...]
    ) -> Iterator[Change]:
        before, after = old.get("properties", {}), new.get("properties", {})
        was_required, is_required = set(old.get("required", [])), set(new.get("required", []))
        for name in before:
            place = f"{where}, field {name}"
            if name not in after:
                yield Change(place, "was removed", Impact.BREAKING)
                continue
            if name in is_required - was_required:
                yield Change(place, "is required now", self._restriction(narrowed=True))
            elif name in was_required - is_required:
                yield Change(place, "is optional now", self._restriction(narrowed=False))
            yield from self.compare(place, before[name], after[name], seen)
        for name in after:
            if name not in before:
                required = name in is_required
                kind = "required" if required else "optional"
                impact = Impact.BREAKING if required and self._request else Impact.ADDITION
                yield Change(f"{where}, field {name}", f"was added, {kind}", impact)
        for name in is_required ^ was_required:
            if name not in before and name not in after:
                what = "is required now" if name in is_required else "is optional now"
                impact = self._restriction(narrowed=name in is_required)
                yield Change(f"{where}, field {name}", what, impact)
        was_open, is_open = old.get("additionalProperties", True), new.get("additionalProperties", True)
        if was_open != is_open:
            closed = is_open is False
            what = "does not allow other fields" if closed else "has another rule for other fields"
            known = isinstance(was_open, bool) and isinstance(is_open, bool)
            yield Change(where, what, self._restriction(narrowed=closed) if known else Impact.BREAKING)

    def _unions(
        self, where: str, old: Mapping[str, Any], new: Mapping[str, Any], seen: tuple[Any, ...]
    ) -> Iterator[Change]:
        for key in UNIONS:
            before, after = _branches(old.get(key, [])), _branches(new.get(key, []))
            if bool(before) != bool(after):
                what = "was added" if after else "was removed"
                impact = self._restriction(narrowed=bool(after))
                of_fields = (
                    *map(self._old.has_fields, before.values()),
                    *map(self._new.has_fields, after.values()),
                )
                if any(of_fields):
                    impact = max(impact, Impact.ADDITION if after else Impact.BREAKING)
                yield Change(f"{where}, {key}", what, impact)
                continue
            narrows = key == "allOf"  # where every branch restricts
            for name in before:
                if name not in after:
                    impact = self._restriction(narrowed=not narrows)
                    if narrows and self._old.has_fields(before[name]):
                        impact = Impact.BREAKING
                    yield Change(f"{where}, {key} {name}", "was removed", impact)
                else:
                    yield from self.compare(where, before[name], after[name], seen)
            for name in after:
                if name not in before:
                    impact = self._restriction(narrowed=narrows)
                    if narrows and self._new.has_fields(after[name]):
                        impact = max(impact, Impact.ADDITION)
                    yield Change(f"{where}, {key} {name}", "was added", impact)


def _types(schema: Mapping[str, Any]) -> frozenset[str] | None:
    types = schema.get("type")
    if types is None:
        return None
    names = frozenset([types] if isinstance(types, str) else types)
    return names | {"integer"} if "number" in names else names  # every integer is a number


def _named(types: frozenset[str] | None) -> str:
    return "any" if types is None else " or ".join(sorted(types))


def _values(schema: Mapping[str, Any]) -> list[Any] | None:
    return [schema["const"]] if "const" in schema else schema.get("enum")


def _branches(schemas: list[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return branches by the schema that they refer to, or by their type, so that order does not count."""
    branches: dict[str, Mapping[str, Any]] = {}
    for schema in schemas:
        name = str(schema["$ref"]).rpartition("/")[2] if "$ref" in schema else _named(_types(schema))
        branches[name if name not in branches else f"{name} {len(branches)}"] = schema
    return branches
