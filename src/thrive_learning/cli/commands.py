"""The commands: what they are called, what they take, what they print."""

import sys
from typing import TYPE_CHECKING

import click

from thrive_learning._version import __version__
from thrive_learning.cli.exit_codes import MEANINGS
from thrive_learning.cli.rendering import as_json, as_table
from thrive_learning.cli.sandbox_command import sandbox_command
from thrive_learning.policies import Timeout
from thrive_learning.regions import Region

if TYPE_CHECKING:
    from thrive_learning.client import ThriveClient

REGIONS = [
    region.name for region in (Region.PRODUCTION, Region.STAGING, Region.PRODUCTION_MEA, Region.STAGING_MEA)
]

EXAMPLE_ID = "60d5ec49b60b4b3a2c8f9a10"  # the reference page's own, which the sandbox holds

# In these texts, click leaves the lines of a paragraph as they are that begins with a line of \b.

_THRIVE = f"""\b
Examples:
  thrive activity get {EXAMPLE_ID} --sandbox
  thrive activity get {EXAMPLE_ID} --region staging

\b
Exit codes:
""" + "\n".join(f"  {int(code):>3}  {meaning}" for code, meaning in MEANINGS.items())

_ACTIVITY = f"""\b
Example:
  thrive activity get {EXAMPLE_ID} --sandbox
"""

_GET = f"""\b
Examples:
  thrive activity get {EXAMPLE_ID} --sandbox
  thrive activity get {EXAMPLE_ID} --region staging
  thrive activity get {EXAMPLE_ID} -o json --timeout 10
  thrive activity get {EXAMPLE_ID} | jq -r .type

\b
Environment, which --sandbox does not read:
  THRIVE_REGION         the region, unless --region is given
  THRIVE_TENANT_ID      the tenant ID, and with it either
  THRIVE_API_SECRET     the API secret (HTTP Basic), or
  THRIVE_CLIENT_ID      the client ID,
  THRIVE_CLIENT_SECRET  the client secret and, if need be,
  THRIVE_SCOPES         the scopes, such as api/read (OAuth)

`thrive --help` lists the exit codes.
"""


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=_THRIVE)
@click.version_option(__version__, message="%(prog)s %(version)s")
def thrive() -> None:
    """Read activity records from Thrive Learning.

    Output goes to stdout, messages to stderr; THRIVE_DEBUG=1 adds the traceback to an error.
    """


thrive.add_command(sandbox_command)


@thrive.group(epilog=_ACTIVITY)
def activity() -> None:
    """Activity records: who did what, to what, and when."""


@activity.command(epilog=_GET)
@click.argument("activity_id", metavar="ID")
@click.option("--sandbox", is_flag=True, help="Ask the embedded sandbox: no network, no credentials.")
@click.option(
    "--region",
    type=click.Choice(REGIONS, case_sensitive=False),
    help=f"Ask this region.  [default: THRIVE_REGION, or {Region.PRODUCTION}]",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help=f"Give up after this long, all told.  [default: {Timeout().total:g}]",
)
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json"]),
    help="How to print the record.  [default: table on a terminal, else json]",
)
def get(
    activity_id: str, *, sandbox: bool, region: str | None, timeout: float | None, output: str | None
) -> None:
    """Print the activity record with this ID, 24 hexadecimal digits."""
    with _client(region, sandbox=sandbox) as client:
        record = client.activities.get(activity_id, timeout=timeout)
    if (output or ("table" if sys.stdout.isatty() else "json")) == "table":
        text = as_table(record, sys.stdout.encoding)
    else:
        text = as_json(record.to_dict(), sys.stdout.encoding)
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()  # here, where a closed pipe can still be told from success


def _client(region: str | None, *, sandbox: bool) -> "ThriveClient":
    if sandbox and region is not None:
        raise click.UsageError("--sandbox and --region exclude each other: the sandbox is in no region.")
    # Here, since --help and --version need neither HTTP nor settings.
    from thrive_learning.client import ThriveClient  # noqa: PLC0415
    from thrive_learning.settings import (  # noqa: PLC0415
        credentials_from_environment,
        region_from_environment,
    )

    if sandbox:
        return ThriveClient.sandbox()
    return ThriveClient(region or region_from_environment(), credentials_from_environment())
