"""The pool, which takes an idle connection or creates one, and keeps it for the next request.

The connection that became idle last is taken first. This takes the same time for any number, and keeps the
connections in use warm.
"""

import collections

from thrive_learning._clock import monotonic
from thrive_learning._http.port import IDLE_TIMEOUT_S, Origin, TransportError
from thrive_learning._http_fast.connections import PooledConnection, RouteToOrigins
from thrive_learning._loops import TaskPermits, ThreadPermits


class Pool:
    """The connections of one engine, shared by threads or by the tasks of one event loop.

    Args:
        route: The way connections are opened.
        permits: The permits for connections. The caller acquires one before `take`, and the pool releases it.
    """

    def __init__(self, route: RouteToOrigins, permits: ThreadPermits | TaskPermits) -> None:
        self._route = route
        self._permits = permits
        self._idle = collections.defaultdict[Origin, collections.deque[PooledConnection]](collections.deque)
        self._open: set[PooledConnection] = set()
        self._is_closed = False
        self._next_look = 0.0

    def take(self, origin: Origin, *, fresh: bool) -> PooledConnection:
        """Return a connection, which must be put back or dropped.

        Args:
            origin: The server.
            fresh: Whether the connection must be new.

        Raises:
            TransportError: The pool is closed.
        """
        try:
            idle = self._idle[origin]
            while not fresh and (connection := _pop(idle)) is not None:
                if not connection.has_expired():
                    return connection
                self._close(connection)
            connection = PooledConnection(origin, self._route)
        except BaseException:
            self._permits.release()
            raise
        self._open.add(connection)
        if self._is_closed:
            self.drop(connection)  # whose permit wakes the next waiting caller
            raise TransportError("other", "the connections are closed")
        return connection

    def put_back(self, connection: PooledConnection) -> None:
        """Keep a connection for the next request, if it can be reused."""
        if not connection.end():
            self.drop(connection)
            return
        idle = self._idle[connection.origin]
        idle.append(connection)
        self._permits.release()
        now = monotonic()
        if now >= self._next_look:
            self._next_look = now + IDLE_TIMEOUT_S
            self._close_expired(idle)
        if self._is_closed:
            self.close()

    def _close_expired(self, idle: collections.deque[PooledConnection]) -> None:
        """Close connections that have been idle for too long. They are on the left."""
        while (connection := _pop(idle, 0)) is not None:
            if not connection.has_expired():
                idle.appendleft(connection)
                break
            self._close(connection)

    def drop(self, connection: PooledConnection) -> None:
        """Close a connection that was taken."""
        try:
            self._close(connection)
        finally:
            self._permits.release()

    def _close(self, connection: PooledConnection) -> None:
        self._open.discard(connection)
        connection.close()

    def close(self) -> None:
        """Close idle connections, and make the others fail. Their users close them."""
        self._is_closed = True
        for idle in list(self._idle.values()):
            while (connection := _pop(idle)) is not None:
                self._close(connection)
        for connection in list(self._open):
            connection.cut()
        self._permits.release()  # which wakes a waiting caller


def _pop(idle: collections.deque[PooledConnection], end: int = -1) -> PooledConnection | None:
    """Return the last or the first connection, unless another thread took it."""
    try:
        return idle.pop() if end else idle.popleft()
    except IndexError:
        return None
