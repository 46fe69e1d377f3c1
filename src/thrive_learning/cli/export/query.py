"""The query of an export of a period, and whether a resumed export has the same one. Pure."""

import datetime as dt
import json
import zlib
from typing import Any, NamedTuple, cast

from thrive_learning._filters import ActivityFilters
from thrive_learning.cli.export.journal import Position
from thrive_learning.errors import ConfigurationError

#: The number of records per page.
PER_PAGE = 1000

# A resumed export reads this many pages again. New records move others to later pages, for which one page
# would be enough. Deleted records move others to earlier pages.
_PAGES_READ_AGAIN = 3

_RESOLVED = ("since", "until", "per_page")


class PeriodQuery(NamedTuple):
    """The query of an export of a period.

    Attributes:
        filters: The filters, including both ends of the period.
        since_asked: The beginning as the user wrote it; see `Moment`.
        until_asked: The end as the user wrote it; None for the time at which the export began.
        per_page: The number of records per page.
        has_state: Whether the export has a state file.
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
        """Return the query as the journal stores it."""
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
        """Return the stored query if the options are the same, or else this one.

        So the period of `--since 7d` is still that of the run that began the export.
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
        """Return the common part of file names: the end of the period, and a checksum of the query."""
        return f"{stamp(self.until)}-{zlib.crc32(json.dumps(self.document()).encode()):08x}"


def stamp(at: dt.datetime) -> str:
    """Return a time in the form for file names, such as `20260131T120000Z`."""
    # Not with strftime, which writes the year 999 with three digits on Linux.
    return f"{at.year:04}{at:%m%dT%H%M%SZ}"


def filters_document(filters: ActivityFilters) -> dict[str, Any]:
    """Return the filters without the period, for JSON."""
    return {
        "types": sorted(filters.types),
        "omit_types": sorted(filters.omit_types),
        "content_ids": sorted(filters.content_ids),
        "content_type": filters.content_type,
    }


def first_page(position: Position) -> int:
    """Return the page at which an export that ended at a position continues."""
    return max(position.page - _PAGES_READ_AGAIN, 1)


def parse_stored_time(text: object) -> dt.datetime:
    """Parse a time from a state file.

    Raises:
        ConfigurationError: The text is not a time with a zone.
    """
    try:
        at = dt.datetime.fromisoformat(text if isinstance(text, str) else "")
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise ConfigurationError(f"its time {text!r} is not valid")
    return at
