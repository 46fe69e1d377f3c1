"""The limits that servers describe in headers, and how the client slows down."""

import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from thrive_learning._limits.quota_headers import NAMES, Policy, Quota, read_limits
from thrive_learning._limits.server_limits import (
    HOLD_S,
    LEARNED_S,
    LEAST_SHARE,
    LONGEST_PAUSE_S,
    RECOVER_S,
    ServerLimits,
    Slow,
)

NOON = 1_796_040_000.0  # 2026-11-30 12:00:00 UTC
DATE = "Mon, 30 Nov 2026 12:00:00 GMT"


def headers(**fields: str) -> dict[bytes, bytes]:
    return {name.replace("_", "-").encode(): value.encode() for name, value in fields.items()}


IETF: dict[str, tuple[dict[bytes, bytes], list[Quota]]] = {
    "draft-10": (
        headers(ratelimit='"default";r=50;t=30', ratelimit_policy='"default";q=100;w=60'),
        [Quota(50, 30, 100 / 60)],
    ),
    "draft-10-several": (
        headers(
            ratelimit='"burst";r=9;t=1, "daily";r=900;t=3600;pk=:cHJpdmF0ZQ==:',
            ratelimit_policy='"burst";q=10;w=1,"daily";q=1000;w=86400',
        ),
        [Quota(9, 1, 10), Quota(900, 3600, 1000 / 86400)],
    ),
    "draft-10-without-policy": (headers(ratelimit='"a,b;r=1";r=50 ; t=30'), [Quota(50, 30, 0)]),
    "draft-10-with-quotes-in-a-name": (
        headers(ratelimit=r'"a\",;r=9\\";r=50;t=30, "b";r=1;t=2'),
        [Quota(50, 30, 0), Quota(1, 2, 0)],
    ),
    "draft-10-without-the-end-of-a-name": (
        headers(ratelimit=r'"a";r=50;t=30, "b;r=1;t=2, c;r=1;t=2'),
        [Quota(50, 30, 0)],
    ),
    "draft-10-without-reset": (headers(ratelimit='"default";r=50'), []),
    "draft-10-of-bytes": (
        headers(ratelimit='"x";r=0;t=30', ratelimit_policy='"x";q=100;w=60;qu="content-bytes"'),
        [],
    ),
    "draft-10-of-requests": (
        headers(ratelimit='"x";r=0;t=30', ratelimit_policy='"x";qu="requests";q=100;w=50'),
        [Quota(0, 30, 2)],
    ),
    "draft-07": (
        headers(ratelimit="limit=100, remaining=50, reset=30", ratelimit_policy="100;w=60"),
        [Quota(50, 30, 100 / 60)],
    ),
    "draft-06": (
        headers(ratelimit_limit="100, 100;w=60, 9000;w=3600", ratelimit_remaining="50", ratelimit_reset="30"),
        [Quota(50, 30, 100 / 60)],
    ),
}

OTHERS: dict[str, tuple[dict[bytes, bytes], list[Quota]]] = {
    "seconds": (headers(x_ratelimit_remaining="50", x_ratelimit_reset="30"), [Quota(50, 30, 0)]),
    "dashes": (headers(x_rate_limit_remaining="50", x_rate_limit_reset="1.5"), [Quota(50, 1.5, 0)]),
    "epoch": (
        headers(x_ratelimit_remaining="50", x_ratelimit_reset="1796040030", x_ratelimit_limit="60"),
        [Quota(50, 30, 0)],
    ),
    "epoch-in-milliseconds": (
        headers(x_ratelimit_remaining="50", x_ratelimit_reset="1796040030500"),
        [Quota(50, 30.5, 0)],
    ),
    "epoch-of-another-clock": (
        headers(
            x_ratelimit_remaining="5", x_ratelimit_reset="1796040030", date="Mon, 30 Nov 2026 12:00:10 GMT"
        ),
        [Quota(5, 20, 0)],
    ),
    "epoch-that-is-over": (
        headers(x_ratelimit_remaining="5", x_ratelimit_reset="1796030000"),
        [Quota(5, 0, 0)],
    ),
    "sent-twice": (
        headers(x_ratelimit_remaining="50, 7", x_ratelimit_reset="30,1796040060"),
        [Quota(50, 30, 0), Quota(7, 60, 0)],
    ),
    "sent-twice-with-one-reset": (headers(x_ratelimit_remaining="50, 7", x_ratelimit_reset="30"), []),
    "both-kinds": (
        headers(ratelimit='"a";r=1;t=2', x_ratelimit_remaining="3", x_ratelimit_reset="4"),
        [Quota(1, 2, 0), Quota(3, 4, 0)],
    ),
}


@pytest.mark.parametrize(("fields", "quotas"), [*IETF.values(), *OTHERS.values()], ids=[*IETF, *OTHERS])
def test_quotas_are_read(fields: dict[bytes, bytes], quotas: list[Quota]) -> None:
    assert read_limits(fields, NOON)[0] == quotas


def test_policies_are_read() -> None:
    fields = headers(ratelimit_policy='"a";q=10;w=1, "b";w=60;q=90, "c";q=1, 7;w=2, "d";q=0;w=1, "e";q=1;w=0')
    assert read_limits(fields, NOON)[1] == [Policy(10, 1), Policy(90, 60), Policy(7, 2)]
    assert read_limits(headers(ratelimit_limit="10, 10;w=1, 50;w=60"), NOON)[1] == [
        Policy(10, 1),
        Policy(50, 60),
    ]


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "-1",
        "1e5",
        "NaN",
        "inf",
        "0x10",
        "1_000",
        "٣",
        "9" * 16,
        "x",
        "\xff",
        "1" * 1_000_000,
    ],
    ids=lambda value: ascii(value[:8]),
)
def test_a_value_that_is_not_valid_is_left_out(value: str) -> None:
    for fields in (
        headers(x_ratelimit_remaining=value, x_ratelimit_reset="30"),
        headers(x_ratelimit_remaining="0", x_ratelimit_reset=value),
        headers(ratelimit=f'"default";r={value};t=30'),
        headers(ratelimit=f'"default";r=0;t={value}'),
        headers(ratelimit=f"remaining={value}, reset=30"),
        headers(ratelimit_policy=f'"default";q={value};w=x'),
    ):
        assert read_limits(fields, NOON) == ([], [])


def test_more_members_than_a_server_needs_are_left_out() -> None:
    fields = headers(
        ratelimit=", ".join(f'"{number}";r=1;t=2' for number in range(100)),
        x_ratelimit_remaining=",".join(["1"] * 1000),
        x_ratelimit_reset=",".join(["2"] * 1000),
    )
    assert len(read_limits(fields, NOON)[0]) == 32


NUMBERS = st.integers(0, 10**16).map(str) | st.floats().map(str) | st.text(max_size=5)
PIECES = st.lists(
    st.sampled_from(['"a"', '"', "\\", ";", ",", "=", "r=", "t=", "q=", "w=", "qu=", "limit", "reset", " "])
    | NUMBERS,
    max_size=20,
).map("".join)
ANYTHING = st.dictionaries(
    st.sampled_from(sorted({*NAMES, *(name.replace(b"remaining", b"reset") for name in NAMES), b"date"})),
    (PIECES | NUMBERS).map(lambda text: text.encode(errors="replace")) | st.binary(),
)


@example(headers(ratelimit=";"), 200, None)
@given(ANYTHING, st.sampled_from([200, 429, 500]), st.none() | st.floats(0, 1e300))
def test_nothing_stalls_a_client_for_long(
    fields: dict[bytes, bytes], status: int, retry_after_s: float | None
) -> None:
    limits = ServerLimits(20, lambda: NOON)
    is_quiet = limits.is_quiet(status, fields)
    slow = limits.after(status, fields, 1000.0, retry_after_s)
    assert slow is None or not is_quiet
    if slow is None:
        assert status != 429 or retry_after_s is not None
        return
    assert 0 <= slow.pause_s <= LONGEST_PAUSE_S
    if slow.per_second is None:
        assert slow.for_s == 0
    else:
        assert 0 < slow.per_second < 20
        assert 0 < slow.for_s <= HOLD_S


# How a client slows down


def after(*fields: dict[bytes, bytes], status: int = 200, per_second: float = 20.0) -> list[Slow | None]:
    limits = ServerLimits(per_second, lambda: NOON)
    return [limits.after(status, each, 1000.0) for each in fields]


def test_a_response_that_says_nothing_changes_nothing() -> None:
    assert after({}, headers(date=DATE), headers(x_ratelimit_limit="5", x_ratelimit_reset="5")) == [None] * 3


def test_a_quota_is_spread_until_its_reset() -> None:
    assert after(headers(ratelimit='"default";r=50;t=30')) == [Slow(0, 50 / 30, LEARNED_S)]
    assert after(headers(ratelimit='"default";r=1;t=5')) == [Slow(0, 1 / 5, LEARNED_S)]


@pytest.mark.parametrize(
    "fields",
    [
        headers(ratelimit='"default";r=600;t=30'),  # the client's own rate
        headers(ratelimit='"default";r=1200;t=86400'),  # more than it uses in a minute
        headers(ratelimit='"default";r=1;t=4'),  # a rate of 1, or of 1.33, or the next of many
        headers(ratelimit_policy='"daily";q=100;w=86400'),  # all of it may be left
        headers(ratelimit_policy='"fast";q=100;w=5'),
    ],
    ids=["as-fast", "plenty", "soon", "long-window", "policy-as-fast"],
)
def test_a_limit_that_is_not_in_the_way_changes_nothing(fields: dict[bytes, bytes]) -> None:
    assert after(fields) == [None]


def test_a_quota_is_not_spread_more_thinly_than_its_policy() -> None:
    """A server with a leaky bucket reports the time until one more request."""
    fields = headers(ratelimit='"default";r=1;t=6', ratelimit_policy='"default";q=100;w=10')
    assert after(fields) == [Slow(0, 10, LEARNED_S)]


def test_the_most_restrictive_policy_counts() -> None:
    fields = headers(ratelimit_policy='"a";q=100;w=10, "b";q=10;w=60, "c";q=1;w=3600')
    assert after(fields) == [Slow(0, 10 / 60, LEARNED_S)]
    fields = headers(ratelimit='"a";r=30;t=10, "b";r=5;t=10, "c";r=0;t=7')
    assert after(fields) == [Slow(7, 0.5, LEARNED_S)]


def test_an_exhausted_quota_pauses_until_its_reset() -> None:
    assert after(headers(ratelimit='"default";r=0;t=12')) == [Slow(12, None, 0)]
    assert after(headers(x_ratelimit_remaining="0", x_ratelimit_reset="1796040012")) == [Slow(12, None, 0)]
    assert after(headers(x_ratelimit_remaining="0", x_ratelimit_reset="1796080000")) == [Slow(30, None, 0)]


def test_a_reset_within_a_second_does_not_pause() -> None:
    """A server with a leaky bucket, or with windows of a second, would be used at a fraction of its rate."""
    assert after(headers(ratelimit='"default";r=0;t=1'), headers(ratelimit='"default";r=0;t=0')) == [None] * 2
    assert after(headers(ratelimit='"default";r=0;t=2')) == [Slow(2, None, 0)]
    assert after(headers(ratelimit='"default";r=0;t=1'), status=429) == [Slow(1, 16, HOLD_S)]


def test_the_same_pause_and_a_similar_rate_are_passed_on_once() -> None:
    limits = ServerLimits(20)
    told = [
        limits.after(200, headers(ratelimit=f'"default";r={remaining};t={reset}'), now)
        for now, remaining, reset in [
            (0.0, 0, 12),
            (0.5, 0, 12),
            (0.6, 0, 12),
            (20.0, 100, 20),
            (21.0, 90, 20),
            (22.0, 80, 20),
            (26.0, 75, 20),
            (27.0, 300, 20),
        ]
    ]
    assert told == [
        Slow(12, None, 0),
        None,
        Slow(12, None, 0),
        Slow(0, 5.0, LEARNED_S),
        None,
        Slow(0, 4.0, LEARNED_S),
        None,
        Slow(0, 15.0, LEARNED_S),
    ]


def test_a_refusal_pauses_as_long_as_it_asks() -> None:
    cases: list[tuple[float | None, dict[bytes, bytes], float]] = [
        (None, {}, 1.0),
        (7.0, {}, 7.0),
        (0.0, {}, 0.0),
        (3600.0, {}, LONGEST_PAUSE_S),
        (None, headers(ratelimit='"default";r=0;t=9'), 9.0),
        (4.0, headers(ratelimit='"default";r=0;t=9'), 4.0),
        (None, headers(ratelimit='"default";r=5;t=9'), 1.0),
    ]
    for retry_after_s, fields, pause_s in cases:
        slow = ServerLimits(20, lambda: NOON).after(429, fields, 1000.0, retry_after_s)
        assert slow is not None
        assert slow.pause_s == pause_s


def test_refusals_lower_the_rate_and_quiet_raises_it() -> None:
    limits = ServerLimits(20)

    def at(now: float, status: int, **fields: str) -> Any:
        is_quiet = limits.is_quiet(status, headers(**fields))
        slow = limits.after(status, headers(**fields), now, 0.0)
        assert slow is None or not is_quiet
        return slow and (slow.per_second, slow.for_s)

    assert at(0, 429) == (16, HOLD_S)
    assert at(1, 429) is None  # sent before the rate was lowered
    assert at(2, 429) == (8, HOLD_S)
    assert at(21, 200) is None
    assert at(21, 200, ratelimit='"daily";r=1200;t=86400') is None
    assert at(22, 200) == (10, HOLD_S)  # before the last one ends
    assert HOLD_S > RECOVER_S
    assert at(41, 200) is None
    assert at(42, 404) == (12.5, HOLD_S)
    assert at(50, 429) == (10, HOLD_S)  # the last refusal was long ago
    assert [at(now, 200) for now in (70, 90, 110)] == [(12.5, HOLD_S), (15.625, HOLD_S), (19.53125, HOLD_S)]
    assert at(130, 200) is None  # again the client's own rate
    assert at(500, 200) is None
    assert at(501, 429) == (16, HOLD_S)
    assert at(521, 429) == (pytest.approx(12.8), HOLD_S)  # not soon any more


def test_a_rate_that_nobody_renewed_is_forgotten() -> None:
    # Other clients have sent at the whole rate since then, so this one must not lower it for them again.
    limits = ServerLimits(20)
    assert limits.after(429, {}, 0.0) == Slow(1.0, 16.0, HOLD_S)
    assert limits.after(429, {}, 3.0) == Slow(1.0, 8.0, HOLD_S)
    assert limits.after(200, {}, 3.0 + HOLD_S) is None
    assert limits.is_quiet(200, {})
    assert limits.after(200, {}, 3.0 + HOLD_S + RECOVER_S) is None
    assert limits.after(429, {}, 100.0) == Slow(1.0, 16.0, HOLD_S)


def test_the_rate_is_never_lowered_to_nothing() -> None:
    limits = ServerLimits(64)
    slowest = [limits.after(429, {}, now) for now in range(0, 40, 2)][-1]
    assert slowest is not None
    assert slowest.per_second == 64 * LEAST_SHARE


def test_a_known_rate_is_not_lowered_after_a_refusal() -> None:
    fields = headers(ratelimit_policy='"default";q=10;w=1')
    limits = ServerLimits(20)
    assert limits.after(429, fields, 0.0) == Slow(1.0, 10.0, LEARNED_S)
    assert limits.after(429, fields, 3.0) == Slow(1.0, None, 0.0)
    assert limits.after(200, {}, math.inf) is None
