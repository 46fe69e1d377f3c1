"""Converts the JSON values of single fields, by the contract. Pure."""

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

from thrive_learning._formats import FORMATS, form_of
from thrive_learning._json_text import JSON_NAMES, dump
from thrive_learning.drift import Drift

#: Each JSON type in words, and its Python types.
_JSON_TYPES: dict[str, tuple[str, tuple[type, ...]]] = {
    "object": ("an object", (dict,)),
    "array": ("an array", (list,)),
    "string": ("a string", (str,)),
    "boolean": ("a boolean", (bool,)),
    "integer": ("an integer", (int,)),
    "number": ("a number", (int, float)),
    "null": ("null", (type(None),)),
}


class DescribedField(Protocol):
    """One field in the contract; see `FieldFacts` of the generated client."""

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


#: Converts a JSON value, and appends its departures from the contract to a list. The last argument is the
#: `Pass` of the reading. A value that departs becomes None.
Convert: TypeAlias = Callable[[Any, list[Drift], Any], Any]

#: Returns the `Reader` for a model by the name of its schema.
ReaderOf: TypeAlias = Callable[[str], Any]


def converters_of(field: DescribedField, reader_of: ReaderOf) -> tuple[dict[type, Convert | None], str]:
    """Return the converter of each Python type that a field may have, and its JSON types in words.

    None keeps the value unchanged.
    """
    words = " or ".join(_JSON_TYPES[name][0] for name in field.json_types)
    converters: dict[type, Convert | None] = {
        kind: None for name in field.json_types for kind in _JSON_TYPES[name][1]
    }
    if "integer" in field.json_types and "number" not in field.json_types:
        converters[float] = _integer_converter(field, words)
    if field.values is not None:
        converters |= dict.fromkeys(converters.keys() & {str, int}, _value_converter(field, field.values))
    elif field.form in FORMATS and str in converters:
        converters[str] = _text_converter(field, *FORMATS[field.form])
    if "object" in field.json_types and field.model is not None:
        converters[dict] = _object_converter(field, field.model, reader_of)
    if "array" in field.json_types and field.items is not None:
        converters[list] = _array_converter(field, field.items, reader_of)
    return converters, words


def is_identifier(field: DescribedField) -> bool:
    """Return whether a field is the required ID of a model.

    A blank one identifies nothing. Other records would have the same, and all but one would be dropped.
    """
    return field.is_required and field.wire_name == "id" and field.json_types == ("string",)


def _object_converter(field: DescribedField, model: str, reader_of: ReaderOf) -> Convert:
    def convert(value: dict[str, Any], problems: list[Drift], current: Any) -> Any:
        made = reader_of(model).model_of(value, dump(value), current)
        if isinstance(made, str):
            problems.append(Drift("wrong_type", field.wire_name, f"an object where {made}", "an object"))
            return None
        return made

    return convert


def _array_converter(field: DescribedField, items: DescribedField, reader_of: ReaderOf) -> Convert:
    if items.model is not None:
        model = items.model

        def convert_models(value: list[Any], problems: list[Drift], current: Any) -> Any:
            return current.items(reader_of(model), field.wire_name, value, problems)

        return convert_models
    converters, words = converters_of(items, reader_of)

    def convert(value: list[Any], problems: list[Drift], current: Any) -> Any:
        converted: list[Any] = []
        for index, item in enumerate(value):
            name = f"{field.wire_name}[{index}]"
            if type(item) not in converters:
                problems.append(Drift("wrong_type", name, JSON_NAMES[type(item)], words))
                return None
            found: list[Drift] = []
            of_kind = converters[type(item)]
            converted.append(item if of_kind is None else of_kind(item, found, current))
            problems += [drift._replace(field=f"{name}{drift.field}") for drift in found]
            if any(drift.breaks_contract for drift in found):
                return None
        return tuple(converted)

    return convert


def _value_converter(field: DescribedField, known: dict[str, Any]) -> Convert:
    def convert(value: str | int, problems: list[Drift], _current: Any) -> Any:
        found = known.get(str(value))
        if found is not None:
            return found
        problems.append(Drift("unknown_value", field.wire_name, str(value), "a documented value"))
        return value

    return convert


def _integer_converter(field: DescribedField, words: str) -> Convert:
    def convert(value: float, problems: list[Drift], _current: Any) -> int | None:
        # 1.0 is an integer. Source: JSON Schema 2020-12, validation, section 6.1.1.
        if value.is_integer():
            return int(value)
        problems.append(Drift("wrong_type", field.wire_name, "a number", words))
        return None

    return convert


def _text_converter(field: DescribedField, read: Callable[[str], object], expected: str) -> Convert:
    def convert(value: str, problems: list[Drift], _current: Any) -> Any:
        found = read(value)
        if found is None:
            problems.append(Drift("unreadable_date", field.wire_name, form_of(value), expected))
        return found

    return convert
