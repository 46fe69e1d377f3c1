"""The dispatcher of an export by a cluster, with tasks that end at once."""

import datetime as dt
import functools
import itertools
import json
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from part_files import write_part

from thrive_learning import BadRequestError, ForbiddenError, UnauthorizedError
from thrive_learning._cluster.reading import Part
from thrive_learning._cluster.windows import Window
from thrive_learning._filters import ActivityFilters
from thrive_learning.cli.export.cluster import dispatch
from thrive_learning.cli.export.cluster.dispatch import Dispatcher
from thrive_learning.cli.export.cluster.folder import PartFolder
from thrive_learning.cli.export.cluster.parts import CountTask, PartTask
from thrive_learning.cli.export.cluster.plan import PartsPlan, stored_form
from thrive_learning.cli.export.cluster.tally import ClusterTally
from thrive_learning.cli.export.paths import OutputError
from thrive_learning.cli.export.query import PeriodQuery
from thrive_learning.errors import ConnectionFailedError

pytest.importorskip("pyarrow")
distributed: Any = pytest.importorskip("distributed")


KILLED = distributed.KilledWorker("c", types.SimpleNamespace(address="tcp://0"), 3)


class FakeFuture:
    def __init__(self, status: str, result: Any) -> None:
        self.status = status
        self.key = ""
        self._result = result

    def add_done_callback(self, done: Callable[["FakeFuture"], object]) -> None:
        done(self)

    def cancelled(self) -> bool:
        return self.status == "cancelled"

    def exception(self) -> Any:
        return self._result

    def result(self) -> Any:
        return self._result


class FakeClient:
    """A cluster whose tasks end at once, with the given status and result."""

    status = "running"

    def __init__(self, status: str, result: Any) -> None:
        self._outcome = status, result
        self.workers = [2, 2, 1, 0]

    def submit(self, _task: Any, *, key: str, pure: bool) -> FakeFuture:
        assert not pure
        future = FakeFuture(*self._outcome)
        future.key = key
        return future

    def nthreads(self) -> dict[str, int]:
        count = self.workers.pop(0)
        if not count:
            self.workers.append(0)
        return {f"tcp://{number}": 1 for number in range(count)}

    def cancel(self, _futures: Any, *, force: bool) -> None:
        assert force


def dispatcher(client: FakeClient, *, quiet: bool = False) -> Dispatcher:
    source: Any = None
    return Dispatcher(
        *(client, source, PartFolder(Path("lake")), ClusterTally(), lambda **_: None),
        ends_at=float("inf"),
        quiet=quiet,
        verbose=False,
    )


@pytest.mark.parametrize(
    ("status", "result", "problem"),
    [
        (
            "error",
            ModuleNotFoundError("x", name="pyarrow"),
            "a worker cannot import pyarrow. Install 'thrive",
        ),
        ("cancelled", None, "the connection to the Dask scheduler was lost."),
        ("error", ZeroDivisionError("odd"), "odd"),
        ("error", KILLED, "4 workers were lost during the same work, perhaps because they had too little"),
    ],
    ids=["import", "cancelled", "other", "killed"],
)
def test_an_error_of_a_task_is_raised(status: str, result: Any, problem: str) -> None:
    query: Any = type("Query", (), {"filters": None, "per_page": 1})
    with pytest.raises(Exception, match=problem):
        dispatcher(FakeClient(status, result)).plan("origin", query, 10)


def test_lost_workers_are_reported(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "TICK_S", 0.001)
    monkeypatch.setattr(dispatch, "NO_WORKER_S", 0.02)
    for quiet in (False, True):
        with pytest.raises(Exception, match="the cluster has had no workers for 0 s"):
            dispatcher(FakeClient("", None), quiet=quiet)._next()
        said = capsys.readouterr().err.splitlines()
        assert said == (
            []
            if quiet
            else [
                "thrive: lost 1 worker, 1 left. Unfinished parts are written again",
                "thrive: lost 1 worker, 0 left. Unfinished parts are written again",
            ]
        )


def test_a_task_that_ends_with_its_worker_runs_again() -> None:
    class Lost(FakeFuture):
        """A task whose worker is lost after the task has ended, twice."""

        ends = iter(["lost", "pending", "error"])

        def add_done_callback(self, done: Callable[[FakeFuture], object]) -> None:
            self.status = next(self.ends)
            done(self)

    class LosingClient(FakeClient):
        def submit(self, _task: Any, *, key: str, pure: bool) -> FakeFuture:
            assert (key, pure) != ("", True)
            return Lost("pending", ZeroDivisionError("the third time"))

    query: Any = type("Query", (), {"filters": None, "per_page": 1})
    with pytest.raises(ZeroDivisionError, match="the third time"):
        dispatcher(LosingClient("error", None)).plan("origin", query, 10)


def test_a_closed_connection_cancels_nothing() -> None:
    client = FakeClient("error", OutputError("no"))
    client.status = "closed"
    client.cancel = None  # type: ignore[method-assign, assignment]
    count: Any = CountTask(*([None] * 4))  # type: ignore[arg-type]
    with dispatcher(client)._submitted({"plan": count}):
        pass


# Parts, which a worker in this process writes


TIMES = [dt.datetime(2026, month, 1, tzinfo=dt.UTC) for month in range(1, 9)]
QUERY = stored_form(PeriodQuery(ActivityFilters(since=TIMES[0], until=TIMES[-1]), "2026-01-01", None, 50))
WINDOWS = [Window(*times, records=3) for times in itertools.pairwise(TIMES)]
PLAN = PartsPlan.new("here", QUERY, [Part(QUERY.filters, window) for window in WINDOWS], 3)
NAMES = [PLAN.part_name(part) for part in PLAN.parts]
SOURCE: Any = "source"


def rejected(message: str) -> BadRequestError:
    return BadRequestError(message, status_code=400)


class Worker:
    """A cluster with one worker that writes parts at once, but fails with the given errors instead."""

    def __init__(self, *errors: BaseException | str | None) -> None:
        self.status = "running"
        self.errors = [*errors]
        self.tasks: list[Any] = []
        self.futures: list[FakeFuture] = []
        self.canceled: list[list[FakeFuture]] = []
        self.looks = 0

    def submit(self, run: Any, *, key: str, pure: bool) -> FakeFuture:
        assert not pure
        self.tasks.append(run.__self__)
        error = self.errors.pop(0) if self.errors else None
        if isinstance(error, str):
            future = FakeFuture(error, None)
        elif error is not None:
            future = FakeFuture("error", error)
        else:
            future = FakeFuture("finished", self.result(run.__self__))
        future.key = key
        self.futures.append(future)
        return future

    def result(self, task: Any) -> list[Part] | None:
        if isinstance(task, CountTask):
            return [PLAN.wanted(part) for part in PLAN.parts]
        write_part(task.path)
        return None

    def nthreads(self) -> dict[str, int]:
        self.looks += 1
        return {"tcp://0": 1}

    def cancel(self, futures: list[FakeFuture], *, force: bool) -> None:
        assert force
        self.canceled.append(futures)


class Run:
    """A run of the command, with a clock that moves by a second whenever the progress is shown."""

    def __init__(
        self,
        patch: pytest.MonkeyPatch,
        *errors: BaseException | str | None,
        left_s: float = 1e6,
        quiet: bool = False,
        verbose: bool = False,
    ) -> None:
        self.now = 1000.0
        patch.setattr(dispatch, "monotonic", lambda: self.now)
        self.worker: Any = Worker(*errors)
        self.folder = PartFolder(Path("lake"))
        self.folder.work.mkdir(parents=True, exist_ok=True)
        self.tally = ClusterTally()
        self.shown = 0
        self.step_s = 1.0
        self.dispatcher = Dispatcher(
            *(self.worker, SOURCE, self.folder, self.tally, self.show),
            ends_at=self.now + left_s,
            quiet=quiet,
            verbose=verbose,
        )

    def show(self, *, is_pause: bool = False) -> None:
        assert not is_pause
        self.shown += 1
        self.now += self.step_s

    def failures(self) -> list[str]:
        lines = self.folder.failures.read_text().splitlines() if self.folder.failures.exists() else []
        return [json.loads(line)["message"] for line in lines]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    monkeypatch.chdir(tmp_path)

    return functools.partial(Run, monkeypatch)


def test_a_worker_counts_the_records_of_a_plan(run: Callable[..., Run]) -> None:
    one = run()
    plan = one.dispatcher.plan("here", QUERY, 5)
    assert plan is not None
    assert plan._replace(id=PLAN.id) == PLAN._replace(most=5)
    assert one.worker.tasks == [CountTask(SOURCE, QUERY.filters, 5, QUERY.per_page)]
    assert one.worker.canceled == [one.worker.futures]
    assert run(left_s=0.0).dispatcher.plan("here", QUERY, 5) is None


def test_parts_that_are_missing_are_written(run: Callable[..., Run]) -> None:
    first = run()
    first.dispatcher.write(PLAN, is_new=True)
    assert first.worker.tasks == [
        PartTask(SOURCE, PLAN.wanted(part), first.folder.path / name, PLAN.first_line, 50)
        for name, part in zip(NAMES, PLAN.parts, strict=True)
    ]
    assert (first.folder.work / "plan.json").read_text() == PLAN.text()
    assert first.worker.canceled == [first.worker.futures]
    assert (first.tally.records, first.tally.parts, first.tally.planned) == (14, 7, 21)
    assert (first.tally.workers, first.shown, first.failures()) == (1, 7, [])
    (first.folder.path / NAMES[2]).unlink()
    again = run()
    again.dispatcher.write(PLAN, is_new=False)
    [future] = again.worker.futures
    assert future.key.endswith(f"-{NAMES[2]}")
    assert future.key != first.worker.futures[2].key  # a scheduler would remember the result
    assert (again.tally.records_before, again.tally.records, again.tally.parts) == (12, 2, 1)


def test_parts_may_fail_but_not_three_in_a_row(run: Callable[..., Run]) -> None:
    some = run(rejected("a"), rejected("b"), None, KILLED, ConnectionFailedError("d"))
    some.dispatcher.write(PLAN, is_new=True)
    assert [failure.period for failure in some.tally.failures] == [
        PLAN.parts[number].period for number in (0, 1, 3, 4)
    ]
    first, second, killed, last = some.failures()
    assert (first, second, last) == (str(rejected("a")), str(rejected("b")), "d")
    assert some.tally.failures[2][1:3] == ("ConnectionFailedError", killed)
    assert (some.tally.parts, some.shown) == (3, 7)
    hopeless = run(rejected("a"), rejected("b"), rejected("c"))
    with pytest.raises(BadRequestError, match="c"):
        hopeless.dispatcher.write(PLAN, is_new=False)
    assert len(hopeless.failures()) == 2


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (UnauthorizedError("no", status_code=401), UnauthorizedError),
        (ForbiddenError("no", status_code=403), ForbiddenError),
        (OutputError("disk full"), OutputError),
        ("cancelled", ConnectionFailedError),
    ],
    ids=["401", "403", "disk", "cancelled"],
)
def test_an_error_that_would_affect_other_parts_ends_the_export(
    run: Callable[..., Run], error: BaseException | str, raised: type[Exception]
) -> None:
    one = run(error)
    with pytest.raises(raised):
        one.dispatcher.write(PLAN, is_new=True)
    assert (one.failures(), one.shown) == ([], 0)
    assert one.worker.canceled == [one.worker.futures]


def test_a_part_that_cannot_be_seen_here_ends_the_export(
    run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "is_visible", lambda _path: False)
    one = run()
    with pytest.raises(
        OutputError, match=f"^a worker has written .*{NAMES[0]}, and this machine cannot read"
    ):
        one.dispatcher.write(PLAN, is_new=True)
    assert one.tally.parts == 0


def test_an_export_waits_for_new_workers_for_a_minute(
    run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "TICK_S", 0.001)
    monkeypatch.setattr(Worker, "nthreads", lambda _worker: {})
    assert run(left_s=60.0).dispatcher._next() is None
    with pytest.raises(ConnectionFailedError, match="the cluster has had no workers for 60 s"):
        run(left_s=61.0).dispatcher._next()


def test_the_deadline_ends_the_wait(run: Callable[..., Run]) -> None:
    one = run(rejected("a"), left_s=2.0)
    one.dispatcher.write(PLAN, is_new=True)
    assert (one.tally.parts, len(one.failures()), one.tally.is_whole) == (1, 1, False)


@pytest.mark.parametrize(("left_s", "stays"), [(2.0, True), (1e6, False)], ids=["early", "whole"])
def test_incomplete_files_are_removed_at_the_end_alone(
    run: Callable[..., Run], left_s: float, *, stays: bool
) -> None:
    class Killed(Worker):
        def result(self, task: Any) -> None:
            write_part(task.path)
            leftover.touch()

    one = run(left_s=left_s)
    leftover = one.folder.work / ".thrive-0123456789abcdef.tmp"
    one.worker.__class__ = Killed
    one.dispatcher.write(PLAN, is_new=True)
    assert leftover.exists() == stays


@pytest.mark.parametrize(("step_s", "looks"), [(dispatch.TICK_S, 7), (dispatch.TICK_S / 2, 4), (0, 1)])
def test_workers_are_looked_at_from_time_to_time(run: Callable[..., Run], step_s: float, looks: int) -> None:
    one = run()
    one.step_s = step_s
    one.dispatcher.write(PLAN, is_new=True)
    assert one.worker.looks == looks


def test_the_progress_is_shown_while_nothing_ends(
    run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "TICK_S", 0.001)
    one = run(left_s=3.0)
    assert one.dispatcher._next() is None
    assert one.shown == 3


@pytest.mark.parametrize(("quiet", "verbose"), [(False, True), (False, False), (True, True)])
def test_only_verbose_mentions_each_part(
    run: Callable[..., Run], capsys: pytest.CaptureFixture[str], *, quiet: bool, verbose: bool
) -> None:
    run(rejected("odd"), quiet=quiet, verbose=verbose).dispatcher.write(PLAN, is_new=True)
    said = capsys.readouterr().err.splitlines()
    expected = [f"thrive: {NAMES[0]}: failed: odd"]
    expected += [
        f"thrive: {name}: 2 records {part.period}"
        for name, part in zip(NAMES[1:], PLAN.parts[1:], strict=True)
    ]
    assert said == (expected if verbose and not quiet else [])
