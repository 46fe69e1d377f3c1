"""Resolves settings from arguments, the environment, and a profile, and remembers the source of each value.

The decision is pure. It takes one layer per source, the strongest first (see `layers`).
"""

import os
from collections.abc import Callable, Mapping, Sequence, Sized
from typing import Any, NamedTuple, TypeVar

from thrive_learning._log import fields, logger_of
from thrive_learning._settings.engine_names import DEFAULT_ENGINE, EngineName, parse_engine
from thrive_learning._settings.layers import (
    BASIC_KEYS,
    OAUTH_KEYS,
    REGION_KEYS,
    URL_KEYS,
    VARIABLES,
    Given,
    Layer,
    chosen_profile,
    environment_layer,
)
from thrive_learning.credentials import BasicCredentials, ClientCredentials, Credentials, Scope
from thrive_learning.errors import ConfigurationError
from thrive_learning.rate_limits import RateLimit
from thrive_learning.regions import Region

T = TypeVar("T")

_logger = logger_of("settings")

#: The advice to a program that has no credentials yet.
FIRST_STEPS = (
    "Set THRIVE_TENANT_ID, and THRIVE_API_SECRET for HTTP Basic or THRIVE_CLIENT_SECRET for OAuth, "
    "or write a profile with 'thrive config init'"
)


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
    to = next((layer for layer in layers if layer.those_of(REGION_KEYS)), Layer())
    urls = to.those_of(URL_KEYS)
    key = "api_secret" if isinstance(credentials, BasicCredentials) else "client_secret"
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
    deciding = next((layer for layer in layers if layer.those_of(REGION_KEYS)), Layer())
    given = {key: deciding.given[key] for key in deciding.those_of(REGION_KEYS)}
    if not given:
        return Region.PRODUCTION, [Setting("region", Region.PRODUCTION.name, "default")]
    origins = [_setting(layers, key) for key in given]
    others = [key for key in REGION_KEYS if key not in given]
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
    deciding = next((layer for layer in layers if layer.those_of((*BASIC_KEYS, *OAUTH_KEYS))), Layer())
    basic, oauth = deciding.those_of(BASIC_KEYS), deciding.those_of(OAUTH_KEYS)
    if basic and oauth:
        raise ConfigurationError(
            f"settings for HTTP Basic ({_listed(_sources(deciding, basic))}) and for OAuth "
            f"({_listed(_sources(deciding, oauth))}) are both set. Unset those that you do not use"
        )
    wanted = ("tenant_id", *(OAUTH_KEYS if oauth else BASIC_KEYS))
    used = {key: found[0] for key in wanted if (found := _all_of(layers, key))}
    _check_complete(used, "client_secret" if oauth else "api_secret", absence, first_steps)
    origins = [_setting(layers, key) for key in used]
    if oauth and "client_id" not in used:
        origins.append(Setting("client_id", used["tenant_id"].shown, "default: the tenant ID"))
    decided_by = _sources(deciding, oauth or basic)[0]
    unused = _unused(layers, BASIC_KEYS if oauth else OAUTH_KEYS, decided_by)
    return _credentials_of(used), [*origins, *unused]


def _check_complete(used: Mapping[str, Given], secret: str, absence: str | None, first_steps: str) -> None:
    # A missing client ID means the tenant ID.
    missing = [VARIABLES[key] for key in ("tenant_id", secret) if key not in used]
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
