import pytest

from thrive_learning._busy_files import when_free


class Action:
    """Fails as Windows does while another process has a file open, and succeeds in the end."""

    def __init__(self, failures: int, winerror: int | None) -> None:
        self.calls = 0
        self._failures = failures
        self._winerror = winerror

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self._failures:
            error = PermissionError(13, "Permission denied")
            if self._winerror is not None:
                error.winerror = self._winerror  # type: ignore[attr-defined, unused-ignore]
            raise error
        return "done"


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    return waits


@pytest.mark.parametrize("winerror", [5, 32])
def test_an_action_is_repeated_until_the_file_is_free(winerror: int, waits: list[float]) -> None:
    action = Action(2, winerror)
    assert when_free(action) == "done"
    assert (action.calls, waits) == (3, [0.01, 0.02])


def test_a_file_that_stays_open_is_an_error(waits: list[float]) -> None:
    action = Action(99, 32)
    with pytest.raises(PermissionError):
        when_free(action)
    assert (action.calls, len(waits)) == (6, 5)


@pytest.mark.parametrize("winerror", [None, 19])
def test_another_error_is_raised_at_once(winerror: int | None, waits: list[float]) -> None:
    action = Action(1, winerror)
    with pytest.raises(PermissionError):
        when_free(action)
    assert (action.calls, waits) == (1, [])
