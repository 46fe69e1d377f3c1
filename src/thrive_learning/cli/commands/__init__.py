"""The command itself, and where those below it are. A new one comes in with a line of the table."""

import importlib
from collections.abc import Mapping

import click

from thrive_learning._version import __version__
from thrive_learning.cli import EXAMPLE_ID
from thrive_learning.cli.exit_codes import MEANINGS
from thrive_learning.cli.suggestions import Group

#: The commands below `thrive`: the module of each, and its name there. Each is loaded when it is asked for:
#: `thrive --version` needs none of them.
COMMANDS: Mapping[str, tuple[str, str]] = {
    "activity": ("activity", "activity"),
    "check": ("check", "check"),
    "completion": ("completion", "completion"),
    "config": ("config", "config"),
    "regions": ("regions", "regions"),
    "sandbox": ("sandbox", "sandbox_command"),
    "token": ("token", "token"),
}

# In these texts, click leaves the lines of a paragraph as they are that begins with a line of \b.

_THRIVE = f"""\b
Examples:
  thrive activity get {EXAMPLE_ID} --sandbox
  thrive config init
  thrive check
  thrive activity get {EXAMPLE_ID} --region staging

\b
Exit codes:
""" + "\n".join(f"  {int(code):>3}  {meaning}" for code, meaning in MEANINGS.items())


class LazyGroup(Group):
    """A group whose commands are loaded when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Give the names of the commands, in the order of the help."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Give the command of a name; None if there is none."""
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name]
        command: click.Command = getattr(
            importlib.import_module(f"thrive_learning.cli.commands.{module}"), name
        )
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]}, epilog=_THRIVE)
@click.version_option(__version__, message="%(prog)s %(version)s")
def thrive() -> None:
    """Read activity records from Thrive Learning.

    Output goes to stdout, messages to stderr; THRIVE_DEBUG=1 adds the traceback to an error.
    """
