"""What is written, and how it looks: data to stdout, messages to stderr, colours for terminals alone."""

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
from thrive_learning.drift import Drift


def chosen_output(output: str | None, otherwise: str = "json") -> str:
    """Return the format that was asked for; else a table for a terminal, and another one for a program."""
    is_terminal = sys.stdout.isatty()  # in any case: a closed stdout fails here, before a request is sent
    return output or ("table" if is_terminal else otherwise)


def write(text: str, end: str = "\n") -> None:
    """Write lines to stdout now, where a closed pipe can still be told from success."""
    sys.stdout.write(text + end)
    sys.stdout.flush()


def write_exact(text: str) -> None:
    """Write a value and a line end to stdout: for a program in UTF-8, whatever the locale's encoding is."""
    if sys.stdout.isatty():
        encoding = sys.stdout.encoding
        write(text.encode(encoding, "backslashreplace").decode(encoding))
    else:
        sys.stdout.buffer.write(text.encode(errors="surrogateescape") + b"\n")
        sys.stdout.flush()


def say(message: str) -> None:
    """Write a line to stderr."""
    to_stderr(f"thrive: {one_line(message)}")


def complain(problem: str) -> None:
    """Write a line about something that went wrong to stderr."""
    to_stderr(complaint(problem))


def to_stderr(text: str) -> None:
    """Write lines to stderr, and go on if nobody can read them."""
    try:
        click.echo(text, err=True)
    except OSError:
        discard(sys.stderr)


def complaint(problem: str) -> str:
    """Give the line about something that went wrong."""
    return f"{styled('thrive: error:', sys.stderr, fg='red', bold=True)} {one_line(problem)}"


def styled(text: str, stream: TextIO, *, fg: str | None = None, bold: bool = False) -> str:
    """Give text in a style where the stream is a terminal that may have colours.

    Source: https://no-color.org
    """
    if not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return click.style(text, fg=fg, bold=bold or None)


def heading(text: str) -> str:
    """Give text of stdout that names what follows."""
    return styled(text, sys.stdout, bold=True)


def page_width() -> int:
    """Give how many columns a page for people has: those of the terminal, of COLUMNS, or else 80."""
    return shutil.get_terminal_size().columns


_PAUSE = "pausing "  # how the announcement of a pause begins


class _Notices(logging.Handler):
    def __init__(self, show: Callable[[str], object], *, drift: bool) -> None:
        super().__init__(logging.WARNING)
        self._show = show
        self._shows_drift = drift
        self.withheld = 0

    def emit(self, record: logging.LogRecord) -> None:
        arguments = record.args if isinstance(record.args, tuple) else ()
        if self._shows_drift or not any(isinstance(argument, Drift) for argument in arguments):
            self._show(record.getMessage())
        else:
            self.withheld += 1


@contextlib.contextmanager
def noticed(show: Callable[[str], object], *, drift: bool = True) -> Generator[_Notices, None, None]:
    """Pass the client's warnings to a function, and not to the last resort of `logging`.

    Args:
        show: Is called with each of them, by the threads that log them.
        drift: Whether departures from the contract are among them. If not, the caller must say that there
            are some: `withheld` of what is yielded counts their kinds.
    """
    logger, handler = logging.getLogger("thrive_learning"), _Notices(show, drift=drift)
    logger.addHandler(handler)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)


def is_pause(notice: str) -> bool:
    """Return whether all requests wait from now on."""
    return notice.startswith(_PAUSE)
