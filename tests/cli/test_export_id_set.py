import sys

from hypothesis import given
from hypothesis import strategies as st

from thrive_learning.cli.export.id_set import HAS_FAILED, HAS_RECORD, IS_REPEATED, IdSet, key_of

keys = st.integers(0, 40).map(lambda number: number.to_bytes(12, "big")) | st.binary(min_size=12, max_size=12)


@given(st.lists(keys))
def test_it_is_a_set(drawn: list[bytes]) -> None:
    ours, real = IdSet(), set[bytes]()
    for key in drawn:
        assert (key in ours) == (key in real)
        assert ours.add(key) == (key not in real)
        real.add(key)
        assert key in ours
        assert len(ours) == len(real)


def test_it_grows_and_forgets_none() -> None:
    ours = IdSet()
    many = [(number * 2654435761).to_bytes(12, "big") for number in range(20_000)]
    assert all(ours.add(key) for key in many)
    assert not any(ours.add(key) for key in many)
    assert all(key in ours for key in many)
    assert bytes(11) + b"\xff" not in ours


@given(st.lists(st.tuples(keys, st.sampled_from([HAS_RECORD, HAS_FAILED, IS_REPEATED]))))
def test_it_knows_the_first_reason_for_each(drawn: list[tuple[bytes, int]]) -> None:
    ours, real = IdSet(), dict[bytes, int]()
    for key, reason in drawn:
        assert ours.reason(key) == real.get(key)
        ours.add(key, reason)
        assert ours.reason(key) == real.setdefault(key, reason)


def test_it_takes_at_most_35_bytes_for_each() -> None:
    ours = IdSet()
    for number in range(100_000):
        ours.add(number.to_bytes(12, "big"))
    assert sys.getsizeof(ours._table) + sys.getsizeof(ours._reasons) <= 35 * len(ours)
    ours = IdSet()
    many = [(number * 2654435761).to_bytes(12, "big") for number in range(5000)]
    for number, key in enumerate(many):
        ours.add(key, 1 + number % 3)
    assert [ours.reason(key) for key in many] == [1 + number % 3 for number in range(5000)]


def test_case_makes_no_difference_to_an_id() -> None:
    assert key_of("60d5ec49b60b4b3a2c8f9a10") == key_of("60D5EC49B60B4B3A2C8F9A10")
    assert key_of("60d5ec49b60b4b3a2c8f9a10") == bytes.fromhex("60d5ec49b60b4b3a2c8f9a10")


@given(st.text(st.characters(codec=None, exclude_categories=()), max_size=30))
def test_what_is_no_id_has_a_key_too(text: str) -> None:
    assert len(key_of(text)) == 12
    assert key_of(text) != key_of(f"{text}x")
