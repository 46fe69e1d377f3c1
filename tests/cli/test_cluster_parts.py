"""The plan of an export by a cluster, its parts, and what workers read their secret from."""

import datetime as dt
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command import BASIC, OAUTH

from thrive_learning import BasicCredentials, ClientCredentials, RateLimit, ThriveClient
from thrive_learning._cluster.clients import ClientSource
from thrive_learning._cluster.reading import Part
from thrive_learning._cluster.windows import Window
from thrive_learning._filters import ActivityFilters
from thrive_learning.cli import regular_files
from thrive_learning.cli.export.cluster import parts, worker_settings
from thrive_learning.cli.export.cluster.folder import PartFailure, PartFolder
from thrive_learning.cli.export.cluster.parts import (
    PartFacts,
    PartTask,
    check_plan,
    is_intact,
    meet,
    part_facts,
    plan_path,
)
from thrive_learning.cli.export.cluster.plan import PART_NAME, PartsPlan, stored_form
from thrive_learning.cli.export.cluster.tally import ClusterTally
from thrive_learning.cli.export.cluster.worker_settings import secret_here, source_for
from thrive_learning.cli.export.paths import OutputError
from thrive_learning.cli.export.query import PeriodQuery
from thrive_learning.cli.options import Target
from thrive_learning.errors import ConfigurationError

parquet: Any = pytest.importorskip("pyarrow.parquet")
pa: Any = pytest.importorskip("pyarrow")

SINCE, MIDDLE, UNTIL = (dt.datetime(2026, month, 1, tzinfo=dt.UTC) for month in (1, 2, 3))
IDS = tuple(f"{number:024x}" for number in reversed(range(150)))  # a plan stores them in order
QUERY = stored_form(
    PeriodQuery(
        ActivityFilters(types=("viewed",), content_ids=IDS, since=SINCE, until=UNTIL), "2026-01-01", None
    )
)
WINDOWS = [
    Window(SINCE, MIDDLE, is_last=False, records=3),
    Window(MIDDLE, UNTIL, is_first=False, records=None, overlap=dt.timedelta(hours=2)),
]
PLAN = PartsPlan.new(
    "here", QUERY, [Part(walk, window) for walk in QUERY.filters.walks for window in WINDOWS], 400
)


def test_a_plan_is_read_as_it_was_written() -> None:
    assert PartsPlan.parsed(PLAN.text()) == PLAN
    assert PLAN.text().splitlines()[0] == PLAN.first_line
    assert [PLAN.wanted(part) for part in PLAN.parts] == [
        Part(walk, window) for walk in QUERY.filters.walks for window in WINDOWS
    ]
    assert len(QUERY.filters.walks) == 2
    names = [PLAN.part_name(part) for part in PLAN.parts]
    assert names[:2] == [
        f"part-00000-20260101T000000Z-20260201T000000Z-{PLAN.id}.parquet",
        f"part-00001-20260201T000000Z-20260301T000000Z-{PLAN.id}.parquet",
    ]
    assert len({*names}) == 4
    assert all(PART_NAME.fullmatch(name) for name in names)
    assert PLAN.parts[1].period == "from 2026-02-01 00:00:00 to 2026-03-01 00:00:00 UTC"


def test_a_plan_stores_the_whole_query() -> None:
    filters = ActivityFilters(("viewed",), ("liked",), IDS, "video", SINCE, UNTIL)
    query = PeriodQuery(filters, "2026-01-01", "2026-03-01", 50)
    assert stored_form(query) == query._replace(filters=filters._replace(content_ids=IDS[::-1]))


def test_the_first_years_have_valid_names() -> None:
    early = dt.datetime(999, 1, 1, tzinfo=dt.UTC)
    query = QUERY._replace(filters=QUERY.filters._replace(since=early, content_ids=()))
    plan = PartsPlan.new("here", query, [Part(query.filters, Window(early, UNTIL))], 400)
    assert PartsPlan.parsed(plan.text()) == plan
    assert plan.part_name(plan.parts[0]).startswith("part-00000-09990101T000000Z-")


def changed(**fields: Any) -> str:
    return json.dumps(json.loads(PLAN.text()) | fields)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "[" * 100_000,
        changed(thrive_export_plan=2),
        changed(id="../../evil"),
        changed(id="0123456"),
        changed(query=None),
        changed(query={}),
        changed(parts=[[0, None, UNTIL.isoformat(), 1, 1]]),
        changed(parts=[[0, SINCE.isoformat(), "2026-02-01", 1, 1]]),
        changed(parts=[[2, SINCE.isoformat(), UNTIL.isoformat(), 1, 1]]),
        changed(parts=[[-1, SINCE.isoformat(), UNTIL.isoformat(), 1, 1]]),
        changed(parts=[[0, SINCE.isoformat(), UNTIL.isoformat(), "1", 1]]),
        changed(parts=[[0, SINCE.isoformat(), UNTIL.isoformat(), 1, "1"]]),
        changed(parts=[[0, SINCE.isoformat(), UNTIL.isoformat(), 1, 0]]),
        changed(parts=[[0, SINCE.isoformat(), UNTIL.isoformat(), 1, 10**12]]),
        changed(parts=[[0, SINCE.isoformat(), UNTIL.isoformat(), 1]]),
        changed(parts=None),
        changed(records_per_part=None),
    ],
    ids=range(20),
)
def test_a_damaged_plan_is_rejected(text: str) -> None:
    with pytest.raises(ConfigurationError, match="its plan cannot be read by this version"):
        PartsPlan.parsed(text)


# Parts


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """A folder with a plan."""
    folder = tmp_path / "lake"
    plan_path(folder).parent.mkdir(parents=True)
    plan_path(folder).write_text(PLAN.text())
    return folder


@pytest.fixture
def task(lake: Path) -> PartTask:
    filters = ActivityFilters()
    window = Window(dt.datetime(2020, 1, 1, tzinfo=dt.UTC), dt.datetime(2027, 1, 1, tzinfo=dt.UTC))
    with ThriveClient.sandbox() as client:
        source = ClientSource.of(client)
    return PartTask(source, Part(filters, window), lake / "part.parquet", PLAN.first_line, 10)


def test_a_part_says_how_many_records_it_has(task: PartTask) -> None:
    assert part_facts(task.path) is None
    task.run()
    assert part_facts(task.path) == PartFacts(34, 0, 0)
    assert parquet.read_table(task.path).num_rows == 34
    assert [path.name for path in task.path.parent.joinpath("_thrive").iterdir()] == ["plan.json"]
    written = task.path.stat().st_mtime_ns
    task.run()  # as for a worker that was killed afterwards
    assert task.path.stat().st_mtime_ns == written


def test_an_incomplete_part_does_not_count(task: PartTask) -> None:
    task.run()
    whole = task.path.read_bytes()
    ends = [0, 1, 4, len(whole) // 2, *range(len(whole) - 20, len(whole))]
    for data in (
        *(whole[:end] for end in ends),
        b"\0" * len(whole),
        whole[:4] + whole[2000:],  # its footer is complete, and its data is not
        whole[:-100] + b"\xff" * 80 + whole[-20:],
        whole + b"\n",
    ):
        task.path.write_bytes(data)
        assert part_facts(task.path) is None
    table = pa.table({"id": ["a"]})
    for metadata in (None, {"other": "1"}, {"thrive_export": "{"}, {"thrive_export": '{"rows": 1}'}):
        parquet.write_table(table.replace_schema_metadata(metadata), task.path)
        assert part_facts(task.path) is None
    for facts in (
        '{"part": "part.parquet", "rows": 2, "unreadable": 0, "missing": 0}',
        '{"part": "other.parquet", "rows": 1, "unreadable": 0, "missing": 0}',
        '{"rows": 1, "unreadable": 0, "missing": 0}',
        "[]",
        "7",
    ):
        parquet.write_table(table.replace_schema_metadata({"thrive_export": facts}), task.path)
        assert part_facts(task.path) is None
    task.run()
    assert part_facts(task.path) == PartFacts(34, 0, 0)


def test_damaged_data_is_noticed(task: PartTask, monkeypatch: pytest.MonkeyPatch) -> None:
    task.run()
    assert is_intact(task.path)
    whole = task.path.read_bytes()
    table = parquet.read_table(task.path)
    end = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    seen = set()
    for at in range(4, end, 7):
        task.path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        seen.add(is_intact(task.path))
        if is_intact(task.path):  # the byte says nothing, such as one of a statistic
            assert parquet.read_table(task.path).equals(table)
    assert False in seen
    footer = parquet.read_metadata(task.path)
    for column in map(footer.row_group(0).column, range(footer.num_columns)):
        for at in (column.dictionary_page_offset, column.data_page_offset):
            if at is not None:  # the type of a page is the second byte of its header
                task.path.write_bytes(whole[: at + 1] + bytes([whole[at + 1] ^ 0x10]) + whole[at + 2 :])
                assert not is_intact(task.path)
    task.path.write_bytes(whole[:100] + bytes(100) + whole[200:])
    assert not is_intact(task.path)

    errors = iter([pa.ArrowInvalid("odd"), OSError(5, "Input/output error")])

    def fail(_file: object, **_options: object) -> None:
        raise next(errors)

    monkeypatch.setattr(parquet, "ParquetFile", fail)
    assert not is_intact(task.path)
    with pytest.raises(OutputError, match=r"cannot read .*part.parquet: Input/output error"):
        is_intact(task.path)


def test_a_part_that_cannot_be_read_is_an_error(task: PartTask, monkeypatch: pytest.MonkeyPatch) -> None:
    task.run()

    def fail(_file: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(parquet, "read_metadata", fail)
    with pytest.raises(OutputError, match=r"cannot read .*part.parquet: Input/output error"):
        part_facts(task.path)
    monkeypatch.undo()
    task.path.unlink()
    task.path.mkdir()
    with pytest.raises(ConfigurationError, match="is a folder"):
        task.run()


def test_a_worker_of_another_plan_writes_nothing(task: PartTask, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = task.path.parent
    other = task._replace(plan=task.plan.replace(PLAN.id, "0123abcd"))
    with monkeypatch.context() as reading:
        reading.setattr(parts, "read_part", None)
        with pytest.raises(OutputError, match="another export has begun in "):
            other.run()
        with pytest.raises(OutputError, match="a worker cannot see "):
            task._replace(path=folder / "elsewhere" / "part.parquet").run()
    # The other plan comes while the part is written.
    write_table = parquet.write_table

    def replaced(*arguments: Any, **options: Any) -> None:
        write_table(*arguments, **options)
        plan_path(folder).write_text(PLAN.text().replace(PLAN.id, "0123abcd"))

    monkeypatch.setattr(parquet, "write_table", replaced)
    with pytest.raises(OutputError, match="another export has begun in "):
        task.run()
    assert sorted(path.name for path in folder.rglob("*")) == ["_thrive", "plan.json"]


def test_a_part_that_appears_after_another_plan_is_removed(
    task: PartTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = task.path.parent
    fsync = os.fsync

    def slow(file: int) -> None:
        fsync(file)
        plan_path(folder).write_text(PLAN.text().replace(PLAN.id, "0123abcd"))

    monkeypatch.setattr(os, "fsync", slow)
    with pytest.raises(OutputError, match="another export has begun in "):
        task.run()
    assert sorted(path.name for path in folder.rglob("*")) == ["_thrive", "plan.json"]


def test_a_worker_without_the_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(
        OutputError, match=r"a worker cannot see .*plan.json. Choose a folder that this machine"
    ):
        check_plan(tmp_path, PLAN.first_line)
    plan_path(tmp_path).parent.touch()
    with pytest.raises(OutputError, match=r"a worker cannot read .*plan.json: Not a directory"):
        check_plan(tmp_path, PLAN.first_line)
    plan_path(tmp_path).parent.unlink()
    plan_path(tmp_path).parent.mkdir()
    plan_path(tmp_path).touch()
    with pytest.raises(OutputError, match=r"it cannot see .*nothing. Choose a folder that this machine"):
        meet(tmp_path / "nothing")
    mine = meet(plan_path(tmp_path))
    assert mine.exists()
    assert mine.parent == plan_path(tmp_path).parent


@pytest.mark.parametrize("is_raced", [False, True], ids=["found", "planted later"])
def test_a_worker_does_not_wait_for_the_writer_of_a_fifo(
    task: PartTask, monkeypatch: pytest.MonkeyPatch, *, is_raced: bool
) -> None:
    task.run()
    fifos = [task.path, plan_path(task.path.parent)]
    for path in fifos:
        path.unlink()
        os.mkfifo(path)
    if is_raced:
        for module in (parts, regular_files):
            monkeypatch.setattr(module, "is_there", lambda _path: True)
    problem = "is not a regular file" if is_raced else "is a FIFO, not a regular file"
    for check in (task.run, lambda: part_facts(task.path), lambda: is_intact(task.path)):
        with pytest.raises(ConfigurationError, match=problem):
            check()


def test_workers_need_no_package_of_the_command() -> None:
    script = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(['click', 'rich', 'filelock', 'tomlkit']))\n"
        "import thrive_learning.cli.export.cluster.parts\n"
        "import thrive_learning.cli.export.cluster.worker_settings\n"
        "import thrive_learning.cli.export.cluster.own_workers\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_the_failure_of_a_part_has_the_error() -> None:
    assert PartFailure.of("period", ZeroDivisionError("x")) == (
        "period",
        "ZeroDivisionError",
        "x",
        None,
        None,
    )


def test_failures_are_written_whatever_their_message_contains(lake: Path) -> None:
    folder = PartFolder(lake)
    folder.write_failures(
        [PartFailure.of("period", ValueError("\ud800 \x1b[2J \N{RIGHT-TO-LEFT OVERRIDE} \u00e9"))]
    )
    [line] = (lake / "_thrive" / "failures.ndjson").read_text(encoding="utf-8").splitlines()
    assert "\\ud800 \\u001b[2J \\u202e \u00e9" in line
    assert json.loads(line)["message"] == "\ud800 \x1b[2J \N{RIGHT-TO-LEFT OVERRIDE} \u00e9"


# Settings


def target(**fields: Any) -> Target:
    names = dict.fromkeys(Target._fields)
    return Target(**{**names, "sandbox": False, "verbose": False, **fields})


@pytest.mark.parametrize("settings", [BASIC, OAUTH], ids=["basic", "oauth"])
def test_workers_take_the_secret_from_their_own_settings(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str]
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    found = target(rate_limit="20:5").settings()
    source = source_for(target(max_body_mib=3), found)
    [secret] = [value for name, value in settings.items() if name.endswith("SECRET")]
    assert secret.encode() not in pickle.dumps(source)
    with source.create(None) as client:
        credentials = client._http.authorizer.credentials
        assert (client.region, credentials.tenant_id) == (found.region, found.credentials.tenant_id)
        assert client._options.rate_limit == RateLimit(20, burst=5)
        assert client._options.max_page_bytes == client._options.max_record_bytes == 3 * 1024 * 1024
        if isinstance(credentials, ClientCredentials):
            assert isinstance(found.credentials, ClientCredentials)
            assert credentials.client_secret.reveal() == secret
            assert credentials.scopes == found.credentials.scopes
            assert credentials.client_id == found.credentials.client_id
        else:
            assert isinstance(credentials, BasicCredentials)
            assert credentials.api_secret.reveal() == secret
    monkeypatch.setenv("THRIVE_TENANT_ID", "eu-west-2_Other")
    with pytest.raises(
        ConfigurationError, match="a worker has the settings of tenant 'eu-west-2_Other', and"
    ):
        secret_here(None, None, found.credentials.tenant_id)
    for name in settings:
        monkeypatch.delenv(name)
    with pytest.raises(
        ConfigurationError, match=r"a worker has no valid settings: no credentials.*same settings"
    ):
        secret_here(None, None, found.credentials.tenant_id)


def test_workers_use_the_profile_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def settings(**options: Any) -> Any:
        asked.append(options)
        raise ConfigurationError("no such profile")

    for name, value in BASIC.items():
        monkeypatch.setenv(name, value)
    found = target().settings()
    monkeypatch.setattr(worker_settings, "settings", settings)
    source = source_for(target(profile="work", region="staging"), found)
    credentials: Any = source.create(None)._http.authorizer.credentials
    with pytest.raises(ConfigurationError, match="no such profile"):
        credentials.api_secret.reveal()
    assert asked == [{"profile": "work", "region": "staging"}]


# Counts


def test_the_progress_of_an_export() -> None:
    now = [0.0]
    tally = ClusterTally(clock=lambda: now[0], started_at=0.0, workers=2)
    assert (tally.progress, tally.fraction, tally.rate) == ("counting records, 2 workers", None, 0.0)
    now[0] = 10.0
    tally.begin([100, 100, 100, 100], [PartFacts(90, 0, 0)])
    assert tally.progress == "90 records of about 400, 0/s, 1 of 4 parts, 2 workers"
    now[0] = 20.0
    tally.note(PartFacts(100, 1, 0))
    assert tally.progress == "190 records of about 400, 5/s, 2 of 4 parts, 2 workers"
    tally.note(PartFacts(100, 0, 0))
    assert tally.progress == "290 records of about 400, 10/s, 3 of 4 parts, 2 workers, 5.0 s left"
    assert (tally.fraction, tally.is_whole, tally.is_partial) == (0.75, False, True)
    tally.is_paused = True
    tally.failures.append(PartFailure.of("from a to b", ValueError("odd")))
    assert tally.progress == "290 records of about 400, 10/s, 3 of 4 parts, 1 failed, 2 workers, paused"
    assert tally.summary(Path("lake"), Path("lake/failures")) == [
        "exported 200 records in 20.0 s (10/s); lake has 290 in 3 parts",
        "skipped 1 part: already exported",
        "skipped 1 item without an ID",
        "1 part failed: see lake/failures",
        "  ValueError, from a to b: odd",
    ]
    assert (tally.is_whole, tally.is_partial) == (True, True)
    tally.failures.clear()
    tally.note(PartFacts(1, 0, 0))
    assert (tally.is_whole, tally.is_partial) == (True, True)  # items were left out
    tally.unreadable = 0
    assert not tally.is_partial
    tally.missing = 1
    assert tally.is_partial
    assert tally.summary(Path("lake"), Path("lake/failures"))[2].startswith(
        "1 record that the server counted is missing, on no page. Export shorter periods"
    )
    uncounted = ClusterTally()
    uncounted.begin([1, None], [])
    assert "about" not in uncounted.progress
