"""Run a command: any error becomes one or two lines on stderr and an exit code."""

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
        arguments: The arguments after the command's name.
        name: The name of the command in its help and messages.

    Returns:
        The exit code.
    """
    instruction = os.environ.get(COMPLETION_VARIABLE)
    if instruction:
        return completed(thrive, instruction)
    context = None
    try:
        # Not click's own main(), which exits with 1 for all errors except those of usage.
        with thrive.make_context(name, list(arguments)) as context:
            thrive.invoke(context)
    except click.exceptions.Exit as end:  # --help and --version
        return end.exit_code
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - users get a message, not a traceback
        path = name if context is None else context.meta.get(COMMAND_PATH, name)
        return _report(error, path, arguments)
    return ExitCode.OK


def _report(error: BaseException, path: str, arguments: Sequence[str]) -> ExitCode:
    if isinstance(error, OSError) and not isinstance(error, ThriveError):
        discard(sys.stdout)  # the output cannot be written
    if os.environ.get("THRIVE_DEBUG") == "1":
        to_stderr(visible("".join(traceback.format_exception(error))))
    message = _message(error, path, arguments)
    if message is not None:
        to_stderr(message)
    return exit_code(error)


def _message(  # noqa: PLR0911 - a table, as in exit_code()
    error: BaseException, path: str, arguments: Sequence[str]
) -> str | None:
    match error:
        case BrokenPipeError():
            return None
        case KeyboardInterrupt() | click.Abort():
            return ""  # so that the shell's prompt does not follow the terminal's ^C
        case click.exceptions.NoArgsIsHelpError():
            return error.format_message()
        case click.UsageError():
            message = error.format_message()
            if isinstance(error, click.NoSuchOption):  # click's own message lists all similar options
                near = did_you_mean(next(iter(error.possibilities or ()), None))
                message = placement(error, arguments) or f"No such option {error.option_name!r}.{near}"
            # click's parser does not set the context of an option without its value.
            path = path if error.ctx is None else error.ctx.command_path
            return f"{complaint(message)}\nTry '{path} --help'."
        case ThriveError():
            return complaint(str(error))
        case OSError():
            return complaint(f"cannot write the output: {error.strerror}")
        case ModuleNotFoundError(name="pyarrow"):
            return complaint(
                "Parquet and CSV need the extra 'arrow'. "
                "Install it with: python3 -m pip install 'thrive-learning[arrow,cli]'"
            )
        case ModuleNotFoundError(name="filelock" | "rich" | "tomlkit"):
            return complaint(
                f"this command needs the extra 'cli' ({error.name} is not installed). "
                "Install it with: python3 -m pip install 'thrive-learning[cli]'"
            )
        case _:
            # Without its text, which may contain a secret.
            return complaint(f"unexpected {type(error).__name__}. Set THRIVE_DEBUG=1 to see the traceback")
