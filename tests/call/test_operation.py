"""Each operation of the contract is described once, and both clients have a method for it."""

import inspect
import json
import string
import types
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from _thrive_learning_api.api.activity import get_activity, list_activities
from _thrive_learning_api.contract import OPERATIONS, OperationFacts
from harness import ACTIVITY_ID, Flavour

from thrive_learning import (
    Activity,
    ActivityPage,
    ApiError,
    AsyncThriveClient,
    Pagination,
    ServerError,
    ThriveClient,
)
from thrive_learning._call import generated
from thrive_learning._call.operation import MAX_ITEMS, TOO_MANY_ITEMS, Operation
from thrive_learning._call.run import call
from thrive_learning._exchange.messages import _BY_STATUS, api_error_class
from thrive_learning._reading import ITEMS_BETWEEN_LOOKS, MAX_NEW_FIELDS, Reading

DESCRIBED: dict[str, Operation[Any]] = {
    name: value for name, value in vars(generated).items() if isinstance(value, Operation)
}
CLIENTS = (ThriveClient, AsyncThriveClient)


def module_of(operation: Operation[Any]) -> str:
    return operation.sync.__module__.rpartition(".")[2]


# Operations and methods


def test_each_operation_of_the_contract_is_described_once() -> None:
    described = sorted(module_of(operation) for operation in DESCRIBED.values())
    assert described == sorted(OPERATIONS), "describe each operation of the contract in _call/generated.py"


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("constant", DESCRIBED)
def test_each_operation_has_a_method_of_both_clients(constant: str, client: type) -> None:
    """The method that errors name exists, and its class uses the operation."""
    tag, method = DESCRIBED[constant].name.split(".")
    made: Any = client.sandbox()  # type: ignore[attr-defined]
    part = type(getattr(made, tag, None))
    missing = f"{DESCRIBED[constant].name} of {client.__name__} is missing: add the method to both twins"
    assert callable(getattr(part, method, None)), missing
    functions = [value for value in vars(part).values() if inspect.isfunction(value)]
    assert any(constant in names_in(function.__code__) for function in functions), missing


def names_in(code: types.CodeType) -> set[str]:
    """Return the names that a function uses, and those that functions within it use."""
    inner = (constant for constant in code.co_consts if isinstance(constant, types.CodeType))
    return {*code.co_names, *(name for one in inner for name in names_in(one))}


@pytest.mark.parametrize("constant", DESCRIBED)
def test_a_description_names_arguments_that_exist(constant: str) -> None:
    operation = DESCRIBED[constant]
    named = {
        field
        for template in (operation.subject, operation.key)
        for _, field, _, _ in string.Formatter().parse(template)
        if field is not None
    }
    for function in (operation.sync, operation.asyncio):
        assert named <= {*inspect.signature(function).parameters}, operation.name


# Statuses and classes


def documented() -> list[int]:
    return sorted({status for facts in OPERATIONS.values() for status in facts.errors})


def test_each_documented_status_has_a_class_of_its_own_and_each_class_a_documented_status() -> None:
    """All 5xx share one class. A class without a documented status would never be raised."""
    own = [status for status in documented() if not 500 <= status <= 599]
    assert own == sorted(_BY_STATUS), "give each documented status a class in _exchange/messages.py"
    assert len({*_BY_STATUS.values()}) == len(_BY_STATUS)
    assert not {ApiError, ServerError} & {*_BY_STATUS.values()}


@pytest.mark.parametrize("status", documented())
def test_a_documented_status_is_raised_as_its_class(flavour: Flavour, status: int) -> None:
    body = {"status": status, "error": "e", "message": "m"}
    with flavour.answering(lambda _request: httpx.Response(status, json=body)) as client:
        for method in (lambda: client.activities.get(ACTIVITY_ID), client.activities.list):
            with pytest.raises(ApiError) as caught:
                method()
            assert type(caught.value) is api_error_class(status)
            assert type(caught.value) is not ApiError


# Descriptions

ADDRESS = "activities.get"


@pytest.mark.parametrize(
    ("describe", "says"),
    [
        (
            lambda: Operation.returning_many(Activity, ADDRESS, get_activity, subject="x"),
            r"returns \{200: 'object'\} of Activity, not 'array' of Activity\. Describe it with",
        ),
        (
            lambda: Operation.returning_nothing(ADDRESS, get_activity, subject="x"),
            r"returns \{200: 'object'\} of Activity, not 'nothing' of None\. ",
        ),
        (
            lambda: Operation.returning(Pagination, ADDRESS, get_activity, subject="x"),
            r"returns \{200: 'object'\} of Activity, not 'object' of Pagination\. ",
        ),
    ],
)
def test_a_description_that_contradicts_the_contract_is_rejected(
    describe: Callable[[], object], says: str
) -> None:
    with pytest.raises(TypeError, match=f"^The contract says that {ADDRESS} {says}"):
        describe()


def described_as(monkeypatch: pytest.MonkeyPatch, body: str, model: str | None) -> types.ModuleType:
    """Let the contract have an operation whose success is described so."""
    facts = OperationFacts("GET", "/x", {200: body}, model, (), is_idempotent=True)
    monkeypatch.setitem(OPERATIONS, "made_up", facts)
    module = types.ModuleType("x.made_up")
    module.sync_detailed = module.asyncio_detailed = print  # type: ignore[attr-defined]
    return module


def test_a_json_array_is_read_item_by_item(monkeypatch: pytest.MonkeyPatch) -> None:
    module = described_as(monkeypatch, "array", "Activity")
    operation = Operation.returning_many(Activity, "activities.some", module, subject="some of {id}")
    assert (operation.is_list, operation.key_of({"id": 1})) == (True, "1")
    reading = operation.read(b'[{"id": "a", "name": 1.50}, 5, {"id": "b"}]')
    assert isinstance(reading, Reading)
    [first, second] = operation.build(reading)
    assert (first.id, second.to_json()) == ("a", '{"id":"b"}')
    assert first.to_json() == '{"id":"a","name":1.50}'
    assert operation.read(b"{}") == "its body is JSON, but an object and not an array"


def test_nothing_is_read_of_a_success_without_a_body(monkeypatch: pytest.MonkeyPatch) -> None:
    module = described_as(monkeypatch, "nothing", None)
    operation = Operation.returning_nothing("activities.none", module, subject="x")
    for body in (b"", b"anything"):
        reading = operation.read(body)
        assert isinstance(reading, Reading)
        assert reading.flaw is None
        operation.build(reading)
    assert not operation.is_list


def test_an_object_and_a_page_are_distinguished() -> None:
    record = Operation.returning(Activity, ADDRESS, get_activity, subject="activity {id}")
    page = Operation.returning(ActivityPage, "activities.list", list_activities, subject="x", key="{page}")
    assert (record.is_list, page.is_list) == (False, True)
    assert page.key_of({"page": 2}) == "2"
    reading = page.read(json.dumps({"results": [{"id": "a"}]}).encode())
    assert isinstance(reading, Reading)
    assert [activity.id for activity in page.build(reading)] == ["a"]
    assert record.read(b"[]") == "its body is JSON, but an array and not an object"


def test_an_object_within_it_that_is_nested_too_deeply_is_a_flaw() -> None:
    class Deep:
        items_of = item = count = None

        def begin(self, *, is_array: bool, look: object) -> "Deep":
            assert (is_array, callable(look)) == (False, True)
            return self

        def read(self, *_arguments: object, **_options: object) -> None:
            raise RecursionError

    reader: Any = Deep()
    operation = generated.GET_ACTIVITY._replace(reader=reader)
    assert operation.read(b"{}") == "its body is JSON that is nested too deeply"


LIMITS = pytest.mark.parametrize("item", ["[]", '{"id":"a"}', " 5"], ids=["array", "record", "number"])


def page_of(number: int, item: str) -> bytes:
    return f'{{"results":[{",".join([item] * number)}]}}'.encode()


@LIMITS
def test_a_page_of_too_many_items_is_rejected(item: str) -> None:
    most = generated.LIST_ACTIVITIES.read(page_of(MAX_ITEMS - 10, item))
    assert isinstance(most, Reading)
    found = generated.LIST_ACTIVITIES.read(page_of(MAX_ITEMS + 2 * ITEMS_BETWEEN_LOOKS, item))
    assert found == TOO_MANY_ITEMS == "it has more than 100,000 items"


@LIMITS
def test_a_page_is_given_up_once_the_time_of_the_call_is_over(item: str) -> None:
    looks = iter([False, False, True])
    body = page_of(5 * ITEMS_BETWEEN_LOOKS, item)
    assert generated.LIST_ACTIVITIES.read(body, lambda: next(looks)) is None
    assert next(looks, None) is None


def test_a_page_that_can_be_requested_is_read_even_if_the_time_is_over() -> None:
    reading = generated.LIST_ACTIVITIES.read(page_of(1000, '{"id":"a"}'), lambda: True)
    assert isinstance(reading, Reading)


def test_the_members_of_a_page_count_as_its_items() -> None:
    members = ",".join(f'"{number}":0' for number in range(MAX_ITEMS + 2 * ITEMS_BETWEEN_LOOKS))
    found = generated.LIST_ACTIVITIES.read(f'{{"results":[],{members}}}'.encode())
    assert found == TOO_MANY_ITEMS == "it has more than 100,000 items"


def test_the_unknown_fields_that_one_response_names_are_limited() -> None:
    """Each name is masked, which would take a minute for millions."""
    items = [json.dumps({"id": "a", **{f"{item}-{i}": 0 for i in range(40)}}) for item in range(1000)]
    reading = generated.LIST_ACTIVITIES.read(f'{{"results":[{",".join(items)}]}}'.encode())
    assert isinstance(reading, Reading)
    assert MAX_NEW_FIELDS < len(reading.problems) < MAX_NEW_FIELDS + 1000
    assert [drift.found for drift in reading.problems if drift.field == "…"] == [
        "one of too many unknown fields"
    ]
    assert len(generated.LIST_ACTIVITIES.build(reading)) == 1000


def test_an_option_that_does_not_exist_is_rejected() -> None:
    """Python itself accepts any keyword for `**options`."""
    options: Any = {"timeot": 3}
    with ThriveClient.sandbox() as client, pytest.raises(TypeError, match="timeot"):
        call(generated.GET_ACTIVITY, client._http, options, id=ACTIVITY_ID)
