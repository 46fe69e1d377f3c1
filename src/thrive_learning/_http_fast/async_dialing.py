"""Connecting to the address of a host that answers first, in async code."""

import ipaddress
import socket
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeAlias

import anyio

from thrive_learning._budget import Budget
from thrive_learning._http_fast import streams
from thrive_learning._http_fast.streams import Address, Guard, Stream, failed, timed_out
from thrive_learning._loops import current_loop

#: Connects to one address.
Attempt: TypeAlias = Callable[[Address], Awaitable[Stream]]


async def connect(host: str, port: int, _budget: Budget, ends: float, guard: Guard) -> Stream:
    """Connect to the address of a host that answers first; all of them together have the one limit."""
    attempt: Attempt
    if hasattr(current_loop()[1], "create_connection"):
        from thrive_learning._http_fast import asyncio_streams  # noqa: PLC0415 - it loads asyncio

        attempt = asyncio_streams.connect
    else:
        from thrive_learning._http_fast import trio_streams  # noqa: PLC0415 - it loads trio

        attempt = trio_streams.connect
    with anyio.move_on_after(ends - time.monotonic()) as scope:
        guard(scope.cancel)
        return await _first_to_answer(streams.in_order(await _look_up(host, port)), attempt)
    raise timed_out("connect")


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
    except (OSError, UnicodeError, RuntimeError) as error:  # the third: no thread can be started
        failure = failed("connect", error)
    raise failure


async def _first_to_answer(addresses: Iterable[Address], attempt: Attempt) -> Stream:
    """Connect, and close what has connected too late."""
    connected: list[Stream] = []
    try:
        failure = await _try_in_turn(addresses, attempt, connected)
        if connected:
            return connected.pop(0)
    finally:
        for stream in connected:  # nobody gets these
            stream.close()
    raise failed("connect", failure)


async def _try_in_turn(addresses: Iterable[Address], attempt: Attempt, connected: list[Stream]) -> OSError:
    """Try addresses one after the other until one has answered, each with a head start before the next.

    asyncio can do that too, but other event loops that stand in for its own cannot.

    Returns:
        Why the last attempt that failed did so.
    """
    failure = OSError("it has no address")

    async def run(address: Address, has_failed: anyio.Event) -> None:
        nonlocal failure
        streams.note_outcome(address[1], has_failed=True)  # until it has answered
        try:
            connected.append(await attempt(address))
        except OSError as error:
            failure = error
            has_failed.set()
        else:
            streams.note_outcome(address[1], has_failed=False)
            attempts.cancel_scope.cancel()

    async with anyio.create_task_group() as attempts:
        for address in addresses:
            has_failed = anyio.Event()
            attempts.start_soon(run, address, has_failed)
            with anyio.move_on_after(streams.HEAD_START_S):
                await has_failed.wait()
    return failure
