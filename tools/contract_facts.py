"""Writes the contract's facts that the generated client lacks beside it, as a module of plain data.

`contract_checks` refuses what the generator ignores, and what the SDK does not read.
"""

import re
from collections.abc import Iterator
from typing import Any

from tools.contract_checks import problems_of
from tools.contract_walk import (
    ContractError,
    choices_of,
    kinds_of,
    module_name,
    operations_of,
    public_name,
    resolved,
    success_schema,
)

#: Source: RFC 9110 section 9.2.1. OpenAPI has no other safe methods that this SDK could use.
SAFE_METHODS = frozenset({"get", "head"})

_TYPES = {"string": "str", "integer": "int", "number": "float", "boolean": "bool"}
_FORMATS = {"date-time": "dt.datetime", "date": "dt.date", "uuid": "uuid.UUID"}

_HEADER = '''"""The contract's facts that the generated client lacks, written by tools/contract_facts.py."""

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
        model: The schema of that object, or of the items of that array; None if its fields are not described.
        errors: The statuses of the documented errors.
        is_idempotent: Whether it may be sent again after it may have been processed.
    """

    method: str
    path: str
    successes: dict[int, str]
    model: str | None
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


def module_of(contract: Any) -> str:
    """Return the text of the module.

    Args:
        contract: The OpenAPI document.

    Raises:
        ContractError: The contract uses something that the generator ignores, or that the SDK does not read.
    """
    if not isinstance(contract, dict) or not {"paths", "components"} <= {*contract}:
        raise ContractError("it is not an OpenAPI document with paths and components. Correct the file.")
    problems = [*problems_of(contract)]
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


def _operations(contract: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for path, method, operation in operations_of(contract):
        responses = {int(status): response for status, response in operation["responses"].items()}
        successes: dict[int, str] = {}
        model = None
        for status in filter(_is_success, responses):
            schema = success_schema(contract, responses[status])
            body = {} if schema is None else resolved(contract, schema)
            successes[status] = body.get("type", "nothing")
            described = body.get("items", schema)
            model = model if described is None else described["$ref"].rsplit("/", 1)[-1]
        errors = tuple(status for status in responses if not _is_success(status))
        is_idempotent = method in SAFE_METHODS or operation.get("x-idempotent") is True
        facts = f"{method.upper()!r}, {path!r}, {successes}, {model!r}, {errors}, {is_idempotent}"
        yield module_name(operation["operationId"]), f"OperationFacts({facts})"


def _is_success(status: int) -> bool:
    return 200 <= status <= 299  # RFC 9110 section 15.3


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
    name = public_name(wire_name) if wire_name else ""
    types: dict[str, None] = {}
    more: dict[str, str] = {}
    for reference, choice in choices_of(contract, schema):
        types |= dict.fromkeys(kinds_of(choice))
        if "enum" in choice:
            more["values"] = f"{{str(value): value for value in {reference}}}"
        elif "format" in choice:
            more["form"] = repr(choice["format"])
        elif "properties" in choice:
            more["model"] = repr(reference)
        elif "items" in choice:
            more["items"] = _field(contract, choice["items"])
    if is_required:
        more["is_required"] = "True"
    given = "".join(f", {argument}={value}" for argument, value in more.items())
    return f"FieldFacts({name!r}, {wire_name!r}, {tuple(types)}{given})"


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
            yield f"    {public_name(wire_name)}: {' | '.join(kinds)}\n"


def _annotations(contract: dict[str, Any], schema: dict[str, Any]) -> Iterator[str]:
    """Return the types of Python that the values of a field have."""
    for reference, choice in choices_of(contract, schema):
        for kind in kinds_of(choice):
            if kind == "null":
                yield "None"
            elif "enum" in choice:
                yield reference
            elif kind == "array":
                yield f"tuple[{' | '.join(dict.fromkeys(_annotations(contract, choice['items'])))}, ...]"
            elif kind == "object":
                # Models are those of the facade, which generated code does not import.
                yield "Any" if "properties" in choice else "dict[str, Any]"
            else:
                yield (_FORMATS if kind == "string" else {}).get(choice.get("format", ""), _TYPES[kind])
