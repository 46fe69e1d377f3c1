"""The core of the sandbox: a pure function from a request and the time to a response.

It implements `openapi/thrive.yaml` and the two token endpoints with the standard library alone, and shares no
code with the client, which is tested against it. It is stateless. An access token contains all its claims and
a signature, so any equal sandbox in any process accepts it until it expires.
"""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal
from urllib.parse import unquote, unquote_plus

from thrive_learning.sandbox.collection import Arrived, Collection
from thrive_learning.sandbox.generation import LARGEST_NUMBER
from thrive_learning.sandbox.listing import list_response
from thrive_learning.sandbox.messages import (
    BASIC_CHALLENGE,
    BEARER_CHALLENGE,
    SandboxRequest,
    SandboxResponse,
    as_json,
    as_utf8,
    completed,
    error_response,
    insufficient_scope,
    invalid_token,
    json_response,
    method_not_allowed,
    unauthorized,
)
from thrive_learning.sandbox.records import ACTIVITY_ID, seeded_records
from thrive_learning.sandbox.timeline import DatedRecord, sorted_entries
from thrive_learning.sandbox.token_requests import (
    API,
    NO_STORE,
    WEBHOOKS,
    OAuthError,
    check_grant_type,
    form_parameters,
    granted_scopes,
)

# RFC 6761, section 6.4: .invalid never resolves, so no request can reach a network by mistake.
#: The `api_url=` of a region for the sandbox. The host never resolves.
API_URL = "https://sandbox.invalid/rest/v1"
#: The `token_url=` of a region for the sandbox.
TOKEN_URL = "https://sandbox.invalid/oauth2/token/{tenant_id}"  # noqa: S105 - a URL
# The vendor's token endpoint for webhooks has a separate host. Here it has a separate path, so that one
# server has both.
#: The `webhooks_token_url=` of a region for the sandbox.
WEBHOOKS_TOKEN_URL = "https://sandbox.invalid/webhooks/oauth2/token/{tenant_id}"  # noqa: S105 - a URL

#: The beginning of every path of the API, and of no token endpoint.
_API_PATHS = "/rest/v1/"
_LIST_PATH = "/rest/v1/activities"
_ACTIVITY_PATH = re.compile(r"/rest/v1/activity/([^/]+)")
_TOKEN_PATH = re.compile(r"(/webhooks)?/oauth2/token/([^/]+)")
_READING_SCOPES = {"api/read", "api/all"}


def is_token_target(target: str) -> bool:
    """Return whether a request's target is a token endpoint of any tenant."""
    return _TOKEN_PATH.fullmatch(target.partition("?")[0]) is not None


def is_list_target(target: str) -> bool:
    """Return whether a request's target is the list of activity records."""
    return target.partition("?")[0] == _LIST_PATH


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """One tenant of the API, with one client and some activity records.

    The default credentials are public, and valid only for a sandbox.

    Args:
        tenant_id: The user name for HTTP Basic, and the last segment of the token URLs.
        api_secret: The password for HTTP Basic.
        client_id: The client that may request access tokens.
        client_secret: The client's secret. The default has characters that a client must form-encode. The
            tenant ID with the API secret is also a client, as on the vendor's token page.
        client_auth: How clients may authenticate at the token endpoints: `"post"` for form fields, `"basic"`
            for HTTP Basic, `"auto"` for either.
        records: Activity records by ID, which is compared without case. They are copied.
        token_lifetime_s: The lifetime of access tokens in seconds.
        signing_key: Signs access tokens. Sandboxes with other keys reject the tokens.
        generated: The number of generated records. They look like real ones, are the same each time, are
            dated from July 2025 to June 2026, and take no memory.
        arrived: The records that have arrived. `FaultySandbox` counts them.

    Raises:
        TypeError: A record contains something that is not JSON.
        ValueError: A record contains NaN, an infinity, or itself; `client_auth` is unknown; `generated` is
            negative, or has more than ten digits.

    Source:
        https://docs.thrivelearning.com/apidocs/get-a-single-activity-record;
        https://docs.thrivelearning.com/apidocs/query-activity-records
    """

    tenant_id: str = "sandbox-1_ExampleOrg"
    api_secret: str = field(default="not-a-secret: sandbox", repr=False)
    client_id: str = "sandbox-client"
    client_secret: str = field(default="not-a-secret: 100% fake & public + shared", repr=False)
    client_auth: Literal["auto", "post", "basic"] = field(default="auto", repr=False)
    records: Mapping[str, Mapping[str, Any]] = field(default_factory=seeded_records, repr=False)
    token_lifetime_s: int = 3600
    signing_key: bytes = field(default=b"not-a-secret: sandbox tokens", repr=False)
    generated: int = field(default=0, repr=False)
    arrived: Arrived = field(default=Arrived(), repr=False)
    # The records in the order of the list, after the first list request.
    _entries: list[DatedRecord] | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.client_auth not in {"auto", "post", "basic"}:
            raise ValueError(f"client_auth is {self.client_auth!r}. Choose 'auto', 'post', or 'basic'.")
        if not 0 <= self.generated <= LARGEST_NUMBER:
            raise ValueError(f"generated is {self.generated}. Choose a number from 0 to {LARGEST_NUMBER}.")
        # A deep copy through JSON, so that a record that cannot be sent fails here and not in respond().
        object.__setattr__(self, "records", _copied(self.records))

    def with_records(self, records: Mapping[str, Mapping[str, Any]], *, without: str = "") -> "Sandbox":
        """Return a copy of this sandbox with more records.

        Args:
            records: Activity records by ID. They are copied, and replace records with the same ID.
            without: The ID of a record to remove.

        Raises:
            TypeError: As for the class.
            ValueError: As for the class.
        """
        held = {key: record for key, record in self.records.items() if key != without.lower()}
        # Not replace(), which would copy all records again.
        changed = copy(self)
        object.__setattr__(changed, "records", {**held, **_copied(records)})
        object.__setattr__(changed, "_entries", None)
        return changed

    def with_arrived(self, arrived: Arrived) -> "Sandbox":
        """Return a copy of this sandbox in which these records have arrived."""
        self._sorted()  # computed once, and not again for each copy
        changed = copy(self)
        object.__setattr__(changed, "arrived", arrived)
        return changed

    @property
    def collection(self) -> Collection:
        """All records: stored, generated, and arrived."""
        return Collection(self.records, self._sorted, self.generated, self.arrived)

    def _sorted(self) -> list[DatedRecord]:
        if self._entries is None:
            object.__setattr__(self, "_entries", sorted_entries(self.records))
        return self._entries or []

    def respond(self, request: SandboxRequest, *, now: float) -> SandboxResponse:
        """Respond to one request. The same sandbox, request, and time give the same response, byte for byte.

        Args:
            request: Any request. A malformed one gets an error response.
            now: The time in Unix seconds, which decides whether access tokens have expired.

        Source:
            https://docs.thrivelearning.com/apidocs/get-a-single-activity-record;
            https://docs.thrivelearning.com/apidocs/query-activity-records;
            RFC 6749, sections 4.4 and 5; RFC 6750, section 3
        """
        return completed(self._route(request, now), request, now)

    def is_from_tenant(self, request: SandboxRequest, *, now: float) -> bool:
        """Return whether a request is for any path of the API, and has valid credentials.

        Args:
            request: Any request.
            now: The time in Unix seconds.
        """
        if not request.target.startswith(_API_PATHS):
            return False
        refusal = self._credentials_refusal(request, now)
        return refusal is None or refusal.status != HTTPStatus.UNAUTHORIZED

    def _route(self, request: SandboxRequest, now: float) -> SandboxResponse:
        path = request.target.partition("?")[0]
        # The path is split before its segments are decoded, so an encoded slash does not separate segments.
        if match := _ACTIVITY_PATH.fullmatch(path):
            return self._activity(request, unquote(match[1]), now)
        if path == _LIST_PATH:
            return self._activities(request, now)
        if match := _TOKEN_PATH.fullmatch(path):
            return self._token(request, WEBHOOKS if match[1] else API, unquote(match[2]), now)
        # Like a gateway in front of the API, not in the API's own format, because no record was requested.
        return json_response(HTTPStatus.NOT_FOUND, {"message": "Not Found"})

    # The API: getActivity and listActivities of the contract.

    def _activity(self, request: SandboxRequest, activity_id: str, now: float) -> SandboxResponse:
        if refusal := self._api_refusal(request, now):
            return refusal
        if not ACTIVITY_ID.fullmatch(activity_id):
            return error_response(HTTPStatus.BAD_REQUEST, "The ID is not 24 hexadecimal digits")
        record = self.collection.find(activity_id.lower())
        if record is None:
            return error_response(HTTPStatus.NOT_FOUND, "Activity not found")
        return json_response(HTTPStatus.OK, record)

    def _activities(self, request: SandboxRequest, now: float) -> SandboxResponse:
        return self._api_refusal(request, now) or list_response(
            request.target.partition("?")[2], self.collection
        )

    def _api_refusal(self, request: SandboxRequest, now: float) -> SandboxResponse | None:
        """Return the error response for a request that may not read; None if it may."""
        if request.method not in {"GET", "HEAD"}:
            return method_not_allowed("GET, HEAD")
        return self._credentials_refusal(request, now)

    def _credentials_refusal(self, request: SandboxRequest, now: float) -> SandboxResponse | None:
        scheme, credentials = _authorization(request)
        if scheme == "bearer":
            return self._bearer_refusal(credentials, now)
        if scheme != "basic":
            challenges = f"{BASIC_CHALLENGE}, {BEARER_CHALLENGE}"
            return unauthorized(
                "The request has neither HTTP Basic credentials nor an access token", challenges
            )
        if not _same(_decoded_basic(credentials), f"{self.tenant_id}:{self.api_secret}"):
            return unauthorized("The tenant ID or the API secret is not valid", BASIC_CHALLENGE)
        return None

    def _bearer_refusal(self, access_token: str, now: float) -> SandboxResponse | None:
        claims = self._claims(access_token)
        if claims is None or claims["service"] != API:
            return invalid_token("The access token is not valid for this API")
        if now >= claims["exp"]:
            return invalid_token("The access token expired")
        if _READING_SCOPES.isdisjoint(claims["scopes"]):
            return insufficient_scope()
        return None

    # The token endpoints, which differ only in their scopes.

    def _token(self, request: SandboxRequest, service: str, tenant_id: str, now: float) -> SandboxResponse:
        if request.method != "POST":
            return method_not_allowed("POST")
        try:
            parameters = form_parameters(request)
            client_id = self._authenticate_client(request, parameters, tenant_id)
            check_grant_type(parameters)
            scopes = granted_scopes(parameters, service)
        except OAuthError as error:
            return error.response
        # RFC 6749, section 5.1.
        body = {
            "access_token": self._access_token(client_id, service, scopes, now),
            "token_type": "Bearer",
            "expires_in": self.token_lifetime_s,
            "scope": " ".join(scopes),
        }
        return json_response(HTTPStatus.OK, body, NO_STORE)

    def _authenticate_client(
        self, request: SandboxRequest, parameters: Mapping[str, str], tenant_id: str
    ) -> str:
        """Authenticate a client by HTTP Basic or by parameters in the body (RFC 6749, section 2.3.1)."""
        basic = "authorization" in request.headers
        client_id = parameters.get("client_id", "")
        client_secret = parameters.get("client_secret", "")
        if basic:
            scheme, credentials = _authorization(request)
            user, _, password = _decoded_basic(credentials if scheme == "basic" else "").partition(":")
            # The ID without the secret does not authenticate, so it is allowed in the body as well.
            if client_secret or client_id not in {"", unquote_plus(user)}:
                raise OAuthError("invalid_request", "The client must use only one authentication method")
            client_id, client_secret = unquote_plus(user), unquote_plus(password)
        if self.client_auth == ("post" if basic else "basic"):
            other = "form fields" if basic else "HTTP Basic"
            raise OAuthError("invalid_client", f"Clients must authenticate with {other} here", basic=basic)
        clients = {self.client_id: self.client_secret}
        clients.setdefault(self.tenant_id, self.api_secret)
        right_client = client_id in clients and _same(client_secret, clients[client_id])
        if not (right_client and tenant_id == self.tenant_id):
            raise OAuthError("invalid_client", "The client, the tenant, or the secret is wrong", basic=basic)
        return client_id

    # Access tokens: claims in JSON, a dot, and the signature of the claims.

    def _access_token(self, client_id: str, service: str, scopes: list[str], now: float) -> str:
        claims = {
            "tenant": self.tenant_id,
            "client": client_id,
            "service": service,
            "scopes": scopes,
            "exp": now + self.token_lifetime_s,
        }
        # Not random, so that respond() stays pure. Tokens still differ by time and scope.
        jti = hashlib.sha256(as_json(claims)).hexdigest()[:32]
        payload = _base64url(as_json({**claims, "jti": jti}))
        return f"{payload}.{self._signature(payload)}"

    def _claims(self, access_token: str) -> dict[str, Any] | None:
        """Return the claims of a token of this sandbox, expired or not; None for any other text."""
        payload, _, signature = access_token.partition(".")
        if not _same(signature, self._signature(payload)):
            return None
        # Our signature means that the claims are valid JSON. Decoding ignores extra padding.
        claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(f"{payload}=="))
        ours = claims["tenant"] == self.tenant_id and claims["client"] in {self.client_id, self.tenant_id}
        return claims if ours else None

    def _signature(self, payload: str) -> str:
        return _base64url(hmac.digest(self.signing_key, as_utf8(payload), "sha256"))


def _copied(records: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {key.lower(): json.loads(as_json(record)) for key, record in records.items()}


def _authorization(request: SandboxRequest) -> tuple[str, str]:
    """Return the scheme in lower case, and the credentials after it (RFC 9110, section 11.4)."""
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    return scheme.lower(), credentials.strip(" ")


def _decoded_basic(credentials: str) -> str:
    """Return `user:password` (RFC 7617, section 2); empty if it cannot be decoded."""
    try:
        return base64.b64decode(credentials, validate=True).decode()
    except ValueError:
        return ""


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(as_utf8(given), as_utf8(expected))


def _base64url(content: bytes) -> str:
    # RFC 6750, section 2.1: in an access token, "=" is allowed only at the end.
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
