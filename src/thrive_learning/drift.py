"""Departures of a response from the contract. Imports nothing of the project."""

from typing import Literal, NamedTuple

_LONGEST_QUOTE = 64


class Drift(NamedTuple):
    """One difference between a response and the contract. `str()` describes it.

    The kinds `null`, `wrong_type`, and `unreadable_date` break the contract, and the field is read as None.
    `unreadable_item` breaks it too: an item of a page is not a record and is left out. The kinds
    `unknown_field` and `unknown_value` are legal, because the contract allows more fields and values.

    Attributes:
        kind: The kind of difference.
        field: The name of the field in JSON.
        found: The content of the field: the name of a JSON type, the format of a date with zeros for its
            digits, or a value that the contract does not list.
        expected: The type or format in the contract; empty for an unknown field.
        operation: The method that was called, such as `activities.get`; None for a record that was not
            fetched.
    """

    kind: Literal[
        "null", "wrong_type", "unreadable_date", "unreadable_item", "unknown_field", "unknown_value"
    ]
    field: str
    found: str
    expected: str = ""
    operation: str | None = None

    @property
    def breaks_contract(self) -> bool:
        """Whether the difference breaks the contract, so that `strict=True` rejects the response."""
        return self.kind in {"null", "wrong_type", "unreadable_date", "unreadable_item"}

    def __str__(self) -> str:
        if self.kind == "unknown_field":
            return f"the contract has no field {_quote(self.field)} ({self.found})"
        if self.kind == "unreadable_item":
            return f"the item {self.field} cannot be read: {self.found}"
        found = _quote(self.found) if self.kind == "unknown_value" else self.found
        return f"the field {_quote(self.field)} is {found}, not {self.expected}"


def _quote(text: str) -> str:
    return repr(text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…")
