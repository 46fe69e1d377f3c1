"""Standard streams that are closed, or that fail.

Python has None for a closed stream, and the next file that is opened gets its number: a record or a message
could end up in that file.
"""

import contextlib
import io
import os
import sys
from typing import NoReturn, TextIO


class _Closed:
    """A closed stream: a command that uses it, or asks what it is, ends with a message."""

    closed = True  # Python asks for it at exit
    problem: str

    def __getattr__(self, _name: str) -> NoReturn:
        from click import UsageError  # noqa: PLC0415 - without the extra, there is a message to write first

        raise UsageError(self.problem)

    def fileno(self) -> int:
        """Fail as other streams without a descriptor."""
        raise io.UnsupportedOperation


class ClosedOutput(_Closed):
    """A closed stdout."""

    problem = "stdout is closed, and this command writes to it. Redirect it to a file."


class ClosedInput(_Closed):
    """A closed stdin. It is not a terminal."""

    problem = "stdin is closed, and this command reads it. Redirect it from a file."

    def isatty(self) -> bool:
        """Return that it is not a terminal."""
        return False


def open_closed_streams() -> None:
    """Make sure that the streams exist and that no file gets their numbers.

    A number that was closed cannot be used under another name either, such as `/dev/stderr`: what is written
    there would be lost without a word.
    """
    for number, mode in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_RDONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)  # the lowest number that is free, hence this one
    # A type checker does not know that they can be None.
    streams: dict[str, TextIO | None] = {name: getattr(sys, name) for name in ("stdin", "stdout", "stderr")}
    if streams["stdin"] is None:
        setattr(sys, "stdin", ClosedInput())  # noqa: B010 - it has what is used of a TextIO
    if streams["stdout"] is None:
        setattr(sys, "stdout", ClosedOutput())  # noqa: B010 - see above
    if streams["stderr"] is None:  # nobody wants the messages
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - for the whole process


def discard(stream: TextIO) -> None:
    """Send what a stream that failed still has to nowhere: Python would try again at exit, and complain."""
    with contextlib.suppress(OSError, ValueError):  # it may have no number
        number = stream.fileno()
        descriptor = os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, number)
        os.close(descriptor)
        stream.flush()
