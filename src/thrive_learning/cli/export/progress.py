"""How far an export is: a bar for a terminal, a line now and then for a log."""

import contextlib
import sys
from collections.abc import Callable, Generator
from typing import NamedTuple

from thrive_learning._clock import monotonic
from thrive_learning.cli.export.tally import Tally
from thrive_learning.cli.terminal import say

#: How often a line is written where there is no terminal, and how often a bar is drawn.
LINE_INTERVAL_S, BAR_INTERVAL_S = 10.0, 0.1


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
    tally: Tally,
    *,
    quiet: bool,
    to_terminal: bool,
    clock: Callable[[], float] = monotonic,
) -> Generator[Display, None, None]:
    """Show how far an export is on stderr.

    Args:
        tally: What it has come to.
        quiet: Show nothing.
        to_terminal: Whether records go to this terminal, which leaves no room for a bar.
        clock: Returns seconds.
    """
    if quiet:
        yield Display(_nothing, _nothing)
    elif sys.stderr.isatty() and not to_terminal:
        with _bar() as draw:
            yield Display(_now_and_then(lambda: draw(tally), BAR_INTERVAL_S, clock), lambda: draw(tally))
            draw(tally)
    else:  # a pause has a line of its own
        yield Display(_now_and_then(lambda: say(tally.progress), LINE_INTERVAL_S, clock), _nothing)


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
def _bar() -> Generator[Callable[[Tally], None], None, None]:
    from rich.console import Console  # noqa: PLC0415 - of the extra `cli`, and for bars alone
    from rich.progress import BarColumn, Progress, TextColumn  # noqa: PLC0415

    columns = (BarColumn(bar_width=24), TextColumn("{task.description}", markup=False))
    console = Console(file=sys.stderr)
    # What is said meanwhile goes above the bar; stdout has the records, and goes where it always does.
    # It is drawn here and not by a thread of its own, because a machine may be out of threads.
    with Progress(*columns, console=console, redirect_stdout=False, auto_refresh=False) as progress:
        task = progress.add_task("", total=None)

        def draw(tally: Tally) -> None:
            total = None if tally.fraction is None else 1.0
            done, text = tally.fraction or 0.0, tally.progress
            progress.update(task, total=total, completed=done, description=text, refresh=True)

        yield draw
