"""Shared parts of the tests: one body for the sync client and for the async one on asyncio and trio."""

import inspect
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self

import httpx
from anyio.from_thread import BlockingPortal

from thrive_learning import (
    AsyncActivityStream,
    AsyncResultStream,
    AsyncThriveClient,
    BasicCredentials,
    ClientCredentials,
    Region,
    RetryPolicy,
    ThriveClient,
)
from thrive_learning.sandbox import Sandbox, SandboxRequest

ROOT = Path(__file__).parent.parent

REGIONS = [*Region.VENDOR]
REGION_HOSTS = tuple(httpx.URL(url).host for region in REGIONS for url in region.urls)

TENANT_ID = "eu-west-2_AbcdEfghI"
ACTIVITY_ID = "60d5ec49b60b4b3a2c8f9a10"
#: The example of the reference page, field for field.
PAGE_EXAMPLE: dict[str, Any] = {
    "id": ACTIVITY_ID,
    "user": "60d5ec49b60b4b3a2c8f9a11",
    "type": "viewed",
    "date": "2020-02-12T14:58:23.621Z",
    "contextId": "64b6f4a8c2e4a1b9d3f2c4a0",
    "contextType": "content",
    "data": {"source": {"source": "feed"}, "duration": "3600"},
    "with": None,
}
BASIC = BasicCredentials(TENANT_ID, "fake-api-secret")
OAUTH = ClientCredentials(TENANT_ID, "fake-client", "fake-client-secret")

Handler = Callable[[httpx.Request], httpx.Response]


class Clock:
    """A clock that the test moves."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Kept(logging.Handler):
    """Keeps every record of every logger, as text and as the data that a structured log would take."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def texts(self) -> list[str]:
        return [f"{record.getMessage()} {vars(record)!r}" for record in self.records]


class Blocking:
    """An async client, or a part of one, whose methods block: so one test body serves sync and async."""

    def __init__(self, subject: object, portal: BlockingPortal) -> None:
        self._subject = subject
        self._portal = portal

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._subject, name)
        if inspect.iscoroutinefunction(value):
            return lambda *args, **kwargs: self._portal.call(partial(value, *args, **kwargs))
        if name in {"get_many", "iterate"}:
            return lambda *args, **kwargs: BlockingStream(value(*args, **kwargs), self._portal)
        return Blocking(value, self._portal) if name in {"activities", "tokens", "_http"} else value

    def close(self) -> None:
        self.aclose()

    def __repr__(self) -> str:
        return repr(self._subject)


class BlockingStream(Iterator[Any]):
    """The items of an async iterator, as a sync iterator. Each item is requested in its own task."""

    def __init__(self, stream: AsyncResultStream | AsyncActivityStream, portal: BlockingPortal) -> None:
        self._stream = stream
        self._portal = portal

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __next__(self) -> Any:
        try:
            return self._portal.call(self._stream.__anext__)
        except StopAsyncIteration:
            pass
        raise StopIteration

    def close(self) -> None:
        self._portal.call(self._stream.aclose)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


class Flavour:
    """Sync, asyncio or trio: creates clients that a test uses as if they were sync ones."""

    def __init__(self, name: str, portal: BlockingPortal | None, engine: str | None = None) -> None:
        self.name = name
        self.engine = engine
        self._portal = portal
        self.client_class = ThriveClient if portal is None else AsyncThriveClient

    def wrap(self, client: Any) -> Any:
        return client if self._portal is None else Blocking(client, self._portal)

    @contextmanager
    def open(self, *args: Any, **options: Any) -> Iterator[Any]:
        if self.engine is not None:
            options = {"engine": self.engine} | options
        client = self.wrap(self.client_class(*args, **options))
        try:
            yield client
        finally:
            client.close()

    def answering(
        self, handler: Handler, credentials: Any = BASIC, **options: Any
    ) -> AbstractContextManager[Any]:
        """Open a client of production whose transport is a function; it tries once unless told otherwise."""
        options = {"retry": RetryPolicy(attempts=1)} | options
        return self.open(Region.PRODUCTION, credentials, transport=httpx.MockTransport(handler), **options)


def receive_webhook(request: httpx.Request) -> httpx.Response:
    """Answer as a receiver that rejects unsigned events."""
    return httpx.Response(204 if "x-hmac-signature" in request.headers else 400)


def as_regions(sandbox: Sandbox) -> Handler:
    """Answer from a sandbox at the URLs of the four regions."""

    def respond(request: httpx.Request) -> httpx.Response:
        # The sandbox has both services on one host, the vendor has one host for each.
        prefix = "/webhooks" if request.url.host.startswith("user.") else ""
        response = sandbox.respond(
            SandboxRequest(
                method=request.method,
                target=prefix + request.url.raw_path.decode("ascii"),
                headers=dict(request.headers.items()),
                body=request.content,
            ),
            now=0,
        )
        return httpx.Response(response.status, headers=dict(response.headers), content=response.body)

    return respond


def token_response(value: str = "fake-token", **fields: Any) -> httpx.Response:
    body = {"access_token": value, "token_type": "Bearer", "expires_in": 3600} | fields
    return httpx.Response(200, json={name: field for name, field in body.items() if field is not None})


def page_response(**changes: Any) -> httpx.Response:
    return httpx.Response(200, content=json.dumps(PAGE_EXAMPLE | changes))
