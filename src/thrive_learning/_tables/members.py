"""Splits the text of a JSON object into its members, each with its text as received. Pure."""

import json
from typing import Any, NamedTuple

from thrive_learning._json_text import members, next_token


class Number:
    """A placeholder for a number, which stays text."""

    def __init__(self, _text: str) -> None:
        pass


class Member(NamedTuple):
    """A member of an object.

    Attributes:
        text: The value as received.
        value: The parsed value, with a `Number` for each number.
    """

    text: str
    value: Any


_decoder = json.JSONDecoder(parse_int=Number, parse_float=Number)


def members_of(text: str) -> dict[str, Member]:
    """Return the members of a JSON object, each with its text as received.

    Raises:
        ValueError: The text is not a JSON object.
        RecursionError: The text is nested too deeply.
    """
    at = next_token(text, 0)
    if text[at : at + 1] != "{":
        _decoder.decode(text)  # raises unless it is JSON
        raise ValueError("not an object")

    def member_at(_name: str, at: int) -> tuple[Member, int]:
        value, end = _decoder.raw_decode(text, at)
        return Member(text[at:end], value), end

    return members(text, at, _decoder, member_at)
