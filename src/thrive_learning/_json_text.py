"""JSON as text: what can be done with it without parsing, which would change its numbers. Pure."""

import json
import re
from collections.abc import Callable
from typing import Any, Final

#: The types of JSON in words, by what Python reads them as.
JSON_NAMES: Final[dict[type, str]] = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    type(None): "null",
}

# A string, or a run of anything else but whitespace. No text makes this slow: the quantifiers are possessive,
# and a string may end with the text.
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[^" \t\n\r]++', re.DOTALL)


def compact(text: str) -> str:
    """Remove the whitespace between the tokens of a JSON text, and change nothing else.

    Args:
        text: Valid JSON.

    Source: RFC 8259 section 2.
    """
    return "".join(_TOKEN.findall(text))


# The whitespace of JSON, which is not that of Python. Source: RFC 8259 section 2.
_SPACE = re.compile(r"[ \t\n\r]*+")


def with_items(
    text: str, name: str | None, of_item: Callable[[Any, str], Any], decoder: json.JSONDecoder
) -> Any:
    """Parse a JSON text once, and replace each item of one array at once, by its value and its text.

    So no more than one item is there in both forms.

    Args:
        text: The JSON text.
        name: The member of the object that is the array; None if the array is the whole text.
        of_item: Returns what replaces an item.
        decoder: What parses values.

    Raises:
        json.JSONDecodeError: It is not JSON.

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
    """Parse the name of a member, and return it and where the value begins."""
    if text[at : at + 1] != '"':
        raise json.JSONDecodeError("Expecting property name enclosed in double quotes", text, at)
    key, at = decoder.raw_decode(text, at)
    at = _next(text, at)
    if text[at : at + 1] != ":":
        raise json.JSONDecodeError("Expecting ':' delimiter", text, at)
    return key, _next(text, at + 1)


def _next(text: str, at: int) -> int:
    """Return where the next token begins."""
    return _SPACE.match(text, at).end()  # type: ignore[union-attr] # it matches everywhere


def _array(
    text: str, at: int, decoder: json.JSONDecoder, of_item: Callable[[Any, str], Any]
) -> tuple[list[Any], int]:
    """Parse the array that begins at a position, and return what its items become, and where it ends."""
    items: list[Any] = []
    add, parse = items.append, decoder.raw_decode
    at = _next(text, at + 1)
    if text[at : at + 1] == "]":
        return items, at + 1
    while True:
        item, end = parse(text, at)
        add(of_item(item, text[at:end]))
        if text.startswith(",{", end):  # as most servers write it
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
    """Return a value as compact JSON that any encoding of Unicode can hold.

    Raises:
        ValueError: It holds NaN, an infinity, or itself.
        TypeError: It holds something that JSON does not have.
        RecursionError: It is nested too deeply.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:  # lone surrogates: JSON can escape them, UTF-8 cannot hold them
        return json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text
