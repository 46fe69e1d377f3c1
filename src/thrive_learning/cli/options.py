"""What several commands take, and the client that it makes."""

import sys
from typing import TYPE_CHECKING

import click

from thrive_learning.regions import Region

if TYPE_CHECKING:
    from thrive_learning.client import ThriveClient

REGIONS = [
    region.name for region in (Region.PRODUCTION, Region.STAGING, Region.PRODUCTION_MEA, Region.STAGING_MEA)
]

EXAMPLE_ID = "60d5ec49b60b4b3a2c8f9a10"  # the reference page's own, which the sandbox holds


def chosen_output(output: str | None) -> str:
    """Give the format that was asked for; else a table for a terminal, and JSON for a program."""
    return output or ("table" if sys.stdout.isatty() else "json")


def write(text: str) -> None:
    """Write lines to stdout now, where a closed pipe can still be told from success."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def client_for(region: str | None, *, sandbox: bool) -> "ThriveClient":
    """Create the client that the options ask for."""
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
