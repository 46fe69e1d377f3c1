"""`thrive config`: the config file and its profiles."""

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import click

from thrive_learning._settings.layers import SECRET_KEYS, utf8
from thrive_learning._settings.profiles import DEFAULT_PROFILE, ProfileFile, config_file, load_profiles
from thrive_learning._settings.secret_sources import secret_from
from thrive_learning.cli.commands.completion import complete_keys, complete_value
from thrive_learning.cli.commands.config_editing import (
    Changes,
    absolute,
    change_profile,
    check_value,
    known_key,
)
from thrive_learning.cli.options import output_option, profile_option
from thrive_learning.cli.rendering import MASK, as_columns, as_json
from thrive_learning.cli.suggestions import Group
from thrive_learning.cli.terminal import chosen_output, heading, page_width, say, write, write_exact
from thrive_learning.credentials import Secret
from thrive_learning.errors import ConfigurationError

_CONFIG = """\b
Examples:
  thrive config init
  thrive config set region staging
  thrive config set tenant_id eu-west-2_AbcdEfghI
  thrive config set client_id reports
  thrive config set client_secret_command 'pass show thrive'
  thrive config list
  thrive check

A setting comes from an option, an environment variable, or a profile, in this
order. The profile is the one named by --profile or THRIVE_PROFILE, or `default`.

\b
Key                  Variable
region               THRIVE_REGION
tenant_id            THRIVE_TENANT_ID
api_secret           THRIVE_API_SECRET             HTTP Basic
api_secret_file      THRIVE_API_SECRET_FILE        a file with the secret
api_secret_command   THRIVE_API_SECRET_COMMAND     a command that prints it
client_id            THRIVE_CLIENT_ID              OAuth
client_secret        THRIVE_CLIENT_SECRET
client_secret_file   THRIVE_CLIENT_SECRET_FILE
client_secret_command
                     THRIVE_CLIENT_SECRET_COMMAND
scopes               THRIVE_SCOPES                 such as 'api/read'
client_auth          THRIVE_CLIENT_AUTH            auto, post, or basic
engine               THRIVE_ENGINE                 httpx or fast
rate_limit           THRIVE_RATE_LIMIT             such as 20, or 20:5
api_url              THRIVE_API_URL                a custom region: set all
token_url            THRIVE_TOKEN_URL              three, and its name in
webhooks_token_url   THRIVE_WEBHOOKS_TOKEN_URL     region

THRIVE_CONFIG_FILE is the path of the config file. .env files are not read.
"""

_INIT = """\b
Examples:
  thrive config init
  thrive config init --profile work

It asks for the region, the kind of credentials, the tenant ID, the client ID,
and the secret, then runs the same checks as `thrive check`. Until then, nothing
is saved, and you can stop with Ctrl-C. An existing profile is replaced only if
you confirm.
"""

_SET = """\b
Examples:
  thrive config set region staging
  thrive config set scopes 'api/read api/write' --profile work
  thrive config set client_secret_file ~/.secrets/thrive
  thrive config set client_secret < secret.txt

To set a secret, leave out the value. It is read from the terminal, where it is
not shown, or from stdin. Secrets are not accepted as arguments, because other
users of the machine can see those.
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
    """Show and edit profiles of settings in the config file."""


@config.command(epilog=_PATH)
def path() -> None:
    """Print the path of the config file, which need not exist."""
    write_exact(str(_path()))


@config.command(epilog=_INIT)
@profile_option
def init(*, profile: str | None) -> None:
    """Ask for settings, check them, and save them as a profile.

    The secret is not shown as you type. Only you can read the config file
    (mode 0600).
    """
    from thrive_learning.cli.commands.config_init import initialize  # noqa: PLC0415 - --help needs no HTTP

    initialize(_path(), _profile(profile))


@config.command("list", epilog=_LIST)
@output_option("table", "json")
def list_profiles(*, output: str | None) -> None:
    """List all profiles, with secrets masked."""
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
        write(as_columns([head, *rows], sys.stdout.encoding, page_width(), heading))
    else:
        say(f"no profiles: {file.absence or f'{file.path} is empty'}")


@config.command("get", epilog=_GET)
@click.argument("key", shell_complete=complete_keys)
@profile_option
@click.option("--reveal", is_flag=True, help="Show a secret instead of a mask.")
def get_value(key: str, *, profile: str | None, reveal: bool) -> None:
    """Print one value of a profile."""
    key = known_key(key)
    file, name = load_profiles(_path()), _profile(profile)
    _check_presence(file, name, [key])
    value = file.tables[name][key]
    write_exact(_text(value if reveal else _shown(key, value)))


@config.command("set", epilog=_SET)
@click.argument("key", shell_complete=complete_keys)
@click.argument("value", required=False, shell_complete=complete_value)
@profile_option
def set_value(key: str, value: str | None, *, profile: str | None) -> None:
    """Set one value of a profile.

    Only you can read the config file (mode 0600).
    """
    key, name, path = known_key(key), _profile(profile), _path()
    if key in SECRET_KEYS:
        if value is not None:
            raise click.UsageError(
                f"{key} is a secret, and other users of this machine can see arguments. Leave out the value "
                "to enter it at a prompt."
            )
        secret = _asked_for(key)
        change_profile(path, name, lambda _file: {key: secret})
    elif value is None:
        raise click.UsageError("Missing argument 'VALUE'.")
    else:
        new = utf8(absolute(key, value))

        def checked(file: ProfileFile) -> Changes:
            check_value(key, new, file.tables.get(name, {}))
            return {key: new}

        change_profile(path, name, checked)
    say(f"set {key} in profile {name!r} of {path}")


@config.command("unset", epilog=_UNSET)
@click.argument("keys", metavar="KEY...", nargs=-1, required=True, shell_complete=complete_keys)
@profile_option
def unset_values(keys: tuple[str, ...], *, profile: str | None) -> None:
    """Remove keys from a profile, and the profile if it is then empty."""
    name, path = _profile(profile), _path()

    def removals(file: ProfileFile) -> Changes:
        _check_presence(file, name, keys)
        return dict.fromkeys(key.replace("-", "_") for key in keys)

    change_profile(path, name, removals)
    say(f"removed {', '.join(keys)} from profile {name!r} of {path}")


def _check_presence(file: ProfileFile, profile: str, keys: Sequence[str]) -> None:
    lack = file.lack_of(profile)
    missing = [] if lack else [key for key in keys if key.replace("-", "_") not in file.tables[profile]]
    if missing:
        lack = (
            f"profile {profile!r} of {file.path} has no {', '.join(missing)}. "
            "Use 'thrive config list' to see its keys"
        )
    if lack is not None:
        raise ConfigurationError(lack)


def _path() -> Path:
    found = config_file()
    if found is None:
        raise ConfigurationError(
            "cannot find your home folder, which has the config file. Set THRIVE_CONFIG_FILE to a path"
        )
    return found


def _profile(name: str | None) -> str:
    return utf8(name or os.environ.get("THRIVE_PROFILE") or DEFAULT_PROFILE)


def _text(value: object) -> str:
    if isinstance(value, list):
        return shlex.join(str(word) for word in cast("list[object]", value))
    return str(value)


def _shown(key: str, value: Any) -> Any:
    return MASK if key in SECRET_KEYS else value


def _asked_for(key: str) -> Secret:
    """Read a secret from the terminal, without showing it, or from stdin, as UTF-8."""
    if sys.stdin.isatty():
        text = str(click.prompt(key, hide_input=True, err=True))
        found = secret_from(text.encode(errors="surrogateescape"))
        del text
    else:
        try:
            found = secret_from(sys.stdin.buffer.read())
        except OSError as error:
            found = f"cannot read stdin ({error.strerror or 'it is not open for reading'})"
    if isinstance(found, Secret):
        return found
    raise ConfigurationError(f"{key}: {found}")
