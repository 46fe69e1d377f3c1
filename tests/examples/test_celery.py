"""The program for Celery, whose tasks run in this process. `tests/programs` runs it in a worker."""

from types import ModuleType

import pytest
from example_programs import load

from thrive_learning import ForbiddenError, InvalidIdError, RetryPolicy, ServerError, ThriveClient
from thrive_learning.testing import ThriveSandbox

celery = pytest.importorskip("celery", reason="Celery is not installed")


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch, thrive_sandbox: ThriveSandbox) -> ModuleType:
    module = load("celery/tasks.py", monkeypatch)
    client = thrive_sandbox.client(retry=RetryPolicy(attempts=1))
    monkeypatch.setattr(module, "thrive_client", lambda: client)
    return module


def test_a_task_returns_a_record(tasks: ModuleType, thrive_sandbox: ThriveSandbox) -> None:
    activity = thrive_sandbox.add()
    assert tasks.read_activity.apply([activity.id]).get() == activity.to_dict()


def test_a_missing_record_is_a_result(tasks: ModuleType, thrive_sandbox: ThriveSandbox) -> None:
    assert tasks.read_activity.apply(["0" * 24]).get() is None
    assert len(thrive_sandbox.activity_requests) == 1


def test_a_transient_failure_is_tried_again(tasks: ModuleType, thrive_sandbox: ThriveSandbox) -> None:
    activity = thrive_sandbox.add()
    thrive_sandbox.fail_next(503, times=2)
    assert tasks.read_activity.apply([activity.id]).get() == activity.to_dict()
    assert [request.status_code for request in thrive_sandbox.activity_requests] == [503, 503, 200]


def test_a_failure_that_stays_ends_the_task(tasks: ModuleType, thrive_sandbox: ThriveSandbox) -> None:
    thrive_sandbox.fail_next(503, times=20)
    with pytest.raises(ServerError):
        tasks.read_activity.apply([thrive_sandbox.add().id]).get()
    assert len(thrive_sandbox.activity_requests) == 6


@pytest.mark.parametrize(
    ("fault", "seconds"), [("503", 0), ("503:900s", 900)], ids=["backoff", "Retry-After"]
)
def test_a_retry_waits_as_long_as_the_server_asks(
    tasks: ModuleType,
    thrive_sandbox: ThriveSandbox,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    seconds: float,
) -> None:
    waits: list[float] = []
    retry = tasks.read_activity.retry

    def record(*, exc: Exception, countdown: float) -> Exception:
        waits.append(countdown)
        error: Exception = retry(exc=exc, countdown=countdown)
        return error

    monkeypatch.setattr(tasks.read_activity, "retry", record)
    thrive_sandbox.fail_next(fault)
    tasks.read_activity.apply([thrive_sandbox.add().id]).get()
    [wait] = waits
    assert seconds <= wait <= max(seconds, 10)


@pytest.mark.parametrize(("activity_id", "error"), [("60d5ec49", InvalidIdError), ("6" * 24, ForbiddenError)])
def test_other_failures_are_not_tried_again(
    tasks: ModuleType,
    thrive_sandbox: ThriveSandbox,
    monkeypatch: pytest.MonkeyPatch,
    activity_id: str,
    error: type[Exception],
) -> None:
    monkeypatch.setattr(tasks.read_activity, "retry", None)
    if error is ForbiddenError:
        thrive_sandbox.fail_next(403)
    with pytest.raises(error):
        tasks.read_activity.apply([activity_id]).get()


@pytest.mark.usefixtures("oauth")
def test_the_client_of_a_process_is_created_once_and_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tasks = load("celery/tasks.py", monkeypatch)
    tasks.close_client()  # no task has run, so there is nothing to close
    client = tasks.thrive_client()
    assert isinstance(client, ThriveClient)
    assert tasks.thrive_client() is client
    celery.signals.worker_process_shutdown.send(sender=None)
    with pytest.raises(Exception, match="closed"):
        client.activities.get("6" * 24)
