"""`thrive config`: the file of profiles."""

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import click

from thrive_learning.cli.completion import complete_keys, complete_value
from thrive_learning.cli.options import output_option, profile_option
from thrive_learning.cli.profile_editing import (
    absolute,
    check_value,
    is_secret,
    known_key,
    with_changes,
    write_private,
)
from thrive_learning.cli.rendering import MASK, as_columns, as_json
from thrive_learning.cli.suggestions import Group
from thrive_learning.cli.terminal import chosen_output, heading, say, width, write
from thrive_learning.credentials import Secret
from thrive_learning.errors import ConfigurationError
from thrive_learning.profiles import DEFAULT_PROFILE, config_file, load_profiles

_CONFIG = """\b
Examples:
  thrive config set region staging
  thrive config set tenant_id eu-west-2_AbcdEfghI
  thrive config set client_id reports
  thrive config set client_secret_command 'pass show thrive'
  thrive config list
  thrive check

Settings come from options, else from environment variables, else from the
profile that --profile or THRIVE_PROFILE names, or `default` if there is one.

\b
Key                  Variable
region               THRIVE_REGION
tenant_id            THRIVE_TENANT_ID
api_secret           THRIVE_API_SECRET             HTTP Basic
api_secret_file      THRIVE_API_SECRET_FILE        a file that holds it
api_secret_command   THRIVE_API_SECRET_COMMAND     a command that prints it
client_id            THRIVE_CLIENT_ID              OAuth
client_secret        THRIVE_CLIENT_SECRET
client_secret_file   THRIVE_CLIENT_SECRET_FILE
client_secret_command
                     THRIVE_CLIENT_SECRET_COMMAND
scopes               THRIVE_SCOPES                 such as 'api/read'
client_auth          THRIVE_CLIENT_AUTH            auto, post, or basic
api_url              THRIVE_API_URL                a region of your own:
token_url            THRIVE_TOKEN_URL              all three, and its name
webhooks_token_url   THRIVE_WEBHOOKS_TOKEN_URL     in region

THRIVE_CONFIG_FILE names another file. A file .env is not read.
"""

_SET = """\b
Examples:
  thrive config set region staging
  thrive config set scopes 'api/read api/write' --profile work
  thrive config set client_secret_file ~/.secrets/thrive
  thrive config set client_secret < secret.txt

A secret is no argument, since other users of the machine could read it there:
leave out the value, and it is asked for on a terminal or else read from stdin.
"""

_GET = """\b
Examples:
  thrive config get region
  thrive config get client_secret --reveal
"""

_LIST = """\b
Examples:
  thrive config list
  thrive config list -o json | jq .default
"""

_UNSET = """\b
Examples:
  thrive config unset client_secret
  thrive config unset region tenant_id --profile work
"""

_PATH = """\b
Example:
  thrive config path
"""


@click.group(cls=Group, epilog=_CONFIG)
def config() -> None:
    """Profiles: settings that are kept in a file."""


@config.command(epilog=_PATH)
def path() -> None:
    """Print where the file of profiles is, whether it exists or not."""
    write(str(_path()))


@config.command("list", epilog=_LIST)
@output_option("table", "json")
def list_profiles(*, output: str | None) -> None:
    """List all profiles; secrets are masked."""
    file = load_profiles(_path())
    shown = {
        profile: {key: _shown(key, value) for key, value in table.items()}
        for profile, table in file.tables.items()
    }
    if chosen_output(output) == "json":
        write(as_json(shown, sys.stdout.encoding))
    elif shown:
        rows = [
            (profile, key, _text(value)) for profile, keys in shown.items() for key, value in keys.items()
        ]
        head = ("PROFILE", "KEY", "VALUE")
        write(as_columns([head, *rows], sys.stdout.encoding, width(), heading))
    else:
        say(f"there are no profiles: {file.absence or f'{file.path} is empty'}")


@config.command("get", epilog=_GET)
@click.argument("key", shell_complete=complete_keys)
@profile_option
@click.option("--reveal", is_flag=True, help="Show a secret itself.")
def get_value(key: str, *, profile: str | None, reveal: bool) -> None:
    """Print the value of a key of a profile."""
    key = known_key(key)
    file, name = load_profiles(_path()), _profile(profile)
    lack = file.lack_of(name)
    if lack is None and key not in file.tables[name]:
        lack = f"the profile {name!r} in {file.path} has no {key}"
    if lack is not None:
        raise ConfigurationError(lack)
    value = file.tables[name][key]
    write(_text(value if reveal else _shown(key, value)))


@config.command("set", epilog=_SET)
@click.argument("key", shell_complete=complete_keys)
@click.argument("value", required=False, shell_complete=complete_value)
@profile_option
def set_value(key: str, value: str | None, *, profile: str | None) -> None:
    """Set a key of a profile; the file is written for you alone (mode 0600)."""
    key, name = known_key(key), _profile(profile)
    if is_secret(key):
        if value is not None:
            raise click.UsageError(
                f"{key} is a secret, and others can read arguments: leave out the value, and it is asked for."
            )
        _change(name, {key: _asked_for(key)})
    elif value is None:
        raise click.UsageError("Missing argument 'VALUE'.")
    else:
        value = absolute(key, value)
        check_value(key, value, load_profiles(_path()).tables.get(name, {}))
        _change(name, {key: value})
    say(f"set {key} of the profile {name!r} in {_path()}")


@config.command("unset", epilog=_UNSET)
@click.argument("keys", metavar="KEY...", nargs=-1, required=True, shell_complete=complete_keys)
@profile_option
def unset_values(keys: tuple[str, ...], *, profile: str | None) -> None:
    """Remove keys from a profile; one that is left empty goes with them."""
    file, name = load_profiles(_path()), _profile(profile)
    lack = file.lack_of(name)
    missing = [] if lack else [key for key in keys if key.replace("-", "_") not in file.tables[name]]
    if missing:
        lack = f"the profile {name!r} in {file.path} has no {', '.join(missing)}"
    if lack is not None:
        raise ConfigurationError(lack)
    _change(name, {key.replace("-", "_"): None for key in keys})
    say(f"removed {', '.join(keys)} from the profile {name!r} in {_path()}")


def _path() -> Path:
    found = config_file()
    if found is None:
        raise ConfigurationError(
            "there is no home folder for a file of profiles: name one in THRIVE_CONFIG_FILE"
        )
    return found


def _profile(name: str | None) -> str:
    return name or os.environ.get("THRIVE_PROFILE") or DEFAULT_PROFILE


def _text(value: object) -> str:
    if isinstance(value, list):
        return shlex.join(str(word) for word in cast("list[object]", value))
    return str(value)


def _shown(key: str, value: Any) -> Any:
    return MASK if is_secret(key) else value


def _change(profile: str, changes: Mapping[str, str | None]) -> None:
    path = _path()
    load_profiles(path)  # a broken file is not made worse
    text = path.read_text(encoding="utf-8-sig") if path.is_file() else ""
    write_private(path, with_changes(text, profile, changes))


def _asked_for(key: str) -> str:
    """Get a secret from the terminal, without showing it, or from stdin."""
    if sys.stdin.isatty():
        text = str(click.prompt(key, hide_input=True, err=True))
    else:
        text = sys.stdin.read().removesuffix("\n").removesuffix("\r")
    try:
        Secret(text)
    except ConfigurationError as error:
        problem = f"{key}: {error}"
    else:
        return text
    del text
    raise ConfigurationError(problem)
