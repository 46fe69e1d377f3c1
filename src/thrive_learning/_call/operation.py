"""Describes the operations of the contract, with the facts that the generated code does not have."""

from collections.abc import Awaitable, Callable, Mapping
from types import ModuleType
from typing import Any, Final, Generic, NamedTuple, TypeVar

from _thrive_learning_api.contract import OPERATIONS, OperationFacts
from _thrive_learning_api.types import Response

from thrive_learning._contract_model import ContractModel, complete_reader_of
from thrive_learning._exchange.reply import ArrayItems, json_body
from thrive_learning._reading import ITEMS_BETWEEN_LOOKS, Reader, Reading

#: The maximum number of items of a response. A page that can be requested has 1,000; a server that ignores
#: `perPage` may send more. Without a limit, 64 MiB of tiny items would hold an event loop for a minute.
MAX_ITEMS: Final = 100_000
#: The flaw of a response with more. It is known to be JSON so far, and its rest is not read.
TOO_MANY_ITEMS: Final = f"it has more than {MAX_ITEMS:,} items"

T = TypeVar("T")
M = TypeVar("M", bound=ContractModel)


class _Stopped(Exception):  # noqa: N818 - no error for users
    def __init__(self, result: str | None) -> None:
        super().__init__()
        self.result = result


class Operation(NamedTuple, Generic[T]):
    """One operation of the contract. Create it with `returning`, `returning_many`, or `returning_nothing`.

    Attributes:
        name: The name in errors, attempts, and log records, such as `activities.get`.
        subject: A template for the requested item in messages, filled from the arguments.
        key: A template for the same in short, such as the ID.
        facts: The contract's facts about the operation.
        sync: The generated function for sync clients.
        asyncio: The generated function for async clients, which also runs on trio.
        body: The body of a success: "object", "array", or "nothing".
        reader: Reads the body or its items; None without a body.
        build: Converts the reading to the result.
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
            model: Our model of the object, which has the name of its schema in the contract.
            name: The name in errors, attempts, and log records: the tag and the method.
            module: The generated module.
            subject: A template for the requested item in messages, filled from the arguments of the call.
            key: A template for the same in short.

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
    def _described(  # noqa: PLR0913, PLR0917 - the parts of an operation
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
                f"The contract says that {name} returns {facts.successes} of {facts.model}, not {body!r} of "
                f"{schema}. Describe it with another function or another model."
            )
        reader = None if schema is None else complete_reader_of(schema)
        return Operation(
            name, subject, key, facts, module.sync_detailed, module.asyncio_detailed, body, reader, build
        )

    @property
    def is_list(self) -> bool:
        """Whether a success has any number of records."""
        return self.body == "array" or (self.reader is not None and self.reader.items_of is not None)

    def read(self, body: bytes, is_over: Callable[[], bool] = lambda: False) -> Reading | str | None:
        """Read the body of a documented success.

        Args:
            body: The body.
            is_over: Returns whether the time of the call is over. Only a body that is much larger than a page
                is given up then.

        Returns:
            The reading; or what is wrong with the body; or None if the time was over before its end.
        """
        if self.reader is None:
            return Reading()
        looks = 0

        def look() -> None:
            nonlocal looks
            looks += 1
            if is_over():
                raise _Stopped(None)
            if looks * ITEMS_BETWEEN_LOOKS >= MAX_ITEMS:
                raise _Stopped(TOO_MANY_ITEMS)

        current = self.reader.begin(is_array=self.body == "array", look=look)
        name = self.reader.items_of if self.body == "object" else None
        items = ArrayItems(name, current.item, current.count)
        try:
            found = json_body(body, items=items if self.is_list else None)
            if isinstance(found, str):
                return found
            text, value = found
            if self.body == "array":
                return current.read_items(value)
            return current.read(value, text, is_made=self.is_list)
        except RecursionError:  # from an object in it, whose text is serialized again
            return "its body is JSON that is nested too deeply"
        except _Stopped as stopped:
            return stopped.result

    def key_of(self, arguments: Mapping[str, object]) -> str:
        """Return the requested item of a call in short."""
        return self.key.format_map(arguments)
