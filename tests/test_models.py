import copy
import datetime as dt
import functools
import json
import pickle
import re
import types
from typing import Any, cast

import attrs
import httpx
import pytest
from _thrive_learning_api.contract import MODELS, FieldFacts
from harness import ACTIVITY_ID, PAGE_EXAMPLE, Flavour, page_response
from hypothesis import given
from hypothesis import strategies as st

import thrive_learning
from thrive_learning import (
    AccessToken,
    Activity,
    ActivityFailed,
    ActivityFound,
    ActivityResult,
    ActivityType,
    ApiResponse,
    ConfigurationError,
    Drift,
    Scope,
    ThriveError,
    UnexpectedResponseError,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def get(flavour: Flavour, response: httpx.Response) -> Activity:
    with flavour.answering(lambda _request: response) as client:
        activity: Activity = client.activities.get(ACTIVITY_ID)
        return activity


def test_the_pages_example_field_for_field(flavour: Flavour) -> None:
    activity = get(flavour, page_response())
    assert activity == Activity(
        id="60d5ec49b60b4b3a2c8f9a10",
        user="60d5ec49b60b4b3a2c8f9a11",
        type=ActivityType.VIEWED,
        date=dt.datetime(2020, 2, 12, 14, 58, 23, 621_000, tzinfo=dt.UTC),
        context_id="64b6f4a8c2e4a1b9d3f2c4a0",
        context_type="content",
        data={"source": {"source": "feed"}, "duration": "3600"},
        with_=None,
        name=None,
    )
    assert activity.to_dict() == PAGE_EXAMPLE


def test_an_unknown_type_stays_text(flavour: Flavour) -> None:
    activity = get(flavour, page_response(type="file"))
    assert activity.type == "file"
    assert type(activity.type) is str


@pytest.mark.parametrize("known", list(ActivityType))
def test_a_known_type_is_an_activity_type_and_text(flavour: Flavour, known: ActivityType) -> None:
    activity = get(flavour, page_response(type=known.value))
    assert activity.type is known
    assert activity.type == known.value


def test_only_the_id_is_always_there(flavour: Flavour) -> None:
    activity = get(flavour, httpx.Response(200, json={"id": ACTIVITY_ID}))
    assert activity == Activity(id=ACTIVITY_ID)
    assert (activity.user, activity.name, activity.type, activity.date) == (None, None, None, None)
    assert (activity.context_id, activity.context_type, activity.data, activity.with_) == (
        None,
        None,
        {},
        None,
    )
    assert activity.to_dict() == {"id": ACTIVITY_ID}


def test_unknown_fields_are_kept(flavour: Flavour) -> None:
    response = page_response(score=5, data={"a": [1]}, **{"with": {"b": {"c": 1.5}}})
    activity = get(flavour, response)
    assert activity.to_dict() == PAGE_EXAMPLE | {"score": 5, "data": {"a": [1]}, "with": {"b": {"c": 1.5}}}
    assert activity.data == {"a": [1]}
    assert activity.with_ == {"b": {"c": 1.5}}


def test_a_change_by_the_caller_does_not_change_the_record(flavour: Flavour) -> None:
    activity = get(flavour, page_response())
    activity.to_dict()["data"]["source"]["source"] = "changed"
    assert activity.data is not None
    activity.data["source"]["source"] = "changed"
    assert activity.to_dict() == PAGE_EXAMPLE


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        ("2020-02-12T14:58:23Z", dt.datetime(2020, 2, 12, 14, 58, 23, tzinfo=dt.UTC)),
        ("2020-02-12T14:58:23.6Z", dt.datetime(2020, 2, 12, 14, 58, 23, 600_000, tzinfo=dt.UTC)),
        ("2020-02-12T14:58:23.123456789Z", dt.datetime(2020, 2, 12, 14, 58, 23, 123_456, tzinfo=dt.UTC)),
        ("2020-02-12T16:58:23+02:00", dt.datetime(2020, 2, 12, 14, 58, 23, tzinfo=dt.UTC)),
        ("2020-02-12T09:28:23-05:30", dt.datetime(2020, 2, 12, 14, 58, 23, tzinfo=dt.UTC)),
        ("2020-02-12T14:58:23-00:00", dt.datetime(2020, 2, 12, 14, 58, 23, tzinfo=dt.UTC)),
        ("2020-02-12t14:58:23z", dt.datetime(2020, 2, 12, 14, 58, 23, tzinfo=dt.UTC)),
        ("2016-12-31T23:59:60Z", dt.datetime(2017, 1, 1, tzinfo=dt.UTC)),
        ("2016-12-31t15:59:60.250-08:00", dt.datetime(2017, 1, 1, 0, 0, 0, 250_000, tzinfo=dt.UTC)),
        ("2020-02-12T14:58:60Z", dt.datetime(2020, 2, 12, 14, 59, tzinfo=dt.UTC)),
    ],
)
def test_a_date_is_the_moment_that_it_names(flavour: Flavour, date: str, expected: dt.datetime) -> None:
    activity = get(flavour, page_response(date=date))
    assert activity.date == expected
    assert activity.date is not None
    assert activity.date.tzinfo is not None
    assert activity.problems == ()
    assert activity.to_dict()["date"] == date


@pytest.mark.parametrize(
    "date",
    [
        *("", "yesterday", "2020-02-12", "2020-02-12T14:58:23", "2020-02-12 14:58:23Z", "2020-02-12T14:58Z"),
        *("2020-13-12T14:58:23Z", "2020-02-30T14:58:23Z", "2020-02-12T24:00:00Z", "2020-02-12T14:58:61Z"),
        *("2020-W07-3T14:58:23Z", "20200212T145823Z", "2020-02-12T14:58:23+99:99", "2020-02-12T14:58:23Z\n"),
        *("1581519503", "２０２０-02-12T14:58:23Z", "2020-02-12T14:58:23+0200"),  # noqa: RUF001
        *(
            "0000-01-01T00:00:00Z",
            "9999-12-31T23:59:60Z",
            "2020-02-12T14:58:23,5Z",
            "2020-02-12T14:58:23+01:60",
        ),
        *(
            "2020-02-12T14:60:23Z",
            "2020-02-12T14:58:23.Z",
            "2020-02-12T14:58:23UTC",
            "2020-02-12T14:58:23+02",
        ),
    ],
)
def test_an_unreadable_date_is_none_and_never_a_wrong_time(flavour: Flavour, date: str) -> None:
    activity = get(flavour, page_response(date=date))
    assert activity.date is None
    [problem] = activity.problems
    assert (problem.kind, problem.field, problem.breaks_contract) == ("unreadable_date", "date", True)
    assert str(problem).endswith(", not a date and time with a time zone as in RFC 3339")
    assert activity.to_dict() == PAGE_EXAMPLE | {"date": date}


@given(st.datetimes(timezones=st.timezones()))
def test_every_aware_date_is_read_back(date: dt.datetime) -> None:
    offset = date.utcoffset()
    if offset is None or offset.total_seconds() % 60:
        date = date.astimezone(dt.UTC)
    read = Activity.from_dict({"id": "x", "date": date.isoformat()})
    assert read.problems == ()
    # In UTC: a local time that a change of clocks skips or doubles equals no time of another zone (PEP 495).
    assert read.date is not None
    assert read.date.astimezone(dt.UTC) == date.astimezone(dt.UTC)


@given(st.text() | st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}.[0-9:]{8}[0-9:.+Zz-]*", fullmatch=True))
def test_no_text_without_a_time_zone_is_a_date(text: str) -> None:
    read = Activity.from_dict({"id": "x", "date": text})
    assert (read.date is None) is bool(read.problems)
    assert read.date is None or read.date.tzinfo is not None


SAMPLES: dict[str, Any] = {
    "null": None,
    "integer": 1,
    "number": 1.5,
    "boolean": True,
    "array": [],
    "object": {},
    "string": "x",
}


def allowed_types(field: FieldFacts) -> set[str]:
    """The JSON types of a field. A number may be a whole one."""
    return {*field.json_types, *(["integer"] if "number" in field.json_types else [])}


#: For each field, a value of each JSON type that the contract does not allow.
WRONG: dict[str, list[Any]] = {
    field.wire_name: [value for kind, value in SAMPLES.items() if kind not in allowed_types(field)]
    for field in MODELS["Activity"]
    if not field.is_required
}
NAMES = {field.wire_name: field.name for field in MODELS["Activity"]}


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in WRONG.items() for value in values]
)
def test_a_wrong_json_type_is_none_and_reported(flavour: Flavour, field: str, value: Any) -> None:
    seen: list[Drift] = []
    with flavour.answering(lambda _request: page_response(**{field: value}), on_drift=seen.append) as client:
        activity = client.activities.get(ACTIVITY_ID)
        client.activities.get(ACTIVITY_ID)
    assert getattr(activity, NAMES.get(field, field)) is None
    assert activity.to_dict() == PAGE_EXAMPLE | {field: value}
    [problem] = activity.problems
    assert seen == [problem]
    assert (problem.field, problem.operation, problem.breaks_contract) == (field, "activities.get", True)
    assert problem.kind == ("null" if value is None else "wrong_type")
    assert re.fullmatch(f"the field '{field}' is (null|an? [a-z]+), not an? [a-z ]+", str(problem))


@pytest.mark.parametrize(
    ("field", "value"),
    [*((field, value) for field, values in WRONG.items() for value in values), ("date", "yesterday")],
)
def test_a_strict_client_rejects_what_breaks_the_contract(flavour: Flavour, field: str, value: Any) -> None:
    seen: list[Drift] = []
    response = page_response(**{field: value})
    with flavour.answering(lambda _request: response, strict=True, on_drift=seen.append) as client:
        with pytest.raises(
            UnexpectedResponseError, match=f"but the field '{field}' is .*, not an? "
        ) as caught:
            client.activities.get(ACTIVITY_ID)
    assert (caught.value.status_code, seen) == (200, [])
    assert json.loads(caught.value.body)[field] == value


def test_a_strict_client_accepts_what_the_contract_allows(flavour: Flavour) -> None:
    response = page_response(type="file", contentType="video", **{"with": None})
    with flavour.answering(lambda _request: response, strict=True) as client:
        activity = client.activities.get(ACTIVITY_ID)
    assert activity.type == "file"
    assert [problem.kind for problem in activity.problems] == ["unknown_value", "unknown_field"]


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("value", [None, 1, 1.5, True, [], {}])
def test_an_id_of_a_wrong_type_is_rejected(flavour: Flavour, value: Any, strict: bool) -> None:  # noqa: FBT001
    with flavour.answering(lambda _request: page_response(id=value), strict=strict) as client:
        with pytest.raises(UnexpectedResponseError, match=r"the field 'id' is (a|an|null).*, not a string"):
            client.activities.get(ACTIVITY_ID)


@pytest.mark.parametrize("value", ["", " ", "\t\n", "\u00a0"], ids=ascii)
def test_a_blank_id_is_rejected(flavour: Flavour, value: str) -> None:
    with flavour.answering(lambda _request: page_response(id=value)) as client:
        with pytest.raises(UnexpectedResponseError, match="but the field 'id' is blank"):
            client.activities.get(ACTIVITY_ID)
        [result] = client.activities.get_many([ACTIVITY_ID])
    assert type(result.error) is UnexpectedResponseError
    with pytest.raises(ConfigurationError, match="the field 'id' is blank"):
        Activity.from_dict(PAGE_EXAMPLE | {"id": value})


def test_a_record_without_its_id_is_rejected(flavour: Flavour) -> None:
    with pytest.raises(UnexpectedResponseError, match="the field 'id' is missing"):
        get(flavour, httpx.Response(200, json={"user": "x"}))


@given(st.dictionaries(st.sampled_from([*PAGE_EXAMPLE, "name", "other"]), JSON, max_size=5))
def test_every_object_with_an_id_is_read(document: dict[str, Any]) -> None:
    document["id"] = ACTIVITY_ID
    read = Activity.from_dict(document)
    assert read.to_dict() == document == json.loads(read.to_json())
    departed = {problem.field for problem in read.problems if problem.breaks_contract}
    for field in document.keys() - {"other"} - departed:
        value = getattr(read, NAMES.get(field, field))
        assert value == document[field] or isinstance(value, dt.datetime)
    assert all(getattr(read, NAMES.get(field, field)) is None for field in departed)


# The text as received


AS_RECEIVED = (
    '{"id":"x","data":{"n":[0.1234567890123456789012,1e-400,1E2,-0,-0.0,1.10,12345678901234567890],'
    r'"s":"\u00e9é\/\ud83d\udc4d \ud800 , : \" \\","a":1,"a":2},"id":"60d5ec49b60b4b3a2c8f9a10"}'
)


def test_the_json_text_is_as_received(flavour: Flavour) -> None:
    spaced = re.sub(r'("(?:[^"\\]|\\.)*"|[{}\[\]:,])', "\t \\1\r\n", AS_RECEIVED)
    assert len(spaced) > len(AS_RECEIVED)
    for text in (AS_RECEIVED, spaced, f"\ufeff{spaced}"):
        activity = get(flavour, httpx.Response(200, content=text))
        assert activity.to_json() == AS_RECEIVED
        assert activity.id == ACTIVITY_ID
        assert activity.data is not None
        assert activity.data["a"] == 2


def test_a_record_made_in_python_has_json_text() -> None:
    assert Activity(id="a", name="é\ud800").to_json() == r'{"id":"a","name":"\u00e9\ud800","data":{}}'


# Stored records


NESTED: Any = functools.reduce(lambda inner, _: [inner], range(9**5), cast("Any", 1))


def test_a_stored_record_is_read_as_a_response_is(flavour: Flavour) -> None:
    document = PAGE_EXAMPLE | {"name": {"en-GB": "x"}, "contentType": "video", "date": "2020-02-12T14:58:60z"}
    received = get(flavour, httpx.Response(200, json=document))
    stored = Activity.from_dict(types.MappingProxyType(document))
    assert stored == received
    assert stored.to_dict() == received.to_dict()
    assert stored.problems == tuple(problem._replace(operation=None) for problem in received.problems)
    assert Activity.from_dict(stored.to_dict()) == stored


@pytest.mark.parametrize(
    ("stored", "problem"),
    [
        ({}, "the field 'id' is missing"),
        ({"id": 1}, "the field 'id' is a number, not a string"),
        ({"id": "x", "date": dt.datetime.now(dt.UTC)}, "cannot be represented in JSON .*datetime"),
        ({"id": "x", "data": {"n": float("nan")}}, "cannot be represented in JSON .*float"),
        ({"id": "x", "data": {("a", 1): 1}}, "cannot be represented in JSON .*keys must be"),
        ({"id": "x", "data": {"n": NESTED}}, "cannot be represented in JSON .*recursion"),
        ('{"id": "x"}', "is of type str. Pass a mapping"),
        (None, "is of type NoneType. Pass a mapping"),
    ],
    ids=range(8),
)
def test_a_value_that_is_not_a_record_is_rejected(stored: Any, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem) as caught:
        Activity.from_dict(stored)
    assert caught.value.__context__ is None


def test_an_evolved_record_reports_its_own_values(flavour: Flavour) -> None:
    received = get(flavour, page_response(name=["x"], extra=0.5, user=None))
    evolved = attrs.evolve(received, name="y", with_={"z": (1,)}, date=dt.datetime(2021, 1, 1, tzinfo=dt.UTC))
    assert evolved.to_dict() == PAGE_EXAMPLE | {
        "name": "y",
        "extra": 0.5,
        "user": None,
        "with": {"z": [1]},
        "date": "2021-01-01T00:00:00+00:00",
    }
    assert json.loads(evolved.to_json()) == evolved.to_dict()
    assert [problem.field for problem in evolved.problems] == ["user", "extra"]
    assert [problem.field for problem in received.problems] == ["user", "name", "extra"]
    assert "contextId" not in attrs.evolve(received, context_id=None).to_dict()
    again = pickle.loads(pickle.dumps(attrs.evolve(evolved, name="z")))
    assert again.to_dict() == evolved.to_dict() | {"name": "z"}
    assert attrs.evolve(received).to_json() == received.to_json()


def test_a_record_made_in_python_has_no_problems() -> None:
    assert Activity(id="x", type="made up").problems == ()


def test_a_record_is_a_value() -> None:
    one = Activity(id="a", type="x", data={"k": [1]})
    assert one == Activity(id="a", type="x", data={"k": [1]})
    assert one != Activity(id="a", type="y", data={"k": [1]})
    assert hash(one) == hash(Activity(id="a"))
    assert len({one, copy.deepcopy(one)}) == 1
    with pytest.raises(AttributeError):
        one.id = "b"  # type: ignore[misc]
    with pytest.raises((AttributeError, TypeError)):
        one.other = 1  # type: ignore[attr-defined]
    assert not hasattr(one, "__dict__")


@pytest.mark.parametrize(
    "copied", [lambda a: pickle.loads(pickle.dumps(a)), copy.deepcopy], ids=["pickle", "deepcopy"]
)
def test_a_record_travels(flavour: Flavour, copied: Any) -> None:
    activity = get(flavour, page_response(extra=1))
    other = copied(activity)
    assert other == activity
    assert other.to_dict() == activity.to_dict() == PAGE_EXAMPLE | {"extra": 1}


def test_a_record_made_in_python_gives_its_fields() -> None:
    date = dt.datetime(2020, 2, 12, tzinfo=dt.UTC)
    made = Activity(id="a", type=ActivityType.FOUND, date=date, data={"k": [1]}, context_id="c", with_={})
    assert made.to_dict() == {
        "id": "a",
        "type": "found",
        "date": "2020-02-12T00:00:00+00:00",
        "contextId": "c",
        "data": {"k": [1]},
        "with": {},
    }
    made.to_dict()["data"]["k"].append(2)
    assert made.data == {"k": [1]}


def test_the_facts_of_the_response(flavour: Flavour) -> None:
    response = httpx.Response(200, json=PAGE_EXAMPLE, headers={"x-amzn-requestid": "req-1"})
    with flavour.answering(lambda _request: response) as client:
        result: ApiResponse[Activity] = client.activities.get_with_response(ACTIVITY_ID)
    assert result.data.id == ACTIVITY_ID
    assert (result.status_code, result.request_id, result.attempts) == (200, "req-1", 1)
    assert dt.timedelta(0) < result.elapsed < dt.timedelta(minutes=1)


def test_a_token_prints_masked_and_does_not_pickle() -> None:
    token = AccessToken(value="canary", expires_at=dt.datetime.now(dt.UTC), scopes=(Scope.READ,))
    assert "canary" not in repr(token) + str(token)
    assert "api/read" in repr(token)
    assert copy.copy(token) is copy.deepcopy(token) is token
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(token)


@pytest.mark.parametrize("name", ["ActivityFound", "ActivityFailed", "ActivityResult"])
def test_a_result_has_a_record_or_an_error(name: str) -> None:
    result: Any = getattr(thrive_learning, name)
    for both_or_neither in (
        {"activity": Activity(id="x"), "error": ThriveError("no")},
        {"activity": None, "error": None},
    ):
        with pytest.raises(ConfigurationError, match="an activity or an error"):
            result(id="x", **both_or_neither)


def test_a_result_is_of_one_of_two_classes() -> None:
    make: Any = ActivityResult  # for type checkers it is a union, which is not called
    record, error = Activity(id="x"), ThriveError("no")
    found, failed = make(id="x", activity=record), make(id="x", error=error)
    assert found == ActivityFound(id="x", activity=record)
    assert failed == ActivityFailed(id="x", error=error)
    assert (found.error, failed.activity) == (None, None)
    for one in (found, failed):
        assert isinstance(one, ActivityResult)
        assert repr(pickle.loads(pickle.dumps(one))) == repr(one)
        assert repr(copy.deepcopy(one)) == repr(one) == repr(attrs.evolve(one))
    assert repr(failed) == "ActivityFailed(id='x', error=ThriveError('no'), activity=None)"
    assert not isinstance(record, ActivityResult)
    match found:
        case ActivityFound(activity=matched):
            assert matched is record
    with pytest.raises(ConfigurationError, match="an activity or an error"):
        make(id="x")
