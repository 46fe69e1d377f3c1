"""What the client warns of is shown as a message, and a pause in the progress."""

import io
import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx
from command import Call
from harness import ACTIVITY_ID

from thrive_learning.cli.terminal import is_pause, noticed
from thrive_learning.drift import Drift

LOGGER = logging.getLogger("thrive_learning")
URL = "https://public.api.learn.link/rest/v1/activity/"
PAUSE = "pausing all requests of this run for 12 s: status 429 from https://public.api.learn.link\x1b"


def test_warnings_are_passed_on_and_nothing_else() -> None:
    seen: list[str] = []
    with noticed(seen.append):
        LOGGER.warning("a %s", "warning")
        LOGGER.info("not one")
        logging.getLogger("thrive_learning.x").error("an error")
    LOGGER.warning("too late")
    assert seen == ["a warning", "an error"]
    drift = Drift("null", "name", "null", "a string")
    for shows_drift in (True, False):
        with noticed(seen.append, drift=shows_drift):
            LOGGER.warning("%s", drift)
            LOGGER.warning("%(a)s", {"a": "mapping"})
    assert seen[2:] == ["the field 'name' is null, not a string", "mapping", "mapping"]
    assert is_pause(PAUSE)
    assert not is_pause(seen[0])


@pytest.mark.parametrize("quiet", [False, True])
def test_an_export_announces_a_pause(
    call: Call,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    quiet: bool,  # noqa: FBT001 - a parameter
) -> None:
    from thrive_learning.cli.export import run  # noqa: PLC0415 - it is patched

    take = run.take

    def paused(results: Any, sink: Any, tally: Any, show: Any) -> None:
        LOGGER.warning("something else")
        assert not tally.is_paused
        LOGGER.warning(PAUSE)
        assert tally.is_paused is not quiet
        take(results, sink, tally, show)
        assert not tally.is_paused

    monkeypatch.setattr(run, "take", paused)
    ids, out = tmp_path / "ids.txt", tmp_path / "out.ndjson"
    ids.write_text(ACTIVITY_ID)
    options = ("--quiet",) if quiet else ()
    result = call("activity", "export", str(ids), "-o", str(out), "--sandbox", *options)
    assert result.code == 0
    assert (f"thrive: {PAUSE[:-1]}\\u001b\n" in result.err) is not quiet
    assert (result.err == "") is quiet


@pytest.mark.usefixtures("basic")
@pytest.mark.parametrize("ids", [2, 50])
def test_a_server_that_asks_for_more_than_the_time_limit_ends_it(call: Call, ids: int) -> None:
    begin = time.monotonic()
    with respx.mock(assert_all_called=False) as api:
        api.get(url__startswith=URL).mock(
            return_value=httpx.Response(429, headers={"Retry-After": "3600"}, json={"message": "slow down"})
        )
        names = [f"{number:024x}" for number in range(ids)]
        code, out, err = call("activity", "get", *names, "--timeout", "2")
    assert time.monotonic() - begin < 4
    assert (code, out) == (5, "")
    assert "3600 s" in err
    assert "Traceback" not in err


@pytest.mark.usefixtures("basic")
def test_a_short_pause_of_several_ids_is_announced(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(f"{ACTIVITY_ID}\n".encode())))
    answers = [
        httpx.Response(429, headers={"Retry-After": "1"}, json={"message": "slow down"}),
        httpx.Response(200, json={"id": ACTIVITY_ID}),
    ]
    with respx.mock() as api:
        api.get(URL + ACTIVITY_ID).mock(side_effect=answers)
        code, out, err = call("activity", "get", "-")
    assert (code, json.loads(out)) == (0, {"id": ACTIVITY_ID})
    assert err.startswith("thrive: pausing all requests of this run for 1")
