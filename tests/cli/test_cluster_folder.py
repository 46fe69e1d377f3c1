"""The folder of an export by a cluster: its plan, its complete parts, its lock, and its failures."""

import datetime as dt
import json
from pathlib import Path

import pytest
from part_files import write_part

from thrive_learning._cluster.reading import Part
from thrive_learning._cluster.windows import Window
from thrive_learning._filters import ActivityFilters
from thrive_learning.cli.export.cluster.folder import PartFailure, PartFolder
from thrive_learning.cli.export.cluster.parts import PartFacts
from thrive_learning.cli.export.cluster.plan import PartsPlan, stored_form
from thrive_learning.cli.export.paths import OutputError
from thrive_learning.cli.export.query import PeriodQuery
from thrive_learning.errors import ApiError, ConfigurationError

pytest.importorskip("pyarrow")

SINCE, MIDDLE, UNTIL = (dt.datetime(2026, month, 1, tzinfo=dt.UTC) for month in (1, 2, 3))
QUERY = stored_form(PeriodQuery(ActivityFilters(since=SINCE, until=UNTIL), "60d", None))
WINDOWS = Window(SINCE, MIDDLE, is_last=False), Window(MIDDLE, UNTIL, is_first=False)
PLAN, OTHER = (
    PartsPlan.new("here", QUERY, [Part(QUERY.filters, window) for window in WINDOWS], 3) for _ in range(2)
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PartFolder:
    monkeypatch.chdir(tmp_path)
    return PartFolder(Path("lake"))


def names(folder: PartFolder) -> set[str]:
    """The names of all files, relative to the folder."""
    return {str(path.relative_to(folder.path)) for path in folder.path.rglob("*") if path.is_file()}


def write(folder: PartFolder, plan: PartsPlan, number: int, *, rows: int = 2) -> Path:
    path = folder.path / plan.part_name(plan.parts[number])
    write_part(path, rows=rows, unreadable=number)
    return path


def begun(folder: PartFolder, plan: PartsPlan = PLAN) -> PartFolder:
    folder.work.mkdir(parents=True, exist_ok=True)
    folder.begin(plan, is_new=True)
    return folder


def test_messages_have_the_name_and_workers_the_absolute_path(folder: PartFolder, tmp_path: Path) -> None:
    assert (folder.name, folder.path) == (Path("lake"), tmp_path / "lake")
    assert folder.failures == Path("lake/_thrive/failures.ndjson")


@pytest.mark.parametrize(("resume", "force"), [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize("has_plan", [False, True])
@pytest.mark.parametrize("has_part", [False, True])
def test_an_export_is_neither_mixed_with_another_nor_replaced_unasked(
    folder: PartFolder, *, resume: bool, force: bool, has_plan: bool, has_part: bool
) -> None:
    begun(folder)
    if has_part:
        write(folder, PLAN, 0)
    if not has_plan:
        (folder.work / "plan.json").unlink()
    problem = None
    if resume and has_part and not has_plan:
        problem = r"^cannot resume lake: its plan \(lake/_thrive/plan.json\) is missing. Use --force to "
    elif not (resume or force) and (has_part or has_plan):
        problem = r"^lake already contains an export. Use --resume to continue or --force to replace it.$"
    before = names(folder)
    if problem is None:
        folder.check(resume=resume, force=force)
    else:
        with pytest.raises(ConfigurationError, match=problem):
            folder.check(resume=resume, force=force)
    assert names(folder) == before


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("other.parquet", "other.parquet"),
        ("part-1.parquet", "part-1.parquet"),
        ("day=2026-01-01", "day=2026-01-01"),
        ("_thrive/records", "an export with --partition-by"),
        ("_thrive/records.journal", "an export with --partition-by"),
    ],
)
def test_files_that_would_be_read_with_the_export_are_rejected(
    folder: PartFolder, name: str, shown: str
) -> None:
    begun(folder)
    (folder.path / name).touch()
    with pytest.raises(ConfigurationError, match=f"^lake contains {shown}, which programs would read with"):
        folder.check(resume=True, force=True)


def test_files_that_programs_ignore_may_be_there(folder: PartFolder) -> None:
    folder.check(resume=False, force=False)
    assert not folder.path.exists()
    folder.path.mkdir()
    for name in (".hidden", "_SUCCESS"):
        (folder.path / name).touch()
    folder.check(resume=False, force=False)


def test_a_lock_that_is_not_needed_any_more_leaves_nothing(folder: PartFolder) -> None:
    with folder.locked():
        assert names(folder) == {"_thrive/lock"}
        with pytest.raises(ConfigurationError, match=r"^another export is writing lake\. "), folder.locked():
            pass
        assert names(folder) == {"_thrive/lock"}
    assert not folder.path.exists()
    with pytest.raises(ZeroDivisionError), folder.locked():
        _ = 1 // 0
    assert not folder.path.exists()
    with folder.locked():
        (folder.path / "mine").touch()
    assert names(folder) == {"mine"}
    for _ in range(2):  # the lock of an export stays, and is used again
        with folder.locked():
            begun(folder)
        assert names(folder) == {"mine", "_thrive/lock", "_thrive/plan.json"}


def test_a_folder_inside_others_is_created(tmp_path: Path) -> None:
    folder = PartFolder(tmp_path / "deep" / "lake")
    with folder.locked():
        assert folder.work.is_dir()
    (tmp_path / "deep" / "lake").write_text("")
    with pytest.raises(ConfigurationError, match="lake is a regular file, not a folder"), folder.locked():
        pass
    with (
        pytest.raises(OutputError, match=r"^cannot write .*/lake/a: "),
        PartFolder(folder.path / "a").locked(),
    ):
        pass


def test_a_link_in_place_of_the_work_folder_is_not_followed(folder: PartFolder, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    folder.path.mkdir()
    folder.work.symlink_to(tmp_path / "elsewhere")
    problem = "_thrive is a symbolic link, not a folder"
    with pytest.raises(ConfigurationError, match=problem):
        folder.check(resume=False, force=True)
    with pytest.raises(ConfigurationError, match=problem), folder.locked():
        pass
    assert not [*(tmp_path / "elsewhere").iterdir()]


def test_a_folder_of_the_user_is_kept_without_an_export(folder: PartFolder) -> None:
    folder.path.mkdir()
    with folder.locked():
        pass
    assert names(folder) == set()
    folder.work.mkdir()
    (folder.work / "lock").touch()
    (folder.work / ".thrive-0123456789abcdef.tmp").mkdir()
    with folder.locked():
        folder.tidy()
    assert names(folder) == {"_thrive/lock"}
    assert (folder.work / ".thrive-0123456789abcdef.tmp").is_dir()


def broken(_path: Path) -> None:
    raise OSError(5, "Input/output error")


def test_a_plan_is_continued_only_by_the_same_command(
    folder: PartFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = PeriodQuery(
        QUERY.filters._replace(since=SINCE + dt.timedelta(1), until=UNTIL + dt.timedelta(1)), "60d", None
    )
    assert folder.resumed("here", later) is None
    begun(folder)
    assert folder.load() == PLAN
    assert folder.resumed("here", later) == PLAN  # `--since 60d` is that of the plan
    for origin, query, difference in (
        ("there", later, "its records come from here, not from there"),
        ("here", later._replace(since_asked="61d"), "its period differs"),
        ("here", later._replace(filters=later.filters._replace(types=("viewed",))), "its filters differ"),
    ):
        with pytest.raises(ConfigurationError) as raised:
            folder.resumed(origin, query)
        assert str(raised.value) == (
            f"cannot resume lake: {difference} (see lake/_thrive/plan.json). Repeat the original command "
            "with --resume, choose another folder, or use --force to replace the export."
        )
    (folder.work / "plan.json").write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match=r"^cannot resume lake: its plan cannot be read by this ver"):
        folder.load()
    with monkeypatch.context() as patched:
        patched.setattr("thrive_learning.cli.export.cluster.folder.open_to_read", broken)
        with pytest.raises(OutputError, match=r"^cannot read .*lake/_thrive/plan.json: Input/output error$"):
            folder.load()
    (folder.work / "plan.json").unlink()
    (folder.work / "plan.json").mkdir()
    with pytest.raises(ConfigurationError, match="is a folder"):
        folder.load()


def test_only_what_belongs_to_the_plan_stays(folder: PartFolder) -> None:
    begun(folder, OTHER)
    mine, theirs = write(folder, PLAN, 0), write(folder, OTHER, 0)
    for name in ("failures.ndjson", ".thrive-0123456789abcdef.tmp", "mine"):
        (folder.work / name).touch()
    folder.begin(PLAN, is_new=False)
    assert folder.load() == OTHER  # it was not written
    assert names(folder) == {mine.name, "_thrive/mine", "_thrive/plan.json"}
    theirs = write(folder, OTHER, 1)
    folder.begin(OTHER, is_new=True)
    assert folder.load() == OTHER
    assert names(folder) == {theirs.name, "_thrive/mine", "_thrive/plan.json"}
    (folder.work / ".thrive-0123456789abcdef.tmp").touch()
    (folder.work / "failures.ndjson").touch()
    folder.tidy()
    assert names(folder) == {theirs.name, "_thrive/mine", "_thrive/plan.json", "_thrive/failures.ndjson"}


def test_parts_that_are_not_complete_are_removed(folder: PartFolder) -> None:
    begun(folder)
    first, second = write(folder, PLAN, 0, rows=1000), write(folder, PLAN, 1)
    assert folder.complete(PLAN) == {PLAN.parts[0]: PartFacts(1000, 0, 0), PLAN.parts[1]: PartFacts(2, 1, 0)}
    data = first.read_bytes()
    first.write_bytes(data[:500] + bytes(100) + data[600:])  # its metadata is complete
    assert folder.complete(PLAN) == {PLAN.parts[1]: PartFacts(2, 1, 0)}
    assert not first.exists()
    first.write_bytes(second.read_bytes())
    assert [*folder.complete(PLAN)] == [PLAN.parts[1]]
    assert names(folder) == {second.name, "_thrive/plan.json"}


def test_failures_are_written_one_per_line(folder: PartFolder) -> None:
    begun(folder)
    error = ApiError("Ungültig", status_code=400)
    error.url = "https://example.org/v1/activities"
    folder.write_failures([PartFailure.of("from a to b", error), PartFailure.of("c", ValueError("odd"))])
    text = folder.failures.read_text(encoding="utf-8")
    assert "Ungültig" in text
    assert [json.loads(line) for line in text.splitlines()] == [
        {
            "period": "from a to b",
            "error": "ApiError",
            "message": str(error),
            "status": 400,
            "url": "https://example.org/v1/activities",
        },
        {"period": "c", "error": "ValueError", "message": "odd", "status": None, "url": None},
    ]
