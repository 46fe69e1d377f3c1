"""The sandbox as an httpx transport: in process, without a socket."""

import time
from collections.abc import Callable

import anyio.lowlevel
import httpx

from thrive_learning.sandbox.core import Sandbox, SandboxRequest


class SandboxTransport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Answers the requests of a sync or async httpx client from a sandbox, whatever host they name.

    Args:
        sandbox: What answers.
        clock: Gives the time in Unix seconds; tokens expire by it.

    Source:
        https://www.python-httpx.org/advanced/transports/#custom-transports
    """

    def __init__(self, sandbox: Sandbox, *, clock: Callable[[], float] = time.time) -> None:
        self._sandbox = sandbox
        self._clock = clock

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one request of an `httpx.Client`."""
        return self._respond(request, request.read())

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one request of an `httpx.AsyncClient`, on any event loop that anyio knows."""
        # A network would yield here. Without it no other task would run, and no cancellation would arrive.
        await anyio.lowlevel.checkpoint()
        return self._respond(request, await request.aread())

    def _respond(self, request: httpx.Request, body: bytes) -> httpx.Response:
        response = self._sandbox.respond(
            SandboxRequest(
                method=request.method,
                target=request.url.raw_path.decode("ascii"),
                headers=dict(request.headers.items()),
                body=body,
            ),
            now=self._clock(),
        )
        # As a stream, not as content: httpx reads content at once, after which iter_raw() refuses to run,
        # and a response from the network can still be streamed.
        return httpx.Response(
            response.status, headers=dict(response.headers), stream=httpx.ByteStream(response.body)
        )
