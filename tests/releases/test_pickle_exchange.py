"""Pickles of earlier versions are read, and a version reads those of one that has more attributes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from thrive_learning import __version__
from tools import pickle_exchange

ROOT = Path(__file__).parents[2]
ERRORS = "thrive_learning/errors.py"
WAITED = "    waited: float = 0.0\n"
RETRY_AFTER = "    retry_after: float | None = None\n"


@pytest.mark.parametrize("folder", sorted((ROOT / "tests/pickles").iterdir()), ids=lambda path: path.name)
def test_pickles_of_each_release_are_read(folder: Path) -> None:
    """Write those of a version again as long as it has no tag: `tools/pickle_exchange.py write FOLDER`."""
    assert pickle_exchange.read(folder) == []


def test_pickles_of_this_version_are_kept() -> None:
    """`tools/pickle_exchange.py write tests/pickles/VERSION` writes them."""
    assert (ROOT / "tests/pickles" / __version__ / "meanings.json").is_file()


def test_every_error_is_exchanged(tmp_path: Path) -> None:
    pickle_exchange.write(tmp_path)
    assert pickle_exchange.read(tmp_path) == []
    names = {path.stem for path in tmp_path.glob("*.pickle")}
    assert {
        "NotFoundError",
        "TokenError",
        "SignatureError",
        "Activity",
        "ActivityPage",
        "WebhookEvent",
    } <= names


def written_by_another(folder: Path, *edits: tuple[str, str, str]) -> Path:
    """Write pickles with a copy of the package in which text is replaced."""
    other = folder / "other"
    shutil.copytree(ROOT / "src", other, ignore=shutil.ignore_patterns("__pycache__", "viewer"))
    for name, old, new in edits:
        text = (other / name).read_text(encoding="utf-8")
        assert text.count(old) == 1, old
        (other / name).write_text(text.replace(old, new), encoding="utf-8")
    script = ROOT / "tools/pickle_exchange.py"
    path = os.pathsep.join([str(other), str(ROOT / "generated"), str(ROOT)])
    command: list[str | Path] = [sys.executable, script, "write", folder / "pickles"]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": path}, stderr=subprocess.DEVNULL)
    return folder / "pickles"


def test_a_version_reads_pickles_of_one_with_more_attributes(tmp_path: Path) -> None:
    pickles = written_by_another(
        tmp_path,
        (ERRORS, f"{WAITED}\n    def", f"{WAITED}    more: int = 1\n\n    def"),
        (ERRORS, f"{RETRY_AFTER}\n    @", f"{RETRY_AFTER}    new: int = 2\n\n    @"),
        (
            "thrive_learning/policies.py",
            "    max_delay: float =",
            "    more: int = 1\n    max_delay: float =",
        ),
    )
    assert pickle_exchange.read(pickles, older=True) == []
    missing = pickle_exchange.read(pickles)
    assert {"NotFoundError.history[0].more is missing", "RetryPolicy.more is missing"} <= set(missing)


def test_a_pickle_that_means_something_else_is_named(tmp_path: Path) -> None:
    pickle_exchange.write(tmp_path)
    meanings = tmp_path / "meanings.json"
    text = meanings.read_text(encoding="utf-8").replace('"What happened."', '"Another."')
    meanings.write_text(text, encoding="utf-8")
    found = pickle_exchange.read(tmp_path)
    assert "NotFoundError.text is 'What happened.' instead of 'Another.'" in found


def test_a_function_that_pickles_need_must_stay(tmp_path: Path) -> None:
    pickles = written_by_another(
        tmp_path,
        (ERRORS, "def _restore(", "def _restored("),
        (ERRORS, "return _restore,", "return _restored,"),
    )
    [*found] = pickle_exchange.read(pickles, older=True)
    assert any(line.startswith("NotFoundError cannot be read: AttributeError") for line in found)


def test_the_program_fails_if_a_pickle_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["pickle_exchange", "write", str(tmp_path)])
    pickle_exchange.main()
    monkeypatch.setattr("sys.argv", ["pickle_exchange", "read", str(tmp_path)])
    pickle_exchange.main()
    (tmp_path / "Timeout.pickle").write_bytes(b"\x80\x04.")
    with pytest.raises(SystemExit, match="Timeout cannot be read"):
        pickle_exchange.main()
