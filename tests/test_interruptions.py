"""An exception of a signal handler is distinguished from a failure of the same type, anywhere."""

import asyncio
import json
import logging
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest
from harness import ACTIVITY_ID, BASIC, OAUTH, Flavour

from thrive_learning import (
    AsyncThriveClient,
    BasicCredentials,
    MemoryTokenStore,
    ThriveClient,
    UnexpectedResponseError,
    activities,
)
from thrive_learning._call import generated
from thrive_learning._exchange import reply
from thrive_learning._interruptions import interruption
from thrive_learning._log import _Stderr

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="needs SIGALRM")


class OsLimit(TimeoutError):  # noqa: N818 - as job queues name theirs
    """An exception that ends a job and looks like a failure of the network."""


class ValueLimit(ValueError):  # noqa: N818
    """An exception that ends a job and looks like a failure of a parser."""


class JsonLimit(json.JSONDecodeError):
    """An exception that ends a job and looks like a failure of the JSON decoder."""

    def __init__(self) -> None:
        super().__init__("over", "", 0)


Interrupt = Callable[[Callable[[], Exception]], Callable[..., Any]]


@pytest.fixture
def interrupt() -> Iterator[Interrupt]:
    """Return a function that makes one which a signal interrupts at once."""
    before = signal.getsignal(signal.SIGALRM)

    def make(kind: Callable[[], Exception]) -> Callable[..., Any]:
        def handle(_number: int, _frame: object) -> None:
            raise kind()

        signal.signal(signal.SIGALRM, handle)
        return lambda *_arguments, **_options: signal.raise_signal(signal.SIGALRM)

    try:
        yield make
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_transport_of_the_caller_in_async_code(interrupt: Interrupt) -> None:
    class Transport(httpx.AsyncBaseTransport):
        handle_async_request = staticmethod(interrupt(OsLimit))

    async def main() -> None:
        async with AsyncThriveClient("staging", BASIC, transport=Transport()) as client:
            await client.activities.get(ACTIVITY_ID)

    with pytest.raises(OsLimit):
        asyncio.run(main())


def test_the_ids_of_an_async_run(interrupt: Interrupt) -> None:
    interrupted = interrupt(OsLimit)

    def ids() -> Iterator[str]:
        yield ACTIVITY_ID
        interrupted()

    async def main() -> None:
        async with AsyncThriveClient.sandbox() as client, client.activities.get_many(ids()) as results:
            async for _result in results:
                pass

    with pytest.raises(OsLimit):
        asyncio.run(main())


def test_building_a_record(monkeypatch: pytest.MonkeyPatch, interrupt: Interrupt) -> None:
    operation = generated.GET_ACTIVITY._replace(build=interrupt(ValueLimit))
    monkeypatch.setattr(activities, "GET_ACTIVITY", operation)
    with ThriveClient.sandbox() as client, pytest.raises(ValueLimit):
        client.activities.get(ACTIVITY_ID)


def test_reading_json(monkeypatch: pytest.MonkeyPatch, interrupt: Interrupt) -> None:
    class Decoder:
        decode = staticmethod(interrupt(JsonLimit))

    monkeypatch.setattr(reply, "_decoder", Decoder())
    with pytest.raises(JsonLimit):
        reply.json_object(b"{}")


# In sync code


def test_a_transport_of_the_caller(interrupt: Interrupt) -> None:
    class Transport(httpx.BaseTransport):
        handle_request = staticmethod(interrupt(OsLimit))

    with ThriveClient("staging", BASIC, transport=Transport()) as client, pytest.raises(OsLimit):
        client.activities.get(ACTIVITY_ID)


def test_on_attempt_is_called_with_each_attempt(interrupt: Interrupt) -> None:
    with ThriveClient.sandbox(on_attempt=interrupt(OsLimit)) as client, pytest.raises(OsLimit):
        client.activities.get(ACTIVITY_ID)


def test_the_ids_of_a_run(interrupt: Interrupt) -> None:
    interrupted = interrupt(OsLimit)

    def ids() -> Iterator[str]:
        yield ACTIVITY_ID
        interrupted()

    with ThriveClient.sandbox() as client, pytest.raises(OsLimit):
        list(client.activities.get_many(ids()))


def test_the_generated_parser(monkeypatch: pytest.MonkeyPatch, interrupt: Interrupt) -> None:
    interrupted = interrupt(ValueLimit)

    def parse(*, id: str, client: Any) -> Any:  # noqa: A002 - as generated
        client.get_httpx_client().request("get", f"/activity/{id}")
        interrupted()

    monkeypatch.setattr(activities, "GET_ACTIVITY", generated.GET_ACTIVITY._replace(sync=parse))
    with ThriveClient.sandbox() as client, pytest.raises(ValueLimit):
        client.activities.get(ACTIVITY_ID)


def test_the_function_that_returns_a_secret(interrupt: Interrupt) -> None:
    credentials = BasicCredentials("t", interrupt(OsLimit))
    with ThriveClient("staging", credentials) as client, pytest.raises(OsLimit):
        client.activities.get(ACTIVITY_ID)


def test_a_token_store(interrupt: Interrupt) -> None:
    class Store(MemoryTokenStore):
        load = staticmethod(interrupt(OsLimit))

    with ThriveClient("staging", OAUTH, token_store=Store()) as client, pytest.raises(OsLimit):
        client.activities.get(ACTIVITY_ID)


# Beside it: what else is left early


def test_a_body_that_is_too_large_is_left_though_it_goes_on(flavour: Flavour) -> None:
    class Endless(httpx.SyncByteStream, httpx.AsyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            yield from [b" " * 100] * 5

        async def __aiter__(self) -> AsyncIterator[bytes]:
            for piece in self:
                yield piece

    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=Endless())

    with (
        flavour.answering(answer, BASIC, max_record_bytes=150) as client,
        pytest.raises(UnexpectedResponseError, match="max_record_bytes"),
    ):
        client.activities.get(ACTIVITY_ID)


def test_a_chain_of_causes_without_end() -> None:
    first, second = OSError("a"), OSError("b")
    first.__cause__, second.__cause__ = second, first
    assert interruption(first) is None


def test_writing_a_record_to_stderr_can_be_interrupted(
    interrupt: Interrupt, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stream:
        write = staticmethod(interrupt(OsLimit))

    monkeypatch.setattr(sys, "stderr", Stream())
    with pytest.raises(OsLimit):
        _Stderr().emit(logging.makeLogRecord({"msg": "a record"}))
