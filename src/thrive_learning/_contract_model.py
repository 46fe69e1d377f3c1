"""The shared part of our models of the contract: their JSON, and its departures from the contract."""

import datetime as dt
import functools
import json
import uuid
from collections.abc import Iterable, Mapping
from operator import is_
from typing import Any, ClassVar, Self

import attrs

from thrive_learning._converters import DescribedField, is_identifier
from thrive_learning._json_text import compact, dump
from thrive_learning._reading import Reader, Reading, ReceivedJson
from thrive_learning.drift import Drift
from thrive_learning.errors import ConfigurationError

#: The contract's description of the fields of each model, by schema name.
DESCRIPTIONS: dict[str, Iterable[DescribedField]] = {}

# Our models, by schema name.
_MODELS: dict[str, type["ContractModel"]] = {}


@attrs.frozen(kw_only=True, eq=False)
class ContractModel:
    """A model in the contract. The attributes of a subclass are the fields in the contract."""

    _schema: ClassVar[str]
    _received: ReceivedJson | None = attrs.field(default=None, alias="received", eq=False, repr=False)

    def __init_subclass__(cls) -> None:
        if ContractModel in cls.__bases__:  # a class that a caller derives from a model is read as the model
            _MODELS[cls.__name__] = cls
            cls._schema = cls.__name__

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any]) -> Self:
        """Create a record from its JSON, such as a stored `to_dict()`, as tolerantly as from a response.

        Args:
            mapping: The record with the names of the contract, such as `contextId`.

        Raises:
            ConfigurationError: A required field is missing or has another type, or the mapping cannot be
                represented in JSON.

        Source: the reference pages, "Responses".
        """
        name = cls.__name__
        if not isinstance(mapping, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(
                f"The record is of type {type(mapping).__name__}. Pass a mapping such as {name}.to_dict()."
            )
        try:
            text = dump(dict(mapping))
            reading = cls._reader().begin().read(json.loads(text), text)
        except (TypeError, ValueError, RecursionError) as error:
            flaw = f"it cannot be represented in JSON ({error})"
        else:
            if reading.flaw is None:
                return cls._from_reading(reading)
            flaw = reading.flaw
        raise ConfigurationError(
            f"The mapping is not a record: {flaw}. Pass a mapping such as {name}.to_dict()."
        )

    @classmethod
    def _reader(cls) -> Reader:
        return reader_of(cls._schema)

    @classmethod
    def _from_reading(cls, reading: Reading) -> Self:
        return cls(**reading.values, received=reading.received)

    @property
    def problems(self) -> tuple[Drift, ...]:
        """The departures of its JSON from the contract; empty for a record created in Python."""
        if self._received is None:
            return ()
        replaced = {self._reader().fields[index].wire_name for index in self._replaced(self._received)}
        return tuple(
            drift for drift in self._received.problems if drift.field.partition("[")[0] not in replaced
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the record as the JSON that was received, including unknown fields.

        Every call returns a new copy. A field that `attrs.evolve` replaced has its new value. For a record
        that was created in Python, the JSON has its fields.
        """
        fields = self._reader().fields
        if self._received is None:
            document: dict[str, Any] = {}
            replaced = list(range(len(fields)))
        else:
            document = json.loads(self._received.text)
            replaced = self._replaced(self._received)
        for index in replaced:
            value = getattr(self, fields[index].name)
            if value is None:
                document.pop(fields[index].wire_name, None)
            else:
                document[fields[index].wire_name] = json.loads(dump(_as_json(value)))
        return document

    def to_json(self) -> str:
        """Return the record's JSON text as received, without the whitespace between its tokens.

        Unlike `to_dict()`, this keeps each number and each escape sequence as the server wrote it.
        """
        if self._received is None or self._replaced(self._received):
            return dump(self.to_dict())
        return compact(self._received.text)

    def _replaced(self, received: ReceivedJson) -> list[int]:
        # By identity, because `data` remains the same object when a user changes its content.
        values = self._reader().values_of(self)
        if all(map(is_, values, received.values)):  # most of the time, and twice as fast
            return []
        return [index for index, value in enumerate(values) if value is not received.values[index]]

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: object, _handler: object) -> Any:
        from pydantic_core import core_schema  # noqa: PLC0415 - called only by pydantic, which installs it

        from_json = core_schema.chain_schema(
            [
                core_schema.dict_schema(core_schema.str_schema()),
                core_schema.no_info_plain_validator_function(cls.from_dict),
            ]
        )
        return core_schema.json_or_python_schema(
            json_schema=from_json,
            python_schema=core_schema.union_schema([core_schema.is_instance_schema(cls), from_json]),
            serialization=core_schema.plain_serializer_function_ser_schema(cls.to_dict),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, _core_schema: object, _handler: object) -> dict[str, Any]:
        return {"title": cls.__name__, **_json_schema(cls._reader())}


@functools.cache
def reader_of(schema: str) -> Reader:
    """Return the reader for a model by the name of its schema.

    Raises:
        TypeError: The model is unknown, or its fields are not those of the contract.
    """
    model = _MODELS.get(schema)
    if model is None:
        raise TypeError(f"The contract has the model {schema}. Add a class of that name to models.py.")
    return Reader(DESCRIPTIONS[schema], model, reader_of)


def complete_reader_of(schema: str) -> Reader:
    """Return the reader for a model, after creating the readers for all models within it.

    Raises:
        TypeError: See `reader_of`. Otherwise, it would be raised while a response is read.
    """
    waiting, known = [schema], set[str]()
    while waiting:
        name = waiting.pop()
        if name not in known:
            known.add(name)
            waiting += reader_of(name).parts
    return reader_of(schema)


def _json_schema(reader: Reader, within: tuple[type, ...] = ()) -> dict[str, Any]:
    """Return the JSON schema of a model in the contract.

    Args:
        reader: The reader for the model.
        within: The enclosing models. A model within itself becomes any object.

    Source: JSON Schema 2020-12.
    """
    if reader.model in within:
        return {"type": "object"}
    within = (*within, reader.model)
    return {
        "type": "object",
        "properties": {field.wire_name: _schema_of(field, within) for field in reader.fields},
        "required": [field.wire_name for field in reader.fields if field.is_required],
        "additionalProperties": True,
    }


def _schema_of(field: DescribedField, within: tuple[type, ...]) -> dict[str, Any]:
    choices: list[dict[str, Any]] = []
    for kind in field.json_types:
        choice: dict[str, Any] = {"type": kind}
        if kind == "string" and field.form:
            choice["format"] = field.form
        elif kind == "object" and field.model is not None:
            choice = _json_schema(reader_of(field.model), within)
        elif is_identifier(field):
            choice["pattern"] = r"\S"
        elif kind == "array" and field.items is not None:
            choice["items"] = _schema_of(field.items, within)
        choices.append(choice)
    return choices[0] if len(choices) == 1 else {"anyOf": choices}


def _as_json(value: Any) -> Any:
    """Return the value of a field in a form that `json` accepts."""
    match value:
        case dt.date():
            return value.isoformat()
        case uuid.UUID():
            return str(value)
        case ContractModel():
            return value.to_dict()
        case tuple():
            return list(map(_as_json, value))  # pyright: ignore[reportUnknownArgumentType] - it is Any
        case _:
            return value
