"""Lists the forms in which a server could repeat the secrets that it received. Pure."""

import base64
import urllib.parse

from thrive_learning.credentials import ClientCredentials, Credentials, Secret
from thrive_learning.errors import ConfigurationError


def basic_header(username: str, password: str) -> str:
    """Return the value of an Authorization header for HTTP Basic.

    Source: RFC 7617.
    """
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode("ascii")


def client_pair(client_id: str, secret: Secret) -> tuple[str, str]:
    """Return the client ID and the secret for HTTP Basic. Unlike a user's, they are form-encoded.

    Source: RFC 6749 section 2.3.1; `httpx.BasicAuth` does not encode them.
    """
    return urllib.parse.quote_plus(client_id), urllib.parse.quote_plus(secret.reveal())


def forms_sent(credentials: Credentials) -> list[str]:
    """Return the forms in which a server could repeat the credentials of a request."""
    try:
        if isinstance(credentials, ClientCredentials):
            return client_forms(credentials.client_id, credentials.client_secret.fixed())
        secret = credentials.api_secret.reveal()
    except ConfigurationError:
        return []  # its function has failed since, and the call's own error is the one to report
    return [basic_header(credentials.tenant_id, secret).removeprefix("Basic "), secret]


def client_forms(client_id: str, secret: Secret) -> list[str]:
    """Return the forms in which a token endpoint could repeat the secret."""
    return [
        basic_header(*client_pair(client_id, secret)).removeprefix("Basic "),
        secret.reveal(),
    ]
