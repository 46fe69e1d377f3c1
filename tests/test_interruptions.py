"""An exception of a signal handler is told apart from a failure of the same type, wherever it is raised."""

import asyncio
import json
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from ssl import SSLContext
from typing import Any

import httpcore
import httpx
import pytest
import trio
from harness import ACTIVITY_ID, BASIC, OAUTH, Flavour

from thrive_learning import (
    AsyncThriveClient,
    BasicCredentials,
    ConfigurationError,
    MemoryTokenStore,
    ThriveClient,
    UnexpectedResponseError,
    _asyncio_network,
    _transport,
    activities,
)
from thrive_learning._call import generated
from thrive_learning._exchange import reply
from thrive_learning._interruptions import interruption
from thrive_learning._network import AsyncBackend, BoundedBackend, BoundedStream

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="needs SIGALRM")


class OsLimit(TimeoutError):  # noqa: N818 - as job queues name theirs
    """What ends a job; it looks like a failure of the network."""


class ValueLimit(ValueError):  # noqa: N818
    """What ends a job; it looks like a failure of a parser."""


class JsonLimit(json.JSONDecodeError):
    """What ends a job; it looks like a failure of the JSON decoder."""

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


def test_looking_up_a_host(monkeypatch: pytest.MonkeyPatch, interrupt: Interrupt) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", interrupt(OsLimit))
    with pytest.raises(OsLimit):
        BoundedBackend().connect_tcp("a.example", 443)


def test_writing(interrupt: Interrupt) -> None:
    class Socket:
        send = staticmethod(interrupt(OsLimit))

        def settimeout(self, _seconds: float | None) -> None:
            pass

    class Stream:
        def get_extra_info(self, _info: str) -> Any:
            return Socket()

    stream: Any = Stream()
    with pytest.raises(OsLimit):
        BoundedStream(stream).write(b"x", 1)


def test_connecting_on_trio(monkeypatch: pytest.MonkeyPatch, interrupt: Interrupt) -> None:
    interrupted = interrupt(OsLimit)

    class Backend:
        async def connect_tcp(self, *_arguments: object) -> None:
            await trio.lowlevel.checkpoint()
            try:
                interrupted()
            except OSError as error:
                raise httpcore.ConnectError from error

    monkeypatch.setattr(httpcore, "TrioBackend", Backend)
    with pytest.raises(httpcore.ConnectError) as caught:
        trio.run(AsyncBackend().connect_tcp, "a.example", 443)
    assert isinstance(caught.value.__cause__, OsLimit)


def test_connecting_on_asyncio(monkeypatch: pytest.MonkeyPatch, interrupt: Interrupt) -> None:
    interrupted = interrupt(OsLimit)

    async def first_to_answer(*_arguments: object) -> None:
        interrupted()

    monkeypatch.setattr(_asyncio_network, "_first_to_answer", first_to_answer)
    with pytest.raises(OsLimit):
        asyncio.run(_asyncio_network.connect_tcp("a.example", 443, 1, None, None))


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


def test_reading(interrupt: Interrupt) -> None:
    class Socket:
        recv = staticmethod(interrupt(OsLimit))

        def settimeout(self, _seconds: float | None) -> None:
            pass

    class Stream:
        def get_extra_info(self, _info: str) -> Any:
            return Socket()

    stream: Any = Stream()
    with pytest.raises(OsLimit):
        BoundedStream(stream).read(1, 1)


def test_connecting(monkeypatch: pytest.MonkeyPatch, interrupt: Interrupt) -> None:
    interrupted = interrupt(OsLimit)

    def connect_tcp(*_arguments: object) -> None:
        try:
            interrupted()
        except OSError as error:
            raise httpcore.ConnectError from error

    monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", connect_tcp)
    with pytest.raises(httpcore.ConnectError) as caught:
        BoundedBackend().connect_tcp("127.0.0.1", 1)
    assert isinstance(caught.value.__cause__, OsLimit)


def test_a_transport_of_the_caller(interrupt: Interrupt) -> None:
    class Transport(httpx.BaseTransport):
        handle_request = staticmethod(interrupt(OsLimit))

    with ThriveClient("staging", BASIC, transport=Transport()) as client, pytest.raises(OsLimit):
        client.activities.get(ACTIVITY_ID)


def test_what_is_called_with_each_attempt(interrupt: Interrupt) -> None:
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

    def parse(activity_id: str, *, client: Any) -> Any:
        client.get_httpx_client().request("get", f"/activity/{activity_id}")
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


def test_a_transport_that_rejects_its_settings_is_an_error_of_the_client() -> None:
    def build(_context: SSLContext, _proxy: str | None) -> httpx.BaseTransport:
        raise ValueError

    context: Any = None
    with pytest.raises(ConfigurationError, match="The URL of the proxy"):
        _transport._built(build, context, None)


def test_a_chain_of_causes_without_end() -> None:
    first, second = OSError("a"), OSError("b")
    first.__cause__, second.__cause__ = second, first
    assert interruption(first) is None
