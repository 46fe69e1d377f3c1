"""Clears the local variables of frames that an exception has left. Pure.

Error trackers upload the local variables of each frame of a traceback. The frames below a call hold requests,
headers, and responses, and any exception may pass through them, such as a cancellation, Ctrl-C, or the
exception of a signal handler. So the functions that begin a call clear these frames before an exception
leaves them.
"""

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType


def forget_locals(error: BaseException) -> None:
    """Clear the local variables of all frames that an exception and its causes have left.

    File names and line numbers stay. A frame that is still running keeps its variables.

    Args:
        error: The exception that the caller is handling. All frames of its traceback below the caller have
            ended, and so have those of exceptions that were caught in them. Any other linked exception
            belongs to another task or to the user of the call, and its frames may still be running.
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
        with contextlib.suppress(RuntimeError):  # the frame is still running
            frame.clear()
