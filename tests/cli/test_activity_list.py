"""`thrive activity list`, and its table."""

import datetime as dt
import json
from collections.abc import Iterator
from typing import Any

import pytest
from command import Call, assert_complaint
from list_server import ListServer, listing, record_of

from thrive_learning._documented_types import _report
from thrive_learning.cli.cells import cut, width_of
from thrive_learning.cli.commands.activity_list import position_of
from thrive_learning.cli.record_table import as_record_table
from thrive_learning.models import Activity, ActivityPage

LIST = ("activity", "list")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ListServer]:
    with listing(45) as served:
        for name, value in served.environment.items():
            monkeypatch.setenv(name, value)
        yield served


def test_a_program_gets_a_line_of_json_for_each_record(call: Call, server: ListServer) -> None:
    code, out, err = call(*LIST)
    assert (code, err) == (0, "")
    assert [json.loads(line) for line in out.splitlines()] == [
        record_of(number, number * 1000) for number in range(44, 24, -1)
    ]
    assert server.requests == [{"page": "1", "perPage": "20"}]


@pytest.mark.usefixtures("server")
def test_a_terminal_gets_a_table(terminal: Call) -> None:
    code, out, err = terminal(*LIST, "--page", "3")
    lines = out.splitlines()
    assert code == 0
    assert lines[0].split() == ["DATE", "(UTC)", "TYPE", "USER", "CONTEXT", "ID"]
    assert [line.split()[-1] for line in lines[1:]] == [f"{number:024x}" for number in range(4, -1, -1)]
    assert lines[1].startswith("2026-01-01 00:00:04  completed  ")
    assert max(map(width_of, lines)) <= 80
    assert err == "thrive: records 41 to 45 of 45\n"


def test_filters_are_sent(call: Call, server: ListServer) -> None:
    period = ("--since", "2026-01-01T00:00:10", "--until", "2026-01-01T00:00:20")
    code, out, _ = call(*LIST, *period, "--type", "viewed", "--page", "2", "--per-page", "1", "-o", "json")
    assert (code, json.loads(out)) == (0, [record_of(15, 15_000)])
    assert server.requests == [
        {
            "page": "2",
            "perPage": "1",
            "actions": "viewed",
            "timestampFrom": "2026-01-01 00:00:10",
            "timestampTo": "2026-01-01 00:00:20",
        }
    ]


def test_an_undocumented_type_is_sent_with_a_warning(call: Call, server: ListServer) -> None:
    _report.cache_clear()
    code, out, err = call(*LIST, "--type", "vewed")
    assert (code, out) == (0, "")
    assert err == "thrive: 'vewed' is not a documented type. Did you mean 'viewed'?\n"
    assert server.requests[-1]["actions"] == "vewed"


@pytest.mark.usefixtures("server")
def test_an_array_has_the_records_as_they_were_received(call: Call) -> None:
    code, out, _ = call(*LIST, "-o", "json", "--per-page", "2")
    assert (code, json.loads(out)) == (0, [record_of(44, 44_000), record_of(43, 43_000)])
    assert out.startswith('[\n  {\n    "id": ')
    assert call(*LIST, "-o", "json", "--page", "9").out == "[]\n"


@pytest.mark.usefixtures("server")
def test_a_page_without_records_is_reported(terminal: Call) -> None:
    assert terminal(*LIST, "--page", "4") == (0, "", "thrive: no records on page 4, 45 in total\n")


def test_items_without_an_id_are_reported(call: Call, server: ListServer) -> None:
    server.hook = lambda _page, _query: (200, {"results": [{}, record_of(1, 0)]})
    code, out, err = call(*LIST)
    assert (code, json.loads(out)["id"]) == (0, f"{1:024x}")
    assert "thrive: error: 1 of the 2 items on this page has no ID and was skipped\n" in err


def test_records_that_depart_from_the_contract_are_counted_and_shown_on_request(
    call: Call, server: ListServer
) -> None:
    odd = [record_of(1, 0) | {"name": None, "data": []}, record_of(2, 0) | {"name": None}]
    body = {"results": [*odd, record_of(3, 0)], "pagination": {"page": None, "totalPages": "1", "new": 1}}
    server.hook = lambda _page, _query: (200, body)
    code, out, err = call(*LIST)
    assert (code, len(out.splitlines())) == (0, 3)
    assert err.splitlines() == [
        "thrive: the field 'page' is null, not an integer",
        "thrive: the field 'totalPages' is a string, not an integer",
        "thrive: 2 of the 3 records on this page depart from the contract. Use -v to see how",
    ]
    each = call(*LIST, "-v").err
    for problem in ("'name' is null", "'data' is an array", "'page' is null"):
        assert problem in each
    assert "Use -v" not in each
    server.hook = lambda _page, _query: (200, {"results": odd[1:]})
    assert call(*LIST).err == (
        "thrive: the only record on this page departs from the contract. Use -v to see how\n"
    )


def test_the_first_page_of_the_sandbox_is_as_documented(terminal: Call) -> None:
    code, out, err = terminal(*LIST, "--sandbox")
    assert (code, err) == (0, "thrive: records 1 to 20 of 35; use --page 2 for the next page\n")
    dates = [line[:19] for line in out.splitlines()[1:]]
    assert dates == sorted(dates, reverse=True)
    assert all(date.startswith("2024-06-03 ") for date in dates)
    assert "6 of the 35 records on this page depart" in terminal(*LIST, "--sandbox", "--per-page", "35").err


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--type", "a", "--omit-type", "b"), "--type and --omit-type cannot be used together"),
        (("--page", "0"), "'0' is not a whole number of at least 1."),
        (("--per-page", "1001"), "'1001' is not a whole number from 1 to 1000."),
        (("--since", "x"), "'x' is not a time."),
    ],
)
def test_wrong_options_are_rejected(
    call: Call, server: ListServer, arguments: tuple[str, ...], problem: str
) -> None:
    result = call(*LIST, *arguments)
    assert_complaint(result, 2)
    assert problem in result.err
    assert server.requests == []


def page_of(count: int, **pagination: Any) -> ActivityPage:
    results = [{"id": f"{number:024x}"} for number in range(count)]
    return ActivityPage.from_dict({"results": results, "pagination": pagination})


NEXT = "for the next page"


@pytest.mark.parametrize(
    ("found", "page", "text"),
    [
        (
            page_of(20, totalResults=34_223, totalPages=1712),
            1,
            f"records 1 to 20 of 34,223; use --page 2 {NEXT}",
        ),
        (
            page_of(20, totalResults=99, totalPages=9, perPage=50),
            2,
            f"records 51 to 70 of 99; use --page 3 {NEXT}",
        ),
        (page_of(1, totalResults=21, totalPages=2), 2, "record 21 of 21"),
        (page_of(20, totalResults=3, totalPages=9), 2, "records 21 to 40; use --page 3 for the next page"),
        (page_of(20), 1, "records 1 to 20; use --page 2 for the next page"),
        (page_of(19), 1, "records 1 to 19"),
        (page_of(0), 5, "no records on page 5"),
        (page_of(0, totalResults=0), 1, "no records on page 1, 0 in total"),
        (page_of(0, totalResults=3), 5, "no records on page 5, 3 in total"),
    ],
)
def test_the_counts_are_reported_if_they_agree(found: ActivityPage, page: int, text: str) -> None:
    assert position_of(found, page, 20) == text


def activity(**fields: Any) -> Activity:
    return Activity.from_dict({"id": "5" * 24, **fields})


def test_a_table_cuts_what_does_not_fit_and_neither_date_nor_id() -> None:
    records = [
        activity(
            date="2026-01-31T23:59:59.9-01:00", type="viewed", user="u" * 40, name="n" * 30, contextType="x"
        ),
        activity(contextId="c" * 24),
        activity(date="0001-01-01T00:00:00+01:00"),
    ]
    lines = as_record_table(records, "utf-8", width=90).splitlines()
    assert all(line.endswith("5" * 24) for line in lines[1:])
    assert lines[1].startswith("2026-02-01 00:59:59")
    assert lines[3].startswith("0001-01-01 00:00:00")
    assert [width_of(line) for line in lines[1:]] == [90] * 3
    assert "…" in lines[1]
    assert "~" in as_record_table(records, "ascii", width=90)
    unlimited = as_record_table(records, "utf-8").splitlines()
    assert "u" * 40 in unlimited[1]
    assert "n" * 30 + " (x)" in unlimited[1]
    narrow = as_record_table(records, "utf-8", width=10).splitlines()  # then it is wider
    assert narrow[1].endswith("5" * 24)
    assert as_record_table([activity(type="\x1b[31m")], "utf-8", heading=str.lower).startswith("date (utc)")
    assert "\x1b" not in as_record_table([activity(type="\x1b[31m")], "utf-8")


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "ab…"),
        ("\uff57\uff49\uff44\uff45", 4, "\uff57…"),
        ("\uff57\uff49\uff44\uff45", 5, "\uff57\uff49…"),
        ("abc", 1, "…"),
        ("", 1, ""),
    ],
)
def test_text_is_cut_to_a_width(text: str, width: int, shown: str) -> None:
    assert cut(text, width, "…") == shown
    assert width_of(shown) <= width


def test_the_date_is_that_of_utc() -> None:
    record = activity(date="2026-01-31T12:00:00+02:00")
    assert record.date is not None
    assert record.date.utcoffset() == dt.timedelta(hours=2)
    assert "2026-01-31 10:00:00" in as_record_table([record], "utf-8")
