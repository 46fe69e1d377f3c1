"""Handle standard streams that are closed or fail.

If a standard stream is closed, Python sets it to None, and the next file that is opened gets its descriptor.
A record or a message could then end up in that file.
"""

import contextlib
import io
import os
import sys
from typing import NoReturn, TextIO


class _Closed:
    """A closed stream. Using it ends the command with a message."""

    closed = True  # Python reads it at exit
    problem: str

    def __getattr__(self, _name: str) -> NoReturn:
        from click import UsageError  # noqa: PLC0415 - without the extra, main() must report that first

        raise UsageError(self.problem)

    def fileno(self) -> int:
        """Raise, like any stream without a descriptor."""
        raise io.UnsupportedOperation


class ClosedOutput(_Closed):
    """A closed stdout."""

    problem = "stdout is closed, but this command writes to it. Redirect it to a file."


class ClosedInput(_Closed):
    """A closed stdin."""

    problem = "stdin is closed, but this command reads it. Redirect it from a file."

    def isatty(self) -> bool:
        """Return False."""
        return False


def open_closed_streams() -> None:
    """Make sure that the streams exist and that no other file gets their descriptors.

    A closed descriptor also becomes unusable under other names, such as `/dev/stderr`, because data written
    there would be lost silently.
    """
    for number, mode in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_RDONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)  # this gets the lowest free descriptor, which is `number`
    # Type checkers do not know that these can be None.
    streams: dict[str, TextIO | None] = {name: getattr(sys, name) for name in ("stdin", "stdout", "stderr")}
    if streams["stdin"] is None:
        setattr(sys, "stdin", ClosedInput())  # noqa: B010 - it has the parts of TextIO that are used
    if streams["stdout"] is None:
        setattr(sys, "stdout", ClosedOutput())  # noqa: B010 - see above
    if streams["stderr"] is None:  # discard all messages
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - for the whole process


def discard(stream: TextIO) -> None:
    """Discard the buffered data of a stream that failed, or Python would try to write it again at exit."""
    with contextlib.suppress(OSError, ValueError):  # it may have no descriptor
        number = stream.fileno()
        descriptor = os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, number)
        os.close(descriptor)
        stream.flush()
