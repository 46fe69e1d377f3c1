"""Renders openapi/thrive.yaml as Markdown. Pure.

The contract uses a small part of OpenAPI 3.1 (`tools.contract_facts` rejects the rest), so this is shorter
than the configuration of a renderer, and the page loads no script.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any


def render(contract: Mapping[str, Any]) -> str:
    """Return the contract as Markdown: servers, authentication, operations, and schemas.

    Args:
        contract: The document, as YAML is read.
    """
    return "\n\n".join(
        [
            *_servers(contract),
            *_authentication(contract),
            *_operations(contract),
            *_schemas(contract["components"]["schemas"]),
        ]
    )


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    cells = [list(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    cells.insert(1, ["---"] * len(cells[0]))
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def _code(value: object) -> str:
    return f"`{value}`"


def _servers(contract: Mapping[str, Any]) -> list[str]:
    rows = ([_code(server["x-region"]), _code(server["url"])] for server in contract["servers"])
    return ["## Servers", _table(["Region", "URL"], rows)]


def _authentication(contract: Mapping[str, Any]) -> list[str]:
    parts = ["## Authentication"]
    for name, scheme in contract["components"]["securitySchemes"].items():
        parts += [f"### {name}", scheme["description"].strip()]
        for flow in scheme.get("flows", {}).values():
            rows = [[_code(scope), text] for scope, text in flow["scopes"].items()]
            parts.append(_table(["Scope", "Allows"], rows))
        urls = scheme.get("x-token-urls", {})
        rows = [
            [_code(region), service, _code(url)]
            for region, services in urls.items()
            for service, url in services.items()
        ]
        if rows:
            parts.append(_table(["Region", "Service", "Token URL"], rows))
    return parts


def _operations(contract: Mapping[str, Any]) -> list[str]:
    parts = ["## Operations"]
    for path, item in contract["paths"].items():
        for method, operation in item.items():
            parts += [
                f"### {operation['operationId']}",
                f"`{method.upper()} {path}`",
                operation["description"].strip(),
            ]
            if "parameters" in operation:
                rows = [_parameter(parameter) for parameter in operation["parameters"]]
                parts.append(_table(["Parameter", "Type", "Description"], rows))
            responses = {
                status: _resolve(contract, response) for status, response in operation["responses"].items()
            }
            rows = [
                [_code(status), response["description"], _body(response)]
                for status, response in responses.items()
            ]
            parts.append(_table(["Status", "Description", "Body"], rows))
            for status, response in responses.items():
                parts += _examples(status, response)
    return parts


def _parameter(parameter: Mapping[str, Any]) -> list[str]:
    required = ", required" if parameter.get("required") else ""
    name = f"{_code(parameter['name'])} ({parameter['in']}{required})"
    text = parameter["description"]
    if "example" in parameter:
        text += f" Example: `{parameter['example']}`."
    return [name, _type(parameter["schema"]), text]


def _resolve(contract: Mapping[str, Any], value: Mapping[str, Any]) -> Any:
    if "$ref" not in value:
        return value
    found: Any = contract
    for part in value["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return found


def _body(response: Mapping[str, Any]) -> str:
    return ", ".join(_type(content["schema"]) for content in response.get("content", {}).values())


def _examples(status: str, response: Mapping[str, Any]) -> list[str]:
    return [
        f"An example of a {status}:\n\n```json\n{json.dumps(example['value'], indent=2)}\n```"
        for content in response.get("content", {}).values()
        for example in content.get("examples", {}).values()
    ]


def _type(schema: Mapping[str, Any]) -> str:
    """Return the type of a schema in a few words, with a link to a named one."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_type(choice) for choice in schema["anyOf"])
    if schema["type"] == "array":
        return f"array of {_type(schema['items'])}"
    limits = [
        f"{word} {_code(schema[key])}" if key in {"pattern", "format"} else f"{word} {schema[key]:,}"
        for key, word in {
            "format": "format",
            "pattern": "pattern",
            "minimum": "at least",
            "maximum": "at most",
            "maxLength": "at most this many characters:",
            "default": "by default",
        }.items()
        if key in schema
    ]
    return ", ".join([schema["type"], *limits])


def _schemas(schemas: Mapping[str, Any]) -> list[str]:
    parts = ["## Schemas"]
    for name, schema in schemas.items():
        parts += [f"### {name}", schema["description"].strip()]
        if "enum" in schema:
            parts.append(", ".join(_code(value) for value in schema["enum"]))
        required = schema.get("required", ())
        rows = [
            [
                _code(field) + (" (required)" if field in required else ""),
                _type(value),
                value.get("description", ""),
            ]
            for field, value in schema.get("properties", {}).items()
        ]
        if rows:
            parts.append(_table(["Field", "Type", "Description"], rows))
        if schema.get("additionalProperties"):
            parts.append("Other fields may be present.")
    return parts
