"""Warnings of the client are shown as messages, and pauses in the progress."""

import io
import json
import logging
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx
from command import Call
from harness import ACTIVITY_ID

from thrive_learning._log import fields
from thrive_learning.cli.export.cluster.tally import ClusterTally
from thrive_learning.cli.export.progress import announced
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
        with noticed(seen.append, drift=shows_drift) as notices:
            LOGGER.warning("%s", drift, extra=fields("drift"))
            LOGGER.warning("%s", drift, extra=fields("drift"))  # from another worker process
            LOGGER.warning("%(a)s", {"a": "mapping"})
        assert notices.withheld == (0 if shows_drift else 1)
    assert seen[2:] == [*(2 * ["the field 'name' is null, not a string"]), "mapping", "mapping"]
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


@pytest.mark.parametrize("verbose", [False, True], ids=["brief", "verbose"])
def test_pauses_are_announced_at_most_every_ten_seconds(
    capsys: pytest.CaptureFixture[str],
    verbose: bool,  # noqa: FBT001 - a parameter
) -> None:
    now = 100.0
    tally = ClusterTally()
    with announced(tally, lambda **_: None, quiet=False, verbose=verbose, clock=lambda: now):
        LOGGER.warning("%s 1", PAUSE)
        now = 109.0
        LOGGER.warning("%s 2", PAUSE)
        now = 110.0
        LOGGER.warning("%s 3", PAUSE)
        tally.is_paused = False
        LOGGER.warning("%s 4", PAUSE)
    shown = [line[-1] for line in capsys.readouterr().err.splitlines()]
    assert shown == (["1", "2", "3", "4"] if verbose else ["1", "3", "4"])


@pytest.mark.usefixtures("basic")
@pytest.mark.parametrize("ids", [2, 50])
def test_a_server_that_asks_for_more_than_the_time_limit_ends_it(call: Call, ids: int) -> None:
    with respx.mock(assert_all_called=False) as api:
        api.get(url__startswith=URL).mock(
            return_value=httpx.Response(429, headers={"Retry-After": "3600"}, json={"message": "slow down"})
        )
        names = [f"{number:024x}" for number in range(ids)]
        code, out, err = call("activity", "get", *names, "--timeout", "60")
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


@pytest.mark.parametrize("by_ids", [False, True])
def test_an_export_says_in_one_line_that_records_depart_from_the_contract(
    call: Call,
    tmp_path: Path,
    by_ids: bool,  # noqa: FBT001 - a parameter
) -> None:
    ids = tmp_path / "ids.txt"
    ids.write_text("665d7d88b60b4b3a2c000029\n665d7d88b60b4b3a2c000030\n", encoding="utf-8")
    source = (str(ids),) if by_ids else ("--since", "2024-06-01")
    export = ("activity", "export", *source, "-o", str(tmp_path / "out.ndjson"), "--sandbox", "--force")
    departures = [line for line in call(*export).err.splitlines() if "exported" not in line]
    kinds = 4 if by_ids else 9
    assert departures[0] == f"thrive: records depart from the contract in {kinds} ways. Use -v to see how"
    assert "'name' is null" not in "".join(departures)
    each = call(*export, "-v").err
    assert "the field 'name' is null, not a string" in each
    assert "Use -v" not in each
    assert "depart" not in call(*export, "--quiet").err


def test_an_export_counts_one_way(call: Call, tmp_path: Path) -> None:
    ids = tmp_path / "ids.txt"
    ids.write_text("665d7d88b60b4b3a2c000030\n", encoding="utf-8")
    result = call("activity", "export", str(ids), "-o", str(tmp_path / "out.ndjson"), "--sandbox")
    assert "thrive: records depart from the contract in 1 way. Use -v to see how\n" in result.err
