"""The service that stores the records of webhooks, with a real PostgreSQL and real deliveries."""

import datetime as dt
import importlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
from example_programs import EXAMPLES
from postgres_server import PostgresServer, postgres_server

from thrive_learning import Activity, ThriveClient
from thrive_learning.sandbox import Sandbox
from thrive_learning.sandbox.server import client_variables
from thrive_learning.sandbox.webhooks import WEBHOOK_SECRET
from thrive_learning.testing import ServedSandbox, SignedWebhook, make_webhook

psycopg: Any = importlib.import_module("psycopg")

FOLDER = EXAMPLES / "webhook_store"
NOW = dt.datetime(2026, 1, 31, 12, 0, 0, 500_000, tzinfo=dt.UTC)
#: The service with short waits.
QUICK = """
import datetime as dt
import service

service.LEASE = dt.timedelta(seconds=SECONDS)
service.POLL_S = service.RETRY_S = 0.05
service.LONGEST_RETRY_S = 0.2
app = service.app
"""


class Database:
    """A database with the tables of the service."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.query((FOLDER / "schema.sql").read_text(encoding="utf-8"))

    def query(self, statement: str) -> list[Any]:
        with psycopg.connect(self.url) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def count(self, condition: str) -> int:
        [(number,)] = self.query(f"SELECT count(*) FROM {condition}")  # noqa: S608 - a test's own
        return int(number)

    def records(self) -> dict[str, str]:
        return dict(self.query("SELECT id, record::text FROM activities"))


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture
def database(postgres: PostgresServer) -> Database:
    return Database(postgres.create_database())


class Service:
    """A process of the service."""

    def __init__(self, folder: Path, environ: dict[str, str], port: int, lease_s: float) -> None:
        (folder / "quick_service.py").write_text(QUICK.replace("SECONDS", str(lease_s)), encoding="utf-8")
        paths = os.pathsep.join([str(FOLDER), str(folder)])
        self.log = folder / f"service-{time.monotonic_ns()}.log"
        with self.log.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "error", "-m", "uvicorn", "quick_service:app", "--port", str(port)],
                cwd=folder,
                env={**os.environ, **environ, "PYTHONPATH": paths},
                stdout=output,
                stderr=output,
            )
        try:
            wait_until(lambda: self._port() or self.process.poll() is not None)
            assert self._port(), self.log.read_text()
        except BaseException:
            self.process.kill()
            raise
        self.url = f"http://127.0.0.1:{self._port()}/webhooks"
        self.was_killed = False

    def _port(self) -> str | None:
        found = re.search(r"running on http://127\.0\.0\.1:(\d+)", self.log.read_text())
        return found and found[1]

    def post(self, webhook: SignedWebhook) -> int:
        answer = httpx.post(self.url, content=webhook.body, headers=webhook.headers, timeout=60)
        return answer.status_code

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.was_killed = True

    def end(self) -> None:
        if self.was_killed:
            return
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(timeout=60) == -signal.SIGTERM, self.log.read_text()  # as uvicorn ends
        output = self.log.read_text()
        assert "Application shutdown complete" in output, output
        assert "Traceback" not in output, output


@contextmanager
def serving(
    folder: Path, environ: dict[str, str], *, port: int = 0, lease_s: float = 60
) -> Iterator[Service]:
    service = Service(folder, environ, port, lease_s)
    try:
        yield service
        service.end()
    finally:
        service.process.kill()
        service.process.wait()


@pytest.fixture
def environ(thrive_server: ServedSandbox, database: Database) -> dict[str, str]:
    return {
        **thrive_server.environ,
        "DATABASE_URL": database.url,
        "THRIVE_WEBHOOK_SECRET": WEBHOOK_SECRET,
    }


def free_ports() -> tuple[int, int]:
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]


def wait_until(condition: Callable[[], object]) -> None:
    ends_at = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < ends_at, "waited for a minute"
        time.sleep(0.05)


def completion(server: ServedSandbox, **fields: Any) -> Activity:
    given: dict[str, Any] = {"type": "completed", "date": NOW, **fields}
    return server.sandbox.add(**given)


def announcing(activity: Activity, **members: Any) -> SignedWebhook:
    """The delivery that announces a record."""
    assert activity.date is not None
    about: dict[str, Any] = {
        "createdAt": activity.date.isoformat(),
        "user": {"id": activity.user},
        "content": {"id": activity.context_id},
    }
    return make_webhook(f"content.{activity.type}", **{**about, **members})


def test_each_record_is_stored_once_and_as_received(
    thrive_server: ServedSandbox, database: Database, environ: dict[str, str], tmp_path: Path
) -> None:
    awkward = {"nul": "\0", "surrogate": "\ud800", "number": 1.10, "of": "Nuit des comètes ☄"}
    activities = [completion(thrive_server, data=awkward) for _ in range(5)]
    activities.append(completion(thrive_server, type="passed"))
    completion(thrive_server, user=activities[0].user)  # of other content, which nobody announces
    with serving(tmp_path, environ) as service:
        deliveries = [announcing(activity) for activity in activities]
        # Again in another order, and some a third time.
        for webhook in [*deliveries, *reversed(deliveries), *deliveries[:3]]:
            assert service.post(webhook) == 204
        assert service.post(make_webhook("user.updated")) == 204
        assert service.post(make_webhook("page.created")) == 204
        wait_until(lambda: database.count("webhook_events WHERE state = 'done'") == 8)
    expected = {activity.id: activity.to_dict() for activity in activities}
    assert {key: json.loads(text) for key, text in database.records().items()} == expected
    assert len(thrive_server.sandbox.activity_requests) == 6
    assert database.count("webhook_events WHERE attempts <> 1") == 0


def test_concurrent_deliveries_of_one_event_are_one(
    thrive_server: ServedSandbox, database: Database, environ: dict[str, str], tmp_path: Path
) -> None:
    webhook = announcing(completion(thrive_server))
    with serving(tmp_path, environ) as service, ThreadPoolExecutor(20) as threads:
        assert list(threads.map(service.post, [webhook] * 20)) == [204] * 20
        wait_until(lambda: database.count("webhook_events WHERE state = 'done'"))
        assert database.count("webhook_events") == 1
    assert len(database.records()) == 1
    assert len(thrive_server.sandbox.activity_requests) == 1


def test_processes_share_the_work(
    thrive_server: ServedSandbox, database: Database, environ: dict[str, str], tmp_path: Path
) -> None:
    activities = [completion(thrive_server) for _ in range(40)]
    thrive_server.sandbox.fail_next("slow:50ms", times=40)
    with serving(tmp_path, environ) as first, serving(tmp_path, environ) as second:
        services = [first, second] * 20
        with ThreadPoolExecutor(8) as threads:
            posted = threads.map(lambda service, one: service.post(announcing(one)), services, activities)
            assert set(posted) == {204}
        wait_until(lambda: database.count("webhook_events WHERE state = 'done'") == 40)
    assert set(database.records()) == {activity.id for activity in activities}
    assert len(thrive_server.sandbox.activity_requests) == 40  # nothing is fetched twice

    assert len(thrive_server.sandbox.token_requests) == 2  # both have fetched


def test_an_event_that_another_task_takes_is_skipped(
    thrive_server: ServedSandbox, database: Database, environ: dict[str, str], tmp_path: Path
) -> None:
    taken, free = completion(thrive_server), completion(thrive_server)
    thrive_server.sandbox.remove(taken.id)
    with serving(tmp_path, environ) as service:
        assert service.post(announcing(taken)) == 204
        with psycopg.connect(database.url) as connection:
            connection.execute("SELECT FROM webhook_events FOR UPDATE")
            connection.execute("SELECT pg_sleep(1)")  # now each task has come to this event
            assert service.post(announcing(free)) == 204
            wait_until(lambda: database.count("webhook_events WHERE state = 'done'") == 1)
    assert set(database.records()) == {free.id}


def test_only_genuine_deliveries_are_stored(
    thrive_server: ServedSandbox, database: Database, environ: dict[str, str], tmp_path: Path
) -> None:
    with serving(tmp_path, {**environ, "THRIVE_WEBHOOK_OLD_SECRET": "canary-old"}) as service:
        for forged in (make_webhook(secret="guessed"), make_webhook(secret=None)):
            assert service.post(forged) == 400
        right = make_webhook()
        assert service.post(SignedWebhook(right.body + b" ", right.headers, None)) == 400
        assert service.post(SignedWebhook(b"x" * 1_048_577, right.headers, None)) == 413
        assert database.count("webhook_events") == 0
        assert service.post(make_webhook("user.updated", secret="canary-old")) == 204
        assert database.count("webhook_events") == 1
    assert thrive_server.sandbox.requests == []
    assert "canary" not in service.log.read_text()


def test_a_delivery_is_accepted_after_it_is_stored(
    database: Database, environ: dict[str, str], tmp_path: Path
) -> None:
    with serving(tmp_path, environ) as service, ThreadPoolExecutor(1) as threads:
        with psycopg.connect(database.url) as connection:
            connection.execute("LOCK webhook_events")
            answer = threads.submit(service.post, make_webhook("user.updated"))
            with pytest.raises(TimeoutError):
                answer.result(timeout=0.5)
        assert answer.result() == 204
        assert database.count("webhook_events") == 1


def test_nothing_is_lost_when_the_service_is_killed(
    thrive_server: ServedSandbox, database: Database, environ: dict[str, str], tmp_path: Path
) -> None:
    activities = [completion(thrive_server) for _ in range(20)]
    thrive_server.sandbox.fail_next("slow:60s", times=4)
    with serving(tmp_path, environ, lease_s=3) as service:
        for activity in activities:
            assert service.post(announcing(activity)) == 204
        # Each task waits for a response. After the lease, another one tries again.
        wait_until(lambda: len(thrive_server.sandbox.activity_requests) >= 4)
        service.kill()
    assert database.records() == {}
    with serving(tmp_path, environ, lease_s=3):
        wait_until(lambda: database.count("webhook_events WHERE state = 'done'") == 20)
    assert set(database.records()) == {activity.id for activity in activities}


def test_an_api_that_is_down_for_a_while_loses_nothing(
    thrive_server: ServedSandbox, database: Database, environ: dict[str, str], tmp_path: Path
) -> None:
    activities = [completion(thrive_server) for _ in range(8)]
    thrive_server.sandbox.fail_next("403", times=30)  # which the client does not try again by itself
    with serving(tmp_path, environ) as service:
        for activity in activities:
            assert service.post(announcing(activity)) == 204
        wait_until(lambda: database.count("webhook_events WHERE state = 'done'") == 8)
    assert set(database.records()) == {activity.id for activity in activities}
    [(attempts,)] = database.query("SELECT sum(attempts) FROM webhook_events")
    assert attempts == 30 + 8


def test_no_server_delays_an_event_for_months(
    thrive_server: ServedSandbox, database: Database, environ: dict[str, str], tmp_path: Path
) -> None:
    activity = completion(thrive_server)
    thrive_server.sandbox.fail_next("503:9999999s")
    with serving(tmp_path, environ) as service:
        assert service.post(announcing(activity)) == 204
        wait_until(lambda: database.count("webhook_events WHERE state = 'done'"))
    assert database.query("SELECT attempts FROM webhook_events") == [(2,)]


def test_a_record_that_comes_later_is_fetched_again(
    thrive_server: ServedSandbox, database: Database, environ: dict[str, str], tmp_path: Path
) -> None:
    activity = completion(thrive_server)
    thrive_server.sandbox.remove(activity.id)
    with serving(tmp_path, environ) as service:
        assert service.post(announcing(activity)) == 204
        wait_until(lambda: database.count("webhook_events WHERE attempts > 2"))
        assert "does not have the record" in database.query("SELECT problem FROM webhook_events")[0][0]
        thrive_server.sandbox.add(activity)
        wait_until(lambda: database.count("webhook_events WHERE state = 'done' AND problem IS NULL"))
    assert set(database.records()) == {activity.id}


def test_an_event_that_cannot_succeed_is_recorded_and_blocks_no_other(
    thrive_server: ServedSandbox, database: Database, environ: dict[str, str], tmp_path: Path
) -> None:
    good, missing = completion(thrive_server), completion(thrive_server)
    thrive_server.sandbox.remove(missing.id)
    with serving(tmp_path, environ) as service:
        thrive_server.sandbox.fail_next(404)
        assert service.post(announcing(good)) == 204
        wait_until(lambda: database.count("webhook_events WHERE state = 'failed'"))
        assert service.post(announcing(good, content={"id": "usr_abc123"})) == 204
        assert service.post(announcing(good, content=None, createdAt=None)) == 204
        assert service.post(announcing(missing)) == 204
        assert service.post(announcing(good, user=None, content={"id": good.context_id})) == 204
        wait_until(lambda: database.count("webhook_events WHERE state <> 'waiting'") == 4)
        database.query("UPDATE webhook_events SET received_at = received_at - interval '25 hours'")
        wait_until(lambda: database.count("webhook_events WHERE state <> 'waiting'") == 5)
    problems = database.query("SELECT problem FROM webhook_events WHERE state = 'failed' ORDER BY problem")
    names = [problem.partition("(")[0] for (problem,) in problems]
    assert names == ["InvalidIdError", "InvalidIdError", "MissingRecordError", "NotFoundError"]
    assert set(database.records()) == {good.id}


def test_a_database_that_is_down_loses_nothing(
    thrive_server: ServedSandbox,
    postgres: PostgresServer,
    database: Database,
    environ: dict[str, str],
    tmp_path: Path,
) -> None:
    first, second = completion(thrive_server), completion(thrive_server)
    with serving(tmp_path, environ) as service:
        assert service.post(announcing(first)) == 204
        wait_until(lambda: database.count("webhook_events WHERE state = 'done'") == 1)
        postgres.stop()
        try:
            assert service.post(announcing(second)) == 503
            with serving(tmp_path, environ):  # starts all the same
                pass
        finally:
            postgres.start()
        assert service.post(announcing(second)) == 204  # which the platform sends again
        wait_until(lambda: database.count("webhook_events WHERE state = 'done'") == 2)
    assert set(database.records()) == {first.id, second.id}


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://tester:canary@canary@127.0.0.1:1/db",  # the rest of the password is the host
        "postgresql://tester:canary%zz@127.0.0.1:1/db",
        "host=127.0.0.1 port=1 password=not canary",
        "postgresql://tester:canary@127.0.0.1:1/db",
    ],
    ids=["@", "%", "space", "down"],
)
@pytest.mark.usefixtures("thrive_server")
def test_no_password_of_the_database_is_logged(url: str, environ: dict[str, str], tmp_path: Path) -> None:
    with serving(tmp_path, {**environ, "DATABASE_URL": url}) as service:
        assert service.post(make_webhook()) == 503
        wait_until(lambda: "cannot read events: " in service.log.read_text())
    log = service.log.read_text()
    assert re.search(r"cannot store a delivery: (Operational|Programming)Error\n", log)
    assert "canary" not in log


def test_no_record_is_logged(
    thrive_server: ServedSandbox, database: Database, environ: dict[str, str], tmp_path: Path
) -> None:
    activity = completion(thrive_server, name="canary")
    database.query("ALTER TABLE activities ADD CHECK (id = '')")  # PostgreSQL shows the row in its message
    with serving(tmp_path, environ) as service:
        assert service.post(announcing(activity)) == 204
        wait_until(lambda: database.count("webhook_events WHERE attempts > 1"))
    log = service.log.read_text()
    assert f"{webhook_key(database)}, attempt 1, waiting: CheckViolation (SQLSTATE 23514)\n" in log
    assert "canary" not in log
    assert database.query("SELECT problem FROM webhook_events") == [("CheckViolation (SQLSTATE 23514)",)]


def webhook_key(database: Database) -> str:
    [(key,)] = database.query("SELECT key FROM webhook_events")
    return str(key)


def test_the_newest_state_of_a_record_stays(
    thrive_server: ServedSandbox, database: Database, environ: dict[str, str], tmp_path: Path
) -> None:
    old = completion(thrive_server, name="old")
    with serving(tmp_path, environ) as service:
        thrive_server.sandbox.fail_next("slow:5s")  # the response has the old state, and comes late
        assert service.post(announcing(old)) == 204
        wait_until(lambda: thrive_server.sandbox.activity_requests)
        new = thrive_server.sandbox.add(attrs.evolve(old, name="new"))
        assert service.post(announcing(new, createdAt=(NOW + dt.timedelta(seconds=1)).isoformat())) == 204
        wait_until(database.records)
        assert json.loads(database.records()[old.id])["name"] == "new"
        wait_until(lambda: database.count("webhook_events WHERE state = 'done'") == 2)
        assert json.loads(database.records()[old.id])["name"] == "new"
        newest = thrive_server.sandbox.add(attrs.evolve(old, name="newest"))
        assert service.post(announcing(newest, createdAt=NOW.isoformat(), tenantId="renamed")) == 204
        wait_until(lambda: database.count("webhook_events WHERE state = 'done'") == 3)
    assert {key: json.loads(text)["name"] for key, text in database.records().items()} == {old.id: "newest"}


def test_with_the_webhooks_of_the_sandbox(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`thrive sandbox` sends them itself. Each list request lets records arrive, the service's included."""
    api_port, service_port = free_ports()
    environ = {
        **client_variables(f"http://127.0.0.1:{api_port}", Sandbox()),
        "DATABASE_URL": database.url,
        "THRIVE_WEBHOOK_SECRET": WEBHOOK_SECRET,
    }
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    arrivals = ["--arrivals=5", f"--webhook-url=http://127.0.0.1:{service_port}/webhooks"]
    command = [sys.executable, "-m", "thrive_learning", "sandbox", f"--port={api_port}", *arrivals]
    with (
        serving(tmp_path, environ, port=service_port),
        (tmp_path / "sandbox.log").open("w+", encoding="utf-8") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as api,
    ):
        try:
            assert api.stdout is not None
            assert any(line.startswith("Press Ctrl-C") for line in api.stdout)
            with ThriveClient.from_env() as client:
                for _ in range(8):
                    client.activities.list()
                announced = client.activities.list(
                    types=["completed", "passed"], since=dt.datetime.now(dt.UTC) - dt.timedelta(minutes=1)
                )
            ids = {activity.id for activity in announced}
            assert ids
            wait_until(lambda: ids <= set(database.records()))
            wait_until(lambda: database.count("webhook_events WHERE state <> 'done'") == 0)
        finally:
            api.send_signal(signal.SIGINT)
