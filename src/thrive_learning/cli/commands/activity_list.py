"""`thrive activity list`: one page of the activity records that match some filters."""

import sys
from typing import TYPE_CHECKING

import click

from thrive_learning.cli.filters import FilterOptions, filter_options
from thrive_learning.cli.options import Target, max_body_option, output_option, talks_to_the_api, whole
from thrive_learning.cli.record_table import as_record_table
from thrive_learning.cli.rendering import as_json_text
from thrive_learning.cli.terminal import chosen_output, complain, heading, noticed, page_width, say, write

if TYPE_CHECKING:
    from thrive_learning.models import ActivityPage

_MAX_PER_PAGE = 1000  # of the API

_LIST = """\b
Examples:
  thrive activity list --sandbox
  thrive activity list --since 2020-01-01 --type viewed --type completed
  thrive activity list --until 24h --page 1 --per-page 100
  thrive activity list --since 2020-01-01 -o json | jq -r '.[].id'

A TIME is 2026-01-31, 2026-01-31T12:00, 2026-01-31T12:00+02:00, or how long
ago: 30m, 24h, 7d, or 2w. Times without a zone are in UTC.

To get all pages, use `thrive activity export --since`. If records depart from the
contract, -v shows how.
"""


@click.command(name="list", epilog=_LIST)
@filter_options
@click.option("--page", type=whole(1), default=1, show_default=True, metavar="N", help="Page number.")
@click.option(
    "--per-page",
    type=whole(1, _MAX_PER_PAGE),
    default=20,
    show_default=True,
    metavar="N",
    help=f"Records per page, at most {_MAX_PER_PAGE:,}.",
)
@max_body_option
@talks_to_the_api
@output_option("table", "json", "ndjson", otherwise="ndjson")
def list_command(
    target: Target, filters: FilterOptions, *, page: int, per_page: int, output: str | None
) -> None:
    """List one page of the activity records that match all filters."""
    filters.check()
    chosen = chosen_output(output, "ndjson")
    with target.client() as client, noticed(say, drift=target.verbose):
        found = client.activities.list(page=page, per_page=per_page, **filters.arguments())
    _print(found, chosen)
    unreadable = sum(problem.kind == "unreadable_item" for problem in found.problems)
    if unreadable:
        items = unreadable + len(found)
        verbs = "has no ID and was" if unreadable == 1 else "have no ID and were"
        complain(f"{unreadable} of the {items} items on this page {verbs} skipped")
    if not target.verbose:
        for problem in departures_of(found):
            say(problem)
    if chosen == "table":
        say(position_of(found, page, per_page))


def departures_of(found: "ActivityPage") -> list[str]:
    """Return how a page departs from the contract: a message per field of the page, and one for its records.

    Items without an ID are not included.
    """
    own = (*found.problems, *found.pagination.problems)
    messages = [
        str(problem) for problem in own if problem.breaks_contract and problem.kind != "unreadable_item"
    ]
    count = sum(any(problem.breaks_contract for problem in record.problems) for record in found)
    if count:
        verb = "departs" if count == 1 else "depart"
        subject = "the only record" if len(found) == 1 else f"{count} of the {len(found)} records"
        messages.append(f"{subject} on this page {verb} from the contract. Use -v to see how")
    return messages


def _print(found: "ActivityPage", output: str) -> None:
    encoding = sys.stdout.encoding
    if output == "table":
        if found:
            write(as_record_table(found, encoding, heading, page_width()))
    elif output == "ndjson":
        for record in found:
            write(as_json_text(record.to_json(), encoding, indent=None))
    else:
        texts = [as_json_text(record.to_json(), encoding).replace("\n", "\n  ") for record in found]
        write("[\n  " + ",\n  ".join(texts) + "\n]" if texts else "[]")


def position_of(found: "ActivityPage", page: int, per_page: int) -> str:
    """Return which records these are, out of how many, and how to see the next page."""
    total = found.pagination.total_results
    size = found.pagination.per_page or per_page
    first = (page - 1) * size + 1
    last = first + len(found) - 1
    # The counts come from the server, and may contradict each other: only those that fit are shown.
    of_total = f" of {total:,}" if total is not None and total >= last else ""
    if not found:
        in_total = "" if total is None else f", {total:,} in total"
        return f"no records on page {page:,}{in_total}"
    shown = f"record {first:,}" if first == last else f"records {first:,} to {last:,}"
    pages = found.pagination.total_pages
    has_more = page < pages if pages is not None else len(found) >= size
    return f"{shown}{of_total}" + (f"; use --page {page + 1} for the next page" if has_more else "")
