"""Parse a token request by RFC 6749: its form, its grant type, and its scopes. Pure."""

from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import parse_qsl

from thrive_learning.sandbox.messages import BASIC_CHALLENGE, SandboxRequest, SandboxResponse, json_response

#: The services that have a token endpoint.
API, WEBHOOKS = "api", "webhooks"
NO_STORE = {"cache-control": "no-store", "pragma": "no-cache"}

_SERVICE_SCOPES = {
    API: ("api/all", "api/read", "api/write"),
    WEBHOOKS: ("api/webhooks", "api/all"),
}
_DEFAULT_SCOPE = {API: "api/read", WEBHOOKS: "api/webhooks"}


class OAuthError(Exception):
    """An error response of a token endpoint: RFC 6749, section 5.2."""

    def __init__(self, error: str, description: str, *, basic: bool = False) -> None:
        super().__init__(error)
        # 401 if the client used the Authorization header, otherwise 400.
        status = HTTPStatus.UNAUTHORIZED if basic else HTTPStatus.BAD_REQUEST
        challenge = {"www-authenticate": BASIC_CHALLENGE} if basic else {}
        body = {"error": error, "error_description": description}
        self.response: SandboxResponse = json_response(status, body, {**NO_STORE, **challenge})


def form_parameters(request: SandboxRequest) -> dict[str, str]:
    """Return the parameters of a token request, without those that have no value.

    Raises:
        OAuthError: The body is not a form, or repeats a parameter.

    Source:
        RFC 6749, section 3.2
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/x-www-form-urlencoded":
        raise OAuthError("invalid_request", "The body must be application/x-www-form-urlencoded")
    try:
        pairs = parse_qsl(request.body.decode(), errors="strict")
    except ValueError:
        raise OAuthError("invalid_request", "The body is not UTF-8") from None
    parameters = dict(pairs)
    if len(parameters) < len(pairs):
        raise OAuthError("invalid_request", "A parameter is repeated")
    return parameters


def check_grant_type(parameters: Mapping[str, str]) -> None:
    """Raise `OAuthError` unless the grant type is client credentials."""
    grant_type = parameters.get("grant_type")
    if grant_type is None:
        raise OAuthError("invalid_request", "The parameter grant_type is missing")
    if grant_type != "client_credentials":
        raise OAuthError("unsupported_grant_type", "The only grant type is client_credentials")


def granted_scopes(parameters: Mapping[str, str], service: str) -> list[str]:
    """Return the requested scopes without duplicates, or the default of the service.

    Args:
        parameters: The parameters of the request.
        service: `API` or `WEBHOOKS`.

    Raises:
        OAuthError: The service does not have one of the scopes.

    Source:
        RFC 6749, section 3.3
    """
    scopes = parameters.get("scope", _DEFAULT_SCOPE[service]).split(" ")
    if not set(scopes).issubset(_SERVICE_SCOPES[service]):
        description = f"The scopes of this endpoint are {' '.join(_SERVICE_SCOPES[service])}"
        raise OAuthError("invalid_scope", description)
    return list(dict.fromkeys(scopes))
