"""Describes a store and its failures in messages and log records, without secrets."""

import os

#: A store that takes longer for an answer has failed, in seconds.
ANSWER_S = 5.0

_OURS = __name__.partition(".")[0]


def describe_store(store: object, kind: str) -> str:
    """Return the `repr` of one of our stores, or the name of a custom class, whose `repr` could have secrets.

    Args:
        store: The store.
        kind: What it is, such as `token store`.
    """
    return repr(store) if _is_ours(type(store)) else f"the {kind} {type(store).__name__}"


def describe_failure(error: Exception) -> str:
    """Describe an error without the messages of other packages, which may repeat what was sent."""
    if _is_ours(type(error)):
        return str(error)
    kind = type(error).__name__
    number = error.errno if isinstance(error, OSError) else None
    return kind if number is None else f"{kind} ({os.strerror(number)})"


def describe_lateness() -> str:
    """Describe the failure of a store that has not answered."""
    return f"no answer within {ANSWER_S:g} s"


def _is_ours(kind: type) -> bool:
    return kind.__module__.partition(".")[0] == _OURS
