"""Which records an export of a period asks for, and whether it is the one that was begun. Pure."""

import datetime as dt
import json
import zlib
from typing import Any, NamedTuple, cast

from thrive_learning._filters import ActivityFilters
from thrive_learning.cli.export.journal import Position
from thrive_learning.errors import ConfigurationError

#: How many records a page has.
PER_PAGE = 1000

# A resumed export reads this many pages again. Records that arrive move others to later pages, never to
# earlier ones, so one page would do; records that are deleted move others to earlier pages.
_PAGES_READ_AGAIN = 3

_RESOLVED = ("since", "until", "per_page")


class PeriodQuery(NamedTuple):
    """What an export of a period asks for.

    Attributes:
        filters: The filters. Both ends of the period are there.
        since_asked: What the user wrote for the beginning; see `Moment`.
        until_asked: What the user wrote for the end; None for the time at which the export began.
        per_page: How many records a page has.
        has_state: Whether it belongs to a state file, which goes on from run to run.
    """

    filters: ActivityFilters
    since_asked: str
    until_asked: str | None
    per_page: int = PER_PAGE
    has_state: bool = False

    @property
    def since(self) -> dt.datetime:
        """The beginning of the period."""
        return cast("dt.datetime", self.filters.since)

    @property
    def until(self) -> dt.datetime:
        """The end of the period."""
        return cast("dt.datetime", self.filters.until)

    def document(self) -> dict[str, Any]:
        """Return it as the journal keeps it."""
        return {
            **filters_document(self.filters),
            "since": self.since.isoformat(),
            "until": self.until.isoformat(),
            "since_asked": self.since_asked,
            "until_asked": self.until_asked,
            "per_page": self.per_page,
            "has_state": self.has_state,
        }

    def resuming(self, stored: dict[str, Any]) -> "PeriodQuery":
        """Return the query that was begun, if the user asks for the same; else this one.

        The period of `--since 7d` is that of the run that began the export.
        """
        mine = self.document()
        if any(stored.get(name) != value for name, value in mine.items() if name not in _RESOLVED):
            return self
        try:
            since, until = (dt.datetime.fromisoformat(stored[name]) for name in _RESOLVED[:2])
            per_page = int(stored["per_page"])
        except (KeyError, TypeError, ValueError):
            return self
        return self._replace(filters=self.filters._replace(since=since, until=until), per_page=per_page)

    def tag(self) -> str:
        """Return what the names of its parts have in common: the end of the period, and a checksum of all."""
        return f"{stamp(self.until)}-{zlib.crc32(json.dumps(self.document()).encode()):08x}"


def stamp(at: dt.datetime) -> str:
    """Return a time as the names of files have it, such as `20260131T120000Z`."""
    return f"{at:%Y%m%dT%H%M%SZ}"


def filters_document(filters: ActivityFilters) -> dict[str, Any]:
    """Return the filters without the period, as JSON has them."""
    return {
        "types": sorted(filters.types),
        "omit_types": sorted(filters.omit_types),
        "content_ids": sorted(filters.content_ids),
        "content_type": filters.content_type,
    }


def first_page(position: Position) -> int:
    """Return the page at which an export goes on that was ended at a position."""
    return max(position.page - _PAGES_READ_AGAIN, 1)


def parse_stored_time(text: object) -> dt.datetime:
    """Read a time of one of our files.

    Raises:
        ConfigurationError: It is not one.
    """
    try:
        at = dt.datetime.fromisoformat(text if isinstance(text, str) else "")
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise ConfigurationError(f"it has the time {text!r}")
    return at
