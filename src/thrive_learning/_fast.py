"""The fast engine: httpx transports over libcurl, by pycurl. An extra; decisions/0017-fast-engine.md.

libcurl moves the bytes. What a response may look like, how long a call may take, and what an error is called,
is as with httpx: callers cannot tell the engines apart but by the time they take.
"""

import asyncio
import collections
import contextlib
import math
import os
import socket
import stat
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import httpx

from thrive_learning._curl import KEEPALIVE_S, POLLIN, POLLOUT, Transfer, Trust, curl, new_poll
from thrive_learning._engine import loop_obstacle, on_a_loop_it_lacks
from thrive_learning.policies import current_budget


class Line:
    """One connection: a transfer, and the sockets that libcurl waits for on its behalf."""

    def __init__(
        self,
        trust: Trust,
        proxy: str | None,
        on_socket: Callable[[int, int, object, object], None],
    ) -> None:
        self.transfer: Transfer = Transfer(trust, proxy)
        #: When it was last in use.
        self.used: float = 0.0
        self._multi: Any = curl.CurlMulti()
        self._multi.setopt(curl.M_MAXCONNECTS, 1)
        self._multi.setopt(curl.M_SOCKETFUNCTION, on_socket)

    def _wait_s(self, idle: float | None) -> float | None:
        """Give the seconds until libcurl wants to be called, or the silence is too long; None for never."""
        milliseconds: int = self._multi.timeout()
        if milliseconds < 0:
            return idle
        return milliseconds / 1000 if idle is None else min(milliseconds / 1000, idle)

    def _ended(self) -> tuple[int, str] | None:
        """Give libcurl's number and words for how the exchange ended; None if it has not."""
        _left, good, bad = self._multi.info_read()
        if bad:
            return bad[0][1], bad[0][2]
        return (0, "") if good else None

    def _finish(self) -> None:
        handle = self.transfer.handle
        self.transfer.socket = handle.getinfo(curl.ACTIVESOCKET)
        self._multi.remove_handle(handle)

    def close(self) -> None:
        """Close the connection."""
        self._multi.close()
        self.transfer.handle.close()


class SyncLine(Line):
    """A line that a thread waits for."""

    def __init__(self, trust: Trust, proxy: str | None) -> None:
        self._poll: Any = new_poll()
        self._sockets: set[int] = set()
        self._is_cut = False
        super().__init__(trust, proxy, self.on_socket)

    def on_socket(self, what: int, number: int, _multi: object, _data: object) -> None:
        """Wait for a socket, in another direction, or no longer."""
        events = _EVENTS.get(what)
        if events is not None:
            self._poll.register(number, events)
            self._sockets.add(number)
        else:
            self._sockets.discard(number)
            with contextlib.suppress(KeyError):
                self._poll.unregister(number)

    def cut(self) -> None:
        """Let the thread that waits here see the connection end, or find that it was to end."""
        self._is_cut = True
        for number in list(self._sockets):
            with contextlib.suppress(OSError):  # it is closed already
                if stat.S_ISSOCK(os.fstat(number).st_mode):  # libcurl watches events of its own as well
                    with socket.socket(fileno=os.dup(number)) as same:
                        same.shutdown(socket.SHUT_RDWR)

    def run(self, read: float | None) -> tuple[int, str]:
        """Make the exchange that the transfer is prepared for.

        Args:
            read: How many seconds nothing may come.

        Returns:
            libcurl's number and words for what went wrong; 0 for nothing.

        Raises:
            httpx.ReadTimeout: Nothing came for so long.
            httpx.ReadError: It was cut.
        """
        multi, transfer = self._multi, self.transfer
        multi.add_handle(transfer.handle)
        try:
            _code, running = multi.socket_action(curl.SOCKET_TIMEOUT, 0)
            while running:
                if self._is_cut:
                    raise httpx.ReadError("")
                idle = transfer.left(read)
                if idle is not None and idle <= 0:
                    raise httpx.ReadTimeout("")
                wait_s = self._wait_s(idle)
                ready = self._poll.poll(None if wait_s is None else math.ceil(wait_s * 1000))
                for number, events in ready:
                    # An error of the socket is libcurl's to find, in either direction.
                    which = curl.CSELECT_IN if events & ~POLLOUT else 0
                    which |= curl.CSELECT_OUT if events & POLLOUT else 0
                    _code, running = multi.socket_action(number, which)
                if not ready:
                    _code, running = multi.socket_action(curl.SOCKET_TIMEOUT, 0)
                elif not transfer.hear():
                    break
            return self._ended() or _ENOUGH
        finally:
            self._is_cut = False
            self._finish()

    def close(self) -> None:
        """Close the connection."""
        self._sockets.clear()  # their numbers are soon those of others
        super().close()


# What libcurl would say of an exchange that went well: it was left early, and nothing is wrong with it.
_ENOUGH = (0, "")
_EVENTS = {curl.POLL_IN: POLLIN, curl.POLL_OUT: POLLOUT, curl.POLL_INOUT: POLLIN | POLLOUT}


class AsyncLine(Line):
    """A line that a task on asyncio waits for."""

    def __init__(self, trust: Trust, proxy: str | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._watched: dict[int, int] = {}
        self._end: asyncio.Future[tuple[int, str]] = self._loop.create_future()
        self._read: float | None = None
        super().__init__(trust, proxy, self.on_socket)

    def on_socket(self, what: int, number: int, _multi: object, _data: object) -> None:
        """Wait for a socket, in another direction, or no longer."""
        before, events = self._watched.pop(number, 0), _EVENTS.get(what, 0)
        if before & ~events & POLLIN:
            self._loop.remove_reader(number)
        if before & ~events & POLLOUT:
            self._loop.remove_writer(number)
        if events & ~before & POLLIN:
            self._loop.add_reader(number, self._act, number, curl.CSELECT_IN)
        if events & ~before & POLLOUT:
            self._loop.add_writer(number, self._act, number, curl.CSELECT_OUT)
        if events:
            self._watched[number] = events

    def _act(self, number: int, events: int) -> None:
        self._multi.socket_action(number, events)
        ended = self._ended()
        try:
            if number != curl.SOCKET_TIMEOUT and not self.transfer.hear():
                ended = ended or _ENOUGH
        except httpx.TransportError as error:
            self.fail(error)
        if ended is None:
            self._look_again()
        elif not self._end.done():
            self._end.set_result(ended)

    def _look_again(self) -> None:
        """See to it that libcurl is called in time, and a silence is noticed."""
        wait_s = self._wait_s(self.transfer.left(self._read))
        if wait_s is None:
            return
        due = self._loop.time() + wait_s
        # One that rings too early costs less than a new one each time.
        if self._timer is None or self._timer.when() > due:
            self._end_timer()
            self._timer = self._loop.call_at(due, self._ring)

    def _end_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        self._timer = None
        if self._end.done():
            return
        left = self.transfer.left(self._read)
        if left is not None and left <= 0:
            self.fail(httpx.ReadTimeout(""))
        else:
            self._act(curl.SOCKET_TIMEOUT, 0)

    async def run(self, read: float | None) -> tuple[int, str]:
        """Make the exchange that the transfer is prepared for. See `SyncLine.run`."""
        self._end = self._loop.create_future()
        self._read = read
        self._multi.add_handle(self.transfer.handle)
        try:
            self._act(curl.SOCKET_TIMEOUT, 0)
            return await self._end
        finally:
            self._finish()

    def close(self) -> None:
        """Close the connection."""
        self._end_timer()
        super().close()

    def fail(self, error: httpx.TransportError) -> None:
        """End the exchange that is going on."""
        if not self._end.done():
            self._end.set_exception(error)


LineT = TypeVar("LineT", SyncLine, AsyncLine)


class Idle(Generic[LineT]):
    """The lines to one host that nobody uses, in the order in which they came back. Safe between threads."""

    def __init__(self) -> None:
        self._lines: collections.deque[LineT] = collections.deque()

    def take(self) -> tuple[LineT | None, list[LineT]]:
        """Give the line that was used last, if it still is fresh; and those that have to be closed."""
        stale: list[LineT] = []
        while True:
            try:
                line = self._lines.pop()
            except IndexError:
                return None, stale
            if line.transfer.is_fresh():
                return line, stale
            stale.append(line)

    def put(self, line: LineT) -> list[LineT]:
        """Take a line back; gives those that have to be closed, as they have been idle for too long."""
        line.used = time.monotonic()
        self._lines.append(line)
        old: list[LineT] = []
        with contextlib.suppress(IndexError):  # another thread was faster
            while self._lines[0].used < line.used - KEEPALIVE_S:
                old.append(self._lines.popleft())
        return old

    def take_all(self) -> list[LineT]:
        """Give up all lines."""
        lines: list[LineT] = []
        with contextlib.suppress(IndexError):
            while True:
                lines.append(self._lines.pop())
        return lines


def _check(proxy: str | None) -> None:
    if proxy is not None:
        httpx.Proxy(proxy)  # it raises what the other engine raises


def _origin(url: str) -> str:
    return url[: url.find("/", len("https://"))]


class FastTransport(httpx.BaseTransport):
    """Sends by libcurl, from any number of threads: each exchange has a line to itself.

    Args:
        trust: Whom to trust.
        proxy: The URL of a proxy for everything, or None.

    Raises:
        ValueError: The proxy's URL is none.
        httpx.InvalidURL: The same.
    """

    def __init__(self, trust: Trust, proxy: str | None) -> None:
        _check(proxy)
        self._trust = trust
        self._proxy = proxy
        self._closed = False
        self._idle: dict[str, Idle[SyncLine]] = collections.defaultdict(Idle)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and give its response with all of its body."""
        url = str(request.url)
        idle = self._idle[_origin(url)]
        line, to_close = idle.take()
        if line is None:
            line = SyncLine(self._trust, self._proxy)
        budget = current_budget.get(None)
        total = None
        if budget is not None:
            budget.connection = line  # first: who ends the budget from now on cuts the line
            total = budget.remaining()
        try:
            line.transfer.prepare(request, url, request.read(), total)
            code, said = line.run(request.extensions.get("timeout", {}).get("read"))
            response = line.transfer.response(code, said)
        except BaseException:
            to_close.append(line)
            raise
        else:
            to_close += [line] if self._closed else idle.put(line)
        finally:
            for other in to_close:
                other.close()
        return response

    def close(self) -> None:
        """Close the connections; those in use when their exchange ends."""
        self._closed = True
        for idle in list(self._idle.values()):
            for line in idle.take_all():
                line.close()


class AsyncFastTransport(httpx.AsyncBaseTransport):
    """Sends by libcurl on asyncio.

    Args:
        trust: Whom to trust.
        proxy: The URL of a proxy for everything, or None.
        instead: Makes the transport for event loops that libcurl's events cannot be had from, such as trio's;
            None if that is an error.
    """

    def __init__(
        self, trust: Trust, proxy: str | None, instead: Callable[[], httpx.AsyncBaseTransport] | None
    ) -> None:
        _check(proxy)
        self._trust = trust
        self._proxy = proxy
        self._make_instead = instead
        self._instead: httpx.AsyncBaseTransport | None = None
        self._settled = False
        self._idle: dict[str, Idle[AsyncLine]] = collections.defaultdict(Idle)
        self._in_use: set[AsyncLine] = set()

    def _settle(self) -> None:
        obstacle = loop_obstacle()
        if obstacle is not None:
            if self._make_instead is None:
                raise on_a_loop_it_lacks(obstacle)
            self._instead = self._make_instead()
        self._settled = True

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and give its response with all of its body."""
        if not self._settled:
            self._settle()
        if self._instead is not None:
            return await self._instead.handle_async_request(request)
        url = str(request.url)
        idle = self._idle[_origin(url)]
        line, to_close = idle.take()
        for other in to_close:
            other.close()
        if line is None:
            line = AsyncLine(self._trust, self._proxy)
        content = await request.aread()
        self._in_use.add(line)
        try:
            line.transfer.prepare(request, url, content, None)
            code, said = await line.run(request.extensions.get("timeout", {}).get("read"))
            response = line.transfer.response(code, said)
        except BaseException:
            line.close()
            raise
        finally:
            self._in_use.discard(line)
        for other in idle.put(line):
            other.close()
        return response

    async def aclose(self) -> None:
        """Close the connections; an exchange that is going on fails."""
        if self._instead is not None:
            await self._instead.aclose()
        for line in self._in_use:
            line.fail(httpx.ReadError("the client was closed"))
        for idle in self._idle.values():
            for line in idle.take_all():
                line.close()
