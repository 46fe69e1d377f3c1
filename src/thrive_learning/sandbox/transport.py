"""The sandbox as an httpx transport: in process, without a socket."""

import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import anyio
import anyio.lowlevel
import httpx

from thrive_learning.sandbox.core import Sandbox
from thrive_learning.sandbox.faults import SandboxReply
from thrive_learning.sandbox.faulty import FaultySandbox
from thrive_learning.sandbox.messages import SandboxRequest


class SandboxTransport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Responds to requests of a sync or async httpx client from a sandbox, regardless of their host.

    Args:
        sandbox: A `Sandbox`, or a `FaultySandbox` with faults.
        clock: Returns the time in Unix seconds, which decides whether tokens have expired.
        sleep: Waits for a number of seconds if a response is delayed.
        async_sleep: The same for async clients.

    Source:
        https://www.python-httpx.org/advanced/transports/#custom-transports
    """

    def __init__(
        self,
        sandbox: Sandbox | FaultySandbox,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], object] = time.sleep,
        async_sleep: Callable[[float], Awaitable[object]] = anyio.sleep,
    ) -> None:
        self._sandbox = sandbox if isinstance(sandbox, FaultySandbox) else FaultySandbox(sandbox)
        self._clock = clock
        self._sleep = sleep
        self._async_sleep = async_sleep

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Respond to one request of an `httpx.Client`."""
        reply = self._reply(request, request.read())
        if reply.delay_s:
            self._sleep(min(reply.delay_s, _limit_s(request)))
        return _response(request, reply)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Respond to one request of an `httpx.AsyncClient`, on any event loop that anyio supports."""
        # A network would yield to the event loop here, so that other tasks and cancellation can run.
        await anyio.lowlevel.checkpoint()
        reply = self._reply(request, await request.aread())
        if reply.delay_s:
            await self._async_sleep(min(reply.delay_s, _limit_s(request)))
        return _response(request, reply)

    def _reply(self, request: httpx.Request, body: bytes) -> SandboxReply:
        return self._sandbox.reply(
            SandboxRequest(
                method=request.method,
                target=request.url.raw_path.decode("ascii"),
                headers=dict(request.headers.items()),
                body=body,
            ),
            now=self._clock(),
        )


def _limit_s(request: httpx.Request) -> float:
    """Return the number of seconds that the client waits, which its read timeout limits."""
    limit_s: float | None = request.extensions.get("timeout", {}).get("read")
    return math.inf if limit_s is None else limit_s


def _response(request: httpx.Request, reply: SandboxReply) -> httpx.Response:
    if reply.delay_s > _limit_s(request):
        raise httpx.ReadTimeout("The read operation timed out", request=request)
    response = reply.response
    # As a stream, not as content: httpx reads content at once, after which iter_raw() raises,
    # and a response from the network can still be streamed.
    stream = _CutStream(request, response.body) if reply.is_cut else httpx.ByteStream(response.body)
    return httpx.Response(response.status, headers=dict(response.headers), stream=stream)


class _CutStream(httpx.SyncByteStream, httpx.AsyncByteStream):
    """Half of a body, and then a closed connection."""

    def __init__(self, request: httpx.Request, body: bytes) -> None:
        self._half = body[: len(body) // 2]
        self._error = httpx.ReadError("The connection was closed in the middle of the body", request=request)

    def __iter__(self) -> Iterator[bytes]:
        yield self._half
        raise self._error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._half
        raise self._error
