"""Says how many cases the contract's judge tried."""

import pytest

CASES = pytest.StashKey[dict[str, int]]()


@pytest.fixture
def cases(pytestconfig: pytest.Config) -> dict[str, int]:
    """How many cases each run of Schemathesis tried; shown at the end."""
    return pytestconfig.stash.setdefault(CASES, {})


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for name, number in config.stash.get(CASES, {}).items():
        terminalreporter.write_line(f"Schemathesis, {name}: {number} cases, 0 findings")
