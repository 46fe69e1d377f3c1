"""Show the progress of an export and its summary: a bar on a terminal, or else a line every ten seconds."""

import contextlib
import os
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Protocol

from thrive_learning._clock import monotonic
from thrive_learning.cli.terminal import is_pause, noticed, say

#: The interval of lines without a terminal, and the interval at which a bar is drawn.
LINE_INTERVAL_S, BAR_INTERVAL_S = 10.0, 0.1


#: How to continue an export.
AGAIN = "Run the same command with --resume to continue"


class HasProgress(Protocol):
    """The progress of an export."""

    has_begun: bool
    is_paused: bool

    @property
    def fraction(self) -> float | None: ...  # noqa: D102 - see `Tally`
    @property
    def progress(self) -> str: ...  # noqa: D102 - see `Tally`
    @property
    def can_continue(self) -> bool: ...  # noqa: D102 - see `Tally`
    @property
    def is_whole(self) -> bool: ...  # noqa: D102 - see `Tally`


class Show(Protocol):
    """Shows the progress of an export."""

    def __call__(self, *, is_pause: bool = False) -> None:
        """Show the progress if the interval has passed, or immediately at a pause."""
        ...


@contextlib.contextmanager
def shown(
    tally: HasProgress,
    *,
    quiet: bool,
    to_terminal: bool,
    clock: Callable[[], float] = monotonic,
) -> Generator[Show, None, None]:
    """Show the progress of an export on stderr.

    Args:
        tally: The counts of the export.
        quiet: Show nothing.
        to_terminal: Whether records go to a terminal, in which case no bar is drawn.
        clock: Returns seconds.
    """
    has_bar = not quiet and not to_terminal and sys.stderr.isatty()
    interval_s = BAR_INTERVAL_S if has_bar else LINE_INTERVAL_S
    last = clock()

    def show(*, is_pause: bool = False) -> None:
        nonlocal last
        if quiet or (is_pause and not has_bar):  # a pause has its own message
            return
        if is_pause or clock() - last >= interval_s:
            last = clock()
            draw()

    with _bar(tally) if has_bar else contextlib.nullcontext(lambda: say(tally.progress)) as draw:
        yield show
        if has_bar:
            draw()


@contextlib.contextmanager
def announced(
    tally: HasProgress,
    show: Show,
    *,
    quiet: bool,
    verbose: bool,
    clock: Callable[[], float] = monotonic,
) -> Generator[None, None, None]:
    """Show the client's warnings while an export runs, and whether it is paused.

    Args:
        tally: The counts of the export.
        show: Shows the progress.
        quiet: Show no warnings.
        verbose: Show each pause, and how records depart from the contract instead of only in how many ways.
        clock: Returns seconds.
    """
    silent_until = clock()

    def announce(notice: str) -> None:
        nonlocal silent_until
        if quiet:
            return
        if not is_pause(notice):
            say(notice)
            return
        # Each window of an export by a cluster pauses on its own, many times while the server is down.
        if verbose or not tally.is_paused or clock() >= silent_until:
            silent_until = clock() + LINE_INTERVAL_S
            say(notice)
        tally.is_paused = True
        show(is_pause=True)

    with noticed(announce, drift=verbose) as notices:
        try:
            yield
        finally:
            if notices.withheld and not quiet:
                ways = "1 way" if notices.withheld == 1 else f"{notices.withheld} ways"
                say(f"records depart from the contract in {ways}. Use -v to see how")


@contextlib.contextmanager
def summarized(  # noqa: PLR0913 - the texts differ by the kind of export
    tally: HasProgress,
    summary: Callable[[], list[str]],
    *,
    kept: str,
    needed: Path | None,
    last: str,
    again: str = AGAIN,
    quiet: bool,
) -> Generator[None, None, None]:
    """Print the summary of an export at its end, and how to continue if records are missing.

    Args:
        tally: The counts of the export.
        summary: Returns the lines of the summary.
        kept: What an interrupted export keeps, such as "records so far are kept in x".
        needed: The file without which nobody can continue the export; None for a stream.
        last: What the deadline was reached before, such as "the last record".
        again: How to continue.
        quiet: Show only how to continue after an error.
    """

    def say_summary() -> None:
        for line in () if quiet else summary():
            say(line)

    try:
        yield
    except BrokenPipeError:
        raise
    except (Exception, KeyboardInterrupt):
        if tally.has_begun:
            say_summary()
            # It may have been removed, which then is the error. Unlike `Path.exists`, this raises nothing.
            if needed is not None and os.path.exists(needed) and tally.can_continue:  # noqa: PTH110
                say(f"{kept}. {again}")
        raise
    say_summary()
    if not quiet and not tally.is_whole:
        say(f"--deadline was reached before {last}{'' if needed is None else f'. {again}'}")


@contextlib.contextmanager
def _bar(tally: HasProgress) -> Generator[Callable[[], None], None, None]:
    from rich.console import Console  # noqa: PLC0415 - of the extra `cli`, needed only for bars
    from rich.progress import BarColumn, Progress, TextColumn  # noqa: PLC0415

    columns = (BarColumn(bar_width=24), TextColumn("{task.description}", markup=False))
    console = Console(file=sys.stderr)
    # Messages are printed above the bar. stdout is not redirected, because it may have the records.
    # The bar is drawn here and not by a separate thread, because the machine may be out of threads.
    with Progress(*columns, console=console, redirect_stdout=False, auto_refresh=False) as progress:
        task = progress.add_task("", total=None)

        def draw() -> None:
            total = None if tally.fraction is None else 1.0
            done, text = tally.fraction or 0.0, tally.progress
            progress.update(task, total=total, completed=done, description=text, refresh=True)

        yield draw
