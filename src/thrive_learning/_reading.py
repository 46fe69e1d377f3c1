"""Reads a JSON object as one of our models, tolerantly. Pure: it reports nothing and sends nothing.

Names, JSON types and nullability come from the model that was generated from the contract, so that no table
here repeats them. A value that departs from the contract is left out before the generated parser sees it.
"""

import datetime as dt
import enum
import re
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import attrs

from thrive_learning.drift import Drift

#: How many unknown fields of one response are listed by name. A server may send any number.
MAX_UNKNOWN_FIELDS: Final = 50

_UNREADABLE: Any = object()

_RFC_3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt](?:[01]\d|2[0-3]):[0-5]\d:(?:[0-5]\d|60)(?:\.\d+)?"
    r"(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)
_LIKE_A_DATE = re.compile(r"[0-9TtZz:.,+ -]{1,40}", re.ASCII)

# freezegun replaces `datetime` in all modules for a while, but not what holds it. This is the one that the
# tables below know.
_DATE_TIME = (dt.datetime,)

#: What Python reads a JSON value of a generated type as.
_JSON_TYPES: dict[type, tuple[type, ...]] = {
    str: (str,),
    dt.datetime: (str,),
    bool: (bool,),
    int: (int,),
    float: (int, float),
    list: (list,),
    type(None): (type(None),),
}

#: Two values of a generated type.
_SAMPLES: dict[type, tuple[Any, Any]] = {
    str: ("a", "b"),
    dt.datetime: (dt.datetime(2000, 1, 1, tzinfo=dt.UTC), dt.datetime(2000, 1, 2, tzinfo=dt.UTC)),
    bool: (False, True),
    int: (0, 1),
    float: (0.0, 1.0),
    list: ([], ["a"]),
}

_JSON_NAMES: dict[type, str] = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    type(None): "null",
}


class Field(NamedTuple):
    """One field of a model, as the contract describes it.

    Attributes:
        wire_name: Its name in JSON.
        generated_name: Its name in the generated model.
        name: Its name in our model.
        is_required: Whether every response must have it.
        json_types: The types that its value may have.
        values: The values that the contract documents; None if it lists none.
        is_date: Whether its text is a date and time as in RFC 3339.
        is_object: Whether its value is an object.
        is_free: Whether every value of these types is in order.
        default: Makes the value that our model has where a response lacks the field.
    """

    wire_name: str
    generated_name: str
    name: str
    is_required: bool
    json_types: frozenset[type]
    values: frozenset[str] | None
    is_date: bool
    is_object: bool
    is_free: bool
    default: Callable[[], Any]

    @property
    def expected(self) -> str:
        """What its value may be, in words."""
        names = {name: kind for kind, name in _JSON_NAMES.items() if kind in self.json_types}
        return " or ".join(names)

    def json_schema(self) -> dict[str, Any]:
        """Return what its value may be as a JSON schema."""
        form = {"format": "date-time"} if self.is_date else {}
        types_ = [{"type": _JSON_NAMES[kind].split()[-1], **form} for kind in self.json_types]
        return types_[0] if len(types_) == 1 else {"anyOf": types_}


class Reading(NamedTuple):
    """What a JSON object was read as.

    Attributes:
        received: The object as received.
        document: The same without the values that depart from the contract, for the generated parser.
        problems: Each difference from the contract.
        flaw: Why no model can be made of it; None if one can.
    """

    received: dict[str, Any]
    document: dict[str, Any]
    problems: tuple[Drift, ...]
    flaw: str | None


class Reader:
    """Reads JSON objects as one model.

    Args:
        generated: The generated model.
        model: Our model. Its fields have the generated names, or those without their last underscore.
        namespace: Where the generated model's type hints are found.
        unset: The type of the value that a generated model has for a field that was not sent.
    """

    def __init__(self, generated: type, model: type, namespace: Mapping[str, Any], unset: type) -> None:
        self.fields: tuple[Field, ...] = _fields(generated, model, dict(namespace), unset)
        self._unset = unset
        self._by_wire_name = {field.wire_name: field for field in self.fields}
        self._required = [field for field in self.fields if field.is_required]

    def read(self, document: dict[str, Any]) -> Reading:
        """Compare a JSON object with the contract, and take out what departs from it.

        Args:
            document: The object; it is not changed.
        """
        problems: list[Drift] = []
        cleaned = document
        unknown = 0
        for wire_name, value in document.items():
            field = self._by_wire_name.get(wire_name)
            if field is None:
                unknown += 1
                if unknown <= MAX_UNKNOWN_FIELDS:
                    problems.append(Drift("unknown_field", wire_name, _JSON_NAMES[type(value)]))
                continue
            if field.is_free and type(value) in field.json_types:
                continue
            problem, readable = _examine(field, value)
            if problem is not None:
                problems.append(problem)
            if readable is value:
                continue
            cleaned = dict(document) if cleaned is document else cleaned
            if readable is _UNREADABLE:
                del cleaned[wire_name]
            else:
                cleaned[wire_name] = readable
        if unknown > MAX_UNKNOWN_FIELDS:
            found = f"{unknown - MAX_UNKNOWN_FIELDS} more unknown fields"
            problems.append(Drift("unknown_field", "…", found))
        return Reading(document, cleaned, tuple(problems), self._flaw(document, cleaned))

    def _flaw(self, document: dict[str, Any], cleaned: dict[str, Any]) -> str | None:
        for field in self._required:
            if field.wire_name not in cleaned:
                if field.wire_name not in document:
                    return f"the field {field.wire_name!r} is missing"
                found = _JSON_NAMES[type(document[field.wire_name])]
                return f"the field {field.wire_name!r} is {found}, not {field.expected}"
        return None

    def arguments(self, parsed: Any, reading: Reading) -> dict[str, Any]:
        """Return the arguments of our model, in the order of the fields.

        A field that departs from the contract is None; one that was not sent has the model's default.

        Args:
            parsed: The generated model.
            reading: What it was made of.
        """
        arguments: dict[str, Any] = {}
        for field in self.fields:
            value = getattr(parsed, field.generated_name)
            if isinstance(value, self._unset):
                value = None if field.wire_name in reading.received else field.default()
            elif field.is_object and value is not None:
                value = value.additional_properties
            arguments[field.name] = value
        return arguments

    def json_schema(self) -> dict[str, Any]:
        """Return the model as a JSON schema, as the contract describes it.

        Source: JSON Schema 2020-12.
        """
        return {
            "type": "object",
            "properties": {field.wire_name: field.json_schema() for field in self.fields},
            "required": [field.wire_name for field in self.fields if field.is_required],
            "additionalProperties": True,
        }


def _examine(field: Field, value: object) -> tuple[Drift | None, Any]:
    """Return what is wrong with a field's value, and the value as the generated parser can read it."""
    kind = type(value)
    if kind not in field.json_types:
        found = _JSON_NAMES[kind]
        drift = Drift("wrong_type", field.wire_name, found, field.expected)
        return drift._replace(kind="null") if value is None else drift, _UNREADABLE
    if field.is_date and isinstance(value, str):
        moment = read_date(value)
        if moment is None:
            expected = "a date and time with a time zone as in RFC 3339"
            return Drift("unreadable_date", field.wire_name, _form(value), expected), _UNREADABLE
        # Python reads the usual form itself, and neither small letters nor leap seconds.
        return None, value if value.isupper() and ":60" not in value else moment.isoformat()
    if field.values is not None and value not in field.values:
        return Drift("unknown_value", field.wire_name, str(value), "a documented value"), value
    return None, value


def _form(text: str) -> str:
    # Not the text itself: it goes into logs, and a server may have put anything there.
    if not _LIKE_A_DATE.fullmatch(text):
        return "text of another form" if text else "empty text"
    return f"text such as {re.sub('[0-9]', '0', text)!r}"


def read_date(text: str) -> dt.datetime | None:
    """Read a date and time as RFC 3339 describes it; None for any other text.

    A leap second is the second that follows it, as Python has none.

    Source: RFC 3339 section 5.6.
    """
    # Python alone reads more forms than these, some without a time zone, and each version reads others.
    if not _RFC_3339.fullmatch(text):
        return None
    plain = text.upper()
    is_leap = plain[17:19] == "60"
    try:
        if is_leap:
            return dt.datetime.fromisoformat(f"{plain[:17]}59{plain[19:]}") + dt.timedelta(seconds=1)
        return dt.datetime.fromisoformat(plain)
    except (ValueError, OverflowError):  # there is no such day, or none that Python has
        return None


def _fields(generated: type, model: type, namespace: dict[str, Any], unset: type) -> tuple[Field, ...]:
    """Describe the fields of a generated model by what it says of itself."""
    hints = typing.get_type_hints(generated, localns=namespace)
    defaults = {field.name: field.default for field in attrs.fields(model)}
    described = [field for field in attrs.fields(generated) if field.init]
    kinds = {field.name: _kinds(hints[field.name], unset) for field in described}
    samples = {name: _samples(of_field) for name, of_field in kinds.items()}
    full: Any = generated(**{name: one for name, (one, _) in samples.items()})
    fields: list[Field] = []
    for name, of_field in kinds.items():
        # Its name in JSON is the one whose value changes with it.
        before, after = full.to_dict(), attrs.evolve(full, **{name: samples[name][1]}).to_dict()
        [wire_name] = (key for key in before if before[key] != after[key])
        values = {str(value) for kind in of_field if issubclass(kind, enum.Enum) for value in kind}
        json_types = frozenset(of_json for kind in of_field for of_json in _json_types(kind))
        own_name = name if name in defaults else name.removesuffix("_")
        fields.append(
            Field(
                wire_name=wire_name,
                generated_name=name,
                name=own_name,
                is_required=getattr(attrs.fields(generated), name).default is attrs.NOTHING,
                json_types=json_types,
                values=frozenset(values) or None,
                is_date=_DATE_TIME[0] in of_field,
                is_object=dict in json_types,
                is_free=not values and _DATE_TIME[0] not in of_field,
                default=_maker(defaults[own_name]),
            )
        )
    return tuple(fields)


def _maker(default: Any) -> Callable[[], Any]:
    return default.factory if isinstance(default, attrs.Factory) else lambda: default  # type: ignore[arg-type]


def _kinds(hint: Any, unset: type) -> list[Any]:
    is_union = typing.get_origin(hint) in {typing.Union, types.UnionType}
    members = typing.get_args(hint) if is_union else (hint,)
    kinds = [typing.get_origin(member) or member for member in members if member is not unset]
    return [_DATE_TIME[0] if issubclass(kind, dt.datetime) else kind for kind in kinds]


def _json_types(kind: Any) -> tuple[type, ...]:
    return (str,) if issubclass(kind, enum.Enum) else _JSON_TYPES.get(kind, (dict,))


def _samples(kinds: list[Any]) -> tuple[Any, Any]:
    for kind in kinds:
        if kind in _SAMPLES:
            return _SAMPLES[kind]
    one, other = kinds[0](), kinds[0]()
    other["a"] = 1
    return one, other
