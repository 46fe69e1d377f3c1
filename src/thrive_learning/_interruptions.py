"""Recognizes exceptions that a signal handler raises into a call. Pure.

Celery, RQ, and others end a job by raising an exception in a signal handler. It may be raised anywhere, even
where other exceptions of its type are expected. A handler's `TimeoutError` during a read from a socket looks
like a timeout of that read. The frame of the handler in the traceback distinguishes them.
"""

import functools
import signal
import threading
from collections.abc import Iterator
from types import CodeType
from typing import Any, cast


def interruption(error: BaseException) -> BaseException | None:
    """Return the exception that a signal handler raised, if it is the given exception or one of its causes.

    It finds the handlers that are set, if they are written in Python.
    """
    if threading.current_thread() is not threading.main_thread():
        return None  # handlers run in the main thread
    handlers = frozenset(_codes_of_handlers())
    link: BaseException | None = error
    for _ in range(_LONGEST_CHAIN):
        if link is None:
            break
        if _passed_through(link, handlers):
            return link
        link = link.__cause__  # the caller may be handling the context
    return None


_LONGEST_CHAIN = 32


def _passed_through(error: BaseException, codes: frozenset[CodeType]) -> bool:
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code in codes:
            return True
        traceback = traceback.tb_next
    return False


def _codes_of_handlers() -> Iterator[CodeType]:
    for number in signal.valid_signals():
        handler: Any = signal.getsignal(number)
        while isinstance(handler, functools.partial):
            handler = handler.func
        kind = cast("Any", type(handler))
        for function in (handler, getattr(kind, "__call__", None)):  # noqa: B004 - its value is needed
            code = getattr(getattr(function, "__func__", function), "__code__", None)
            if isinstance(code, CodeType):
                yield code
