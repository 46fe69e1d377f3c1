"""Whether a response is one that the contract allows, by openapi-core's reading of it."""

import json
import re
from pathlib import Path

import yaml
from openapi_core import Config, OpenAPI
from openapi_core.datatypes import RequestParameters

from thrive_learning.sandbox import SandboxRequest, SandboxResponse
from thrive_learning.sandbox.records import DEPARTING_IDS

CONTRACT = yaml.safe_load((Path(__file__).parents[1] / "openapi/thrive.yaml").read_text(encoding="utf-8"))
# Relative, so that it holds for whatever host a test names.
OPENAPI = OpenAPI.from_dict({**CONTRACT, "servers": [{"url": "/rest/v1"}]}, config=Config())
#: A path of the contract, and the targets of requests that it is for.
_TARGETS: dict[str, re.Pattern[str]] = {
    path: re.compile("/rest/v1" + re.sub(r"\\\{.+?\\\}", "[^/?]+", re.escape(path)) + r"(?:\?.*)?", re.DOTALL)
    for path in CONTRACT["paths"]
}


def path_of(request: SandboxRequest) -> str | None:
    """Return the path of the contract that a request is for; None if the contract does not describe it."""
    for path, target in _TARGETS.items():
        methods = {method.upper() for method in CONTRACT["paths"][path]}
        if request.method in methods and target.fullmatch(request.target):
            return path
    return None


class _Request:
    """A request as openapi-core reads it."""

    def __init__(self, request: SandboxRequest, path: str) -> None:
        self.method = request.method.lower()
        self.host_url = "http://sandbox.test"
        # The parameters do not affect the possible responses.
        self.path = "/rest/v1" + re.sub(r"\{[^}]+\}", "x", path)
        self.parameters = RequestParameters()
        self.content_type = ""
        self.body = b""


class _Response:
    """A response as openapi-core reads it."""

    def __init__(self, response: SandboxResponse, body: bytes) -> None:
        self.status_code = response.status
        self.headers = response.headers
        self.content_type = response.headers["content-type"]
        self.data = body


def valid(request: SandboxRequest, response: SandboxResponse) -> SandboxResponse:
    """Return the response if the contract allows it, and raise what openapi-core raises if not.

    Records that break the contract on purpose are not checked.
    """
    path = path_of(request)
    body = _without_departures(response.body) if response.status == 200 else response.body
    if path is not None and body is not None:
        OPENAPI.validate_response(_Request(request, path), _Response(response, body))
    return response


def _without_departures(body: bytes) -> bytes | None:
    """Return what is to be checked of a record or a page; None if it is nothing."""
    if not any(record_id.encode() in body for record_id in DEPARTING_IDS):
        return body
    content = json.loads(body)
    if "results" not in content:
        return None
    results = [record for record in content["results"] if record["id"] not in DEPARTING_IDS]
    return json.dumps({**content, "results": results}).encode()
