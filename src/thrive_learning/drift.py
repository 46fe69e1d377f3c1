"""How a response departs from the contract, or goes beyond it. Imports nothing of the project."""

from typing import Literal, NamedTuple

_LONGEST_QUOTE = 64


class Drift(NamedTuple):
    """One way in which a response differs from what the contract describes; `str()` says it in words.

    The kinds `null`, `wrong_type` and `unreadable_date` break the contract, and the field is read as None.
    So does `unreadable_item`: an item of a page is not a record, and is left out.
    The kinds `unknown_field` and `unknown_value` are legal: the contract allows further fields and values.

    Attributes:
        kind: What is different.
        field: The field's name as in JSON.
        found: What the field holds: the name of a JSON type, the form of a date with its digits as zeros, or
            a value that the contract does not know.
        expected: What the contract describes; empty for an unknown field.
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
        """Whether the contract rules it out, so that `strict=True` rejects the response."""
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
