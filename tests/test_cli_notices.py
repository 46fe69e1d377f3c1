"""What the client warns of is shown as a message, and a pause in the progress."""

import logging
from pathlib import Path
from typing import Any

import pytest
from command import Call
from harness import ACTIVITY_ID

from thrive_learning.cli.notices import is_pause, noticed

LOGGER = logging.getLogger("thrive_learning")
PAUSE = "pausing all requests of this run for 12 s: status 429 from https://public.api.learn.link\x1b"


def test_warnings_are_passed_on_and_nothing_else() -> None:
    seen: list[str] = []
    with noticed(seen.append):
        LOGGER.warning("a %s", "warning")
        LOGGER.info("not one")
        logging.getLogger("thrive_learning.x").error("an error")
    LOGGER.warning("too late")
    assert seen == ["a warning", "an error"]
    assert is_pause(PAUSE)
    assert not is_pause(seen[0])


@pytest.mark.parametrize("quiet", [False, True])
def test_an_export_announces_a_pause(
    call: Call,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    quiet: bool,  # noqa: FBT001 - a parameter
) -> None:
    from thrive_learning.cli import export_run  # noqa: PLC0415 - it is patched

    take = export_run.take

    def paused(results: Any, sink: Any, tally: Any, show: Any) -> None:
        LOGGER.warning("something else")
        assert not tally.is_paused
        LOGGER.warning(PAUSE)
        assert tally.is_paused is not quiet
        take(results, sink, tally, show)
        assert not tally.is_paused

    monkeypatch.setattr(export_run, "take", paused)
    ids, out = tmp_path / "ids.txt", tmp_path / "out.ndjson"
    ids.write_text(ACTIVITY_ID)
    options = ("--quiet",) if quiet else ()
    result = call("activity", "export", str(ids), "-o", str(out), "--sandbox", *options)
    assert result.code == 0
    assert (f"thrive: {PAUSE[:-1]}\\u001b\n" in result.err) is not quiet
    assert (result.err == "") is quiet
