"""Simulated time: code that only waits runs at once, in the order of its waits, and the same each time.

The event loop's clock jumps to the next timer as soon as nothing else is left to do. The SDK's own clocks
follow it. So an hour takes as long as its calculations, and a busy machine changes nothing.

Only one thread may run. The SDK calls stores in threads; here, such a call runs in place and takes no time.
"""

import asyncio
import contextlib
import selectors
import time
from collections.abc import Callable, Coroutine, Generator
from types import SimpleNamespace
from typing import Any, TypeVar

from thrive_learning import _clock, _threads

T = TypeVar("T")


# The longest wait of asyncio's loop, in seconds. It repeats it for a longer one, as in `anyio.sleep_forever`.
_FOREVER_S = 86_400


class _Selector(selectors.DefaultSelector):
    """Moves a clock instead of waiting."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout >= _FOREVER_S:
            raise RuntimeError("every task waits for another one, and nothing will ever happen")
        self.now += max(timeout, 0.0)
        return []


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock starts at 0 and never waits."""

    def __init__(self) -> None:
        self._simulated = _Selector()
        super().__init__(self._simulated)

    def time(self) -> float:
        """Return the simulated seconds since the start."""
        return self._simulated.now


def run(main: Callable[[SimulatedLoop], Coroutine[Any, Any, T]], *, starts_at: float) -> T:
    """Run a coroutine function on a loop of simulated time, with all clocks of the SDK on that time.

    Args:
        main: The function. It gets the loop, whose `time()` is the time.
        starts_at: The wall-clock time at the start, in Unix seconds.

    Raises:
        RuntimeError: All tasks wait for each other.
    """
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, SimulatedLoop)
        with _simulated(loop, starts_at):
            return runner.run(main(loop))


@contextlib.contextmanager
def _simulated(loop: SimulatedLoop, starts_at: float) -> Generator[None]:
    # Every module has imported the same object, so it is changed in place.
    monotonic: Any = _clock.monotonic
    clocks: Any = _clock
    work: Any = _threads._Work  # noqa: SLF001
    state, begin, wall = monotonic.__reduce__()[2], work.begin, clocks.time
    monotonic.__setstate__((loop.time, (), {}, None))
    clocks.time = SimpleNamespace(time=lambda: starts_at + loop.time(), monotonic=time.monotonic)
    work.begin = _carry_out
    try:
        yield
    finally:
        monotonic.__setstate__(state)
        clocks.time = wall
        work.begin = begin


def _carry_out(work: Any) -> None:
    """Do in place what is for a thread."""
    work.end(work.run())
