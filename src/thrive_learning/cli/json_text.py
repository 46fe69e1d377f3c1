"""Indents JSON text without changing its numbers and escapes, which `json` would do. Pure."""

import re

_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*"|[{}\[\],:]|[^"{}\[\],:\s]++')


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
