import pickle
import string
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thrive_learning import InvalidIdError
from thrive_learning._ids import validate_activity_id

HEX = string.hexdigits


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError


@given(st.text(HEX, min_size=24, max_size=24))
def test_hexadecimal_digits_are_an_id(text: str) -> None:
    assert validate_activity_id(text) == text


@given(st.text() | st.text(HEX, max_size=30).filter(lambda text: len(text) != 24))
def test_any_other_value_is_rejected(text: str) -> None:
    if len(text) == 24 and set(text) <= set(HEX):
        return
    with pytest.raises(InvalidIdError) as caught:
        validate_activity_id(text)
    assert caught.value.value == text


@pytest.mark.parametrize(
    "value",
    [
        *(
            "",
            ".",
            "..",
            "../60d5ec49b60b4b3a2c8f9a1",
            "60d5ec49b60b4b3a2c8f9a10\n",
            " 60d5ec49b60b4b3a2c8f9a10",
        ),
        *("60d5ec49b60b4b3a2c8f9a1", "60d5ec49b60b4b3a2c8f9a100", "g0d5ec49b60b4b3a2c8f9a10"),
        "\N{FULLWIDTH DIGIT SIX}0d5ec49b60b4b3a2c8f9a10",
        *(None, 5, 2.5, True, b"60d5ec49b60b4b3a2c8f9a10", ["60d5ec49b60b4b3a2c8f9a10"], object(), lambda: 1),
        Unprintable(),
        "x" * 10_000_000,
    ],
    ids=lambda value: type(value).__name__,
)
def test_refused_and_shown_and_still_plain_data(value: Any) -> None:
    with pytest.raises(InvalidIdError, match="is not an activity ID, because") as caught:
        validate_activity_id(value)
    error = caught.value
    assert len(str(error)) < 300
    assert pickle.loads(pickle.dumps(error)).value == error.value
    if isinstance(value, (str, bytes, int, float, type(None))):
        assert error.value == value
    else:
        assert isinstance(error.value, str)


def test_the_message_says_what_to_do() -> None:
    def message(value: object) -> str:
        with pytest.raises(InvalidIdError) as caught:
            validate_activity_id(value)
        return str(caught.value)

    assert "'60d5ec49b60b4b3a2c8f9a10\\n'" in message("60d5ec49b60b4b3a2c8f9a10\n")
    assert message("60d5ec49b60b4b3a2c8f9a10\n").endswith(
        "is not an activity ID, because it has white space around it. Strip it first."
    )
    assert "it has 3 characters" in message("abc")
    assert "it has 1 character instead" in message("a")
    assert message("g" * 24).endswith(
        "because it has characters other than hexadecimal digits. Pass the `id` of an activity record."
    )
    assert "bytes, not str" in message(b"60d5ec49b60b4b3a2c8f9a10")


def test_a_subclass_of_str_comes_back_as_plain_text() -> None:
    class Text(str):
        __slots__ = ()

    assert type(validate_activity_id(Text("60d5ec49b60b4b3a2c8f9a10"))) is str


def test_an_object_that_only_claims_to_be_text_is_rejected() -> None:
    for value in (Mock(spec=str), 10**5000):
        with pytest.raises(InvalidIdError, match="not str"):
            validate_activity_id(value)


def test_a_value_whose_repr_fails_is_shown_by_its_type() -> None:
    with pytest.raises(InvalidIdError, match=r"^a value of type int is not an activity ID"):
        validate_activity_id(10**5000)
