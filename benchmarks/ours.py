"""Our own clients as contenders, with each of their engines."""

import inspect
import urllib.parse
from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.subject import ACTIVITY_ID, PER_PAGE, SECRET, TENANT, TOKEN_PATH


def engines() -> list[str]:
    """Return the engines that are available here."""
    try:
        our_client("http://127.0.0.1:1/rest/v1", "fast").close()
    except (ImportError, ValueError):  # including ConfigurationError, if the extra is not installed
        return ["httpx"]
    return ["httpx", "fast"]


def _region(api_url: str) -> Any:
    from thrive_learning import Region

    token_url = urllib.parse.urljoin(api_url, f"{TOKEN_PATH}/{{tenant_id}}")
    return Region.custom("bench", api_url=api_url, token_url=token_url, webhooks_token_url=token_url)


def _engine(client_class: Any, engine: str) -> dict[str, Any]:
    """Return the argument for an engine, if clients have it."""
    if "engine" in inspect.signature(client_class.__init__).parameters:
        return {"engine": engine}
    if engine != "httpx":
        raise ValueError(f"the clients have no engine {engine!r} yet")
    return {}


def _checked(client: Any, engine: str) -> Any:
    """Raise if the client uses another engine than the named one."""
    in_use = getattr(client, "engine", engine)
    if in_use != engine:
        raise ValueError(f"the client uses the engine {in_use!r}, not {engine!r}")
    return client


def our_client(api_url: str, engine: str, *, oauth: bool = False, **options: Any) -> Any:
    """Make a `ThriveClient` with HTTP Basic, or with OAuth."""
    from thrive_learning import BasicCredentials, ClientCredentials, ThriveClient

    credentials: Any = BasicCredentials(TENANT, SECRET)
    if oauth:
        credentials = ClientCredentials(TENANT, "bench", SECRET)
    options |= _engine(ThriveClient, engine)
    return _checked(ThriveClient(_region(api_url), credentials, **options), engine)


def our_async_client(api_url: str, engine: str, *, oauth: bool = False, **options: Any) -> Any:
    """Make an `AsyncThriveClient` with HTTP Basic, or with OAuth."""
    from thrive_learning import AsyncThriveClient, BasicCredentials, ClientCredentials

    credentials: Any = BasicCredentials(TENANT, SECRET)
    if oauth:
        credentials = ClientCredentials(TENANT, "bench", SECRET)
    options |= _engine(AsyncThriveClient, engine)
    return _checked(AsyncThriveClient(_region(api_url), credentials, **options), engine)


def sync_get(engine: str, *, oauth: bool = False) -> Callable[[str], Callable[[], Any]]:
    """Return a function that builds a contender on `ThriveClient`."""

    def build(api_url: str) -> Callable[[], Any]:
        client = our_client(api_url, engine, oauth=oauth)
        return lambda: client.activities.get(ACTIVITY_ID)

    return build


def walk(engine: str) -> Callable[[str], Callable[[], Any]]:
    """Return a function that builds a contender that walks through all pages with `ThriveClient`."""

    def build(api_url: str) -> Callable[[], Any]:
        client = our_client(api_url, engine)

        def last() -> Any:
            record = None
            for found in client.activities.iterate(per_page=PER_PAGE):
                record = found
            return record

        return last

    return build


def async_get(engine: str, *, oauth: bool = False) -> Callable[[str], Callable[[], Awaitable[Any]]]:
    """Return a function that builds a contender on `AsyncThriveClient`."""

    def build(api_url: str) -> Callable[[], Awaitable[Any]]:
        client = our_async_client(api_url, engine, oauth=oauth)

        async def get() -> Any:
            return await client.activities.get(ACTIVITY_ID)

        return get

    return build
