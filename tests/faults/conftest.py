"""Prints what the tests of this folder measured."""

import pytest
from anyio.from_thread import BlockingPortal
from harness import Flavour

from faults.watch import FIGURES, OVERRUNS

FLAVOURS = {
    "sync": ("sync", "httpx"),
    "asyncio": ("asyncio", "httpx"),
    "trio": ("trio", "httpx"),
    "sync, fast": ("sync", "fast"),
    "asyncio, fast": ("asyncio", "fast"),
}


@pytest.fixture(params=FLAVOURS)
def flavour(request: pytest.FixtureRequest, _portals: dict[str, BlockingPortal | None]) -> Flavour:
    """Give each kind of client on each engine."""
    kind, engine = FLAVOURS[request.param]
    return Flavour(request.param, _portals[kind], engine)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if OVERRUNS or FIGURES:
        terminalreporter.section("faults")
    for name, (seconds, scenario) in sorted(OVERRUNS.items()):
        terminalreporter.write_line(f"worst overrun, {name}: {seconds * 1000:.1f} ms ({scenario})")
    for name, figure in sorted(FIGURES.items()):
        terminalreporter.write_line(f"{name}: {figure}")
