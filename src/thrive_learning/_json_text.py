"""JSON as text: what can be done with it without parsing, which would change its numbers. Pure."""

import json
import re

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
