"""`thrive regions`: the regions and their URLs."""

import sys

import click

from thrive_learning.cli.options import output_option
from thrive_learning.cli.rendering import as_fields, as_json
from thrive_learning.cli.terminal import chosen_output, heading, write
from thrive_learning.regions import Region

_REGIONS = """\b
Examples:
  thrive regions
  thrive regions | jq -r '.[].name'

{tenant_id} stands for the tenant ID. For a custom region, such as a gateway or a
sandbox server, set its URLs: see `thrive config --help`.
"""


@click.command(epilog=_REGIONS)
@output_option("table", "json")
def regions(*, output: str | None) -> None:
    """List the regions and their URLs."""
    names = ("api_url", "token_url", "webhooks_token_url")
    found = [{"name": region.name, **dict(zip(names, region.urls, strict=True))} for region in Region.VENDOR]
    encoding = sys.stdout.encoding
    if chosen_output(output) == "json":
        write(as_json(found, encoding))
        return
    blocks = [
        # Short names, because the longest URL has 63 characters and must fit into 80 columns.
        as_fields(
            {"region": region["name"]}
            | {name.removesuffix("_url").removesuffix("_token"): region[name] for name in names},
            encoding,
            heading,
        )
        for region in found
    ]
    write("\n\n".join(blocks))
