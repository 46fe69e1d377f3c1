import math
from typing import Any

import attrs
import pytest

from thrive_learning import ConfigurationError, RetryPolicy, Timeout
from thrive_learning._budget import Budget


def test_the_defaults() -> None:
    assert attrs.asdict(Timeout()) == {
        "total": 60.0,
        "connect": 5.0,
        "read": 30.0,
        "write": 10.0,
        "pool": 10.0,
    }


@pytest.mark.parametrize("phase", ["total", "connect", "read", "write", "pool"])
@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, None, "5", True])
def test_a_timeout_without_a_limit_is_rejected(phase: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"Timeout.{phase} is"):
        Timeout(**{phase: value})


def test_a_number_is_the_total_of_the_call() -> None:
    default = Timeout(read=7)
    assert Timeout.of(2, default) == Timeout(total=2, read=7)
    assert Timeout.of(None, default) is default
    assert Timeout.of(Timeout(total=1), default) == Timeout(total=1)
    with pytest.raises(ConfigurationError):
        Timeout.of("2", default)  # type: ignore[arg-type]


def test_no_phase_outlasts_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("thrive_learning._budget.monotonic", lambda: now)
    budget = Budget(Timeout(total=20, connect=5, read=30, write=10, pool=10), RetryPolicy())
    assert budget.phases() == {"connect": 5, "read": 20, "write": 10, "pool": 10}
    now = 112.0
    assert budget.elapsed() == 12
    assert budget.remaining() == 8
    assert budget.phases() == {"connect": 5, "read": 8, "write": 8, "pool": 8}
    now = 120.0
    assert budget.phases() == {"connect": 0, "read": 0, "write": 0, "pool": 0}
