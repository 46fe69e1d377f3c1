"""The server of a simulation, and the network between it and the workers."""

import random
from collections.abc import Callable

import anyio
import httpx

from thrive_learning._clock import wall_time
from thrive_learning.sandbox import FaultySandbox, Sandbox, SandboxRateLimit, SandboxTransport
from tools.simulation.figures import Arrival

#: How long a message takes in each direction, in seconds: at least, and at most.
LATENCY_S = (0.02, 0.2)


class Server:
    """A sandbox with a rate limit, which notes each request.

    Args:
        sandbox: The sandbox.
        limit: Its rate limit.
        now: Returns the seconds since the start of the simulation.
    """

    def __init__(self, sandbox: Sandbox, limit: SandboxRateLimit, now: Callable[[], float]) -> None:
        self.sandbox = sandbox
        limited = FaultySandbox(self.sandbox, rate_limit=limit)
        self._transport = SandboxTransport(limited, clock=wall_time)
        self._now = now
        self.arrivals: list[Arrival] = []

    async def respond(self, request: httpx.Request) -> httpx.Response:
        """Respond to a request, and note it."""
        at = self._now()
        response = await self._transport.handle_async_request(request)
        is_count = request.url.params.get("perPage") == "1"
        kind = "token" if request.method == "POST" else "count" if is_count else "page"
        self.arrivals.append(Arrival(at, kind, response.status_code))
        return response


class Network(httpx.AsyncBaseTransport):
    """The network of one worker.

    Args:
        server: The server.
        seed: The seed of the latencies.

    Attributes:
        is_lost: Whether the worker's machine has no power, so that it sends and receives nothing.
    """

    def __init__(self, server: Server, seed: float) -> None:
        self._server = server
        self._random = random.Random(seed)  # noqa: S311 - nothing secret
        self.is_lost = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request to the server, and return its response."""
        await self._travel()
        response = await self._server.respond(request)
        await self._travel()
        return response

    async def _travel(self) -> None:
        if not self.is_lost:
            await anyio.sleep(self._random.uniform(*LATENCY_S))
        if self.is_lost:
            await anyio.sleep_forever()
