"""The command `thrive`, and the names of its subcommands."""

import importlib

import click

from thrive_learning._version import __version__
from thrive_learning.cli import EXAMPLE_ID
from thrive_learning.cli.exit_codes import ExitCode
from thrive_learning.cli.suggestions import Group

#: The commands below `thrive`, in the order of the help. Each is in the module of its name, which is loaded
#: on demand: `thrive --version` loads none of them.
COMMANDS = ("activity", "check", "completion", "config", "regions", "sandbox", "token", "webhook")

# In help texts, click does not rewrap a paragraph that begins with a line of \b.

_THRIVE = f"""\b
Examples:
  thrive activity get {EXAMPLE_ID} --sandbox
  thrive config init
  thrive check
  thrive activity get {EXAMPLE_ID} --region staging

\b
Exit codes:
""" + "\n".join(f"  {code:>3}  {code.meaning}" for code in ExitCode)


class LazyGroup(Group):
    """A group that loads its commands on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names of the commands, in the order of the help."""
        return [*COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return the command with this name; None if the name is unknown."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"{__name__}.{cmd_name}")
        command: click.Command = getattr(module, cmd_name)
        return command


def _show_version(context: click.Context, _option: click.Parameter, value: bool) -> None:  # noqa: FBT001
    """Print the version under the name that the user ran; click's own option would keep the first name."""
    if value and not context.resilient_parsing:
        click.echo(f"{context.find_root().info_name} {__version__}")
        context.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]}, epilog=_THRIVE)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
def thrive() -> None:
    """Read activity records from Thrive Learning.

    Data goes to stdout, messages to stderr. Set THRIVE_DEBUG=1 to add a traceback to errors.
    """
