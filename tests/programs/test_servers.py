"""Programs in the servers that deployments use: processes that fork, and end by a signal."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from example_programs import EXAMPLES

from thrive_learning.testing import ServedSandbox

DJANGO = """
import atexit
import os

import django
from django.conf import settings
from django.urls import include, path

settings.configure(ROOT_URLCONF=__name__, SECRET_KEY="fake", ALLOWED_HOSTS=["127.0.0.1"])
django.setup()
urlpatterns = [path("", include("activity_views"))]

from django.core.wsgi import get_wsgi_application
application = get_wsgi_application()

def report():
    try:
        thrive_client().activities.get("60d5ec49b60b4b3a2c8f9a10")
    except ClientClosedError:
        # Processes write at the same time, and `print` would need two writes if PYTHONUNBUFFERED is set.
        os.write(1, b"closed in %d\\n" % os.getpid())

atexit.register(report)  # runs after what is registered later

# Before the fork, so that the workers inherit a client that has a connection and a token.
from activity_views import thrive_client
from thrive_learning import ClientClosedError
print("read", thrive_client().activities.get("60d5ec49b60b4b3a2c8f9a10").id, flush=True)
"""

# A worker that is not ready ignores SIGTERM.
GUNICORN = """
def post_worker_init(worker):
    worker.log.info("Worker is ready")
"""

CELERY = """
from celery.signals import worker_process_shutdown
from tasks import app, read_activity, thrive_client
from thrive_learning import ClientClosedError

app.conf.update(
    broker_url="filesystem://",
    broker_transport_options=dict(
        data_folder_in={queue!r}, data_folder_out={queue!r}, control_folder={queue!r}, polling_interval=0.05
    ),
    result_backend="file://" + {results!r},
)

@worker_process_shutdown.connect
def report(**_details):
    try:
        thrive_client().activities.get("60d5ec49b60b4b3a2c8f9a10")
    except ClientClosedError:
        print("client closed", flush=True)
"""


@contextmanager
def running(
    *command: str, program: str, folder: Path, server: ServedSandbox, ready: Sequence[str]
) -> Iterator[tuple[str, list[str]]]:
    """Start a Python module, wait until its output has lines that match, and let it end by SIGTERM.

    Yields the first match, and the lines of output, which are complete when the process has ended.
    """
    environ = {**os.environ, **server.environ}
    environ["PYTHONPATH"] = os.pathsep.join([str(EXAMPLES / program), str(folder)])
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    lines: list[str] = []
    found: list[str] = []
    try:
        for line in process.stdout:
            lines.append(line)
            found += re.findall(ready[len(found)], line)[:1]
            if len(found) == len(ready):
                break
        assert len(found) == len(ready), "".join(lines)
        yield found[0], lines
    finally:
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
        lines.append(output)
    assert process.returncode == 0, "".join(lines)


def test_django_in_gunicorn_uses_one_client_in_each_worker(
    thrive_server: ServedSandbox, tmp_path: Path
) -> None:
    (tmp_path / "site_wsgi.py").write_text(DJANGO, encoding="utf-8")
    (tmp_path / "gunicorn.conf.py").write_text(GUNICORN, encoding="utf-8")
    activities = [thrive_server.sandbox.add() for _ in range(20)]
    options = ["--preload", "--workers=2", "--bind=127.0.0.1:0", "--no-control-socket"]
    with running(
        "gunicorn",
        *options,
        "site_wsgi",
        program="django",
        folder=tmp_path,
        server=thrive_server,
        ready=[r"http://127\.0\.0\.1:\d+", "Worker is ready", "Worker is ready"],
    ) as (url, lines):
        for activity in activities:
            answer = httpx.get(f"{url}/activities/{activity.id}", timeout=60)
            assert answer.json() == activity.to_dict()
    assert len(thrive_server.sandbox.token_requests) == 1, lines
    output = "".join(lines)
    assert "Traceback" not in output
    workers = re.findall(r"Booting worker with pid: (\d+)", output)
    master = re.findall(r"\[(\d+)\] \[INFO\] Starting gunicorn", output)
    assert len(workers) == 2
    assert sorted(re.findall(r"closed in (\d+)\n", output)) == sorted([*master, *workers]), output


def test_celery_in_forked_workers(
    thrive_server: ServedSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue, results = tmp_path / "queue", tmp_path / "results"
    for folder in (queue, results):
        folder.mkdir()
    configured = CELERY.format(queue=str(queue), results=str(results))
    (tmp_path / "configured_tasks.py").write_text(configured, encoding="utf-8")
    activities = [thrive_server.sandbox.add(name="canary") for _ in range(20)]
    for path in (tmp_path, EXAMPLES / "celery"):
        monkeypatch.syspath_prepend(path)
    from configured_tasks import read_activity  # type: ignore[import-not-found] # noqa: PLC0415

    pending = [read_activity.delay(activity.id) for activity in activities]
    missing = read_activity.delay("0" * 24)
    thrive_server.sandbox.fail_next(403)  # one of the tasks fails, and is not tried again
    options = ["--pool=prefork", "--concurrency=2", "--without-mingle", "--without-gossip", "--loglevel=INFO"]
    with running(
        "celery",
        "-A",
        "configured_tasks",
        "worker",
        *options,
        program="celery",
        folder=tmp_path,
        server=thrive_server,
        ready=[r"celery@\S+ ready"],
    ) as (_, lines):
        outcomes = [result.get(timeout=60, propagate=False) for result in pending]
        assert missing.get(timeout=60) is None
    failed = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    assert ["ForbiddenError" in str(error) for error in failed] == [True]  # a JSON result is text
    read = [activity.to_dict() for activity in activities]
    assert [outcome for outcome in outcomes if outcome not in failed] == [
        record for record, outcome in zip(read, outcomes, strict=True) if outcome not in failed
    ]
    assert 1 <= len(thrive_server.sandbox.token_requests) <= 2, lines  # one for each process that had a task
    output = "".join(lines)
    assert "client closed" in output
    assert output.count(" succeeded in ") == 20
    assert "canary" not in output  # no record is in the log
