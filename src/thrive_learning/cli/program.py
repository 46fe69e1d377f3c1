"""Running a command: whatever goes wrong becomes a line or two on stderr and an exit code."""

import os
import sys
import traceback
from collections.abc import Sequence

import click

from thrive_learning.cli.cells import visible
from thrive_learning.cli.commands import thrive
from thrive_learning.cli.commands.completion import COMPLETION_VARIABLE, completed
from thrive_learning.cli.exit_codes import ExitCode, exit_code
from thrive_learning.cli.streams import discard
from thrive_learning.cli.suggestions import COMMAND_PATH, did_you_mean, placement
from thrive_learning.cli.terminal import complaint, to_stderr
from thrive_learning.errors import ThriveError


def run(arguments: Sequence[str], name: str = "thrive") -> int:
    """Run the command.

    Args:
        arguments: What is written on the command line after the command's name.
        name: How the command was called, for its help and its messages.

    Returns:
        The exit code.
    """
    asked = os.environ.get(COMPLETION_VARIABLE)
    if asked:
        return completed(thrive, asked)
    context = None
    try:
        # Not click's own main(): it gives every error but those of usage, a closed pipe too, the code 1.
        with thrive.make_context(name, list(arguments)) as context:
            thrive.invoke(context)
    except click.exceptions.Exit as end:  # --help and --version
        return end.exit_code
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - nobody wants to read a traceback
        path = name if context is None else context.meta.get(COMMAND_PATH, name)
        return _reported(error, path, arguments)
    return ExitCode.OK


def _reported(error: BaseException, path: str, arguments: Sequence[str]) -> ExitCode:
    if isinstance(error, OSError) and not isinstance(error, ThriveError):
        discard(sys.stdout)  # the output cannot be written
    if os.environ.get("THRIVE_DEBUG") == "1":
        to_stderr(visible("".join(traceback.format_exception(error))))
    said = _said(error, path, arguments)
    if said is not None:
        to_stderr(said)
    return exit_code(error)


def _said(  # noqa: PLR0911 - a table, as in exit_code()
    error: BaseException, path: str, arguments: Sequence[str]
) -> str | None:
    match error:
        case BrokenPipeError():
            return None
        case KeyboardInterrupt() | click.Abort():
            return ""  # what follows begins on a line of its own, not behind the terminal's ^C
        case click.exceptions.NoArgsIsHelpError():
            return error.format_message()
        case click.UsageError():
            message = error.format_message()
            if isinstance(error, click.NoSuchOption):  # click's own message lists all options that are near
                near = did_you_mean(next(iter(error.possibilities or ()), None))
                message = placement(error, arguments) or f"No such option {error.option_name!r}.{near}"
            # click's parser does not say which command an option without its value was given to.
            path = path if error.ctx is None else error.ctx.command_path
            return f"{complaint(message)}\nTry '{path} --help'."
        case ThriveError():
            return complaint(str(error))
        case OSError():
            return complaint(f"the output cannot be written: {error.strerror}")
        case ModuleNotFoundError(name="pyarrow"):
            return complaint(
                "this needs the extra 'arrow'. Install: python3 -m pip install 'thrive-learning[arrow,cli]'"
            )
        case ModuleNotFoundError(name="filelock" | "rich" | "tomlkit"):
            return complaint(
                "this needs the whole extra 'cli'. Install it: python3 -m pip install 'thrive-learning[cli]'"
            )
        case _:
            # Not what it says: nobody has checked that for secrets.
            return complaint(f"unexpected {type(error).__name__}: THRIVE_DEBUG=1 shows where it happened")
