"""The local variables of frames that an exception has left. Pure.

Error trackers upload the local variables of each frame of a traceback. The frames beneath a call hold
requests, headers, and responses, and any exception may pass through them: a cancellation, Ctrl-C, or the
exception of a signal handler. So the functions that begin a call clear these frames before they let an
exception out.
"""

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType


def forget_locals(error: BaseException) -> None:
    """Clear the local variables of all frames that an exception has left, and of those of its causes.

    File names and line numbers stay. A frame that is still running keeps its variables.

    Args:
        error: The exception. The caller is handling it, and all frames of its traceback beneath the caller
            have ended. So have those of an exception that was caught in one of them. Any other exception that
            it is linked with belongs to another task or to the user of the call: its frames may go on.
    """
    frames: set[FrameType] = set()
    links, seen = [error], set[int]()
    while links:
        link = links.pop()
        traceback = link.__traceback__
        if id(link) in seen or traceback is None or (frames and traceback.tb_frame not in frames):
            continue
        seen.add(id(link))
        while traceback is not None:
            frames.add(traceback.tb_frame)
            traceback = traceback.tb_next
        links += [other for other in (link.__cause__, link.__context__) if other is not None]
    for frame in frames:
        with contextlib.suppress(RuntimeError):  # it is running
            frame.clear()
