"""The core of the sandbox: a pure function from a request and the time to a response.

It implements `openapi/thrive.yaml` and the two token endpoints with the standard library alone, and shares no
code with the client, which is tested against it. It keeps no state: an access token carries everything that
is to be known about it, signed, so that any equal sandbox in any process accepts it until it expires.
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

# RFC 6761, section 6.4: .invalid never resolves, so nothing can reach a network by mistake.
#: The `api_url=` of a region for the sandbox. The host never resolves.
API_URL = "https://sandbox.invalid/rest/v1"
#: The `token_url=` of a region for the sandbox.
TOKEN_URL = "https://sandbox.invalid/oauth2/token/{tenant_id}"  # noqa: S105 - a URL
# The vendor has the webhooks' token endpoint on a host of its own. Here it has a path of its own, so that one
# server can hold both.
#: The `webhooks_token_url=` of a region for the sandbox.
WEBHOOKS_TOKEN_URL = "https://sandbox.invalid/webhooks/oauth2/token/{tenant_id}"  # noqa: S105 - a URL

_LIST_PATH = "/rest/v1/activities"
_ACTIVITY_PATH = re.compile(r"/rest/v1/activity/([^/]+)")
_TOKEN_PATH = re.compile(r"(/webhooks)?/oauth2/token/([^/]+)")
_READING_SCOPES = {"api/read", "api/all"}


def is_token_target(target: str) -> bool:
    """Whether a request's target is a token endpoint, of whatever tenant."""
    return _TOKEN_PATH.fullmatch(target.partition("?")[0]) is not None


def is_list_target(target: str) -> bool:
    """Whether a request's target is the list of activity records, with any filters."""
    return target.partition("?")[0] == _LIST_PATH


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """One tenant of the API, with one client and some activity records.

    The default credentials are public and open nothing but a sandbox.

    Args:
        tenant_id: The user name for HTTP Basic, and the last segment of the token URLs.
        api_secret: The password for HTTP Basic.
        client_id: The client that may ask for access tokens.
        client_secret: Its secret. The default has characters that a client must form-encode. The tenant ID
            with the API secret is a client as well, as the vendor's token page has it.
        client_auth: How clients may authenticate at the token endpoints: `"post"` for form fields, `"basic"`
            for HTTP Basic, `"auto"` for either.
        records: Activity records by id, which is compared without case. They are copied.
        token_lifetime_s: For how many seconds an access token is valid.
        signing_key: Signs access tokens; sandboxes that differ in it refuse each other's tokens.
        generated: How many more records it holds. They look like real ones, are the same each time, are dated
            from July 2025 to June 2026, and take no memory.
        arrived: The records that have arrived besides. `FaultySandbox` counts them.

    Raises:
        TypeError: A record holds something that is not JSON.
        ValueError: A record holds NaN or an infinity, which are not JSON, or holds itself; `client_auth` is
            unknown; `generated` is negative, or has more than ten digits.

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
    # The records in the order of the list, once it was asked for.
    _entries: list[DatedRecord] | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.client_auth not in {"auto", "post", "basic"}:
            raise ValueError(f"client_auth is {self.client_auth!r}. Choose 'auto', 'post', or 'basic'.")
        if not 0 <= self.generated <= LARGEST_NUMBER:
            raise ValueError(f"generated is {self.generated}. Choose a number from 0 to {LARGEST_NUMBER}.")
        # By way of JSON: a deep copy, and a record that cannot be sent fails here rather than in respond().
        object.__setattr__(self, "records", _copied(self.records))

    def with_records(self, records: Mapping[str, Mapping[str, Any]], *, without: str = "") -> "Sandbox":
        """Give a sandbox that holds more records than this one, and is equal otherwise.

        Args:
            records: Activity records by id. They are copied, and take the place of those with the same id.
            without: The id of a record that it does not hold.

        Raises:
            TypeError: As for the class.
            ValueError: As for the class.
        """
        held = {key: record for key, record in self.records.items() if key != without.lower()}
        # Not replace(), which would copy what is held, and never changes, once more.
        changed = copy(self)
        object.__setattr__(changed, "records", {**held, **_copied(records)})
        object.__setattr__(changed, "_entries", None)
        return changed

    def with_arrived(self, arrived: Arrived) -> "Sandbox":
        """Return a sandbox in which these records have arrived, and that is equal otherwise."""
        self._sorted()  # once, and not once for each copy
        changed = copy(self)
        object.__setattr__(changed, "arrived", arrived)
        return changed

    @property
    def collection(self) -> Collection:
        """All records: those that it holds, those that it generates, and those that arrived."""
        return Collection(self.records, self._sorted, self.generated, self.arrived)

    def _sorted(self) -> list[DatedRecord]:
        if self._entries is None:
            object.__setattr__(self, "_entries", sorted_entries(self.records))
        return self._entries or []

    def respond(self, request: SandboxRequest, *, now: float) -> SandboxResponse:
        """Answer one request. The same sandbox, request and time give the same response, byte for byte.

        Args:
            request: Anything at all; what is malformed gets an error response.
            now: The time in Unix seconds, by which access tokens expire.

        Source:
            https://docs.thrivelearning.com/apidocs/get-a-single-activity-record;
            https://docs.thrivelearning.com/apidocs/query-activity-records;
            RFC 6749, sections 4.4 and 5; RFC 6750, section 3
        """
        return completed(self._route(request, now), request, now)

    def _route(self, request: SandboxRequest, now: float) -> SandboxResponse:
        path = request.target.partition("?")[0]
        # Segments are decoded after the path was cut into them: an encoded slash separates nothing.
        if match := _ACTIVITY_PATH.fullmatch(path):
            return self._activity(request, unquote(match[1]), now)
        if path == _LIST_PATH:
            return self._activities(request, now)
        if match := _TOKEN_PATH.fullmatch(path):
            return self._token(request, WEBHOOKS if match[1] else API, unquote(match[2]), now)
        # As the gateway in front of an API says it: not in the API's own format, as no record was looked for.
        return json_response(HTTPStatus.NOT_FOUND, {"message": "Not Found"})

    # The API: getActivity and listActivities of the contract.

    def _activity(self, request: SandboxRequest, activity_id: str, now: float) -> SandboxResponse:
        if refusal := self._api_refusal(request, now):
            return refusal
        if not ACTIVITY_ID.fullmatch(activity_id):
            return error_response(HTTPStatus.BAD_REQUEST, "The id is not 24 hexadecimal digits")
        record = self.collection.find(activity_id.lower())
        if record is None:
            return error_response(HTTPStatus.NOT_FOUND, "Activity not found")
        return json_response(HTTPStatus.OK, record)

    def _activities(self, request: SandboxRequest, now: float) -> SandboxResponse:
        return self._api_refusal(request, now) or list_response(
            request.target.partition("?")[2], self.collection
        )

    def _api_refusal(self, request: SandboxRequest, now: float) -> SandboxResponse | None:
        """Why this request may not read; None if it may."""
        if request.method not in {"GET", "HEAD"}:
            return method_not_allowed("GET, HEAD")
        scheme, credentials = _authorization(request)
        if scheme == "bearer":
            return self._bearer_refusal(credentials, now)
        if scheme != "basic":
            challenges = f"{BASIC_CHALLENGE}, {BEARER_CHALLENGE}"
            return unauthorized("Neither HTTP Basic credentials nor an access token were given", challenges)
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

    # The token endpoints, which differ in their scopes only.

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
        """RFC 6749, section 2.3.1: HTTP Basic with form-encoded id and secret, or parameters in the body."""
        basic = "authorization" in request.headers
        client_id = parameters.get("client_id", "")
        client_secret = parameters.get("client_secret", "")
        if basic:
            scheme, credentials = _authorization(request)
            user, _, password = _decoded_basic(credentials if scheme == "basic" else "").partition(":")
            # The id alone names the client and authenticates nobody: it may stand in the body as well.
            if client_secret or client_id not in {"", unquote_plus(user)}:
                raise OAuthError("invalid_request", "The client must authenticate in one way only")
            client_id, client_secret = unquote_plus(user), unquote_plus(password)
        if self.client_auth == ("post" if basic else "basic"):
            other = "form fields" if basic else "HTTP Basic"
            raise OAuthError("invalid_client", f"Clients must authenticate with {other} here", basic=basic)
        clients = {self.client_id: self.client_secret}
        clients.setdefault(self.tenant_id, self.api_secret)
        right_client = client_id in clients and _same(client_secret, clients[client_id])
        if not (right_client and tenant_id == self.tenant_id):
            raise OAuthError(
                "invalid_client", "The client or the tenant is not known, or the secret is wrong", basic=basic
            )
        return client_id

    # Access tokens: claims in JSON, a dot, and the signature of what stands before it.

    def _access_token(self, client_id: str, service: str, scopes: list[str], now: float) -> str:
        claims = {
            "tenant": self.tenant_id,
            "client": client_id,
            "service": service,
            "scopes": scopes,
            "exp": now + self.token_lifetime_s,
        }
        # Not random, so that respond() stays pure. Tokens of another moment or scope differ all the same.
        jti = hashlib.sha256(as_json(claims)).hexdigest()[:32]
        payload = _base64url(as_json({**claims, "jti": jti}))
        return f"{payload}.{self._signature(payload)}"

    def _claims(self, access_token: str) -> dict[str, Any] | None:
        """What a token of this sandbox's clients says, expired or not; None for any other text."""
        payload, _, signature = access_token.partition(".")
        if not _same(signature, self._signature(payload)):
            return None
        # Signed with our key, hence written here: it can be read. Decoding ignores padding that is too long.
        claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(f"{payload}=="))
        ours = claims["tenant"] == self.tenant_id and claims["client"] in {self.client_id, self.tenant_id}
        return claims if ours else None

    def _signature(self, payload: str) -> str:
        return _base64url(hmac.digest(self.signing_key, as_utf8(payload), "sha256"))


def _copied(records: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {key.lower(): json.loads(as_json(record)) for key, record in records.items()}


def _authorization(request: SandboxRequest) -> tuple[str, str]:
    """The scheme, in lower case, and what follows it (RFC 9110, section 11.4)."""
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    return scheme.lower(), credentials.strip(" ")


def _decoded_basic(credentials: str) -> str:
    """User name, colon and password (RFC 7617, section 2); nothing if it cannot be decoded."""
    try:
        return base64.b64decode(credentials, validate=True).decode()
    except ValueError:
        return ""


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(as_utf8(given), as_utf8(expected))


def _base64url(content: bytes) -> str:
    # RFC 6750, section 2.1: in an access token, "=" stands at the end or nowhere.
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
