"""Receive webhooks with FastAPI, and store the records that they announce in PostgreSQL.

Create the tables with `psql "$DATABASE_URL" -f schema.sql`, and run `uvicorn service:app`. Several processes
share the work. The environment has DATABASE_URL, THRIVE_WEBHOOK_SECRET, and the credentials of the API. While
the secret changes, THRIVE_WEBHOOK_OLD_SECRET has the previous one.
"""

import asyncio
import datetime as dt
import logging
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypedDict

import psycopg
from fastapi import FastAPI, HTTPException, Request

from thrive_learning import AsyncThriveClient, ThriveError, WebhookError, webhooks
from thrive_learning.webhooks import WebhookEvent

logger = logging.getLogger(__name__)

WORKERS = 4  # tasks in each process that fetch records
INSERTS = 10  # deliveries that are stored at once; each needs a connection
STORE_WITHIN_S = 20.0  # the platform waits for 30 s
POLL_S = 1.0
LEASE = dt.timedelta(minutes=2)  # then another task may take an event, because its process has crashed
RETRY_S, LONGEST_RETRY_S = 5.0, 3600.0
GIVE_UP_AFTER = dt.timedelta(days=1)
WINDOW = dt.timedelta(minutes=5)  # between the times of an event and of its record

INSERT = "INSERT INTO webhook_events (key, body) VALUES (%s, %s) ON CONFLICT (key) DO NOTHING"
CLAIM = """
    UPDATE webhook_events SET attempts = attempts + 1, due_at = now() + %s WHERE key = (
        SELECT key FROM webhook_events WHERE state = 'waiting' AND due_at <= now()
        ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED
    ) RETURNING key, body, attempts, received_at, clock_timestamp()
"""
# The request that began last has the newest state, whichever response comes first.
UPSERT = """
    INSERT INTO activities (id, record, fetched_at) VALUES (%s, %s, %s)
    ON CONFLICT (id) DO UPDATE SET record = excluded.record, fetched_at = excluded.fetched_at
    WHERE activities.fetched_at <= excluded.fetched_at
"""
# Another task may have taken the event after the lease. Then it has another number of attempts.
FINISH = """
    UPDATE webhook_events SET state = %s, problem = %s, due_at = now() + %s WHERE key = %s AND attempts = %s
"""


class MissingRecordError(Exception):
    """The API does not have the record of an event, or does not have it yet."""


class State(TypedDict):
    """The state that all requests share."""

    secrets: list[str]
    database_url: str
    inserts: asyncio.Semaphore


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[State]:
    """Fetch records for as long as the process runs. The database may be down when it starts."""
    secrets = [os.environ["THRIVE_WEBHOOK_SECRET"]]
    if old := os.environ.get("THRIVE_WEBHOOK_OLD_SECRET"):
        secrets.append(old)
    url = os.environ["DATABASE_URL"]
    async with AsyncThriveClient.from_env(timeout=30) as client, asyncio.TaskGroup() as tasks:
        workers = [tasks.create_task(work(client, url)) for _ in range(WORKERS)]
        yield {"secrets": secrets, "database_url": url, "inserts": asyncio.Semaphore(INSERTS)}
        for worker in workers:
            worker.cancel()  # its event is taken again after the lease


for name in ("DATABASE_URL", "THRIVE_WEBHOOK_SECRET"):
    if not os.environ.get(name):
        sys.exit(f"{name} is not set")  # here, because uvicorn shows a traceback for an error in `lifespan`
app = FastAPI(lifespan=lifespan)


@app.post("/webhooks", status_code=204)
async def receive(request: Request) -> None:
    """Store a genuine delivery, and only then accept it. The platform sends it again after a 503."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > webhooks.MAX_BODY_BYTES:
            raise HTTPException(413)
    try:
        event = webhooks.construct_event(body, request.headers, request.state.secrets)
    except WebhookError as error:
        logger.warning("rejected a delivery: %s", described(error))  # for operators, not for the sender
        raise HTTPException(400) from None
    try:
        url = request.state.database_url
        async with asyncio.timeout(STORE_WITHIN_S), request.state.inserts, await connect(url) as connection:
            await connection.execute(INSERT, [event.deduplication_key, bytes(body)])
    except (psycopg.Error, TimeoutError) as error:
        logger.error("cannot store a delivery: %s", described(error))  # noqa: TRY400 - see there
        raise HTTPException(503) from None


async def connect(url: str) -> psycopg.AsyncConnection:
    """Connect to the database. A statement takes effect when it ends."""
    return await psycopg.AsyncConnection.connect(
        url,
        autocommit=True,
        connect_timeout=5,
        keepalives_idle=20,  # notices a server that has vanished, which would take hours by default
        tcp_user_timeout=20_000,
    )


def described(error: Exception) -> str:
    """Return what a log may say of an error.

    Messages of other libraries may contain a row, or a part of DATABASE_URL, such as its password.
    """
    if isinstance(error, (ThriveError, MissingRecordError)):
        return ascii(error)
    state = error.sqlstate if isinstance(error, psycopg.Error) else None
    return type(error).__name__ + (f" (SQLSTATE {state})" if state else "")


async def work(client: AsyncThriveClient, url: str) -> None:
    """Handle events until the task is canceled, whatever happens to the database."""
    while True:
        try:
            async with await connect(url) as connection:
                while True:
                    if not await handle_next(connection, client):
                        await asyncio.sleep(POLL_S)
        except Exception as error:  # noqa: BLE001 - without this task, events would wait forever
            logger.error("cannot read events: %s", described(error))  # noqa: TRY400 - as above
            await asyncio.sleep(POLL_S)


async def handle_next(connection: psycopg.AsyncConnection, client: AsyncThriveClient) -> bool:
    """Take the event that has been due longest, and handle it. Return whether there was one."""
    claimed = await (await connection.execute(CLAIM, [LEASE])).fetchone()
    if claimed is None:
        return False
    key, body, attempts, received_at, claimed_at = claimed
    state, problem, delay_s = "done", None, 0.0
    try:
        await store_records(connection, client, webhooks.parse(body), received_at, claimed_at)
    except psycopg.OperationalError:
        raise  # the event is taken again after the lease
    except Exception as error:  # noqa: BLE001 - one event must not stop the others
        asked_s, is_final = 0.0, claimed_at - received_at > GIVE_UP_AFTER
        if isinstance(error, ThriveError):
            # The API may be down, or reject the credentials, for days. That is not the event's fault.
            asked_s, is_final = error.retry_after or 0.0, error.is_final
        state, problem = "failed" if is_final else "waiting", described(error)
        # A Retry-After of years, such as a date of another clock, must not hide the event.
        delay_s = min(max(RETRY_S * 2 ** min(attempts - 1, 20), asked_s), LONGEST_RETRY_S)
        logger.warning("event %s, attempt %d, %s: %s", key, attempts, state, problem)
    await connection.execute(FINISH, [state, problem, dt.timedelta(seconds=delay_s), key, attempts])
    return True


async def store_records(
    connection: psycopg.AsyncConnection,
    client: AsyncThriveClient,
    event: WebhookEvent,
    received_at: dt.datetime,
    claimed_at: dt.datetime,
) -> None:
    """Store the records of a completion. An event has no ID of a record, but its content, user, and time."""
    if event.event_type not in {"content.completed", "content.passed"}:
        return
    moment, user = event.created_at or received_at, event.user and event.user.id
    has_record = False
    stream = client.activities.iterate(
        types=[event.event_type.removeprefix("content.")],
        content_ids=[(event.content and event.content.id) or ""],  # "" is an InvalidIdError, which is final
        since=moment - WINDOW,
        until=moment + WINDOW,
    )
    async with stream as records:
        async for record in records:
            await connection.execute(UPSERT, [record.id, record.to_json(), claimed_at])
            has_record = has_record or user in {record.user, None}
    if not has_record:
        raise MissingRecordError("the API does not have the record")
