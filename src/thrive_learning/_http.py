"""The one seam between this SDK and HTTP: the httpx clients that the generated code calls.

They override `request`, the one method that generated code uses, and talk to httpx *transports*. The rest of
httpx's client is left out on purpose: nothing keeps cookies, follows redirects, reads netrc or calls event
hooks. Here, and nowhere else, a call meets its deadline, its credentials, the network, and what came back.
"""

import contextvars
import re
import sys
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from ssl import SSLContext
from typing import Any, cast

import anyio
import attrs
import httpx

from thrive_learning._auth import AsyncAuthorizer, Authorization, Authorizer, Headers
from thrive_learning._body import Body
from thrive_learning._outcome import (
    Reply,
    api_error,
    connection_failure,
    cut_response,
    deadline_exceeded,
    json_object,
    unexpected_response,
)
from thrive_learning._transport import Transports
from thrive_learning._version import __version__
from thrive_learning.credentials import Credentials, Scope
from thrive_learning.errors import ClientClosedError, ConfigurationError, ThriveError
from thrive_learning.models import AccessToken
from thrive_learning.policies import Deadline, Timeout
from thrive_learning.regions import Region, Service

_PRODUCTS = re.compile(r"[\x21-\x7e]+(?: [\x21-\x7e]+)*")


@attrs.define(eq=False, repr=False)
class Call:
    """What belongs to one call. Generated functions have no argument for it, so it travels beside them.

    Attributes:
        subject: What is asked for, in words.
        deadline: When the call has to be over.
        successes: The statuses that the contract documents as successes.
        attempts: How many requests were sent.
        reply: The documented success, once there is one.
        text: Its JSON as received.
        document: Its JSON as an object.
        token: The token that was sent; None with HTTP Basic.
    """

    subject: str
    deadline: Deadline
    successes: frozenset[int]
    attempts: int = 0
    reply: Reply | None = None
    text: str = ""
    document: dict[str, Any] = attrs.field(factory=dict[str, Any])
    token: AccessToken | None = None


current_call: contextvars.ContextVar[Call] = contextvars.ContextVar("thrive_learning_call")


class DocumentedResponse(httpx.Response):
    """A documented success as the generated parser sees it: its body read, its JSON parsed once and for all.

    It has just what that parser reads. httpx's own __init__ would decode the body once more.
    """

    def __init__(self, reply: Reply, document: dict[str, Any]) -> None:
        self.status_code = reply.status_code
        self.headers = reply.headers
        self.extensions = {}
        self._body = reply.body
        self._document = document

    @property
    def content(self) -> bytes:
        """The body, decompressed."""
        return self._body

    def json(self, **_options: Any) -> dict[str, Any]:
        """Give the JSON that the seam has parsed."""
        return self._document


def common_headers(application: object) -> Headers:
    """Give the headers of every request.

    Args:
        application: What to name before this SDK in the User-Agent, such as `"reports/1.4"`.

    Raises:
        ConfigurationError: It is not made of visible ASCII characters and single spaces.
    """
    if application is not None and not (isinstance(application, str) and _PRODUCTS.fullmatch(application)):
        raise ConfigurationError(
            f"application is {application!r}: pass visible ASCII characters such as 'reports/1.4', "
            "with single spaces between words"
        )
    python = ".".join(str(part) for part in sys.version_info[:3])
    agent = f"thrive-learning/{__version__} python/{python} httpx/{httpx.__version__}"
    return (
        (b"Accept", b"application/json"),
        (b"Accept-Encoding", b"gzip"),
        (b"User-Agent", (f"{application} {agent}" if application else agent).encode("ascii")),
    )


class _Unused(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Stands where httpx's clients keep their transport: what would use it would go around the seam."""


class Seam:
    """What the two clients below decide alike. Pure: it moves no bytes.

    Args:
        region: Where requests go.
        timeout: The time-outs of calls that bring none.
        application: See `common_headers`.
    """

    def __init__(self, region: Region, timeout: Timeout, application: str | None) -> None:
        self.region = region
        self.timeout = timeout
        self.headers: Headers = common_headers(application)
        self.closed = False

    def begin(self, timeout: Timeout | float | None) -> Deadline:
        """Start the clock of a call.

        Raises:
            ClientClosedError: The client is closed.
            ConfigurationError: The time-out is none.
        """
        if self.closed:
            raise ClientClosedError("the client is closed: make the call before that, or create a new client")
        return Deadline(Timeout.of(timeout, self.timeout))

    def request(self, method: str, path: str, options: dict[str, Any], authorization: bytes) -> httpx.Request:
        """Build the request for a path of the contract. It can only go to the region's own host."""
        if not path.startswith("/"):
            raise ConfigurationError(f"{path!r} is not a path of the contract: those begin with a slash")
        headers = [
            *self.headers,
            (b"Authorization", authorization),
            *httpx.Headers(options.pop("headers", None)).raw,
        ]
        return httpx.Request(method, self.region.api_url + path, headers=headers, **options)

    def accept(self, reply: Reply, call: Call, authorization: Authorization) -> httpx.Response:
        """Let a documented success through to the generated parser, and nothing else.

        Raises:
            ApiError: The status is no success.
            UnexpectedResponseError: It is another success, or its body is no JSON object.
            ConnectionFailedError: The body did not arrive whole.
        """
        documented = reply.status_code in call.successes
        problem = reply.flaw if documented else "the contract does not document this status"
        if problem is None:
            read = json_object(reply.body)
            if not isinstance(read, str):
                call.reply = reply
                call.text, call.document = read
                return DocumentedResponse(reply, call.document)
            problem = read
        circumstances = authorization.circumstances(call.subject, call.attempts, call.token)
        if not httpx.codes.is_success(reply.status_code):
            raise api_error(reply, circumstances)
        if documented and reply.cut:
            raise cut_response(reply, circumstances)
        raise unexpected_response(reply, circumstances, problem)


def _whole(response: httpx.Response, body: Body) -> Reply:
    content = body.end()
    return Reply(
        status_code=response.status_code, headers=response.headers, body=content, flaw=body.flaw, cut=body.cut
    )


def _broken(
    error: Exception, response: httpx.Response | None, body: Body | None, host: str, deadline: Deadline
) -> Reply | ThriveError:
    """Say what is left of an exchange that failed: a response cut off in its body, or an error."""
    if response is None or body is None or isinstance(error, (TimeoutError, httpx.TimeoutException)):
        return connection_failure(error, host=host, deadline=deadline)
    body.cut_off(type(error).__name__)
    return _whole(response, body)


class HttpClient(httpx.Client):
    """The seam of a sync client.

    Args:
        region: Where requests go.
        credentials: What authorizes them.
        timeout: The time-outs of calls that bring none.
        application: See `common_headers`.
        proxy: See `Transports`.
        verify: See `tls_context`.
        transport: See `Transports`.
    """

    def __init__(  # noqa: PLR0913 - these are the options of the client
        self,
        region: Region,
        credentials: Credentials,
        *,
        timeout: Timeout,
        application: str | None,
        proxy: str | None,
        verify: bool | SSLContext,
        transport: httpx.BaseTransport | Callable[[], httpx.BaseTransport] | None,
    ) -> None:
        super().__init__(transport=_Unused(), trust_env=False)
        self.seam: Seam = Seam(region, timeout, application)
        self.authorizer: Authorizer = Authorizer(region, credentials, self.seam.headers)
        self._transports = Transports[httpx.BaseTransport](
            kind=httpx.BaseTransport,
            build=lambda context, way_out: httpx.HTTPTransport(verify=context, proxy=way_out),
            urls=region.urls,
            injected=transport,
            proxy=proxy,
            verify=verify,
        )

    def request(self, method: str, url: httpx.URL | str, **options: Any) -> httpx.Response:
        """Send the request of the current call, and give its documented success.

        Raises:
            ThriveError: There is none; the class says why.
        """
        call = current_call.get()
        call.token = self.authorizer.token_for_call(call.deadline, self.exchange)
        request = self.seam.request(method, str(url), options, self.authorizer.header(call.token))
        call.attempts += 1
        reply = self.exchange(request, call.deadline)
        return self.seam.accept(reply, call, self.authorizer)

    def token(
        self, service: Service, scopes: Iterable[Scope | str] | None, timeout: Timeout | float | None
    ) -> AccessToken:
        """Give a fresh token for a service."""
        deadline = self.seam.begin(timeout)
        return self.authorizer.token(
            service, self.authorizer.scopes(service, scopes), deadline, self.exchange
        )

    def exchange(self, request: httpx.Request, deadline: Deadline) -> Reply:
        """Send a request and read its response, up to the cap and within the deadline.

        Raises:
            ConnectionFailedError: There is no response.
        """
        response, body = None, None
        request.extensions["timeout"] = deadline.phases()
        try:
            deadline.check()
            response = self._transports.for_url(request.url).handle_request(request)
            body = Body(response.headers.get("content-encoding", ""))
            try:
                for chunk in cast("Iterable[bytes]", response.stream):
                    if not body.feed(chunk):
                        break
                    deadline.check()
            finally:
                response.close()
            outcome: Reply | ThriveError = _whole(response, body)
        except Exception as error:  # noqa: BLE001 - a transport may raise anything, and none of it may get out
            outcome = _broken(error, response, body, request.url.host, deadline)
        # Raised here, not above: an `except` block would chain the cause, whose frames hold the credentials.
        if isinstance(outcome, ThriveError):
            raise outcome
        return outcome

    def close(self) -> None:
        """Close what the client has opened. It is safe to do so twice."""
        self.seam.closed = True
        while self._transports.owned:
            self._transports.owned.pop().close()


class AsyncHttpClient(httpx.AsyncClient):
    """The seam of an async client. See `HttpClient`."""

    def __init__(  # noqa: PLR0913 - these are the options of the client
        self,
        region: Region,
        credentials: Credentials,
        *,
        timeout: Timeout,
        application: str | None,
        proxy: str | None,
        verify: bool | SSLContext,
        transport: httpx.AsyncBaseTransport | Callable[[], httpx.AsyncBaseTransport] | None,
    ) -> None:
        super().__init__(transport=_Unused(), trust_env=False)
        self.seam: Seam = Seam(region, timeout, application)
        self.authorizer: AsyncAuthorizer = AsyncAuthorizer(region, credentials, self.seam.headers)
        self._transports = Transports[httpx.AsyncBaseTransport](
            kind=httpx.AsyncBaseTransport,
            build=lambda context, way_out: httpx.AsyncHTTPTransport(verify=context, proxy=way_out),
            urls=region.urls,
            injected=transport,
            proxy=proxy,
            verify=verify,
        )

    async def request(self, method: str, url: httpx.URL | str, **options: Any) -> httpx.Response:
        """Send the request of the current call, and give its documented success.

        Raises:
            ThriveError: There is none; the class says why.
        """
        call = current_call.get()
        with anyio.move_on_after(call.deadline.remaining()):
            call.token = await self.authorizer.token_for_call(call.deadline, self.exchange)
            request = self.seam.request(method, str(url), options, self.authorizer.header(call.token))
            call.attempts += 1
            reply = await self.exchange(request, call.deadline)
            return self.seam.accept(reply, call, self.authorizer)
        raise deadline_exceeded(call.deadline, host=self.seam.region.name)

    async def token(
        self, service: Service, scopes: Iterable[Scope | str] | None, timeout: Timeout | float | None
    ) -> AccessToken:
        """Give a fresh token for a service."""
        deadline = self.seam.begin(timeout)
        asked = self.authorizer.scopes(service, scopes)
        with anyio.move_on_after(deadline.remaining()):
            return await self.authorizer.token(service, asked, deadline, self.exchange)
        raise deadline_exceeded(deadline, host=self.seam.region.name)

    async def exchange(self, request: httpx.Request, deadline: Deadline) -> Reply:
        """Send a request and read its response, up to the cap and within the deadline.

        Raises:
            ConnectionFailedError: There is no response.
        """
        response, body = None, None
        request.extensions["timeout"] = deadline.phases()
        try:
            deadline.check()
            response = await self._transports.for_url(request.url).handle_async_request(request)
            body = Body(response.headers.get("content-encoding", ""))
            chunks = aiter(cast("AsyncIterable[bytes]", response.stream))
            try:
                async for chunk in chunks:
                    if not body.feed(chunk):
                        break
            finally:
                if isinstance(chunks, AsyncGenerator):
                    await chunks.aclose()  # one that is left early would end in a warning, at some other time
                await response.aclose()
            outcome: Reply | ThriveError = _whole(response, body)
        except Exception as error:  # noqa: BLE001 - a transport may raise anything, and none of it may get out
            outcome = _broken(error, response, body, request.url.host, deadline)
        # Raised here, not above: an `except` block would chain the cause, whose frames hold the credentials.
        if isinstance(outcome, ThriveError):
            raise outcome
        return outcome

    async def aclose(self) -> None:
        """Close what the client has opened. It is safe to do so twice."""
        self.seam.closed = True
        while self._transports.owned:
            await self._transports.owned.pop().aclose()
