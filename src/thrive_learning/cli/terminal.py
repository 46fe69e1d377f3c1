"""Write data to stdout and messages to stderr, with colors only on terminals."""

import contextlib
import logging
import os
import shutil
import sys
from collections.abc import Callable, Generator
from typing import TextIO

import click

from thrive_learning.cli.cells import one_line
from thrive_learning.cli.streams import discard


def chosen_output(output: str | None, otherwise: str = "json") -> str:
    """Return the format from --output, or else a table on a terminal, and another format elsewhere."""
    # Evaluated even with --output: a closed stdout must fail before a request is sent.
    is_terminal = sys.stdout.isatty()
    return output or ("table" if is_terminal else otherwise)


def write(text: str, end: str = "\n") -> None:
    """Write lines to stdout and flush them, so that a closed pipe is noticed here."""
    sys.stdout.write(text + end)
    sys.stdout.flush()


def write_exact(text: str) -> None:
    """Write a value and a line end to stdout, in UTF-8 regardless of the locale unless it is a terminal."""
    if sys.stdout.isatty():
        encoding = sys.stdout.encoding
        write(text.encode(encoding, "backslashreplace").decode(encoding))
    else:
        sys.stdout.buffer.write(text.encode(errors="surrogateescape") + b"\n")
        sys.stdout.flush()


def say(message: str) -> None:
    """Write a one-line message to stderr."""
    to_stderr(f"thrive: {one_line(message)}")


def complain(problem: str) -> None:
    """Write a one-line error message to stderr."""
    to_stderr(complaint(problem))


def to_stderr(text: str) -> None:
    """Write lines to stderr, and ignore errors."""
    try:
        click.echo(text, err=True)
    except OSError:
        discard(sys.stderr)


def complaint(problem: str) -> str:
    """Return a one-line error message."""
    return f"{styled('thrive: error:', sys.stderr, fg='red', bold=True)} {one_line(problem)}"


def styled(text: str, stream: TextIO, *, fg: str | None = None, bold: bool = False) -> str:
    """Return styled text if the stream is a terminal with colors, or else the text itself.

    Source: https://no-color.org
    """
    if not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return click.style(text, fg=fg, bold=bold or None)


def heading(text: str) -> str:
    """Return text for stdout in the style of headings."""
    return styled(text, sys.stdout, bold=True)


def page_width() -> int:
    """Return the width for tables: that of the terminal, of COLUMNS, or else 80 columns."""
    return shutil.get_terminal_size().columns


_PAUSE = "pausing "  # how the log message about a pause begins


class _Notices(logging.Handler):
    def __init__(self, show: Callable[[str], object], *, drift: bool) -> None:
        super().__init__(logging.WARNING)
        self._show = show
        self._shows_drift = drift
        self._withheld: set[str] = set()

    @property
    def withheld(self) -> int:
        """The number of warnings that were not shown. Several worker processes may have the same one."""
        return len(self._withheld)

    def emit(self, record: logging.LogRecord) -> None:
        event = getattr(record, "thrive_event", None)
        if event == "drift" and not self._shows_drift:
            self._withheld.add(record.getMessage())
        elif event != "missing_records":  # the summary of an export says it
            self._show(record.getMessage())


@contextlib.contextmanager
def noticed(show: Callable[[str], object], *, drift: bool = True) -> Generator[_Notices, None, None]:
    """Pass the client's warnings to a function instead of the last-resort handler of `logging`.

    Args:
        show: Called with each warning, on the thread that logs it.
        drift: Whether to include departures from the contract. If not, the caller must report that there are
            some: `withheld` of the yielded object counts their kinds.
    """
    logger, handler = logging.getLogger("thrive_learning"), _Notices(show, drift=drift)
    logger.addHandler(handler)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)


def is_pause(notice: str) -> bool:
    """Return whether a warning says that all requests are paused."""
    return notice.startswith(_PAUSE)
