"""Fixtures of the whole suite."""

import gc
import logging
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from anyio.from_thread import BlockingPortal, start_blocking_portal
from command import BASIC, OAUTH, Call, Result
from faults.watch import FIGURES, OVERRUNS, add_those_of
from harness import ROOT, Flavour, Kept
from hypothesis import HealthCheck, Phase, settings

# These machines are shared: how long an example takes says nothing about the code.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# For `tools/mutation.py`: the same examples each time. The smallest one that fails would take minutes.
settings.register_profile("mutation", settings.get_profile("ci"), phases=[Phase.explicit, Phase.generate])
settings.load_profile("shared")


pytest_plugins = ["thrive_learning.testing.plugin"]


class Figures:
    """Prints at the end what tests have measured, in all processes of the run."""

    @pytest.hookimpl
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
        if output is not None:  # a worker of pytest-xdist
            output |= {"overruns": OVERRUNS, "figures": FIGURES}

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        output: dict[str, Any] = getattr(node, "workeroutput", {})  # none of one that has crashed
        if "overruns" in output:
            add_those_of(output)

    @pytest.hookimpl
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if OVERRUNS or FIGURES:
            terminalreporter.section("faults")
        for name, (seconds, scenario) in sorted(OVERRUNS.items()):
            terminalreporter.write_line(f"worst overrun, {name}: {seconds * 1000:.1f} ms ({scenario})")
        for name, figure in sorted(FIGURES.items()):
            terminalreporter.write_line(f"{name}: {figure}")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Figures())
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell that runs this in the background has it so, and processes of the tests would inherit it.
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module", autouse=True)
def _quick_collections() -> None:
    """Exclude existing objects from garbage collection, which would take most of the time of some tests."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def _portals() -> Iterator[dict[str, BlockingPortal | None]]:
    with start_blocking_portal("asyncio") as on_asyncio, start_blocking_portal("trio") as on_trio:
        yield {"sync": None, "asyncio": on_asyncio, "trio": on_trio}


@pytest.fixture(params=["sync", "asyncio", "trio"])
def flavour(request: pytest.FixtureRequest, _portals: dict[str, BlockingPortal | None]) -> Flavour:
    return Flavour(request.param, _portals[request.param])


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def contract() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / "openapi" / "thrive.yaml").read_text(encoding="utf-8"))
    return document


@pytest.fixture(scope="session")
def _no_profiles_here(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("no-profiles-here"))


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, _no_profiles_here: str) -> None:
    """Keep the developer's own tenant, proxy, and terminal out of the tests."""
    proxies = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
    for name in (
        *(name for name in os.environ if name.startswith("THRIVE_")),
        *proxies,
        *(name.lower() for name in proxies),
        *("COLUMNS", "LINES", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"),
        *("PY_COLORS", "PYTEST_ADDOPTS"),  # of the processes of pytest that tests start
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    for name in ("XDG_CONFIG_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, _no_profiles_here)


@pytest.fixture
def kept() -> Iterator[Kept]:
    handler, root = Kept(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield handler
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


# The command


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """Run the command in this process, with captured output, which is not a terminal."""

    def run(*arguments: str) -> Result:
        from thrive_learning.cli import program  # noqa: PLC0415 - coverage must see the import

        code = program.run(arguments)
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return run


@pytest.fixture
def terminal(call: Call, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Run it with an output that says it is a terminal."""

    def run(*arguments: str) -> Result:
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        return call(*arguments)

    return run


@pytest.fixture
def basic(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in BASIC.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def oauth(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in OAUTH.items():
        monkeypatch.setenv(name, value)
