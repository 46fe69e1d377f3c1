"""`thrive activity`: activity records."""

import sys

import click

from thrive_learning.cli.options import EXAMPLE_ID, REGIONS, chosen_output, client_for, write
from thrive_learning.cli.rendering import as_json, as_table
from thrive_learning.policies import Timeout
from thrive_learning.regions import Region

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


@click.group(epilog=_ACTIVITY)
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
    with client_for(region, sandbox=sandbox) as client:
        record = client.activities.get(activity_id, timeout=timeout)
    if chosen_output(output) == "table":
        write(as_table(record, sys.stdout.encoding))
    else:
        write(as_json(record.to_dict(), sys.stdout.encoding))
