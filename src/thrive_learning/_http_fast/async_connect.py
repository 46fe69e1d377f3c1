"""Connects to the first address of a host that responds, in async code."""

import ipaddress
import socket
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import anyio

from thrive_learning import _sockets
from thrive_learning._budget import Budget
from thrive_learning._clock import monotonic
from thrive_learning._http_fast.streams import Guard, Stream, failed, timed_out
from thrive_learning._loops import current_loop
from thrive_learning._sockets import Address

#: Connects to one address.
Attempt: TypeAlias = Callable[[Address], Awaitable[Stream]]


async def connect(host: str, port: int, _budget: Budget, ends: float, guard: Guard) -> Stream:
    """Connect to the first address of a host that responds. All attempts share one time limit."""
    with anyio.move_on_after(ends - monotonic()) as scope:
        guard(scope.cancel)
        return await _race(_sockets.in_order(await _look_up(host, port)), _attempt())
    raise timed_out("connect")


def _attempt() -> Attempt:
    if hasattr(current_loop()[1], "create_connection"):
        from thrive_learning._http_fast import asyncio_streams  # noqa: PLC0415 - it loads asyncio

        return asyncio_streams.connect
    from thrive_learning._http_fast import trio_streams  # noqa: PLC0415 - it loads trio

    return trio_streams.connect


async def _look_up(host: str, port: int) -> list[Any]:
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        pass
    else:  # no thread is needed
        family = {4: socket.AF_INET, 6: socket.AF_INET6}[version]
        return [(family, socket.SOCK_STREAM, 0, "", (host, port))]
    try:
        return await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        failure = failed("connect", error)
    raise failure


async def _race(addresses: list[Address], attempt: Attempt) -> Stream:
    """Try addresses in turn until one responds, each with a head start over the next.

    asyncio can do that too, but other event loops that replace its own cannot.
    """
    failure = OSError("it has no address")
    connected: list[Stream] = []

    async def run(address: Address, has_failed: anyio.Event) -> None:
        nonlocal failure
        _sockets.note_failure(address[1])  # until it responds
        try:
            connected.append(await attempt(address))
        except OSError as error:
            failure = error
            has_failed.set()
        else:
            _sockets.failed_at.pop(address[1], None)
            attempts.cancel_scope.cancel()

    try:
        async with anyio.create_task_group() as attempts:
            for address in addresses:
                has_failed = anyio.Event()
                attempts.start_soon(run, address, has_failed)
                with anyio.move_on_after(_sockets.HEAD_START_S):
                    await has_failed.wait()
        if connected:
            return connected.pop(0)
    finally:
        for stream in connected:  # not returned to the caller
            stream.close()
    raise failed("connect", failure)
