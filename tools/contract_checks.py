"""Parts that a contract must not use, because the generator ignores them or this SDK does not support them.

Each problem says what to write instead. Otherwise the client would send something else than the contract
says, or read None from a field that is there, and nothing would fail.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from tools.contract_walk import (
    choices_of,
    class_name,
    kinds_of,
    module_name,
    names_of_values,
    operations_of,
    public_name,
    resolved,
    success_schema,
)

#: The names that models have apart from their fields. A test compares them with the class.
NAMES_OF_MODELS = frozenset({"from_dict", "problems", "received", "self", "to_dict", "to_json"})

_METHODS = frozenset({"get", "head", "post", "put", "patch", "delete"})
_KINDS = frozenset({"string", "integer", "number", "boolean", "null", "array", "object"})
_BODIES = frozenset({"application/json", "application/x-www-form-urlencoded"})
#: Source: OpenAPI 3.1.1 section 4.8.12.1 for the first three; the others are the SDK's own.
_RESERVED_HEADERS = frozenset(
    {"accept", "content-type", "authorization", "accept-encoding", "content-length", "host", "user-agent"}
)
_STYLES = {"query": "form", "path": "simple", "header": "simple"}


def problems_of(contract: dict[str, Any]) -> Iterator[str]:
    """Yield the unsupported parts, each with what to write instead."""
    modules: list[str] = []
    for path, method, operation in operations_of(contract):
        where = f"{method.upper()} {path}"
        if method not in _METHODS:
            yield f"{where}: the SDK does not send {method.upper()}. Remove it."
        if "servers" in operation or "servers" in contract["paths"][path]:
            yield f"{where}: the generator ignores servers of an operation. Name them at the top alone."
        if "operationId" in operation:
            modules.append(module_name(operation["operationId"]))
        else:
            yield f"{where} has no operationId. Name it, such as getActivity."
        yield from _problems_of_responses(where, operation["responses"], contract)
        for parameter in operation["parameters"]:
            yield from _problems_of_parameter(where, resolved(contract, parameter), contract)
        yield from _problems_of_body(where, operation, contract)
    for module in _repeated(modules):
        yield f"two operations become the module {module}. Rename one of them."
    for name, schema in contract["components"]["schemas"].items():
        yield from _problems_of_schema(name, schema, contract)


def _problems_of_responses(where: str, responses: dict[Any, Any], contract: dict[str, Any]) -> Iterator[str]:
    successes = [response for status, response in responses.items() if str(status).startswith("2")]
    if not successes:
        yield f"{where} documents no success. Add a response such as '200'."
    if len({repr(success_schema(contract, response)) for response in successes}) > 1:
        yield f"{where}: its successes have several schemas. Leave one of them, which the SDK reads."
    for status, response in responses.items():
        if not re.fullmatch(r"[1-5]\d\d", str(status)):
            yield f"{where} documents the response {status!r}. Name single statuses, such as '404'."
        elif str(status).startswith("2"):
            yield from _problems_of_success(f"{where}, response {status}", response, contract)


def _problems_of_success(where: str, response: dict[str, Any], contract: dict[str, Any]) -> Iterator[str]:
    if len(resolved(contract, response).get("content", ())) > 1:
        yield f"{where}: the generator ignores all content types but one. Leave application/json alone."
    schema = success_schema(contract, response)
    if schema is None:
        return
    target = resolved(contract, schema)
    kinds = kinds_of(target)
    if kinds not in (["object"], ["array"]):
        yield f"{where}: its body is neither a JSON object nor an array. The SDK does not read others."
    elif kinds == ["object"] and "$ref" not in schema:
        yield f"{where} describes its body in place. Move the schema to components/schemas."
    elif kinds == ["array"] and "$ref" not in target.get("items", {}):
        yield f"{where} describes its items in place. Move their schema to components/schemas."


def _problems_of_parameter(where: str, parameter: dict[str, Any], contract: dict[str, Any]) -> Iterator[str]:
    name, place = parameter["name"], parameter["in"]
    style = parameter.get("style")
    if place not in _STYLES:
        yield f"{where}: the SDK does not send the parameter {name} in a {place}. Remove it."
    elif style not in {None, _STYLES[place]}:
        yield f"{where}: the generator ignores style: {style} of {name}. Leave it out."
    if place == "header" and name.lower() in _RESERVED_HEADERS:
        yield f"{where}: the SDK sends the header {name} itself. Remove the parameter."
    if "schema" not in parameter:
        yield f"{where}: the generator ignores {name}, which has no schema. Give it one."
        return
    schema = resolved(contract, parameter["schema"])
    kinds = kinds_of(schema)
    if "array" in kinds and parameter.get("explode") is False:
        yield (
            f"{where}: the generator ignores explode: false of {name}, and sends {name}=a&{name}=b. Describe "
            "it as a string of values that are separated by commas, and join them in the facade."
        )
    elif "array" in kinds and place == "header":
        yield f"{where}: the generator does not join the values of {name}. Describe it as a string."
    if "object" in kinds or "properties" in schema:
        yield f"{where}: the parameter {name} is an object. Name each of its members as a parameter."
    if parameter.get("allowReserved"):
        yield f"{where}: the generator ignores allowReserved of {name}. Leave it out."


def _problems_of_body(where: str, operation: dict[str, Any], contract: dict[str, Any]) -> Iterator[str]:
    content = resolved(contract, operation.get("requestBody", {})).get("content", {})
    if not content.keys() <= _BODIES:
        yield f"{where}: the SDK sends {' or '.join(sorted(_BODIES))}, not {', '.join(content)}."
    elif len(content) > 1:
        yield f"{where}: the body may be of several types. Leave one of them."
    for media_type, described in content.items():
        if "encoding" in described:
            yield f"{where}: the generator ignores the encoding of {media_type}. Leave it out."
        schema = described.get("schema", {})
        if "$ref" not in schema and "$ref" not in schema.get("items", {}):
            yield f"{where} describes its body in place. Move the schema to components/schemas."


def _problems_of_schema(name: str, schema: dict[str, Any], contract: dict[str, Any]) -> Iterator[str]:
    generated = class_name(schema.get("title") or name)
    if generated != name:
        yield f"{name}: the generator calls its class {generated}. Name the schema so, without a title."
    if "allOf" in schema:
        yield f"{name} is a combination of schemas (allOf). Write out its properties."
    if "enum" in schema:
        yield from _problems_of_enum(name, schema)
    if not isinstance(schema.get("additionalProperties", True), bool):
        yield f"{name}: the SDK does not read described additionalProperties. Write true."
    properties: dict[str, Any] = schema.get("properties", {})
    for attribute in _repeated(map(public_name, properties)):
        yield f"{name}: two properties become the attribute {attribute}. Remove one of them."
    for wire_name, of_field in properties.items():
        if public_name(wire_name) in NAMES_OF_MODELS:
            yield f"{name}.{wire_name} has a name that every model uses. The SDK cannot read the field."
        yield from _problems_of_value(f"{name}.{wire_name}", of_field, contract)


def _problems_of_value(where: str, schema: dict[str, Any], contract: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with a field, or with its items."""
    if len(schema.get("allOf", ())) > 1:
        yield f"{where} is a combination of schemas (allOf). Move it to components/schemas, and write it out."
        return
    choices = [*choices_of(contract, schema)]
    for reference, choice in choices:
        if not reference and ("enum" in choice or "properties" in choice):
            yield (
                f"{where} describes its values in place. Move them to components/schemas, and refer to them "
                "there."
            )
        yield from _problems_of_choice(where, choice)
        if "items" in choice:
            yield from _problems_of_value(f"{where}[]", choice["items"], contract)
    for word, described in _SINGLE.items():
        if len({repr(choice[word]) for _, choice in choices if word in choice}) > 1:
            yield f"{where} may be one of several {described}, and the SDK reads one. Leave one of them."
    texts = [choice for _, choice in choices if "string" in kinds_of(choice) and "enum" not in choice]
    if len({choice.get("format") for choice in texts}) > 1:
        yield f"{where} may be text of several formats, and the SDK reads one. Leave one of them."


def _problems_of_choice(where: str, choice: dict[str, Any]) -> Iterator[str]:
    kinds = kinds_of(choice)
    if not kinds or not _KINDS.issuperset(kinds):
        yield f"{where} has no type, or an unknown one. Choose one of {', '.join(sorted(_KINDS))}."
    if "array" in kinds and "items" not in choice:
        yield f"{where} has no items. Describe them."
    if choice.get("format") == "binary":
        yield f"{where}: JSON has no binary data. Remove its format."
    for word, instead in _UNREAD.items():
        if word in choice:
            yield f"{where}: the SDK does not read {word}. {instead}"


#: Keywords that would change the values of a field, and are not supported.
_UNREAD = {
    "const": "Write an enum in components/schemas.",
    "nullable": "OpenAPI 3.1 says type: [string, 'null'].",
    "additionalItems": "Describe all items.",
    "prefixItems": "Describe all items.",
}

#: Keywords that at most one of the choices of a field may have.
_SINGLE = {"properties": "objects", "enum": "enums", "items": "arrays"}


def _problems_of_enum(name: str, schema: dict[str, Any]) -> Iterator[str]:
    values = schema["enum"]
    if kinds_of(schema) not in (["string"], ["integer"]):
        yield f"{name}: the type of an enum is string or integer. Allow null in the field that refers to it."
        return
    if len(schema.get("x-enum-varnames", values)) != len(values):
        yield f"{name}: the generator ignores x-enum-varnames without a name for each value. Complete it."
    names = names_of_values(schema)
    nameless = [repr(value) for value, given in zip(values, names, strict=True) if not given.isidentifier()]
    if nameless:
        yield (
            f"{name}: the generator names the value {', '.join(nameless)} by its position, so that a value "
            "before it would rename it, or gives it a name that Python does not accept. Name all values with "
            "x-enum-varnames."
        )
    for repeated in _repeated(filter(None, names)):
        yield f"{name}: two values become {repeated}. Name all values with x-enum-varnames."


def _repeated(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]
