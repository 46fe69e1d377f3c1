"""The errors that the SDK raises: one tree, plain data, nothing else of the project imported. Pure.

Every message says what happened and what to do next. The errors hold no live request or response, so they
pickle, deepcopy and travel between processes.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

#: The HTTP statuses after which the same request may well succeed a little later.
#: 520 to 524 are those of a content delivery network that could not reach the API behind it.
TRANSIENT_STATUS_CODES = frozenset({408, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524})


class Attempt(NamedTuple):
    """The outcome of one HTTP request.

    Attributes:
        number: The number of the attempt, from 1.
        status_code: The HTTP status; None if there was no response.
        error: Why the attempt failed, in a few words; None for a success.
        delay: The wait in seconds before the next attempt; None if there was none.
        elapsed: The duration of the attempt in seconds.
        request_id: The request ID to quote to the vendor's support; None if the response has none.
        operation: The method that the request was sent for, such as `activities.get`, or `tokens.get` for an
            access token.
        subject: The ID of the record; for a list, the page, such as `page 2`; for a token, the service (`api`
            or `webhooks`).
    """

    number: int
    status_code: int | None
    error: str | None
    delay: float | None
    elapsed: float
    request_id: str | None
    operation: str | None = None
    subject: str | None = None

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        # By name, so that versions with more attributes and versions with fewer read each other's pickles.
        return _restore_attempt, (self._asdict(),)


def _restore_attempt(values: dict[str, Any]) -> Attempt:
    return Attempt(**{name: value for name, value in values.items() if name in Attempt._fields})


class ThriveError(Exception):
    """The base class of all errors of this SDK.

    Args:
        message: What happened and what to do next; `str(error)` returns it.

    Attributes:
        history: The attempts of the call. Token requests are included only if the call failed there. Empty
            if nothing was sent.
        url: The requested URL; None if the error is not about a request. It contains no secret. In the URL of
            a token endpoint, `{tenant_id}` stands for the tenant ID.
        operation: The method that the request was sent for, such as `activities.get` or `tokens.get`; None if
            the error is not about a request.
        retry_after: The seconds to wait before the next try, if they are known: the server asks for them, or
            the error is about an earlier token request, whose outcome is remembered for so long.
    """

    history: tuple[Attempt, ...] = ()
    url: str | None = None
    operation: str | None = None
    retry_after: float | None = None

    @property
    def attempts(self) -> int:
        """The number of requests that were sent."""
        return len(self.history)

    @property
    def is_transient(self) -> bool:
        """Whether the same call may succeed a little later. Transient failures have already been retried."""
        return False

    @property
    def is_final(self) -> bool:
        """Whether the error is about this ID, and no later call with the same ID will succeed."""
        return False

    def __init__(self, message: str) -> None:
        super().__init__(message)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
        # The default calls the class with `args` alone, which cannot supply what is required by keyword.
        return _restore, (type(self), self.args), self.__dict__


def _restore(cls: type[ThriveError], args: tuple[Any, ...]) -> ThriveError:
    error = cls.__new__(cls)
    error.args = args
    return error


class ClientClosedError(ThriveError, RuntimeError):
    """The client was used after it had been closed. Raised before any I/O."""


class ConfigurationError(ThriveError, ValueError):
    """A setting, credential, region or option makes no sense. Raised before any I/O."""


class InvalidIdError(ThriveError, ValueError):
    """An id is not 24 hexadecimal digits. Raised before any I/O.

    Attributes:
        value: What was given: plain values as they are, anything else as its shortened `repr`.
    """

    value: object

    def __init__(self, message: str, *, value: object) -> None:
        super().__init__(message)
        self.value = value

    @property
    def is_final(self) -> bool:
        """True: no later call with the same ID will succeed."""
        return True


class ConnectionFailedError(ThriveError):
    """There is no usable response: name resolution, TLS, a refused, reset or cut connection.

    Attributes:
        reason: The cause, if it is known: `certificate`, `tls`, `proxy` (it cannot be reached or is failing),
            `proxy_authentication`, `proxy_rejection`, `unknown_host`, `refused`, `unreachable`, `no_thread`
            (none can be started) or `timeout`; None for any other.
    """

    reason: str | None = None

    @property
    def is_transient(self) -> bool:
        """Whether the same call may succeed a little later. Transient failures have already been retried.

        Not so if a certificate cannot be verified, or a proxy rejects the client.
        """
        return self.reason not in _SETTINGS_TO_CHANGE


#: Reasons that last until somebody changes a setting.
_SETTINGS_TO_CHANGE = frozenset({"certificate", "proxy_authentication", "proxy_rejection"})


class DeadlineExceededError(ConnectionFailedError, TimeoutError):
    """The call, or one phase of it, took longer than its `Timeout` allows."""

    reason: str | None = "timeout"


class TokenError(ThriveError):
    """The token endpoint refused to issue an access token, or its answer made no sense.

    Attributes:
        status_code: The HTTP status of the token endpoint's response.
        error: The error code, such as `invalid_client`, if the response holds one.
        error_description: The server's explanation, if the response holds one.
        retry_after: Seconds that the server asks to wait before the next try, if it says so.

    Source: RFC 6749 section 5.2; RFC 9110 section 10.2.3.
    """

    status_code: int
    error: str | None
    error_description: str | None
    retry_after: float | None

    def __init__(
        self,
        message: str,
        *,
        status_code: int,
        error: str | None = None,
        error_description: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.error = error
        self.error_description = error_description
        self.retry_after = retry_after

    @property
    def is_transient(self) -> bool:
        """Whether the same call may succeed a little later. Transient failures have already been retried."""
        return self.status_code in TRANSIENT_STATUS_CODES


class UnexpectedResponseError(ThriveError):
    """A response with a 2xx status breaks the contract: it holds no record that could be trusted.

    Attributes:
        status_code: The HTTP status of the response.
        body: The response's body as text, capped.
        in_api_format: Whether the body is a JSON object, as the API's own are. A page of a proxy, an empty
            body and a body that did not arrive intact are not.
        headers: The headers of the response that help to diagnose it, by their names in any case; see
            `ApiResponse.headers`.
    """

    status_code: int
    body: str
    in_api_format: bool
    headers: Mapping[str, str] = MappingProxyType({})

    def __init__(
        self,
        message: str,
        *,
        status_code: int,
        body: str = "",
        in_api_format: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.body = body
        self.in_api_format = in_api_format
        if headers is not None:
            self.headers = headers


class ApiError(ThriveError):
    """The API, or a server in front of it, returned a status other than the documented successes.

    Attributes:
        status_code: The HTTP status of the response.
        error: The vendor's name of the error, if the body holds one.
        message: The vendor's explanation, if the body holds one.
        request_id: What to quote to the vendor's support, if the response names it.
        retry_after: Seconds that the server asks to wait before the next try, if it says so.
        body: The response's body as text, capped.
        region: The name of the region that the request was for.
        in_api_format: Whether the body is in the API's own error format: a JSON object with `message`, and
            with `error` or a `status` that equals the HTTP status. If not, a proxy or a gateway may have
            answered in place of the API.
        headers: The headers of the response that help to diagnose it, by their names in any case; see
            `ApiResponse.headers`.

    Source: the vendor's pages on errors; RFC 9110 section 15.
    """

    status_code: int
    error: str | None
    message: str | None
    request_id: str | None
    retry_after: float | None
    body: str
    region: str | None
    in_api_format: bool
    headers: Mapping[str, str] = MappingProxyType({})

    def __init__(  # noqa: PLR0913 - what is known of the response
        self,
        text: str,
        *,
        status_code: int,
        error: str | None = None,
        message: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        body: str = "",
        region: str | None = None,
        in_api_format: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(text)
        self.status_code = status_code
        self.error = error
        self.message = message
        self.request_id = request_id
        self.retry_after = retry_after
        self.body = body
        self.region = region
        self.in_api_format = in_api_format
        if headers is not None:
            self.headers = headers

    @property
    def is_transient(self) -> bool:
        """Whether the same call may succeed a little later. Transient failures have already been retried."""
        return self.status_code in TRANSIENT_STATUS_CODES


class BadRequestError(ApiError):
    """400: the API does not accept the request as it is."""


class UnauthorizedError(ApiError):
    """401: the API does not accept the credentials or the access token."""


class ForbiddenError(ApiError):
    """403: the credentials are valid but do not allow this call."""


class NotFoundError(ApiError):
    """404 in the API's own error format: the region does not have what was asked for, such as a record.

    Any other 404, such as a gateway's page, is an `ApiError`: it does not say that anything is missing.
    """

    @property
    def is_final(self) -> bool:
        """True: the API itself says that it has no record with this ID."""
        return True


class ConflictError(ApiError):
    """409: the request conflicts with the state of the resource."""


class UnprocessableError(ApiError):
    """422: the API understood the request and cannot carry it out."""


class RateLimitedError(ApiError):
    """429: too many requests in a short time."""


class ServerError(ApiError):
    """5xx: the API failed, whether IANA knows the status or not."""


class WebhookError(ThriveError):
    """A delivery of a webhook cannot be accepted. Answer it with 400.

    This class and `SignatureError` are about the delivery, so one `except` clause answers all of them. A
    mistake in the receiver's own code, such as an empty secret, is a `ConfigurationError` instead. Neither
    holds the body, a secret, or a signature.

    Attributes:
        reason: What is wrong: `too_large`, `malformed` (the body is not an event), `undated`, `too_old`, or
            `from_the_future`; for a `SignatureError`, `missing_signature`, `malformed_signature`, or
            `wrong_signature`.
    """

    reason: str

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class SignatureError(WebhookError):
    """The signature of a webhook's delivery is missing or wrong: anybody may have sent it."""
