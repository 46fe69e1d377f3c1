"""Splits the text of a JSON object into the texts of its members. Pure."""

import json
import re

from thrive_learning._json_text import members, next_token

# Values are parsed to find their ends. Numbers stay text, because Python limits the digits of an `int`.
_decoder = json.JSONDecoder(parse_int=str, parse_float=str)

# A name without escape sequences. If the value is such a string too, and another member or the end follows,
# the value as well, and the comma. This is the form of most members.
_PLAIN = re.compile(r'"([^"\\\x00-\x1f]*+)":(?![ \t\n\r])(?:("[^"\\\x00-\x1f]*+")(?:,(?=")|(?=})))?')


def members_of(text: str) -> dict[str, str]:
    """Return the values of a JSON object by name, each as received. The last of equal names counts.

    Raises:
        ValueError: The text is not a JSON object.
        RecursionError: The text is nested too deeply.

    Source: RFC 8259 section 4.
    """
    begin = next_token(text, 0)
    if not text.startswith("{", begin):
        _decoder.decode(text)  # raises unless it is JSON
        raise ValueError("not an object")
    # Without whitespace between tokens, this takes a third of the time that `members` takes.
    found: dict[str, str] = {}
    at = begin + 1
    while member := _PLAIN.match(text, at):
        name, value = member.groups()
        at = member.end()
        if value is not None:
            found[name] = value
            continue
        found[name], at = _value_at(text, at)
        if not text.startswith(',"', at):
            break
        at += 1
    if text.startswith("}", at) and next_token(text, at + 1) == len(text):
        return found
    return members(text, begin, _decoder, lambda _name, at: _value_at(text, at))


def _value_at(text: str, at: int) -> tuple[str, int]:
    end = _decoder.raw_decode(text, at)[1]
    return text[at:end], end
