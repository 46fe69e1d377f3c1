"""A token as stores keep it."""

import json
from typing import Any, NoReturn, cast

import attrs


class EntryError(ValueError):
    """An entry of a store cannot be used. The message contains nothing of it."""


def _corrupt() -> EntryError:
    return EntryError("its entry was not written by this package")


def _mask(_value: str) -> str:
    return "'**********'"


def _check_value(_instance: "StoredToken", _attribute: "attrs.Attribute[str]", value: object) -> None:
    # Only these characters may be in a header, so that a writer of the store cannot inject headers.
    if (
        not isinstance(value, str)
        or not value.isascii()
        or not value.isprintable()
        or value.split() != [value]
    ):
        raise _corrupt()


# The end of the year 9999, which is the limit of datetime.
_END_OF_TIME = 253_402_214_400.0


def _check_seconds(_instance: "StoredToken", _attribute: "attrs.Attribute[float]", value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < _END_OF_TIME:
        raise _corrupt()


def _check_scopes(_instance: "StoredToken", _attribute: "attrs.Attribute[Any]", value: object) -> None:
    if not isinstance(value, tuple) or not all(
        isinstance(scope, str) for scope in cast("tuple[object, ...]", value)
    ):
        raise _corrupt()


@attrs.frozen(kw_only=True)
class StoredToken:
    """An access token as a `TokenStore` keeps it. It prints masked and cannot be pickled.

    Attributes:
        value: The token itself.
        expires_at: When it expires, in seconds since 1970-01-01 UTC (`time.time()`).
        lifetime_s: The time from its issue to its expiry, in seconds.
        scopes: The scopes that it has.

    Raises:
        ValueError: A value is not valid.
    """

    value: str = attrs.field(repr=_mask, validator=_check_value)
    expires_at: float = attrs.field(validator=_check_seconds)
    lifetime_s: float = attrs.field(validator=_check_seconds)
    scopes: tuple[str, ...] = attrs.field(validator=_check_scopes)

    def to_json(self) -> str:
        """Return the token as JSON text for a store. The text contains the token unmasked."""
        return json.dumps(attrs.asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> "StoredToken":
        """Read text that `to_json` returned.

        Raises:
            ValueError: The text is anything else. The message does not repeat it.
        """
        try:
            fields: Any = json.loads(text)
            scopes: Any = fields["scopes"]
            return cls(**fields | {"scopes": tuple(scopes) if isinstance(fields["scopes"], list) else None})
        except (ValueError, TypeError, KeyError, RecursionError):
            problem = _corrupt()
        raise problem  # outside `except`, whose error's frames hold the token

    def __reduce__(self) -> NoReturn:
        raise TypeError("A StoredToken cannot be pickled. Use to_json() to get it as text.")
