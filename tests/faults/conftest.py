"""The tests of this folder run on both engines."""

import pytest
from anyio.from_thread import BlockingPortal
from harness import Flavour

FLAVOURS = {
    "sync": ("sync", "httpx"),
    "asyncio": ("asyncio", "httpx"),
    "trio": ("trio", "httpx"),
    "sync, fast": ("sync", "fast"),
    "asyncio, fast": ("asyncio", "fast"),
    "trio, fast": ("trio", "fast"),
}


@pytest.fixture(params=FLAVOURS)
def flavour(request: pytest.FixtureRequest, _portals: dict[str, BlockingPortal | None]) -> Flavour:
    """Give each kind of client on each engine."""
    kind, engine = FLAVOURS[request.param]
    return Flavour(request.param, _portals[kind], engine)
