"""Lists of records from the fixture `thrive_sandbox`."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from thrive_learning import ThriveClient
from thrive_learning.sandbox import SandboxRequest
from thrive_learning.testing import ThriveSandbox


def listed(sandbox: ThriveSandbox, query: str = "perPage=1000") -> dict[str, Any]:
    core = sandbox.sandbox
    form = {"client_id": core.tenant_id, "client_secret": core.api_secret, "grant_type": "client_credentials"}
    token_request = SandboxRequest(
        "POST",
        f"/oauth2/token/{core.tenant_id}",
        {"content-type": "application/x-www-form-urlencoded"},
        urlencode(form).encode(),
    )
    token = json.loads(sandbox.reply(token_request, now=sandbox.clock()).response.body)["access_token"]
    request = SandboxRequest("GET", f"/rest/v1/activities?{query}", {"authorization": f"Bearer {token}"})
    content: dict[str, Any] = json.loads(sandbox.reply(request, now=sandbox.clock()).response.body)
    return content


def ids(sandbox: ThriveSandbox) -> list[str]:
    return [record["id"] for record in listed(sandbox)["results"]]


def test_a_record_that_is_added_is_listed_until_it_is_removed(thrive_sandbox: ThriveSandbox) -> None:
    before = ids(thrive_sandbox)
    added = thrive_sandbox.add(type="completed")

    assert ids(thrive_sandbox)[0] == added.id
    assert listed(thrive_sandbox, "actions=completed")["pagination"]["totalResults"] == 3
    thrive_sandbox.remove(added.id)
    assert ids(thrive_sandbox) == before
    assert thrive_sandbox.activity_requests[-1].path == "/rest/v1/activities?perPage=1000"


def test_it_holds_as_many_generated_records_as_asked(
    thrive_sandbox: ThriveSandbox, thrive_client: ThriveClient
) -> None:
    thrive_sandbox.generate(100_000)
    assert listed(thrive_sandbox)["pagination"]["totalResults"] == 100_000
    thrive_sandbox.add()
    page = listed(thrive_sandbox)

    assert page["pagination"]["totalResults"] == 100_001
    assert thrive_client.activities.get(page["results"][0]["id"]).to_dict() == page["results"][0]
    with pytest.raises(ValueError, match="generated is -1"):
        thrive_sandbox.generate(-1)


def test_records_arrive_when_the_test_lets_them(thrive_sandbox: ThriveSandbox) -> None:
    before = ids(thrive_sandbox)
    [first, second] = thrive_sandbox.arrive(2)
    [third, late] = thrive_sandbox.arrive(late=1)

    assert ids(thrive_sandbox) == [third, second, first, late, *before]


def test_records_arrive_after_each_list(thrive_sandbox: ThriveSandbox) -> None:
    thrive_sandbox.arrivals.after_each_list = 3
    sizes = [len(ids(thrive_sandbox)) for _ in range(3)]

    assert sizes == [35, 38, 41]


def test_faults_meet_lists(thrive_sandbox: ThriveSandbox) -> None:
    thrive_sandbox.fail_next(429)

    assert listed(thrive_sandbox)["status"] == 429
    assert thrive_sandbox.unused_faults == []
