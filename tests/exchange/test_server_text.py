import base64
import json
import time
import urllib.parse
from collections.abc import Callable
from html import escape

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from thrive_learning._exchange.server_text import MASK, excerpt, mask_secrets, show

SECRET = "Kä n/a+r=y&\"'<é>%\\\N{GRINNING FACE}"


def _as_numbers(secret: str, number: str) -> str:
    return "".join(c if c.isalnum() and c.isascii() else f"&#{number.format(ord(c))};" for c in secret)


FORMS: dict[str, Callable[[str], str]] = {
    "as it is": lambda secret: secret,
    "upper case": str.upper,
    "lower case": str.lower,
    "in a form": urllib.parse.quote_plus,
    "in a path": urllib.parse.quote,
    "in a segment": lambda secret: urllib.parse.quote(secret, safe=""),
    "percent-encoded in lower case": lambda secret: urllib.parse.quote(secret, safe="").lower(),
    "percent-encoded twice": lambda secret: urllib.parse.quote(urllib.parse.quote(secret, safe="")),
    "in JSON": lambda secret: json.dumps(secret)[1:-1],
    "in JSON as UTF-8": lambda secret: json.dumps(secret, ensure_ascii=False)[1:-1],
    "in JSON in JSON": lambda secret: json.dumps(json.dumps(secret)[1:-1])[1:-1],
    "in JSON with escaped slashes": lambda secret: json.dumps(secret)[1:-1].replace("/", "\\/"),
    "in HTML": escape,
    "in HTML as numbers": lambda secret: _as_numbers(secret, "{}"),
    "in XML as numbers": lambda secret: _as_numbers(secret, "x{:X}"),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_secret_is_masked_in_every_usual_form(form: str) -> None:
    said = FORMS[form](SECRET)
    assert mask_secrets(f"you sent {said}!", (SECRET,)) == f"you sent {MASK}!"


@pytest.mark.parametrize("pair", ["tenant:secret??>>", "tenant:secret??>", "tenant:secret??"])
def test_a_header_of_basic_is_masked_in_either_alphabet_with_or_without_padding(pair: str) -> None:
    header = base64.b64encode(pair.encode()).decode()
    forms = [
        header,
        header.rstrip("="),
        urllib.parse.quote(header, safe=""),
        base64.urlsafe_b64encode(pair.encode()).decode(),
        base64.urlsafe_b64encode(pair.encode()).decode().rstrip("="),
    ]
    assert [mask_secrets(f"[{form}]", (header,)) for form in forms] == [f"[{MASK}]"] * len(forms)


@given(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20),
    st.sampled_from(sorted(FORMS)),
)
@example("a=", "in XML as numbers")
@example("a==", "in HTML as numbers")
def test_no_secret_stays_in_a_text(secret: str, form: str) -> None:
    if "case" not in form:  # a letter may have two of them, or none that leads back
        assert mask_secrets(FORMS[form](secret), (secret,)) == MASK


def test_the_longest_secret_is_masked_first() -> None:
    assert mask_secrets("abcdef abc", ("abc", "abcdef")) == f"{MASK} {MASK}"
    assert mask_secrets("abc", ("", "b")) == f"a{MASK}c"
    assert mask_secrets("abc", ()) == mask_secrets("abc", ("",)) == "abc"


@given(st.text(), st.integers(1, 50))
def test_shown_text_is_one_short_printable_line(text: str, limit: int) -> None:
    line = show(text, ("canary",), limit)
    assert line.isprintable()
    assert len(line) <= limit


def test_a_secret_is_masked_before_the_text_is_quoted_and_truncated() -> None:
    assert show("a\x1b[31m can\nary", ("can\nary",)) == f"a [31m {MASK}"
    assert show("x" * 298 + "canary", ("canary",)) == "x" * 298 + "*…"
    assert excerpt("x" * 8 + "canary\n", ("canary",), 10) == "x" * 8 + "**"


@pytest.mark.parametrize("before", range(0, 4000, 7))
def test_a_secret_anywhere_in_a_long_text_is_masked(before: int) -> None:
    secret = "canary" * 10
    shown = excerpt("x" * before + secret * 100 + "x" * 10_000, (secret,), 100)
    assert "can" not in shown
    assert len(shown) == 100


def test_a_large_text_takes_no_longer_than_a_small_one() -> None:
    started = time.perf_counter()
    for text in ("\\" * 10_000_000, "%25" * 3_000_000, "&#0" * 3_000_000, '"' * 10_000_000):
        assert excerpt(text, ('"\\secret"', "x" * 2000), 4096)
    assert time.perf_counter() - started < 5
