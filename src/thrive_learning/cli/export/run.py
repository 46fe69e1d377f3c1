"""One export: results become lines where they belong."""

import contextlib
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Protocol

from thrive_learning.cli.export.failures import FailedId, FailureCounts
from thrive_learning.cli.export.id_set import IdSet, key_of
from thrive_learning.cli.export.progress import Display
from thrive_learning.cli.export.tally import Tally
from thrive_learning.cli.input_lines import InputLines
from thrive_learning.cli.notices import is_pause, noticed
from thrive_learning.cli.terminal import say
from thrive_learning.models import Activity, ActivityResult


class Sink(Protocol):
    """Where records and failures go."""

    done: IdSet
    records: int
    kept_failures: FailureCounts

    def write_record(self, key: bytes, line: bytes) -> None:
        """Write a record; `key` is that of the ID that was asked for."""
        ...

    def write_failure(self, failure: FailedId) -> None:
        """Write a failure."""
        ...


def counted(lines: InputLines, tally: Tally) -> Iterator[tuple[int, str]]:
    """Return the lines of the input, and count how much of it was read."""
    for line in lines:
        tally.read_bytes = lines.read_bytes
        yield line


def unseen(ids: Iterable[str], done: IdSet, tally: Tally) -> Iterator[str]:
    """Return each ID once, and none that is done."""
    for given in ids:
        key = key_of(given)
        if done.add(key):
            yield given
        else:
            tally.note_done(done.reason(key))
    tally.is_whole = True


def take(results: Iterable[ActivityResult], sink: Sink, tally: Tally, show: Callable[[], None]) -> None:
    """Write every result as it comes."""
    for result in results:
        failure = None
        if result.error is None:
            sink.write_record(key_of(result.id), record_line(result.activity))
        else:
            failure = FailedId.of(result.id, result.error)
            sink.write_failure(failure)
        tally.note(failure)
        show()


@contextlib.contextmanager
def pauses_shown(tally: Tally, display: Display, *, quiet: bool) -> Generator[None, None, None]:
    """Show what the client warns of while it runs, and that an export is paused."""

    def show(notice: str) -> None:
        if quiet:
            return
        say(notice)
        if is_pause(notice):
            tally.is_paused = True
            display.pause()

    with noticed(show):
        yield


def record_line(activity: Activity) -> bytes:
    """Render a record's JSON as it was received, in one line."""
    return activity.to_json().encode() + b"\n"
