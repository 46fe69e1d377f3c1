"""The keys of IDs."""

from hypothesis import given
from hypothesis import strategies as st

from thrive_learning.cli.export.done import key_of


def test_case_makes_no_difference_to_an_id() -> None:
    assert key_of("60d5ec49b60b4b3a2c8f9a10") == key_of("60D5EC49B60B4B3A2C8F9A10")
    assert key_of("60d5ec49b60b4b3a2c8f9a10") == bytes.fromhex("60d5ec49b60b4b3a2c8f9a10")


@given(st.text(st.characters(codec=None, exclude_categories=()), max_size=30))
def test_an_invalid_id_has_a_key_too(text: str) -> None:
    assert len(key_of(text)) == 12
    assert key_of(text) != key_of(f"{text}x")
