import functools
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from thrive_learning._interruptions import interruption

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="needs signals")


class Limit(TimeoutError):  # noqa: N818
    """What a handler raises."""


def limit(_number: int, _frame: object, *_more: object) -> None:
    raised_beneath()


def raised_beneath() -> None:
    raise Limit


class Handler:
    def method(self, number: int, frame: object) -> None:
        limit(number, frame)

    def __call__(self, number: int, frame: object) -> None:
        limit(number, frame)


@pytest.fixture
def handled(request: pytest.FixtureRequest) -> Iterator[None]:
    before = signal.signal(signal.SIGUSR1, request.param)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


def caught(act: Callable[[], object]) -> Exception:
    try:
        act()
    except Exception as error:  # noqa: BLE001
        return error
    pytest.fail("nothing was raised")


def send() -> None:
    os.kill(os.getpid(), signal.SIGUSR1)


def wrapping() -> None:
    try:
        send()
    except OSError as error:
        raise LookupError from error


HANDLERS: list[Any] = [limit, Handler(), Handler().method, functools.partial(functools.partial(limit), 1)]


@pytest.mark.parametrize("handled", HANDLERS, indirect=True, ids=["function", "object", "method", "partial"])
@pytest.mark.usefixtures("handled")
def test_what_a_handler_raises_is_found() -> None:
    for act in (send, wrapping):
        error = caught(act)
        assert isinstance(interruption(error), Limit)


@pytest.mark.parametrize("handled", [limit], indirect=True)
@pytest.mark.usefixtures("handled")
def test_what_is_raised_elsewhere_is_not_taken_for_it() -> None:
    error = caught(raised_beneath)
    assert isinstance(error, Limit)
    assert interruption(error) is None
    error.__cause__ = error  # a circle
    assert interruption(error) is None


@pytest.mark.parametrize("handled", [limit], indirect=True)
@pytest.mark.usefixtures("handled")
def test_a_failure_while_an_earlier_interruption_is_handled_is_not_taken_for_it() -> None:
    def clean_up() -> None:
        try:
            send()
        except Limit:
            raise LookupError  # noqa: B904

    error = caught(clean_up)
    assert isinstance(error.__context__, Limit)
    assert interruption(error) is None


@pytest.mark.parametrize("handled", [limit], indirect=True)
@pytest.mark.usefixtures("handled")
def test_no_handler_runs_in_another_thread() -> None:
    error = caught(send)
    found: list[BaseException | None] = []
    thread = threading.Thread(target=lambda: found.append(interruption(error)))
    thread.start()
    thread.join()
    assert found == [None]
