"""`thrive config init`: asks for settings, checks them, and saves them as a profile."""

import hashlib
import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from thrive_learning._settings.layers import VARIABLES, Given, Layer
from thrive_learning._settings.profiles import ProfileFile, load_profiles
from thrive_learning._settings.resolution import resolve_layers
from thrive_learning._settings.secret_sources import secret_from
from thrive_learning.cli.commands.check import show_report
from thrive_learning.cli.commands.config_editing import Changes, change_profile, check_value
from thrive_learning.cli.exit_codes import ExitCode
from thrive_learning.cli.options import Target
from thrive_learning.cli.suggestions import Choice
from thrive_learning.cli.terminal import complain, say
from thrive_learning.credentials import Secret
from thrive_learning.errors import ConfigurationError
from thrive_learning.regions import Region

_CUSTOM = "custom"
#: The kinds of credentials, each with the key of its secret.
_SECRET_OF = {"oauth": "client_secret", "basic": "api_secret"}


#: The user's answers so far, by key of a profile. The secret is a `Secret`, so no repr shows it.
_Answers = dict[str, str | Secret]


def initialize(path: Path, profile: str) -> None:
    """Ask for settings, check them, and save them as a profile of the config file, which need not exist.

    Raises:
        click.UsageError: There is no terminal, or the user keeps the existing profile.
        click.Abort: The user pressed Ctrl-C. Nothing was saved.
        ConfigurationError: The file cannot be read or written, or the profile has changed meanwhile.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise click.UsageError(
            "thrive config init needs a terminal to ask questions. Run it in a terminal, or use "
            "'thrive config set'."
        )
    for name in ("filelock", "tomlkit"):  # a missing package must be reported before the questions
        importlib.import_module(name)
    file = load_profiles(path)
    if file.is_unreadable:
        raise ConfigurationError(f"{file.absence}. Set THRIVE_CONFIG_FILE to another path")
    seen = _digest(file, profile)
    if seen and not click.confirm(f"Profile {profile!r} already exists in {path}. Replace it?", err=True):
        raise click.UsageError(f"Profile {profile!r} was not replaced. Use --profile to create another one.")
    answers = _ask()
    code = _check(answers)
    if code and not click.confirm("Save the profile anyway?", err=True):
        say("the profile was not saved")
        raise click.exceptions.Exit(code)

    def decide(now: ProfileFile) -> Changes:
        if _digest(now, profile) != seen:
            raise ConfigurationError(
                f"profile {profile!r} of {path} has changed in the meantime, and was not replaced. "
                "Run the command again"
            )
        return {**dict.fromkeys(now.tables.get(profile, {})), **answers}  # all other keys are removed

    change_profile(path, profile, decide)
    say(f"saved profile {profile!r} to {path}")
    _warn_of_overrides()
    if code:
        raise click.exceptions.Exit(code)


def _digest(file: ProfileFile, profile: str) -> str:
    """Return a digest that shows whether a profile has changed; empty if the profile does not exist.

    The profile itself may contain a secret, and no frame that raises may hold one.
    """
    table = file.tables.get(profile)
    return "" if table is None else hashlib.sha256(repr(table).encode(errors="surrogatepass")).hexdigest()


def _ask() -> _Answers:
    """Ask for all settings that a client needs."""
    answers: _Answers = {}
    names = [*(region.name for region in Region.VENDOR), _CUSTOM]
    region = _choice("Region", names, Region.PRODUCTION.name)
    if region == _CUSTOM:
        _ask_for_urls(answers)
    else:
        answers["region"] = region
    kind = _choice("Credentials", [*_SECRET_OF], "oauth")
    tenant_id = answers["tenant_id"] = _value("tenant_id", "Tenant ID")
    if kind == "oauth":
        client_id = _value("client_id", "Client ID (the tenant ID unless you were given another)", tenant_id)
        if client_id != tenant_id:
            answers["client_id"] = client_id
    answers[_SECRET_OF[kind]] = _secret(_SECRET_OF[kind])
    return answers


def _ask_for_urls(answers: _Answers) -> None:
    answers["api_url"] = _value("api_url", "URL of the API, such as https://gateway.example/rest/v1")
    token_url = answers["token_url"] = _value(
        "token_url", "URL of the token endpoint, with {tenant_id} for the tenant ID"
    )
    answers["webhooks_token_url"] = _value(
        "webhooks_token_url", "URL of the token endpoint for webhooks", token_url
    )
    # Checked with the URLs, so that the name of one of the vendor's regions is rejected.
    answers["region"] = _value("region", "Name of the region", _CUSTOM, answers)


def _choice(question: str, names: Sequence[str], default: str) -> str:
    return str(click.prompt(question, type=Choice(names, case_sensitive=False), default=default, err=True))


def _value(key: str, question: str, default: str | None = None, others: Mapping[str, Any] = {}) -> str:
    """Ask for a value until it is valid for its key."""
    while True:
        answer = str(click.prompt(question, default=default, err=True)).strip()
        try:
            check_value(key, answer, others)
        except ConfigurationError as error:
            complain(str(error))
        else:
            return answer


def _secret(key: str) -> Secret:
    """Ask for a secret, without showing it, until it is valid."""
    while True:
        typed: str = click.prompt(f"{key} (not shown)", hide_input=True, err=True)
        found = secret_from(typed.encode(errors="surrogateescape"))
        del typed
        if isinstance(found, Secret):
            return found
        complain(f"{key}: {found}")


def _check(answers: _Answers) -> ExitCode:
    """Check the settings as `thrive check` does, and print the report."""
    settings = resolve_layers([Layer({key: Given(value, "your answers") for key, value in answers.items()})])
    say(f"checking the settings in region {settings.region.name}")
    target = Target(
        region=None, profile=None, sandbox=False, engine=None, rate_limit=None, timeout_s=None, verbose=False
    )
    with target.client(settings) as client:
        return show_report(None, client.check(), (), "table")


def _warn_of_overrides() -> None:
    """Warn of environment variables that override the new profile."""
    names = [name for name in VARIABLES.values() if os.environ.get(name)]
    if names:
        verb = "overrides" if len(names) == 1 else "override"
        say(f"warning: {', '.join(names)} in the environment {verb} the profile")
