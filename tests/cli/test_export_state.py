"""The state file of a scheduled export."""

import datetime as dt
import json
from pathlib import Path

import pytest

from thrive_learning.cli.export.paths import OutputError
from thrive_learning.cli.export.state import Pending, State, StateFile
from thrive_learning.errors import ConfigurationError

BEGIN = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
STATE = State("the sandbox", {"types": ["viewed"]}, BEGIN, {bytes(12): 5, b"x" * 12: None})
PENDING = STATE._replace(pending=Pending("/a/out.ndjson", None, False, BEGIN, BEGIN))  # noqa: FBT003


@pytest.mark.parametrize(
    "state",
    [STATE, PENDING, PENDING._replace(pending=Pending("/a", "csv", True, BEGIN, BEGIN))],  # noqa: FBT003
)
def test_a_state_is_read_as_it_was_written(tmp_path: Path, state: State) -> None:
    with StateFile(tmp_path / "state.json") as file:
        assert file.load() is None
        file.save(STATE)
        file.save(state)
        assert file.load() == state
    with StateFile(tmp_path / "state.json") as file:
        assert file.load() == state
        file.save(None)
        assert file.load() is None
        file.save(None)


NO_STATE = "it is not a state file"
DAMAGED = "it is damaged"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", NO_STATE),
        ("[]", NO_STATE),
        ("5", NO_STATE),
        ("{}", NO_STATE),
        ('{"since": "2026-01-01"}', NO_STATE),
        ("[" * 100_000, NO_STATE),
        (STATE.text()[:-10], NO_STATE),
        (
            STATE.text().replace('state": 1', 'state": 2'),
            "it was written by another version of this program",
        ),
        (STATE.text().replace("2026-01-01T", "yesterday"), DAMAGED),
        (STATE.text().replace("000000000000", "x"), DAMAGED),
        (json.dumps({**json.loads(STATE.text()), "pending": {}}), DAMAGED),
        (json.dumps({**json.loads(STATE.text()), "filters": 5}), DAMAGED),
    ],
    ids=[
        *("empty", "array", "number", "object", "other-object", "deep", "cut-off", "other-version"),
        *("time", "key", "pending", "filters"),
    ],
)
def test_a_file_that_is_not_a_state_is_left_alone(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "state.json"
    path.write_text(text)
    with StateFile(path) as file, pytest.raises(ConfigurationError) as raised:
        file.load()
    assert str(raised.value) == f"cannot use {path}: {problem}. Choose another file with --state."
    assert path.read_text() == text


def test_one_run_at_a_time_has_it(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    with StateFile(path), pytest.raises(ConfigurationError, match=r"another export is using .*state\.json"):
        StateFile(path)
    with StateFile(path):
        pass


def test_an_invalid_state_file_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"the folder .* does not exist"):
        StateFile(tmp_path / "missing" / "state.json")
    with pytest.raises(ConfigurationError, match="is a folder, not a regular file"):
        StateFile(tmp_path)
    (tmp_path / "link").symlink_to("elsewhere")
    with pytest.raises(ConfigurationError, match="is a symbolic link"):
        StateFile(tmp_path / "link")


def test_a_state_that_cannot_be_written_keeps_the_former_one(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "state.json"
    path.parent.mkdir()
    with StateFile(path) as file:
        file.save(STATE)
        path.parent.rename(tmp_path / "elsewhere")
        with pytest.raises(OutputError, match="cannot write"):
            file.save(PENDING)
    with StateFile(tmp_path / "elsewhere" / "state.json") as file:
        assert file.load() == STATE
