"""What the tests of the command share."""

import re
from collections.abc import Callable
from typing import NamedTuple

SECRETS = {"THRIVE_API_SECRET": "fake-api-secret", "THRIVE_CLIENT_SECRET": "fake-client-secret"}
BASIC = {"THRIVE_TENANT_ID": "eu-west-2_AbcdEfghI", "THRIVE_API_SECRET": SECRETS["THRIVE_API_SECRET"]}
OAUTH = {
    "THRIVE_TENANT_ID": "eu-west-2_AbcdEfghI",
    "THRIVE_CLIENT_ID": "fake-client",
    "THRIVE_CLIENT_SECRET": SECRETS["THRIVE_CLIENT_SECRET"],
}

#: What a terminal obeys: control characters, separators of lines and marks that reorder text.
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
