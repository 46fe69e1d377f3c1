"""The clients, which connect the other modules and decide nothing themselves.

The modules that send requests and read responses, and httpx with them, are imported when the first client is
created. Importing the class alone stays fast.
"""

import abc
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, Self, TypedDict, TypeVar, Unpack, cast

from thrive_learning._exchange.body import DEFAULT_PAGE_BYTES, DEFAULT_RECORD_BYTES
from thrive_learning._frames import forget_locals
from thrive_learning._settings.engine_names import DEFAULT_ENGINE, EngineName
from thrive_learning.credentials import BasicCredentials, ClientAuth, ClientCredentials, Credentials, Secret
from thrive_learning.drift import Drift
from thrive_learning.errors import Attempt, ConfigurationError
from thrive_learning.policies import RetryPolicy, Timeout
from thrive_learning.regions import Region

if TYPE_CHECKING:
    from ssl import SSLContext

    from thrive_learning._call.seam import AsyncCaller, Caller, Options
    from thrive_learning._checking.examination import Examination
    from thrive_learning.activities import Activities, AsyncActivities
    from thrive_learning.checks import CheckReport
    from thrive_learning.rate_limits import RateLimit
    from thrive_learning.sandbox import SandboxTransport
    from thrive_learning.telemetry import OpenTelemetry
    from thrive_learning.token_stores import TokenStore
    from thrive_learning.tokens import AsyncTokens, Tokens


class Transport(Protocol):
    """The type of `transport=` of a sync client: an `httpx.BaseTransport`, or one of httpx2."""

    def handle_request(self, request: Any, /) -> Any:
        """Send a request of the transport's library and return its response."""
        ...

    def close(self) -> None:
        """Close all connections."""
        ...


class AsyncTransport(Protocol):
    """The type of `transport=` of an async client: an `httpx.AsyncBaseTransport`, or one of httpx2."""

    async def handle_async_request(self, request: Any, /) -> Any:
        """Send a request of the transport's library and return its response."""
        ...

    async def aclose(self) -> None:
        """Close all connections."""
        ...


#: The transports of sync and async clients.
_TransportT = TypeVar("_TransportT", Transport, AsyncTransport)

_CallerT = TypeVar("_CallerT", bound="Caller | AsyncCaller")


class SandboxOptions(TypedDict, total=False):
    """The keyword arguments of a client that apply without a network."""

    timeout: Timeout | float
    retry: RetryPolicy
    application: str | None
    on_attempt: Callable[[Attempt], object] | None
    on_drift: Callable[[Drift], object] | None
    strict: bool
    max_record_bytes: int
    max_page_bytes: int
    telemetry: "OpenTelemetry | None"
    rate_limit: "RateLimit | None"


class _NetworkOptions(SandboxOptions, Generic[_TransportT], total=False):
    """The keyword arguments of both clients."""

    proxy: str | None
    verify: "bool | SSLContext"
    token_store: "TokenStore | None"
    transport: _TransportT | Callable[[], _TransportT] | None
    engine: EngineName


class ClientOptions(_NetworkOptions[Transport], total=False):
    """The keyword arguments of `ThriveClient`."""


class AsyncClientOptions(_NetworkOptions[AsyncTransport], total=False):
    """The keyword arguments of `AsyncThriveClient`."""


class _Client(abc.ABC, Generic[_TransportT, _CallerT]):
    """The shared part of both clients: how they are created, printed, and pickled."""

    region: Region

    def __init__(  # noqa: PLR0913 - every option of a client
        self,
        region: Region | str,
        credentials: Credentials,
        *,
        timeout: Timeout | float = Timeout(),  # noqa: B008 - it is frozen
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - it is frozen
        application: str | None = None,
        proxy: str | None = None,
        verify: "bool | SSLContext" = True,
        transport: _TransportT | Callable[[], _TransportT] | None = None,
        on_attempt: Callable[[Attempt], object] | None = None,
        token_store: "TokenStore | None" = None,
        engine: EngineName = DEFAULT_ENGINE,
        on_drift: Callable[[Drift], object] | None = None,
        strict: bool = False,
        max_record_bytes: int = DEFAULT_RECORD_BYTES,
        max_page_bytes: int = DEFAULT_PAGE_BYTES,
        telemetry: "OpenTelemetry | None" = None,
        rate_limit: "RateLimit | None" = None,
    ) -> None:
        """Create a client.

        Args:
            region: The deployment to use: a `Region`, or its name.
            credentials: `BasicCredentials` or `ClientCredentials`, issued for this region.
            timeout: The time limits of a call and its phases; a number is seconds for the whole call.
            retry: How often a request is sent again after a transient failure.
            application: A name to put before this SDK's in the User-Agent, such as `"reports/1.4"`.
            proxy: The URL of a proxy for all requests; None uses HTTPS_PROXY, ALL_PROXY, and NO_PROXY.
            verify: True trusts certifi's certificates, or those in SSL_CERT_FILE or SSL_CERT_DIR. An
                `ssl.SSLContext` trusts others. False trusts every server, so use it only in tests.
            transport: An httpx transport for all requests, which stays open when the client closes; or a
                function that returns one, which the client closes.
            on_attempt: Called after each request, including token requests, in the thread or task of the
                call. An exception that it raises is logged and ignored.
            token_store: The store of access tokens that several clients, processes, or machines share:
                `FileTokenStore()`, `RedisTokenStore(url)`, `MemoryTokenStore()`, or your own `TokenStore`.
                None keeps tokens in the memory of this client.
            engine: The library that sends requests: "httpx", or "fast", which needs the extra `fast` and uses
                less CPU time.
            on_drift: Called once for each kind of difference between responses and the contract. Each kind is
                logged as well. An exception that it raises is logged and ignored.
            strict: Raise UnexpectedResponseError for a record with a field that breaks the contract (null
                included), instead of reading the field as None.
            max_record_bytes: The size limit of a record's body after decompression, in bytes; 1 MiB by
                default. A larger body raises UnexpectedResponseError.
            max_page_bytes: The same for a page of records; 64 MiB by default.
            telemetry: `OpenTelemetry()` to report calls as spans and metrics, which needs the extra `otel`;
                None to report nothing.
            rate_limit: `RateLimit(per_second=20)` to send at most that many requests to the API per second,
                across all calls, runs, and retries. A call waits for it within its time limit. None for no
                limit.

        Raises:
            ConfigurationError: An argument is not valid.
        """
        from thrive_learning._call.seam import Options  # noqa: PLC0415 - see above
        from thrive_learning._log import follow_environment  # noqa: PLC0415

        follow_environment()
        try:
            self.region = region if isinstance(region, Region) else Region.parse(region)
            self._options = Options(
                timeout=Timeout.of(timeout, Timeout()),
                retry=RetryPolicy.of(retry),
                application=application,
                proxy=proxy,
                verify=verify,
                on_attempt=on_attempt,
                token_store=token_store,
                engine=engine,
                on_drift=on_drift,
                strict=strict,
                max_record_bytes=max_record_bytes,
                max_page_bytes=max_page_bytes,
                telemetry=telemetry,
                rate_limit=rate_limit,
            )
            self._transport: _TransportT | Callable[[], _TransportT] | None = transport
            self._http: _CallerT = self._connect(_credentials(credentials))
        except BaseException as error:
            forget_locals(error)
            raise
        finally:
            del credentials, proxy  # a traceback may show local variables

    @abc.abstractmethod
    def _connect(self, credentials: Credentials) -> _CallerT:
        """Create the object that carries out calls, and the attributes that offer them."""

    @property
    def engine(self) -> EngineName:
        """The engine that sends requests; always "httpx" with `transport=`."""
        return self._http.engine

    @classmethod
    def from_env(
        cls,
        *,
        profile: str | None = None,
        region: Region | str | None = None,
        **options: Unpack[_NetworkOptions[_TransportT]],
    ) -> Self:
        """Create a client from environment variables and, for settings that they do not have, a profile.

        The variables are THRIVE_REGION (`production` by default), THRIVE_TENANT_ID, and either
        THRIVE_API_SECRET, or THRIVE_CLIENT_SECRET with optionally THRIVE_CLIENT_ID (the tenant ID by default)
        and THRIVE_SCOPES (separated by spaces or commas). THRIVE_ENGINE selects the engine, unless `engine=`
        does. THRIVE_RATE_LIMIT is the rate limit, unless `rate_limit=` is passed. An empty variable counts as
        missing. A secret can also come from a file or a command. See docs/reference/settings.md for all
        settings.

        Args:
            profile: A profile in the file that `thrive config path` prints; None for the one in
                THRIVE_PROFILE, or else for `default` if it exists.
            region: One of the vendor's regions, or its name; None for that of the settings.
            **options: The keyword arguments of the client.

        Raises:
            ConfigurationError: A setting is missing, not valid, or contradicts another. The message names the
                setting and where it was found.
        """
        from thrive_learning._settings.resolution import log_warnings, settings  # noqa: PLC0415 - not every client's

        try:
            found = settings(profile=profile, region=region, engine=options.get("engine"))
            log_warnings(found)
            options["engine"] = found.engine
            options.setdefault("rate_limit", found.rate_limit)
            return cls(found.region, found.credentials, **options)
        except BaseException as error:
            forget_locals(error)
            raise
        finally:
            del options  # a traceback may show local variables

    @classmethod
    def sandbox(cls, *, client_auth: ClientAuth = "auto", **options: Unpack[SandboxOptions]) -> Self:
        """Create a client of an embedded sandbox, which needs no network, sockets, or credentials.

        The sandbox has the reference page's example under its own ID, `60d5ec49b60b4b3a2c8f9a10`, and records
        of every type of activity.

        Args:
            client_auth: How clients authenticate at the sandbox's token endpoint: `"post"` for form fields,
                `"basic"` for HTTP Basic, `"auto"` for either.
            **options: `timeout`, `retry`, `application`, `on_attempt`, `on_drift`, `strict`,
                `max_record_bytes`, `max_page_bytes`, `telemetry`, and `rate_limit`, as for the client.

        Raises:
            ConfigurationError: `client_auth` or an option is not valid.
        """
        region, credentials, transport = _sandbox(client_auth)
        try:
            return cls(region, credentials, transport=cast("_TransportT", transport), **options)
        finally:
            del options  # a traceback may show local variables

    def __repr__(self) -> str:
        name = self.region.name if hasattr(self, "region") else None  # its creation may have failed
        return f"<{type(self).__name__} region={name!r}>"

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        # Connections and tokens are not pickled, and neither are secrets that may not be.
        kept = _kept(self._http.authorizer.credentials)
        return _revived, (type(self), self.region, kept, _luggage(self._options, self._transport))


class ThriveClient(_Client[Transport, "Caller"]):
    """Reads from the Thrive Learning API. Threads may share a client.

    Use it as a context manager, or call `close()` when done. `AsyncThriveClient` is its twin for asyncio and
    trio.

    Attributes:
        region: The deployment that it uses.
        activities: Reads activity records.
        tokens: Returns access tokens for your own calls.

    Source: the reference page, "Security" and "OAuth".
    """

    activities: "Activities"
    tokens: "Tokens"

    def _connect(self, credentials: Credentials) -> "Caller":
        from thrive_learning._call.seam import Caller  # noqa: PLC0415 - see above
        from thrive_learning.activities import Activities  # noqa: PLC0415
        from thrive_learning.tokens import Tokens  # noqa: PLC0415

        http = Caller(self.region, credentials, self._options, self._transport)
        self.activities, self.tokens = Activities(http), Tokens(http)
        return http

    def check(
        self, activity_id: str | None = None, *, timeout: Timeout | float | None = None
    ) -> "CheckReport":
        """Check that the settings work: region, proxy, certificates, token, scopes, access, and clock.

        Sends one request to the API, after a token request if the credentials need a token and the client
        does not have one. Remembered failures of token requests are forgotten first, so do not call this in a
        loop. Failures are in the report and are not raised.

        Args:
            activity_id: A record to read; None requests a record that does not exist, which still shows
                whether the credentials are accepted.
            timeout: The time limits of the check, or seconds for the whole check; None for the client's.

        Raises:
            InvalidIdError: The ID is not 24 hexadecimal digits. Nothing was sent.
            ClientClosedError: The client is closed.
        """
        from thrive_learning._checking.run import check  # noqa: PLC0415 - few clients need it

        return check(
            self._http, _examination(self._http, self._options, self._transport, activity_id), timeout
        )

    def close(self) -> None:
        """Close the connections. Later calls raise ClientClosedError; closing again does nothing."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


class AsyncThriveClient(_Client[AsyncTransport, "AsyncCaller"]):
    """Reads from the Thrive Learning API on asyncio or trio. Tasks may share a client.

    Use it as an async context manager, or await `aclose()` when done. `ThriveClient` is its sync twin.

    Attributes:
        region: The deployment that it uses.
        activities: Reads activity records.
        tokens: Returns access tokens for your own calls.

    Source: the reference page, "Security" and "OAuth".
    """

    activities: "AsyncActivities"
    tokens: "AsyncTokens"

    def _connect(self, credentials: Credentials) -> "AsyncCaller":
        from thrive_learning._call.seam import AsyncCaller  # noqa: PLC0415 - see above
        from thrive_learning.activities import AsyncActivities  # noqa: PLC0415
        from thrive_learning.tokens import AsyncTokens  # noqa: PLC0415

        http = AsyncCaller(self.region, credentials, self._options, self._transport)
        self.activities, self.tokens = AsyncActivities(http), AsyncTokens(http)
        return http

    async def check(
        self, activity_id: str | None = None, *, timeout: Timeout | float | None = None
    ) -> "CheckReport":
        """Check that the settings work: region, proxy, certificates, token, scopes, access, and clock.

        Sends one request to the API, after a token request if the credentials need a token and the client
        does not have one. Remembered failures of token requests are forgotten first, so do not call this in a
        loop. Failures are in the report and are not raised.

        Args:
            activity_id: A record to read; None requests a record that does not exist, which still shows
                whether the credentials are accepted.
            timeout: The time limits of the check, or seconds for the whole check; None for the client's.

        Raises:
            InvalidIdError: The ID is not 24 hexadecimal digits. Nothing was sent.
            ClientClosedError: The client is closed.
        """
        from thrive_learning._checking.run import check_async  # noqa: PLC0415 - few clients need it

        return await check_async(
            self._http, _examination(self._http, self._options, self._transport, activity_id), timeout
        )

    async def aclose(self) -> None:
        """Close the connections. Later calls raise ClientClosedError; closing again does nothing."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.aclose()


def _examination(
    http: "Caller | AsyncCaller", options: "Options", transport: object, activity_id: str | None
) -> "Examination":
    from thrive_learning._checking.examination import Examination  # noqa: PLC0415 - few clients need it
    from thrive_learning._ids import validate_activity_id  # noqa: PLC0415

    validated = None if activity_id is None else validate_activity_id(activity_id)
    return Examination(http.seam.region, http.authorizer.credentials, options, transport, validated)


def _credentials(credentials: object) -> Credentials:
    if not isinstance(credentials, (BasicCredentials, ClientCredentials)):
        raise ConfigurationError(
            f"credentials is of type {type(credentials).__name__}. Pass BasicCredentials or "
            "ClientCredentials."
        )
    return credentials


class _SecretElsewhere(NamedTuple):
    """Replaces credentials in a pickle that must not contain their secret."""

    kind: type[Credentials]
    tenant_id: str


def _kept(credentials: Credentials) -> Credentials | _SecretElsewhere:
    if isinstance(credentials, BasicCredentials):
        secret = credentials.api_secret
    else:
        secret = credentials.client_secret
    return credentials if secret.may_pickle else _SecretElsewhere(type(credentials), credentials.tenant_id)


def _luggage(options: "Options", transport: object) -> dict[str, Any]:
    if not isinstance(options.verify, bool):
        raise TypeError("A client with an ssl.SSLContext cannot be pickled. Create it in the other process.")
    if options.proxy is not None and "@" in options.proxy:
        raise TypeError("A client whose proxy has a password cannot be pickled. Set HTTPS_PROXY instead.")
    return options._asdict() | {"transport": transport}


def _revived(
    cls: Callable[..., Any], region: Region, kept: Credentials | _SecretElsewhere, options: dict[str, Any]
) -> Any:
    if not isinstance(kept, _SecretElsewhere):
        return cls(region, kept, **options)
    from thrive_learning._settings.resolution import credentials_for  # noqa: PLC0415 - few clients are pickled

    credentials = credentials_for(region)
    if not isinstance(credentials, kept.kind) or credentials.tenant_id != kept.tenant_id:
        raise ConfigurationError(
            f"The pickled client has {kept.kind.__name__} of the tenant {kept.tenant_id!r} without their "
            "secret, and the environment has other credentials. Set the THRIVE_ variables for this tenant, "
            "pass the secret as a function, or allow it in pickles with Secret(..., may_pickle=True)."
        )
    return cls(region, credentials, **options)


def _sandbox(client_auth: ClientAuth = "auto") -> "tuple[Region, ClientCredentials, SandboxTransport]":
    from thrive_learning import sandbox  # noqa: PLC0415 - few clients need it

    if client_auth not in {"auto", "post", "basic"}:
        raise ConfigurationError(f"client_auth is {client_auth!r}. Choose 'auto', 'post', or 'basic'.")
    core = sandbox.Sandbox(client_auth=client_auth)
    region = Region.custom(
        "sandbox",
        api_url=sandbox.API_URL,
        token_url=sandbox.TOKEN_URL,
        webhooks_token_url=sandbox.WEBHOOKS_TOKEN_URL,
    )
    # The sandbox's secret protects nothing, so its clients can be pickled.
    secret = Secret(core.client_secret, may_pickle=True)
    credentials = ClientCredentials(core.tenant_id, core.client_id, secret)
    return region, credentials, sandbox.SandboxTransport(core)
