"""Whether a response is one that the contract allows, by openapi-core's reading of it."""

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
_ACTIVITY = re.compile(r"/rest/v1/activity/[^/?]+(?:\?.*)?", re.DOTALL)


class _Request:
    """A request as openapi-core reads it."""

    def __init__(self, request: SandboxRequest) -> None:
        self.method = request.method.lower()
        self.host_url = "http://sandbox.test"
        self.path = "/rest/v1/activity/x"  # what the id is has no say in what the response may be
        self.parameters = RequestParameters()
        self.content_type = ""
        self.body = b""


class _Response:
    """A response as openapi-core reads it."""

    def __init__(self, response: SandboxResponse) -> None:
        self.status_code = response.status
        self.headers = response.headers
        self.content_type = response.headers["content-type"]
        self.data = response.body


def is_described(request: SandboxRequest) -> bool:
    """Whether the contract describes this operation."""
    return request.method == "GET" and _ACTIVITY.fullmatch(request.target) is not None


def valid(request: SandboxRequest, response: SandboxResponse) -> SandboxResponse:
    """Return the response if the contract allows it, and raise what openapi-core raises if not.

    A record that breaks the contract on purpose is not checked.
    """
    departs = any(departing.encode() in response.body for departing in DEPARTING_IDS)
    if is_described(request) and not (departs and response.status == 200):
        OPENAPI.validate_response(_Request(request), _Response(response))
    return response
