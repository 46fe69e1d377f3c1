"""JSON as text: what can be done with it without parsing, which would change its numbers. Pure."""

import json
import re
from typing import Any

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


def with_item_texts(text: str, name: str | None, decoder: json.JSONDecoder) -> tuple[Any, list[str] | None]:
    """Parse a JSON text once, and return its value and the texts of the items of one array.

    Args:
        text: The JSON text.
        name: The member of the object that is the array; None if the array is the whole text.
        decoder: What parses values.

    Returns:
        The value, and the texts; None in their place if there is no such array.

    Raises:
        json.JSONDecodeError: It is not JSON.

    Source: RFC 8259 sections 4 and 5.
    """
    at = _next(text, 0)
    if name is None:
        if text[at : at + 1] != "[":
            return decoder.decode(text), None
        value, texts, at = _array(text, at, decoder)
        return _whole(text, at, value), texts
    if text[at : at + 1] != "{":
        return decoder.decode(text), None
    document: dict[str, Any] = {}
    found: list[str] | None = None
    at = _next(text, at + 1)
    if text[at : at + 1] == "}":
        return _whole(text, at + 1, document), None
    while True:
        key, at = _key(text, at, decoder)
        if key == name:
            found = None
        if key == name and text[at : at + 1] == "[":
            document[key], found, at = _array(text, at, decoder)
        else:
            document[key], at = decoder.raw_decode(text, at)
        at = _next(text, at)
        end = text[at : at + 1]
        if end == "}":
            return _whole(text, at + 1, document), found
        if end != ",":
            raise json.JSONDecodeError("Expecting ',' delimiter", text, at)
        at = _next(text, at + 1)


def _next(text: str, at: int) -> int:
    return _SPACE.match(text, at).end()  # type: ignore[union-attr] # it matches everywhere


def _key(text: str, at: int, decoder: json.JSONDecoder) -> tuple[str, int]:
    """Parse the name of a member, and return it and where the value begins."""
    if text[at : at + 1] != '"':
        raise json.JSONDecodeError("Expecting property name enclosed in double quotes", text, at)
    key, at = decoder.raw_decode(text, at)
    at = _next(text, at)
    if text[at : at + 1] != ":":
        raise json.JSONDecodeError("Expecting ':' delimiter", text, at)
    return key, _next(text, at + 1)


def _array(text: str, at: int, decoder: json.JSONDecoder) -> tuple[list[Any], list[str], int]:
    """Parse the array that begins at a position, and return its items, their texts, and where it ends."""
    items: list[Any] = []
    texts: list[str] = []
    parse, space = decoder.raw_decode, _SPACE.match
    at = _next(text, at + 1)
    if text[at : at + 1] == "]":
        return items, texts, at + 1
    while True:
        item, end = parse(text, at)
        items.append(item)
        texts.append(text[at:end])
        at = end if text[end : end + 1] == "," else _next(text, end)
        match text[at : at + 1]:
            case ",":
                at += 1
                if text[at : at + 1] != "{":
                    at = space(text, at).end()  # type: ignore[union-attr]
            case "]":
                return items, texts, at + 1
            case _:
                raise json.JSONDecodeError("Expecting ',' delimiter", text, at)


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
