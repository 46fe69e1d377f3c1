"""The options that select activity records."""

import datetime as dt
import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from thrive_learning.cli.moments import Moment, moment_of, span_of
from thrive_learning.cli.options import Command, Parsed
from thrive_learning.cli.terminal import noticed, say

if TYPE_CHECKING:
    from thrive_learning._filters import ActivityFilters

#: A point in time, and a duration.
TIME = Parsed("time", lambda value: moment_of(value, dt.datetime.now(dt.UTC)))
SPAN = Parsed("duration", span_of)


class FilterOptions(NamedTuple):
    """The values of the options.

    Attributes:
        since: The beginning of the period; None for no limit.
        until: The end of the period; None for no limit.
        types: The types to keep; empty for all.
        omit_types: The types to leave out.
        content_ids: The content that the activities are about; empty for all.
        content_type: The type of that content; None for all.
    """

    since: Moment | None
    until: Moment | None
    types: tuple[str, ...]
    omit_types: tuple[str, ...]
    content_ids: tuple[str, ...]
    content_type: str | None

    def check(self) -> None:
        """Check that no two options contradict each other.

        Raises:
            click.UsageError: Two options contradict each other.
        """
        if self.types and self.omit_types:
            raise click.UsageError(
                "--type and --omit-type cannot be used together, because the API does not document their "
                "combination. Remove one of them."
            )
        if self.since is not None and self.until is not None and self.since.at >= self.until.at:
            raise click.UsageError(
                f"--since ({_shown(self.since)}) must be before --until ({_shown(self.until)})."
            )

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of `activities.list`."""
        return {
            "types": self.types,
            "omit_types": self.omit_types,
            "content_ids": self.content_ids,
            "content_type": self.content_type,
            "since": self.since and self.since.at,
            "until": self.until and self.until.at,
        }


def warn_of_types(filters: "ActivityFilters", *, quiet: bool) -> None:
    """Show which types are not documented, unless `--quiet` is used."""
    from thrive_learning._documented_types import report_undocumented_types  # noqa: PLC0415 - not for --help

    with noticed(_not_shown if quiet else say):
        report_undocumented_types(filters)


def _not_shown(_notice: str) -> None:
    pass


def _shown(moment: Moment) -> str:
    return moment.at.isoformat(" ", "seconds").replace("+00:00", " UTC")


def filter_options(command: Command) -> Command:
    """Add the options; they arrive as one `FilterOptions`, named `filters`."""

    @click.option("--since", type=TIME, metavar="TIME", help="Only records after this time.")
    @click.option("--until", type=TIME, metavar="TIME", help="Only records before this time.")
    @click.option(
        "--type", "types", metavar="TYPE", multiple=True, help="Only this type, such as viewed. Repeatable."
    )
    @click.option(
        "--omit-type",
        "omit_types",
        metavar="TYPE",
        multiple=True,
        help="All types except this one. Repeatable.",
    )
    @click.option(
        "--content-id",
        "content_ids",
        metavar="ID",
        multiple=True,
        help="Only activities on content with this ID. Repeatable.",
    )
    @click.option("--content-type", metavar="TYPE", help="Only activities on this type of content.")
    @functools.wraps(command)
    def with_filters(*positional: Any, **given: Any) -> None:
        filters = FilterOptions(**{name: given.pop(name) for name in FilterOptions._fields})
        command(*positional, filters=filters, **given)

    return with_filters
