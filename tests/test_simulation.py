"""100 workers on simulated time: what the simulation shows, and that it would notice if it were otherwise.

`python -m tools.simulation` runs the same scenarios for longer.
"""

import time
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thrive_learning._clock import monotonic, wall_time
from tools.simulation import clock
from tools.simulation.figures import (
    PERIOD_S,
    Arrival,
    Outcome,
    described,
    fewest_in_a_period,
    most_in_a_period,
    problems,
)
from tools.simulation.scenarios import SCENARIOS, Scenario, simulate


def short(scenario: Scenario) -> Scenario:
    """Return a scenario with a fifth of the records, which takes a second or two."""
    return scenario._replace(records=6500)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_100_workers_lose_nothing_keep_to_the_limit_and_use_one_token(scenario: Scenario) -> None:
    scenario = short(scenario)
    outcome = simulate(scenario)
    assert [*problems(outcome)] == []
    assert outcome.windows > 250
    assert outcome.lost == scenario.lost
    if scenario.token_lifetime_s == 3600:
        assert len(outcome.tokens) == 1


def test_limits_that_are_not_shared_are_noticed() -> None:
    outcome = simulate(short(SCENARIOS[0])._replace(shares_limit=False))
    assert any("more than 1.05" in problem for problem in problems(outcome))


def test_the_same_seed_gives_the_same_outcome() -> None:
    scenario = short(SCENARIOS[0])._replace(records=1000, lost=20)
    assert simulate(scenario) == simulate(scenario)
    assert simulate(scenario) != simulate(scenario, seed=2)


# The figures


REQUESTS = [Arrival(number / 20, "page", 200) for number in range(1000)]
RIGHT = Outcome(
    arrivals=[Arrival(0.0, "token", 200), *REQUESTS],
    limit=20,
    results={"first": ("a", "b"), "second": ("c",)},
    windows=2,
    expected=frozenset("abc"),
    given=3,
    lost=1,
    busy=(0.0, 50.0),
    token_lifetime_s=60,
    is_known=True,
    allowed=(0.9, 1.05),
)


def test_an_outcome_is_described() -> None:
    assert [*problems(RIGHT)] == []
    assert dict(described(RIGHT)) == {
        "windows": "2 of 2, 1 of them given twice, 1 workers lost",
        "records": "3 of 3",
        "requests": "1000 in 50 s, 0 of them rejected with 429",
        "over any 10 s": "0.995 to 1.000 of 20 requests per second",
        "token requests": "1",
    }


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"windows": 3}, "1 windows were lost"),
        ({"expected": frozenset("abcd")}, "1 records are missing"),
        ({"expected": frozenset("ab")}, "1 records do not belong to the period"),
        ({"results": {"first": ("a", "b"), "second": ("b", "c")}}, "1 records are there more than once"),
        ({"limit": 19.0}, "the rate was 1.053 of the limit, which is more than 1.05"),
        ({"limit": 23.0}, "the rate was 0.865 of the limit, which is less than 0.9"),
        ({"allowed": (0.9, 0.95)}, "the rate was 1.000 of the limit, which is more than 0.95"),
        (
            {"arrivals": [Arrival(0.0, "token", 200), Arrival(20.0, "token", 200), *REQUESTS]},
            "2 tokens were requested, some of them long before the previous one expired",
        ),
        ({"arrivals": [*REQUESTS, Arrival(50.0, "page", 401)]}, "1 requests had an expired token"),
        (
            {"arrivals": [*REQUESTS, *[Arrival(50.0, "page", 429)] * 300], "is_known": False},
            "300 requests were rejected, which is more than 20%",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_problem_is_found(changes: dict[str, Any], expected: str) -> None:
    assert [*problems(RIGHT._replace(**changes))] == [expected]


TIMES = st.lists(st.integers(0, 60).map(lambda at: at / 2), max_size=40).map(sorted)


@given(TIMES)
def test_rates_are_those_of_the_worst_periods(times: list[float]) -> None:
    counts = [
        sum(begin / 4 <= time < begin / 4 + PERIOD_S for time in times) for begin in range(-40, 4 * 30 + 1)
    ]
    assert most_in_a_period(times) == max(counts)
    within = [sum(begin / 4 < time < begin / 4 + PERIOD_S for time in times) for begin in range(4 * 20 + 1)]
    assert fewest_in_a_period(times, (0.0, 30.0)) == min(within)


# The clock


def test_simulated_time_passes_only_in_waits_and_ends_with_the_run() -> None:
    async def main(loop: clock.SimulatedLoop) -> tuple[float, float, float]:
        with anyio.move_on_after(3600):
            await anyio.sleep_forever()
        return loop.time(), monotonic(), wall_time()

    assert clock.run(main, starts_at=1000.0) == (3600.0, 3600.0, 4600.0)
    assert abs(monotonic() - time.monotonic()) < 60
    assert abs(wall_time() - time.time()) < 60


def test_tasks_that_wait_for_each_other_are_noticed() -> None:
    async def main(_loop: clock.SimulatedLoop) -> None:
        await anyio.sleep_forever()

    with pytest.raises(RuntimeError, match="nothing will ever happen"):
        clock.run(main, starts_at=0.0)
