"""Characters that a terminal would interpret or hide are escaped, and values stay in their column."""

import json
import unicodedata
from typing import Any

import pytest
from command import OBEYED
from hypothesis import given
from hypothesis import strategies as st

from thrive_learning.cli.cells import one_line, rows, visible, visible_json, width_of
from thrive_learning.cli.rendering import as_columns, as_fields

#: Default_Ignorable_Code_Point of the Unicode Character Database.
IGNORABLE = [
    *[0xAD, 0x34F, 0x61C, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x1810), *range(0x200B, 0x2010)],
    *[*range(0x202A, 0x202F), *range(0x2060, 0x2070), 0x3164, *range(0xFE00, 0xFE10), 0xFEFF, 0xFFA0],
    *[*range(0xFFF0, 0xFFF9), *range(0x1BCA0, 0x1BCA4), *range(0x1D173, 0x1D17B), *range(0xE0000, 0xE1000)],
]
TAGS = "".join(chr(0xE0000 + ord(character)) for character in "ignore")


def test_characters_that_are_obeyed_or_not_shown_are_escaped() -> None:
    everything = [chr(code) for code in range(0x110000) if chr(code) != "\n"]
    hidden = {
        character
        for character in everything
        if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    }
    hidden |= {*map(chr, IGNORABLE)} | {*"\u2800\U00016fe4\U0001d159"}
    assert {*OBEYED.findall("".join(everything))} <= hidden
    for escape in (visible, visible_json):
        shown = escape("\n".join(everything)).split("\n")
        assert {one for one, other in zip(everything, shown, strict=True) if one != other} == hidden
        if escape is visible_json:
            text = "".join(other for one, other in zip(everything, shown, strict=True) if one in hidden)
            expected = "".join(one for one in everything if one in hidden)
            assert json.loads(f'"{text}"') == json.loads(json.dumps(expected))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\u200bb", r"a\u200bb"),
        (f"x{TAGS[0]}", r"x\U000e0069"),
        ("\ud800", r"\ud800"),
        ("\ue000", r"\ue000"),
        ("a\u2028b\nc", r"a\u2028b\nc"),
        ("Très 漢字 \u3000\u00a0👍", "Très 漢字 \u3000\u00a0👍"),
        ("❤\ufe0f", r"❤\ufe0f"),
    ],
)
def test_escapes(text: str, shown: str) -> None:
    assert one_line(text) == shown


@pytest.mark.parametrize(
    ("text", "width"),
    [
        ("abc", 3),
        ("漢字", 4),
        ("e\u0301", 1),
        ("👍", 2),
        ("ｱ", 1),
        ("\uff21", 2),
        ("각", 2),
        ("\u1100\u1161\u11a8", 2),
    ],
)
def test_wide_and_combining_characters_are_measured(text: str, width: int) -> None:
    assert width_of(text) == width


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("", 10, [""]),
        ("short", 10, ["short"]),
        ("two words there", 10, ["two words", "there"]),
        ("exactly_10 more", 10, ["exactly_10", "more"]),
        ("unbreakable_text", 10, ["unbreakabl", "e_text"]),
        ("   indented_and_long", 10, ["   indente", "d_and_long"]),
        ("漢字漢字漢字", 9, ["漢字漢字", "漢字"]),
        ("a" + " " * 20 + "type  completed", 10, ["a", "", "type", "completed"]),
        ("one\ntwo", 10, ["one", "two"]),
        ("a b", 1, ["a b"]),
        ("x" * 500, None, ["x" * 500]),
    ],
)
def test_lines_are_broken_at_spaces(text: str, width: int | None, lines: list[str]) -> None:
    assert [line[0] for line in rows([[text]], [width])[0]] == lines


def fold(text: str, columns: int = 80) -> list[str]:
    """The text as a terminal shows it."""
    return [
        line[start : start + columns]
        for line in text.split("\n")
        for start in range(0, max(len(line), 1), columns)
    ]


@pytest.mark.parametrize("spaces", range(40, 90))
def test_a_value_cannot_forge_a_row(spaces: int) -> None:
    fields: dict[str, Any] = {"id": "a", "type": "failed", "name": "x" + " " * spaces + "type  completed"}
    shown = fold(as_fields(fields, "utf-8", width=80))
    assert [line for line in shown if line.startswith("type")] == ["type  failed"]
    assert all(line.startswith(("id ", "type", "name", "      ")) for line in shown if line)


def test_the_name_of_a_field_cannot_forge_a_row() -> None:
    fields = {"id": "a", "x" + " " * 60 + "type  completed": 1, "y" * 200: {"z" * 200: "w " * 100}}
    shown = as_fields(fields, "utf-8", width=80)
    assert all(len(line) <= 80 for line in shown.split("\n"))
    assert not [line for line in shown.split("\n") if line.startswith("type  ")]
    assert shown.split("\n")[0] == "id" + " " * 26 + "a"  # a third of the width, and the gap


def test_a_space_after_a_full_line_does_not_widen_the_column() -> None:
    assert rows([["x" * 8 + " ", "y"], ["x ", "y"]], [8, None]) == [[["x" * 8, "y"]], [["x" + " " * 7, "y"]]]


def test_an_unknown_width_does_not_limit_rows() -> None:
    assert as_columns([("A", "B"), ("x" * 99, "y")], "utf-8").split("\n") == [
        "A" + " " * 100 + "B",
        "x" * 99 + "  y",
    ]


def test_each_column_wraps_under_itself() -> None:
    shown = as_columns([("A", "B", "C"), ("x", "wide " * 20, "漢" * 40), ("y", "b", "c")], "utf-8", 40)
    lines = shown.split("\n")
    assert all(width_of(line) <= 40 for line in lines)
    assert lines[0].split() == ["A", "B", "C"]
    assert [line[0] for line in lines if line[0] != " "] == ["A", "x", "y"]
    assert shown.count("漢") == 40
    assert shown.count("wide") == 20


texts = st.text(st.characters(codec=None, exclude_categories=()))


@given(st.dictionaries(texts, texts, min_size=1, max_size=4), st.integers(30, 100))
def test_no_record_is_wider_than_the_terminal(fields: dict[str, str], width: int) -> None:
    shown = as_fields(fields, "utf-8", width=width)
    assert all(width_of(line) <= width for line in shown.split("\n"))
    assert visible(shown) == shown
