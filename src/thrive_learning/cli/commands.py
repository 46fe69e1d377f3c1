"""The command itself, and the list of those below it. A new one comes in with a line at the end."""

import click

from thrive_learning._version import __version__
from thrive_learning.cli.activity import activity
from thrive_learning.cli.check import check
from thrive_learning.cli.completion import completion
from thrive_learning.cli.config import config
from thrive_learning.cli.exit_codes import MEANINGS
from thrive_learning.cli.options import EXAMPLE_ID
from thrive_learning.cli.regions import regions
from thrive_learning.cli.sandbox_command import sandbox_command
from thrive_learning.cli.token import token

# In these texts, click leaves the lines of a paragraph as they are that begins with a line of \b.

_THRIVE = f"""\b
Examples:
  thrive activity get {EXAMPLE_ID} --sandbox
  thrive activity get {EXAMPLE_ID} --region staging
  thrive config set tenant_id eu-west-2_AbcdEfghI
  thrive check

\b
Exit codes:
""" + "\n".join(f"  {int(code):>3}  {meaning}" for code, meaning in MEANINGS.items())


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=_THRIVE)
@click.version_option(__version__, message="%(prog)s %(version)s")
def thrive() -> None:
    """Read activity records from Thrive Learning.

    Output goes to stdout, messages to stderr; THRIVE_DEBUG=1 adds the traceback to an error.
    """


thrive.add_command(activity)
thrive.add_command(check)
thrive.add_command(completion)
thrive.add_command(config)
thrive.add_command(regions)
thrive.add_command(sandbox_command)
thrive.add_command(token)
