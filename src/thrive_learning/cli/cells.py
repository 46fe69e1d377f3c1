"""Escape characters that control a terminal or are invisible, and wrap text to a width. Pure."""

import re
import unicodedata
from collections.abc import Sequence
from itertools import zip_longest

GAP = "  "

# Characters other than printable ASCII and line ends. Each is examined.
_NOT_PLAIN = re.compile(r"[^\n\x20-\x7e]")

# Categories of characters that control a terminal (controls), that reorder or hide text (formats, line and
# paragraph separators), or that have no standard appearance (surrogates, private use, unassigned).
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})

# Invisible letters, marks, and symbols of other categories: most of Default_Ignorable_Code_Point in
# DerivedCoreProperties.txt of the Unicode Character Database, and three that look blank.
_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U00016fe4\U0001d159\U000e0100-\U000e01ef]"
)

# Korean vowels and finals, drawn as part of the syllable before them.
_JAMO = re.compile("[\u1161-\u11ff\ud7b0-\ud7ff]")
_FOUR_DIGITS = 0xFFFF  # the highest code that JSON and Python write with four digits
_SMALLEST = 8  # columns; narrower cells are not readable


def visible(text: str) -> str:
    r"""Escape characters that are unsafe or invisible, as in `\u001b` or `\U000e0041`, except line ends."""
    return _NOT_PLAIN.sub(lambda match: _escaped(match[0]) if _is_hidden(match[0]) else match[0], text)


def visible_json(text: str) -> str:
    r"""Escape the same characters in JSON text, where they are part of strings, as in `\ud83d\udc4d`."""
    return _NOT_PLAIN.sub(lambda match: _escaped_json(match[0]) if _is_hidden(match[0]) else match[0], text)


def escaped_json(text: str) -> str:
    """Escape all characters beyond ASCII in JSON text."""
    return _NOT_PLAIN.sub(lambda match: _escaped_json(match[0]), text)


def one_line(text: str) -> str:
    """Escape characters that are unsafe or invisible, including line ends."""
    return visible(text).replace("\n", "\\n")


def width_of(text: str) -> int:
    """Return the width of visible text in columns.

    Source: Unicode Standard Annex #11, "East Asian Width".
    """
    return len(text) if text.isascii() else sum(map(_columns_of, text))


def cut(text: str, width: int, ellipsis: str) -> str:
    """Cut one line of visible text to a width. The ellipsis, one column wide, replaces the rest."""
    if width_of(text) <= width:
        return text
    used = index = 0
    while (used := used + _columns_of(text[index])) < width:
        index += 1
    return text[:index] + ellipsis


def rows(cells: Sequence[Sequence[str]], widths: Sequence[int | None]) -> list[list[list[str]]]:
    """Wrap cells, each under its own column.

    Args:
        cells: The cells of each row, as visible text with one or more lines.
        widths: The maximum width of each column in characters; None for no limit.

    Returns:
        The lines of each row. Each line is a list of cells, all but the last one padded to the width of their
        column.
    """
    wrapped = [[_wrapped(cell, width) for cell, width in zip(row, widths, strict=True)] for row in cells]
    used = [max(width_of(line) for cell in column for line in cell) for column in zip(*wrapped, strict=True)]
    used[-1] = 0
    return [
        [
            [line + " " * (width - width_of(line)) for line, width in zip(lines, used, strict=True)]
            for lines in zip_longest(*row, fillvalue="")
        ]
        for row in wrapped
    ]


def _wrapped(text: str, width: int | None) -> list[str]:
    """Break lines at spaces if possible, and otherwise anywhere."""
    if width is None:
        return text.split("\n")
    lines: list[str] = []
    limit = max(width, _SMALLEST)
    for rest in text.split("\n"):
        while (end := _end_of_line(rest, limit)) < len(rest):
            lines.append(rest[:end].rstrip(" "))
            rest = rest[end:]  # noqa: PLW2901 - the rest of the line
        # A space may follow a line that is full.
        lines.append(rest if width_of(rest) <= limit else rest.rstrip(" "))
    return lines


def _end_of_line(text: str, width: int) -> int:
    """Return how many characters fit into a line."""
    used = index = 0
    while index < len(text) and (used := used + _columns_of(text[index])) <= width:
        index += 1
    if index == len(text):
        return index
    if text[index] == " ":
        return index + 1  # the space belongs to the line that it ends
    space = text.rfind(" ", 0, index)
    return space + 1 if text[: space + 1].strip(" ") else index


def _is_hidden(character: str) -> bool:
    return unicodedata.category(character) in _UNSAFE or bool(_BLANK.match(character))


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code <= _FOUR_DIGITS else f"\\U{code:08x}"


def _escaped_json(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))


def _columns_of(character: str) -> int:
    if unicodedata.east_asian_width(character) in "WF":
        return 2
    return 0 if unicodedata.category(character) in {"Mn", "Me"} or _JAMO.match(character) else 1
