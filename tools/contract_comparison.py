"""Compare two versions of the contract, and say of each change whether it breaks callers.

    python -m tools.contract_comparison OLD NEW       two files; fails if a change breaks callers

`nox -s api` compares the contract with that of the last tag (`tools.release_need`). A request may not be
restricted, and a response may not promise less. A new value of an enum in a response is an exception, because
the SDK returns unknown values as text. A change that no rule knows counts as breaking.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tools.changes import Change, Impact
from tools.contract_schemas import Document, SchemaComparison, compare_extensions

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
PROSE = {"description", "summary", "title", "example", "examples", "externalDocs", "tags", "deprecated"}


class Comparison:
    """Two documents, and the changes from the first to the second."""

    def __init__(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        self._old = Document(old)
        self._new = Document(new)
        self._sent = SchemaComparison(self._old, self._new, request=True)
        self._received = SchemaComparison(self._old, self._new, request=False)

    def changes(self) -> Iterator[Change]:
        """Yield all changes, in the order of the document."""
        old, new = self._old.root, self._new.root
        found = list(self._changes(old, new))
        yield from found
        if old != new and not found and _without_prose(old) == _without_prose(new):
            yield Change("contract", "only descriptions and examples changed", Impact.HARMLESS)

    def _changes(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
        known = {"openapi", "info", "externalDocs", "tags", "servers", "security", "paths", "components"}
        yield from compare_extensions("", old, new, known)
        if old.get("openapi") != new.get("openapi"):
            yield Change(
                "openapi", f"is {new.get('openapi')} instead of {old.get('openapi')}", Impact.HARMLESS
            )
        yield from self._servers()
        yield from self._security("", old.get("security"), new.get("security"))
        yield from self._paths(old.get("paths", {}), new.get("paths", {}))
        yield from self._schemes()

    def _servers(self) -> Iterator[Change]:
        old, new = (_servers(document.root.get("servers", [])) for document in (self._old, self._new))
        yield from _added_and_removed("", old, new, "server {}")
        for name in old.keys() & new.keys():
            known = {"url", "x-region"} | PROSE
            yield from compare_extensions(f"server {name}", old[name], new[name], known)
            if old[name]["url"] != new[name]["url"]:
                what = f"has the URL {new[name]['url']} instead of {old[name]['url']}"
                yield Change(f"server {name}", what, Impact.BREAKING)

    def _security(self, where: str, old: list[Any] | None, new: list[Any] | None) -> Iterator[Change]:
        if old is None and new is None:
            return
        before, after = (
            {_requirement(alternative): alternative for alternative in alternatives or [{}]}
            for alternatives in (old, new)
        )
        yield from _added_and_removed(where, before, after, "security {}")

    def _paths(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
        before, after = _operations(old), _operations(new)
        yield from _added_and_removed("", before, after, "operation {}")
        for path in old.keys() & new.keys():
            yield from compare_extensions(path, old[path], new[path], {*METHODS, "parameters"} | PROSE)
        for name in before:
            if name in after:
                yield from self._operation(name, before[name], after[name])

    def _operation(self, where: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
        known = {"operationId", "parameters", "requestBody", "responses", "security"}
        yield from compare_extensions(where, old, new, known | PROSE)
        if old.get("operationId") != new.get("operationId"):
            what = f"has the operationId {new.get('operationId')} instead of {old.get('operationId')}"
            yield Change(where, what, Impact.BREAKING)
        yield from _deprecated(where, old, new)
        # One that is missing means that of the document.
        defaults = (document.root.get("security") for document in (self._old, self._new))
        securities = [
            operation.get("security", default)
            for operation, default in zip((old, new), defaults, strict=True)
        ]
        if "security" in old or "security" in new:
            yield from self._security(where, *securities)
        yield from self._parameters(where, old.get("parameters", []), new.get("parameters", []))
        yield from self._body(where, old.get("requestBody"), new.get("requestBody"))
        yield from self._responses(where, old.get("responses", {}), new.get("responses", {}))

    def _parameters(self, where: str, old: list[Any], new: list[Any]) -> Iterator[Change]:
        before, after = (
            {f"{parameter['in']} parameter {parameter['name']}": parameter for parameter in resolved}
            for resolved in (map(self._old.resolve, old), map(self._new.resolve, new))
        )
        known = {"name", "in", "required", "schema"} | PROSE
        for name in before.keys() - after.keys():
            yield Change(f"{where}, {name}", "was removed", Impact.BREAKING)
        for name, parameter in after.items():
            place = f"{where}, {name}"
            required = parameter.get("required", False)
            if name not in before:
                kind, impact = ("required", Impact.BREAKING) if required else ("optional", Impact.ADDITION)
                yield Change(place, f"was added, {kind}", impact)
                continue
            yield from _required(place, before[name], parameter)
            yield from _deprecated(place, before[name], parameter)
            yield from compare_extensions(place, before[name], parameter, known)
            schemas = before[name].get("schema", {}), parameter.get("schema", {})
            yield from self._sent.compare(place, *schemas)

    def _body(
        self, where: str, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None
    ) -> Iterator[Change]:
        place = f"{where}, request body"
        if old is None and new is not None:
            required = self._new.resolve(new).get("required", False)
            yield Change(place, "was added", Impact.BREAKING if required else Impact.ADDITION)
        elif old is not None and new is None:
            yield Change(place, "was removed", Impact.BREAKING)
        elif old is not None and new is not None:
            before, after = self._old.resolve(old), self._new.resolve(new)
            yield from _required(place, before, after)
            yield from self._content(place, before, after, request=True)

    def _responses(self, where: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
        old, new = ({str(status): value for status, value in responses.items()} for responses in (old, new))
        for status in sorted(old.keys() - new.keys()):
            # An error that no longer happens breaks nothing.
            impact = Impact.BREAKING if status.startswith("2") else Impact.HARMLESS
            yield Change(f"{where}, status {status}", "was removed", impact)
        for status in sorted(new.keys() - old.keys()):
            yield Change(f"{where}, status {status}", "was added", Impact.ADDITION)
        for status in sorted(old.keys() & new.keys()):
            place = f"{where}, status {status}"
            before, after = self._old.resolve(old[status]), self._new.resolve(new[status])
            yield from compare_extensions(place, before, after, {"content", "headers"} | PROSE)
            yield from self._headers(place, before.get("headers", {}), after.get("headers", {}))
            yield from self._content(place, before, after, request=False)

    def _headers(self, where: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
        yield from _added_and_removed(where, old, new, "header {}")
        for name in old.keys() & new.keys():
            place = f"{where}, header {name}"
            before, after = self._old.resolve(old[name]), self._new.resolve(new[name])
            was, is_required = before.get("required", False), after.get("required", False)
            if was != is_required:
                what, impact = ("required", Impact.HARMLESS) if is_required else ("optional", Impact.BREAKING)
                yield Change(place, f"is {what} now", impact)
            yield from _deprecated(place, before, after)
            yield from compare_extensions(place, before, after, {"required", "schema"} | PROSE)
            yield from self._received.compare(place, before.get("schema", {}), after.get("schema", {}))

    def _content(
        self, where: str, old: Mapping[str, Any], new: Mapping[str, Any], *, request: bool
    ) -> Iterator[Change]:
        comparison = self._sent if request else self._received
        before, after = old.get("content", {}), new.get("content", {})
        yield from _added_and_removed(where, before, after, "media type {}")
        for name in before:
            if name in after:
                yield from compare_extensions(
                    f"{where}, {name}", before[name], after[name], {"schema"} | PROSE
                )
                schemas = before[name].get("schema", {}), after[name].get("schema", {})
                yield from comparison.compare(where, *schemas)

    def _schemes(self) -> Iterator[Change]:
        old, new = (
            document.root.get("components", {}).get("securitySchemes", {})
            for document in (self._old, self._new)
        )
        yield from _added_and_removed("", old, new, "security scheme {}")
        for name in old.keys() & new.keys():
            before, after = dict(_leaves(old[name])), dict(_leaves(new[name]))
            where = f"security scheme {name}"
            yield from _added_and_removed(where, before, after, "{}")
            for key in before.keys() & after.keys():
                if before[key] != after[key] and ".scopes." not in key:  # the value is a scope's description
                    what = f"is {after[key]!r} instead of {before[key]!r}"
                    yield Change(f"{where}, {key}", what, Impact.BREAKING)


def _servers(servers: list[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return servers by their region, and by their URL if there is no region or another server of it."""
    found: dict[str, Mapping[str, Any]] = {}
    for server in servers:
        region = server.get("x-region", server["url"])
        found[region if region not in found else server["url"]] = server
    return found


def _operations(paths: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    operations: dict[str, Mapping[str, Any]] = {}
    for path, item in paths.items():
        shared = item.get("parameters", [])
        for method in METHODS:
            if method in item:
                own = item[method].get("parameters", [])
                operations[f"{method.upper()} {path}"] = {**item[method], "parameters": [*shared, *own]}
    return operations


def _requirement(alternative: Mapping[str, list[str]]) -> str:
    schemes = (f"{name}({', '.join(sorted(scopes))})" for name, scopes in sorted(alternative.items()))
    return " and ".join(schemes) or "none"


def _deprecated(where: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    if new.get("deprecated") and not old.get("deprecated"):
        yield Change(where, "is deprecated", Impact.ADDITION)


def _required(where: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    before, after = old.get("required", False), new.get("required", False)
    if before != after:
        what, impact = ("required", Impact.BREAKING) if after else ("optional", Impact.ADDITION)
        yield Change(where, f"is {what} now", impact)


def _added_and_removed(
    where: str, old: Mapping[str, Any], new: Mapping[str, Any], form: str
) -> Iterator[Change]:
    prefix = f"{where}, " if where else ""
    for name in old:
        if name not in new:
            yield Change(prefix + form.format(name), "was removed", Impact.BREAKING)
    for name in new:
        if name not in old:
            yield Change(prefix + form.format(name), "was added", Impact.ADDITION)


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key != "description" or path.endswith("scopes"):
                yield from _leaves(inner, f"{path}.{key}".strip("."))
    elif isinstance(value, list) and path.startswith("x-service-scopes"):
        for scope in value:
            yield f"{path}.{scope}", scope
    else:
        yield path, value


def _without_prose(value: Any, key: str = "") -> Any:
    """Return a copy without descriptions. The keys of some objects are names of the API, so they stay."""
    if isinstance(value, Mapping):
        if key == "scopes":
            return sorted(value)
        names = key in {"properties", "paths", "schemas"}
        return {
            inner: _without_prose(value[inner], "" if names else inner)
            for inner in value
            if names or inner not in PROSE | {"info"}
        }
    return [_without_prose(inner) for inner in value] if isinstance(value, list) else value


def compare_contracts(old: str, new: str) -> list[Change]:
    """Return the changes between two contracts.

    Args:
        old: The text of the earlier document, YAML or JSON.
        new: The text of the later one.
    """
    return list(Comparison(yaml.safe_load(old), yaml.safe_load(new)).changes())


def main() -> None:
    """Print the changes between two files, and fail if one of them breaks callers."""
    parser = argparse.ArgumentParser(description="Compare two versions of an OpenAPI 3.1 document.")
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    options = parser.parse_args()
    changes = compare_contracts(*(path.read_text(encoding="utf-8") for path in (options.old, options.new)))
    for change in changes:
        print(change)
    if any(change.impact is Impact.BREAKING for change in changes):
        sys.exit("The contract has changes that break callers.")


if __name__ == "__main__":
    main()
