"""The tests of this folder run on both engines."""

import gc
from collections.abc import Iterator

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


@pytest.fixture(scope="package", autouse=True)
def _quick_collections() -> Iterator[None]:
    """Leave out what is there already when each test collects its garbage: that takes most of its time."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
