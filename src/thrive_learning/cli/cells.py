"""Text on a terminal: which characters it would obey or hide, and how many columns it takes. Pure."""

import re
import unicodedata
from collections.abc import Sequence
from itertools import zip_longest

GAP = "  "

# Everything that is not plain ASCII or a line end: it is looked at one by one.
_NOT_PLAIN = re.compile(r"[^\n\x20-\x7e]")

# Categories of characters that a terminal obeys (controls), that reorder or hide text (formats, separators of
# lines and paragraphs), or that have no agreed look (surrogates, private use, unassigned).
_OBEYED_OR_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})

# Letters, marks, and symbols of other categories that show nothing: most of Default_Ignorable_Code_Point in
# DerivedCoreProperties.txt of the Unicode Character Database, and three that look blank.
_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U00016fe4\U0001d159\U000e0100-\U000e01ef]"
)

_JAMO = re.compile("[\u1161-\u11ff\ud7b0-\ud7ff]")  # vowels and finals, drawn into the syllable before them
_FOUR_DIGITS = 0xFFFF  # the highest code that JSON and Python write with four digits
_SMALLEST = 8  # columns: a narrower cell would help nobody


def visible(text: str) -> str:
    r"""Escape what a terminal would obey or not show, as in `\u001b` or `\U000e0041`; line ends stay."""
    return _NOT_PLAIN.sub(lambda match: _escaped(match[0]) if _is_hidden(match[0]) else match[0], text)


def visible_json(text: str) -> str:
    r"""Escape the same in JSON text, where it can only be part of a string: as in `\ud83d\udc4d`."""
    return _NOT_PLAIN.sub(lambda match: _escaped_json(match[0]) if _is_hidden(match[0]) else match[0], text)


def escaped_json(text: str) -> str:
    """Escape all that is not ASCII in JSON text."""
    return _NOT_PLAIN.sub(lambda match: _escaped_json(match[0]), text)


def one_line(text: str) -> str:
    """Escape what a terminal would obey or not show, line ends included."""
    return visible(text).replace("\n", "\\n")


def width_of(text: str) -> int:
    """Return how many columns visible text takes.

    Source: Unicode Standard Annex #11, "East Asian Width".
    """
    return len(text) if text.isascii() else sum(map(_columns_of, text))


def cut(text: str, width: int, ellipsis: str) -> str:
    """Cut visible text in one line to a width; the ellipsis, one column wide, stands for what is missing."""
    if width_of(text) <= width:
        return text
    used = index = 0
    while (used := used + _columns_of(text[index])) < width:
        index += 1
    return text[:index] + ellipsis


def rows(cells: Sequence[Sequence[str]], widths: Sequence[int | None]) -> list[list[list[str]]]:
    """Wrap cells, each under its own column.

    Args:
        cells: The cells of each row, visible and in one line or more.
        widths: How many columns of characters each column of cells has at most; None for no limit.

    Returns:
        For each row its lines, each of them a list of cells, all but the last one padded to the width of
        their column.
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
    """Break lines at spaces where there are some, and anywhere else where there are none."""
    if width is None:
        return text.split("\n")
    lines: list[str] = []
    for rest in text.split("\n"):
        while (end := _end_of_line(rest, max(width, _SMALLEST))) < len(rest):
            lines.append(rest[:end].rstrip(" "))
            rest = rest[end:]  # noqa: PLW2901 - what is left of it
        lines.append(rest)
    return lines


def _end_of_line(text: str, width: int) -> int:
    """Return how many characters go into a line."""
    used = index = 0
    while index < len(text) and (used := used + _columns_of(text[index])) <= width:
        index += 1
    if index == len(text):
        return index
    if text[index] == " ":
        return index + 1  # the space goes with the line that it ends
    space = text.rfind(" ", 0, index)
    return space + 1 if text[: space + 1].strip(" ") else index


def _is_hidden(character: str) -> bool:
    return unicodedata.category(character) in _OBEYED_OR_HIDDEN or bool(_BLANK.match(character))


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
