"""What several commands take, and the client that it makes."""

import contextlib
import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from thrive_learning._settings.engine_names import DEFAULT_ENGINE, ENGINES
from thrive_learning.cli.suggestions import Choice
from thrive_learning.cli.terminal import say
from thrive_learning.errors import Attempt
from thrive_learning.policies import Timeout
from thrive_learning.regions import Region

if TYPE_CHECKING:
    from thrive_learning._settings.resolution import Settings
    from thrive_learning.client import ThriveClient

#: The vendor's regions.
REGIONS = Region.VENDOR


#: The advice to a user who has no credentials yet.
_FIRST_STEPS = (
    "Run 'thrive config init' to set them, or add --sandbox to try the command on fake records without any"
)


class Seconds(click.FloatRange):
    """A time limit: more than nothing, and not endless."""

    def __init__(self) -> None:
        super().__init__(min=0, min_open=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number of seconds.

        Raises:
            click.BadParameter: It is not one.
        """
        with contextlib.suppress(click.BadParameter):  # click's own message shows the bounds as `x>0`
            seconds = super().convert(value, param, ctx)
            if math.isfinite(seconds):
                return seconds
        return self.fail(f"{value!r} is not a number of seconds greater than 0.", param, ctx)


class Whole(click.IntRange):
    """A whole number between bounds."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number.

        Raises:
            click.BadParameter: It is not one, or is out of bounds.
        """
        with contextlib.suppress(click.BadParameter):
            return super().convert(value, param, ctx)
        bounds = f"of at least {self.min}" if self.max is None else f"from {self.min} to {self.max}"
        return self.fail(f"{value!r} is not a whole number {bounds}.", param, ctx)


class Target(NamedTuple):
    """Where a command sends its requests, and how.

    Attributes:
        region: The region's name; None leaves it to the settings.
        profile: The profile's name; None leaves it to THRIVE_PROFILE.
        sandbox: Whether it is the embedded sandbox.
        engine: The engine's name; None leaves it to the settings.
        timeout_s: The time limit of a call; None for the client's own.
        verbose: Whether to tell of settings and attempts.
    """

    region: str | None
    profile: str | None
    sandbox: bool
    engine: str | None
    timeout_s: float | None
    verbose: bool

    def settings(self) -> "Settings":
        """Resolve the settings."""
        from thrive_learning._settings.resolution import settings  # noqa: PLC0415 - neither --help nor --version needs it

        return settings(
            profile=self.profile,
            region=self.region,
            engine=self.engine,
            said_by="--",
            first_steps=_FIRST_STEPS,
        )

    def client(self, settings: "Settings | None" = None) -> "ThriveClient":
        """Create the client."""
        from thrive_learning.client import ThriveClient  # noqa: PLC0415 - see above

        on_attempt = _tell if self.verbose else None
        timeout = Timeout.of(self.timeout_s, Timeout())
        if self.sandbox:
            return ThriveClient.sandbox(timeout=timeout, on_attempt=on_attempt)
        found = settings or self.settings()
        for warning in () if settings else found.warnings:  # a command that has the settings shows them
            say(f"warning: {warning}")
        if self.verbose:
            for setting in found.origins:
                say(f"{setting.key}: {setting.value} ({setting.source})")
        return ThriveClient(
            found.region, found.credentials, timeout=timeout, on_attempt=on_attempt, engine=found.engine
        )


def _tell(attempt: Attempt) -> None:
    came_to = attempt.error or f"status {attempt.status_code}"
    request_id = f", request id {attempt.request_id}" if attempt.request_id else ""
    pause = f"; again in {attempt.delay:.1f} s" if attempt.delay is not None else ""
    say(f"attempt {attempt.number}: {came_to} after {attempt.elapsed:.3f} s{request_id}{pause}")


def _profiles(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the profiles that a shell may complete a name to."""
    from thrive_learning._settings.profiles import config_file, load_profiles  # noqa: PLC0415 - for shells alone
    from thrive_learning.errors import ThriveError  # noqa: PLC0415 - for shells alone

    try:
        names = load_profiles(config_file()).tables
    except ThriveError:  # a shell that completes has no place for messages
        return []
    return [name for name in names if name.startswith(incomplete)]


Command = Callable[..., None]

profile_option: Callable[[Command], Command] = click.option(
    "--profile",
    metavar="NAME",
    shell_complete=_profiles,
    help="Use this profile.  [default: THRIVE_PROFILE, or default]",
)


def output_option(*formats: str, otherwise: str = "json") -> Callable[[Command], Command]:
    """Add the option that chooses how to print."""
    return click.option(
        "-o",
        "--output",
        type=Choice(formats),
        help=f"How to print it.  [default: table on a terminal, else {otherwise}]",
    )


def talks_to_the_api(command: Command) -> Command:
    """Add the options of every command that talks to the API; they arrive as one `Target`, in front."""

    @click.option("--sandbox", is_flag=True, help="Ask the embedded sandbox: no network, no credentials.")
    @click.option(
        "--region",
        type=Choice([region.name for region in REGIONS], case_sensitive=False),
        help=f"Ask this region.  [default: THRIVE_REGION, the profile's, or {Region.PRODUCTION}]",
    )
    @profile_option
    @click.option(
        "--engine",
        type=Choice(ENGINES),
        help=f"Send requests with this engine.  [default: THRIVE_ENGINE, the profile's, or {DEFAULT_ENGINE}]",
    )
    @click.option(
        "--timeout",
        "timeout_s",
        type=Seconds(),
        metavar="SECONDS",
        help=f"Give up a call after this long in total.  [default: {Timeout().total:g}]",
    )
    @click.option("-v", "--verbose", is_flag=True, help="Log settings, attempts, and request IDs to stderr.")
    @functools.wraps(command)
    def with_target(**given: Any) -> None:
        target = Target(**{name: given.pop(name) for name in Target._fields})
        for name in ("region", "profile", "engine"):
            if target.sandbox and getattr(target, name) is not None:
                raise click.UsageError(
                    f"--sandbox and --{name} exclude each other: the sandbox has settings of its own."
                )
        command(target, **given)

    return with_target
