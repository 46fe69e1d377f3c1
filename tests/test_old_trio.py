"""`nox -s old-trio` runs this file with real old versions of trio, the other sessions with imitations."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
import trio
from harness import ACTIVITY_ID
from token_servers import TokenServer

from thrive_learning import AsyncThriveClient, ClientCredentials, ConfigurationError, Service
from thrive_learning._loops import OLDEST_TRIO

VERSION = trio.__version__
IS_OLD = tuple(map(int, VERSION.split(".")[:2])) < OLDEST_TRIO
Use = Callable[[AsyncThriveClient], Awaitable[Any]]


@pytest.fixture
def server() -> Iterator[TokenServer]:
    server = TokenServer()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def old_trio(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the installed trio look like an old one, unless it is one."""
    if not IS_OLD:
        monkeypatch.setattr(trio, "__version__", "0.28.0")
        lowlevel = ModuleType("trio.lowlevel")
        for name in set(dir(trio.lowlevel)) - {"in_trio_run", "in_trio_task"}:
            setattr(lowlevel, name, getattr(trio.lowlevel, name))
        monkeypatch.setattr(trio, "lowlevel", lowlevel)


async def get(client: AsyncThriveClient) -> None:
    assert (await client.activities.get(ACTIVITY_ID)).id == ACTIVITY_ID


async def get_many(client: AsyncThriveClient) -> None:
    async with client.activities.get_many([ACTIVITY_ID] * 5) as results:
        assert [result.error async for result in results] == [None] * 5


async def get_token(client: AsyncThriveClient) -> None:
    assert (await client.tokens.get(Service.API)).value


async def check(client: AsyncThriveClient) -> None:
    report = await client.check(ACTIVITY_ID)
    details = {finding.subject: finding.detail for finding in report.findings}
    assert details["record"] == f"activity {ACTIVITY_ID} can be read"


USES: list[Use] = [get, get_many, get_token, check]


async def with_client(server: TokenServer, engine: Any, *uses: Use) -> None:
    client = AsyncThriveClient(server.region, CREDENTIALS, engine=engine)
    try:
        for use in uses:
            await use(client)
    finally:
        await client.aclose()


CREDENTIALS = ClientCredentials("eu-west-2_AbcdEfghI", "fake-client", "fake-client-secret")


@pytest.mark.usefixtures("old_trio")
@pytest.mark.parametrize("engine", ["httpx", "fast"])
def test_an_old_trio_that_is_not_in_use_changes_nothing(server: TokenServer, engine: str) -> None:
    asyncio.run(with_client(server, engine, *USES))


@pytest.mark.usefixtures("old_trio")
@pytest.mark.parametrize("use", [get, get_many, get_token])
def test_an_old_trio_that_is_in_use_is_named(server: TokenServer, use: Use) -> None:
    with pytest.raises(
        ConfigurationError, match=r"^trio 0\.\d+\.\d+ is too old\. Install trio 0\.31 or newer\.$"
    ):
        trio.run(lambda: with_client(server, "httpx", use))


@pytest.mark.usefixtures("old_trio")
def test_a_check_names_an_old_trio(server: TokenServer) -> None:
    async def look(client: AsyncThriveClient) -> None:
        findings = (await client.check()).findings
        assert any("is too old. Install trio" in finding.detail for finding in findings)

    trio.run(lambda: with_client(server, "httpx", look))


@pytest.mark.skipif(IS_OLD, reason=f"trio {VERSION} is too old to be used")
@pytest.mark.parametrize("engine", ["httpx", "fast"])
def test_the_oldest_trio_works(server: TokenServer, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trio, "__version__", "{}.{}.0".format(*OLDEST_TRIO))
    trio.run(lambda: with_client(server, engine, *USES))
