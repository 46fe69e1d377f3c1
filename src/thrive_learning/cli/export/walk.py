"""Write the records of a period page by page, each of them once even if runs are interrupted."""

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
from thrive_learning.cli.regular_files import open_to_read

if TYPE_CHECKING:
    from thrive_learning._bulk.pages import ActivityStream
    from thrive_learning.activities import Activities

_MOST_BUFFERED_BYTES = 1024 * 1024


class RecordWriter:
    """Writes the records of a page together, with the page number before them.

    Args:
        sink: Where the records go. A stream gets each record immediately.
    """

    def __init__(self, sink: ExportFiles | StreamOutput) -> None:
        self._sink = sink
        self._position = sink.position if isinstance(sink, ExportFiles) else Position()
        self._waiting: list[tuple[bytes, bytes]] = []
        self._size = 0

    @property
    def position(self) -> Position:
        """The position of the last record."""
        return self._position

    def write(self, key: bytes, line: bytes, position: Position) -> None:
        """Write a record with its line end, immediately or together with the next ones."""
        if isinstance(self._sink, StreamOutput):
            self._sink.write_record(key, line)
            return
        # A resumed export reads some pages again, so it may be behind. The journal keeps the later one.
        if position > self._position:
            self.move_to(position)
        self._waiting.append((key, line))
        self._size += len(line)
        if self._size >= _MOST_BUFFERED_BYTES:
            self.flush()

    def move_to(self, position: Position) -> None:
        """Write the buffered records, and set the position of the next ones."""
        self.flush()
        self._position = position
        if isinstance(self._sink, ExportFiles):
            self._sink.write_position(position)

    def flush(self) -> None:
        """Write the buffered records."""
        waiting, self._waiting, self._size = self._waiting, [], 0
        if waiting and isinstance(self._sink, ExportFiles):
            self._sink.write_records(waiting)


class PeriodWalk:
    """One run through the pages.

    Args:
        query: Which records are exported.
        seen: The keys of records that are already written.
        tally: The counts of the run.
        overlap: Receives every record for the state of the next run; None without a state file.
        has_ended: Returns whether the deadline of the run has passed.
        show: Called after each record.
    """

    def __init__(  # noqa: PLR0913 - the parts of a run
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
        """Write all records that are not yet written.

        Raises:
            ThriveError: A page could not be fetched, or records could not be written.
        """
        writer = RecordWriter(sink)
        begin = writer.position
        parts = self._query.filters.walks
        incomplete = None
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
                if incomplete is None and (stream.unreadable or stream.missing):
                    incomplete = Position(number, 1)
                writer.move_to(Position(number + 1, 1))
            self._tally.is_whole = True
            if incomplete is not None:
                writer.move_to(incomplete)  # a resumed export requests these pages again
        finally:
            writer.flush()

    def _take(self, stream: "ActivityStream", part: int, writer: RecordWriter, *, is_all: bool) -> bool:
        """Write the records of a part, and return whether all of them were read."""
        tally = self._tally
        left_out, missing = tally.unreadable, tally.missing
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
            tally.unreadable, tally.missing = left_out + stream.unreadable, missing + stream.missing
        return True


def note_written(records: Path, overlap: Overlap) -> None:
    """Add the records that earlier runs have written to an overlap."""
    with open_to_read(records) as lines:
        for line in lines:
            document: dict[str, Any] = json.loads(line)
            date = document.get("date")
            overlap.note(key_of(document["id"]), read_date(date) if isinstance(date, str) else None)
