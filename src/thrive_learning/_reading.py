"""Reads a JSON object as one of our models, tolerantly. Pure: it reports nothing and sends nothing.

Names, JSON types, and formats come from the contract, as `tools/contract_facts.py` has written them beside
the generated client, so that no table here repeats them.
"""

import datetime as dt
import functools
import re
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple, Protocol, TypeAlias, cast

import attrs

from thrive_learning._json_text import dump
from thrive_learning.drift import Drift

#: How many unknown fields of one object are listed by name. A server may send any number.
MAX_UNKNOWN_FIELDS: Final = 50

# How many different unknown fields a reader remembers, so that equal ones share an object.
_MAX_REMEMBERED = 500

_RFC_3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt](?:[01]\d|2[0-3]):[0-5]\d:(?:[0-5]\d|60)(?:\.\d+)?"
    r"(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_UUID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", re.ASCII)
_LIKE_A_DATE = re.compile(r"[0-9TtZz:.,+ -]{1,40}", re.ASCII)

#: What Python reads each type of JSON as.
_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int, float),
    "number": (int, float),
    "null": (type(None),),
}

_EXPECTED = {
    "object": "an object",
    "array": "an array",
    "string": "a string",
    "boolean": "a boolean",
    "integer": "an integer",
    "number": "a number",
    "null": "null",
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


class DescribedField(Protocol):
    """One field as the contract describes it; see `FieldFacts` of the generated client."""

    @property
    def name(self) -> str: ...
    @property
    def wire_name(self) -> str: ...
    @property
    def json_types(self) -> tuple[str, ...]: ...
    @property
    def form(self) -> str: ...
    @property
    def values(self) -> dict[str, Any] | None: ...
    @property
    def model(self) -> str | None: ...
    @property
    def items(self) -> "DescribedField | None": ...
    @property
    def is_required(self) -> bool: ...


class ReceivedJson(NamedTuple):
    """What a model was read from.

    Attributes:
        text: The JSON as received.
        values: The value that each field had then, in the order of the fields.
        problems: Each difference from the contract. Objects of one response with the same differences share
            this list, so that its text is masked once.
    """

    text: str
    values: tuple[object, ...]
    problems: list[Drift]


class Reading(NamedTuple):
    """What a JSON object or array was read as.

    Attributes:
        document: The JSON without what departs from the contract, for the generated parser.
        values: The values of an object's fields, by the names of our model's attributes.
        received: What our model was read from.
        items: The models of an array.
        problems: Each difference from the contract, without repetitions.
        lists: The lists that hold them.
        flaw: Why no model can be made of it; None if one can.
    """

    document: Any = None
    values: dict[str, Any] = {}  # noqa: RUF012 - nothing changes it
    received: ReceivedJson | None = None
    items: tuple[Any, ...] = ()
    problems: tuple[Drift, ...] = ()
    lists: Sequence[list[Drift]] = ()
    flaw: str | None = None

    def show_as(self, shown: Sequence[Drift]) -> None:
        """Let the models show the problems in another form.

        Args:
            shown: One for each of `problems`, in their order.
        """
        by_identity = {id(drift): other for drift, other in zip(self.problems, shown, strict=True)}
        for drifts in self.lists:
            drifts[:] = [by_identity[id(drift)] for drift in drifts]


class _Pass:
    """One reading: the items whose texts are known, those texts, and the problems found so far."""

    __slots__ = ("items", "known", "texts")

    def __init__(self, items: object, texts: Sequence[str] | None) -> None:
        self.items = items
        self.texts = texts
        self.known: dict[tuple[int, ...], list[Drift]] = {}

    def text_of(self, items: list[Any], index: int) -> str:
        """Return the JSON text of an item."""
        # The texts are those of one array. There may be others, beside it and within its items.
        return self.texts[index] if self.texts is not None and items is self.items else dump(items[index])

    def shared(self, problems: list[Drift]) -> list[Drift]:
        """Return the list that objects with these problems share."""
        # By identity: that is much faster, and the reader has one object for each unknown field.
        return self.known.setdefault(tuple(map(id, problems)), problems)

    def reading(self, **found: Any) -> Reading:
        problems = {drift: drift for drifts in self.known.values() for drift in drifts}
        for drifts in self.known.values():  # equal ones become identical
            drifts[:] = [problems[drift] for drift in drifts]
        return Reading(problems=tuple(problems.values()), lists=[*self.known.values()], **found)


#: Turns a JSON value into one of Python, and adds to a list how it departs from the contract. A value that
#: departs becomes None.
_Convert: TypeAlias = Callable[[Any, list[Drift], _Pass], Any]


class Reader:
    """Reads JSON objects as one model.

    Args:
        fields: What the contract says of the model.
        model: Our model. Its public attributes are the fields of the contract, and no others.
        reader_of: Returns the reader for a model by the name of its schema.

    Raises:
        TypeError: The contract has a field that the model lacks, or the other way round.
    """

    def __init__(
        self, fields: Iterable[DescribedField], model: type, reader_of: Callable[[str], "Reader"]
    ) -> None:
        own = {field.name: field.default for field in attrs.fields(model) if not field.name.startswith("_")}
        described = {field.name: field for field in fields}
        _check_fields(model, {*own}, {*described})
        self.model: Any = model
        self.fields: tuple[DescribedField, ...] = tuple(described[name] for name in own)
        self._reader_of = reader_of
        self._blank: dict[str, Any] = dict.fromkeys(own)
        self._defaults: list[tuple[DescribedField, Callable[[], Any]]] = [
            (field, own[field.name].factory)
            for field in self.fields
            if isinstance(own[field.name], attrs.Factory)  # type: ignore[arg-type]
        ]
        self._slots = {field.wire_name: (field, *self._converters(field)) for field in self.fields}
        self._required = [field for field in self.fields if field.is_required]
        self._unknown: dict[tuple[str, type], Drift] = {}
        #: The field whose items are models, in JSON; None if there is none.
        self.items_of: str | None = next(
            (field.wire_name for field in self.fields if field.items is not None and field.items.model), None
        )

    def read(self, document: dict[str, Any], text: str, texts: Sequence[str] | None = None) -> Reading:
        """Compare a JSON object with the contract, and convert what the contract describes.

        Args:
            document: The object; it is not changed.
            text: Its JSON text.
            texts: The JSON texts of the items of its field `items_of`; None to make them from the items.
        """
        current = _Pass(document.get(self.items_of or ""), texts)
        problems: list[Drift] = []
        values = self._take(document, problems, current)
        return current.reading(
            document=self._cleaned(document, values.__getitem__),
            values=values,
            received=ReceivedJson(text, tuple(values.values()), current.shared(problems)),
            flaw=self._flaw(document, values),
        )

    def read_items(self, documents: list[Any], texts: Sequence[str] | None = None) -> Reading:
        """Read each item of a JSON array.

        Args:
            documents: The items.
            texts: Their JSON texts; None to make them from the items.
        """
        current = _Pass(documents, texts)
        problems: list[Drift] = []
        items = self._items("", documents, problems, current)
        current.shared(problems)
        return current.reading(document=[], items=items)

    def _take(self, document: dict[str, object], problems: list[Drift], current: _Pass) -> dict[str, Any]:
        values = self._blank.copy()
        slots = self._slots
        unknown = 0
        for wire_name, value in document.items():
            slot = slots.get(wire_name)
            kind = type(value)
            if slot is None:
                unknown += 1
                if unknown <= MAX_UNKNOWN_FIELDS:
                    problems.append(self._unknown.get((wire_name, kind)) or self._note(wire_name, kind))
                continue
            field, converters, names = slot
            if kind not in converters:
                drift = Drift("wrong_type", wire_name, _JSON_NAMES[kind], names)
                problems.append(drift._replace(kind="null") if value is None else drift)
                continue
            convert = converters[kind]
            values[field.name] = value if convert is None else convert(value, problems, current)
        if unknown > MAX_UNKNOWN_FIELDS:
            found = f"{unknown - MAX_UNKNOWN_FIELDS} more unknown fields"
            problems.append(Drift("unknown_field", "…", found))
        for field, default in self._defaults:
            # A model that departs is an empty one. Any other field that departs is None.
            if values[field.name] is None and (field.model or field.wire_name not in document):
                values[field.name] = default()
        return values

    def _note(self, wire_name: str, kind: type) -> Drift:
        drift = Drift("unknown_field", wire_name, _JSON_NAMES[kind])
        if len(self._unknown) < _MAX_REMEMBERED:
            self._unknown[wire_name, kind] = drift
        return drift

    def _flaw(self, document: dict[str, object], values: dict[str, Any]) -> str | None:
        for field in self._required:
            if values[field.name] is not None:
                continue
            if field.wire_name not in document:
                return f"the field {field.wire_name!r} is missing"
            kind = type(document[field.wire_name])
            _, converters, words = self._slots[field.wire_name]
            if kind not in converters:
                return f"the field {field.wire_name!r} is {_JSON_NAMES[kind]}, not {words}"
            if converters[kind] is not None:
                return f"the field {field.wire_name!r} cannot be read"
        return None

    def _cleaned(self, document: dict[str, Any], value_of: Callable[[str], Any]) -> dict[str, Any]:
        """Return what the generated parser can read of a JSON object.

        The items of arrays are read here alone, because the parser would reject all of them for one.
        """
        cleaned = dict(document)
        for wire_name, (field, converters, _) in self._slots.items():
            received = document.get(wire_name)
            if received is None:  # missing, or null, which the parser takes for any other value
                if wire_name in document and "null" not in field.json_types:
                    del cleaned[wire_name]
                continue
            value = value_of(field.name)
            if value is None or type(received) not in converters:
                del cleaned[wire_name]
            elif type(received) is list:
                cleaned[wire_name] = []
            elif field.values is not None and str(value) not in field.values:
                # The parser would reject it, and what it makes of the value is not used.
                cleaned[wire_name] = next(iter(field.values.values()))
            elif isinstance(value, dt.date):  # Python reads the usual form itself, and no other
                cleaned[wire_name] = value.isoformat()
            elif field.model is not None and type(received) is dict:
                nested = self._reader_of(field.model)
                document_within = cast("dict[str, Any]", received)
                cleaned[wire_name] = nested._cleaned(document_within, functools.partial(getattr, value))  # noqa: SLF001
        return cleaned

    # One value

    def _converters(self, field: DescribedField) -> tuple[dict[type, _Convert | None], str]:
        """Return how to convert a value of each type, and the types in words. None takes it as it is."""
        python_types = [kind for name in field.json_types for kind in _PYTHON_TYPES[name]]
        words = " or ".join(_EXPECTED[name] for name in field.json_types)
        converters: dict[type, _Convert | None] = dict.fromkeys(python_types)
        if "integer" in field.json_types and "number" not in field.json_types:
            converters[float] = _integer_converter(field, words)
        if field.values is not None:
            converters |= dict.fromkeys(converters.keys() & {str, int}, _value_converter(field, field.values))
        elif field.form in _FORMS and str in converters:
            converters[str] = _text_converter(field, *_FORMS[field.form])
        if "object" in field.json_types and field.model is not None:
            converters[dict] = self._object_converter(field, field.model)
        if "array" in field.json_types and field.items is not None:
            converters[list] = self._array_converter(field, field.items)
        return converters, words

    def _object_converter(self, field: DescribedField, model: str) -> _Convert:
        def convert(value: dict[str, Any], problems: list[Drift], current: _Pass) -> Any:
            made = self._reader_of(model).model_of(value, dump(value), current)
            if isinstance(made, str):
                problems.append(Drift("wrong_type", field.wire_name, f"an object where {made}", "an object"))
                return None
            return made

        return convert

    def _array_converter(self, field: DescribedField, items: DescribedField) -> _Convert:
        if items.model is not None:
            model = items.model

            def convert_models(value: list[Any], problems: list[Drift], current: _Pass) -> Any:
                return self._reader_of(model)._items(field.wire_name, value, problems, current)  # noqa: SLF001

            return convert_models
        converters, words = self._converters(items)

        def convert(value: list[Any], problems: list[Drift], current: _Pass) -> Any:
            converted: list[Any] = []
            for index, item in enumerate(value):
                name = f"{field.wire_name}[{index}]"
                if type(item) not in converters:
                    problems.append(Drift("wrong_type", name, _JSON_NAMES[type(item)], words))
                    return None
                found: list[Drift] = []
                of_kind = converters[type(item)]
                converted.append(item if of_kind is None else of_kind(item, found, current))
                problems += [drift._replace(field=f"{name}{drift.field}") for drift in found]
                if any(drift.breaks_contract for drift in found):
                    return None
            return tuple(converted)

        return convert

    def _items(
        self, wire_name: str, items: list[Any], problems: list[Drift], current: _Pass
    ) -> tuple[Any, ...]:
        """Read each item of an array. One that cannot be read is left out and reported."""
        made: list[Any] = []
        for index, item in enumerate(items):
            if type(item) is dict:
                document = cast("dict[str, Any]", item)
                model = self.model_of(document, current.text_of(items, index), current)
                if not isinstance(model, str):
                    made.append(model)
                    continue
                flaw = model
            else:
                flaw = f"it is {_JSON_NAMES[type(item)]}, not an object"
            problems.append(Drift("unreadable_item", f"{wire_name}[{index}]", flaw))
        return tuple(made)

    def model_of(self, document: dict[str, Any], text: str, current: _Pass) -> Any:
        """Return our model of an object within another one, or what is wrong with the object."""
        problems: list[Drift] = []
        values = self._take(document, problems, current)
        flaw = self._flaw(document, values)
        if flaw is not None:
            return flaw
        return self.model(
            **values, received=ReceivedJson(text, tuple(values.values()), current.shared(problems))
        )

    # As a JSON schema

    def json_schema(self, within: tuple[type, ...] = ()) -> dict[str, Any]:
        """Return the model as a JSON schema, as the contract describes it.

        Args:
            within: The models that this one is part of. A model that is part of itself is any object there.

        Source: JSON Schema 2020-12.
        """
        if self.model in within:
            return {"type": "object"}
        within = (*within, self.model)
        return {
            "type": "object",
            "properties": {field.wire_name: self._schema_of(field, within) for field in self.fields},
            "required": [field.wire_name for field in self.fields if field.is_required],
            "additionalProperties": True,
        }

    def _schema_of(self, field: DescribedField, within: tuple[type, ...]) -> dict[str, Any]:
        choices: list[dict[str, Any]] = []
        for kind in field.json_types:
            choice: dict[str, Any] = {"type": kind}
            if kind == "string" and field.form:
                choice["format"] = field.form
            elif kind == "object" and field.model is not None:
                choice = self._reader_of(field.model).json_schema(within)
            elif kind == "array" and field.items is not None:
                choice["items"] = self._schema_of(field.items, within)
            choices.append(choice)
        return choices[0] if len(choices) == 1 else {"anyOf": choices}


def _check_fields(model: type, own: set[str], described: set[str]) -> None:
    for name in sorted(own ^ described):
        if name in own:
            raise TypeError(f"{model.__name__}.{name} is not in the contract. Remove it, or add it there.")
        raise TypeError(
            f"the contract has {model.__name__}.{name}, and the class has no such attribute. Add it to "
            f"{model.__module__}.{model.__qualname__}, with its line in the docstring."
        )


def _value_converter(field: DescribedField, known: dict[str, Any]) -> _Convert:
    def convert(value: str | int, problems: list[Drift], _current: _Pass) -> Any:
        found = known.get(str(value))
        if found is not None:
            return found
        problems.append(Drift("unknown_value", field.wire_name, str(value), "a documented value"))
        return value

    return convert


def _integer_converter(field: DescribedField, words: str) -> _Convert:
    def convert(value: float, problems: list[Drift], _current: _Pass) -> int | None:
        # 1.0 is an integer. Source: JSON Schema 2020-12, validation, section 6.1.1.
        if value.is_integer():
            return int(value)
        problems.append(Drift("wrong_type", field.wire_name, "a number", words))
        return None

    return convert


def _text_converter(field: DescribedField, read: Callable[[str], object], expected: str) -> _Convert:
    def convert(value: str, problems: list[Drift], _current: _Pass) -> Any:
        found = read(value)
        if found is None:
            problems.append(Drift("unreadable_date", field.wire_name, _form(value), expected))
        return found

    return convert


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


def _read_day(text: str) -> dt.date | None:
    try:
        return dt.date.fromisoformat(text) if _DATE.fullmatch(text) else None
    except ValueError:  # there is no such day
        return None


def _read_uuid(text: str) -> uuid.UUID | None:
    return uuid.UUID(text) if _UUID.fullmatch(text) else None


#: How to read text of a format, and what was expected if that fails.
_FORMS: dict[str, tuple[Callable[[str], object], str]] = {
    "date-time": (read_date, "a date and time with a time zone as in RFC 3339"),
    "date": (_read_day, "a date as in RFC 3339"),
    "uuid": (_read_uuid, "a UUID"),
}
