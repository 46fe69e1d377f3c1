"""Processes JSON as text without parsing it, because parsing would change its numbers. Pure."""

import json
import re
from collections.abc import Callable
from typing import Any, Final

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
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[^" \t\n\r]++', re.DOTALL)


def compact(text: str) -> str:
    """Remove the whitespace between the tokens of a JSON text. Everything else stays unchanged.

    Args:
        text: Valid JSON.

    Source: RFC 8259 section 2.
    """
    return "".join(_TOKEN.findall(text))


# JSON's whitespace differs from Python's. Source: RFC 8259 section 2.
_SPACE = re.compile(r"[ \t\n\r]*+")


def with_items(
    text: str, name: str | None, of_item: Callable[[Any, str], Any], decoder: json.JSONDecoder
) -> Any:
    """Parse a JSON text once, and convert each item of one array at once, given its value and text.

    So at most one item exists in both forms.

    Args:
        text: The JSON text.
        name: The member of the object that is the array; None if the whole text is the array.
        of_item: Converts an item.
        decoder: Parses values.

    Raises:
        json.JSONDecodeError: The text is not JSON.

    Source: RFC 8259 sections 4 and 5.
    """
    at = _next(text, 0)
    if name is None:
        if text[at : at + 1] != "[":
            return decoder.decode(text)
        items, at = _array(text, at, decoder, of_item)
        return _whole(text, at, items)
    if text[at : at + 1] != "{":
        return decoder.decode(text)
    document: dict[str, Any] = {}
    at = _next(text, at + 1)
    if text[at : at + 1] == "}":
        return _whole(text, at + 1, document)
    while True:
        key, at = _key(text, at, decoder)
        if key == name and text[at : at + 1] == "[":
            document[key], at = _array(text, at, decoder, of_item)
        else:
            document[key], at = decoder.raw_decode(text, at)
        at = _next(text, at)
        end = text[at : at + 1]
        if end == "}":
            return _whole(text, at + 1, document)
        if end != ",":
            raise json.JSONDecodeError("Expecting ',' delimiter", text, at)
        at = _next(text, at + 1)


def _key(text: str, at: int, decoder: json.JSONDecoder) -> tuple[str, int]:
    """Parse the name of a member, and return it with the position of its value."""
    if text[at : at + 1] != '"':
        raise json.JSONDecodeError("Expecting property name enclosed in double quotes", text, at)
    key, at = decoder.raw_decode(text, at)
    at = _next(text, at)
    if text[at : at + 1] != ":":
        raise json.JSONDecodeError("Expecting ':' delimiter", text, at)
    return key, _next(text, at + 1)


def _next(text: str, at: int) -> int:
    """Return the position of the next token."""
    return _SPACE.match(text, at).end()  # type: ignore[union-attr] # it always matches


def _array(
    text: str, at: int, decoder: json.JSONDecoder, of_item: Callable[[Any, str], Any]
) -> tuple[list[Any], int]:
    """Parse the array at a position, and return its converted items with the position of its end."""
    items: list[Any] = []
    add, parse = items.append, decoder.raw_decode
    at = _next(text, at + 1)
    if text[at : at + 1] == "]":
        return items, at + 1
    while True:
        item, end = parse(text, at)
        add(of_item(item, text[at:end]))
        if text.startswith(",{", end):  # the form of most servers
            at = end + 1
            continue
        at = _next(text, end)
        if text[at : at + 1] == "]":
            return items, at + 1
        if text[at : at + 1] != ",":
            raise json.JSONDecodeError("Expecting ',' delimiter", text, at)
        at = _next(text, at + 1)


def _whole(text: str, at: int, value: Any) -> Any:
    at = _next(text, at)
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
