"""Our own clients as contenders, with each of their engines."""

import urllib.parse
from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.subject import ACTIVITY_ID, PER_PAGE, SECRET, TENANT, TOKEN_PATH


def engines() -> list[str]:
    """Return the engines that are available here."""
    try:
        our_client("http://127.0.0.1:1/rest/v1", "fast").close()
    except ValueError:  # ConfigurationError, because the extra is not installed
        return ["httpx"]
    return ["httpx", "fast"]


def _region(api_url: str) -> Any:
    from thrive_learning import Region

    token_url = urllib.parse.urljoin(api_url, f"{TOKEN_PATH}/{{tenant_id}}")
    return Region.custom("bench", api_url=api_url, token_url=token_url, webhooks_token_url=token_url)


def _credentials(*, oauth: bool) -> Any:
    from thrive_learning import BasicCredentials, ClientCredentials

    return ClientCredentials(TENANT, "bench", SECRET) if oauth else BasicCredentials(TENANT, SECRET)


def our_client(api_url: str, engine: Any, *, oauth: bool = False, **options: Any) -> Any:
    """Make a `ThriveClient` with HTTP Basic, or with OAuth."""
    from thrive_learning import ThriveClient

    return ThriveClient(_region(api_url), _credentials(oauth=oauth), engine=engine, **options)


def our_async_client(api_url: str, engine: Any, *, oauth: bool = False, **options: Any) -> Any:
    """Make an `AsyncThriveClient` with HTTP Basic, or with OAuth."""
    from thrive_learning import AsyncThriveClient

    return AsyncThriveClient(_region(api_url), _credentials(oauth=oauth), engine=engine, **options)


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
