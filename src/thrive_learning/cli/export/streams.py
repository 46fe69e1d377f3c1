"""Write records to a stream, such as stdout, a FIFO, or a device, which cannot be resumed."""

import contextlib
import io
import os
import stat
import sys

from thrive_learning.cli.cells import visible_json
from thrive_learning.cli.export.failures import FailedId, FailureCounts
from thrive_learning.cli.export.output import StreamTarget
from thrive_learning.cli.terminal import complain
from thrive_learning.errors import ConfigurationError, ThriveError


class StreamError(ThriveError):
    """A stream cannot be written."""


class StreamOutput(contextlib.AbstractContextManager["StreamOutput"]):
    """Writes records to a stream, and failures to stderr.

    Args:
        stream: The stream.

    Attributes:
        is_terminal: Whether the stream is a terminal. Control characters are escaped then.

    Raises:
        ConfigurationError: The stream cannot be opened, or is no longer a stream.
    """

    def __init__(self, stream: StreamTarget) -> None:
        self.done: dict[bytes, int] = {}
        self.records: int = 0  # from earlier runs
        self.kept_failures: FailureCounts = FailureCounts()
        self._name = stream.name
        self._file = None if stream.is_stdout else _opened(stream)
        self.is_terminal: bool = (self._file or sys.stdout).isatty()

    def write_record(self, key: bytes, line: bytes) -> None:  # noqa: ARG002 - the signature of a Sink
        """Write a record and flush it, so that a closed pipe is noticed here.

        Raises:
            OSError: The reader has closed the stream, or stdout cannot be written.
            StreamError: The stream cannot be written.
        """
        data = visible_json(line.decode()).encode() if self.is_terminal else line
        if self._file is None:
            sys.stdout.buffer.write(data)
            sys.stdout.flush()
            return
        try:
            while data:
                data = data[self._file.write(data) :]
        except BrokenPipeError:
            raise
        except OSError as error:
            problem = error.strerror or str(error)
        else:
            return
        raise StreamError(f"cannot write {self._name}: {problem}")

    def write_failure(self, failure: FailedId) -> None:
        """Print the failure on stderr."""
        complain(failure.message)

    def __exit__(self, *_error: object) -> None:
        if self._file is not None:
            self._file.close()


def _opened(stream: StreamTarget) -> io.FileIO:
    try:
        if stream.descriptor is None:
            return _opened_anew(stream.name)
        return io.FileIO(_writable(stream.descriptor), "wb")
    except OSError as error:
        problem = error.strerror or str(error)
    raise ConfigurationError(f"cannot write {stream.name}: {problem}. Choose another output.")


def _writable(descriptor: int) -> int:
    """Return a duplicate of a descriptor, or raise `OSError` if it is not writable."""
    duplicate = os.dup(descriptor)
    try:
        os.write(duplicate, b"")
    except OSError:
        os.close(duplicate)
        raise
    return duplicate


def _opened_anew(name: str) -> io.FileIO:
    # The flags neither create nor truncate. Opening a FIFO waits for its reader.
    file = io.FileIO(os.open(name, os.O_WRONLY | getattr(os, "O_NOCTTY", 0)), "wb")
    mode = os.fstat(file.fileno()).st_mode
    if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
        return file
    file.close()
    raise ConfigurationError(f"{name} is no longer a stream. Choose another output.")
