"""The errors that the SDK raises: one tree of classes that hold plain data. Pure.

Each message says what happened and what to do next. The errors hold no live request or response, so they can
be pickled, copied, and sent to another process.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Self, cast

from thrive_learning._response_headers import ResponseHeaders

#: The HTTP statuses of transient failures. A content delivery network sends 520 to 524 when it cannot reach
#: the API.
TRANSIENT_STATUS_CODES = frozenset({408, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524})


class Attempt(NamedTuple):
    """The outcome of one HTTP request.

    Attributes:
        number: The number of the attempt, from 1.
        status_code: The HTTP status; None if there was no response.
        error: Why the attempt failed, in a few words; None for a success.
        delay: The wait in seconds before the next attempt; None after the last attempt.
        elapsed: The duration of the attempt in seconds.
        request_id: The request ID to quote to the vendor's support; None if the response does not have one.
        operation: The method that sent the request, such as `activities.get`, or `tokens.get` for an
            access token.
        subject: The ID of the record; for a list, the page, such as `page 2`; for a token, the service (`api`
            or `webhooks`).
        waited: How long the request waited for the client's rate limit before it was sent, in seconds.
    """

    number: int
    status_code: int | None
    error: str | None
    delay: float | None
    elapsed: float
    request_id: str | None
    operation: str | None = None
    subject: str | None = None
    waited: float = 0.0

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
        operation: The method that sent the request, such as `activities.get` or `tokens.get`; None if
            the error is not about a request.
        retry_after: The seconds to wait before the next try, if known, because the server asks for them or
            because the outcome of an earlier token request is remembered that long.
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
        # By default, unpickling calls the class with `args` alone, without the required keyword arguments.
        return _restore, (type(self), self.args), self.__dict__

    def __copy__(self) -> Self:
        # Without the traceback, whose frames may hold a secret. Where Dask is loaded, copies would keep it.
        made = _restore(type(self), self.args)
        made.__dict__.update(self.__dict__)
        return cast("Self", made)


def _restore(cls: type[ThriveError], args: tuple[Any, ...]) -> ThriveError:
    error = cls.__new__(cls)
    error.args = args
    return error


class ClientClosedError(ThriveError, RuntimeError):
    """The client was used after it was closed. Nothing was sent."""


class ConfigurationError(ThriveError, ValueError):
    """A setting, credential, region, or option is not valid. Nothing was sent."""


class InvalidIdError(ThriveError, ValueError):
    """The ID is not 24 hexadecimal digits. Nothing was sent.

    Attributes:
        value: The rejected value. A plain value is kept as it is, any other as its shortened `repr`.
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
    """No usable response arrived, because name resolution, the connection, the proxy, or TLS failed.

    Attributes:
        reason: The cause, if it is known: `certificate`, `tls`, `proxy` (cannot be reached or is failing),
            `proxy_authentication`, `proxy_rejection`, `unknown_host`, `refused`, `unreachable`, `no_thread`
            (no thread can be started), or `timeout`; None for any other cause.
    """

    reason: str | None = None

    @property
    def is_transient(self) -> bool:
        """Whether the same call may succeed a little later. Transient failures have already been retried.

        False if a certificate cannot be verified or if a proxy rejects the client.
        """
        return self.reason not in _SETTINGS_TO_CHANGE


#: Reasons that last until someone changes a setting.
_SETTINGS_TO_CHANGE = frozenset({"certificate", "proxy_authentication", "proxy_rejection"})


class DeadlineExceededError(ConnectionFailedError, TimeoutError):
    """The call, or one phase of it, took longer than its `Timeout` allows."""

    reason: str | None = "timeout"


class TokenError(ThriveError):
    """The token endpoint rejected the request or sent an invalid response.

    Attributes:
        status_code: The HTTP status of the token endpoint's response.
        error: The error code, such as `invalid_client`, if the response holds one.
        error_description: The server's explanation, if the response holds one.
        retry_after: The seconds to wait before the next try, if known.

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
    """A response with a 2xx status breaks the contract, so its content cannot be trusted.

    Attributes:
        status_code: The HTTP status of the response.
        body: The response's body as text, shortened.
        in_api_format: Whether the body is a JSON object, as the API's responses are. False for a proxy's
            page, an empty body, or a body that is incomplete or damaged.
        headers: The response headers that help with diagnosis, by case-insensitive name. See
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
            self.headers = ResponseHeaders(headers)


class ApiError(ThriveError):
    """The API, or a server in front of it, returned a status other than the documented successes.

    Attributes:
        status_code: The HTTP status of the response.
        error: The vendor's name of the error, if the body holds one.
        message: The vendor's explanation, if the body holds one.
        request_id: The request ID to quote to the vendor's support, if the response names it.
        retry_after: The seconds to wait before the next try, if the server states them.
        body: The response's body as text, shortened.
        region: The name of the region that the request was for.
        in_api_format: Whether the body is in the API's own error format: a JSON object with `message`, and
            with `error` or a `status` that equals the HTTP status. If not, a proxy or a gateway may have
            answered instead of the API.
        headers: The response headers that help with diagnosis, by case-insensitive name. See
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

    def __init__(  # noqa: PLR0913 - the facts of a response
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
            self.headers = ResponseHeaders(headers)

    @property
    def is_transient(self) -> bool:
        """Whether the same call may succeed a little later. Transient failures have already been retried."""
        return self.status_code in TRANSIENT_STATUS_CODES


class BadRequestError(ApiError):
    """400: the API does not accept the request as it is."""


class UnauthorizedError(ApiError):
    """401: the API does not accept the credentials or the access token."""


class ForbiddenError(ApiError):
    """403: the credentials are valid, but they do not allow this call."""


class NotFoundError(ApiError):
    """404 in the API's own error format: the region does not have the requested item, such as a record.

    Any other 404, such as a gateway's page, is an `ApiError`, because it does not prove that anything is
    missing.
    """

    @property
    def is_final(self) -> bool:
        """True: the API itself says that it has no record with this ID."""
        return True


class ConflictError(ApiError):
    """409: the request conflicts with the state of the resource."""


class UnprocessableError(ApiError):
    """422: the API understood the request but cannot carry it out."""


class RateLimitedError(ApiError):
    """429: too many requests in a short time."""


class ServerError(ApiError):
    """5xx: the API, or a server in front of it, failed."""


class WebhookError(ThriveError):
    """A webhook delivery cannot be accepted. Respond with 400.

    One `except WebhookError` clause covers every invalid delivery, because `SignatureError` is a subclass. A
    mistake in the receiver's own code, such as an empty secret, raises `ConfigurationError` instead. Neither
    error holds the body, a secret, or a signature.

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
    """The signature of a webhook delivery is missing or wrong, so anyone may have sent it."""
