"""The records of a period, page by page, to where they belong: each of them once, whatever ends a run."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thrive_learning._formats import read_date
from thrive_learning.cli.export.done import key_of
from thrive_learning.cli.export.files import ExportFiles
from thrive_learning.cli.export.journal import Position
from thrive_learning.cli.export.overlap import Overlap
from thrive_learning.cli.export.query import PeriodQuery, first_page
from thrive_learning.cli.export.run import record_line
from thrive_learning.cli.export.seen import SeenKeys
from thrive_learning.cli.export.streams import StreamOutput
from thrive_learning.cli.export.walk_tally import WalkTally
from thrive_learning.cli.regular_files import open_regular

if TYPE_CHECKING:
    from thrive_learning._bulk.pages import ActivityStream
    from thrive_learning.activities import Activities

_MOST_BUFFERED_BYTES = 1024 * 1024


class RecordWriter:
    """Writes the records of a page at once, and notes the page before them.

    Args:
        sink: Where they go. A stream gets each record as it comes.
    """

    def __init__(self, sink: ExportFiles | StreamOutput) -> None:
        self._sink = sink
        self._position = sink.position if isinstance(sink, ExportFiles) else Position()
        self._waiting: list[tuple[bytes, bytes]] = []
        self._size = 0

    @property
    def position(self) -> Position:
        """Where the last record came from."""
        return self._position

    def write(self, key: bytes, line: bytes, position: Position) -> None:
        """Write a record, now or together with the next ones.

        Args:
            key: That of its ID.
            line: The record, with its line end.
            position: Where it comes from.
        """
        if isinstance(self._sink, StreamOutput):
            self._sink.write_record(key, line)
            return
        # A resumed export reads some pages again. What was not written then is not on an earlier page now.
        if position > self._position:
            self.move_to(position)
        self._waiting.append((key, line))
        self._size += len(line)
        if self._size >= _MOST_BUFFERED_BYTES:
            self.flush()

    def move_to(self, position: Position) -> None:
        """Write what waits, and note where the next records come from."""
        self.flush()
        self._position = position
        if isinstance(self._sink, ExportFiles):
            self._sink.write_position(position)

    def flush(self) -> None:
        """Write what waits."""
        waiting, self._waiting, self._size = self._waiting, [], 0
        if waiting and isinstance(self._sink, ExportFiles):
            self._sink.write_records(waiting)


class PeriodWalk:
    """One run through the pages.

    Args:
        query: Which records are wanted.
        seen: Which records are there; those need not be written again.
        tally: What it comes to.
        overlap: Is shown every record, if the next run has to know of it.
        has_ended: Return whether the time of the whole run is over.
        show: Is called after each record.
    """

    def __init__(  # noqa: PLR0913 - what a run is made of
        self,
        query: PeriodQuery,
        seen: SeenKeys,
        tally: WalkTally,
        *,
        overlap: Overlap | None,
        has_ended: Callable[[], bool],
        show: Callable[[], object],
    ) -> None:
        self._query = query
        self._seen = seen
        self._overlap = overlap
        self._tally = tally
        self._has_ended = has_ended
        self._show = show

    def run(self, activities: "Activities", sink: ExportFiles | StreamOutput) -> None:
        """Write all records that are not there yet.

        Raises:
            ThriveError: A page could not be fetched, or the records could not be written.
        """
        writer = RecordWriter(sink)
        begin = writer.position
        parts = self._query.filters.walks
        try:
            for number in range(begin.part, len(parts)):
                page = first_page(begin) if number == begin.part else 1
                part = parts[number]
                with activities.iterate(
                    page=page,
                    per_page=self._query.per_page,
                    types=part.types,
                    omit_types=part.omit_types,
                    content_ids=part.content_ids,
                    content_type=part.content_type,
                    since=part.since,
                    until=part.until,
                ) as stream:
                    is_whole = self._take(stream, number, writer, is_all=len(parts) == 1)
                if not is_whole:
                    return
                writer.move_to(Position(number + 1, 1))
            self._tally.is_whole = True
        finally:
            writer.flush()

    def _take(self, stream: "ActivityStream", part: int, writer: RecordWriter, *, is_all: bool) -> bool:
        """Write the records of a part, and return whether it came to its end."""
        tally = self._tally
        left_out = tally.unreadable
        try:
            for record in stream:
                tally.is_paused = False
                key = key_of(record.id)
                if self._overlap is not None:
                    self._overlap.note(key, record.date)
                if self._seen.add(key):
                    writer.write(key, record_line(record), Position(part, stream.page))
                    tally.records += 1
                else:
                    tally.again += 1
                if is_all and stream.pagination is not None:
                    tally.total = stream.pagination.total_results
                self._show()
                if self._has_ended():
                    return False
        finally:
            tally.unreadable = left_out + stream.unreadable
        return True


def note_written(records: Path, overlap: Overlap) -> None:
    """Show an overlap the records of an output that earlier runs have written."""
    with io.BufferedReader(open_regular(records)) as lines:
        for line in lines:
            document: dict[str, Any] = json.loads(line)
            date = document.get("date")
            overlap.note(key_of(document["id"]), read_date(date) if isinstance(date, str) else None)
