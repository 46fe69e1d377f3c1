"""The files of an export."""

import errno
import io
import json
import os
import socket
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest

from thrive_learning.cli import regular_files
from thrive_learning.cli.export import files as export_files
from thrive_learning.cli.export.done import HAS_FAILED, HAS_RECORD, key_of
from thrive_learning.cli.export.failures import FailedId
from thrive_learning.cli.export.files import ExportFiles
from thrive_learning.cli.export.paths import ExportOrigin, ExportPaths, OutputError
from thrive_learning.errors import ConfigurationError

IDS = [f"{number:024x}" for number in range(1, 6)]
ORIGIN = ExportOrigin("the sandbox")


def line_of(activity_id: str) -> bytes:
    return json.dumps({"id": activity_id, "filling": "x" * 100}).encode() + b"\n"


def failure_of(activity_id: str, *, retryable: bool, url: str | None = None) -> FailedId:
    return FailedId(activity_id, "NotFoundError", "m", 404, url, retryable)


@pytest.fixture
def paths(tmp_path: Path) -> ExportPaths:
    return ExportPaths.of(tmp_path / "out.ndjson")


def write(files: ExportFiles, *ids: str) -> None:
    for one in ids:
        files.write_record(key_of(one), line_of(one))


def test_the_files_stand_next_to_the_output() -> None:
    for name, failures in (
        ("out.ndjson", "out.failures.ndjson"),
        ("out.JSONL", "out.failures.ndjson"),
        ("out", "out.failures.ndjson"),
        ("out.v1", "out.v1.failures.ndjson"),
    ):
        paths = ExportPaths.of(Path("a", name))
        assert paths.failures == Path("a", failures)
        assert paths.journal == Path("a", f"{name}.journal")
        assert len(set(paths)) == 3


def test_an_export_goes_on_where_it_was(paths: ExportPaths) -> None:
    with ExportFiles(paths, ORIGIN) as files:
        write(files, IDS[0], IDS[1])
        assert (files.records, len(files.done)) == (2, 0)
    for _ in range(2):
        with ExportFiles(paths, ORIGIN, resume=True) as files:
            assert (files.records, files.kept_failures.total, files.cut_bytes) == (2, 0, 0)
            assert [key_of(one) in files.done for one in IDS[:3]] == [True, True, False]
    with ExportFiles(paths, ORIGIN, resume=True) as files:
        write(files, IDS[2])
    assert paths.output.read_bytes() == b"".join(map(line_of, IDS[:3]))
    assert not paths.failures.exists()


def test_resume_begins_one_that_is_not_there(paths: ExportPaths) -> None:
    with ExportFiles(paths, ORIGIN, resume=True) as files:
        write(files, IDS[0])
    assert paths.output.read_bytes() == line_of(IDS[0])


def test_an_output_is_not_overwritten_by_accident(paths: ExportPaths) -> None:
    with ExportFiles(paths, ORIGIN) as files:
        write(files, IDS[0])
        files.write_failure(failure_of(IDS[1], retryable=False))
    with pytest.raises(ConfigurationError, match=r"already exists\. Use --resume to continue"):
        ExportFiles(paths, ORIGIN)
    assert paths.output.read_bytes() == line_of(IDS[0])
    with ExportFiles(paths, ORIGIN, force=True) as files:
        assert (files.records, files.kept_failures.total, len(files.done)) == (0, 0, 0)
    assert paths.output.read_bytes() == b""
    assert not paths.failures.exists()


def test_a_removed_output_is_started_again(paths: ExportPaths) -> None:
    with ExportFiles(paths, ORIGIN) as files:
        write(files, IDS[0])
    paths.output.unlink()
    with pytest.raises(ConfigurationError, match=r"cannot resume .*: it has 0 bytes, but its journal says"):
        ExportFiles(paths, ORIGIN, resume=True)
    assert not paths.output.exists()
    with ExportFiles(paths, ORIGIN) as files:
        assert len(files.done) == 0


def test_an_output_without_its_journal_is_left_alone(paths: ExportPaths) -> None:
    paths.output.write_bytes(b"{}\n")
    with pytest.raises(ConfigurationError, match="its journal is missing"):
        ExportFiles(paths, ORIGIN, resume=True)
    assert paths.output.read_bytes() == b"{}\n"


def test_a_torn_line_is_cut_off(paths: ExportPaths) -> None:
    with ExportFiles(paths, ORIGIN) as files:
        write(files, *IDS[:2])
        files.sync()
        write(files, IDS[2])
        killed = [path.read_bytes() for path in (paths.journal, paths.output)]
    paths.journal.write_bytes(killed[0])
    paths.output.write_bytes(killed[1][:-5])
    with ExportFiles(paths, ORIGIN, resume=True) as files:
        assert (files.records, files.cut_bytes) == (2, len(line_of(IDS[2])) - 5)
        assert key_of(IDS[2]) not in files.done
        write(files, IDS[2])
    assert paths.output.read_bytes() == b"".join(map(line_of, IDS[:3]))


def test_a_crash_at_any_byte_loses_nothing_and_doubles_nothing(
    paths: ExportPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writes of the files in order, cut off after each byte."""
    writes: list[tuple[str, bytes]] = []
    written = export_files._write

    def noted(file: io.FileIO, data: bytes) -> None:
        writes.append((str(file.name), data))
        written(file, data)

    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
    failure = failure_of(IDS[2], retryable=False)
    with monkeypatch.context() as patched:
        patched.setattr(export_files, "_write", noted)
        with ExportFiles(paths, ORIGIN) as files:
            write(files, IDS[0])
            files.write_failure(failure)
            files.sync()
            write(files, IDS[1])
    for end in range(sum(len(data) for _, data in writes) + 1):
        for path in paths:
            path.unlink(missing_ok=True)
        left = end
        for name, data in writes:
            if left:
                with Path(name).open("ab") as file:
                    file.write(data[:left])
            left = max(left - len(data), 0)
        there = paths.output.read_bytes().splitlines(keepends=True) if paths.output.exists() else []
        whole = {json.loads(line)["id"] for line in there if line.endswith(b"\n")}
        with ExportFiles(paths, ORIGIN, resume=True) as files:
            assert {one for one in IDS[:2] if key_of(one) in files.done} == whole  # complete records are kept
            if key_of(IDS[2]) not in files.done:
                files.write_failure(failure)
            write(files, *(one for one in IDS[:2] if key_of(one) not in files.done))
        assert sorted(paths.output.read_bytes().splitlines(keepends=True)) == [
            line_of(one) for one in IDS[:2]
        ]
        assert paths.failures.read_bytes() == failure.line()


def test_failures_that_are_final_stay_and_others_are_fetched_again(paths: ExportPaths) -> None:
    final = [failure_of(IDS[0], retryable=False).line(), failure_of("no id", retryable=False).line()]
    with ExportFiles(paths, ORIGIN) as files:
        write(files, IDS[3])
        files.write_failure(failure_of(IDS[0], retryable=False))
        files.write_failure(failure_of(IDS[1], retryable=True))
        files.write_failure(failure_of("no id", retryable=False))
    torn = [b"[]\n", b"\0\0\n", failure_of(IDS[2], retryable=False).line()[:-1]]
    paths.failures.write_bytes(paths.failures.read_bytes() + final[0] + b"".join(torn))
    with ExportFiles(paths, ORIGIN, resume=True) as files:
        assert files.kept_failures.total == 2
        reasons = [files.done.get(key_of(one)) for one in (*IDS[:4], "no id")]
        assert reasons == [HAS_FAILED, None, None, HAS_RECORD, HAS_FAILED]
        files.write_failure(failure_of(IDS[1], retryable=True))
    assert paths.failures.read_bytes() == b"".join(final) + failure_of(IDS[1], retryable=True).line()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="only Linux lists what is open")
def test_a_file_is_closed_before_it_is_replaced(paths: ExportPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows cannot replace open files."""
    replace, open_files = Path.replace, list[str]()

    def checked(self: Path, target: Path) -> Path:
        links = Path("/proc/self/fd").iterdir()
        open_files.extend(str(link.readlink()) for link in links if link.is_symlink())
        assert str(target) not in open_files
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", checked)
    with ExportFiles(paths, ORIGIN) as files:
        files.write_failure(failure_of(IDS[0], retryable=False))
        write(files, IDS[1])
    with ExportFiles(paths, ORIGIN, resume=True) as files:
        assert files.kept_failures.total == 1
    assert open_files


def test_failures_none_of_which_is_final_leave_no_file(paths: ExportPaths) -> None:
    with ExportFiles(paths, ORIGIN) as files:
        files.write_failure(failure_of(IDS[1], retryable=True))
    with ExportFiles(paths, ORIGIN, resume=True) as files:
        assert files.kept_failures.total == 0
    assert names_in(paths) == ["out.ndjson", "out.ndjson.journal"]


def test_a_final_failure_at_another_url_is_not_final(paths: ExportPaths) -> None:
    before, now = (
        ExportOrigin("region here, tenant t", "http://h/wrong"),
        ExportOrigin("region here, tenant t", "http://h/v1"),
    )
    with ExportFiles(paths, before) as files:
        write(files, IDS[0])
        files.write_failure(failure_of(IDS[1], retryable=False, url=f"http://h/wrong/activity/{IDS[1]}"))
        files.write_failure(failure_of("no id", retryable=False))
    with ExportFiles(paths, now, resume=True) as files:
        reasons = [files.done.get(key_of(one)) for one in (*IDS[:2], "no id")]
        assert reasons == [HAS_RECORD, None, HAS_FAILED]


def test_an_export_without_records_may_go_on_elsewhere(paths: ExportPaths) -> None:
    with ExportFiles(paths, ExportOrigin("region staging, tenant t")) as files:
        files.write_failure(failure_of(IDS[1], retryable=False))
    with ExportFiles(paths, ORIGIN, resume=True) as files:
        assert len(files.done) == 0
        write(files, IDS[1])
    assert not paths.failures.exists()
    with pytest.raises(ConfigurationError, match="come from the sandbox, not from region staging"):
        ExportFiles(paths, ExportOrigin("region staging, tenant t"), resume=True)


def names_in(paths: ExportPaths) -> list[str]:
    return sorted(path.name for path in paths.output.parent.iterdir())


# Only regular files of the export are changed


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    (tmp_path / "elsewhere").mkdir()
    path = tmp_path / "elsewhere" / "victim"
    path.write_bytes(b"precious\n")
    return path


def plant(kind: str, path: Path, victim: Path) -> None:
    match kind:
        case "link":
            path.symlink_to(victim)
        case "dangling link":
            path.symlink_to(victim.with_name("not-there"))
        case "FIFO":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "socket":
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(str(path))
        case _:
            os.link(victim, path)


@pytest.mark.parametrize("options", [{}, {"resume": True}, {"force": True}], ids=str)
@pytest.mark.parametrize("kind", ["link", "dangling link", "FIFO", "folder", "socket"])
@pytest.mark.parametrize("which", ["output", "failures", "journal"])
def test_planted_files_are_neither_followed_nor_removed(
    paths: ExportPaths, victim: Path, which: str, kind: str, options: Any
) -> None:
    place: Path = getattr(paths, which)
    plant(kind, place, victim)
    with pytest.raises(ConfigurationError, match=f"{place.name} is a .*, not a regular file"):
        ExportFiles(paths, ORIGIN, **options)
    assert names_in(paths) == sorted(["elsewhere", place.name])
    assert victim.read_bytes() == b"precious\n"
    assert [path.name for path in victim.parent.iterdir()] == ["victim"]


@pytest.mark.parametrize("options", [{}, {"resume": True}, {"force": True}], ids=str)
def test_a_file_that_is_not_a_journal_is_left_alone(paths: ExportPaths, victim: Path, options: Any) -> None:
    os.link(victim, paths.journal)
    with pytest.raises(ConfigurationError, match=r"out\.ndjson\.journal"):
        ExportFiles(paths, ORIGIN, **options)
    assert victim.read_bytes() == b"precious\n"
    assert names_in(paths) == ["elsewhere", "out.ndjson.journal"]


def test_the_target_of_a_hard_link_is_not_emptied(paths: ExportPaths, victim: Path) -> None:
    os.link(victim, paths.output)
    with ExportFiles(paths, ORIGIN, force=True) as files:
        write(files, IDS[0])
    assert victim.read_bytes() == b"precious\n"


def test_a_link_that_is_planted_between_check_and_use_is_not_followed(
    paths: ExportPaths, victim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExportFiles(paths, ORIGIN):
        pass
    paths.output.unlink()
    plant("link", paths.output, victim)
    monkeypatch.setattr(export_files, "is_there", lambda _path: True)
    monkeypatch.setattr(regular_files, "is_there", lambda _path: True)
    for path in (paths.output, paths.output):
        with pytest.raises(OSError, match="symbolic links"):
            regular_files.open_regular(path)
        with pytest.raises(FileExistsError):
            regular_files.create(path)
    fifo = paths.output.with_name("fifo")
    os.mkfifo(fifo)
    with pytest.raises(ConfigurationError, match="fifo is not a regular file"):
        regular_files.open_regular(fifo)
    assert victim.read_bytes() == b"precious\n"


def test_a_journal_that_another_export_removes_is_not_written(
    paths: ExportPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lock(descriptor: int, *, blocking: bool) -> bool:
        assert os.fstat(descriptor)
        paths.journal.unlink()
        return not blocking

    monkeypatch.setattr("filelock.lock_descriptor", lock)
    with pytest.raises(ConfigurationError, match="another export is writing"):
        ExportFiles(paths, ORIGIN)
    assert names_in(paths) == []


def test_temporary_names_cannot_be_foreseen(tmp_path: Path) -> None:
    seen: set[str] = set()
    for _ in range(5):
        with regular_files.replacing(tmp_path / "out") as file:
            seen |= {path.name for path in tmp_path.iterdir()} - {"out"}
            file.write(b"x")
    assert len(seen) == 5
    with pytest.raises(ZeroDivisionError), regular_files.replacing(tmp_path / "out") as file:
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    with pytest.raises(ConfigurationError, match="is a folder"), regular_files.replacing(tmp_path):
        pass


def test_an_export_that_comes_to_nothing_leaves_nothing(paths: ExportPaths) -> None:
    options: Any
    for options in ({}, {"force": True}, {"resume": True}):
        with pytest.raises(ZeroDivisionError), ExportFiles(paths, ORIGIN, **options):
            raise ZeroDivisionError
        assert names_in(paths) == []
    with ExportFiles(paths, ORIGIN):
        pass
    with pytest.raises(ZeroDivisionError), ExportFiles(paths, ORIGIN, resume=True):
        raise ZeroDivisionError
    assert names_in(paths) == ["out.ndjson", "out.ndjson.journal"]


def test_failures_are_not_overwritten_by_accident(paths: ExportPaths) -> None:
    paths.failures.write_bytes(failure_of(IDS[0], retryable=False).line())
    with pytest.raises(ConfigurationError, match=r"out\.failures\.ndjson already exists\. Use --resume"):
        ExportFiles(paths, ORIGIN)
    assert names_in(paths) == ["out.failures.ndjson"]
    with ExportFiles(paths, ORIGIN, force=True):
        pass
    assert names_in(paths) == ["out.ndjson", "out.ndjson.journal"]


def test_two_exports_do_not_write_one_file(paths: ExportPaths) -> None:
    with ExportFiles(paths, ORIGIN) as files:
        write(files, IDS[0])
        script = (
            "import sys, pathlib; from thrive_learning.cli.export.files import *\n"
            "from thrive_learning.cli.export.paths import *\n"
            "try: ExportFiles(ExportPaths.of(pathlib.Path(sys.argv[1])), ExportOrigin('x'), force=True)\n"
            "except Exception as error: print(error)"
        )
        command = [sys.executable, "-c", script, str(paths.output)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.startswith(f"another export is writing {paths.output}. ")
        with pytest.raises(ConfigurationError, match="another export is writing"):  # even in the same process
            ExportFiles(paths, ORIGIN, force=True)
    assert paths.output.read_bytes() == line_of(IDS[0])
    ExportFiles(paths, ORIGIN, resume=True).close()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"the folder .*no-such does not exist"):
        ExportFiles(ExportPaths.of(tmp_path / "no-such" / "out.ndjson"), ORIGIN)
    assert not (tmp_path / "no-such").exists()
    (tmp_path / "out.ndjson").mkdir()
    with pytest.raises(ConfigurationError, match=r"out\.ndjson is a folder, not a regular file"):
        ExportFiles(ExportPaths.of(tmp_path / "out.ndjson"), ORIGIN, force=True)


def test_written_lines_are_synced_to_disk_regularly(
    paths: ExportPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    with ExportFiles(paths, ORIGIN, clock=lambda: now) as files:
        assert len(synced) == 2
        write(files, IDS[0])
        now = export_files.SYNC_INTERVAL_S
        assert len(synced) == 2
        write(files, IDS[1])
        assert len(synced) == 4
        files.write_failure(failure_of(IDS[2], retryable=True))
        assert len(synced) == 4
        now *= 2
        files.write_failure(failure_of(IDS[3], retryable=True))
        assert len(synced) == 7  # including the failures
        monkeypatch.setattr(export_files, "SYNC_INTERVAL_RECORDS", 2)
        write(files, IDS[4])
        assert len(synced) == 7
        write(files, "f" * 24)
        assert len(synced) == 10
    assert len(synced) == 13


class Full(io.FileIO):
    """A file on a disk with limited free space."""

    room = 0

    def write(self, data: Any, /) -> int:
        if self.room == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = super().write(bytes(data)[: self.room])
        self.room -= written
        return written


@pytest.mark.parametrize("room", [0, 1, 42])
@pytest.mark.parametrize("which", ["_output", "_journal"])
def test_a_full_disk_loses_nothing(paths: ExportPaths, which: str, room: int) -> None:
    def fill() -> None:
        with ExportFiles(paths, ORIGIN) as files:
            write(files, IDS[0])
            full = files._open.enter_context(Full(getattr(files, which).name, "ab"))
            full.room = room
            setattr(files, which, full)
            write(files, IDS[1])

    with pytest.raises(OutputError, match=r"cannot write .*out\.ndjson: No space left on device"):
        fill()
    assert paths.output.read_bytes() == line_of(IDS[0])
    with ExportFiles(paths, ORIGIN, resume=True) as files:
        assert (files.records, files.cut_bytes) == (1, 0)
        write(files, *IDS[1:])
    assert paths.output.read_bytes() == b"".join(map(line_of, IDS))


def test_a_real_full_disk_loses_nothing(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    unmount = ["umount", str(disk)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("only root may mount a disk")
    paths = ExportPaths.of(disk / "out.ndjson")
    ids = [f"{number:024x}" for number in range(1, 2000)]
    try:
        with pytest.raises(OutputError, match=r"cannot write .*: No space left on device"):
            with ExportFiles(paths, ORIGIN) as files:
                write(files, *ids)
        whole = paths.output.read_bytes()
        count = whole.count(b"\n")
        assert count > 100
        assert whole == b"".join(map(line_of, ids[:count]))
        subprocess.run([*mount[:3], "-o", "remount,size=1m", str(disk)], check=True)
        with ExportFiles(paths, ORIGIN, resume=True) as files:
            assert (files.records, files.cut_bytes) == (count, 0)
            write(files, *(one for one in ids if key_of(one) not in files.done))
        assert paths.output.read_bytes() == b"".join(map(line_of, ids))
    finally:
        subprocess.run(unmount, check=True)


def moved(output: Path) -> None:
    output.rename(output.with_name("elsewhere"))


def replaced(output: Path) -> None:
    moved(output)
    output.write_bytes(b"of another program\n")


def truncated(output: Path) -> None:
    os.truncate(output, 50)


def appended(output: Path) -> None:
    with output.open("ab") as file:
        file.write(b"of another program\n")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (Path.unlink, "out.ndjson was moved, replaced, or removed during the export. Move it back to"),
        (moved, "out.ndjson was moved, replaced, or removed during the export. Move it back to"),
        (replaced, "out.ndjson was moved, replaced, or removed during the export. Move it back to"),
        (truncated, "out.ndjson was changed during the export. It has 50 bytes, but 300 were written. Use "),
        (appended, "out.ndjson was changed during the export. It has 319 bytes, but 300 were written. Use "),
    ],
    ids=["removed", "moved", "replaced", "truncated", "appended"],
)
def test_an_output_that_another_program_has_moved_or_changed_is_an_error(
    paths: ExportPaths, change: Any, problem: str
) -> None:
    files = ExportFiles(paths, ORIGIN)
    write(files, *IDS[:2])
    change(paths.output)
    before = {path: path.read_bytes() for path in paths.output.parent.iterdir()}
    with pytest.raises(OutputError, match=problem), files:
        pass
    assert files.is_kept is False
    after = {path: path.read_bytes() for path in paths.output.parent.iterdir()}
    assert after == before
    if change is moved:
        paths.output.with_name("elsewhere").rename(paths.output)
        with ExportFiles(paths, ORIGIN, resume=True) as files:
            assert files.records == 2
        assert files.is_kept


def test_a_changed_output_is_noticed_when_records_are_synced(
    paths: ExportPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_files, "SYNC_INTERVAL_RECORDS", 1)
    files = ExportFiles(paths, ORIGIN)
    write(files, IDS[0])
    moved(paths.output)
    with pytest.raises(OutputError, match="was moved"):
        write(files, IDS[1])
    with pytest.raises(OutputError, match="was moved"):
        files.close()


def test_a_file_that_another_program_has_put_there_is_not_discarded(paths: ExportPaths) -> None:
    files = ExportFiles(paths, ORIGIN)
    replaced(paths.output)
    with pytest.raises(ZeroDivisionError), files:
        raise ZeroDivisionError
    assert files.is_kept is False
    assert paths.output.read_bytes() == b"of another program\n"
    assert not paths.journal.exists()


def test_an_export_that_has_just_ended_is_not_replaced(
    paths: ExportPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = ExportFiles._locked_journal

    def late(files: ExportFiles) -> io.FileIO:
        monkeypatch.setattr(ExportFiles, "_locked_journal", locked)
        with ExportFiles(paths, ORIGIN) as other:
            write(other, IDS[0])
        return locked(files)

    monkeypatch.setattr(ExportFiles, "_locked_journal", late)
    with pytest.raises(ConfigurationError, match=r"already exists\. Use --resume to continue or --force"):
        ExportFiles(paths, ORIGIN)
    assert paths.output.read_bytes() == line_of(IDS[0])
    with ExportFiles(paths, ORIGIN, resume=True) as files:
        assert files.records == 1


@pytest.mark.parametrize("is_twice", [False, True], ids=["once", "twice"])
def test_an_interruption_leaves_no_half_record(
    paths: ExportPaths, monkeypatch: pytest.MonkeyPatch, *, is_twice: bool
) -> None:
    written = export_files._write

    def interrupted(file: io.FileIO, data: bytes) -> None:
        written(file, data[:20])
        raise KeyboardInterrupt

    def interrupted_again(_files: ExportFiles) -> None:
        raise KeyboardInterrupt

    def interrupt() -> None:
        with ExportFiles(paths, ORIGIN) as files:
            write(files, IDS[0])
            with monkeypatch.context() as patched:
                patched.setattr(export_files, "_write", interrupted)
                if is_twice:
                    patched.setattr(ExportFiles, "_settle", interrupted_again)
                write(files, IDS[1])

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert paths.output.read_bytes() == line_of(IDS[0])
    assert paths.journal.read_bytes().count(b"\n") == 4
    assert b"%08x" % zlib.crc32(line_of(IDS[0])) in paths.journal.read_bytes()


def test_a_disk_that_fails_at_the_end_is_an_error(
    paths: ExportPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    files = ExportFiles(paths, ORIGIN)
    again = ExportFiles(ExportPaths.of(paths.output.with_name("again.ndjson")), ORIGIN)
    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OutputError, match="Input/output error"), files:
        write(files, IDS[0])
    assert files.is_kept is None
    with pytest.raises(ZeroDivisionError), again:  # which takes precedence
        raise ZeroDivisionError
