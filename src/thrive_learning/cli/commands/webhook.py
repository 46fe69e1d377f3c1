"""`thrive webhook`: tries a receiver of webhooks, or is one."""

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
from thrive_learning.cli.options import Seconds, Whole, output_option
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
#: How long the platform waits for an answer, in seconds.
_LIMIT_S = 30.0

_WEBHOOK = """\b
Examples:
  thrive webhook send http://127.0.0.1:8000/webhooks --secret-file secret.txt
  thrive webhook listen --secret-file secret.txt --port 8000

The secret is the one that was agreed with the vendor for the subscription. It
comes from --secret-file or --secret, or else from THRIVE_WEBHOOK_SECRET. Other
users of this machine can see --secret in the list of processes, so use it only
with a secret that is made up for a test.
"""

_SEND = """\b
Examples:
  thrive webhook send http://127.0.0.1:8000/webhooks --secret-file secret.txt
  thrive webhook send http://127.0.0.1:8000/webhooks --unsigned

The event is made up, and its date is now. It is sent once. Redirects are not
followed. The exit code is 0 only if the receiver answers 2xx, as the platform
expects it to.

\b
Events:
""" + "\n".join(f"  {name}" for name in EVENT_TYPES)

_LISTEN = """\b
Examples:
  thrive webhook listen --secret-file secret.txt --port 8000
  thrive webhook listen --secret-file new.txt --secret-file old.txt -o ndjson

It answers 204 to deliveries whose signature it has verified, and 400 to all
others. A terminal shows each of them; programs get a line of JSON each. Of a
delivery that is not verified, only the reason is shown.

Ctrl-C ends it, with exit code 0.
"""


@click.group(cls=Group, epilog=_WEBHOOK)
def webhook() -> None:
    """Webhooks: try a receiver, or see what arrives."""


_VISIBLE = (
    "Other users of this machine can see it in the list of processes, unlike --secret-file and " + _VARIABLE
)


@webhook.command(epilog=_SEND)
@click.argument("url", metavar="URL")
@click.option(
    "--event",
    "event_type",
    type=Choice(EVENT_TYPES),
    metavar="EVENT",
    default="content.completed",
    show_default=True,
    help="Send this event.",
)
@click.option(
    "--secret-file",
    metavar="FILE",
    help="Sign it with the secret in this file.  [default: THRIVE_WEBHOOK_SECRET]",
)
@click.option("--secret", metavar="TEXT", help=f"Sign it with this secret. {_VISIBLE}.")
@click.option("--unsigned", is_flag=True, help="Do not sign it.")
@click.option(
    "--timeout",
    "limit_s",
    type=Seconds(),
    default=_LIMIT_S,
    metavar="SECONDS",
    help=f"Wait so long for the answer.  [default: {_LIMIT_S:g}, as the platform does]",
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
    """Post a made-up event to a receiver."""
    chosen = chosen_output(output)
    require_url(url)
    for name, value in (("--secret-file", secret_file), ("--secret", secret)):
        if unsigned and value is not None:
            raise click.UsageError(f"--unsigned and {name} exclude each other.")
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
        "answer": _shown(reply.body, secrets),
    }
    if chosen == "table":
        write(as_fields(fields, sys.stdout.encoding, heading, page_width()))
    else:
        write(as_json(fields, sys.stdout.encoding))
    if not is_accepted:
        complain(
            f"the receiver answered {reply.status_code}, so the platform would send the event again. "
            "Let it answer 2xx to a genuine delivery"
        )
        raise click.exceptions.Exit(ExitCode.UNEXPECTED)


@webhook.command(epilog=_LISTEN)
@click.option("--host", default="127.0.0.1", show_default=True, help="Listen on this name or address.")
@click.option(
    "--port",
    type=Whole(0, 65535),
    default=0,
    metavar="PORT",
    help="Listen on this port.  [default: a free one]",
)
@click.option(
    "--secret-file",
    "secret_files",
    multiple=True,
    metavar="FILE",
    help="Accept what is signed with the secret in this file; repeatable.  [default: THRIVE_WEBHOOK_SECRET]",
)
@click.option(
    "--secret",
    "secret_texts",
    multiple=True,
    metavar="TEXT",
    help=f"Accept what is signed with this secret; repeatable. {_VISIBLE}.",
)
@click.option(
    "--max-age",
    "max_age_s",
    type=Seconds(),
    metavar="SECONDS",
    help="Reject events that were dispatched longer ago.",
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
    """Show the webhooks that arrive, and whether they are genuine."""
    from thrive_learning.cli.webhook_receiver import WebhookReceiver  # noqa: PLC0415 - --help needs no server

    show = _as_text if chosen_output(output, "ndjson") == "table" else _as_line
    secrets = _secrets(secret_texts, secret_files)
    problem = ""
    try:
        receiver = WebhookReceiver(host, port, secrets, max_age_s)
    except OSError as error:
        problem = f"cannot listen on {host}, port {port}: {error.strerror}. Choose another --host or --port"
    else:
        with receiver, contextlib.suppress(KeyboardInterrupt):
            say(f"listening on {receiver.url}, Ctrl-C ends it")
            for received in receiver.deliveries():
                write(show(received))
        return
    raise ConfigurationError(problem)


def _secrets(texts: Sequence[str], files: Sequence[str], otherwise: str = "") -> tuple[Secret, ...]:
    """Return the secrets of the command line or in files, or else that of the environment.

    Raises:
        ConfigurationError: The option, the file, or the variable does not hold a secret.
        click.UsageError: There is no secret, or there are two sources.
    """
    if texts and files:
        raise click.UsageError("--secret and --secret-file exclude each other.")
    for file in files:
        if exposure := exposure_of(file):
            say(f"warning: {exposure}")
    if files:
        return tuple(Secret(SecretFile(file)).fixed() for file in files)
    if texts:
        return tuple(_secret_of("--secret", text) for text in texts)
    if os.environ.get(_VARIABLE):
        return (_secret_of(_VARIABLE, os.environ[_VARIABLE]),)
    advice = f", or add {otherwise}" if otherwise else ""
    raise click.UsageError(
        f"There is no secret. Use --secret-file FILE, set {_VARIABLE}, or use --secret{advice}."
    )


def _secret_of(source: str, text: str) -> Secret:
    found = secret_from(text.encode(errors="surrogateescape"))
    if isinstance(found, Secret):
        return found
    raise ConfigurationError(f"{source}: {found}")


def _shown(body: bytes, secrets: tuple[str, ...]) -> str:
    from thrive_learning._exchange.server_text import show  # noqa: PLC0415 - --help needs no answer

    return show(body.decode(errors="replace"), secrets)


def _as_line(received: "Received") -> str:
    """Return a delivery as a line of JSON. The payload is as received, numbers included."""
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
