"""`thrive webhook`: sends test webhooks, or receives and verifies them."""

import contextlib
import json
import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from thrive_learning._json_text import compact
from thrive_learning._settings.secret_sources import SecretFile, exposure_of, secret_from
from thrive_learning.cli.exit_codes import ExitCode
from thrive_learning.cli.options import SECONDS, address_options, listening_on, output_option
from thrive_learning.cli.rendering import as_fields, as_json, as_json_text
from thrive_learning.cli.suggestions import Choice, Group
from thrive_learning.cli.terminal import chosen_output, complain, heading, page_width, say, styled, write
from thrive_learning.cli.webhook_sender import post, require_url
from thrive_learning.credentials import Secret
from thrive_learning.errors import ConfigurationError
from thrive_learning.sandbox.webhooks import EVENT_TYPES, delivery

if TYPE_CHECKING:
    from thrive_learning.cli.webhook_receiver import Received

_VARIABLE = "THRIVE_WEBHOOK_SECRET"
#: How long the platform waits for a response, in seconds.
_LIMIT_S = 30.0
#: The statuses that reject a delivery without a valid signature. FastAPI's for a missing header is 422.
_REJECTIONS = {400, 401, 403, 422}

_WEBHOOK = """\b
Examples:
  thrive webhook send http://127.0.0.1:8000/webhooks --secret-file secret.txt
  thrive webhook listen --secret-file secret.txt --port 8000

The secret is the one agreed with the vendor for the subscription. Pass it with
--secret-file or THRIVE_WEBHOOK_SECRET. Use --secret only for made-up secrets,
because other users of this machine can see it in the list of processes.
"""

_SEND = """\b
Examples:
  thrive webhook send http://127.0.0.1:8000/webhooks --secret-file secret.txt
  thrive webhook send http://127.0.0.1:8000/webhooks --unsigned

The event is dated now and sent once. Redirects are not followed. The exit code
is 0 only if the receiver responds with 2xx, as the platform requires. With
--unsigned, it is 0 only if the receiver rejects the event with 400, 401, 403, or
422, as it must if it verifies signatures.

\b
Events:
""" + "\n".join(f"  {name}" for name in EVENT_TYPES)

_LISTEN = """\b
Examples:
  thrive webhook listen --secret-file secret.txt --port 8000
  thrive webhook listen --secret-file new.txt --secret-file old.txt -o ndjson

Deliveries with a valid signature get the status 204, all others 400 or another
error. Only the reason is shown for a delivery that was rejected.

Stop the receiver with Ctrl-C (exit code 0).
"""


@click.group(cls=Group, epilog=_WEBHOOK)
def webhook() -> None:
    """Send test webhooks, or receive and verify them."""


_VISIBLE = "Other users of this machine can see it, so use --secret-file for real secrets"


@webhook.command(epilog=_SEND)
@click.argument("url", metavar="URL")
@click.option(
    "--event",
    "event_type",
    type=Choice(EVENT_TYPES),
    metavar="EVENT",
    default="content.completed",
    show_default=True,
    help="Event to send.",
)
@click.option(
    "--secret-file",
    metavar="FILE",
    help="File with the secret.  [default: THRIVE_WEBHOOK_SECRET]",
)
@click.option("--secret", metavar="TEXT", help=f"The secret. {_VISIBLE}.")
@click.option(
    "--unsigned",
    is_flag=True,
    help="Send the event without a signature, to check that the receiver rejects it.",
)
@click.option(
    "--timeout",
    "limit_s",
    type=SECONDS,
    default=_LIMIT_S,
    metavar="SECONDS",
    help=f"Time limit for the response.  [default: {_LIMIT_S:g}, as on the platform]",
)
@output_option("table", "json")
def send(  # noqa: PLR0913 - its options
    url: str,
    *,
    event_type: str,
    secret_file: str | None,
    secret: str | None,
    unsigned: bool,
    limit_s: float,
    output: str | None,
) -> None:
    """Send a made-up event to a receiver."""
    chosen = chosen_output(output)
    require_url(url)
    for name, value in (("--secret-file", secret_file), ("--secret", secret)):
        if unsigned and value is not None:
            raise click.UsageError(f"--unsigned and {name} cannot be used together. Remove one of them.")
    texts, files = ([] if value is None else [value] for value in (secret, secret_file))
    secrets = () if unsigned else tuple(found.reveal() for found in _secrets(texts, files, "--unsigned"))
    headers, body = delivery(event_type, secrets[0] if secrets else None, time.time())
    reply = post(url, headers, body, limit_s)
    is_accepted = 200 <= reply.status_code <= 299  # noqa: PLR2004 - RFC 9110 section 15.3
    fields: dict[str, Any] = {
        "event": event_type,
        "status": reply.status_code,
        "accepted": is_accepted,
        "seconds": round(reply.history[0].elapsed, 3),
        "response": _shown(reply.body, secrets),
    }
    if chosen == "table":
        write(as_fields(fields, sys.stdout.encoding, heading, page_width()))
    else:
        write(as_json(fields, sys.stdout.encoding))
    problem = _problem_with(reply.status_code, is_accepted=is_accepted, unsigned=unsigned)
    if problem is not None:
        complain(problem)
        raise click.exceptions.Exit(ExitCode.UNEXPECTED)


def _problem_with(status: int, *, is_accepted: bool, unsigned: bool) -> str | None:
    """Return what is wrong with the response of a receiver; None if it is as it should be."""
    if unsigned and is_accepted:
        return (
            f"the receiver accepted an unsigned event with {status}, and anyone can send one. Verify the "
            "signature of each delivery"
        )
    if unsigned:
        if status in _REJECTIONS:
            return None
        return (
            f"the receiver responded with {status}, which does not show whether it verifies signatures. "
            "Respond with 400 to deliveries without a valid signature"
        )
    if is_accepted:
        return None
    return (
        f"the receiver responded with {status}, so the platform would resend the event. Check that both use "
        "the same secret, and respond with 2xx to valid deliveries"
    )


@webhook.command(epilog=_LISTEN)
@address_options
@click.option(
    "--secret-file",
    "secret_files",
    multiple=True,
    metavar="FILE",
    help="File with an accepted secret. Repeatable.  [default: THRIVE_WEBHOOK_SECRET]",
)
@click.option(
    "--secret",
    "secret_texts",
    multiple=True,
    metavar="TEXT",
    help=f"An accepted secret. Repeatable. {_VISIBLE}.",
)
@click.option(
    "--max-age",
    "max_age_s",
    type=SECONDS,
    metavar="SECONDS",
    help="Reject events dispatched longer ago than this.",
)
@output_option("table", "ndjson", otherwise="ndjson")
def listen(  # noqa: PLR0913 - its options
    *,
    host: str,
    port: int,
    secret_files: Sequence[str],
    secret_texts: Sequence[str],
    max_age_s: float | None,
    output: str | None,
) -> None:
    """Receive webhooks, and show whether their signatures are valid."""
    from thrive_learning.cli.webhook_receiver import WebhookReceiver  # noqa: PLC0415 - --help needs no server

    show = _as_text if chosen_output(output, "ndjson") == "table" else _as_line
    secrets = _secrets(secret_texts, secret_files)
    with listening_on(host, port):
        receiver = WebhookReceiver(host, port, secrets, max_age_s)
    with receiver, contextlib.suppress(KeyboardInterrupt):
        say(f"listening on {receiver.url} (press Ctrl-C to stop)")
        for received in receiver.deliveries():
            write(show(received))


def _secrets(texts: Sequence[str], files: Sequence[str], otherwise: str = "") -> tuple[Secret, ...]:
    """Return the secrets on the command line or in files, or the one in the environment.

    Raises:
        ConfigurationError: The option, the file, or the variable does not contain a secret.
        click.UsageError: There is no secret, or both options are used.
    """
    if texts and files:
        raise click.UsageError("--secret and --secret-file cannot be used together. Remove one of them.")
    for file in files:
        if exposure := exposure_of(file):
            say(f"warning: {exposure}")
    if files:
        return tuple(Secret(SecretFile(file)).fixed() for file in files)
    if texts:
        return tuple(_secret_of("--secret", text) for text in texts)
    if os.environ.get(_VARIABLE):
        return (_secret_of(_VARIABLE, os.environ[_VARIABLE]),)
    last = f"--secret, or {otherwise}" if otherwise else "or --secret"
    raise click.UsageError(f"A secret is required. Use --secret-file FILE, {_VARIABLE}, {last}.")


def _secret_of(source: str, text: str) -> Secret:
    found = secret_from(text.encode(errors="surrogateescape"))
    if isinstance(found, Secret):
        return found
    raise ConfigurationError(f"{source}: {found}")


def _shown(body: bytes, secrets: tuple[str, ...]) -> str:
    from thrive_learning._exchange.server_text import show  # noqa: PLC0415 - --help needs no answer

    return show(body.decode(errors="replace"), secrets)


def _as_line(received: "Received") -> str:
    """Return a delivery as a line of JSON. The payload is as received, including its numbers."""
    fields: dict[str, Any] = {"received_at": received.at.isoformat(), "verified": received.event is not None}
    if received.event is None:
        error = received.error
        fields |= {"reason": error and error.reason, "problem": str(error)}
        return as_json_text(json.dumps(fields), sys.stdout.encoding, indent=None)
    event = received.event
    fields |= {
        "event_type": event.event_type,
        "deduplication_key": event.deduplication_key,
        "problems": [str(problem) for problem in event.problems],
    }
    payload = compact(received.body.decode().removeprefix("\ufeff"))
    line = f'{json.dumps(fields)[:-1]}, "payload": {payload}}}'
    return as_json_text(line, sys.stdout.encoding, indent=None)


def _as_text(received: "Received") -> str:
    """Return a delivery for people."""
    time_ = f"{received.at.astimezone():%H:%M:%S}"
    if received.event is None:
        verdict = styled("rejected", sys.stdout, fg="red", bold=True)
        return f"{time_}  {verdict}  {received.error}"
    verdict = styled("verified", sys.stdout, fg="green", bold=True)
    problems = [f"{'':10}{problem}" for problem in received.event.problems]
    fields: dict[str, object] = received.event.payload
    table = as_fields(fields, sys.stdout.encoding, heading, page_width())
    return "\n".join([f"{time_}  {verdict}", *problems, table])
