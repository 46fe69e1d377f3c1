"""Options that several commands share, and the client that they configure."""

import contextlib
import functools
import math
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from thrive_learning._exchange.body import DEFAULT_PAGE_BYTES, DEFAULT_RECORD_BYTES
from thrive_learning._settings.engine_names import DEFAULT_ENGINE, ENGINES
from thrive_learning.cli.suggestions import Choice
from thrive_learning.cli.terminal import say
from thrive_learning.errors import Attempt, ConfigurationError
from thrive_learning.policies import Timeout
from thrive_learning.rate_limits import RateLimit
from thrive_learning.regions import Region

if TYPE_CHECKING:
    from thrive_learning._settings.resolution import Settings
    from thrive_learning.client import ThriveClient

#: The advice to a user who has no credentials yet.
_FIRST_STEPS = "Run 'thrive config init' to set them, or add --sandbox to try the command without credentials"

_MIB = 1024 * 1024


class Parsed(click.ParamType[Any]):
    """A type of values that a function parses.

    Args:
        name: The name of the type.
        parse: Returns the value of a text or of a default. Its ValueError is the message for the user.
    """

    def __init__(self, name: str, parse: Callable[[Any], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the value of a text or of a default.

        Raises:
            click.BadParameter: The text is not valid.
        """
        try:
            return self._parse(value)
        except ValueError as error:
            problem = str(error)
        return self.fail(problem, param, ctx)


def _seconds(value: Any) -> float:
    with contextlib.suppress(ValueError):
        seconds = float(value)
        if 0 < seconds < math.inf:
            return seconds
    raise ValueError(f"{value!r} is not a number of seconds greater than 0.")


#: A finite number of seconds greater than 0.
SECONDS = Parsed("seconds", _seconds)


def whole(lowest: int, highest: int | None = None) -> Parsed:
    """Return the type of whole numbers between bounds.

    Unlike `click.IntRange`, it does not add its bounds to the help as `1<=x<=9`.

    Args:
        lowest: The lowest number.
        highest: The highest number; None for no limit.
    """
    bounds = f"of at least {lowest}" if highest is None else f"from {lowest} to {highest}"

    def parse(value: Any) -> int:
        with contextlib.suppress(ValueError):
            number = int(value)
            if lowest <= number and (highest is None or number <= highest):
                return number
        raise ValueError(f"{value!r} is not a whole number {bounds}.")

    return Parsed("number", parse)


def _rate(value: Any) -> str:
    RateLimit.parse(value)
    return str(value)  # as settings have it


class Target(NamedTuple):
    """Where a command sends its requests, and how.

    Attributes:
        region: The region's name; None leaves it to the settings.
        profile: The profile's name; None leaves it to THRIVE_PROFILE.
        sandbox: Whether to use the embedded sandbox.
        engine: The engine's name; None leaves it to the settings.
        rate_limit: The rate limit as text; None leaves it to the settings.
        timeout_s: The time limit of a call; None for the client's own.
        verbose: Whether to log settings and attempts.
        max_body_mib: The size limit of a response's body in MiB; None for the client's own limits.
    """

    region: str | None
    profile: str | None
    sandbox: bool
    engine: str | None
    rate_limit: str | None
    timeout_s: float | None
    verbose: bool
    max_body_mib: int | None = None

    def settings(self) -> "Settings":
        """Resolve the settings."""
        from thrive_learning._settings.resolution import settings  # noqa: PLC0415 - neither --help nor --version needs it

        return settings(
            profile=self.profile,
            region=self.region,
            engine=self.engine,
            rate_limit=self.rate_limit,
            said_by="--",
            first_steps=_FIRST_STEPS,
        )

    def client(self, settings: "Settings | None" = None) -> "ThriveClient":
        """Create the client."""
        from thrive_learning.client import ThriveClient  # noqa: PLC0415 - see above

        on_attempt = _log_attempt if self.verbose else None
        timeout = Timeout.of(self.timeout_s, Timeout())
        record_bytes, page_bytes = DEFAULT_RECORD_BYTES, DEFAULT_PAGE_BYTES
        if self.max_body_mib is not None:
            record_bytes = page_bytes = self.max_body_mib * _MIB
        if self.sandbox:
            limit = None if self.rate_limit is None else RateLimit.parse(self.rate_limit)
            return ThriveClient.sandbox(
                timeout=timeout,
                on_attempt=on_attempt,
                rate_limit=limit,
                max_record_bytes=record_bytes,
                max_page_bytes=page_bytes,
            )
        found = settings or self.settings()
        for warning in () if settings else found.warnings:  # a command that has the settings shows them
            say(f"warning: {warning}")
        if self.verbose:
            for setting in found.origins:
                say(f"{setting.key}: {setting.value} ({setting.source})")
        return ThriveClient(
            found.region,
            found.credentials,
            timeout=timeout,
            on_attempt=on_attempt,
            engine=found.engine,
            rate_limit=found.rate_limit,
            max_record_bytes=record_bytes,
            max_page_bytes=page_bytes,
        )


def _log_attempt(attempt: Attempt) -> None:
    outcome = attempt.error or f"status {attempt.status_code}"
    request_id = f", request ID {attempt.request_id}" if attempt.request_id else ""
    pause = f"; retrying in {attempt.delay:.1f} s" if attempt.delay is not None else ""
    waited = f"waited {attempt.waited:.3f} s for the rate limit; " if attempt.waited else ""
    say(f"attempt {attempt.number}: {waited}{outcome} after {attempt.elapsed:.3f} s{request_id}{pause}")


def _profiles(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of profiles that complete a word."""
    from thrive_learning._settings.profiles import config_file, load_profiles  # noqa: PLC0415 - for shells alone
    from thrive_learning.errors import ThriveError  # noqa: PLC0415 - for shells alone

    try:
        names = load_profiles(config_file()).tables
    except ThriveError:  # a message would end up in the middle of the command line
        return []
    return [name for name in names if name.startswith(incomplete)]


Command = Callable[..., None]

profile_option: Callable[[Command], Command] = click.option(
    "--profile",
    metavar="NAME",
    shell_complete=_profiles,
    help="Profile to use.  [default: THRIVE_PROFILE, or default]",
)


def address_options(command: Command) -> Command:
    """Add the options for the address that a server listens on."""
    with_port: Command = click.option(
        "--port",
        type=whole(0, 65535),
        default=0,
        metavar="PORT",
        help="Port to listen on.  [default: a free port]",
    )(command)
    with_both: Command = click.option(
        "--host", default="127.0.0.1", show_default=True, help="Host name or address to listen on."
    )(with_port)
    return with_both


@contextlib.contextmanager
def listening_on(host: str, port: int) -> Generator[None, None, None]:
    """Explain an `OSError` in a block that creates a server.

    Raises:
        ConfigurationError: The server cannot listen on the address.
    """
    try:
        yield
    except OSError as error:
        problem = f"cannot listen on {host}, port {port}: {error.strerror}. Choose another --host or --port"
    else:
        return
    raise ConfigurationError(problem)


def output_option(*formats: str, otherwise: str = "json") -> Callable[[Command], Command]:
    """Add the option that chooses the output format."""
    return click.option(
        "-o",
        "--output",
        type=Choice(formats),
        help=f"Output format.  [default: table on a terminal, else {otherwise}]",
    )


#: The option of commands that read records. It arrives in the `Target`.
max_body_option: Callable[[Command], Command] = click.option(
    "--max-body",
    "max_body_mib",
    type=whole(1),
    metavar="MIB",
    help="Size limit of a response after decompression, in MiB.  [default: 1 for a record, 64 for a page]",
)


def talks_to_the_api(command: Command) -> Command:
    """Add the options of all commands that call the API. They arrive as one `Target`, the first argument."""

    @click.option("--sandbox", is_flag=True, help="Use the embedded sandbox: no network, no credentials.")
    @click.option(
        "--region",
        type=Choice([region.name for region in Region.VENDOR], case_sensitive=False),
        help=f"Region to use.  [default: THRIVE_REGION, the profile's, or {Region.PRODUCTION}]",
    )
    @profile_option
    @click.option(
        "--engine",
        type=Choice(ENGINES),
        help=f"HTTP engine to use.  [default: THRIVE_ENGINE, the profile's, or {DEFAULT_ENGINE}]",
    )
    @click.option(
        "--rate-limit",
        type=Parsed("rate", _rate),
        metavar="N[:BURST]",
        help="Maximum number of requests per second, such as 20, or 20:5 with a burst.  "
        "[default: THRIVE_RATE_LIMIT, the profile's, or no limit]",
    )
    @click.option(
        "--timeout",
        "timeout_s",
        type=SECONDS,
        metavar="SECONDS",
        help=f"Time limit for each call, including retries.  [default: {Timeout().total:g}]",
    )
    @click.option("-v", "--verbose", is_flag=True, help="Log settings, attempts, and request IDs to stderr.")
    @functools.wraps(command)
    def with_target(**given: Any) -> None:
        target = Target(**{name: given.pop(name) for name in Target._fields if name in given})
        for name in ("region", "profile", "engine"):
            if target.sandbox and getattr(target, name) is not None:
                raise click.UsageError(
                    f"--sandbox and --{name} cannot be used together: the sandbox has its own settings. "
                    "Remove one of them."
                )
        command(target, **given)

    return with_target
