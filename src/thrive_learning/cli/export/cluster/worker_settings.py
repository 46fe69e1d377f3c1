"""Prepares the clients of workers: the settings of the command, and the secret of each worker's own settings.

Workers import this module, so it needs no extra but `dask`.
"""

import functools
from typing import TYPE_CHECKING

from thrive_learning._cluster.clients import ClientSource
from thrive_learning._settings.resolution import Settings, settings
from thrive_learning.credentials import BasicCredentials, ClientCredentials, Credentials, Secret
from thrive_learning.errors import ConfigurationError

if TYPE_CHECKING:
    from thrive_learning.cli.options import Target


def source_for(target: "Target", found: Settings | None) -> ClientSource:
    """Return what workers create their clients from. It has no secret.

    Args:
        target: The options of the command.
        found: The settings of the command; None for the sandbox, of which each process has its own.
    """
    if found is not None:
        read = functools.partial(secret_here, target.profile, target.region, found.credentials.tenant_id)
        found = found._replace(credentials=_with_secret(found.credentials, Secret(read)))
    with target.client(found) as client:
        return ClientSource.of(client)


def _with_secret(credentials: Credentials, secret: Secret) -> Credentials:
    if isinstance(credentials, BasicCredentials):
        return BasicCredentials(credentials.tenant_id, secret)
    return ClientCredentials(
        credentials.tenant_id, credentials.client_id, secret, credentials.scopes, credentials.client_auth
    )


def secret_here(profile: str | None, region: str | None, tenant_id: str) -> str:
    """Return the secret in the settings of this process. It is called in workers.

    Args:
        profile: The value of --profile.
        region: The value of --region.
        tenant_id: The tenant that the secret must be for.

    Raises:
        ConfigurationError: The settings are missing here, or are for another tenant.
    """
    credentials = _credentials_here(profile, region)
    if credentials.tenant_id != tenant_id:
        raise ConfigurationError(
            f"a worker has the settings of tenant {credentials.tenant_id!r}, and the command those of "
            f"{tenant_id!r}. Use the same settings everywhere"
        )
    if isinstance(credentials, ClientCredentials):
        return credentials.client_secret.reveal()
    return credentials.api_secret.reveal()


def _credentials_here(profile: str | None, region: str | None) -> Credentials:
    try:
        return settings(profile=profile, region=region).credentials
    except ConfigurationError as error:
        problem = str(error).rstrip(".")
    # The user would otherwise look for the mistake in the settings of the command.
    raise ConfigurationError(
        f"a worker has no valid settings: {problem}. Start each worker with the same settings as the command"
    )
