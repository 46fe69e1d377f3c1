import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thrive_learning import Activity, ActivityPage, ConfigurationError, Pagination, UnexpectedResponseError
from thrive_learning._bulk.walk import FRUITLESS_PAGES, REMEMBERED_PAGES, Walk
from thrive_learning._filters import MAX_VALUES, ActivityFilters

ANY = ActivityFilters()
#: More requests than any walk of these tests may take.
ENDLESS = 10_000


def record(identifier: object) -> Activity:
    return Activity(id=f"{identifier}")


def page(*identifiers: object, total: int | None = None, **pagination: Any) -> ActivityPage:
    return ActivityPage(
        results=tuple(map(record, identifiers)), pagination=Pagination(total_pages=total, **pagination)
    )


class Server:
    """A list that grows while it is read.

    Args:
        identifiers: What it holds at the start.
        arrivals: The positions at which records arrive, by the number of requests before.
        totals: What it says of the number of its pages: the truth, unless there is something else.
    """

    def __init__(self, count: int, arrivals: dict[int, list[float]], totals: str) -> None:
        self.identifiers = [f"old {number}" for number in range(count)]
        self.original = list(self.identifiers)
        self.requests: list[int] = []
        self._new = (f"new {number}" for number in itertools.count())
        self._arrivals = arrivals
        self._totals = totals

    def page(self, number: int, per_page: int) -> ActivityPage:
        for position in self._arrivals.get(len(self.requests), []):
            self.identifiers.insert(round(position * len(self.identifiers)), next(self._new))
        self.requests.append(number)
        assert len(self.requests) < ENDLESS
        shown = self.identifiers[(number - 1) * per_page : number * per_page]
        pages = -(-len(self.identifiers) // per_page)
        total = {"true": pages, "none": None, "zero": 0, "too large": pages + 7, "negative": -1}[self._totals]
        counted = None if self._totals == "none" else len(self.identifiers)
        return page(*shown, total=total, page=number, per_page=per_page, total_results=counted)


def goes_on(walk: Walk, filters: ActivityFilters) -> bool:
    return not walk.is_over and walk.current is filters


def walked(walk: Walk, server: Server, per_page: int) -> Iterator[list[str]]:
    """Go through the pages as the streams do, and yield the new records of each."""
    while not walk.is_over:
        current = walk.current
        for number in walk.pages():
            found = walk.take(number, server.page(number, per_page))
            assert walk.number == number
            yield [activity.id for activity in found]
            if not goes_on(walk, current):
                break


POSITIONS = st.lists(st.sampled_from([0.0, 0.3, 0.5, 1.0]), max_size=3)
# Ten pages without anything new would look like a list without an end.
ARRIVALS = st.dictionaries(st.integers(0, 30), POSITIONS, max_size=3)


@given(
    st.integers(0, 40),
    st.integers(1, 5),
    st.sampled_from([None, 1, 2, 3]),
    ARRIVALS,
    st.sampled_from(["true", "none", "zero", "too large", "negative"]),
)
def test_each_record_that_existed_at_the_start_comes_once(
    count: int, per_page: int, most: int | None, arrivals: dict[int, list[float]], totals: str
) -> None:
    server, walk = Server(count, arrivals, totals), Walk(ANY, 1, per_page)
    # A server may have shorter pages than it was asked for.
    pages = list(walked(walk, server, min(per_page, most or per_page)))
    found = [identifier for identifiers in pages for identifier in identifiers]
    assert len({*found}) == len(found)
    assert {*server.original} <= {*found}
    assert walk.missing == 0
    assert server.requests == [*range(1, len(server.requests) + 1)]
    if totals == "true" and not arrivals:
        assert len(server.requests) == max(-(-count // min(per_page, most or per_page)), 1)


@given(st.integers(0, 40), st.integers(1, 5), st.dictionaries(st.integers(0, 12), POSITIONS, max_size=3))
def test_records_that_are_deleted_meanwhile_are_not_missing(
    count: int, per_page: int, deletions: dict[int, list[float]]
) -> None:
    server, walk = Server(count, {}, "true"), Walk(ANY, 1, per_page)
    for number, _identifiers in enumerate(walked(walk, server, per_page)):
        for position in deletions.get(number, []):
            at = int(position * len(server.identifiers))
            del server.identifiers[at : at + 1]
    assert walk.missing == 0


def missing(*pages: ActivityPage, begin: int = 1, ids: tuple[str, ...] = ()) -> int:
    """Return how many records are missing in a walk with pages of five that has these responses."""
    walk, responses = Walk(ActivityFilters(content_ids=ids), begin, 5), iter(pages)
    while not walk.is_over:
        current = walk.current
        for number in walk.pages():
            walk.take(number, next(responses))
            if not goes_on(walk, current):
                break
    assert next(responses, None) is None
    return walk.missing


def test_records_that_the_server_counts_and_does_not_send_are_missing() -> None:
    full = range(5)
    assert missing(page(*full, total=1, total_results=5)) == 0
    assert missing(page(*full, total=1, total_results=17)) == 12
    assert missing(page(*full, total=4, total_results=17), page(total=4, total_results=17)) == 12
    assert missing(page(*full, total_results=17), page()) == 12
    assert missing(page(*full), page(total_results=17)) == 12
    # The fewest of the counts may be wrong as well, but a count is not held against another one.
    assert missing(page(*full, total=2, total_results=17), page(*full, total=2, total_results=5)) == 0


def test_pages_that_repeat_another_do_not_make_up_for_missing_records() -> None:
    repeated = [page(*range(5), total=3, total_results=15)] * 3
    assert missing(*repeated) == 10


def test_a_record_that_is_listed_twice_is_counted_twice() -> None:
    assert missing(page(1, 1, 2, total=1, total_results=3)) == 0
    assert missing(page(*range(5), total=2, total_results=7), page(4, 5, total=2, total_results=7)) == 0


@pytest.mark.parametrize(("per_page", "expected"), [(None, 2), (5, 2), (2, 0), (1000, 0)])
def test_pages_before_the_first_requested_one_are_not_missing(per_page: int | None, expected: int) -> None:
    found = page(1, total=3, total_results=13, per_page=per_page)
    assert missing(found, begin=3) == expected


def test_each_list_of_content_ids_is_compared_with_its_own_count() -> None:
    ids = tuple(f"{number:024x}" for number in range(MAX_VALUES + 1))
    one = page(1, total=1, total_results=1)
    assert missing(one, one, ids=ids) == 0
    assert missing(page(total=0, total_results=0), page(2, total=1, total_results=2), ids=ids) == 1
    assert missing(page(1, total=1, total_results=3), page(2, total=1, total_results=2), ids=ids) == 3


@given(
    st.lists(
        st.tuples(st.lists(st.integers(0, 30), max_size=5), st.none() | st.integers(-1, 30)), max_size=60
    )
)
def test_whatever_a_server_says_a_walk_ends(said: list[tuple[list[int], int | None]]) -> None:
    responses = itertools.chain(said, itertools.repeat(([1, 2, 3], 10**12)))
    walk, found, requests = Walk(ANY, 1, 5), list[str](), 0
    try:
        while not walk.is_over:
            for number in itertools.islice(walk.pages(), 3):
                identifiers, total = next(responses)
                requests += 1
                found += [activity.id for activity in walk.take(number, page(*identifiers, total=total))]
                if walk.is_over:
                    break
    except UnexpectedResponseError:
        pass
    assert len({*found}) == len(found)
    assert requests <= len(said) + 1 + FRUITLESS_PAGES


def test_pages_without_anything_new_do_not_go_on_forever() -> None:
    walk = Walk(ANY, 1, 5)
    assert [activity.id for activity in walk.take(1, page(1, 2))] == ["1", "2"]
    for number in range(2, FRUITLESS_PAGES + 1):
        assert walk.take(number, page(2, 1, total=10**9)) == []
    with pytest.raises(UnexpectedResponseError, match=r"pages 2 to 11 have no records .* Ask the API"):
        walk.take(FRUITLESS_PAGES + 1, page(2, 1, total=10**9))


@pytest.mark.parametrize("total", [None, 2, 9])
def test_a_server_that_repeats_a_page_for_every_number_is_noticed(total: int | None) -> None:
    walk = Walk(ANY, 1, 5)
    assert len(walk.take(1, page(1, 2, total=total, page=1))) == 2
    with pytest.raises(UnexpectedResponseError, match=r"request for page 2 is page 1 again, .*missing"):
        walk.take(2, page(1, 2, total=total, page=1))


def test_a_server_that_counts_its_pages_in_another_way_is_read() -> None:
    walk = Walk(ANY, 1, 5)
    walk.take(1, page(1, 2, total=4, page=0))
    assert len(walk.take(2, page(3, total=4, page=0))) == 1
    assert walk.take(3, page(3, total=4, page=1)) == []
    assert walk.take(4, page(total=4, page=1)) == []
    assert walk.is_over


def test_the_first_page_of_the_next_content_ids_is_not_that_of_the_former_again() -> None:
    ids = tuple(f"{number:024x}" for number in range(MAX_VALUES + 1))
    walk = Walk(ActivityFilters(content_ids=ids), 1, 5)
    walk.take(1, page(1, total=1, page=1))
    assert walk.take(1, page(1, total=1, page=1)) == []
    assert walk.is_over


def test_a_page_with_something_new_makes_up_for_those_without() -> None:
    walk = Walk(ANY, 1, 5)
    for number in range(1, 4 * FRUITLESS_PAGES):
        walk.take(number, page(number // (FRUITLESS_PAGES - 1)))
    assert not walk.is_over


def test_the_last_page_may_be_one_without_anything_new() -> None:
    walk = Walk(ANY, 1, 5)
    for number in range(1, FRUITLESS_PAGES + 2):
        walk.take(number, page(1, total=FRUITLESS_PAGES + 1))
    assert walk.is_over


@pytest.mark.parametrize("total", [None, 0, 1, 9])
def test_an_empty_page_is_the_end(total: int | None) -> None:
    walk = Walk(ANY, 1, 5)
    assert walk.take(1, page(total=total)) == []
    assert walk.is_over


@pytest.mark.parametrize(("total", "is_over"), [(None, False), (0, False), (1, True), (2, True), (3, False)])
def test_the_last_page_by_the_count_of_the_server_is_the_end(total: int | None, is_over: bool) -> None:  # noqa: FBT001
    walk = Walk(ANY, 2, 5)
    walk.take(2, page(1, total=total))
    assert walk.is_over is is_over


def test_a_page_without_any_readable_record_is_not_the_end() -> None:
    walk = Walk(ANY, 1, 5)
    unreadable = ActivityPage.from_dict({"results": [1, None]})
    assert walk.take(1, unreadable) == []
    assert not walk.is_over
    walk.take(2, ActivityPage.from_dict({"results": [{"id": "a"}, {}]}))
    assert walk.unreadable == 3


def test_pages_are_counted_by_what_the_last_one_said() -> None:
    walk = Walk(ANY, 1, 5)
    assert [*walk.pages()] == [1]
    walk.take(1, page(1, total=4))
    assert [*walk.pages()] == [2, 3, 4]
    walk.take(2, page(2, total=5))
    assert [*walk.pages()] == [3, 4, 5]
    walk.take(3, page(3))
    assert [*walk.pages()] == [4]
    assert [*itertools.islice(Walk(ANY, 7, 5).pages(), 2)] == [7]


def test_ids_are_remembered_for_twenty_pages() -> None:
    per_page = 60
    walk = Walk(ANY, 1, per_page)
    kept = REMEMBERED_PAGES * per_page
    numbers = [*range(3 * kept)]
    for number in range(1, 3 * REMEMBERED_PAGES + 1):
        assert len(walk.take(number, page(*numbers[(number - 1) * per_page : number * per_page]))) == per_page
        assert len(walk._known) <= kept
    assert walk.take(1000, page(*numbers[-kept:])) == []
    assert len(walk.take(1001, page(numbers[0]))) == 1


def test_few_records_per_page_do_not_make_the_memory_short() -> None:
    walk = Walk(ANY, 1, 1)
    for number in range(1, 1001):
        walk.take(number, page(number))
    assert walk.take(1001, page(1)) == []
    walk.take(1002, page(1002))
    assert len(walk._known) == 1000
    assert len(walk.take(1003, page(1))) == 1


def test_each_part_of_many_content_ids_has_its_walk() -> None:
    filters = ActivityFilters(content_ids=tuple(f"{number:024x}" for number in range(2 * MAX_VALUES + 1)))
    walk = Walk(filters, 1, 5)
    first = walk.current
    assert len(first.content_ids) == MAX_VALUES
    assert walk.take(1, page(1, total=2)) != []
    assert walk.current is first
    assert walk.take(2, page(2, 3, total=2, total_results=3)) != []
    assert walk.current.content_ids == filters.content_ids[MAX_VALUES : 2 * MAX_VALUES]
    # The pagination of the last page remains until the next page arrives.
    assert walk.pagination == Pagination(total_pages=2, total_results=3)
    assert (walk.number, walk.is_over, [*walk.pages()]) == (2, False, [1])
    assert [activity.id for activity in walk.take(1, page(3, 4, total=1))] == ["4"]
    assert walk.current.content_ids == filters.content_ids[2 * MAX_VALUES :]
    assert walk.take(1, page()) == []
    assert walk.is_over


def test_pages_without_anything_new_are_counted_for_each_part() -> None:
    filters = ActivityFilters(content_ids=tuple(f"{number:024x}" for number in range(MAX_VALUES + 1)))
    walk = Walk(filters, 1, 5)
    for number in range(1, FRUITLESS_PAGES + 2):
        walk.take(number, page(1, total=FRUITLESS_PAGES + 1))
    assert walk.take(1, page(1)) == []
    assert not walk.is_over


def test_a_page_to_begin_with_is_rejected_where_several_walks_have_it() -> None:
    filters = ActivityFilters(content_ids=tuple(f"{number:024x}" for number in range(MAX_VALUES + 1)))
    with pytest.raises(
        ConfigurationError, match=r"page=2 is ambiguous, .* the 101 content_ids\. Pass page=1"
    ):
        Walk(filters, 2, 5)


@pytest.mark.parametrize(("number", "per_page"), [(0, 5), (True, 5), (1, 0), (1, 1001)])
def test_an_invalid_page_is_rejected(number: int, per_page: int) -> None:
    with pytest.raises(ConfigurationError, match="page is"):
        Walk(ANY, number, per_page)
