"""Running a secret command: program and arguments → what it printed, or why that is nothing.

The output is a `BytesIO` all the way, because a traceback's local variables would show bytes.
"""

import contextlib
import io
import os
import selectors
import signal
import subprocess
from collections.abc import Sequence

from thrive_learning._clock import monotonic

# How long it takes to notice that a program exited while a child of it keeps the output open. Seconds.
_POLL_S = 0.02
# On Windows, a pipe can be neither polled nor read without waiting.
_PIPES_CAN_BE_POLLED = os.name == "posix"


def output_of(command: Sequence[str], limit_s: float, most_bytes: int) -> io.BytesIO | str:
    """Run a command without a shell, and return its output up to its exit, or what went wrong.

    The command has no input and no terminal, so a prompt fails at once. A child that outlives the program
    is left alone; when time is up, all of them are killed.

    Args:
        command: The program and its arguments.
        limit_s: The time limit in seconds.
        most_bytes: A program that prints more is killed, and the output is longer than this.
    """
    try:
        process = subprocess.Popen(  # noqa: S603 - the user's own settings name it, and no shell reads it
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,
        )
    except OSError as error:
        return f"cannot be run: {error.strerror}"
    except ValueError:  # a NUL character, or one that the system's encoding lacks
        return "cannot be run: the system cannot pass one of its arguments"
    try:
        output = _output(process, limit_s, most_bytes)
    finally:  # whatever is raised meanwhile, by a signal handler for example
        _end(process)
    if output is None:
        return (
            f"did not exit within {limit_s:g} s. "
            "Run it yourself: it has no input and no terminal, and must not ask for anything"
        )
    length = len(output.getbuffer())
    if process.returncode and length <= most_bytes:
        return f"{_exit_of(process.returncode)}. Run it yourself to see why"
    if not output.getvalue().strip():
        return "printed nothing. Run it yourself: it has no input and no terminal"
    return output


def _output(process: "subprocess.Popen[bytes]", limit_s: float, most_bytes: int) -> io.BytesIO | None:
    """Return the output of a program up to its exit, or more than `most_bytes` of it; None if time is up."""
    pipe, output, ends_at = process.stdout, io.BytesIO(), monotonic() + limit_s
    assert pipe is not None  # noqa: S101 - for type checkers
    try:
        if not _PIPES_CAN_BE_POLLED:
            output.write(process.communicate(timeout=limit_s)[0])
            return output
        with selectors.DefaultSelector() as ready:
            ready.register(pipe, selectors.EVENT_READ)
            while True:
                has_exited = process.poll() is not None  # before reading: its output is in the pipe then
                while output.tell() <= most_bytes and ready.select(0):
                    if not output.write(pipe.read(most_bytes)):  # the end of the output
                        process.wait(max(ends_at - monotonic(), 0))
                        return output
                if has_exited or output.tell() > most_bytes:
                    return output
                if monotonic() >= ends_at:
                    return None
                ready.select(_POLL_S)
    except subprocess.TimeoutExpired:
        return None


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        with contextlib.suppress(OSError):  # it may exit meanwhile
            if hasattr(os, "killpg"):
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
        process.wait()
    if process.stdout is not None and _PIPES_CAN_BE_POLLED:  # else a thread may be reading from it
        process.stdout.close()


def _exit_of(code: int) -> str:
    if code > 0:
        return f"exited with code {code}"
    known = {number.value: number.name for number in signal.Signals}
    return f"was ended by the signal {known.get(-code, -code)}"
