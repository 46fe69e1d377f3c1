"""Resolves settings from arguments, the environment, and a profile, and remembers the source of each value.

The decision is pure. It takes one layer per source, the strongest first. Layers hold secrets as `Secret`, so
that no frame has a bare secret.
"""

import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence, Sized
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

from thrive_learning._home import expand_home
from thrive_learning._log import fields, logger_of
from thrive_learning._settings.command_line import split_command
from thrive_learning._settings.engine_names import DEFAULT_ENGINE, EngineName, parse_engine
from thrive_learning._settings.profiles import (
    DEFAULT_PROFILE,
    ProfileFile,
    config_file,
    is_null_device,
    load_profiles,
)
from thrive_learning._settings.secret_sources import SecretCommand, SecretFile, exposure_of
from thrive_learning.credentials import BasicCredentials, ClientCredentials, Credentials, Scope, Secret
from thrive_learning.errors import ConfigurationError
from thrive_learning.rate_limits import RateLimit
from thrive_learning.regions import Region

T = TypeVar("T")

_logger = logger_of("settings")

#: The variables that do not set an option of a client.
OTHER_VARIABLES = ("THRIVE_PROFILE", "THRIVE_CONFIG_FILE", "THRIVE_DEBUG", "THRIVE_LOG")

#: The keys whose value is itself a secret.
SECRET_KEYS = ("api_secret", "client_secret")

#: The keys that describe a custom region.
URL_KEYS = ("api_url", "token_url", "webhooks_token_url")

#: The advice to a program that has no credentials yet.
FIRST_STEPS = (
    "Set THRIVE_TENANT_ID, and THRIVE_API_SECRET for HTTP Basic or THRIVE_CLIENT_SECRET for OAuth, "
    "or write a profile with 'thrive config init'"
)

_REGION = ("region", *URL_KEYS)
_BASIC = ("api_secret",)
_OAUTH = ("client_secret",)  # a missing client ID means the tenant ID
_OAUTH_ONLY = ("client_id", "client_secret", "scopes", "client_auth")
_SECRET_FORMS = re.compile(r"(.+_secret)_(file|command)")

#: The keys of a profile, and the variable of each.
VARIABLES = {
    form: f"THRIVE_{form.upper()}"
    for key in (*_REGION, "tenant_id", *_BASIC, *_OAUTH_ONLY, "engine", "rate_limit")
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


class Setting(NamedTuple):
    """One setting in its resolved form.

    Attributes:
        key: The key, as in a profile.
        value: The value as text, with secrets masked.
        source: The source of the value.
        shadowed: The other sources that have a value, which is not used.
    """

    key: str
    value: str
    source: str
    shadowed: tuple[str, ...] = ()


class Settings(NamedTuple):
    """The region, the credentials, and other options of a client.

    Attributes:
        region: The region.
        credentials: The credentials.
        origins: Each setting with its source.
        warnings: Warnings for the user.
        engine: The engine that sends requests.
        rate_limit: The rate limit; None without one.
    """

    region: Region
    credentials: Credentials
    origins: tuple[Setting, ...]
    warnings: tuple[str, ...]
    engine: EngineName = DEFAULT_ENGINE
    rate_limit: RateLimit | None = None


# Reading


def settings(  # noqa: PLR0913 - every source of a setting
    *,
    profile: str | None = None,
    region: Region | str | None = None,
    engine: str | None = None,
    rate_limit: str | None = None,
    said_by: str = "argument ",
    first_steps: str = FIRST_STEPS,
) -> Settings:
    """Resolve the settings: arguments, then environment variables, then a profile.

    Args:
        profile: The profile's name; None for the one in THRIVE_PROFILE, or for `default` if it exists.
        region: A region of the vendor, or its name; None to use the other sources.
        engine: The engine's name; None to use the other sources.
        rate_limit: The rate limit as text; None to use the other sources.
        said_by: The prefix of argument names in messages.
        first_steps: The advice for a user without credentials.

    Raises:
        ConfigurationError: A setting is missing, contradictory, or not valid. The message names its source.
    """
    if isinstance(region, Region) and region not in Region.VENDOR:
        raise ConfigurationError(
            f"{said_by}region is {region.name!r}, which is not one of the vendor's regions. Set its URLs in "
            "the same source as the secret, or pass the region and credentials to the client itself"
        )
    named = {"region": region, "engine": engine, "rate_limit": rate_limit}
    dash = "-" if said_by == "--" else "_"
    arguments = Layer(
        {
            key: Given(value, f"{said_by}{key.replace('_', dash)}")
            for key, value in named.items()
            if value is not None
        }
    )
    of_environment = environment_layer(os.environ)
    of_profile, absence = chosen_profile(profile, said_by)
    return resolve_layers([arguments, of_environment, of_profile], absence, first_steps)


#: The warnings that were logged, because many clients may have the same settings.
_logged: set[str] = set()


def log_warnings(found: Settings) -> None:
    """Log each warning once per process."""
    for warning in found.warnings:
        if warning not in _logged:
            _logged.add(warning)
            _logger.warning("%s", warning, extra=fields("setting"))


def credentials_for(region: Region) -> Credentials:
    """Resolve the credentials of a client that already has a region, such as one from a pickle.

    Raises:
        ConfigurationError: See `settings`. Also if the region is custom and differs from the one in the
            settings.
    """
    of_profile, absence = chosen_profile(None, "")
    layers = [_checked(layer) for layer in (environment_layer(os.environ), of_profile)]
    if any(region.urls == one.urls for one in Region.VENDOR):
        return _credentials(layers, absence, FIRST_STEPS)[0]
    found = resolve_layers(layers, absence)
    if not {*region.urls} <= {*found.region.urls}:  # a region may lack a token endpoint for webhooks
        raise ConfigurationError(
            f"The client has the URLs of its region {region.name!r}, but the settings have a secret for "
            f"{found.region.name!r}. Set the URLs in the same source as the secret."
        )
    return found.credentials


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


# Deciding


def resolve_layers(
    layers: Sequence[Layer], absence: str | None = None, first_steps: str = FIRST_STEPS
) -> Settings:
    """Resolve layers, the strongest first. Pure, except that it may read the file of a secret.

    The settings of the region belong together, so the first layer with one of them decides. The first layer
    that names a kind of credentials decides the kind, and each of their values comes from the first layer
    that has it. URLs and secret must be from one layer, so that a secret is never sent to another server.

    Args:
        layers: The values of each source.
        absence: The reason why no profile was found, for a message about missing settings.
        first_steps: The advice for a user without credentials.

    Raises:
        ConfigurationError: A setting is missing, contradictory, or not valid. The message names its source.
    """
    checked = [_checked(layer) for layer in layers]
    region, of_region = _region(checked)
    credentials, of_credentials = _credentials(checked, absence, first_steps)
    _check_destination(checked, credentials)
    engine, of_engine = _option(checked, "engine", parse_engine)
    rate_limit, of_rate_limit = _option(checked, "rate_limit", RateLimit.parse)
    origins = (*of_region, *of_credentials, *of_engine, *of_rate_limit)
    warnings = tuple(warning for layer in checked for warning in layer.warnings)
    return Settings(region, credentials, origins, warnings, engine or DEFAULT_ENGINE, rate_limit)


def _check_destination(layers: Sequence[Layer], credentials: Credentials) -> None:
    """Check that a secret goes to URLs of its own layer, or to the vendor."""
    to = next((layer for layer in layers if layer.those_of(_REGION)), Layer())
    urls = to.those_of(URL_KEYS)
    key = _BASIC[0] if isinstance(credentials, BasicCredentials) else _OAUTH[0]
    of_secret = next(layer for layer in layers if key in layer.given)
    if urls and of_secret is not to:
        raise ConfigurationError(
            f"{_listed(_sources(to, urls))} would send {key} from {of_secret.given[key].source} to a server "
            f"that may not be the right one. Set {key} and the URLs in the same source, or remove the URLs"
        )


def _checked(layer: Layer) -> Layer:
    if layer.problem is not None:
        raise ConfigurationError(layer.problem)
    return layer


def _region(layers: Sequence[Layer]) -> tuple[Region, list[Setting]]:
    deciding = next((layer for layer in layers if layer.those_of(_REGION)), Layer())
    given = {key: deciding.given[key] for key in deciding.those_of(_REGION)}
    if not given:
        return Region.PRODUCTION, [Setting("region", Region.PRODUCTION.name, "default")]
    origins = [_setting(layers, key) for key in given]
    others = [key for key in _REGION if key not in given]
    return _region_of(given), [*origins, *_unused(layers, others, origins[0].source)]


def _region_of(given: Mapping[str, Given]) -> Region:
    urls = {key: given[key].value for key in URL_KEYS if key in given}
    missing = [VARIABLES[key] for key in URL_KEYS if key not in given]
    sources = _listed([value.source for value in given.values()])
    if urls and missing:
        raise ConfigurationError(
            f"{sources} {_verb(given, 'describes', 'describe')} a custom region, which needs "
            f"{_listed(missing)} as well"
        )
    try:
        if not urls:
            return Region.parse(given["region"].value)
        name = given["region"].value if "region" in given else "custom"
        return Region.custom(name, **urls)
    except ConfigurationError as error:
        problem = f"{sources}: {error}"
    raise ConfigurationError(problem)


def _credentials(
    layers: Sequence[Layer], absence: str | None, first_steps: str
) -> tuple[Credentials, list[Setting]]:
    deciding = next((layer for layer in layers if layer.those_of((*_BASIC, *_OAUTH_ONLY))), Layer())
    basic, oauth = deciding.those_of(_BASIC), deciding.those_of(_OAUTH_ONLY)
    if basic and oauth:
        raise ConfigurationError(
            f"settings for HTTP Basic ({_listed(_sources(deciding, basic))}) and for OAuth "
            f"({_listed(_sources(deciding, oauth))}) are both set. Unset those that you do not use"
        )
    wanted = ("tenant_id", *(_OAUTH_ONLY if oauth else _BASIC))
    used = {key: found[0] for key in wanted if (found := _all_of(layers, key))}
    _check_complete(used, _OAUTH if oauth else _BASIC, absence, first_steps)
    origins = [_setting(layers, key) for key in used]
    if oauth and "client_id" not in used:
        origins.append(Setting("client_id", used["tenant_id"].shown, "default: the tenant ID"))
    decided_by = _sources(deciding, oauth or basic)[0]
    unused = _unused(layers, _BASIC if oauth else _OAUTH_ONLY, decided_by)
    return _credentials_of(used), [*origins, *unused]


def _check_complete(
    used: Mapping[str, Given], needed: Sequence[str], absence: str | None, first_steps: str
) -> None:
    missing = [VARIABLES[key] for key in ("tenant_id", *needed) if key not in used]
    if not missing:
        return
    no_profile = f" ({absence})" if absence else ""
    if set(used) <= {"tenant_id"}:
        raise ConfigurationError(f"no credentials are set{no_profile}. {first_steps}")
    given = _listed([value.source for value in used.values()])
    raise ConfigurationError(
        f"{given} {_verb(used, 'needs', 'need')} {_listed(missing)} as well, "
        f"which {_verb(missing, 'is', 'are')} not set{no_profile}"
    )


def _credentials_of(used: Mapping[str, Given]) -> Credentials:
    values: dict[str, Any] = {key: value.value for key, value in used.items()}
    try:
        if "api_secret" in values:
            return BasicCredentials(**values)
        values["scopes"] = values.get("scopes") or (Scope.READ,)
        values.setdefault("client_id", None)
        return ClientCredentials(**values)
    except ConfigurationError as error:
        sources = _listed([value.source for value in used.values()])
        problem = f"the credentials from {sources} are not valid: {error}"
    raise ConfigurationError(problem)


def _option(layers: Sequence[Layer], key: str, parse: Callable[[str], T]) -> tuple[T | None, list[Setting]]:
    if not _all_of(layers, key):
        return None, []
    origin = _setting(layers, key)
    try:
        return parse(origin.value), [origin]
    except ConfigurationError as error:
        problem = f"{origin.source}: {error}"
    raise ConfigurationError(problem)


def _sources(layer: Layer, keys: Sequence[str]) -> list[str]:
    return [layer.given[key].source for key in keys]


def _all_of(layers: Sequence[Layer], key: str) -> list[Given]:
    return [layer.given[key] for layer in layers if key in layer.given]


def _setting(layers: Sequence[Layer], key: str) -> Setting:
    used, *weaker = _all_of(layers, key)
    return Setting(key, used.shown, used.source, tuple(other.source for other in weaker))


def _unused(layers: Sequence[Layer], keys: Sequence[str], decided_by: str) -> list[Setting]:
    found = {key: tuple(given.source for given in _all_of(layers, key)) for key in keys}
    return [Setting(key, "(not used)", decided_by, shadowed) for key, shadowed in found.items() if shadowed]


def _verb(subjects: Sized, one: str, several: str) -> str:
    return one if len(subjects) == 1 else several


def _listed(names: Sequence[str]) -> str:
    *others, last = sorted(names)
    return f"{', '.join(others)}{',' if len(others) > 1 else ''} and {last}" if others else last
