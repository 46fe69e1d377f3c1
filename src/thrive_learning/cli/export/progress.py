"""How far an export is: a bar for a terminal, a line now and then for a log."""

import contextlib
import sys
from collections.abc import Callable, Generator
from typing import NamedTuple

from thrive_learning._clock import monotonic
from thrive_learning.cli.terminal import say

#: How often a line is written where there is no terminal, and how often a bar is drawn.
LINE_INTERVAL_S, BAR_INTERVAL_S = 10.0, 0.1

_MINUTE_S, _HOUR_S = 60, 3600
_EARLY = 0.01  # of the input: what is left after so little of it is a guess


class Advance(NamedTuple):
    """How far an export is.

    Attributes:
        records: How many records it has written.
        failures: How many IDs have failed.
        elapsed_s: The seconds since it began.
        fraction: How much of the input was read, from 0 to 1; None where its length is not known.
        begun_at: What `fraction` was when the first result came: an earlier run did what lies before.
        is_paused: Whether all requests wait, as the server is overloaded or down.
    """

    records: int
    failures: int
    elapsed_s: float
    fraction: float | None = None
    begun_at: float = 0.0
    is_paused: bool = False

    @property
    def rate(self) -> float:
        """Results per second."""
        return (self.records + self.failures) / self.elapsed_s if self.elapsed_s else 0.0

    @property
    def left_s(self) -> float | None:
        """How many seconds it will go on, as far as can be told."""
        if self.fraction is None or self.fraction - self.begun_at < _EARLY:
            return None
        return self.elapsed_s * (1 - self.fraction) / (self.fraction - self.begun_at)

    @property
    def text(self) -> str:
        """All of it, in a few words."""
        parts = [count_of(self.records, "record"), f"{self.rate:,.0f}/s"]
        if self.failures:
            parts.insert(1, f"{self.failures:,} failed")
        if self.fraction is not None:
            parts.append(f"{self.fraction:.0%}")
        if self.is_paused:
            parts.append("paused")
        elif self.left_s is not None:
            parts.append(f"{duration(self.left_s)} left")
        return ", ".join(parts)


def count_of(number: int, noun: str) -> str:
    """Return a number of things."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """Return a span of time for people."""
    if seconds < _MINUTE_S:
        return f"{seconds:.1f} s"
    if seconds < _HOUR_S:
        return f"{seconds // _MINUTE_S:.0f} min {seconds % _MINUTE_S:02.0f} s"
    return f"{seconds // _HOUR_S:.0f} h {seconds % _HOUR_S // _MINUTE_S:02.0f} min"


class Display(NamedTuple):
    """What shows how far an export is.

    Attributes:
        show: Shows it if some time has passed since it did so.
        pause: Shows that all requests wait, at once.
    """

    show: Callable[[], None]
    pause: Callable[[], None]


@contextlib.contextmanager
def shown(
    look: Callable[[], Advance],
    *,
    quiet: bool,
    to_terminal: bool,
    clock: Callable[[], float] = monotonic,
) -> Generator[Display, None, None]:
    """Show how far an export is on stderr.

    Args:
        look: Returns how far it is.
        quiet: Show nothing.
        to_terminal: Whether records go to this terminal, which leaves no room for a bar.
        clock: Returns seconds.
    """
    if quiet:
        yield Display(_nothing, _nothing)
    elif sys.stderr.isatty() and not to_terminal:
        with _bar() as draw:
            yield Display(_now_and_then(lambda: draw(look()), BAR_INTERVAL_S, clock), lambda: draw(look()))
            draw(look())
    else:  # a pause has a line of its own
        yield Display(_now_and_then(lambda: say(look().text), LINE_INTERVAL_S, clock), _nothing)


def _nothing() -> None:
    """Show nothing."""


def _now_and_then(
    act: Callable[[], None], interval_s: float, clock: Callable[[], float]
) -> Callable[[], None]:
    last = clock()

    def show() -> None:
        nonlocal last
        now = clock()
        if now - last >= interval_s:
            last = now
            act()

    return show


@contextlib.contextmanager
def _bar() -> Generator[Callable[[Advance], None], None, None]:
    from rich.console import Console  # noqa: PLC0415 - of the extra `cli`, and for bars alone
    from rich.progress import BarColumn, Progress, TextColumn  # noqa: PLC0415

    columns = (BarColumn(bar_width=24), TextColumn("{task.description}", markup=False))
    console = Console(file=sys.stderr)
    # What is said meanwhile goes above the bar; stdout has the records, and goes where it always does.
    # It is drawn here and not by a thread of its own, because a machine may be out of threads.
    with Progress(*columns, console=console, redirect_stdout=False, auto_refresh=False) as progress:
        task = progress.add_task("", total=None)

        def draw(advance: Advance) -> None:
            total = None if advance.fraction is None else 1.0
            done, text = advance.fraction or 0.0, advance.text
            progress.update(task, total=total, completed=done, description=text, refresh=True)

        yield draw
