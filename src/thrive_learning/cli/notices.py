"""What the client logs while a command runs, such as a pause of all requests, on stderr."""

import contextlib
import logging
from collections.abc import Callable, Generator

_PAUSE = "pausing "  # how the announcement of a pause begins


class _Notices(logging.Handler):
    def __init__(self, show: Callable[[str], object]) -> None:
        super().__init__(logging.WARNING)
        self._show = show

    def emit(self, record: logging.LogRecord) -> None:
        self._show(record.getMessage())


@contextlib.contextmanager
def noticed(show: Callable[[str], object]) -> Generator[None, None, None]:
    """Pass the client's warnings to a function, and not to the last resort of `logging`.

    Args:
        show: Is called with each of them, by the threads that log them.
    """
    logger, handler = logging.getLogger("thrive_learning"), _Notices(show)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def is_pause(notice: str) -> bool:
    """Return whether all requests wait from now on."""
    return notice.startswith(_PAUSE)
