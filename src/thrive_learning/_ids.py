"""Turns text into a validated ID before anything is sent. Pure."""

import re

from thrive_learning._formats import shown
from thrive_learning.errors import InvalidIdError

_HEX_24 = re.compile(r"[0-9a-fA-F]{24}")


def validate_activity_id(value: object) -> str:
    """Return a validated activity ID.

    Args:
        value: Exactly 24 hexadecimal digits, in either case. Nothing is stripped or converted.

    Returns:
        The ID unchanged.

    Raises:
        InvalidIdError: The value is anything else. `.value` contains it.

    Source: the reference page of `GET /activity/{id}`, whose pattern is `^[0-9a-fA-F]{24}$`.
    """
    # Of the type itself, because isinstance() believes a mock's __class__.
    kind: type = type(value)
    match = _HEX_24.fullmatch(value) if isinstance(value, str) and issubclass(kind, str) else None
    if match is None:
        raise _invalid(value)
    return match.group()


def _invalid(value: object) -> InvalidIdError:
    kind: type = type(value)
    if not isinstance(value, str) or not issubclass(kind, str):
        problem = f"it is of type {kind.__name__}, not str. Pass the ID as text"
    elif _HEX_24.fullmatch(str.strip(value)):
        problem = "it has white space around it. Strip it first"
    elif len(value) != 24:  # noqa: PLR2004 - the length in the pattern
        plural = "" if len(value) == 1 else "s"
        problem = (
            f"it has {len(value)} character{plural} instead of 24 hexadecimal digits. Pass the `id` of an "
            "activity record"
        )
    else:
        problem = "it has characters other than hexadecimal digits. Pass the `id` of an activity record"
    # Errors hold plain data, so that they can be pickled. Any other value is kept as its text.
    plain = value is None or type(value) in {str, bytes, bool, int, float}
    return InvalidIdError(
        f"{shown(value)} is not an activity ID, because {problem}.",
        value=value if plain else shown(value),
    )
