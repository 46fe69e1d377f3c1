"""Shared parts of the tests of the command."""

import contextlib
import re
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import NamedTuple

SECRETS = {"THRIVE_API_SECRET": "fake-api-secret", "THRIVE_CLIENT_SECRET": "fake-client-secret"}
BASIC = {"THRIVE_TENANT_ID": "eu-west-2_AbcdEfghI", "THRIVE_API_SECRET": SECRETS["THRIVE_API_SECRET"]}
OAUTH = {
    "THRIVE_TENANT_ID": "eu-west-2_AbcdEfghI",
    "THRIVE_CLIENT_ID": "fake-client",
    "THRIVE_CLIENT_SECRET": SECRETS["THRIVE_CLIENT_SECRET"],
}

#: Characters that a terminal interprets: control characters, line separators, and marks that reorder text.
OBEYED = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


class Result(NamedTuple):
    code: int
    out: str
    err: str


Call = Callable[..., Result]


def assert_complaint(result: Result, code: int) -> None:
    """At most two lines on stderr, and nothing else anywhere."""
    assert result.code == code, result
    assert result.out == ""
    assert result.err.startswith("thrive: error: ")
    assert result.err.count("\n") <= 2
    assert result.err.endswith("\n")
    assert "Traceback" not in result.err
    assert not OBEYED.search(result.err)


@contextlib.contextmanager
def forgotten(*prefixes: str) -> Iterator[None]:
    """Let modules with this prefix be imported again, and restore the old ones at the end.

    Modules are attributes of their package as well, where `from package import module` finds them first. Two
    copies of one module would have separate classes, and an `except` of one does not see errors of the other.
    """

    def loaded() -> dict[str, ModuleType]:
        return {name: module for name, module in sys.modules.items() if name.startswith(prefixes)}

    def forget() -> None:
        for name in loaded():
            del sys.modules[name]
            package, _, child = name.rpartition(".")
            if package in sys.modules:
                vars(sys.modules[package]).pop(child, None)

    before = loaded()
    forget()
    try:
        yield
    finally:
        forget()
        sys.modules.update(before)
        for name, module in before.items():
            package, _, child = name.rpartition(".")
            if package:
                setattr(sys.modules[package], child, module)
