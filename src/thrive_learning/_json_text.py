"""Processes JSON as text without parsing it, because parsing would change its numbers. Pure."""

import json
import re
from collections.abc import Callable
from typing import Any, Final, TypeVar

T = TypeVar("T")

#: The names of JSON types in messages, by the Python type of their values.
JSON_NAMES: Final[dict[type, str]] = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    type(None): "null",
}

# A string, or a run of characters other than whitespace. The quantifiers are possessive, and a string may end
# with the text, so no text makes this slow.
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*(?:"|\\?\Z)|[^" \t\n\r]++', re.DOTALL)
# Whitespace beside a bracket, comma, colon, or quotation mark, or at an end. Without any, all whitespace is
# within strings. A string may also match.
_LOOSE = re.compile(r'[ \t\n\r](?:(?=[{}\[\],:"]|\Z)|(?<=[{}\[\],:"][ \t\n\r])|(?<!.[ \t\n\r]))', re.DOTALL)


def compact(text: str) -> str:
    """Remove the whitespace between the tokens of a JSON text. Everything else stays unchanged.

    Args:
        text: Valid JSON.

    Source: RFC 8259 section 2.
    """
    if _LOOSE.search(text) is None:  # the form of most servers; joining tokens takes ten times as long
        return text
    return "".join(_TOKEN.findall(text))


# JSON's whitespace differs from Python's. Source: RFC 8259 section 2.
_SPACE = re.compile(r"[ \t\n\r]*+")


def with_items(
    text: str,
    name: str | None,
    of_item: Callable[[Any, str], Any],
    decoder: json.JSONDecoder,
    on_member: Callable[[], object] = lambda: None,
) -> Any:
    """Parse a JSON text once, and convert each item of one array at once, given its value and text.

    So at most one item exists in both forms.

    Args:
        text: The JSON text.
        name: The member of the object that is the array; None if the whole text is the array.
        of_item: Converts an item.
        decoder: Parses values.
        on_member: Called for each member of the object.

    Raises:
        json.JSONDecodeError: The text is not JSON.

    Source: RFC 8259 sections 4 and 5.
    """
    at = next_token(text, 0)
    if name is None:
        if text[at : at + 1] != "[":
            return decoder.decode(text)
        items, at = _array(text, at, decoder, of_item)
        return _whole(text, at, items)
    if text[at : at + 1] != "{":
        return decoder.decode(text)

    def value_at(key: str, at: int) -> tuple[Any, int]:
        on_member()
        if key == name and text[at : at + 1] == "[":
            return _array(text, at, decoder, of_item)
        return decoder.raw_decode(text, at)

    return members(text, at, decoder, value_at)


def members(
    text: str, at: int, decoder: json.JSONDecoder, value_at: Callable[[str, int], tuple[T, int]]
) -> dict[str, T]:
    """Parse a JSON object, and convert each of its values. The last of members with the same name counts.

    Args:
        text: A JSON text.
        at: The position of its first brace, before which there is only whitespace.
        decoder: Parses names.
        value_at: Converts the value of a member, given the name and the position of the value. It returns
            the position after the value as well.

    Raises:
        json.JSONDecodeError: The text is not JSON.

    Source: RFC 8259 section 4.
    """
    found: dict[str, T] = {}
    at = next_token(text, at + 1)
    if text[at : at + 1] == "}":
        return _whole(text, at + 1, found)
    while True:
        if text[at : at + 1] != '"':
            raise json.JSONDecodeError("Expecting property name enclosed in double quotes", text, at)
        key, at = decoder.raw_decode(text, at)
        at = next_token(text, at)
        if text[at : at + 1] != ":":
            raise json.JSONDecodeError("Expecting ':' delimiter", text, at)
        found[key], at = value_at(key, next_token(text, at + 1))
        if text.startswith(',"', at):  # the form of most servers
            at += 1
            continue
        at = next_token(text, at)
        end = text[at : at + 1]
        if end == "}":
            return _whole(text, at + 1, found)
        if end != ",":
            raise json.JSONDecodeError("Expecting ',' delimiter", text, at)
        at = next_token(text, at + 1)


def next_token(text: str, at: int) -> int:
    """Return the position of the next token at or after a position."""
    if text[at : at + 1] not in " \t\n\r":  # most of the time
        return at
    return _SPACE.match(text, at).end()  # type: ignore[union-attr] # it always matches


def _array(
    text: str, at: int, decoder: json.JSONDecoder, of_item: Callable[[Any, str], Any]
) -> tuple[list[Any], int]:
    """Parse the array at a position, and return its converted items with the position of its end."""
    items: list[Any] = []
    add, parse = items.append, decoder.raw_decode
    at = next_token(text, at + 1)
    if text[at : at + 1] == "]":
        return items, at + 1
    while True:
        item, end = parse(text, at)
        add(of_item(item, text[at:end]))
        if text.startswith(",{", end):  # the form of most servers
            at = end + 1
            continue
        at = next_token(text, end)
        if text[at : at + 1] == "]":
            return items, at + 1
        if text[at : at + 1] != ",":
            raise json.JSONDecodeError("Expecting ',' delimiter", text, at)
        at = next_token(text, at + 1)


def _whole(text: str, at: int, value: T) -> T:
    at = next_token(text, at)
    if at != len(text):
        raise json.JSONDecodeError("Extra data", text, at)
    return value


def dump(value: object) -> str:
    """Return a value as compact JSON that any Unicode encoding can represent.

    Raises:
        ValueError: The value contains NaN, an infinity, or itself.
        TypeError: The value contains a type that JSON does not have.
        RecursionError: The value is nested too deeply.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:  # JSON can escape lone surrogates, but UTF-8 cannot represent them
        return json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text
