"""`thrive sandbox`: the sandbox as a server, and the variables that another terminal needs to use it."""

import contextlib
import functools
import importlib
import sys
from collections.abc import Callable, Sequence
from typing import IO, TYPE_CHECKING, TypeVar

import click

from thrive_learning.cli.commands.completion import complete_faults
from thrive_learning.cli.options import address_options, listening_on, whole
from thrive_learning.cli.shells import remove_variables, set_variable
from thrive_learning.cli.terminal import to_stderr
from thrive_learning.errors import ConfigurationError

if TYPE_CHECKING:
    from thrive_learning.credentials import ClientAuth
    from thrive_learning.sandbox import (
        FaultySandbox,
        RecordArrivals,
        Sandbox,
        SandboxRateLimit,
        SandboxReply,
        SandboxRequest,
    )
    from thrive_learning.sandbox.deliveries import Deliveries
    from thrive_learning.sandbox.rate_limit import RateLimitHeaders

T = TypeVar("T")

_IDS_TO_TRY = 5
_OAUTH_VARIABLES = ("THRIVE_CLIENT_ID", "THRIVE_CLIENT_SECRET", "THRIVE_SCOPES")

_EPILOG = """\b
Examples:
  thrive sandbox
  thrive sandbox --port 8000 --records activities.ndjson
  thrive sandbox --fault 429:3 --fault slow:2s
  thrive sandbox --generate 100000 --arrivals 5 --late-arrivals 1
  thrive sandbox --rate-limit 50
  thrive sandbox --arrivals 20 --webhook-url http://127.0.0.1:9000/
  curl -H 'Prefer: fault=503' http://127.0.0.1:8000/rest/v1/activity/ID

\b
Faults, for --fault and the request header Prefer: fault=...
  400 to 599      an error with this status; a duration sets its Retry-After
  throttle        429 with Retry-After: 1, or the duration
  slow            the normal response, delayed by 1s, or by the duration
  cut             the connection closes in the middle of the body
  html            502 with an HTML page, as from a proxy
  expired-token   401, because the access token has expired
  revoked-token   401, because the access token was revoked
  wrong-scope     403, because of the access token's scopes
  clock-skew      the server's clock is 5m ahead, or off by a duration
With --fault, append :3 to affect only the next three requests, or :token to
affect the token endpoints instead of the API. Append a duration as :500ms,
:2s, :5m, or :1h.

Stop the server with Ctrl-C (exit code 0).
"""


@click.command(epilog=_EPILOG)
@address_options
@click.option(
    "--allow-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="Also accept this host name in requests, such as that of a container. Repeatable.",
)
@click.option(
    "--records",
    "files",
    type=click.File("rb"),
    multiple=True,
    metavar="FILE",
    help="Also serve the records in this file, one JSON object per line; - for stdin. Repeatable.",
)
@click.option(
    "--generate",
    "generated",
    type=whole(1, 9_999_999_999),
    metavar="N",
    help="Serve this many generated records, dated July 2025 to June 2026, instead of the examples.",
)
@click.option(
    "--arrivals",
    type=whole(0),
    default=0,
    metavar="N",
    help="Add this many new records, dated now, after each list request.",
)
@click.option(
    "--late-arrivals",
    type=whole(0),
    default=0,
    metavar="N",
    help="Also add this many new records dated July 2025 to June 2026.",
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="FAULT",
    shell_complete=complete_faults,
    help="Make requests fail (see below). Repeatable.",
)
@click.option(
    "--rate-limit",
    metavar="RATE[:BURST]",
    help="Respond with 429 above this many API requests per second, such as 50, or 50:10 with a burst.",
)
@click.option(
    "--rate-limit-headers",
    type=click.Choice(["ietf", "x", "none"]),
    help="Describe the rate limit in RateLimit (ietf) or X-RateLimit-... (x) headers.  [default: ietf]",
)
@click.option(
    "--webhook-url",
    metavar="URL",
    help="Send a webhook to this URL for each new record of type completed or passed.",
)
@click.option(
    "--webhook-secret",
    metavar="SECRET",
    help="Sign webhooks with this secret.  [default: a public one]",
)
@click.option(
    "--token-lifetime",
    type=whole(1),
    default=3600,
    show_default=True,
    metavar="SECONDS",
    help="Lifetime of access tokens.",
)
@click.option(
    "--client-auth",
    type=click.Choice(["auto", "post", "basic"]),
    default="auto",
    show_default=True,
    help="How clients authenticate for tokens: form fields (post), HTTP Basic (basic), or either (auto).",
)
def sandbox(  # noqa: PLR0913 - its options
    *,
    host: str,
    port: int,
    allowed_hosts: Sequence[str],
    files: Sequence[IO[bytes]],
    generated: int | None,
    arrivals: int,
    late_arrivals: int,
    faults: Sequence[str],
    rate_limit: str | None,
    rate_limit_headers: "RateLimitHeaders | None",
    webhook_url: str | None,
    webhook_secret: str | None,
    token_lifetime: int,
    client_auth: "ClientAuth",
) -> None:
    """Run a fake API with made-up records and public credentials.

    It prints the settings to paste into another terminal, and logs each request to stderr. Open / in a
    browser to try the API. The contract is at /openapi.yaml.
    """
    _require_extra()
    from thrive_learning.sandbox import FaultScript, FaultySandbox, RecordArrivals, server  # noqa: PLC0415 - an extra

    core = _core(files, generated or 0, token_lifetime, client_auth)
    limit = _limit(rate_limit, rate_limit_headers)
    script = _checked("--fault", lambda: FaultScript(faults))
    served = FaultySandbox(core, script, RecordArrivals(arrivals, late_arrivals), limit)
    if not (arrivals or late_arrivals) and (webhook_url or webhook_secret):
        raise click.UsageError(
            "Webhooks are sent only for new records. Add --arrivals, such as --arrivals 5."
        )
    deliveries = deliveries_to(webhook_url, webhook_secret)
    app = server.SandboxApp(served, on_reply=functools.partial(_report, deliveries=deliveries))
    with listening_on(host, port):
        listening = server.SandboxServer(app, host=host, port=port, allowed_hosts=allowed_hosts)
    with contextlib.suppress(KeyboardInterrupt):  # which may come before the server handles it
        sys.stdout.write(welcome(listening.url, served))
        sys.stdout.flush()
        listening.run()


def _require_extra() -> None:
    try:
        importlib.import_module("thrive_learning.sandbox.server")
    except ImportError as error:
        problem = (
            f"thrive sandbox needs the extra 'sandbox' ({error.name} is not installed). "
            "Install it with: python3 -m pip install 'thrive-learning[sandbox]'"
        )
    else:
        return
    raise ConfigurationError(problem)


def welcome(url: str, served: "FaultySandbox", platform: str = sys.platform) -> str:
    """Return the start-up text: where the server is, and what to paste into another terminal.

    Args:
        url: The URL of the server, without a slash at its end.
        served: Its sandbox.
        platform: The platform as in `sys.platform`, which decides on the shell.
    """
    from thrive_learning.sandbox import server  # noqa: PLC0415 - an extra

    core = served.sandbox
    variables = server.client_variables(url, core).items()
    settings = "\n".join(set_variable(name, value, platform) for name, value in variables)
    examples = "\n".join(
        f"thrive activity get {activity_id}" for activity_id, _ in core.collection.some(_IDS_TO_TRY)
    )
    faults = "".join(f"Fault: {fault}\n" for fault in served.script)
    limit = f"Rate limit: {served.rate_limit}\n" if served.rate_limit is not None else ""
    arrivals = _described(served.arrivals)
    return f"""\
The sandbox is running at {url}
It is a fake API that never contacts Thrive, and its credentials are public.
Open it in a browser, or paste this into another terminal to use OAuth:

{settings}
{remove_variables(["THRIVE_API_SECRET"], platform)}

To use HTTP Basic instead, also paste this:

{remove_variables(_OAUTH_VARIABLES, platform)}
{set_variable("THRIVE_API_SECRET", core.api_secret, platform)}

Then try:

thrive activity list
{examples}

{faults}{limit}{arrivals}Press Ctrl-C to stop.
"""


def _described(arrivals: "RecordArrivals") -> str:
    on_time, late = arrivals.after_each_list, arrivals.late_after_each_list
    if not (on_time or late):
        return ""
    return f"New records after each list request: {on_time} dated now, {late} with an earlier date\n"


def _checked(option: str, make: Callable[[], T]) -> T:
    """Return what a function makes of the values of an option.

    Raises:
        click.BadParameter: A value is not valid.
    """
    try:
        return make()
    except ValueError as error:
        problem = str(error)
    raise click.BadParameter(problem, param_hint=option)


def _limit(text: str | None, headers: "RateLimitHeaders | None") -> "SandboxRateLimit | None":
    from thrive_learning.sandbox import SandboxRateLimit  # noqa: PLC0415 - --help needs no sandbox

    if text is None:
        if headers is None:
            return None
        raise click.UsageError("--rate-limit-headers needs --rate-limit. Add --rate-limit, such as 50.")
    return _checked("--rate-limit", lambda: SandboxRateLimit.parse(text, headers or "ietf"))


def _core(
    files: Sequence[IO[bytes]], generated: int, token_lifetime_s: int, client_auth: "ClientAuth"
) -> "Sandbox":
    from thrive_learning.sandbox import Sandbox  # noqa: PLC0415 - --help needs no sandbox
    from thrive_learning.sandbox.records import records_from_ndjson, seeded_records  # noqa: PLC0415

    loaded: dict[str, dict[str, object]] = {}
    for file in files:
        loaded |= _checked("--records", functools.partial(records_from_ndjson, file, file.name))
    # The user's records come first, because the start-up text shows the first ones.
    examples = {} if generated else seeded_records()
    return Sandbox(
        records={**loaded, **examples, **loaded},
        generated=generated,
        token_lifetime_s=token_lifetime_s,
        client_auth=client_auth,
    )


def deliveries_to(url: str | None, secret: str | None) -> "Deliveries | None":
    """Return the sender of webhooks for new records; None without a URL.

    Args:
        url: The receiver.
        secret: The secret that signs the webhooks; None for a public one.

    Raises:
        click.UsageError: The URL is not valid, or there is a secret without a URL.
    """
    from thrive_learning.sandbox.deliveries import Deliveries  # noqa: PLC0415 - --help needs no sandbox
    from thrive_learning.sandbox.webhooks import WEBHOOK_SECRET  # noqa: PLC0415

    if url is None:
        if secret is None:
            return None
        raise click.UsageError(
            "--webhook-secret needs --webhook-url. Add --webhook-url, or remove --webhook-secret."
        )
    shown = url.partition("?")[0]  # the query may hold a secret

    def report(event_type: str, outcome: str) -> None:
        to_stderr(f"POST {shown} {event_type} {outcome}")

    return _checked("--webhook-url", lambda: Deliveries(url, secret or WEBHOOK_SECRET, on_delivery=report))


def _report(
    request: "SandboxRequest", reply: "SandboxReply", *, deliveries: "Deliveries | None" = None
) -> None:
    fault = f"  fault: {reply.fault}" if reply.fault is not None else ""
    limit = "  rate limit" if reply.is_over_limit else ""
    to_stderr(f"{request.method} {request.target} {reply.response.status}{fault}{limit}")
    if deliveries is not None:
        deliveries.announce(reply.arrived)
