"""Records that arrive during a walk through the pages of the list."""

import base64
import itertools
import json
import pickle
import threading
from typing import Any

import pytest
from conformance import valid

from thrive_learning.sandbox import (
    FaultScript,
    FaultySandbox,
    RecordArrivals,
    Sandbox,
    SandboxReply,
    SandboxRequest,
)
from thrive_learning.sandbox.collection import Arrived
from thrive_learning.sandbox.generation import END_MS, FIRST_MS

NOW = 1_790_000_000.5  # September 2026, after all generated records
CORE = Sandbox(records={}, generated=100)
AUTHORIZATION = {
    "authorization": "Basic " + base64.b64encode(f"{CORE.tenant_id}:{CORE.api_secret}".encode()).decode()
}


def ask(sandbox: FaultySandbox, target: str, *, method: str = "GET", now: float = NOW) -> SandboxReply:
    request = SandboxRequest(method, f"/rest/v1/{target}", AUTHORIZATION)
    reply = sandbox.reply(request, now=now)
    valid(request, reply.response)
    return reply


def content(reply: SandboxReply) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(reply.response.body)
    return body


def walk(sandbox: FaultySandbox, filters: str = "", *, per_page: int = 10) -> list[list[str]]:
    """Return the IDs of each page, for a client that stops at an empty page."""
    pages: list[list[str]] = []
    while not pages or pages[-1]:
        got = content(ask(sandbox, f"activities?perPage={per_page}&page={len(pages) + 1}{filters}"))
        pages.append([record["id"] for record in got["results"]])
    return pages


IDS = {record_id for page in walk(FaultySandbox(CORE)) for record_id in page}
UNTIL = "&timestampTo=2026-09-21 14:13:20"  # NOW, less half a second


def test_without_arrivals_nothing_arrives() -> None:
    sandbox = FaultySandbox(CORE)

    assert ask(sandbox, "activities").arrived == ()
    assert sandbox.current is CORE
    assert len(IDS) == 100


def test_records_arrive_after_each_list_request_and_push_others_to_the_next_page() -> None:
    sandbox = FaultySandbox(CORE, arrivals=RecordArrivals(3))
    pages = walk(sandbox)
    seen = [record_id for page in pages for record_id in page]

    full = [page for page in pages if len(page) == 10]
    assert len(full) > 10
    # Three records of each page were also on the previous page.
    assert all(first[-3:] == second[:3] for first, second in itertools.pairwise(full))
    assert set(seen) == IDS
    assert len(seen) > len(IDS)
    assert ask(sandbox, "activities").response.status == 200
    assert content(ask(sandbox, "activities"))["pagination"]["totalResults"] == 100 + 3 * (len(pages) + 1)


def test_a_fixed_end_keeps_out_what_arrives_but_not_what_arrives_late() -> None:
    on_time = walk(FaultySandbox(CORE, arrivals=RecordArrivals(3)), UNTIL)
    late = walk(FaultySandbox(CORE, arrivals=RecordArrivals(3, late_after_each_list=2)), UNTIL)

    assert [record_id for page in on_time for record_id in page] == walked(FaultySandbox(CORE))
    seen = [record_id for page in late for record_id in page]
    assert set(seen) > IDS
    assert len(seen) > len(set(seen))


def walked(sandbox: FaultySandbox) -> list[str]:
    return [record_id for page in walk(sandbox) for record_id in page]


def test_arriving_records_are_dated_now_reported_and_available() -> None:
    sandbox = FaultySandbox(CORE, arrivals=RecordArrivals(2, late_after_each_list=1))
    first, second, late = ask(sandbox, "activities").arrived

    assert first["date"] == second["date"] == "2026-09-21T14:13:20.500Z"
    assert "2025-07-01" < late["date"] < "2026-07-01"
    for record in (first, second, late):
        assert content(ask(sandbox, f"activity/{record['id']}")) == record
    newest = content(ask(sandbox, "activities"))["results"]
    assert newest[:2] == [second, first]
    assert len({record["id"] for record in (first, second, late)} | IDS) == 103
    assert ask(sandbox, f"activity/{first['id'][:-1]}9").response.status == 404


def test_the_same_requests_let_the_same_arrive() -> None:
    walks = [walk(FaultySandbox(CORE, arrivals=RecordArrivals(3, 1)), per_page=7) for _ in range(2)]

    assert walks[0] == walks[1]


@pytest.mark.parametrize(
    ("target", "arrive"),
    [
        ("activities?page=77", True),
        ("activities?page=0", False),
        ("activity/" + "f" * 24, False),
        ("activity/67748a80b60b4b0000000001", False),
    ],
)
def test_they_arrive_after_list_requests_that_succeed(target: str, arrive: bool) -> None:  # noqa: FBT001
    assert bool(ask(FaultySandbox(CORE, arrivals=RecordArrivals(1)), target).arrived) is arrive


def test_faults_meet_list_requests_and_nothing_arrives_after_those_that_fail() -> None:
    sandbox = FaultySandbox(CORE, FaultScript(["500:1", "slow:2s:1", "html:1", "cut:1"]), RecordArrivals(1))
    replies = [ask(sandbox, "activities") if index != 2 else unchecked(sandbox) for index in range(5)]

    assert [reply.response.status for reply in replies] == [500, 200, 502, 200, 200]
    assert [len(reply.arrived) for reply in replies] == [0, 1, 0, 1, 1]
    assert (replies[1].delay_s, replies[3].is_cut) == (2.0, True)


def unchecked(sandbox: FaultySandbox) -> SandboxReply:
    # The contract does not describe HTML pages.
    return sandbox.reply(SandboxRequest("GET", "/rest/v1/activities", AUTHORIZATION), now=NOW)


def test_a_clock_that_goes_back_does_not_change_the_order_of_arrival() -> None:
    arrivals = RecordArrivals()
    arrivals.arrive(1, now=10)
    arrivals.arrive(2, late=1, now=5.0)
    arrivals.arrive(1, now=10.0015)

    assert arrivals.arrived == Arrived((10_000, 10_000, 10_000, 10_001), 1)


def test_late_ones_are_dated_like_generated_ones() -> None:
    arrived = RecordArrivals().arrive(0, late=50, now=NOW)

    assert len({record["id"] for record in arrived}) == 50
    assert FIRST_MS < END_MS < NOW * 1000
    assert all("2025-07-01" <= record["date"] < "2026-07-01" for record in arrived)


def test_a_late_record_that_is_held_in_another_form_is_listed_once() -> None:
    [late] = RecordArrivals().arrive(0, late=1, now=NOW)
    mine = {**late, "type": "mine"}
    sandbox = FaultySandbox(CORE.with_records({late["id"]: mine}), arrivals=RecordArrivals())
    sandbox.arrivals.arrive(0, late=2, now=NOW)
    ids = walked(sandbox)

    assert len(ids) == len(set(ids)) == len(sandbox.current.collection) == 102
    assert content(ask(sandbox, f"activity/{late['id']}")) == mine


def test_threads_may_share_them() -> None:
    arrivals = RecordArrivals()
    threads = [
        threading.Thread(target=lambda: [arrivals.arrive(1, late=1, now=NOW) for _ in range(50)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(arrivals.arrived.dates_ms) == arrivals.arrived.late == 200


def test_they_travel_to_another_process() -> None:
    arrivals = RecordArrivals(3, 1)
    arrivals.arrive(2, now=NOW)
    copied: RecordArrivals = pickle.loads(pickle.dumps(arrivals))

    assert copied.arrived == arrivals.arrived
    assert (copied.after_each_list, copied.late_after_each_list) == (3, 1)
    assert len(copied.after_list(NOW)) == 4
    assert len(arrivals.arrived.dates_ms) == 2
