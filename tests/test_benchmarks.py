"""The parts of the benchmarks that do not measure: calculations and tables."""

import builtins
import inspect
import json
import re
import shutil
import subprocess
import sys
import threading
import types
from pathlib import Path
from typing import Any

import pytest
from harness import ROOT
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import __main__ as bench
from benchmarks import canned, instructions, path, peers
from benchmarks.contenders import GROUPS
from benchmarks.figures import Pair, Row, Summary, Target, as_json, paired_row, summary
from benchmarks.report import markdown, measure_table, number, table, targets_table
from benchmarks.shared_limit import Windows, windows
from benchmarks.subject import ACTIVITY_ID, RECORD, many_ids, mismatch
from benchmarks.targets import TARGETS
from thrive_learning import ThriveClient
from thrive_learning._ids import validate_activity_id

ROWS = [
    Row("warm", "httpcore", (0.4, 0.5, 0.6), note="to httpx", also={"CPU µs per call": 210.0}),
    Row("warm", "ours", (0.9, 0.7, 0.8), note="to httpx", also={"CPU µs per call": 300.0}, kind="ours"),
    Row("warm", "faster", (), note="not available: no such engine", kind="ours"),
]


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        ([3.0], Summary(3, 3, 3, 1)),
        ([1.0, 3.0], Summary(2, 1.5, 2.5, 2)),
        ([5.0, 1.0, 4.0, 2.0, 3.0], Summary(3, 2, 4, 5)),
    ],
)
def test_a_sample_is_summed_up(sample: list[float], expected: Summary) -> None:
    assert summary(sample) == expected


def test_nothing_has_no_median() -> None:
    with pytest.raises(ValueError, match="empty"):
        summary([])


@given(st.lists(st.floats(0.001, 1000), min_size=1))
def test_quartiles_are_in_order_and_within_the_sample(sample: list[float]) -> None:
    found = summary(sample)
    slack = 1e-9
    assert min(sample) - slack <= found.lower <= found.median + slack
    assert found.median <= found.upper + slack <= max(sample) + 2 * slack


def test_ratios_are_taken_within_pairs() -> None:
    # A machine that halves its speed for the second pair changes no ratio.
    pairs = [Pair(2.0, 4.0, 3.0, 6.0), Pair(4.0, 8.0, 6.0, 12.0), Pair(3.0, 4.0, 3.0, 6.0)]
    row = paired_row("warm", "ours", "httpx", pairs, "ours")
    assert row.sample == (0.5, 0.5, 0.75)
    assert row.also == {"CPU µs per call": 3e6, "wall-clock ratio": 0.5}


@pytest.mark.parametrize(
    ("value", "shown"),
    [(12345.6, "12,346"), (48.26, "48.3"), (14, "14"), (1.0, "1"), (0.704, "0.70"), (0.0341, "0.034")],
)
def test_numbers_have_about_three_digits(value: float, shown: str) -> None:
    assert number(value) == shown


def test_a_table_is_aligned() -> None:
    assert table(["A", "n"], [["long one", "1"]]) == (
        "| A        | n   |\n| -------- | --- |\n| long one | 1   |"
    )


def test_the_best_contender_comes_first_and_what_is_missing_has_no_number() -> None:
    lines = measure_table(ROWS).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["httpcore", "**ours**"]
    assert [cell.strip() for cell in lines[3].strip("|").split("|")] == [
        *("**ours**", "0.80", "0.75 to 0.85", "3", "300")
    ]


@pytest.mark.parametrize(
    ("target", "met"),
    [
        (Target("warm", "warm", "ours", 0.80), "yes"),
        (Target("warm", "warm", "ours", 0.79), "**no**"),
        (Target("warm", "warm", "ours", 0.80, at_least=True), "yes"),
        (Target("warm", "warm", "ours", 0.81, at_least=True), "**no**"),
    ],
)
def test_a_target_is_met_or_not(target: Target, met: str) -> None:
    [line] = targets_table(ROWS, [target]).splitlines()[2:]
    assert line.strip("| ").split(" | ")[-1].strip() == met


def test_unavailable_targets_are_not_met_and_unrun_ones_are_omitted() -> None:
    shown = targets_table(ROWS, [Target("fast", "warm", "faster", 1), Target("cold", "cold", "ours", 1)])
    [line] = shown.splitlines()[2:]
    assert "not available yet" in line
    assert "yes" not in line


def test_a_page_says_why_something_is_missing_and_what_numbers_relate_to() -> None:
    page = markdown(ROWS, [], {"Processor": "fast one"}, "chart.png")
    assert "- Processor: fast one" in page
    assert "- Relative to httpx.\n- Faster: not available: no such engine." in page
    assert "](chart.png)" in page
    assert "](chart.png)" not in markdown(ROWS, [], {}, None)


def test_everything_measured_is_json() -> None:
    written: dict[str, Any] = json.loads(json.dumps(as_json(ROWS, {"Date": "today"})))
    assert written["about"] == {"Date": "today"}
    assert [row["sample"] for row in written["rows"]] == [list(row.sample) for row in ROWS]


def test_each_target_belongs_to_a_measure_that_is_run() -> None:
    measured = {name for names, _ in bench.MEASURES for name in names}
    assert {target.measure for target in TARGETS} <= measured


def test_contenders_have_names_of_their_own() -> None:
    for contenders in GROUPS.values():
        names = [contender.name for contender in contenders]
        assert len(names) == len(set(names))


# Fetched data


def test_the_record_is_the_example_of_the_contract(contract: dict[str, Any]) -> None:
    success = contract["paths"]["/activity/{id}"]["get"]["responses"]["200"]
    assert success["content"]["application/json"]["examples"]["referencePage"]["value"] == RECORD


def test_results_of_contenders_are_compared_with_the_record() -> None:
    with ThriveClient.sandbox() as client:
        assert mismatch(client.activities.get(ACTIVITY_ID)) is None
    assert mismatch(RECORD) is None
    assert mismatch(RECORD | {"user": "somebody else"}) is not None
    assert mismatch({name: value for name, value in RECORD.items() if name != "data"}) is not None
    assert mismatch({}) is not None


def test_ids_are_valid_and_distinct() -> None:
    ids = list(many_ids(1000))
    assert [validate_activity_id(each) for each in ids] == ids
    assert len(set(ids)) == 1000


def test_the_contract_still_has_what_openapi_generator_cannot_read() -> None:
    assert peers.readable((ROOT / "openapi/thrive.yaml").read_text(encoding="utf-8")) is not None
    assert peers.readable("openapi: 3.1.0") is None


# The command line


def test_only_chooses_measures() -> None:
    options = bench.arguments(["--only", "warm get, (a)?sync"])
    assert len(bench.chosen(options.only)) == 4
    assert len(bench.chosen(None)) == len(bench.MEASURES)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--only", "("], "not a regular expression"),
        (["--only", "nothing of that"], "matches none of: warm get, sync"),
        (["--quick", "--full"], "not allowed with"),
    ],
)
def test_a_mistake_on_the_command_line_is_explained(
    wrong: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        bench.arguments(wrong)
    assert said in capsys.readouterr().err


def test_options_have_their_meaning() -> None:
    options = bench.arguments(["--quick", "--json", "out.json", "--seed", "3"])
    assert (options.quick, options.json, options.seed) == (True, Path("out.json"), 3)


# The guard


def test_the_guard_says_what_became_dearer_and_what_cheaper() -> None:
    then = {"sync": 1000.0, "async": 1000.0, "gone": 5.0}
    verdicts = instructions.compared({"sync": 1031.0, "async": 969.0, "new": 1.0}, then)
    assert [(v.name, v.is_regression, v.is_stale) for v in verdicts] == [
        ("sync", True, False),
        ("async", False, True),
    ]
    within = instructions.compared({"sync": 1029.0, "async": 971.0}, then)
    assert not any(verdict.is_regression or verdict.is_stale for verdict in within)


@pytest.mark.parametrize("name", canned.RUNS)
def test_the_counts_of_the_guard_become_the_record(name: str) -> None:
    """In a process of its own, because it replaces what connects to a host."""
    command = [sys.executable, "-m", "benchmarks.canned", name, "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


COUNTS = dict.fromkeys(canned.RUNS, 900) | {
    "sync": 500,
    "sync, rate limit": 510,
    "async": 600,
    "async, rate limit": 610,
    "bare httpx": 700,
}


def guard(monkeypatch: pytest.MonkeyPatch, record: Path, counts: dict[str, int], *given: str) -> int:
    monkeypatch.setattr(instructions, "RECORD", record)
    monkeypatch.setattr(shutil, "which", lambda _name: "valgrind")
    monkeypatch.setattr(instructions, "per_call", lambda who, _valgrind: counts[who])
    return instructions.main(given)


def test_the_guard_fails_when_a_get_becomes_dearer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = tmp_path / "instructions.json"
    counts = COUNTS
    assert guard(monkeypatch, record, counts, "--record") == 0
    assert guard(monkeypatch, record, counts) == 0
    assert guard(monkeypatch, record, counts | {"bare httpx": 900}) == 0  # it is not ours
    assert guard(monkeypatch, record, counts | {"sync": 530}) == 1
    assert "FAILED: sync: more than 3% above the record" in capsys.readouterr().err
    assert guard(monkeypatch, record, counts | {"async": 500, "async, rate limit": 505}) == 0
    assert "cheaper than the record" in capsys.readouterr().out


def test_the_guard_fails_when_a_rate_limit_that_is_not_reached_costs_more(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = tmp_path / "instructions.json"
    counts = COUNTS | {"sync, rate limit": 516}
    assert guard(monkeypatch, record, counts, "--record") == 0
    assert guard(monkeypatch, record, counts) == 1
    error = capsys.readouterr().err
    assert "FAILED: a rate limit that is not reached adds more than 3%: sync, rate limit: +3.20%" in error


def test_the_guard_says_loudly_that_it_compared_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = tmp_path / "instructions.json"
    counts = COUNTS
    assert guard(monkeypatch, record, counts) == 0
    assert "SKIPPED, nothing was compared: instructions.json does not exist" in capsys.readouterr().err
    guard(monkeypatch, record, counts, "--record")
    monkeypatch.setattr(instructions, "circumstances", lambda: {"python": "CPython 4.0"})
    assert guard(monkeypatch, record, counts | {"sync": 900}) == 0
    assert re.search(r"SKIPPED.+python is CPython 4\.0, but was CPython 3", capsys.readouterr().err)
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    assert instructions.main([]) == 0
    assert "SKIPPED, nothing was compared: valgrind is not on PATH" in capsys.readouterr().err


def test_the_record_is_one() -> None:
    record = json.loads(instructions.RECORD.read_text(encoding="utf-8"))
    assert record["circumstances"].keys() >= {"python", "build", "machine", "httpx", "anyio", "attrs"}
    assert record["instructions_per_get"].keys() == canned.RUNS.keys()


# The path of a call


class Theirs:
    """Stands for a class of another library."""

    def __init__(self) -> None:
        self.public = self._private = self.__class__


class Ours(Theirs):
    """Stands for a class of ours that extends one of theirs."""

    @property
    def _defined(self) -> int:
        return 1


Ours.__module__ = "thrive_learning.made_up"


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("theirs.public; theirs.__dict__; theirs.__class__", set()),
        ("theirs._private", {"Theirs._private"}),
        ("getattr(theirs, '_absent', None)", {"Theirs._absent"}),
        ("theirs._added = 1", {"Theirs._added"}),
        ("ours._private", {"Theirs._private"}),
        ("ours._defined", set()),
        ("ours._own = 1; ours._own", set()),
        ("module._hidden", {"theirs._hidden"}),
        ("module.shown", set()),
        ("from theirs import _hidden", {"theirs._hidden"}),
        ("import httpcore._sync.http11", {"httpcore._sync.http11"}),
        ("from httpcore import ConnectionPool", set()),
    ],
)
def test_private_names_of_other_libraries_are_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, names: set[str]
) -> None:
    module: Any = types.ModuleType("theirs")
    module._hidden = module.shown = 1
    monkeypatch.setitem(sys.modules, "theirs", module)
    monkeypatch.setattr(builtins, "__import__", builtins.__import__)
    for hooked in ("__getattribute__", "__setattr__"):
        monkeypatch.setattr(Theirs, hooked, getattr(Theirs, hooked))
    watch = path.Watch(tmp_path)
    watch.watch_class(Theirs)
    watch.watch_module(module)
    watch.watch_imports()
    scope = {"theirs": Theirs(), "ours": Ours(), "module": module}
    exec(compile(source, "/elsewhere/code.py", "exec"), scope)  # noqa: S102 - it is above
    assert watch.names == set()
    scope["ours"] = Ours()
    exec(compile(source, f"{tmp_path}/code.py", "exec"), scope)  # noqa: S102
    assert {name.removeprefix(f"{__name__}.") for name in watch.names} == names


def test_files_are_those_that_a_call_runs() -> None:
    package = ROOT / "src" / "thrive_learning"
    file = Path(inspect.getfile(validate_activity_id)).relative_to(package).as_posix()
    assert path.called_files(lambda: None, package) == set()
    assert path.called_files(lambda: validate_activity_id(ACTIVITY_ID), package) == {file}

    def in_a_thread() -> None:
        thread = threading.Thread(target=validate_activity_id, args=(ACTIVITY_ID,))
        thread.start()
        thread.join()

    assert path.called_files(in_a_thread, package) == {file}


def test_the_busiest_and_the_quietest_window_are_found() -> None:
    steady = [number / 2 for number in range(100)]
    assert windows(steady, 2.0) == Windows(1.0, 0.95)
    burst = sorted([*steady, 20.1, 20.2, 20.3, 20.4])
    assert windows(burst, 2.0) == Windows(1.2, 0.95)
    gap = [time for time in steady if not 20 < time < 25]
    assert windows(gap, 2.0) == Windows(1.0, 0.5)


@pytest.mark.parametrize("arrivals", [[], [1.0], [0.0, 9.9]], ids=len)
def test_a_run_that_is_shorter_than_a_window_is_rejected(arrivals: list[float]) -> None:
    with pytest.raises(ValueError, match="no window of 10 s"):
        windows(arrivals)
