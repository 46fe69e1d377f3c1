"""Reads one partition: the records of a window of time, or of a batch of IDs. Repeating it is harmless."""

import contextlib
import datetime as dt
import functools
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from thrive_learning._cluster.garbage import ignoring_older_objects
from thrive_learning._cluster.windows import SECOND, Side, Window, around, plan_windows
from thrive_learning._filters import MAX_PER_PAGE, ActivityFilters
from thrive_learning._log import fields, logger_of
from thrive_learning._tables.arrow import TableBuilder
from thrive_learning._tables.rows import COLUMNS
from thrive_learning.errors import ThriveError, UnexpectedResponseError
from thrive_learning.models import Activity, ActivityPage

if TYPE_CHECKING:
    from thrive_learning._bulk.pages import ActivityStream
    from thrive_learning.client import ThriveClient

_logger = logger_of("cluster")

#: Records by their ID.
_Records = dict[str, Activity]

#: The columns for IDs that failed: the name of the error's class, and its message.
ERROR_COLUMNS = {"error_type": "string", "error": "string"}

# Fewer records cause few full collections, and to begin to ignore objects can take 10 ms.
_MANY = 10_000

# How much the server is asked for on both sides of a known date, and the overlap that is enough if it has a
# record there, because its steps, or the distance of its times from `date`, are at most that.
_REACHES = (
    (SECOND, SECOND),  # requests have whole seconds
    (dt.timedelta(minutes=1), dt.timedelta(minutes=2)),
    (dt.timedelta(hours=1), dt.timedelta(hours=2)),
    (dt.timedelta(days=1), dt.timedelta(days=2)),
)


class Part(NamedTuple):
    """The records of one partition.

    Attributes:
        filters: The filters except the time, which fit into one request.
        window: The time.
    """

    filters: ActivityFilters
    window: Window


class LeftOut(NamedTuple):
    """The numbers of items and records that a part does not have.

    Attributes:
        unreadable: The number of items without an ID.
        missing: The number of records that the server counted, but that were on no page.
    """

    unreadable: int
    missing: int


def plan_parts(
    client: "ThriveClient", filters: ActivityFilters, bound: int, *, per_page: int = MAX_PER_PAGE
) -> list[Part]:
    """Divide a period into parts of at most so many records.

    Args:
        client: The client.
        filters: The filters. They have `until`, so that all parts agree on the end.
        bound: The maximum number of records of a part when it is counted.
        per_page: The maximum number of records per request.

    Raises:
        ThriveError: The records cannot be counted.
        UnexpectedResponseError: The server ignores the content IDs, so that parts would repeat records.
    """
    parts: list[Part] = []
    walks = filters.walks
    for walk in walks:
        counting = _Counting(client, walk, bound, per_page, is_only_one=len(walks) == 1)
        period = Window(walk.since, cast("dt.datetime", walk.until))
        windows = plan_windows(
            period, bound, counting.count, counting.exceeds, functools.partial(counting.overlap, period)
        )
        parts += [Part(walk, window) for window in windows]
    for part in parts:
        if part.window.is_over:
            _warn_of(part.window, bound)
    return parts


def _warn_of(window: Window, bound: int) -> None:
    count = "an unknown number of" if window.records is None else f"{window.records:,}"
    period = _shown(window)
    _logger.warning(
        "the period %s has %s records, more than rows_per_partition=%d, and cannot be split further",
        period,
        count,
        bound,
        extra=fields("large_window", period=period, count=window.records),
    )


def _shown(window: Window) -> str:
    since = "the beginning" if window.since is None else f"{window.since:%Y-%m-%d %H:%M:%S}"
    return f"from {since} to {window.until:%Y-%m-%d %H:%M:%S} UTC"


class _Counting:
    """Counts records by requests for one record."""

    def __init__(
        self,
        client: "ThriveClient",
        filters: ActivityFilters,
        bound: int,
        per_page: int,
        *,
        is_only_one: bool,
    ) -> None:
        self._client = client
        self._filters = filters
        self._bound = bound
        self._per_page = per_page
        self._date: dt.datetime | None = None
        self._has_counts = False
        self._content_ids = None if is_only_one else {value.lower() for value in filters.content_ids}

    def count(self, window: Window) -> int | None:
        """Return the server's count; None if it does not say, or says that what it returns does not exist."""
        page = self._page(window, 1)
        total = page.pagination.total_results
        self._has_counts = total is not None and total >= _items_on(page)
        return total if self._has_counts else None

    def exceeds(self, window: Window) -> bool:
        """Return whether the server has a page after the bound, with one record per page."""
        number = self._bound + 1
        page = self._page(window, number)
        is_asked_page = page.pagination.page in (None, number)  # some servers repeat the last page
        return is_asked_page and _items_on(page) > 0

    def overlap(self, period: Window) -> dt.timedelta | None:
        """Return by how much windows must overlap; None if the server seems to filter by something else.

        A server that excludes both ends of a period and compares coarser times than seconds has no record for
        the seconds around a date, and two windows of that server would both exclude the steps between them.
        """
        known = self._date
        if known is not None and self._finds(known, SECOND, per_page=1):
            return SECOND
        # The first record may be an odd one, or have been deleted.
        page = self._client.activities.list(per_page=self._per_page, **_arguments_of(self._filters, period))
        dates = [record.date for record in page if record.date is not None]
        date = dates[len(dates) // 2] if dates else known
        if date is None:  # nothing can be asked for, but counts still check the windows
            return SECOND if self._has_counts else None
        return next(
            (overlap for reach, overlap in _REACHES if self._finds(date, reach, self._per_page)), None
        )

    def _finds(self, date: dt.datetime, reach: dt.timedelta, per_page: int) -> bool:
        """Return whether the server has a record around a date whose date is there."""
        try:
            since, until = around(date.astimezone(dt.UTC), reach)
        except OverflowError:  # the first or last day of the calendar, for which nothing can be requested
            return False
        arguments = _arguments(self._filters, since, until)
        page = self._client.activities.list(per_page=per_page, **arguments)
        return any(record.date is not None and since <= record.date <= until for record in page)

    def _page(self, window: Window, number: int) -> ActivityPage:
        arguments = _arguments_of(self._filters, window)
        page = self._client.activities.list(page=number, per_page=1, **arguments)
        for record in page:
            self._check_content(record)
            self._date = record.date
        return page

    def _check_content(self, record: Activity) -> None:
        """Raise if a record may be in the parts of other content IDs as well."""
        if self._content_ids is not None and (record.context_id or "").lower() not in self._content_ids:
            raise UnexpectedResponseError(
                f"The server returned the record {record.id}, whose contextId is {record.context_id!r}, "
                f"which is not among the {len(self._content_ids)} requested content IDs. So several "
                "partitions could have the same record. Pass at most 100 content IDs, or read with "
                "client.activities.iterate().",
                status_code=200,
                in_api_format=True,
            )


def _items_on(page: ActivityPage) -> int:
    return len(page) + sum(drift.kind == "unreadable_item" for drift in page.problems)


def _arguments_of(filters: ActivityFilters, window: Window) -> dict[str, Any]:
    """Return the arguments of a window's request, which does not reach beyond the period of the filters."""
    since, until = window.asked_since, window.asked_until
    if since is not None and filters.since is not None:
        since = max(since, filters.since)
    return _arguments(filters, since, until if filters.until is None else min(until, filters.until))


def _arguments(filters: ActivityFilters, since: dt.datetime | None, until: dt.datetime) -> dict[str, Any]:
    return filters._replace(since=since, until=until)._asdict()


def read_part(
    client: "ThriveClient",
    part: Part,
    *,
    per_page: int = 1000,
    on_left_out: Callable[[LeftOut], object] | None = None,
) -> Any:
    """Return the records of a part as an Arrow table with the columns of exports.

    Args:
        client: The client.
        part: Which records to read.
        per_page: The number of records per request.
        on_left_out: Called with the numbers of what the result does not have.

    Raises:
        ThriveError: The records cannot be read.
        UnexpectedResponseError: The server does not filter by `date`, so that windows would lose records.
    """
    many = (part.window.records or 0) >= _MANY
    with ignoring_older_objects() if many else contextlib.nullcontext():
        return _WindowReading(client, part, per_page, on_left_out).table()


class _WindowReading:
    """Reads a window, and decides which of its records belong to it.

    A record with a date belongs to the window of its date. A record without a readable date belongs to the
    first window whose request returns it. If the server returns it for the overlap with the previous window
    as well, it is in an earlier one.
    """

    def __init__(
        self,
        client: "ThriveClient",
        part: Part,
        per_page: int,
        on_left_out: Callable[[LeftOut], object] | None,
    ) -> None:
        self._client = client
        self._filters, self._window = part
        self._per_page = per_page
        self._on_left_out = on_left_out
        self._builder = TableBuilder()

    def table(self) -> Any:
        undated: _Records = {}
        outside: dict[Side, _Records] = {side: {} for side in Side}
        add, place = self._builder.add, self._window.place
        with self._records(_arguments_of(self._filters, self._window)) as stream:
            for record in stream:
                if record.date is None:
                    undated[record.id] = record
                    continue
                where = place(record.date)
                if where is Side.INSIDE:
                    add(record.to_json())
                else:
                    outside[where][record.id] = record
            self._report(stream)
        self._compare(undated, outside[Side.BEFORE], outside[Side.AFTER])
        self._check_strays(outside[Side.STRAY])
        return self._builder.table()

    def _records(self, arguments: dict[str, Any]) -> "ActivityStream":
        return self._client.activities.iterate(per_page=self._per_page, **arguments)

    def _report(self, stream: "ActivityStream") -> None:
        if stream.unreadable:
            period = _shown(self._window)
            _logger.warning(
                "the period %s: left out %d items without an ID, which are not records",
                period,
                stream.unreadable,
                extra=fields("unreadable_items", period=period, count=stream.unreadable),
            )
        if self._on_left_out is not None:
            self._on_left_out(LeftOut(stream.unreadable, stream.missing))

    def _compare(self, undated: _Records, before: _Records, after: _Records) -> None:
        """Compare records with those that the neighboring windows request as well.

        Args:
            undated: Records without a readable date. They are taken unless the previous window has them.
            before: Records with dates shortly before this window.
            after: Records with dates shortly after this window.

        Raises:
            UnexpectedResponseError: A neighbor does not have a record of its time.
        """
        missing = {**before, **undated}
        if not self._window.is_first:
            missing = self._missing(cast("dt.datetime", self._window.since), missing)
        for record in (*missing.values(), *self._missing(self._window.until, after).values()):
            if record.date is not None:
                raise self._misplaced(record)
            self._builder.add(record.to_json())

    def _check_strays(self, strays: _Records) -> None:
        """Raise if the window of a stray's date does not have the record.

        A server that compares days or minutes instead of seconds returns records outside of what was
        requested. So does a server that filters by another time than `date`, whose records would be lost.
        """
        while strays:
            stray = next(iter(strays.values()))
            # It overflows for the first or last day of the calendar, for which nothing can be requested.
            with contextlib.suppress(OverflowError):
                strays = self._missing(cast("dt.datetime", stray.date).astimezone(dt.UTC), strays)
            if stray.id in strays:
                raise self._misplaced(stray)

    def _missing(self, at: dt.datetime, wanted: _Records) -> _Records:
        """Return the records that the server does not have near a time, which another window requests."""
        missing = dict(wanted)
        if missing:
            with self._records(_arguments(self._filters, *around(at, self._window.overlap))) as stream:
                for record in stream:
                    missing.pop(record.id, None)
                    if not missing:
                        break
        return missing

    def _misplaced(self, record: Activity) -> UnexpectedResponseError:
        date = cast("dt.datetime", record.date)
        return UnexpectedResponseError(
            f"For the period {_shown(self._window)}, the server returned the record {record.id}, whose "
            f"date is {date.isoformat()}, but not for the time of that date. Its filter seems to "
            "use another time or coarser steps, so a partition would lose records. Pass a larger "
            "rows_per_partition=, or read with client.activities.iterate().",
            status_code=200,
            in_api_format=True,
        )


def read_ids(
    client: "ThriveClient", ids: Iterable[str], *, keep_errors: bool = False, concurrency: int = 32
) -> Any:
    """Return the records of IDs as an Arrow table, with one row for each ID, in their order.

    Args:
        client: The client.
        ids: The IDs.
        keep_errors: Keep a row for each ID that fails, with its error, instead of raising the first error.
        concurrency: The number of requests in flight.

    Raises:
        ThriveError: The error of an ID; or an error that would affect every ID.
    """
    builder = TableBuilder(COLUMNS | ERROR_COLUMNS if keep_errors else COLUMNS)
    with client.activities.get_many(ids, ordered=True, concurrency=concurrency) as results:
        for result in results:
            if result.error is None:
                builder.add(result.activity.to_json())
            elif keep_errors:
                builder.add_row(_failed(result.id, result.error))
            else:
                raise result.error
    return builder.table()


def _failed(identifier: object, error: ThriveError) -> dict[str, str | int | None]:
    return {"id": str(identifier), "error_type": type(error).__name__, "error": str(error)}
