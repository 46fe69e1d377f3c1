"""The layers of settings: one for each source, from the environment or a profile, with validated values.

Layers hold secrets as `Secret`, so that no frame has a bare secret.
"""

import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from thrive_learning._home import expand_home
from thrive_learning._settings.command_line import split_command
from thrive_learning._settings.profiles import (
    DEFAULT_PROFILE,
    ProfileFile,
    config_file,
    is_null_device,
    load_profiles,
)
from thrive_learning._settings.secret_sources import SecretCommand, SecretFile, exposure_of
from thrive_learning.credentials import Secret
from thrive_learning.errors import ConfigurationError

#: The variables that do not set an option of a client.
OTHER_VARIABLES = ("THRIVE_PROFILE", "THRIVE_CONFIG_FILE", "THRIVE_DEBUG", "THRIVE_LOG")

#: The keys whose value is itself a secret.
SECRET_KEYS = ("api_secret", "client_secret")

#: The keys that describe a custom region.
URL_KEYS = ("api_url", "token_url", "webhooks_token_url")

#: The keys of the region, and those of each kind of credentials besides the tenant ID.
REGION_KEYS = ("region", *URL_KEYS)
BASIC_KEYS = ("api_secret",)
OAUTH_KEYS = ("client_id", "client_secret", "scopes", "client_auth")

_SECRET_FORMS = re.compile(r"(.+_secret)_(file|command)")

#: The keys of a profile, and the variable of each.
VARIABLES = {
    form: f"THRIVE_{form.upper()}"
    for key in (*REGION_KEYS, "tenant_id", *BASIC_KEYS, *OAUTH_KEYS, "engine", "rate_limit")
    for form in ((key, f"{key}_file", f"{key}_command") if key in SECRET_KEYS else (key,))
}

_MASK = "**********"


class Given(NamedTuple):
    """The value that a layer has for a key.

    Attributes:
        value: Text; a tuple of texts for the scopes; a `Secret` for a secret.
        source: The source of the value, such as `THRIVE_REGION` or `profile 'work' in config.toml:7`.
    """

    value: Any
    source: str

    @property
    def shown(self) -> str:
        """The value as text, with secrets masked."""
        value: object = self.value
        if isinstance(value, tuple):
            return " ".join(cast("tuple[str, ...]", value))
        return _MASK if isinstance(value, Secret) else str(value)


class Layer(NamedTuple):
    """The settings from one source.

    Attributes:
        given: The values by key. `…_file` and `…_command` are under the key of their secret.
        problem: What is wrong with the layer, or None.
        warnings: Warnings for the user.
    """

    given: Mapping[str, Given] = {}
    problem: str | None = None
    warnings: Sequence[str] = ()

    def those_of(self, keys: Sequence[str]) -> list[str]:
        """Return the keys for which the layer has a value."""
        return [key for key in keys if key in self.given]


def environment_layer(environment: Mapping[str, str]) -> Layer:
    """Return the settings of the environment. An empty variable counts as missing."""
    values = {key: environment[name] for key, name in VARIABLES.items() if environment.get(name)}
    # A path must keep the encoding of the system.
    texts = {key: utf8(value) for key, value in values.items() if not _SECRET_FORMS.fullmatch(key)}
    known = {*VARIABLES.values(), *OTHER_VARIABLES}
    strange = sorted(name for name in environment if name.startswith("THRIVE_") and name not in known)
    warnings = [
        f"{name} is not a setting (did you mean {near}?)"
        for name in strange
        if (near := _nearest(name, known))
    ]
    return _layer(values | texts, VARIABLES, Path(), warnings)


def utf8(text: str) -> str:
    """Return text of the environment or the command line as UTF-8, whatever the locale's encoding is."""
    try:
        return text if text.isascii() else os.fsencode(text).decode()
    except UnicodeError:
        return text


def of_system(text: str) -> str:
    """Return UTF-8 text of a file in the form of the system's names and arguments: the inverse of `utf8`."""
    try:
        return text if text.isascii() else os.fsdecode(text.encode())
    except UnicodeError:
        return text


def chosen_profile(name: str | None, said_by: str) -> tuple[Layer, str | None]:
    """Return the layer of the profile to use, and why it is empty if it is.

    Raises:
        ConfigurationError: The profile does not exist, or the config file is not valid.
    """
    file = load_profiles(config_file())
    is_needed = bool(os.environ.get("THRIVE_CONFIG_FILE")) and not is_null_device(file.path)
    if file.absence is not None and is_needed:
        raise ConfigurationError(f"THRIVE_CONFIG_FILE: {file.absence}")
    wanted = utf8(name or os.environ.get("THRIVE_PROFILE") or "")
    lack = file.lack_of(wanted or DEFAULT_PROFILE)
    if lack is None:
        return profile_layer(file, wanted or DEFAULT_PROFILE), None
    if wanted:
        raise ConfigurationError(
            f"{f'{said_by}profile' if name else 'THRIVE_PROFILE'}: {lack}. Correct the name, or create the "
            "profile with 'thrive config init --profile NAME'"
        )
    warnings = [f"no profile is used, because {file.absence}"] if file.is_unreadable else []
    return Layer(warnings=warnings), lack


def profile_layer(file: ProfileFile, name: str) -> Layer:
    """Return the settings of a profile that the file has. An empty text counts as missing."""
    table, path = file.tables[name], cast("Path", file.path)
    for key in table:
        if key not in VARIABLES:
            return Layer(problem=f"{file.place(name, key)}: {unknown_key(key)}")
    sources = {key: f"profile {name!r} in {file.place(name, key)}" for key in table}
    exposed = [key for key in SECRET_KEYS if table.get(key)] if not file.is_private else []
    warnings = [f"other users can read {key} in {path}. Run chmod go= {path}" for key in exposed]
    values = {
        key: of_system(value) if isinstance(value, str) and key.endswith("_file") else value
        for key, value in table.items()
        if value != ""
    }
    return _layer(values, sources, path.parent, warnings)


def unknown_key(key: str) -> str:
    """Return a message about an unknown key of a profile, with the key that was probably meant."""
    near = _nearest(key, VARIABLES)
    advice = f" (did you mean {near!r}?)" if near else f". The keys are {', '.join(VARIABLES)}"
    return f"unknown profile key {key!r}{advice}"


def _nearest(name: str, known: Mapping[str, Any] | set[str]) -> str | None:
    """Return the known name that is most similar to a wrong one; None if no name is similar."""
    import difflib  # noqa: PLC0415 - for mistakes only

    return next(iter(difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.75)), None)


def _layer(
    values: Mapping[str, object], sources: Mapping[str, str], folder: Path, warnings: Sequence[str]
) -> Layer:
    given: dict[str, Given] = {}
    warnings = list(warnings)
    for key, value in values.items():
        form = _SECRET_FORMS.fullmatch(key)
        target = form[1] if form else key
        try:
            made = _made(key, value, folder)
        except ConfigurationError as error:
            return Layer(problem=f"{sources[key]}: {error}", warnings=warnings)
        if isinstance(made, SecretFile):
            if exposure := exposure_of(made.path):
                warnings.append(f"{sources[key]}: {exposure}. Run chmod go= {made.path}")
            made = Secret(made)
        if target in given:
            return Layer(
                problem=f"{given[target].source} and {sources[key]} set the same secret. Remove one",
                warnings=warnings,
            )
        given[target] = Given(made, sources[key])
    return Layer(given, warnings=warnings)


def _made(key: str, value: object, folder: Path) -> Any:
    """Return the validated value of a key.

    Raises:
        ConfigurationError: The value is not valid. Only the message may be passed on, because the frames hold
            a bare secret.
    """
    form = _SECRET_FORMS.fullmatch(key)
    if key == "scopes" or (form and form[2] == "command"):
        words = _words(key, value)
        return words if key == "scopes" else Secret(SecretCommand([of_system(word) for word in words]))
    if key == "rate_limit" and isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise ConfigurationError(
            f"{key} is of type {type(value).__name__}. Write it as text, in quotation marks"
        )
    if form:
        return _secret_file(value, folder)
    return Secret(value) if key in SECRET_KEYS else value


def _words(key: str, value: object) -> tuple[str, ...]:
    """Return a list of words, which may also be written as one text."""
    if isinstance(value, str):
        if key == "scopes":
            return tuple(value.replace(",", " ").split())
        words = split_command(value, sys.platform)
        if isinstance(words, str):
            raise ConfigurationError(words)
        return words
    if not isinstance(value, list):
        raise ConfigurationError(
            f"{key} is of type {type(value).__name__}. Write it as a list of texts, or as one text"
        )
    found = cast("list[object]", value)
    if not found:
        raise ConfigurationError(f"{key} is an empty list. Remove it, or fill it")
    # An argument of a command may be empty; the name of a scope or a program may not.
    wrong = [
        word
        for place, word in enumerate(found)
        if not isinstance(word, str) or (not word and (key == "scopes" or place == 0))
    ]
    if wrong:
        raise ConfigurationError(f"{key} contains {wrong[0]!r}, which is not a word. Write each word as text")
    return tuple(cast("list[str]", found))


def _secret_file(value: str, folder: Path) -> SecretFile:
    """Return the file of a secret. It is read once now, so that a problem is found before the first call."""
    path = expand_home(value)
    if isinstance(path, str):
        raise ConfigurationError(f"{path}. Use an absolute path")
    file = SecretFile(str(folder / path))
    Secret(file).reveal()
    return file
