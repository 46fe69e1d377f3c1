"""Runs a secret command and returns its output, or why it has none.

The output stays a `BytesIO`, because the local variables in a traceback would show bytes.
"""

import contextlib
import io
import os
import selectors
import signal
import subprocess
from collections.abc import Sequence

from thrive_learning._clock import monotonic

# The interval to notice that a program exited while its child keeps the output open, in seconds.
_POLL_S = 0.02
# On Windows, a pipe can be neither polled nor read without waiting.
_PIPES_CAN_BE_POLLED = os.name == "posix"


def output_of(command: Sequence[str], limit_s: float, most_bytes: int) -> io.BytesIO | str:
    """Run a command without a shell, and return its output until its exit, or what went wrong.

    The command has no input and no terminal, so a prompt fails at once. A child that outlives the program is
    not killed, unless the time limit is reached.

    Args:
        command: The program and its arguments.
        limit_s: The time limit in seconds.
        most_bytes: The limit of the output. A program that prints more is killed, and its output is returned
            with more bytes than this.
    """
    try:
        process = subprocess.Popen(  # noqa: S603 - it is from the user's own settings and runs without a shell
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
    finally:  # also if a signal handler raises
        _end(process)
    if output is None:
        return (
            f"did not exit within {limit_s:g} s. "
            "Run it yourself to see why; it has no input and no terminal, so it must not ask for anything"
        )
    length = len(output.getbuffer())
    if process.returncode and length <= most_bytes:
        return f"{_exit_of(process.returncode)}. Run it yourself to see why"
    if not output.getvalue().strip():
        return "printed nothing. Run it yourself to see why; it has no input and no terminal"
    return output


def _output(process: "subprocess.Popen[bytes]", limit_s: float, most_bytes: int) -> io.BytesIO | None:
    """Return the output of a program until its exit, or more than `most_bytes`; None after the limit."""
    pipe, output, ends_at = process.stdout, io.BytesIO(), monotonic() + limit_s
    assert pipe is not None  # noqa: S101 - for type checkers
    try:
        if not _PIPES_CAN_BE_POLLED:
            output.write(process.communicate(timeout=limit_s)[0])
            return output
        with selectors.DefaultSelector() as ready:
            ready.register(pipe, selectors.EVENT_READ)
            while True:
                has_exited = process.poll() is not None  # checked first, so that the pipe has all its output
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
    return f"was killed by the signal {known.get(-code, -code)}"
