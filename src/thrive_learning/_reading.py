"""Reads a JSON object as one of our models, tolerantly. Pure.

Names, JSON types, and formats come from the contract, which `tools/contract_facts.py` has written beside the
generated client, so that no table here repeats them.
"""

import datetime as dt
import functools
import operator
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple, cast

import attrs

from thrive_learning._converters import DescribedField, converters_of, is_identifier
from thrive_learning._json_text import JSON_NAMES, dump
from thrive_learning.drift import Drift

#: How many unknown fields of one object are reported individually. A server may send any number.
MAX_UNKNOWN_FIELDS: Final = 50

#: How many unreadable items of one array are reported individually. A page may have this many.
MAX_UNREADABLE_ITEMS: Final = 1000

#: The number of items after which a `Pass` looks at its limits.
ITEMS_BETWEEN_LOOKS: Final = 1000

# How many different unknown fields a reader remembers, so that equal problems share an object.
_MAX_REMEMBERED = 500

#: How many unknown fields beyond those are named in one text, because each name must be masked.
MAX_NEW_FIELDS: Final = 10_000
_MORE_FIELDS = Drift("unknown_field", "…", "one of too many unknown fields")


class ReceivedJson(NamedTuple):
    """The JSON of a model.

    Attributes:
        text: The JSON as received.
        values: The value of each field at that time, in the order of the fields.
        problems: The departures from the contract. Objects of one response with the same departures share
            this list, so that its text is masked once.
    """

    text: str
    values: tuple[object, ...]
    problems: list[Drift]


class Reading(NamedTuple):
    """The result of reading a JSON object or array.

    Attributes:
        document: The minimal document for the generated parser. The parser's result is not used, because it
            would reject everything for one invalid field.
        values: The values of an object's fields, by attribute name of our model.
        received: The JSON of our model.
        items: The models of an array.
        problems: The departures from the contract, without duplicates.
        lists: The lists that contain them.
        flaw: Why a model cannot be created; None if it can.
    """

    document: Any = None
    values: dict[str, Any] = {}  # noqa: RUF012 - nothing changes it
    received: ReceivedJson | None = None
    items: tuple[Any, ...] = ()
    problems: tuple[Drift, ...] = ()
    lists: Sequence[list[Drift]] = ()
    flaw: str | None = None

    def show_as(self, shown: Sequence[Drift]) -> None:
        """Replace the problems of the models.

        Args:
            shown: The replacement of each of `problems`, in order.
        """
        by_identity = {id(drift): other for drift, other in zip(self.problems, shown, strict=True)}
        for drifts in self.lists:
            drifts[:] = [by_identity[id(drift)] for drift in drifts]


class Pass:
    """One reading of a JSON text, with the problems found so far.

    Args:
        reader: The reader for the model in the text, or for its items.
        item_reader: The reader for the items that are converted during parsing.
        look: Called now and then while many items are read, to raise once a limit is exceeded.
    """

    __slots__ = ("_item_reader", "_known", "_left", "_look", "_made", "_reader", "new_fields")

    def __init__(self, reader: "Reader", item_reader: "Reader", look: Callable[[], object]) -> None:
        #: The number of unknown fields that no reader remembers.
        self.new_fields: int = 0
        self._look = look
        self._left = 2 * ITEMS_BETWEEN_LOOKS  # a page that can be requested, and its other members
        self._reader = reader
        self._item_reader = item_reader
        self._made: object = None
        self._known: dict[tuple[int, ...], list[Drift]] = {}

    def item(self, value: object, text: str) -> Any:
        """Return our model of an item of an array during parsing, or what is wrong with the item as text."""
        self._left -= 1
        if self._left < 0:
            self._continue()
        return self._item_reader.item(value, text, self)

    def count(self) -> None:
        """Count something that takes about as long as a small item, such as a member of a page."""
        self._left -= 1
        if self._left < 0:
            self._continue()

    def _continue(self) -> None:
        self._look()
        self._left = ITEMS_BETWEEN_LOOKS - 1

    def _item_within(self, reader: "Reader", value: object) -> Any:
        self.count()
        return reader.item(value, dump(value), self)

    def items(
        self, reader: "Reader", wire_name: str, values: list[Any], problems: list[Drift]
    ) -> tuple[Any, ...]:
        """Return the models of an array. An item that cannot be read is left out and reported.

        Args:
            reader: The reader for the items.
            wire_name: The name of the array.
            values: Its items, possibly converted.
            problems: Receives what is wrong with the items.
        """
        # One array was converted during parsing. There may be others, beside it and within its items.
        made = values if values is self._made else [self._item_within(reader, value) for value in values]
        if str not in map(type, made):
            return tuple(made)
        unreadable = 0
        for index, model in enumerate(made):
            if isinstance(model, str):
                unreadable += 1
                if unreadable <= MAX_UNREADABLE_ITEMS:
                    problems.append(Drift("unreadable_item", f"{wire_name}[{index}]", model))
        if unreadable > MAX_UNREADABLE_ITEMS:
            found = f"there are {unreadable - MAX_UNREADABLE_ITEMS} more such items"
            problems.append(Drift("unreadable_item", f"{wire_name}[…]", found))
        return tuple(model for model in made if not isinstance(model, str))

    def shared(self, problems: list[Drift]) -> list[Drift]:
        """Return the list that objects with the same problems share."""
        # By identity, which is much faster. The reader has one object for each unknown field.
        return self._known.setdefault(tuple(map(id, problems)), problems)

    def read(self, document: dict[str, Any], text: str, *, is_made: bool = False) -> Reading:
        """Compare a JSON object with the contract, and convert its documented fields.

        Args:
            document: The object; it is not changed.
            text: Its JSON text.
            is_made: Whether the items of the field `items_of` were converted by `item`.
        """
        self._made = document.get(self._reader.items_of or "") if is_made else None
        values, problems, flaw = self._reader.take(document, self)
        received = ReceivedJson(text, tuple(values.values()), self.shared(problems))
        least = self._reader.least(values.__getitem__)
        return self._concluded(document=least, values=values, received=received, flaw=flaw)

    def read_items(self, made: list[Any]) -> Reading:
        """Complete the reading of a JSON array whose items were converted by `item`."""
        self._made = made
        problems: list[Drift] = []
        items = self.items(self._item_reader, "", made, problems)
        self.shared(problems)
        return self._concluded(document=[], items=items)

    def _concluded(self, **found: Any) -> Reading:
        lists = [*self._known.values()]
        problems = {drift: drift for drifts in lists for drift in drifts}
        for drifts in lists:  # equal problems become identical
            drifts[:] = [problems[drift] for drift in drifts]
        return Reading(problems=tuple(problems.values()), lists=lists, **found)


def _departs(_value: Any, _problems: list[Drift], _current: Any) -> Any:
    """Mark a JSON type that a field may not have. It is only compared and never called."""


class Reader:
    """Reads JSON objects as one model.

    Args:
        fields: The model in the contract.
        model: Our model. Its public attributes are exactly the fields in the contract.
        reader_of: Returns the reader for a model by the name of its schema.

    Raises:
        TypeError: The model lacks a field of the contract, or has one that the contract lacks.
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
        self._values_of = operator.attrgetter("__class__", *own)  # with one name, it would return no tuple
        self._blank: dict[str, Any] = dict.fromkeys(own)
        # A nested model with a wrong type becomes an empty model. Any other invalid field becomes None.
        self._defaults: list[tuple[str, str, bool, Callable[[], Any]]] = [
            (field.name, field.wire_name, field.model is not None, own[field.name].factory)
            for field in self.fields
            if isinstance(own[field.name], attrs.Factory)  # type: ignore[arg-type]
        ]
        self._slots = {
            field.wire_name: (field.name, *converters_of(field, reader_of)) for field in self.fields
        }
        self._required = [
            (field.name, field, is_identifier(field)) for field in self.fields if field.is_required
        ]
        self._unknown: dict[tuple[str, type], Drift] = {}
        #: The names of the models within this one.
        self.parts: list[str] = [*filter(None, map(_model_of, self.fields))]
        #: The name in JSON of the field whose items are models; None without such a field.
        self.items_of: str | None = None
        self._item_model: str | None = None
        for field in self.fields:
            if self.items_of is None and field.items is not None and field.items.model is not None:
                self.items_of, self._item_model = field.wire_name, field.items.model

    def values_of(self, model: object) -> tuple[object, ...]:
        """Return the values of the fields of a model, in the order of `fields`."""
        return self._values_of(model)[1:]

    def begin(self, *, is_array: bool = False, look: Callable[[], object] = lambda: None) -> Pass:
        """Begin to read a JSON text.

        Args:
            is_array: Whether the text is an array of the model.
            look: Called now and then while many items are read, to raise once a limit is exceeded.
        """
        items_are_others = self._item_model is not None and not is_array
        item_reader = self._reader_of(str(self._item_model)) if items_are_others else self
        return Pass(self, item_reader, look)

    def take(  # noqa: C901 - it runs for every record, and calls would be slow
        self, document: dict[str, Any], current: Pass
    ) -> tuple[dict[str, Any], list[Drift], str | None]:
        """Convert the documented fields of an object.

        Returns:
            The values of the fields, the departures from the contract, and why a model cannot be created.
        """
        values = self._blank.copy()
        problems: list[Drift] = []
        slots = self._slots
        unknown = 0
        for wire_name, value in document.items():
            slot = slots.get(wire_name)
            kind = value.__class__
            if slot is None:
                unknown += 1
                if unknown <= MAX_UNKNOWN_FIELDS:
                    known = self._unknown.get((wire_name, kind))
                    problems.append(known or self._note(wire_name, kind, current))
                continue
            name, converters, words = slot
            convert = converters.get(kind, _departs)
            if convert is None:
                values[name] = value
            elif convert is _departs:
                drift = Drift("wrong_type", wire_name, JSON_NAMES[kind], words)
                problems.append(drift._replace(kind="null") if value is None else drift)
            else:
                values[name] = convert(value, problems, current)
        if unknown > MAX_UNKNOWN_FIELDS:
            found = f"{unknown - MAX_UNKNOWN_FIELDS} more unknown fields"
            problems.append(Drift("unknown_field", "…", found))
        for name, wire_name, is_model, default in self._defaults:
            if values[name] is None and (is_model or wire_name not in document):
                values[name] = default()
        for name, field, is_id in self._required:
            value = values[name]
            if value is None or (is_id and (not value or value.isspace())):
                flaw = self._flaw(field, document)
                if flaw is not None:
                    return values, problems, flaw
        return values, problems, None

    def item(self, value: object, text: str, current: Pass) -> Any:
        """Return our model of an item of an array, or what is wrong with the item as text."""
        if isinstance(value, dict):
            return self.model_of(cast("dict[str, Any]", value), text, current)
        return f"it is {JSON_NAMES[value.__class__]}, not an object"

    def _note(self, wire_name: str, kind: type, current: Pass) -> Drift:
        drift = Drift("unknown_field", wire_name, JSON_NAMES[kind])
        if len(self._unknown) < _MAX_REMEMBERED:
            self._unknown[wire_name, kind] = drift
            return drift
        current.new_fields += 1
        return drift if current.new_fields <= MAX_NEW_FIELDS else _MORE_FIELDS

    def _flaw(self, field: DescribedField, document: dict[str, Any]) -> str | None:
        """Return what is wrong with a required field that has no value; None if it may lack one."""
        if field.wire_name not in document:
            return f"the field {field.wire_name!r} is missing"
        kind = document[field.wire_name].__class__
        _, converters, words = self._slots[field.wire_name]
        if kind not in converters:
            return f"the field {field.wire_name!r} is {JSON_NAMES[kind]}, not {words}"
        if is_identifier(field):
            return f"the field {field.wire_name!r} is blank"
        return None if converters[kind] is None else f"the field {field.wire_name!r} cannot be read"

    def least(self, value_of: Callable[[str], Any]) -> dict[str, Any]:
        """Return the minimal document for the generated parser: the required fields.

        Args:
            value_of: Returns the value of a field by its name.
        """
        return {field.wire_name: self._for_parser(field, value_of(name)) for name, field, _ in self._required}

    def _for_parser(self, field: DescribedField, value: Any) -> Any:
        if isinstance(value, tuple):  # an array whose items were converted here
            return []
        if isinstance(value, (dt.date, uuid.UUID)):
            return str(value) if isinstance(value, uuid.UUID) else value.isoformat()
        if field.values is not None and str(value) not in field.values:
            return next(iter(field.values.values()))  # the parser would reject an undocumented value
        if field.model is not None and isinstance(value, self._reader_of(field.model).model):
            return self._reader_of(field.model).least(functools.partial(getattr, value))
        return value

    def model_of(self, document: dict[str, Any], text: str, current: Pass) -> Any:
        """Return our model of a nested object, or what is wrong with the object."""
        values, problems, flaw = self.take(document, current)
        if flaw is not None:
            return flaw
        received = ReceivedJson(text, tuple(values.values()), current.shared(problems))
        return self.model(received=received, **values)


def _model_of(field: DescribedField) -> str | None:
    return field.model if field.items is None else _model_of(field.items)


def _check_fields(model: type, own: set[str], described: set[str]) -> None:
    for name in sorted(own ^ described):
        if name in own:
            raise TypeError(f"{model.__name__}.{name} is not in the contract. Remove it, or add it there.")
        raise TypeError(
            f"The contract has {model.__name__}.{name}, and the class has no such attribute. Add it to "
            f"{model.__module__}.{model.__qualname__}, with its line in the docstring."
        )
