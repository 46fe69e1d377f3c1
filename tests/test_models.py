import copy
import datetime as dt
import json
import pickle
from typing import Any

import attrs
import httpx
import pytest
from harness import ACTIVITY_ID, PAGE_EXAMPLE, Flavour, page_response
from hypothesis import given
from hypothesis import strategies as st

from thrive_learning import (
    AccessToken,
    Activity,
    ActivityResult,
    ActivityType,
    ApiResponse,
    ConfigurationError,
    Scope,
    ThriveError,
    UnexpectedResponseError,
)
from thrive_learning.models import _FIELDS, activity_problem

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


def test_what_is_changed_by_the_caller_does_not_change_the_record(flavour: Flavour) -> None:
    activity = get(flavour, page_response())
    activity.to_dict()["data"]["source"]["source"] = "changed"
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
    ],
)
def test_a_date_is_the_moment_that_it_names(flavour: Flavour, date: str, expected: dt.datetime) -> None:
    activity = get(flavour, page_response(date=date))
    assert activity.date == expected
    assert activity.date is not None
    assert activity.date.tzinfo is not None


@pytest.mark.parametrize(
    "date",
    [
        *("", "yesterday", "2020-02-12", "2020-02-12T14:58:23", "2020-02-12 14:58:23Z", "2020-02-12T14:58Z"),
        *("2020-13-12T14:58:23Z", "2020-02-30T14:58:23Z", "2020-02-12T24:00:00Z", "2020-02-12T14:58:60Z"),
        *("2020-W07-3T14:58:23Z", "20200212T145823Z", "2020-02-12T14:58:23+99:99", "2020-02-12T14:58:23Z\n"),
        *("1581519503", "２０２０-02-12T14:58:23Z", "2020-02-12T14:58:23+0200"),  # noqa: RUF001
    ],
)
def test_a_date_that_is_none_is_never_a_wrong_time(flavour: Flavour, date: str) -> None:
    with pytest.raises(UnexpectedResponseError, match="the field 'date' is") as caught:
        get(flavour, page_response(date=date))
    assert caught.value.status_code == 200
    assert json.loads(caught.value.body)["date"] == date


@given(st.datetimes(timezones=st.timezones()))
def test_every_aware_date_is_read_back(date: dt.datetime) -> None:
    offset = date.utcoffset()
    if offset is None or offset.total_seconds() % 60:
        date = date.astimezone(dt.UTC)
    assert activity_problem({"id": "x", "date": date.isoformat()}) is None
    # In UTC: a local time that a change of clocks skips or doubles equals no time of another zone (PEP 495).
    assert dt.datetime.fromisoformat(date.isoformat()).astimezone(dt.UTC) == date.astimezone(dt.UTC)


@given(st.text())
def test_no_text_without_a_time_zone_is_a_date(text: str) -> None:
    problem = activity_problem({"id": "x", "date": text})
    assert problem is not None or dt.datetime.fromisoformat(text).tzinfo is not None


WRONG: dict[str, list[Any]] = {
    **{
        name: [None, 1, 1.5, True, [], {}]
        for name in ("id", "user", "type", "name", "contextId", "contextType")
    },
    "date": [None, 1, 1.5, True, [], {}],
    "data": [None, 1, True, "x", []],
    "with": [1, True, "x", []],
}


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in WRONG.items() for value in values]
)
def test_a_wrong_json_type_names_the_field(flavour: Flavour, field: str, value: Any) -> None:
    with pytest.raises(UnexpectedResponseError, match=f"the field '{field}' is (a|an|null)") as caught:
        get(flavour, page_response(**{field: value}))
    assert "production answered 200" in str(caught.value)


def test_a_record_without_its_id(flavour: Flavour) -> None:
    with pytest.raises(UnexpectedResponseError, match="the field 'id' is missing"):
        get(flavour, httpx.Response(200, json={"user": "x"}))


@given(st.dictionaries(st.sampled_from([*PAGE_EXAMPLE, "name", "other"]), JSON, max_size=5))
def test_what_is_no_problem_can_be_read(document: dict[str, Any]) -> None:
    problem = activity_problem(document)
    names = {
        "id": str,
        "user": str,
        "type": str,
        "name": str,
        "contextId": str,
        "contextType": str,
        "data": dict,
    }
    right = all(isinstance(document[name], kind) for name, kind in names.items() if name in document)
    if problem is None:
        assert right
        assert "id" in document
    elif "id" in document and "date" not in document and "with" not in document:
        assert not right


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


def test_what_is_known_of_the_response(flavour: Flavour) -> None:
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
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(token)


def test_the_fields_are_those_of_the_contract(contract: dict[str, Any]) -> None:
    schemas = contract["components"]["schemas"]
    names: dict[type, str] = {str: "string", dict: "object", type(None): "null"}

    def kinds(schema: dict[str, Any]) -> set[str]:
        if "$ref" in schema:
            return kinds(schemas[schema["$ref"].rpartition("/")[2]])
        return {schema["type"]} if "type" in schema else set[str]().union(*map(kinds, schema["anyOf"]))

    properties = schemas["Activity"]["properties"]
    assert {name: {names[kind] for kind in allowed} for name, allowed in _FIELDS.items()} == {
        name: kinds(schema) for name, schema in properties.items()
    }
    values: dict[str, Any] = {str(field.alias): "x" for field in attrs.fields(Activity)}
    values.update(json=None, date=None)
    full = Activity(**values)
    assert full.to_dict().keys() == properties.keys() - {"date"}


def test_a_result_has_a_record_or_an_error() -> None:
    record, error = Activity(id="x"), ThriveError("no")
    assert ActivityResult(id="x", activity=record).error is None
    assert ActivityResult(id="x", error=error).activity is None
    for both_or_neither in ({"activity": record, "error": error}, {}):
        with pytest.raises(ConfigurationError, match="an activity or an error"):
            ActivityResult(id="x", **both_or_neither)  # type: ignore[arg-type]
