import base64
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from urllib.parse import urlencode

import anyio
import anyio.lowlevel
import httpx
import pytest
from harness import Clock

import thrive_learning.sandbox
from thrive_learning.sandbox import (
    API_URL,
    TOKEN_URL,
    WEBHOOKS_TOKEN_URL,
    FaultScript,
    FaultySandbox,
    Sandbox,
    SandboxRequest,
    SandboxTransport,
)

NOW = 1_700_000_000.0
RECORD = f"{API_URL}/activity/60d5ec49b60b4b3a2c8f9a10"
SANDBOX = Sandbox()
BASIC = httpx.BasicAuth(SANDBOX.tenant_id, SANDBOX.api_secret)
TOKEN_FORM = {
    "grant_type": "client_credentials",
    "client_id": SANDBOX.client_id,
    "client_secret": SANDBOX.client_secret,
}


def sandbox_transport(clock: Clock | None = None) -> SandboxTransport:
    return SandboxTransport(SANDBOX, clock=clock or Clock(NOW))


def expected(method: str, target: str, headers: dict[str, str], body: bytes = b"") -> tuple[object, ...]:
    response = SANDBOX.respond(SandboxRequest(method, target, headers, body), now=NOW)
    return response.status, dict(response.headers), response.body


def received(response: httpx.Response) -> tuple[object, ...]:
    return response.status_code, dict(response.headers), response.content


def expected_record() -> tuple[object, ...]:
    credentials = base64.b64encode(f"{SANDBOX.tenant_id}:{SANDBOX.api_secret}".encode()).decode()
    return expected(
        "GET",
        "/rest/v1/activity/60d5ec49b60b4b3a2c8f9a10?view=full%20",
        {"authorization": f"Basic {credentials}"},
    )


def expected_token() -> tuple[object, ...]:
    return expected(
        "POST",
        f"/oauth2/token/{SANDBOX.tenant_id}",
        {"content-type": "application/x-www-form-urlencoded"},
        urlencode(TOKEN_FORM).encode(),
    )


def test_a_sync_client_gets_what_the_sandbox_responds() -> None:
    with httpx.Client(transport=sandbox_transport()) as client:
        record = client.get(f"{RECORD}?view=full%20", auth=BASIC)
        token = client.post(TOKEN_URL.format(tenant_id=SANDBOX.tenant_id), data=TOKEN_FORM)

    assert (record.status_code, token.status_code) == (200, 200)
    assert received(record) == expected_record()
    assert received(token) == expected_token()


@pytest.mark.anyio
async def test_an_async_client_gets_what_the_sandbox_responds() -> None:
    async with httpx.AsyncClient(transport=sandbox_transport()) as client:
        record = await client.get(f"{RECORD}?view=full%20", auth=BASIC)
        token = await client.post(TOKEN_URL.format(tenant_id=SANDBOX.tenant_id), data=TOKEN_FORM)

    assert (record.status_code, token.status_code) == (200, 200)
    assert received(record) == expected_record()
    assert received(token) == expected_token()


FORM_TYPE = {"content-type": "application/x-www-form-urlencoded"}


def test_a_streamed_sync_body_arrives() -> None:
    def body() -> Iterator[bytes]:
        yield urlencode(TOKEN_FORM).encode()

    with httpx.Client(transport=sandbox_transport()) as client:
        token = client.post(TOKEN_URL.format(tenant_id=SANDBOX.tenant_id), content=body(), headers=FORM_TYPE)

    assert received(token) == expected_token()


@pytest.mark.anyio
async def test_a_streamed_async_body_arrives() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield urlencode(TOKEN_FORM).encode()

    async with httpx.AsyncClient(transport=sandbox_transport()) as client:
        token = await client.post(
            TOKEN_URL.format(tenant_id=SANDBOX.tenant_id), content=body(), headers=FORM_TYPE
        )

    assert received(token) == expected_token()


def test_the_body_of_a_response_can_be_streamed_raw_in_sync() -> None:
    with (
        httpx.Client(transport=sandbox_transport()) as client,
        client.stream("GET", f"{RECORD}?view=full%20", auth=BASIC) as response,
    ):
        body = b"".join(response.iter_raw())

    assert body == expected_record()[2]


@pytest.mark.anyio
async def test_the_body_of_a_response_can_be_streamed_raw_in_async() -> None:
    async with (
        httpx.AsyncClient(transport=sandbox_transport()) as client,
        client.stream("GET", f"{RECORD}?view=full%20", auth=BASIC) as response,
    ):
        body = b"".join([part async for part in response.aiter_raw()])

    assert body == expected_record()[2]


@pytest.mark.parametrize(
    ("token_url", "scope"), [(TOKEN_URL, "api/read"), (WEBHOOKS_TOKEN_URL, "api/webhooks")]
)
def test_the_url_constants_lead_to_their_service(token_url: str, scope: str) -> None:
    with httpx.Client(transport=sandbox_transport()) as client:
        token = client.post(token_url.format(tenant_id=SANDBOX.tenant_id), data=TOKEN_FORM)

    assert token.json()["scope"] == scope


def test_tokens_expire_by_the_clock_that_was_given() -> None:
    clock = Clock(NOW)
    with httpx.Client(transport=sandbox_transport(clock)) as client:
        token = client.post(TOKEN_URL.format(tenant_id=SANDBOX.tenant_id), data=TOKEN_FORM).json()
        bearer = {"authorization": f"Bearer {token['access_token']}"}
        fresh = client.get(RECORD, headers=bearer)
        clock.now += token["expires_in"]
        expired = client.get(RECORD, headers=bearer)

    assert (fresh.status_code, expired.status_code) == (200, 401)


def test_the_clock_is_the_wall_clock_unless_another_is_given() -> None:
    long_ago = SandboxTransport(SANDBOX, clock=lambda: 0.0)
    with httpx.Client(transport=long_ago) as client:
        token = client.post(TOKEN_URL.format(tenant_id=SANDBOX.tenant_id), data=TOKEN_FORM).json()
    with httpx.Client(transport=SandboxTransport(SANDBOX)) as client:
        response = client.get(RECORD, headers={"authorization": f"Bearer {token['access_token']}"})

    assert response.status_code == 401
    assert "expired" in response.json()["message"]


def test_an_escaped_tenant_and_id_arrive_as_in_the_url() -> None:
    sandbox = Sandbox(tenant_id="a b/c")
    transport = SandboxTransport(sandbox, clock=Clock(NOW))
    with httpx.Client(transport=transport) as client:
        token = client.post(TOKEN_URL.format(tenant_id="a%20b%2Fc"), data=TOKEN_FORM)
        record = client.get(f"{API_URL}/activity/..%2Fx", auth=(sandbox.tenant_id, sandbox.api_secret))

    assert token.status_code == 200
    assert record.status_code == 400


def test_repeated_authorization_lines_are_refused() -> None:
    good = next(BASIC.auth_flow(httpx.Request("GET", RECORD))).headers["authorization"]
    with httpx.Client(transport=sandbox_transport()) as client:
        one = client.get(RECORD, headers=[("Authorization", good)])
        two = client.get(RECORD, headers=[("Authorization", good), ("Authorization", good)])

    assert (one.status_code, two.status_code) == (200, 401)


def test_head_has_the_headers_of_get_and_no_body() -> None:
    with httpx.Client(transport=sandbox_transport()) as client:
        get = client.get(RECORD, auth=BASIC)
        head = client.head(RECORD, auth=BASIC)

    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["content-length"] == get.headers["content-length"] == str(len(get.content))


@pytest.mark.anyio
async def test_an_async_call_can_be_canceled() -> None:
    async with httpx.AsyncClient(transport=sandbox_transport()) as client:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await client.get(RECORD, auth=BASIC)

    assert scope.cancelled_caught


@pytest.mark.anyio
async def test_async_calls_take_turns() -> None:
    started: list[int] = []
    finished: list[int] = []

    async def call(number: int) -> None:
        started.append(number)
        await client.get(RECORD, auth=BASIC)
        assert len(started) == 5
        finished.append(number)

    async with httpx.AsyncClient(transport=sandbox_transport()) as client, anyio.create_task_group() as tasks:
        for number in range(5):
            tasks.start_soon(call, number)

    assert sorted(finished) == [0, 1, 2, 3, 4]


def test_one_transport_serves_clients_one_after_the_other() -> None:
    transport = sandbox_transport()
    statuses: list[int] = []
    for _ in range(2):
        with httpx.Client(transport=transport) as client:
            statuses.append(client.get(RECORD, auth=BASIC).status_code)

    assert statuses == [200, 200]


# Faults


def faulty(*faults: str, sleep: Callable[[float], object] = time.sleep) -> SandboxTransport:
    async def async_sleep(seconds: float) -> None:
        await anyio.lowlevel.checkpoint()
        sleep(seconds)

    sandbox = FaultySandbox(SANDBOX, FaultScript(faults))
    return SandboxTransport(sandbox, clock=Clock(NOW), sleep=sleep, async_sleep=async_sleep)


def test_a_sync_client_can_ask_for_a_fault() -> None:
    with httpx.Client(transport=sandbox_transport()) as client:
        response = client.get(RECORD, auth=BASIC, headers={"prefer": "fault=throttle"})

    assert (response.status_code, response.headers["retry-after"]) == (429, "1")


@pytest.mark.anyio
async def test_an_async_client_meets_the_faults_of_a_script() -> None:
    async with httpx.AsyncClient(transport=faulty("429:1", "html:1")) as client:
        statuses = [(await client.get(RECORD, auth=BASIC)).status_code for _ in range(3)]

    assert statuses == [429, 502, 200]


def test_a_sync_answer_comes_late() -> None:
    waits: list[float] = []
    with httpx.Client(transport=faulty("slow:90s:1", sleep=waits.append), timeout=100) as client:
        assert client.get(RECORD, auth=BASIC).status_code == 200
        assert client.get(RECORD, auth=BASIC).status_code == 200

    assert waits == [90]


@pytest.mark.anyio
async def test_an_async_answer_comes_late() -> None:
    waits: list[float] = []
    async with httpx.AsyncClient(transport=faulty("slow:2s", sleep=waits.append)) as client:
        assert (await client.get(RECORD, auth=BASIC)).status_code == 200

    assert waits == [2]


def test_a_sync_answer_comes_too_late() -> None:
    waits: list[float] = []
    with httpx.Client(transport=faulty("slow:90s", sleep=waits.append), timeout=7) as client:
        with pytest.raises(httpx.ReadTimeout):
            client.get(RECORD, auth=BASIC)

    assert waits == [7]


@pytest.mark.anyio
async def test_an_async_answer_comes_too_late() -> None:
    waits: list[float] = []
    async with httpx.AsyncClient(transport=faulty("slow:90s", sleep=waits.append), timeout=7) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.get(RECORD, auth=BASIC)

    assert waits == [7]


def test_a_sync_body_is_cut() -> None:
    with httpx.Client(transport=faulty("cut")) as client:
        with client.stream("GET", RECORD, auth=BASIC) as response:
            body = response.iter_raw()
            half = next(body)
            with pytest.raises(httpx.ReadError, match="middle of the body"):
                next(body)

    assert len(half) == int(response.headers["content-length"]) // 2


@pytest.mark.anyio
async def test_an_async_body_is_cut() -> None:
    async with httpx.AsyncClient(transport=faulty("cut")) as client:
        with pytest.raises(httpx.ReadError, match="middle of the body"):
            await client.get(RECORD, auth=BASIC)


def test_the_package_loads_it_when_it_is_asked_for() -> None:
    code = (
        "import sys, thrive_learning.sandbox as sandbox; before = 'httpx' in sys.modules; "
        "sandbox.SandboxTransport; print(before, 'httpx' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False True\n"
    with pytest.raises(AttributeError, match="has no attribute 'SandboxTransports'"):
        thrive_learning.sandbox.SandboxTransports  # noqa: B018
