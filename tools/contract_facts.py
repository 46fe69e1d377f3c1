"""What the contract says and the generated client does not: written beside it, as a module of plain data.

The generator ignores some constructs of OpenAPI without a warning. A contract that uses one is refused here,
so that nobody ships a client that sends something else than the contract says.
"""

import keyword
import re
from collections.abc import Iterator
from typing import Any

#: Source: RFC 9110 section 9.2.1. OpenAPI has no other safe methods that this SDK could use.
SAFE_METHODS = frozenset({"get", "head"})

_METHODS = ("get", "head", "post", "put", "patch", "delete")
_TYPES = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
_FORMATS = {"date-time": "dt.datetime", "date": "dt.date", "uuid": "uuid.UUID"}

_HEADER = '''"""What the contract says and the generated client does not; by tools/contract_facts.py."""

import datetime as dt
import uuid
from typing import Any, Final, NamedTuple, TypedDict

{imports}

class OperationFacts(NamedTuple):
    """One operation, as the contract describes it.

    Attributes:
        method: The HTTP method, in capitals.
        path: The path template.
        successes: What the body of each documented success holds: "object", "array", or "nothing".
        errors: The statuses of the documented errors.
        is_idempotent: Whether it may be sent again after it may have been processed.
    """

    method: str
    path: str
    successes: dict[int, str]
    errors: tuple[int, ...]
    is_idempotent: bool


class FieldFacts(NamedTuple):
    """One field of a model, or the items of an array, as the contract describes it.

    Attributes:
        name: The name of the attribute; empty for items.
        wire_name: The name in JSON; empty for items.
        json_types: The JSON types that its value may have.
        form: The format of a string, such as "date-time"; empty if it has none.
        values: The documented values by their text; None if any value is in order.
        model: The name of the model that an object is; None if its content is not described.
        items: What the items of an array are; None if they are not described.
        is_required: Whether every response must have it.
    """

    name: str
    wire_name: str
    json_types: tuple[str, ...]
    form: str = ""
    values: dict[str, Any] | None = None
    model: str | None = None
    items: "FieldFacts | None" = None
    is_required: bool = False


#: The operations, by the names of the modules that the generator writes for them.
OPERATIONS: Final[dict[str, OperationFacts]] = {
'''

_MODELS = "MODELS: Final[dict[str, tuple[FieldFacts, ...]]] = "


class ContractError(Exception):
    """The contract uses something that the generator or this SDK does not support."""


def module_of(contract: dict[str, Any]) -> str:
    """Return the text of the module.

    Args:
        contract: The OpenAPI document.

    Raises:
        ContractError: The contract uses something that the generator ignores, or that the SDK does not read.
    """
    problems = [*_problems(contract)]
    if problems:
        raise ContractError("\n".join(problems))
    operations = "".join(f"    {name!r}: {facts},\n" for name, facts in _operations(contract))
    models = "".join(f"    {name!r}: ({fields}),\n" for name, fields in _models(contract))
    models = f"\n#: The fields of the models, by the names of the schemas.\n{_MODELS}{{\n{models}}}\n"
    fields = "".join(_typed_dicts(contract))
    enums = [name for name, schema in contract["components"]["schemas"].items() if "enum" in schema]
    used = [name for name in enums if re.search(rf"\b{name}\b", models + fields)]
    imports = f"from .models import {', '.join(used)}\n" if used else ""
    return f"{_HEADER.replace('{imports}', imports)}{operations}}}\n{models}{fields}"


def operations_of(contract: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Return path, method, and description of each operation."""
    for path, item in contract["paths"].items():
        for method in _METHODS:
            if method in item:
                shared = item.get("parameters", [])
                operation = item[method]
                yield path, method, {**operation, "parameters": [*shared, *operation.get("parameters", [])]}


def resolved(contract: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    """Return what a reference within the contract stands for, and anything else as it is."""
    while "$ref" in node:
        target: Any = contract
        for name in node["$ref"].removeprefix("#/").split("/"):
            target = target[name]
        node = target
    return node


def _operations(contract: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for path, method, operation in operations_of(contract):
        successes = {
            int(status): _body_of(contract, resolved(contract, response))
            for status, response in operation["responses"].items()
            if status.startswith("2")
        }
        errors = tuple(int(status) for status in operation["responses"] if not status.startswith("2"))
        is_idempotent = method in SAFE_METHODS or operation.get("x-idempotent") is True
        facts = f"OperationFacts({method.upper()!r}, {path!r}, {successes}, {errors}, {is_idempotent})"
        yield snake_case(operation["operationId"]), facts


def snake_case(name: str) -> str:
    """Return a name as the generator writes those of modules and arguments."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _body_of(contract: dict[str, Any], response: dict[str, Any]) -> str:
    content = response.get("content")
    if not content:
        return "nothing"
    schema = resolved(contract, content.get("application/json", {}).get("schema", {}))
    return str(schema.get("type"))


def _problems(contract: dict[str, Any]) -> Iterator[str]:
    """Say what is not supported, and what to write in its place."""
    for path, method, operation in operations_of(contract):
        where = f"{method.upper()} {path}"
        if "operationId" not in operation:
            yield f"{where} has no operationId. Name it, such as getActivity."
        yield from _problems_of_responses(where, operation["responses"], contract)
        for parameter in operation["parameters"]:
            yield from _problems_of_parameter(where, resolved(contract, parameter), contract)
    for name, schema in contract["components"]["schemas"].items():
        yield from _problems_of_enum(name, schema)
        for wire_name, of_field in schema.get("properties", {}).items():
            for reference, choice in _choices(contract, of_field):
                if not reference and ("enum" in choice or "properties" in choice):
                    yield (
                        f"{name}.{wire_name} describes its values in place. Move them to components/schemas, "
                        "and refer to them there."
                    )


def _problems_of_responses(where: str, responses: dict[str, Any], contract: dict[str, Any]) -> Iterator[str]:
    if not any(status.startswith("2") for status in responses):
        yield f"{where} documents no success. Add a response such as '200'."
    for status, response in responses.items():
        if not re.fullmatch(r"[1-5]\d\d", status):
            yield f"{where} documents the response {status!r}. Name single statuses, such as '404'."
        elif status.startswith("2"):
            body = _body_of(contract, resolved(contract, response))
            if body not in {"object", "array", "nothing"}:
                yield (
                    f"{where} answers {status} with a body that is neither an object nor an array of "
                    "JSON. The SDK does not read others."
                )


def _problems_of_parameter(where: str, parameter: dict[str, Any], contract: dict[str, Any]) -> Iterator[str]:
    name, place = parameter["name"], parameter["in"]
    style = parameter.get("style")
    if style not in {None, {"query": "form", "path": "simple"}.get(place)}:
        yield f"{where}: the generator ignores style: {style} of {name}. Leave it out."
    schema = resolved(contract, parameter.get("schema", {}))
    if schema.get("type") == "array" and parameter.get("explode") is False:
        yield (
            f"{where}: the generator ignores explode: false of {name}, and sends {name}=a&{name}=b. Describe "
            "it as a string of values that are separated by commas, and join them in the facade."
        )
    if parameter.get("allowReserved"):
        yield f"{where}: the generator ignores allowReserved of {name}. Leave it out."


def _problems_of_enum(name: str, schema: dict[str, Any]) -> Iterator[str]:
    values = [value for value in schema.get("enum", ()) if isinstance(value, str)]
    nameless = [value for value in values if not value.replace("-", "_").replace(" ", "_").isidentifier()]
    if nameless and len(schema.get("x-enum-varnames", ())) != len(schema["enum"]):
        yield (
            f"{name}: the generator names the values {', '.join(map(repr, nameless))} by their position, so "
            "that a value before them would rename them. Name all values with x-enum-varnames."
        )


def _models(contract: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, schema in contract["components"]["schemas"].items():
        if "properties" in schema:
            required = schema.get("required", ())
            fields = (
                _field(contract, of_field, wire_name, is_required=wire_name in required)
                for wire_name, of_field in schema["properties"].items()
            )
            yield name, "".join(f"{field}, " for field in fields)


def _field(
    contract: dict[str, Any], schema: dict[str, Any], wire_name: str = "", *, is_required: bool = False
) -> str:
    """Return the description of a field, or of the items of an array, as Python source."""
    name = public_name(snake_case(wire_name)) if wire_name else ""
    types: dict[str, None] = {}
    more = ""
    for reference, choice in _choices(contract, schema):
        kinds = choice.get("type", [])
        types |= dict.fromkeys([kinds] if isinstance(kinds, str) else kinds)
        if "enum" in choice:
            more += f", values={{str(value): value for value in {reference}}}"
        elif "format" in choice:
            more += f", form={choice['format']!r}"
        elif "properties" in choice:
            more += f", model={reference!r}"
        elif "items" in choice:
            more += f", items={_field(contract, choice['items'])}"
    more += ", is_required=True" if is_required else ""
    return f"FieldFacts({name!r}, {wire_name!r}, {tuple(types)}{more})"


def _choices(contract: dict[str, Any], schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return each schema that a value may follow, and the name of that schema, if it has one."""
    reference = schema.get("$ref", "").rsplit("/", 1)[-1]
    schema = resolved(contract, schema)
    choices = [*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())]
    for choice in choices:
        yield from _choices(contract, choice)
    if not choices:
        yield reference, schema


def _typed_dicts(contract: dict[str, Any]) -> Iterator[str]:
    """Return a class for each kind of record, whose fields a test may name."""
    for name, schema in contract["components"]["schemas"].items():
        properties = schema.get("properties", {})
        if "id" not in properties:
            continue
        yield f'\n\nclass {name}Fields(TypedDict, total=False):\n    """The fields of a record."""\n\n'
        for wire_name, of_field in properties.items():
            kinds = dict.fromkeys(_annotations(contract, of_field))
            if wire_name not in schema.get("required", ()):
                kinds["None"] = None
            yield f"    {public_name(snake_case(wire_name))}: {' | '.join(kinds)}\n"


def public_name(name: str) -> str:
    """Return the name of an attribute: with an underscore at its end only where Python has the keyword."""
    plain = name.removesuffix("_")
    return f"{plain}_" if keyword.iskeyword(plain) else plain


def _annotations(contract: dict[str, Any], schema: dict[str, Any]) -> Iterator[str]:
    """Return the types of Python that the values of a field have."""
    for reference, choice in _choices(contract, schema):
        kinds = choice.get("type", [])
        for kind in [kinds] if isinstance(kinds, str) else kinds:
            if "enum" in choice:
                yield reference
            elif kind == "array":
                yield f"tuple[{' | '.join(dict.fromkeys(_annotations(contract, choice['items'])))}, ...]"
            elif kind == "object":
                yield reference if "properties" in choice else "dict[str, Any]"
            else:
                yield _FORMATS.get(choice.get("format", ""), _TYPES[kind])
