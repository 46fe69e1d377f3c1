"""The contract as the sandbox's server shows it. It needs the extra `sandbox`, for YAML."""

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from thrive_learning.sandbox.core import Sandbox

#: The paths of the contract in a wheel and in a checkout.
_PLACES = (Path(__file__).with_name("thrive.yaml"), Path(__file__).parents[3] / "openapi" / "thrive.yaml")


@functools.cache
def _text() -> str:
    return next(place for place in _PLACES if place.is_file()).read_text(encoding="utf-8")


def _operations(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the operations, which are the only objects with responses."""
    for path in document["paths"].values():
        yield from (value for value in path.values() if "responses" in value)


def served_contract(url: str, sandbox: Sandbox, example_id: str) -> str:
    """Return the contract as YAML, with this server instead of the vendor's.

    Operations succeed with their default values: the example of an ID is that of a record in the sandbox, and
    filters have no examples.

    Args:
        url: The URL of the server, without a slash at the end.
        sandbox: The sandbox, whose tenant is in the token URL.
        example_id: The ID of a record in the sandbox.

    Source:
        openapi/thrive.yaml
    """
    document: dict[str, Any] = yaml.safe_load(_text())
    document["servers"] = [{"url": f"{url}/rest/v1", "description": "This sandbox", "x-region": "sandbox"}]
    for operation in _operations(document):
        for parameter in operation.get("parameters", ()):
            parameter.pop("example", None)
            if (parameter["in"], parameter["name"]) == ("path", "id"):
                parameter["example"] = example_id
    oauth2 = document["components"]["securitySchemes"]["oauth2"]
    tenant = quote(sandbox.tenant_id, safe="")
    oauth2["flows"]["clientCredentials"]["tokenUrl"] = f"{url}/oauth2/token/{tenant}"
    oauth2["x-token-urls"] = {
        "sandbox": {
            "api": f"{url}/oauth2/token/:tenantId",
            "webhooks": f"{url}/webhooks/oauth2/token/:tenantId",
        }
    }
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
