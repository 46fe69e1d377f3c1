import pickle
from pathlib import Path
from typing import Any

import pytest

from thrive_learning import (
    ConfigurationError,
    FileTokenStore,
    MemoryTokenStore,
    RateLimit,
    RateLimitStore,
    RedisTokenStore,
)


class Custom:
    """A store with a secret, as users may write it."""

    def __init__(self) -> None:
        self.password = "canary"

    def take(self, key: str, *, per_second: float, burst: float, longest_wait_s: float) -> float:
        raise NotImplementedError

    def slow(
        self, key: str, *, pause_s: float = 0.0, per_second: float | None = None, for_s: float = 0.0
    ) -> None:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"Custom({self.password!r})"


def test_the_default_burst_is_that_of_a_tenth_of_a_second() -> None:
    assert [RateLimit(rate).burst for rate in (1 / 86_400, 1, 10, 15, 200)] == [1, 1, 1, 1.5, 20]
    assert (RateLimit(20, None).burst, RateLimit(20, 5).burst, RateLimit(20, burst=1).burst) == (2, 5, 1)


@pytest.mark.parametrize(
    "value", [0, -1, 1e-5, float("nan"), float("inf"), True, None, "20", b"20", 1j], ids=repr
)
def test_an_invalid_rate_is_rejected(value: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"RateLimit\(per_second\) is .+ Use a number") as caught:
        RateLimit(value)
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("digits", [400, 5000])
def test_a_number_that_is_too_large_for_a_float_is_rejected(digits: int) -> None:
    """Python cannot even print one with 5,000 digits."""
    value = 10**digits
    for per_second, burst in ((value, None), (20, value), (-value, None)):
        with pytest.raises(ConfigurationError, match=r"^RateLimit\((per_second|burst)\) is .{1,100}\. Use a"):
            RateLimit(per_second, burst)


@pytest.mark.parametrize("value", [0, 0.99, -1, float("nan"), float("inf"), True, "5"], ids=repr)
def test_an_invalid_burst_is_rejected(value: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"RateLimit\(burst\) is .+ Use a number of requests, 1 or"):
        RateLimit(20, value)


@pytest.mark.parametrize(
    ("value", "given"),
    [
        (MemoryTokenStore, "the class MemoryTokenStore"),
        ("redis://canary", "of type str"),
        (object(), "of type object"),
    ],
    ids=["class", "url", "object"],
)
def test_an_invalid_store_is_rejected(value: Any, given: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"RateLimit\(store\) is {given}\. Pass ") as caught:
        RateLimit(20, store=value)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("20", RateLimit(20)),
        ("0.5", RateLimit(0.5)),
        ("20:5", RateLimit(20, 5)),
        ("20.0:5.5", RateLimit(20, 5.5)),
    ],
)
def test_a_limit_is_read_from_text(text: str, limit: RateLimit) -> None:
    assert RateLimit.parse(text) == limit


def test_a_limit_from_text_may_have_a_store() -> None:
    store = MemoryTokenStore()
    assert RateLimit.parse("20", store).store is store


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "20/s", "-1", "1e3", "nan", "inf", "20:", ":5", "20:5:1", " 20", "20\n", "٢", "0", "20:0"),
        "9" * 16,
    ],
    ids=ascii,
)
def test_invalid_text_is_rejected(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"is not valid. Write requests per second, such as 20, or"):
        RateLimit.parse(text)


def test_a_limit_shows_no_secret() -> None:
    assert repr(RateLimit(20, 5, Custom())) == "RateLimit(per_second=20, burst=5, store=Custom)"
    assert repr(RateLimit(20)) == "RateLimit(per_second=20, burst=2.0, store=None)"


@pytest.mark.parametrize(
    "store",
    [None, MemoryTokenStore(), FileTokenStore(Path("folder")), RedisTokenStore("redis://127.0.0.1")],
    ids=lambda store: type(store).__name__,
)
def test_a_limit_travels_with_its_store(store: Any) -> None:
    revived = pickle.loads(pickle.dumps(RateLimit(20, 5, store)))
    assert (revived.per_second, revived.burst, type(revived.store)) == (20, 5, type(store))


def test_a_limit_with_a_password_does_not_travel() -> None:
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(RateLimit(20, store=RedisTokenStore("redis://:canary@127.0.0.1")))


def test_the_stores_of_tokens_keep_limits() -> None:
    for cls in (MemoryTokenStore, FileTokenStore, RedisTokenStore, Custom):
        assert issubclass(cls, RateLimitStore)
