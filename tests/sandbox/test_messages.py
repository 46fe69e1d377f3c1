import json

import pytest
from conformance import valid
from openapi_core.exceptions import OpenAPIError

from thrive_learning.sandbox import SandboxRequest, SandboxResponse
from thrive_learning.sandbox.messages import completed, error_response, json_response
from thrive_learning.sandbox.records import DEPARTING_IDS, seeded_records

GET = SandboxRequest("GET", "/rest/v1/activity/60d5ec49b60b4b3a2c8f9a10", {})


def test_a_status_without_a_name_is_an_error_like_any_other() -> None:
    response = error_response(520, "It has no name")

    assert (response.status, json.loads(response.body)["error"]) == (520, "Unknown")


def test_every_response_has_a_date_and_a_request_id() -> None:
    response = completed(json_response(200, {}), GET, 0)

    assert response.headers["date"] == "Thu, 01 Jan 1970 00:00:00 GMT"
    assert len(response.headers["x-request-id"]) == 32


@pytest.mark.parametrize(
    "response",
    [
        json_response(200, {}),
        json_response(200, {"id": "60d5ec49b60b4b3a2c8f9a10", "user": "ada"}),
        json_response(200, {"id": "60d5ec49b60b4b3a2c8f9a10", "with": []}),
        json_response(404, {"status": "404"}),
        json_response(418, {"status": 418}),
        SandboxResponse(200, {"content-type": "text/html"}, b"<p>"),
        SandboxResponse(200, {"content-type": "application/json"}, b"{"),
    ],
)
def test_a_response_that_breaks_the_contract_is_noticed(response: SandboxResponse) -> None:
    with pytest.raises(OpenAPIError):
        valid(GET, response)


LIST = SandboxRequest("GET", "/rest/v1/activities?page=2", {})
DEPARTING = seeded_records()[min(DEPARTING_IDS)]


@pytest.mark.parametrize(
    "response",
    [
        json_response(200, {}),
        json_response(200, {"results": {}}),
        json_response(200, {"results": [{"user": "a" * 24}]}),
        json_response(200, {"results": [], "pagination": {"totalPages": "1"}}),
        json_response(200, {"results": [DEPARTING, {"id": "a" * 24, "date": "yesterday"}]}),
        json_response(404, {"status": "404"}),
        json_response(409, {"status": 409}),
    ],
)
def test_a_page_that_breaks_the_contract_is_noticed(response: SandboxResponse) -> None:
    with pytest.raises(OpenAPIError):
        valid(LIST, response)


def test_deliberate_departures_are_allowed() -> None:
    valid(LIST, json_response(200, {"results": [DEPARTING, {"id": "a" * 24}]}))
    valid(GET, json_response(200, DEPARTING))


def test_undocumented_responses_are_not_compared_with_the_contract() -> None:
    for method, target in (("HEAD", LIST.target), ("get", LIST.target), ("GET", "/rest/v1/activitiesx")):
        valid(SandboxRequest(method, target, {}), json_response(418, {}))
