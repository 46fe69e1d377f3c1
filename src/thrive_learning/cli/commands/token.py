"""`thrive token`: an access token for calls of one's own."""

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

A token is a secret for as long as it is valid: it is masked unless --reveal is
given. Each run asks for a new one. It needs OAuth credentials: HTTP Basic has
no tokens.
"""


@click.command(epilog=_EPILOG)
@talks_to_the_api
@click.option(
    "--service",
    type=Choice([service.value for service in Service]),
    default=Service.API.value,
    show_default=True,
    help="What the token is for.",
)
@click.option(
    "--scope",
    "scopes",
    type=Choice([scope.value for scope in Scope]),
    multiple=True,
    help="Ask for this scope; can be given several times.  [default: those of the settings]",
)
@click.option("--reveal", is_flag=True, help="Show the token itself.")
@output_option("table", "json")
def token(target: Target, *, service: str, scopes: tuple[str, ...], reveal: bool, output: str | None) -> None:
    """Fetch an access token."""
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
