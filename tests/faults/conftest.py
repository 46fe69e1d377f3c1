"""Prints what the tests of this folder measured."""

import pytest

from faults.watch import FIGURES, OVERRUNS


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if OVERRUNS or FIGURES:
        terminalreporter.section("faults")
    for name, (seconds, scenario) in sorted(OVERRUNS.items()):
        terminalreporter.write_line(f"worst overrun, {name}: {seconds * 1000:.1f} ms ({scenario})")
    for name, figure in sorted(FIGURES.items()):
        terminalreporter.write_line(f"{name}: {figure}")
