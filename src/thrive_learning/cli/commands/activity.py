"""`thrive activity`: activity records."""

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, cast

import click

from thrive_learning._id_files.lines import InputLines, no_ids
from thrive_learning.cli import EXAMPLE_ID
from thrive_learning.cli.commands.activity_list import list_command
from thrive_learning.cli.exit_codes import exit_code
from thrive_learning.cli.export.command import export
from thrive_learning.cli.options import Target, max_body_option, output_option, talks_to_the_api
from thrive_learning.cli.rendering import as_json_text, as_table
from thrive_learning.cli.suggestions import Group
from thrive_learning.cli.terminal import chosen_output, complain, heading, noticed, page_width, say, write
from thrive_learning.errors import ThriveError, TokenError
from thrive_learning.policies import Timeout

if TYPE_CHECKING:
    import io

    from thrive_learning.activities import Activities
    from thrive_learning.models import Activity, ActivityResult

_ACTIVITY = f"""\b
Examples:
  thrive activity list --sandbox
  thrive activity get {EXAMPLE_ID} --sandbox
"""

_GET = f"""\b
Examples:
  thrive activity get {EXAMPLE_ID} --sandbox
  thrive activity get {EXAMPLE_ID} --region staging -v
  thrive activity get {EXAMPLE_ID} -o json --timeout 10
  thrive activity get {EXAMPLE_ID} | jq -r .type
  thrive activity get - -o ndjson < ids.txt

Several IDs are fetched with up to 32 requests in flight (1 with -v), and records
are printed in the order of the IDs. With -o json, they form one array.

An ID that fails is reported on stderr, the others continue, and the exit code is
that of the first failure. The command stops early if no other ID could succeed,
such as when the credentials are rejected, or when the server asks to wait longer
than --timeout.

Credentials: `thrive config --help`. Exit codes: `thrive --help`.
"""


@click.group(cls=Group, epilog=_ACTIVITY)
def activity() -> None:
    """Get, list, and export activity records."""


@activity.command(epilog=_GET)
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@max_body_option
@talks_to_the_api
@output_option("table", "json", "ndjson", otherwise="json, ndjson for several")
def get(target: Target, ids: tuple[str, ...], *, output: str | None) -> None:
    """Print activity records.

    An ID has 24 hexadecimal digits. Use - to read IDs from stdin, one per line.
    """
    alone = len(ids) == 1 and ids[0] != "-"
    printer = _Printer(chosen_output(output, "json" if alone else "ndjson"), alone=alone)
    with target.client() as client:
        if alone:
            printer.record(client.activities.get(ids[0]))
            return
        # The lines of -v do not name the ID, so they are clear only if requests are sent one at a time.
        concurrency = 1 if target.verbose else 32
        try:
            with noticed(say):
                limit_s = Timeout.of(target.timeout_s, Timeout()).total
                results = _results(client.activities, ids, concurrency)
                failures, count = _print_all(results, limit_s, printer)
        finally:
            printer.end()
    if not count:
        raise no_ids("stdin contains no IDs")
    if failures:
        records = "record" if count == 1 else "records"
        verb = "is" if len(failures) == 1 else "are"
        complain(f"{len(failures)} of {count} {records} {verb} missing from the output")
        raise click.exceptions.Exit(exit_code(failures[0]))


def _results(activities: "Activities", ids: Sequence[str], concurrency: int) -> "Iterator[ActivityResult]":
    for portion in _portions(ids):
        yield from activities.get_many(portion, concurrency=concurrency, ordered=True)


def _print_all(
    results: "Iterator[ActivityResult]", limit_s: float, printer: "_Printer"
) -> tuple[list[ThriveError], int]:
    """Print the records, and return the failures and the number of IDs."""
    failures: list[ThriveError] = []
    count = 0
    for result in results:
        count += 1
        if result.error is None:
            printer.record(result.activity)
        elif _ends_all(result.error, limit_s):
            raise result.error
        else:
            complain(str(result.error))
            failures.append(result.error)
    return failures, count


def _ends_all(error: ThriveError, limit_s: float) -> bool:
    """Return whether every other ID would fail too within the time limit of a call."""
    retry_after = cast("float | None", getattr(error, "retry_after", None))
    return isinstance(error, TokenError) or (retry_after is not None and retry_after > limit_s)


def _portions(ids: Sequence[str]) -> Iterator[list[str]]:
    """Yield the IDs in portions. For `-`, yield what has arrived, so that no record waits for later IDs."""
    named: list[str] = []
    for activity_id in ids:
        if activity_id != "-":
            named.append(activity_id)
            continue
        yield named
        named = []
        for lines in InputLines(cast("io.BufferedIOBase", sys.stdin.buffer), "stdin").portions():
            texts = (line.decode(errors="backslashreplace").strip() for line in lines)
            yield [*filter(None, texts)]
    yield named


class _Printer:
    """Prints records one after the other in one of the formats."""

    def __init__(self, output: str, *, alone: bool) -> None:
        self._output = output
        self._is_array = output == "json" and not alone
        self._count = 0

    def record(self, record: "Activity") -> None:
        encoding = sys.stdout.encoding
        first = self._count == 0
        self._count += 1
        match self._output:
            case "table":
                write(("" if first else "\n") + as_table(record, encoding, heading, page_width()))
            case "ndjson":
                write(as_json_text(record.to_json(), encoding, indent=None))
            case _ if self._is_array:
                text = as_json_text(record.to_json(), encoding).replace("\n", "\n  ")
                write(f"{'[' if first else ','}\n  {text}", end="")
            case _:
                write(as_json_text(record.to_json(), encoding))

    def end(self) -> None:
        if self._is_array:
            write("\n]" if self._count else "[]")


activity.add_command(list_command)
activity.add_command(export)
