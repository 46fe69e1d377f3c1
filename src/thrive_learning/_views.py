"""Reads a JSON object as an attrs class, by the names and types of its attributes. Pure.

It is for JSON that is not in the contract; `_reading` is for JSON in the contract. The attribute `first_name`
is the member `firstName`. Its type determines the valid values, and its default replaces a missing value or
null. A value of another type is left out and reported, so that no attribute ever has a wrong value.
"""

import functools
import types
import typing
from collections.abc import Collection
from typing import Any, Final, NamedTuple, TypeVar, cast

import attrs

from thrive_learning._formats import read_date
from thrive_learning._json_text import JSON_NAMES
from thrive_learning.drift import Drift

T = TypeVar("T")

#: The maximum number of reported problems per object. A list may have any number of members.
MAX_PROBLEMS: Final = 50

_EXPECTED: dict[object, str] = {str: "a string", bool: "a boolean", int: "a whole number"}


class _Member(NamedTuple):
    """A member of a JSON object, as described by an attribute.

    Attributes:
        name: The attribute's name.
        wire_name: Its name in JSON.
        kind: The type of its value: `str`, `bool`, `int`, a date and time, or another attrs class.
        is_list: Whether the member is an array of such values.
    """

    name: str
    wire_name: str
    kind: Any
    is_list: bool


def read_view(
    model: type[T], received: dict[str, Any], only: Collection[str] | None = None, **more: Any
) -> tuple[T, tuple[Drift, ...]]:
    """Read a JSON object, tolerantly.

    Args:
        model: The attrs class. Every attribute in JSON has a default.
        received: The object.
        only: The attributes to read; None for all of them.
        **more: Arguments of the class that are not from JSON.

    Returns:
        An instance, and what is wrong with the values that were left out.
    """
    problems: list[Drift] = []
    values = _values(model, received, "", problems, only)
    return model(**values, **more), tuple(problems[:MAX_PROBLEMS])


def _values(
    model: Any,
    received: dict[str, Any],
    path: str,
    problems: list[Drift],
    only: Collection[str] | None = None,
) -> dict[str, Any]:
    """Return the values of the attributes that the object has, by name."""
    values: dict[str, Any] = {}
    for member in _members(model):
        value = received.get(member.wire_name)
        if value is None or (only is not None and member.name not in only):
            continue
        where = f"{path}{member.wire_name}"
        if not member.is_list:
            values[member.name] = _value(member.kind, value, where, problems)
        elif isinstance(value, list):
            items = (
                _value(member.kind, item, f"{where}[{index}]", problems)
                for index, item in enumerate(cast("list[object]", value))
                if item is not None
            )
            values[member.name] = tuple(item for item in items if item is not None)
        else:
            problems.append(Drift("wrong_type", where, JSON_NAMES[type(value)], "an array"))
    return values


def _value(kind: Any, value: object, where: str, problems: list[Drift]) -> Any:
    """Convert a value that is not null; None, with a problem, if it is not valid."""
    found = JSON_NAMES[type(value)]
    if kind in _EXPECTED:
        if type(value) is kind:
            return value
        problems.append(Drift("wrong_type", where, found, _EXPECTED[kind]))
    elif attrs.has(kind):
        if isinstance(value, dict):
            return kind(**_values(kind, cast("dict[str, Any]", value), f"{where}.", problems))
        problems.append(Drift("wrong_type", where, found, "an object"))
    elif not isinstance(value, str):
        problems.append(Drift("wrong_type", where, found, "a string"))
    else:
        moment = read_date(value)
        if moment is not None:
            return moment
        expected = "a date and time with a time zone as in RFC 3339"
        problems.append(Drift("unreadable_date", where, "text of another form", expected))
    return None


@functools.cache
def _members(model: Any) -> tuple[_Member, ...]:
    """Return the members that a class describes, which are its attributes with convertible types."""
    members: list[_Member] = []
    for field in attrs.fields(model):
        first, *_ = typing.get_args(field.type) or (field.type,)
        is_list = typing.get_origin(field.type) is tuple
        if is_list or typing.get_origin(field.type) is types.UnionType or field.type in _EXPECTED:
            first_word, *words = field.name.split("_")
            wire_name = first_word + "".join(word.capitalize() for word in words)
            members.append(_Member(field.name, wire_name, first, is_list))
    return tuple(members)
