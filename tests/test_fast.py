"""The fast engine: its connections, and what it does besides the fault table, which runs on it as well."""

import asyncio
import concurrent.futures
import ssl
import threading
import time
from typing import Any

import httpx
import pytest
import trustme
from anyio.from_thread import BlockingPortal
from faults import chaos
from faults.chaos import NONE, Answer, Chaos, Line, Trouble
from faults.test_faults import CREDENTIALS, ONCE, OTHER_ID, check, check_recovery, lost, region
from harness import ACTIVITY_ID, Flavour, Kept
from test_secrets import CREDENTIALS as CANARIES
from test_secrets import FORMS, searched

from thrive_learning import (
    AsyncThriveClient,
    ClientClosedError,
    DeadlineExceededError,
    ThriveError,
    Timeout,
)
from thrive_learning import _fast as fast
from thrive_learning._curl import trust
from thrive_learning._fast import AsyncFastTransport, AsyncLine, FastTransport, Idle, SyncLine


@pytest.fixture(params=["sync", "asyncio"])
def flavour(request: pytest.FixtureRequest, _portals: dict[str, BlockingPortal | None]) -> Flavour:
    return Flavour(request.param, _portals[request.param], "fast")


def open_to(flavour: Flavour, server: Chaos, **options: Any) -> Any:
    return flavour.open(region(server, server), CREDENTIALS, **({"retry": ONCE} | options))


def test_both_engines_send_the_same(flavour: Flavour) -> None:
    with Chaos() as server:
        for engine in ("fast", "httpx"):
            with open_to(flavour, server, engine=engine) as client:
                client.activities.get(ACTIVITY_ID)
        post, get, other_post, other_get = server.requests
        assert (post.target, post.body, post.headers) == (
            other_post.target,
            other_post.body,
            other_post.headers,
        )
        # The token of each client is its own.
        other_token = {"authorization": other_get.headers["authorization"]}
        assert (get.target, {**get.headers, **other_token}) == (other_get.target, other_get.headers)
        assert get.headers != other_get.headers


def test_a_connection_is_used_again_with_tls_as_well(
    flavour: Flavour, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    ca.issue_cert("localhost").configure_cert(context)
    with Chaos(context) as server:
        with open_to(flavour, server, verify=False) as client:  # nobody has signed it that is known
            check_recovery(client)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        with open_to(flavour, server) as client:
            for _ in range(5):
                check_recovery(client)
        assert server.connections == 2


def test_a_second_answer_that_comes_late_is_not_taken_for_the_next(flavour: Flavour) -> None:
    """libcurl itself looks only at connections that have been idle for a second."""
    sent = threading.Event()

    def twice(line: Line, answer: Answer) -> None:
        line.send(answer.whole)
        line.pause(0.05)
        line.send(answer.whole)
        sent.set()

    with Chaos() as server, open_to(flavour, server) as client:
        client.tokens.get()
        server.plan(Trouble(twice, times=1))
        assert client.activities.get(ACTIVITY_ID).id == ACTIVITY_ID
        assert sent.wait(5)
        assert client.activities.get(OTHER_ID).id == OTHER_ID


def test_a_request_is_not_sent_again_unseen(flavour: Flavour) -> None:
    """libcurl itself would, when a connection dies that it has used before."""
    with Chaos() as server, open_to(flavour, server) as client:
        check_recovery(client)
        server.plan(Trouble(chaos.reset_after_reading))
        check(client, lost("no response"))
        assert server.played == 1


@pytest.mark.parametrize("phase", ["connect", "read"])
def test_the_limit_of_a_phase(flavour: Flavour, phase: str) -> None:
    trouble = Trouble(never_accepts=True) if phase == "connect" else Trouble(chaos.silence)
    with Chaos() as server:
        with open_to(flavour, server, timeout=Timeout(**{phase: 0.1})) as client:
            server.plan(trouble)
            with pytest.raises(DeadlineExceededError, match=rf"Timeout\.{phase}=0\.1 s"):
                client.activities.get(ACTIVITY_ID)
            server.plan(NONE)


def test_a_slow_body_is_no_silence(flavour: Flavour) -> None:
    def slowly(line: Line, answer: Answer) -> None:
        half = len(answer.whole) // 2
        for part in (answer.whole[:half], answer.whole[half:-1], answer.whole[-1:]):
            line.pause(0.15)
            line.send(part)

    with Chaos() as server, open_to(flavour, server, timeout=Timeout(read=0.4)) as client:
        client.tokens.get()
        server.plan(Trouble(slowly))
        assert client.activities.get(ACTIVITY_ID).id == ACTIVITY_ID


def test_threads_side_by_side_have_a_connection_each(monkeypatch: pytest.MonkeyPatch) -> None:
    with Chaos() as server, open_to(Flavour("sync", None, "fast"), server) as client:
        client.tokens.get()
        server.plan(Trouble(chaos.latency(0.05)))
        with concurrent.futures.ThreadPoolExecutor(8) as threads:
            found = list(threads.map(lambda _n: client.activities.get(ACTIVITY_ID).id, range(32)))
        assert found == [ACTIVITY_ID] * 32
        assert 1 < server.connections <= 9
        monkeypatch.setattr(fast, "KEEPALIVE_S", 0)
        time.sleep(0.01)
        check_recovery(client)
        [idle] = client._http._transports._by_place.popitem()[1][None]._idle.values()
        assert len(idle.take_all()) == 1  # those that lay idle for too long are closed


def test_a_line_that_another_thread_takes_meanwhile() -> None:
    idle = Idle[SyncLine]()
    line = SyncLine(trust(True), None)  # noqa: FBT003
    assert idle.put(line) == []
    assert idle.take() == (line, [])
    assert idle.take() == (None, [])
    line.close()


def wait_for(server: Chaos) -> None:
    while not server.played:
        time.sleep(0.01)


async def _close_meanwhile(server: Chaos) -> None:
    client = AsyncThriveClient(region(server, server), CREDENTIALS, engine="fast", retry=ONCE)
    await client.tokens.get()
    server.plan(Trouble(chaos.silence))
    call = asyncio.create_task(client.activities.get(ACTIVITY_ID))
    await asyncio.to_thread(wait_for, server)
    await client.aclose()
    with pytest.raises(ClientClosedError):
        await call


def test_closing_ends_the_calls_of_tasks() -> None:
    with Chaos() as server:
        asyncio.run(_close_meanwhile(server))


def test_closing_leaves_the_calls_of_threads_to_their_end() -> None:
    with Chaos() as server:
        transport = FastTransport(trust(True), None)  # noqa: FBT003
        server.plan(Trouble(chaos.latency(0.2)))
        with concurrent.futures.ThreadPoolExecutor(1) as threads:
            request = httpx.Request("GET", f"{server.origin}/rest/v1/x")
            call = threads.submit(transport.handle_request, request)
            wait_for(server)
            transport.close()
            assert call.result().status_code >= 400
        assert not next(iter(transport._idle.values())).take_all()


async def _failed_twice() -> None:
    line = AsyncLine(trust(True), None)  # noqa: FBT003
    first, second = httpx.ReadTimeout("first"), httpx.ReadError("second")
    line.fail(first)
    line.fail(second)
    assert line._end.exception() is first
    line.close()


def test_the_first_of_two_failures_counts() -> None:
    """A client may be closed between the end of an exchange and the next step of its task."""
    asyncio.run(_failed_twice())


async def _cancelled(server: Chaos) -> None:
    transport = AsyncFastTransport(trust(True), None, None)  # noqa: FBT003
    server.plan(Trouble(chaos.silence))
    call = asyncio.create_task(
        transport.handle_async_request(httpx.Request("GET", f"{server.origin}/rest/v1/x"))
    )
    await asyncio.to_thread(wait_for, server)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert not transport._in_use
    await transport.aclose()


def test_a_call_that_is_cancelled_leaves_nothing() -> None:
    with Chaos() as server:
        asyncio.run(_cancelled(server))


@pytest.mark.parametrize("fault", ["reset_after_reading", "silence", "echo"])
@pytest.mark.parametrize("kind", CANARIES)
def test_no_secret_shows(flavour: Flavour, kept: Kept, fault: str, kind: str) -> None:
    def echo(line: Line, _answer: Answer) -> None:
        said = repr(server.requests[-1].headers).encode()
        line.send(b"HTTP/1.1 400 Said\r\ncontent-length: %d\r\n\r\n" % len(said) + said)

    shown: list[str] = []
    with Chaos() as server:
        server.plan(Trouble(echo if fault == "echo" else getattr(chaos, fault)))
        with flavour.open(region(server, server), CANARIES[kind], timeout=0.3, retry=ONCE) as client:
            with pytest.raises(ThriveError) as caught:
                client.activities.get(ACTIVITY_ID)
            shown += searched(caught.value)
            shown += [repr(client), repr(client._http), repr(client._http._transports._by_place)]
    assert not [(form, text) for form in FORMS for text in [*shown, *kept.texts()] if form in text]


def test_a_line_that_is_cut_before_it_waits_does_not_wait() -> None:
    with Chaos() as server:
        server.plan(Trouble(chaos.silence))
        transport = FastTransport(trust(True), None)  # noqa: FBT003
        request = httpx.Request("GET", f"{server.origin}/rest/v1/x")
        line = SyncLine(trust(True), None)  # noqa: FBT003
        line.transfer.prepare(request, str(request.url), b"", None)
        line.cut()
        with pytest.raises(httpx.ReadError):
            line.run(None)
        line.close()
        transport.close()


async def _idle_for_long(server: Chaos) -> None:
    transport = AsyncFastTransport(trust(True), None, None)  # noqa: FBT003
    lines = [AsyncLine(trust(True), None) for _ in range(2)]  # noqa: FBT003
    idle = transport._idle[server.origin]
    for line in lines:
        idle.put(line)
    lines[0].used -= 60
    await transport.handle_async_request(httpx.Request("GET", f"{server.origin}/rest/v1/x"))
    assert len(idle.take_all()) == 1
    lines[1].close()
    await transport.aclose()


def test_a_line_that_nobody_needs_is_closed() -> None:
    with Chaos() as server:
        asyncio.run(_idle_for_long(server))
