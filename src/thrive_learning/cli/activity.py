"""`thrive activity`: activity records."""

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from thrive_learning.cli import EXAMPLE_ID
from thrive_learning.cli.exit_codes import exit_code
from thrive_learning.cli.export_command import export
from thrive_learning.cli.options import Target, output_option, talks_to_the_api
from thrive_learning.cli.rendering import as_json, as_table
from thrive_learning.cli.terminal import chosen_output, complain, heading, write
from thrive_learning.errors import ConfigurationError, ThriveError, TokenError, UnauthorizedError

if TYPE_CHECKING:
    from thrive_learning.models import Activity

_ACTIVITY = f"""\b
Example:
  thrive activity get {EXAMPLE_ID} --sandbox
"""

_GET = f"""\b
Examples:
  thrive activity get {EXAMPLE_ID} --sandbox
  thrive activity get {EXAMPLE_ID} --region staging -v
  thrive activity get {EXAMPLE_ID} -o json --timeout 10
  thrive activity get {EXAMPLE_ID} | jq -r .type
  thrive activity get - -o ndjson < ids.txt

With several IDs, or with `-`, records are printed as they come, in the order of
the IDs; programs get a line of JSON each, and -o json makes one array of them.
An ID that fails is reported on stderr, the others go on, and the exit code is
that of the first failure. Credentials that are not accepted end it at once.

Where credentials come from: `thrive config --help`. Exit codes: `thrive --help`.
"""


@click.group(epilog=_ACTIVITY)
def activity() -> None:
    """Activity records: who did what, to what, and when."""


@activity.command(epilog=_GET)
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@talks_to_the_api
@output_option("table", "json", "ndjson", otherwise="json, ndjson for several")
def get(target: Target, ids: tuple[str, ...], *, output: str | None) -> None:
    """Print the activity records with these IDs, 24 hexadecimal digits each.

    `-` reads IDs from stdin, one a line.
    """
    alone = len(ids) == 1 and ids[0] != "-"
    printer = _Printer(chosen_output(output, "json" if alone else "ndjson"), alone=alone)
    failures: list[ThriveError] = []
    count = 0
    with target.client() as client:
        try:
            for count, activity_id in enumerate(_listed(ids), 1):  # noqa: B007 - it is used behind the loop
                try:
                    printer.record(client.activities.get(activity_id))
                except ThriveError as error:
                    # What is wrong with the credentials is wrong for all IDs.
                    if alone or isinstance(error, (ConfigurationError, TokenError, UnauthorizedError)):
                        raise
                    complain(str(error))
                    failures.append(error)
        finally:
            printer.end()
    if failures:
        complain(f"{len(failures)} of {count} records are missing from the output")
        raise click.exceptions.Exit(exit_code(failures[0]))


def _listed(ids: Sequence[str]) -> Iterator[str]:
    """Give the IDs, with those on stdin in the place of each `-`."""
    for activity_id in ids:
        if activity_id != "-":
            yield activity_id
            continue
        for line in sys.stdin.buffer:
            if text := line.decode(errors="backslashreplace").strip():
                yield text


class _Printer:
    """Prints records one after the other, in one of the formats."""

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
                write(("" if first else "\n") + as_table(record, encoding, heading))
            case "ndjson":
                write(as_json(record.to_dict(), encoding, indent=None))
            case _ if self._is_array:
                text = as_json(record.to_dict(), encoding).replace("\n", "\n  ")
                write(f"{'[' if first else ','}\n  {text}", end="")
            case _:
                write(as_json(record.to_dict(), encoding))

    def end(self) -> None:
        if self._is_array:
            write("\n]" if self._count else "[]")


activity.add_command(export)
