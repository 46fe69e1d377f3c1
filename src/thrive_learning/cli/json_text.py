"""JSON text taken apart and laid out without changing its numbers and escapes, as Python would. Pure."""

import json
import re
from typing import Any, NamedTuple, cast

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"|[{}\[\],:]|[^"{}\[\],:\s]++')
_WHITE_SPACE = re.compile(r"[ \t\n\r]*")


class Number:
    """A number, which stays text."""

    def __init__(self, _text: str) -> None:
        pass


class Member(NamedTuple):
    """A member of an object.

    Attributes:
        text: Its value as it was received.
        value: Its value, in which numbers mean nothing.
    """

    text: str
    value: Any


_decoder = json.JSONDecoder(parse_int=Number, parse_float=Number)


def members_of(text: str) -> dict[str, Member]:
    """Return the members of a JSON object, each with the text as received.

    Raises:
        ValueError: It is not a JSON object.
        RecursionError: It is nested too deeply.
    """
    _decoder.decode(text)  # then what follows is well-formed
    at = _skip(text, 0)
    if text[at] != "{":
        raise ValueError("not an object")
    members: dict[str, Member] = {}
    at = _skip(text, at + 1)
    while text[at] != "}":
        name, at = _decoder.raw_decode(text, at)
        at = _skip(text, _skip(text, at) + 1)
        value, end = _decoder.raw_decode(text, at)
        members[name] = Member(text[at:end], value)
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)
    return members


def indented(text: str, indent: int = 2) -> str:
    """Lay JSON text out, one member or item a line.

    Args:
        text: Valid JSON.
        indent: By how many spaces a level is indented.
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


def _skip(text: str, at: int) -> int:
    """Return where the white space ends."""
    return cast("re.Match[str]", _WHITE_SPACE.match(text, at)).end()
