import datetime as dt
import enum
import zoneinfo
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import MagicMock

import freezegun
import pytest
from harness import ACTIVITY_ID
from hypothesis import given
from hypothesis import strategies as st

from thrive_learning import ActivityType, ConfigurationError, InvalidIdError
from thrive_learning._filters import MAX_LENGTH, MAX_VALUES, ActivityFilters, page_number, page_size

UTC = dt.UTC
NEW_YEAR = dt.datetime(2026, 1, 1, tzinfo=UTC)
EAST, WEST = dt.timezone(dt.timedelta(hours=5, minutes=30)), dt.timezone(-dt.timedelta(hours=8))


def filters(**given_: Any) -> ActivityFilters:
    blank: dict[str, Any] = {
        "types": (),
        "omit_types": (),
        "content_ids": (),
        "content_type": None,
        "since": None,
        "until": None,
    }
    return ActivityFilters.of(**(blank | given_))


def arguments(**given_: Any) -> dict[str, Any]:
    sent = filters(**given_).page_arguments(1, 20)
    assert sent.pop("page") == 1
    assert sent.pop("per_page") == 20
    return sent


NAIVE = NEW_YEAR.replace(tzinfo=None)
TIMES = st.datetimes(
    timezones=st.timezones(), min_value=NAIVE.replace(year=2), max_value=NAIVE.replace(year=9998)
)


class Kind(str, enum.Enum):  # noqa: UP042 - its str() is not its value
    VIEWED = "viewed"


class Modern(enum.StrEnum):
    VIEWED = "viewed"


class Number(enum.IntEnum):
    ONE = 1


class Other(enum.Enum):
    VIEWED = "viewed"


class Text(str):
    """Text that prints as something else."""

    __slots__ = ()

    def __str__(self) -> str:
        return "something else"


class Nanosecond(dt.datetime):
    """A time that is a nanosecond later than it seems, as those of pandas may be."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Nanosecond) and super().__eq__(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = dt.datetime.__hash__


class Unprintable:
    def __repr__(self) -> str:
        raise LookupError


def identifiers(count: int) -> list[str]:
    return [f"{number:024x}" for number in range(count)]


# Queries


def test_without_filters_nothing_but_the_page_is_sent() -> None:
    assert filters().page_arguments(3, 1000) == {"page": 3, "per_page": 1000}
    assert filters(types=[], omit_types=set(), content_ids=iter(())) == ActivityFilters()


@pytest.mark.parametrize("name", ["types", "omit_types"])
@pytest.mark.parametrize(
    ("values", "sent"),
    [
        (["viewed"], "viewed"),
        (("viewed", "completed"), "viewed,completed"),
        ({"viewed": 1, "of our own": 2}, "viewed,of our own"),
        ([ActivityType.VIEWED, "viewed", Kind.VIEWED, Modern.VIEWED, Text("viewed")], "viewed"),
        ([Text("completed"), ActivityType.VIEWED], "completed,viewed"),
        (["Größe"], "Größe"),
    ],
)
def test_types_are_sent_by_their_values_each_once(name: str, values: Any, sent: str) -> None:
    argument = {"types": "actions", "omit_types": "omit_actions"}[name]
    found = arguments(**{name: values})
    assert found == {argument: sent}
    assert type(found[argument]) is str
    assert found == arguments(**{name: iter([*values])})


def test_a_generator_is_read_once() -> None:
    read: list[str] = []

    def generated(*values: str) -> Iterator[str]:
        for value in values:
            read.append(value)
            yield value

    found = filters(types=generated("viewed", "completed"), content_ids=generated(ACTIVITY_ID))
    assert found.with_end().page_arguments(1, 20) | {"timestamp_to": ""} == {
        "page": 1,
        "per_page": 20,
        "actions": "viewed,completed",
        "content_ids": ACTIVITY_ID,
        "timestamp_to": "",
    }
    assert found.walks == [found]
    assert read == ["viewed", "completed", ACTIVITY_ID]


def test_content_ids_are_sent_in_small_letters_each_once() -> None:
    other = "a" * 24
    assert arguments(content_ids=[ACTIVITY_ID.upper(), other, ACTIVITY_ID, Text(other)]) == {
        "content_ids": f"{ACTIVITY_ID},{other}"
    }


def test_a_type_of_content_is_sent_as_it_is() -> None:
    assert arguments(content_type="content, of our own") == {"content_type": "content, of our own"}
    assert arguments(content_type=Kind.VIEWED) == {"content_type": "viewed"}


@pytest.mark.parametrize(
    ("moment", "down", "up"),
    [
        (NEW_YEAR, "2026-01-01 00:00:00", "2026-01-01 00:00:00"),
        (NEW_YEAR.replace(microsecond=1), "2026-01-01 00:00:00", "2026-01-01 00:00:01"),
        (NEW_YEAR - dt.timedelta(microseconds=1), "2025-12-31 23:59:59", "2026-01-01 00:00:00"),
        (NEW_YEAR.replace(tzinfo=EAST), "2025-12-31 18:30:00", "2025-12-31 18:30:00"),
        (NEW_YEAR.replace(tzinfo=WEST), "2026-01-01 08:00:00", "2026-01-01 08:00:00"),
        (dt.datetime(900, 2, 3, 4, 5, 6, tzinfo=UTC), "0900-02-03 04:05:06", "0900-02-03 04:05:06"),
        # The hour that Zurich has twice.
        (
            dt.datetime(2026, 10, 25, 2, 30, tzinfo=zoneinfo.ZoneInfo("Europe/Zurich"), fold=1),
            "2026-10-25 01:30:00",
            "2026-10-25 01:30:00",
        ),
        (Nanosecond(2026, 1, 1, tzinfo=UTC), "2026-01-01 00:00:00", "2026-01-01 00:00:01"),
    ],
)
def test_times_are_sent_in_utc_and_rounded_outward(moment: dt.datetime, down: str, up: str) -> None:
    assert arguments(since=moment) == {"timestamp_from": down}
    assert arguments(until=moment) == {"timestamp_to": up}
    assert {type(filters(since=moment).since), type(filters(until=moment).until)} == {dt.datetime}


@given(TIMES)
def test_rounding_never_leaves_a_record_out(moment: dt.datetime) -> None:
    found = filters(since=moment), filters(until=moment)
    moment = moment.astimezone(UTC)  # arithmetic in a time zone ignores the hour that it has twice
    since, until = found[0].since, found[1].until
    assert since is not None
    assert until is not None
    assert moment - dt.timedelta(seconds=1) < since <= moment <= until < moment + dt.timedelta(seconds=1)
    assert since.microsecond == until.microsecond == 0
    sent = found[0].page_arguments(1, 1)["timestamp_from"]
    assert dt.datetime.strptime(sent, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC) == since


@pytest.mark.parametrize("count", [MAX_VALUES, MAX_VALUES + 1, 3 * MAX_VALUES, 250])
def test_long_lists_are_split(count: int) -> None:
    found = filters(content_ids=identifiers(count), types=["viewed"], since=NEW_YEAR)
    walks = found.walks
    assert [identifier for walk in walks for identifier in walk.content_ids] == identifiers(count)
    assert [len(walk.content_ids) for walk in walks[:-1]] == [MAX_VALUES] * ((count - 1) // MAX_VALUES)
    assert {walk._replace(content_ids=()) for walk in walks} == {found._replace(content_ids=())}
    for walk in walks:
        assert walk.page_arguments(1, 1)["content_ids"].count(",") == len(walk.content_ids) - 1


# The end of the window


@freezegun.freeze_time("2026-07-01T12:00:00.25")
def test_the_end_is_fixed_once() -> None:
    found = filters(since=NEW_YEAR).with_end()
    assert found.until == dt.datetime(2026, 7, 1, 12, 0, 1, tzinfo=UTC)
    assert found.with_end() is found
    with freezegun.freeze_time("2027-01-01"):
        assert found.with_end().until == found.until


@freezegun.freeze_time("2026-01-01")
def test_a_walk_may_begin_now_even_if_the_clock_stands_still() -> None:
    found = filters(since=NEW_YEAR).with_end()
    assert found.until == NEW_YEAR + dt.timedelta(seconds=1)


@freezegun.freeze_time("2025-12-31T23:59:59.9")
def test_a_walk_that_begins_in_the_future_is_rejected() -> None:
    with pytest.raises(ConfigurationError, match=r"since=2026-01-01 00:00:00\+00:00 is in the future"):
        filters(since=NEW_YEAR).with_end()
    later = NEW_YEAR + dt.timedelta(days=1)
    assert filters(since=NEW_YEAR, until=later).with_end().until == later


# Rejected values

TEXTS: dict[str, Any] = {
    "empty": "",
    "blank": " ",
    "space before it": " viewed",
    "line end": "viewed\n",
    "control character": "vie\x07wed",
    "NUL": "viewed\0",
    "half a character": "\ud800",
    "bytes": b"viewed",
    "number": 7,
    "nothing": None,
    "list": ["viewed"],
    "mapping": {},
    "enum of numbers": Number.ONE,
    "enum": Other.VIEWED,
    "class": str,
    "mock": MagicMock(spec=str),
    "unprintable": Unprintable(),
}


@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize("name", ["types", "omit_types", "content_type"])
def test_an_invalid_text_is_rejected(name: str, kind: str) -> None:
    value = TEXTS[kind]
    if name == "content_type":
        if value is None:
            return
        example = "'content'"
    else:
        value, example = ["completed", value], "'viewed'"
    with pytest.raises(
        ConfigurationError, match=f"^{name} has the value .*Pass printable text .* such as {example}"
    ):
        filters(**{name: value})


@pytest.mark.parametrize("name", ["types", "omit_types"])
def test_a_comma_in_a_type_is_rejected(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name} has the value 'a,b'.*pass each type separately"):
        filters(**{name: ["a,b"]})


@pytest.mark.parametrize("name", ["types", "omit_types", "content_ids"])
@pytest.mark.parametrize(
    "values", ["viewed", b"viewed", Kind.VIEWED, None, 7, Unprintable(), "v" * 10_000], ids=type
)
def test_a_value_that_is_not_a_list_is_rejected(name: str, values: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name} is .*Pass a list") as caught:
        filters(**{name: values})
    assert len(str(caught.value)) < 200


def test_too_many_types_are_rejected() -> None:
    types = [f"type {number}" for number in range(MAX_VALUES)]
    assert len(filters(types=types * 2).types) == MAX_VALUES
    with pytest.raises(ConfigurationError, match=r"omit_types has 101 values. Pass at most 100"):
        filters(omit_types=[*types, "another"])


@pytest.mark.parametrize(
    ("name", "longest"),
    [
        ("types", ["a" * MAX_LENGTH]),
        ("omit_types", ["é" * (MAX_LENGTH // 6)]),
        ("types", ["a" * 37 + f"{number:03}" for number in range(92)]),  # with commas of 3 characters each
        ("content_type", "a" * MAX_LENGTH),
    ],
)
def test_values_that_are_too_long_for_a_url_are_rejected(name: str, longest: Any) -> None:
    filters(**{name: longest})
    longer = f"{longest}aa" if isinstance(longest, str) else [*longest[:-1], f"{longest[-1]}{'a' * 60}"]
    with pytest.raises(ConfigurationError, match=rf"^{name} takes 40\d\d characters in a URL\. Pass fewer"):
        filters(**{name: longer})


@pytest.mark.parametrize(
    "value", ["", "none", ACTIVITY_ID + " ", f"{ACTIVITY_ID}\n", f"{ACTIVITY_ID},", "\ud800", "é" * 24]
)
def test_an_invalid_content_id_is_rejected_and_kept(value: str) -> None:
    with pytest.raises(
        InvalidIdError, match=r"^content_ids has the value .* exactly 24 hexadecimal"
    ) as caught:
        filters(content_ids=[ACTIVITY_ID, value])
    assert caught.value.value == value
    str(caught.value).encode()


@pytest.mark.parametrize("value", [None, 7, b"a" * 24, ["a"], Unprintable(), MagicMock(spec=str)], ids=type)
def test_a_content_id_that_is_not_text_is_rejected(value: Any) -> None:
    with pytest.raises(InvalidIdError, match=r"^content_ids has the value ") as caught:
        filters(content_ids=[value])
    assert caught.value.__context__ is None


def test_more_content_ids_than_one_request_takes_are_rejected() -> None:
    found = filters(content_ids=identifiers(MAX_VALUES + 1))
    with pytest.raises(ConfigurationError, match=r"content_ids has 101 IDs.* at most 100\. Call iterate"):
        found.page_arguments(1, 20)


def test_types_to_keep_and_types_to_leave_out_exclude_each_other() -> None:
    with pytest.raises(ConfigurationError, match=r"types= and omit_types= exclude each other.*Pass one"):
        filters(types=["viewed"], omit_types=["completed"])


@pytest.mark.parametrize("name", ["since", "until"])
@pytest.mark.parametrize(
    "moment",
    [
        dt.date(2026, 1, 1),
        "2026-01-01",
        "2026-01-01T00:00:00Z",
        1767225600,
        0,
        dt.time(),
        dt.timedelta(),
        Unprintable(),
    ],
    ids=type,
)
def test_a_value_that_is_not_a_datetime_is_rejected(name: str, moment: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name} is .*Pass a datetime with a time zone"):
        filters(**{name: moment})


class Nowhere(dt.tzinfo):
    """A time zone that does not know its offset."""

    def utcoffset(self, _moment: dt.datetime | None) -> None:
        return None

    dst = tzname = utcoffset


@pytest.mark.parametrize("name", ["since", "until"])
@pytest.mark.parametrize("moment", [NAIVE, NEW_YEAR.replace(tzinfo=Nowhere())], ids=str)
def test_a_naive_datetime_is_rejected(name: str, moment: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name} is .* no time zone. Pass an aware datetime"):
        filters(**{name: moment})


@pytest.mark.parametrize(
    "given_",
    [
        {"since": dt.datetime.min.replace(tzinfo=EAST)},
        {"until": dt.datetime.max.replace(tzinfo=WEST)},
        {"until": dt.datetime.max.replace(tzinfo=UTC)},
    ],
    ids=str,
)
def test_a_time_that_utc_does_not_have_is_rejected(given_: dict[str, Any]) -> None:
    with pytest.raises(
        ConfigurationError, match=r"out of range in UTC\. Pass another time, or None"
    ) as caught:
        filters(**given_)
    assert caught.value.__context__ is None


def test_the_first_and_the_last_second_are_sent() -> None:
    assert arguments(
        since=dt.datetime.min.replace(tzinfo=UTC), until=dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    ) == {
        "timestamp_from": "0001-01-01 00:00:00",
        "timestamp_to": "9999-12-31 23:59:59",
    }


@pytest.mark.parametrize("later", [0, 1])
def test_a_window_without_any_time_is_rejected(later: int) -> None:
    since = NEW_YEAR + dt.timedelta(seconds=later)
    with pytest.raises(
        ConfigurationError, match=r"is not before until=2026-01-01 00:00:00\+00:00.*earlier since="
    ):
        filters(since=since, until=NEW_YEAR.astimezone(EAST).astimezone(UTC))


def test_a_window_of_less_than_a_second_is_rounded_to_one() -> None:
    parts = [NEW_YEAR.replace(microsecond=count) for count in (1, 2)]
    assert arguments(since=parts[0], until=parts[1]) == {
        "timestamp_from": "2026-01-01 00:00:00",
        "timestamp_to": "2026-01-01 00:00:01",
    }


@pytest.mark.parametrize("check", [page_number, page_size])
@pytest.mark.parametrize("value", [0, -1, True, False, 1.0, "1", None, 10**5000, Unprintable()], ids=type)
def test_an_invalid_page_is_rejected(check: Callable[[Any], int], value: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^(per_)?page is .*Pass a whole number"):
        check(value)


def test_a_page_beyond_the_limit_is_rejected_with_the_limit() -> None:
    with pytest.raises(ConfigurationError, match=r"^page is 1000000001\..* from 1, .*to 1000000000\.$"):
        page_number(10**9 + 1)


def test_the_limits_of_pages() -> None:
    assert (page_size(1), page_size(1000), page_number(10**9)) == (1, 1000, 10**9)
    assert (type(page_size(Number.ONE)), type(page_number(Number.ONE))) == (int, int)
    with pytest.raises(ConfigurationError, match=r"per_page is 1001\. Pass a whole number from 1 to 1000"):
        page_size(1001)
