"""The fast engine: what it does besides the fault table, which runs on it as well."""

import concurrent.futures
import contextlib
import ssl
import threading
import time
from typing import Any

import httpcore
import httpx
import pytest
import respx
import trustme
from anyio.from_thread import BlockingPortal
from faults import chaos
from faults.chaos import NONE, Answer, Chaos, Line, Trouble
from faults.test_faults import CREDENTIALS, ONCE, OTHER_ID, check, check_recovery, lost, region
from harness import ACTIVITY_ID, PAGE_EXAMPLE, Flavour, Kept
from test_secrets import CREDENTIALS as CANARIES
from test_secrets import FORMS, searched

from thrive_learning import ClientClosedError, DeadlineExceededError, ThriveError, Timeout
from thrive_learning import _fast as fast
from thrive_learning._transport import tls_context


@pytest.fixture(params=["sync", "asyncio", "trio"])
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
        assert server.connections == 2


def test_a_request_is_not_sent_again_unseen(flavour: Flavour) -> None:
    with Chaos() as server, open_to(flavour, server) as client:
        check_recovery(client)
        server.plan(Trouble(chaos.reset_after_reading))
        check(client, lost("failed before a response arrived"))
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


def test_threads_side_by_side_have_a_connection_each() -> None:
    with Chaos() as server, open_to(Flavour("sync", None, "fast"), server) as client:
        client.tokens.get()
        server.plan(Trouble(chaos.latency(0.05)))
        with concurrent.futures.ThreadPoolExecutor(8) as threads:
            found = list(threads.map(lambda _n: client.activities.get(ACTIVITY_ID).id, range(32)))
        assert found == [ACTIVITY_ID] * 32
        assert 1 < server.connections <= 9


def test_an_idle_connection_is_not_used_for_ever(flavour: Flavour, monkeypatch: pytest.MonkeyPatch) -> None:
    with Chaos() as server, open_to(flavour, server) as client:
        check_recovery(client)
        monkeypatch.setattr(fast, "KEPT_ALIVE_S", -1)
        check_recovery(client)  # the last to be used again is the one that lay there before
        assert server.connections == 2


def test_closing_ends_the_calls_that_are_under_way(flavour: Flavour) -> None:
    with Chaos() as server, concurrent.futures.ThreadPoolExecutor(1) as threads:
        with open_to(flavour, server, timeout=5) as client:
            client.tokens.get()
            server.plan(Trouble(chaos.latency(0.5) if flavour._portal is None else chaos.silence))
            call = threads.submit(client.activities.get, ACTIVITY_ID)
            while not server.played:
                time.sleep(0.01)
            client.close()
            with pytest.raises(ClientClosedError):
                call.result()


class Refuses:
    """A connection that takes no request, and says why."""

    def __init__(self, *said: bytes) -> None:
        self._said = list(said)
        self.closed = 0

    def write(self, _data: bytes, _timeout: float | None) -> None:
        raise httpcore.WriteError

    def read(self, _max_bytes: int, _timeout: float | None) -> bytes:
        return self._said.pop(0)

    def close(self) -> None:
        self.closed += 1


class AsyncRefuses(Refuses):
    async def write(self, data: bytes, timeout: float | None) -> None:  # type: ignore[override]
        super().write(data, timeout)

    async def read(self, max_bytes: int, timeout: float | None) -> bytes:  # type: ignore[override]
        return super().read(max_bytes, timeout)

    async def aclose(self) -> None:
        self.close()


async def handle(transport: Any, request: httpx.Request) -> httpx.Response:
    if isinstance(transport, httpx.BaseTransport):
        response = transport.handle_request(request)
        response.read()
        response.close()
        response.stream.close()  # type: ignore[union-attr]  # twice is fine
    else:
        response = await transport.handle_async_request(request)
        await response.aread()
        await response.aclose()
        await response.stream.aclose()  # twice is fine
    return response


def on(transport: Any, stream: Refuses) -> None:
    """Let the next connection of a transport be this one."""
    create = transport._lines._create

    def created(site: Any) -> Any:
        line = create(site)
        line._stream = stream
        return line

    transport._lines._create = created


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_server_that_hangs_up_may_have_said_why(kind: str) -> None:
    stream = (Refuses if kind == "sync" else AsyncRefuses)(
        b"HTTP/1.1 413 No\r\nContent-Length: 4\r\n", b"\r\nbody"
    )
    transport = (fast.FastTransport if kind == "sync" else fast.AsyncFastTransport)(
        tls_context(verify=True), None
    )
    on(transport, stream)
    response = await handle(transport, httpx.Request("POST", "http://127.0.0.1:1/x", content=b"abc"))
    assert (response.status_code, response.content) == (413, b"body")
    assert stream.closed == 1  # nothing more is sent on it


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "POST", "DELETE"])
def test_methods(method: str) -> None:
    """Other endpoints will need them."""
    transport = fast.FastTransport(tls_context(verify=True), None)
    with Chaos() as server, contextlib.closing(httpx.Client(transport=transport)) as client:
        server.plan(Trouble(chaos.status("200 Said", b"" if method == "HEAD" else b"{}")))
        content = b"abc" if method in {"PUT", "POST"} else None
        for _ in range(2):
            url = f"{server.origin}/rest/../v1?a=%20b"
            response = client.request(method, url, content=content, headers={"x-empty": ""})
            assert response.content == (b"" if method == "HEAD" else b"{}")
            assert response.headers["content-type"] == "application/json"
    for request in server.requests:
        assert (request.method, request.target, request.body) == (method, "/v1?a=%20b", content or b"")
        assert request.headers["x-empty"] == ""
    assert server.connections == (2 if method == "HEAD" else 1)


@pytest.mark.parametrize("engine", ["fast", "httpx"])
def test_a_mock_that_starts_after_the_client_takes_over(flavour: Flavour, engine: str) -> None:
    with Chaos() as server, open_to(flavour, server, engine=engine) as client:
        check_recovery(client)
        before = len(server.requests)
        with respx.mock() as router:
            url = f"{server.origin}/rest/v1/activity/{ACTIVITY_ID}"
            router.get(url).respond(json=PAGE_EXAMPLE | {"name": "mocked"})
            assert client.activities.get(ACTIVITY_ID).name == "mocked"
        assert len(server.requests) == before
        check_recovery(client)
        assert len(server.requests) == before + 2


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
