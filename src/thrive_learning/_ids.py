"""Text → a validated id, before anything is sent. Pure."""

import re
import reprlib

from thrive_learning.errors import InvalidIdError

_HEX_24 = re.compile(r"[0-9a-fA-F]{24}")

_shortened = reprlib.Repr()
_shortened.maxstring = _shortened.maxother = 80


def activity_id(value: object) -> str:
    """Validate the id of an activity.

    Args:
        value: Exactly 24 hexadecimal digits, in either case. Nothing is stripped or converted.

    Returns:
        The id as it was given.

    Raises:
        InvalidIdError: It is anything else; `.value` holds it.

    Source: the reference page of `GET /activity/{id}`, whose pattern is `^[0-9a-fA-F]{24}$`.
    """
    # Of the type itself: isinstance() believes what a mock says of its class.
    kind: type = type(value)
    match = _HEX_24.fullmatch(value) if isinstance(value, str) and issubclass(kind, str) else None
    if match is None:
        raise _invalid(value)
    return match.group()


def shown(value: object) -> str:
    """Return an invalid argument as a message shows it: its repr, in short."""
    try:
        return _shortened.repr(value)
    except Exception:  # noqa: BLE001 - a repr may fail in any way, such as that of an int with 5,000 digits
        return f"a value of type {type(value).__name__}"


def _invalid(value: object) -> InvalidIdError:
    kind: type = type(value)
    if not isinstance(value, str) or not issubclass(kind, str):
        problem = f"it is of type {kind.__name__}, not str; pass the id as text"
    elif _HEX_24.fullmatch(str.strip(value)):
        problem = "it has white space around it; strip the text first"
    elif len(value) != 24:  # noqa: PLR2004 - the length that the pattern asks for
        plural = "" if len(value) == 1 else "s"
        problem = f"it has {len(value)} character{plural}; pass the `id` of an activity record"
    else:
        problem = "it holds other characters; pass the `id` of an activity record"
    # Errors hold plain data, so that they pickle: anything else is kept as the text that is shown.
    plain = value is None or type(value) in {str, bytes, bool, int, float}
    return InvalidIdError(
        f"{shown(value)} is not an activity id, which is exactly 24 hexadecimal digits: {problem}",
        value=value if plain else shown(value),
    )
