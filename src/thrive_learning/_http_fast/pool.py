"""The pool: takes an idle connection or opens one, and keeps it for the next request.

The connection that came back last is taken first. That costs the same however many there are, and keeps those
in use warm.
"""

import collections
import queue
import time

import anyio

from thrive_learning._budget import MAX_CONNECTIONS, Budget
from thrive_learning._http.port import IDLE_TIMEOUT_S, Origin, TransportError
from thrive_learning._http_fast.connections import PooledConnection, RouteToOrigins


def closed() -> TransportError:
    """Return the error for a request that comes after the end, or waits when it comes."""
    return TransportError("other", "the connections are closed")


def too_many() -> TransportError:
    """Return the error for a request that has waited for too long."""
    return TransportError("timeout", f"{MAX_CONNECTIONS} requests are in flight", phase="pool")


class ThreadLimit:
    """Lets so many threads have a connection at once."""

    def __init__(self) -> None:
        # A semaphore does the same at ten times the cost.
        self._permits: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(MAX_CONNECTIONS):
            self._permits.put(None)
        self._is_closed = False

    def acquire(self, budget: Budget) -> None:
        """Wait for a permit.

        Raises:
            TransportError: None came in time, or before the end.
        """
        try:
            self._permits.get(timeout=max(min(budget.timeout.pool, budget.remaining()), 0))
        except queue.Empty:
            failure = too_many()
        else:
            if not self._is_closed:
                return
            self.release()  # which wakes the next one that waits
            failure = closed()
        raise failure

    def release(self) -> None:
        """Return a permit."""
        self._permits.put(None)

    def close(self) -> None:
        """Let everybody who waits fail."""
        self._is_closed = True
        self.release()


class TaskLimit:
    """Lets so many tasks of one event loop have a connection at once."""

    def __init__(self) -> None:
        self._permits = MAX_CONNECTIONS
        self._waiting: collections.deque[anyio.Event] = collections.deque()
        self._is_closed = False

    async def acquire(self, budget: Budget) -> None:
        """Wait for a permit. See `ThreadLimit`."""
        if self._permits > 0:
            self._permits -= 1
            return
        if self._is_closed:
            raise closed()
        turn = anyio.Event()
        self._waiting.append(turn)
        try:
            with anyio.move_on_after(budget.timeout.pool):
                await turn.wait()
        except BaseException:
            if turn.is_set():  # the permit came together with the cancellation
                self.release()
            else:
                self._waiting.remove(turn)
            raise
        if self._is_closed:
            raise closed()
        if not turn.is_set():
            self._waiting.remove(turn)
            raise too_many()

    def release(self) -> None:
        """Return a permit, to the one who has waited longest."""
        if self._waiting:
            self._waiting.popleft().set()
        else:
            self._permits += 1

    def close(self) -> None:
        """Let everybody who waits fail."""
        self._is_closed = True
        while self._waiting:
            self._waiting.popleft().set()


class Pool:
    """The connections of one engine, shared by threads or by the tasks of one event loop.

    Args:
        route: How they are opened.
        limit: A permit of it has been acquired when a connection is taken; the pool returns it.
    """

    def __init__(self, route: RouteToOrigins, limit: ThreadLimit | TaskLimit) -> None:
        self._route = route
        self._limit = limit
        self._idle: dict[Origin, collections.deque[PooledConnection]] = {}
        self._open: set[PooledConnection] = set()
        self._is_closed = False
        self._next_look = 0.0

    def take(self, origin: Origin, *, fresh: bool) -> PooledConnection:
        """Return a connection, which must be put back or dropped.

        Args:
            origin: Where it leads.
            fresh: Whether it must be a new one.
        """
        try:
            idle = self._idle.get(origin)
            while idle and not fresh:
                try:
                    connection = idle.pop()
                except IndexError:  # another thread was faster
                    break
                if not connection.has_expired():
                    return connection
                self._close(connection)
            connection = PooledConnection(origin, self._route)
        except BaseException:
            self._limit.release()
            raise
        self._open.add(connection)
        if self._is_closed:
            self.drop(connection)
            raise closed()
        return connection

    def put_back(self, connection: PooledConnection) -> None:
        """Keep a connection for the next request, if nothing speaks against it."""
        if not connection.end():
            self.drop(connection)
            return
        idle = self._idle.get(connection.origin)
        if idle is None:
            idle = self._idle.setdefault(connection.origin, collections.deque())
        idle.append(connection)
        self._limit.release()
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + IDLE_TIMEOUT_S
            self._close_expired(idle)
        if self._is_closed:
            self.close()

    def _close_expired(self, idle: collections.deque[PooledConnection]) -> None:
        """Close those that nobody has needed for long. They are on the left."""
        while idle:
            try:
                connection = idle.popleft()
            except IndexError:  # another thread was faster
                break
            if not connection.has_expired():
                idle.appendleft(connection)
                break
            self._close(connection)

    def drop(self, connection: PooledConnection) -> None:
        """Close a connection that was taken."""
        try:
            self._close(connection)
        finally:
            self._limit.release()

    def _close(self, connection: PooledConnection) -> None:
        self._open.discard(connection)
        connection.close()

    def close(self) -> None:
        """Close idle connections, and make those fail that are in use; their users close them."""
        self._is_closed = True
        self._limit.close()
        for idle in list(self._idle.values()):
            while idle:
                try:
                    self._close(idle.pop())
                except IndexError:  # another thread was faster
                    break
        for connection in list(self._open):
            connection.cut()
