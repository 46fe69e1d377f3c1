"""The test kit follows the contract and the facade."""

import inspect
import typing
from typing import Any

import attrs
import pytest
from _thrive_learning_api import contract

from thrive_learning import Activities, Activity, AsyncActivities, AsyncThriveClient, ThriveClient
from thrive_learning.testing import ThriveSandbox, make_activity, protocols

PROTOCOLS = [
    (protocols.ActivitiesProtocol, Activities),
    (protocols.AsyncActivitiesProtocol, AsyncActivities),
    (protocols.ThriveClientProtocol, ThriveClient),
    (protocols.AsyncThriveClientProtocol, AsyncThriveClient),
]


def test_every_protocol_is_compared() -> None:
    there = {
        value for name, value in vars(protocols).items() if name.endswith("Protocol") and name != "Protocol"
    }
    assert there == {protocol for protocol, _ in PROTOCOLS}


@pytest.mark.parametrize(("protocol", "ours"), PROTOCOLS, ids=lambda cls: cls.__name__)
def test_a_protocol_has_the_methods_and_parts_of_the_class(protocol: type, ours: type) -> None:
    """Otherwise, a fake that follows the protocol would not match the client."""
    named = [name for name in vars(protocol) if not name.startswith("_")]
    assert named
    parts = {name for base in ours.__mro__ for name in getattr(base, "__annotations__", {})}
    for name in named:
        member = vars(protocol)[name]
        if isinstance(member, property):
            assert name in parts, name
            continue
        method = getattr(ours, name)
        asked, offered = inspect.signature(member), inspect.signature(method)
        assert asked.parameters == offered.parameters, name
        if not isinstance(offered.return_annotation, str):  # such as a stream
            assert asked.return_annotation == offered.return_annotation, name
        assert inspect.iscoroutinefunction(member) == inspect.iscoroutinefunction(method), name


def test_the_fields_of_the_kit_are_those_of_the_contract_and_of_the_model() -> None:
    accepted = inspect.signature(make_activity).parameters["fields"].annotation
    fields = typing.get_type_hints(contract.ActivityFields)
    assert accepted == typing.Unpack[contract.ActivityFields]
    model = {one.name: one.type for one in attrs.fields(Activity) if not one.name.startswith("_")}
    assert {*fields} == {*model} == {one.name for one in contract.MODELS["Activity"]}
    assert fields == {name: typing.get_type_hints(Activity)[name] for name in model}


@pytest.mark.parametrize("field", [one.name for one in contract.MODELS["Activity"] if not one.is_required])
def test_each_field_can_be_given_and_left_out(field: str) -> None:
    given: Any = {field: None}
    added = ThriveSandbox().add(**given)
    wire_name = next(one.wire_name for one in contract.MODELS["Activity"] if one.name == field)
    assert wire_name not in added.to_dict()
    value: Any = {field: getattr(make_activity(), field)}
    assert getattr(make_activity(**value), field) == value[field]
