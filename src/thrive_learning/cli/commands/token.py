"""`thrive token`: an access token for calls that the SDK does not make."""

import sys

import click

from thrive_learning.cli.options import Target, output_option, talks_to_the_api
from thrive_learning.cli.rendering import MASK, as_fields, as_json
from thrive_learning.cli.suggestions import Choice
from thrive_learning.cli.terminal import chosen_output, heading, write
from thrive_learning.credentials import Scope
from thrive_learning.regions import Service

_EPILOG = """\b
Examples:
  thrive token --sandbox
  thrive token --service webhooks --region staging
  thrive token --scope api/read --scope api/write -o json
  thrive token --reveal | jq -r .access_token

Each run requests a new token. Keep it secret until it expires. OAuth credentials
are required, because HTTP Basic has no tokens.
"""


@click.command(epilog=_EPILOG)
@talks_to_the_api
@click.option(
    "--service",
    type=Choice([service.value for service in Service]),
    default=Service.API.value,
    show_default=True,
    help="Service that the token is for.",
)
@click.option(
    "--scope",
    "scopes",
    type=Choice([scope.value for scope in Scope]),
    multiple=True,
    help="Scope to request. Repeatable.  [default: those in the settings]",
)
@click.option("--reveal", is_flag=True, help="Show the token instead of a mask.")
@output_option("table", "json")
def token(target: Target, *, service: str, scopes: tuple[str, ...], reveal: bool, output: str | None) -> None:
    """Request an access token."""
    chosen = chosen_output(output)
    with target.client() as client:
        given = client.tokens.get(Service(service), scopes=scopes or None)
    fields = {
        "service": service,
        "access_token": given.value if reveal else MASK,
        "token_type": "Bearer",
        "scopes": [str(scope) for scope in given.scopes],
        "expires_at": given.expires_at.isoformat(timespec="seconds"),
    }
    if chosen == "table":
        shown = fields | {"scopes": " ".join(fields["scopes"])}
        write(as_fields(shown, sys.stdout.encoding, heading))
    else:
        write(as_json(fields, sys.stdout.encoding))
