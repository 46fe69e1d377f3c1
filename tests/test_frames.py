from collections.abc import Generator, Iterator

import pytest

from thrive_learning._frames import forget_locals


def inner(kind: type[BaseException]) -> None:
    canary = "canary"
    try:
        int(canary)
    except ValueError as error:
        if kind is KeyError:
            raise KeyError from error
        raise kind from None


def guarded(kind: type[BaseException]) -> None:
    try:
        inner(kind)
    except BaseException as error:
        forget_locals(error)
        raise


def links(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__context__


def locals_of(error: BaseException, name: str) -> list[dict[str, object]]:
    found = []
    for link in links(error):
        traceback = link.__traceback__
        while traceback is not None:
            if traceback.tb_frame.f_code.co_name == name:
                found.append(dict(traceback.tb_frame.f_locals))
            traceback = traceback.tb_next
    return found


@pytest.mark.parametrize("kind", [LookupError, KeyError, KeyboardInterrupt, SystemExit])
def test_frames_that_an_exception_has_left_keep_their_place_and_lose_their_variables(
    kind: type[BaseException],
) -> None:
    with pytest.raises(kind) as caught:
        guarded(kind)
    assert locals_of(caught.value, "inner") == [{}, {}]
    assert "kind" in locals_of(caught.value, "guarded")[0]


def test_frames_of_what_the_caller_handles_are_not_touched() -> None:
    def caller() -> None:
        mine = "kept"
        int(mine)

    def handling() -> None:
        try:
            caller()
        except ValueError:
            guarded(LookupError)

    with pytest.raises(LookupError) as caught:
        handling()
    assert locals_of(caught.value, "caller") == [{"mine": "kept"}]
    assert locals_of(caught.value, "inner") == [{}, {}]


def test_frames_of_another_task_go_on() -> None:
    """A cancellation is linked with the exception of the task that cancels, whose frames wait for its end."""
    seen: list[str] = []

    def task() -> Generator[BaseException, None, None]:
        mine = "kept"
        try:
            int(mine)
        except ValueError as error:
            yield error
        seen.append(mine)

    def cancelled() -> None:
        error = RuntimeError()
        error.__context__ = linked
        raise error

    def beneath() -> None:
        try:
            cancelled()
        except RuntimeError as error:
            forget_locals(error)
            raise

    waiting = task()
    linked = next(waiting)
    with pytest.raises(RuntimeError):
        beneath()
    assert next(waiting, None) is None
    assert seen == ["kept"]
