"""Running a command: whatever goes wrong becomes a line or two on stderr and an exit code."""

import contextlib
import os
import sys
import traceback
from collections.abc import Sequence

import click

from thrive_learning.cli.commands import thrive
from thrive_learning.cli.exit_codes import ExitCode, exit_code
from thrive_learning.cli.rendering import one_line, visible
from thrive_learning.errors import ThriveError


def run(arguments: Sequence[str]) -> int:
    """Run the command.

    Args:
        arguments: What stands on the command line after `thrive`.

    Returns:
        The exit code.
    """
    try:
        # Not click's own main(): it gives every error but those of usage, a closed pipe too, the code 1.
        with thrive.make_context("thrive", list(arguments)) as context:
            thrive.invoke(context)
    except click.exceptions.Exit as end:  # --help and --version
        return end.exit_code
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - nobody wants to read a traceback
        return _reported(error)
    return ExitCode.OK


def _reported(error: BaseException) -> ExitCode:
    if isinstance(error, OSError) and not isinstance(error, ThriveError):
        # The output cannot be written. Python would try again at exit, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    with contextlib.suppress(OSError):  # stderr may be closed too, and then there is the exit code
        if os.environ.get("THRIVE_DEBUG") == "1":
            click.echo(visible("".join(traceback.format_exception(error))), err=True)
        complaint = _complaint(error)
        if complaint is not None:
            click.echo(complaint, err=True)
    return exit_code(error)


def _complaint(error: BaseException) -> str | None:  # noqa: PLR0911 - a table, as in exit_code()
    match error:
        case BrokenPipeError():
            return None
        case KeyboardInterrupt() | click.Abort():
            return ""  # what follows begins on a line of its own, not behind the terminal's ^C
        case click.exceptions.NoArgsIsHelpError():
            return error.format_message()
        case click.UsageError(ctx=click.Context() as context):
            hint = f"Try '{context.command_path} --help'."
            return f"{_line(error.format_message())}\n{hint}"
        case ThriveError():
            return _line(str(error))
        case OSError():
            return _line(f"the output cannot be written: {error.strerror}")
        case _:
            # Not what it says: nobody has checked that for secrets.
            return _line(f"unexpected {type(error).__name__}: THRIVE_DEBUG=1 shows where it happened")


def _line(problem: str) -> str:
    return f"thrive: error: {one_line(problem)}"
