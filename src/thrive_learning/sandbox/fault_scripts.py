"""Which requests to a sandbox fail, and how."""

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace

from thrive_learning.sandbox.faults import Fault, parse_fault


class FaultScript:
    """Applies faults to requests in order, each to as many requests as it says.

    Requests to the API and to the token endpoints are counted separately. `clock-skew` affects both unless it
    has `token`, because a server has only one clock. Threads may share a script.

    Args:
        faults: `Fault`s, or text that `parse_fault` reads.

    Raises:
        ValueError: A text is not a fault, or a fault would never occur because the one before it never ends.
    """

    def __init__(self, faults: Iterable[Fault | str] = ()) -> None:
        self._lock = threading.Lock()
        self._faults: dict[bool, deque[Fault]] = {True: deque(), False: deque()}
        for fault in faults:
            self.add(fault)

    def add(self, fault: Fault | str) -> None:
        """Add a fault after the existing ones.

        Raises:
            ValueError: As for the class.
        """
        fault = parse_fault(fault) if isinstance(fault, str) else fault
        queues = [self._faults[fault.for_tokens]]
        if fault.name == "clock-skew" and not fault.for_tokens:
            queues.append(self._faults[True])
        with self._lock:
            for queue in queues:
                if queue and queue[-1].times is None:
                    raise ValueError(
                        f"the fault {fault} would never occur, because {queue[-1]} affects all requests. "
                        f"Limit that fault, as in {queue[-1]}:1"
                    )
            for queue in queues:
                queue.append(fault)

    def next_fault(self, *, is_token: bool) -> Fault | None:
        """Return the fault of the next request, or None.

        Args:
            is_token: Whether the request goes to a token endpoint.
        """
        with self._lock:
            queue = self._faults[is_token]
            if not queue:
                return None
            fault = queue[0]
            if fault.times == 1:
                queue.popleft()
            elif fault.times is not None:
                queue[0] = replace(fault, times=fault.times - 1)
            return fault

    def clear(self) -> None:
        """Remove all faults that have not occurred."""
        with self._lock:
            for queue in self._faults.values():
                queue.clear()

    def __iter__(self) -> Iterator[Fault]:
        with self._lock:
            return iter([*self._faults[False], *self._faults[True]])

    def __getstate__(self) -> dict[bool, deque[Fault]]:
        # Without the lock, so that a client of the sandbox can be pickled.
        with self._lock:
            return {is_token: queue.copy() for is_token, queue in self._faults.items()}

    def __setstate__(self, state: dict[bool, deque[Fault]]) -> None:
        self._lock = threading.Lock()
        self._faults = state
