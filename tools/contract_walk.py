"""Reads the contract: its operations, its references, and the names that the generator makes of its names.

The generator itself makes those names, so that they cannot differ from those in its modules. It is pinned.
"""

import keyword
from collections.abc import Iterator
from typing import Any

from openapi_python_client import strings

_METHODS = ("get", "head", "post", "put", "patch", "delete", "options", "trace")
_PREFIX = "field_"  # the generator's default, for names that Python does not accept


class ContractError(Exception):
    """The contract uses something that the generator or this SDK does not support."""


def operations_of(contract: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Return path, method, and description of each operation, with the parameters of its path."""
    for path, item in contract["paths"].items():
        for method in _METHODS:
            if method in item:
                shared = item.get("parameters", [])
                operation = item[method]
                yield path, method, {**operation, "parameters": [*shared, *operation.get("parameters", [])]}


def resolved(contract: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    """Return the target of a reference within the contract, and anything else as it is.

    Raises:
        ContractError: The reference has no target.
    """
    followed: list[str] = []
    while "$ref" in node:
        reference = node["$ref"]
        if reference in followed:
            raise ContractError(f"{reference} refers to itself. Write out what it stands for.")
        followed.append(reference)
        target: Any = contract
        for name in reference.removeprefix("#/").split("/"):
            key = name.replace("~1", "/").replace("~0", "~")
            target = target.get(key) if isinstance(target, dict) else None
        if not isinstance(target, dict):
            raise ContractError(f"{reference} is not in the contract. Correct the reference, or add it.")
        node = target
    return node


def choices_of(contract: dict[str, Any], schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return each schema that a value may follow, and the name of that schema, or nothing if it has none."""
    reference = schema.get("$ref", "").rsplit("/", 1)[-1]
    schema = resolved(contract, schema)
    choices = [*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())]
    for choice in choices:
        yield from choices_of(contract, choice)
    if not choices:
        yield reference, schema


def kinds_of(schema: dict[str, Any]) -> list[str]:
    """Return the JSON types of a schema, of which OpenAPI 3.1 allows one or several."""
    kinds = schema.get("type", [])
    return [kinds] if isinstance(kinds, str) else list(kinds)


def success_schema(contract: dict[str, Any], response: dict[str, Any]) -> dict[str, Any] | None:
    """Return the schema of a response's JSON, not resolved; None if the response has no content."""
    content = resolved(contract, response).get("content")
    if not content:
        return None
    schema: dict[str, Any] = content.get("application/json", {}).get("schema", {})
    return schema


def module_name(operation_id: str) -> str:
    """Return the name of the module that the generator writes for an operation."""
    return strings.PythonIdentifier(operation_id, _PREFIX)


def class_name(schema: str) -> str:
    """Return the name of the class that the generator writes for a schema."""
    return strings.ClassName(schema, _PREFIX)


def public_name(wire_name: str) -> str:
    """Return the name of an attribute: as generated, with an underscore at its end only behind a keyword."""
    plain = strings.PythonIdentifier(wire_name, _PREFIX).removesuffix("_")
    return f"{plain}_" if keyword.iskeyword(plain) else plain


def names_of_values(schema: dict[str, Any]) -> list[str]:
    """Return the names of an enum's values, in order. A name that depends on the position is empty."""
    values, names = schema["enum"], schema.get("x-enum-varnames", ())
    if len(names) == len(values):
        return [strings.snake_case(name).upper() for name in names]
    return [_name_of_value(value) for value in values]


def _name_of_value(value: object) -> str:
    if isinstance(value, int):
        return f"VALUE_{value}" if value >= 0 else f"VALUE_NEGATIVE_{-value}"
    text = str(value)
    return strings.snake_case(text.upper()).upper() if text[:1].isalpha() else ""
