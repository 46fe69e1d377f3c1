"""The notebook runs from its first cell to its last."""

import datetime as dt
import runpy

import pytest
from example_programs import EXAMPLES

from thrive_learning.testing import ServedSandbox


def test_the_notebook_counts_completions(
    thrive_server: ServedSandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pandas", reason="pandas is not installed")
    for name, value in thrive_server.environ.items():
        monkeypatch.setenv(name, value)
    for hour in (8, 9):
        date = dt.datetime(2026, 1, 31, hour, tzinfo=dt.UTC)
        thrive_server.sandbox.add(type="completed", date=date)
    runpy.run_path(str(EXAMPLES / "notebook" / "completions.py"))
    assert "\n2026-01-31    2\n" in capsys.readouterr().out
