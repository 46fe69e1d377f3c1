"""Split and indent JSON text without changing its numbers and escapes, which `json` would do. Pure."""

import json
import re
from typing import Any, NamedTuple

from thrive_learning._json_text import members, next_token

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"|[{}\[\],:]|[^"{}\[\],:\s]++')


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


def indented(text: str, indent: int = 2) -> str:
    """Format JSON text with one member or item per line.

    Args:
        text: Valid JSON.
        indent: The number of spaces per level.
    """
    parts: list[str] = []
    depth = 0
    last = ""
    for found in _TOKEN.findall(text):
        if found in {"}", "]"}:
            depth -= 1
            parts.append(found if last in {"{", "["} else f"\n{' ' * indent * depth}{found}")
        else:
            if last in {"{", "[", ","}:
                parts.append(f"\n{' ' * indent * depth}")
            parts.append(": " if found == ":" else found)
            depth += found in {"{", "["}
        last = found
    return "".join(parts)
