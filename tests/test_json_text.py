import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thrive_learning._json_text import compact, dump

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON, st.sampled_from(["", " ", "\n", "\t\r\n "]), st.booleans())
def test_whitespace_between_tokens_alone_is_removed(value: object, space: str, ascii_only: bool) -> None:  # noqa: FBT001
    spaced = json.dumps(value, indent=space, separators=(f"{space},", f"{space}: "), ensure_ascii=ascii_only)
    assert compact(spaced) == json.dumps(value, separators=(",", ":"), ensure_ascii=ascii_only)


@pytest.mark.parametrize(
    "text", ["1E2", "-0", "1.10", '"\\u00e9 \\/"', '" , "', '"\\\\"', '{"a":1,"a":2}', '"\u2028\u00a0\x7f"']
)
def test_tokens_are_kept_as_they_are(text: str) -> None:
    assert compact(f" [ {text} ,\n{text}\t] ") == f"[{text},{text}]"


@pytest.mark.parametrize(
    "text", ['"' + "\\n" * 400_000 + '"', '"\\' * 300_000, '" "' * 300_000, "1 " * 300_000, '"' + "a" * 10**6]
)
def test_no_text_takes_long(text: str) -> None:
    # The wrong expression needs minutes for some of them, and this one milliseconds.
    assert len(compact(text)) <= len(text)


def test_lone_surrogates_are_escaped() -> None:
    assert dump({"é": "é"}) == '{"é":"é"}'
    assert dump({"é": "\ud800"}) == r'{"\u00e9":"\ud800"}'


@pytest.mark.parametrize(("value", "error"), [(float("inf"), ValueError), ({1}, TypeError)])
def test_what_json_does_not_have_is_rejected(value: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        dump(value)
