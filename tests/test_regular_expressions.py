"""No regular expression takes more than linear time, whatever it is applied to."""

import importlib
import itertools
import pkgutil
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

import thrive_learning

#: The parts of a text, with something in front that a pattern may begin with, and something behind that it
#: does not end with.
FILLINGS = [*" \ta0A,;\"'\\=.-/_:[\n\x01é", "a.", "a b", "/a", "a=", ": ", "(at ", '\\"']
BEGINNINGS = ["", "a", "0", "/", '"', "fault", "fault=", "2020-01-01T00:00:00.", " (at line ", "a_secret"]
ENDINGS = ["", "\x00", "!"]
SOME, MANY = 2_000, 100_000


def patterns() -> Iterator[tuple[str, re.Pattern[Any]]]:
    for module in pkgutil.walk_packages(thrive_learning.__path__, "thrive_learning."):
        if not module.name.endswith("__main__"):
            for name, value in vars(importlib.import_module(module.name)).items():
                if isinstance(value, re.Pattern):
                    yield f"{module.name.removeprefix('thrive_learning.')}.{name}", value


PATTERNS = dict(patterns())


def slowest_s(pattern: re.Pattern[Any], length: int) -> float:
    slowest = 0.0
    for beginning, filling, ending in itertools.product(BEGINNINGS, FILLINGS, ENDINGS):
        text = beginning + filling * (length // len(filling)) + ending
        value = text.encode() if isinstance(pattern.pattern, bytes) else text
        began = time.process_time()
        pattern.fullmatch(value)
        if length <= SOME:  # of the patterns, few are searched for, and none in texts that are so long
            pattern.search(value)
        slowest = max(slowest, time.process_time() - began)
        if slowest > 1:
            break
    return slowest


@pytest.mark.parametrize("length", [SOME, MANY])
@pytest.mark.parametrize("name", PATTERNS)
def test_a_regular_expression_takes_linear_time(name: str, length: int) -> None:
    assert slowest_s(PATTERNS[name], length) < 1


@pytest.mark.parametrize("name", ["_MEMBER", "_PARAMETER"])
def test_all_parts_of_a_header_of_a_rate_limit_take_linear_time(name: str) -> None:
    pattern = PATTERNS[f"_limits.quota_headers.{name}"]
    for beginning, filling, ending in itertools.product(BEGINNINGS, FILLINGS, ENDINGS):
        text = beginning + filling * (MANY // len(filling)) + ending
        began = time.process_time()
        sum(1 for _ in pattern.finditer(text))
        assert time.process_time() - began < 1, text[:20]


#: A set of characters, and a group with a possessive quantifier, or an atomic group.
SET = re.compile(r"\[\^?(?:\\.|[^\]\\])+\]", re.DOTALL)
POSSESSIVE_GROUP = re.compile(r"(?<!\\)\)(?:[?*+]|\{[0-9,]+\})\+|\(\?>")


@pytest.mark.parametrize("name", PATTERNS)
def test_no_group_is_possessive(name: str) -> None:
    # Up to Python 3.11.4, such groups match wrongly. Source: https://github.com/python/cpython/issues/106052
    text = PATTERNS[name].pattern
    assert not POSSESSIVE_GROUP.search(
        SET.sub("x", text if isinstance(text, str) else text.decode("latin-1"))
    )


def test_one_that_does_not_is_found() -> None:
    cubic = re.compile(r'fault\s*(?:=\s*([^",;]*))?\s*(?=[,;]|$)x')
    assert slowest_s(cubic, SOME // 2) > 1  # at full length, it would take half a minute
