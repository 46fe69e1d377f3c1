"""Describes the operations of the contract: what the generated code does not say of them."""

from collections.abc import Awaitable, Callable, Mapping
from types import ModuleType
from typing import Any, Generic, NamedTuple, TypeVar

from _thrive_learning_api.contract import OPERATIONS, OperationFacts
from _thrive_learning_api.types import Response

from thrive_learning._contract_model import ContractModel, complete_reader_of
from thrive_learning._exchange.reply import ArrayItems, json_body
from thrive_learning._reading import Reader, Reading

T = TypeVar("T")
M = TypeVar("M", bound=ContractModel)


class Operation(NamedTuple, Generic[T]):
    """One operation of the contract. Create it with `returning`, `returning_many`, or `returning_nothing`.

    Attributes:
        name: What errors, attempts, and log records call it, such as `activities.get`.
        subject: What it is about, for messages; a template that the arguments fill in.
        key: The same in short, for attempts and log records, such as the ID.
        facts: What the contract says of it.
        sync: The generated function for sync clients.
        asyncio: The generated function for async clients; it runs on trio as well.
        body: What the body of a success holds: "object", "array", or "nothing".
        reader: Reads that body, or its items; None if there is nothing to read.
        build: Returns the result for what was read.
    """

    name: str
    subject: str
    key: str
    facts: OperationFacts
    sync: Callable[..., Response[Any]]
    asyncio: Callable[..., Awaitable[Response[Any]]]
    body: str
    reader: Reader | None
    build: Callable[[Reading], T]

    @classmethod
    def returning(
        cls, model: type[M], name: str, module: ModuleType, *, subject: str, key: str = "{id}"
    ) -> "Operation[M]":
        """Describe an operation whose successes are a JSON object.

        Args:
            model: Our model of the object. The contract has a schema of the same name.
            name: What errors, attempts, and log records call it: the tag and the method.
            module: What the generator wrote for it.
            subject: What it is about, for messages; a template that the arguments of the call fill in.
            key: The same in short.

        Raises:
            TypeError: The contract documents other successes, another model, or other fields of the model.
        """

        def build(reading: Reading) -> M:
            return model(**reading.values, received=reading.received)

        return cls._described(name, module, subject, key, "object", model, build)  # type: ignore[return-value,arg-type]

    @classmethod
    def returning_many(
        cls, model: type[M], name: str, module: ModuleType, *, subject: str, key: str = "{id}"
    ) -> "Operation[tuple[M, ...]]":
        """Describe an operation whose successes are a JSON array. See `returning`."""
        return cls._described(name, module, subject, key, "array", model, lambda reading: reading.items)  # type: ignore[return-value,arg-type]

    @classmethod
    def returning_nothing(
        cls, name: str, module: ModuleType, *, subject: str, key: str = "{id}"
    ) -> "Operation[None]":
        """Describe an operation whose successes have no body. See `returning`."""
        return cls._described(name, module, subject, key, "nothing", None, lambda _reading: None)  # type: ignore[return-value,arg-type]

    @classmethod
    def _described(  # noqa: PLR0913, PLR0917 - what makes up an operation
        cls,
        name: str,
        module: ModuleType,
        subject: str,
        key: str,
        body: str,
        model: type[ContractModel] | None,
        build: Callable[[Reading], T],
    ) -> "Operation[T]":
        facts = OPERATIONS[module.__name__.rpartition(".")[2]]
        schema = None if model is None else model.__name__
        if {*facts.successes.values()} != {body} or facts.model != schema:
            raise TypeError(
                f"the contract says that {name} returns {facts.successes} of {facts.model}, not {body!r} of "
                f"{schema}. Describe it with another function or another model."
            )
        reader = None if schema is None else complete_reader_of(schema)
        return Operation(
            name, subject, key, facts, module.sync_detailed, module.asyncio_detailed, body, reader, build
        )

    @property
    def is_list(self) -> bool:
        """Whether a success holds any number of records."""
        return self.body == "array" or (self.reader is not None and self.reader.items_of is not None)

    def read(self, body: bytes) -> Reading | str:
        """Read the body of a documented success, or say what is wrong with it."""
        if self.reader is None:
            return Reading()
        current = self.reader.begin(is_array=self.body == "array")
        items = ArrayItems(self.reader.items_of if self.body == "object" else None, current.item)
        try:
            found = json_body(body, items=items if self.is_list else None)
            if isinstance(found, str):
                return found
            text, value = found
            if self.body == "array":
                return current.read_items(value)
            return current.read(value, text, is_made=self.is_list)
        except RecursionError:  # by an object within it, whose text is written anew
            return "its body is JSON that is nested too deeply"

    def subject_of(self, arguments: Mapping[str, object]) -> str:
        """Return what a call is about, for messages."""
        return self.subject.format_map(arguments)

    def key_of(self, arguments: Mapping[str, object]) -> str:
        """Return what a call is about, in short."""
        return self.key.format_map(arguments)
