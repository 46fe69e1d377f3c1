"""Where a client's settings come from when its arguments do not give them: the environment."""

import os

from thrive_learning.credentials import BasicCredentials, ClientCredentials, Credentials, Scope
from thrive_learning.errors import ConfigurationError
from thrive_learning.regions import Region

_BASIC = {"THRIVE_API_SECRET"}
_OAUTH = {"THRIVE_CLIENT_ID", "THRIVE_CLIENT_SECRET"}
_OAUTH_ONLY = _OAUTH | {"THRIVE_SCOPES"}


def region_from_environment() -> Region:
    """Give the region that THRIVE_REGION names, production by default.

    Raises:
        ConfigurationError: There is no such region.
    """
    try:
        return Region.parse(os.environ.get("THRIVE_REGION") or Region.PRODUCTION.name)
    except ConfigurationError as error:
        problem = f"THRIVE_REGION: {error}"
    raise ConfigurationError(problem)


def credentials_from_environment() -> Credentials:
    """Give the credentials that the environment holds.

    They are THRIVE_TENANT_ID and either THRIVE_API_SECRET, or THRIVE_CLIENT_ID with THRIVE_CLIENT_SECRET and
    optionally THRIVE_SCOPES, whose scopes are separated by spaces or commas. An empty variable counts as
    missing.

    Raises:
        ConfigurationError: Something is missing, contradictory or wrong; the message names the variables.
    """
    given = {name for name in ("THRIVE_TENANT_ID", *_BASIC, *_OAUTH_ONLY) if os.environ.get(name)}
    problem = _problem(given)
    if problem is None:
        try:
            return _basic() if given & _BASIC else _oauth()
        except ConfigurationError as error:
            problem = f"the credentials from {_listed(given)} are not valid: {error}"
    raise ConfigurationError(problem)


def _problem(given: set[str]) -> str | None:
    if given & _BASIC and given & _OAUTH_ONLY:
        return (
            f"{_listed(given & _BASIC)} is for HTTP Basic, {_listed(given & _OAUTH_ONLY)} for OAuth: "
            "unset the one that you do not use"
        )
    missing = {"THRIVE_TENANT_ID"} - given
    if given & _OAUTH_ONLY:
        missing |= _OAUTH - given
    if missing and given:
        return f"{_listed(given)} needs {_listed(missing)} as well, which is missing or empty"
    if not given & (_BASIC | _OAUTH):
        return (
            "no credentials are set: set THRIVE_TENANT_ID, and THRIVE_API_SECRET for HTTP Basic or "
            "THRIVE_CLIENT_ID and THRIVE_CLIENT_SECRET for OAuth"
        )
    return None


def _listed(names: set[str]) -> str:
    return " and ".join(sorted(names))


# The secrets go from the environment into the credentials without a local variable: a traceback shows those.


def _basic() -> BasicCredentials:
    return BasicCredentials(os.environ["THRIVE_TENANT_ID"], os.environ["THRIVE_API_SECRET"])


def _oauth() -> ClientCredentials:
    scopes = os.environ.get("THRIVE_SCOPES", "").replace(",", " ").split()
    return ClientCredentials(
        os.environ["THRIVE_TENANT_ID"],
        os.environ["THRIVE_CLIENT_ID"],
        os.environ["THRIVE_CLIENT_SECRET"],
        scopes=scopes or (Scope.READ,),
    )
