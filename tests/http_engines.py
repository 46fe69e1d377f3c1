"""One set of methods for an engine in sync code, on asyncio, and on trio. Tests of `_http` use it."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
from anyio.from_thread import BlockingPortal
from patience import PATIENCE_S

from thrive_learning._budget import Budget
from thrive_learning._http.httpx_adapter import AsyncHttpxEngine, HttpxEngine
from thrive_learning._http.port import Origin, Request
from thrive_learning._http.stock import AsyncStockEngine, StockEngine
from thrive_learning.policies import RetryPolicy, Timeout

HEADERS = [(b"Host", b"here.example"), (b"Accept", b"application/json")]


def request_to(
    port: int, scheme: str = "http", host: str = "localhost", *, method: str = "GET", body: bytes = b""
) -> Request:
    headers = [*HEADERS, (b"Content-Length", b"%d" % len(body))] if body else HEADERS
    return Request(method, Origin(scheme, host, port), b"/rest/v1/activity/a?b=c", headers, body)


def budget_of(total: float = PATIENCE_S, **limits: float) -> Budget:
    return Budget(Timeout(total=total, **limits), RetryPolicy())


class Driver:
    """Uses an engine, sync or async, in blocking calls."""

    def __init__(self, engine: Any, portal: BlockingPortal | None) -> None:
        self.engine = engine
        self._portal = portal

    def send(
        self, request: Request, budget: Budget | None = None, *, fresh: bool = False, chunks: int = -1
    ) -> Any:
        """Send a request and return the status, headers, and body of its response, or so many chunks."""
        budget = budget or budget_of()
        if self._portal is None:
            return self._send(request, budget, fresh, chunks)
        return self._portal.call(self._asend, request, budget, fresh, chunks)

    def _send(self, request: Request, budget: Budget, fresh: bool, chunks: int) -> Any:  # noqa: FBT001
        response = self.engine.send(request, budget, fresh=fresh)
        body = b""
        try:
            for index, chunk in enumerate(response.chunks):
                if index == chunks:
                    break
                body += chunk
        finally:
            response.close()
        return response.status, response.headers, body

    async def _asend(self, request: Request, budget: Budget, fresh: bool, chunks: int) -> Any:  # noqa: FBT001
        with anyio.fail_after(budget.remaining()):
            response = await self.engine.send(request, budget, fresh=fresh)
            body, index = b"", 0
            try:
                async for chunk in response.chunks:
                    if index == chunks:
                        break
                    index += 1
                    body += chunk
            finally:
                await response.close()
            return response.status, response.headers, body

    def close(self) -> None:
        if self._portal is None:
            self.engine.close()
        else:
            self._portal.call(self.engine.aclose)


class Kind:
    """Sync, asyncio, or trio."""

    def __init__(self, name: str, portal: BlockingPortal | None) -> None:
        self.name = name
        self.portal = portal
        self.is_async = portal is not None

    @contextmanager
    def driving(self, create: Callable[[], Any]) -> Iterator[Driver]:
        engine = self.portal.call(create) if self.portal else create()
        driver = Driver(engine, self.portal)
        try:
            yield driver
        finally:
            driver.close()

    def stock(self, context: ssl.SSLContext | None = None, proxy: str | None = None) -> Any:
        """Open the default engine."""
        context = context or ssl.create_default_context()
        return self.driving(lambda: (AsyncStockEngine if self.is_async else StockEngine)(context, proxy))

    def adapted(self, transport: Any) -> Any:
        """Open the engine upon a transport."""
        return self.driving(lambda: (AsyncHttpxEngine if self.is_async else HttpxEngine)(transport))
