"""Wait for a file that another process has open, which Windows lets nobody replace, remove, or open."""

import time
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")
_WAITS_S = (0.01, 0.02, 0.05, 0.1, 0.2)
_BUSY = frozenset({5, 32})  # ERROR_ACCESS_DENIED and ERROR_SHARING_VIOLATION


def when_free(action: Callable[[], _T]) -> _T:
    """Return what an action on a file returns, and repeat it while another process has the file open.

    Only Windows reports that. There, the action is tried for at most 0.4 s.

    Args:
        action: Opens, replaces, or removes a file.

    Raises:
        OSError: The action failed for another reason, or the file stayed open.
    """
    for wait_s in _WAITS_S:
        try:
            return action()
        except PermissionError as error:
            if getattr(error, "winerror", None) not in _BUSY:
                raise
        time.sleep(wait_s)
    return action()
