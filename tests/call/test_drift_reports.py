"""Departures from the contract are reported once per kind, and never with a secret."""

import json
import logging
import pickle
import threading
from typing import Any

import httpx
import pytest
from harness import ACTIVITY_ID, BASIC, PAGE_EXAMPLE, Flavour, Kept, page_response

from thrive_learning import (
    Activity,
    BasicCredentials,
    ClientClosedError,
    Drift,
    Region,
    ThriveClient,
    UnexpectedResponseError,
)
from thrive_learning._call import drift_reports
from thrive_learning._call.drift_reports import MAX_KINDS, DriftReports
from thrive_learning._reading import MAX_UNKNOWN_FIELDS

UNKNOWN = Drift("unknown_field", "contentType", "a string")


def report(reports: DriftReports, *problems: Drift, secrets: tuple[str, ...] = ()) -> tuple[Drift, ...]:
    return reports.report(problems, "production", "activities.get", lambda: secrets)


def test_each_kind_is_reported_once_for_each_client(flavour: Flavour) -> None:
    seen: list[Drift] = []
    types = ["file", "quiz", "file", "viewed", "quiz"]
    responses = iter([page_response(type=type_, contentType=type_) for type_ in types])
    with flavour.answering(lambda _request: next(responses), on_drift=seen.append) as client:
        for _ in types:
            client.activities.get(ACTIVITY_ID)
    assert [(drift.kind, drift.field, drift.found) for drift in seen] == [
        ("unknown_value", "type", "file"),
        ("unknown_field", "contentType", "a string"),
        ("unknown_value", "type", "quiz"),
    ]
    assert {drift.operation for drift in seen} == {"activities.get"}


def test_bulk_runs_report_as_well(flavour: Flavour) -> None:
    seen: list[Drift] = []
    with flavour.answering(lambda _request: page_response(name=None), on_drift=seen.append) as client:
        results = list(client.activities.get_many([f"{number:024x}" for number in range(50)]))
    assert [str(drift) for drift in seen] == ["the field 'name' is null, not a string"]
    assert all(result.activity.problems == tuple(seen) for result in results)


def test_records_of_a_page_with_the_same_departure_are_read(flavour: Flavour) -> None:
    seen: list[Drift] = []
    records = [PAGE_EXAMPLE | {"type": "answered", "contentType": f"{number}"} for number in range(3)]
    page = httpx.Response(200, json={"results": [*records, PAGE_EXAMPLE | {"type": "answered"}, 7, 7]})
    with flavour.answering(lambda _request: page, on_drift=seen.append) as client:
        found = client.activities.list()
    kinds = [[drift.kind for drift in record.problems] for record in found]
    assert kinds == [["unknown_value", "unknown_field"]] * 3 + [["unknown_value"]]
    assert [drift.kind for drift in found.problems] == ["unreadable_item"] * 2
    assert [(drift.kind, drift.operation) for drift in seen] == [
        ("unknown_value", "activities.list"),
        ("unknown_field", "activities.list"),
        ("unreadable_item", "activities.list"),
    ]
    assert {*found[0].problems, *found.problems} >= {*seen}


def test_a_departure_is_a_warning_and_a_novelty_is_not(
    flavour: Flavour, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "thrive_learning")
    with flavour.answering(lambda _request: page_response(name=5, type="file", contentType=None)) as client:
        client.activities.get(ACTIVITY_ID)
        client.activities.get(ACTIVITY_ID)
    assert sorted((record.levelname, record.getMessage()) for record in caplog.records) == [
        ("INFO", "production: activities.get: the contract has no field 'contentType' (null)"),
        ("INFO", "production: activities.get: the field 'type' is 'file', not a documented value"),
        ("WARNING", "production: activities.get: the field 'name' is a number, not a string"),
    ]


def test_an_error_in_on_drift_does_not_break_the_call(
    flavour: Flavour, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(_drift: Drift) -> None:
        raise LookupError("the caller's own")

    with flavour.answering(lambda _request: page_response(name=None), on_drift=failing) as client:
        assert client.activities.get(ACTIVITY_ID).id == ACTIVITY_ID
    assert "on_drift= failed; the call continues" in caplog.text
    assert "the caller's own" in caplog.text


def test_an_interruption_in_on_drift_is_not_swallowed() -> None:
    def interrupted(_drift: Drift) -> None:
        raise KeyboardInterrupt

    reports = DriftReports(interrupted)
    with pytest.raises(KeyboardInterrupt):
        report(reports, UNKNOWN)


def test_a_report_is_plain_data() -> None:
    drift = UNKNOWN._replace(operation="activities.get")
    assert pickle.loads(pickle.dumps(drift)) == drift
    assert not drift.breaks_contract
    with pytest.raises(AttributeError):
        drift.field = "x"  # type: ignore[misc]


def forget(_drift: Drift) -> None:
    """Stand for a function that a pickle can name."""


def test_the_options_travel_with_a_client() -> None:
    with ThriveClient.sandbox(on_drift=forget, strict=True, max_record_bytes=200) as client:
        copied = pickle.loads(pickle.dumps(client))
    with (
        copied,
        pytest.raises(UnexpectedResponseError, match="larger than 200 bytes; max_record_bytes= raises"),
    ):
        copied.activities.get(ACTIVITY_ID)
    with copied, pytest.raises(ClientClosedError):
        copied.activities.get(ACTIVITY_ID)
    assert (copied._options.on_drift, copied._options.strict) == (forget, True)


def test_a_secret_that_is_echoed_is_masked(flavour: Flavour) -> None:
    kept = Kept()
    logger = logging.getLogger("thrive_learning")
    logger.addHandler(kept)
    seen: list[Drift] = []

    def echo(request: httpx.Request) -> httpx.Response:
        header = request.headers["authorization"]
        return page_response(**{header: 1, "fake-api-secret": 1, "type": f"{header} fake-api-secret"})

    try:
        with flavour.answering(echo, BASIC, on_drift=seen.append) as client:
            problems = client.activities.get(ACTIVITY_ID).problems
    finally:
        logger.removeHandler(kept)
    assert len(seen) == len(problems) == 3
    for text in (repr(seen), repr(problems), *map(str, seen), *kept.texts()):
        assert "fake-api-secret" not in text
        assert "ZXUtd2" not in text  # the beginning of the Basic credentials


def test_text_that_cannot_be_masked_is_not_shown() -> None:
    def failing() -> tuple[str, ...]:
        raise LookupError("the function that gives the secret failed")

    seen: list[Drift] = []
    DriftReports(seen.append).report([UNKNOWN], "production", "activities.get", failing)
    assert [drift.field for drift in seen] == ["…"]


@pytest.mark.parametrize("secret", ["s", "string", "the field"])
def test_our_own_words_are_never_masked(secret: str) -> None:
    seen: list[Drift] = []
    with ThriveClient(
        Region.PRODUCTION,
        BasicCredentials("tenant", secret),
        transport=httpx.MockTransport(lambda _r: page_response(user=[], contentType=1)),
        on_drift=seen.append,
    ) as client:
        client.activities.get(ACTIVITY_ID)
    assert str(seen[0]) == "the field 'user' is an array, not a string"


@pytest.mark.parametrize(
    ("date", "form"),
    [
        ("2020-02-12 14:58:23", "text such as '0000-00-00 00:00:00'"),
        ("", "empty text"),
        ("fake-token", "text of another form"),
        ("1" * 41, "text of another form"),
    ],
)
def test_a_date_is_described_and_not_repeated(date: str, form: str) -> None:
    [problem] = Activity.from_dict({"id": "x", "date": date}).problems
    assert problem.found == form


def test_texts_of_a_server_are_shortened_and_printable(flavour: Flavour) -> None:
    seen: list[Drift] = []
    response = page_response(**{"\x1b[31m" + "a" * 500: 1, "type": "\ud800\n\x9b" + "b" * 500})
    with flavour.answering(lambda _request: response, on_drift=seen.append) as client:
        client.activities.get(ACTIVITY_ID)
    assert all(len(str(drift)) < 150 and str(drift).isprintable() for drift in seen)
    stored = Activity.from_dict(json.loads(response.content))
    assert all(len(str(drift)) < 200 and str(drift).isprintable() for drift in stored.problems)


def test_a_server_that_invents_fields_fills_no_memory(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert MAX_KINDS == 500
    monkeypatch.setattr(drift_reports, "MAX_KINDS", 3)
    seen: list[Drift] = []
    reports = DriftReports(seen.append)
    for number in range(10):
        name = f"field{number}"
        [known] = report(reports, UNKNOWN._replace(field=name))
        assert known.field == name
    assert [drift.field for drift in seen] == ["field0", "field1", "field2"]
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "production: responses differ from the contract in more than 3 ways. No more are reported."
    ]
    assert len(reports._disclosed) == 3


def test_long_names_are_not_remembered() -> None:
    reports = DriftReports(None)
    assert report(reports, UNKNOWN._replace(field="a" * 1000))[0].field == "a" * 63 + "…"
    assert not reports._disclosed


def test_records_share_their_reports() -> None:
    reports = DriftReports(None)
    [one] = report(reports, UNKNOWN)
    [other] = report(reports, UNKNOWN._replace())
    assert one is other


def test_one_of_many_threads_reports() -> None:
    seen: list[Drift] = []
    reports = DriftReports(seen.append)
    barrier = threading.Barrier(16)

    def work() -> None:
        barrier.wait()
        for number in range(100):
            report(reports, UNKNOWN._replace(field=f"{number}"))

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(drift.field for drift in seen) == sorted(f"{number}" for number in range(100))


def test_unknown_fields_beyond_a_number_are_counted() -> None:
    fields: dict[str, Any] = {f"field{number}": number for number in range(1000)}
    problems = Activity.from_dict({**fields, "id": "x", "name": None}).problems
    assert len(problems) == MAX_UNKNOWN_FIELDS + 2
    assert str(problems[-1]) == "the contract has no field '…' (950 more unknown fields)"
    assert str(problems[-2]) == "the field 'name' is null, not a string"
