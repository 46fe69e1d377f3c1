"""The fixtures, which pytest finds by the entry point. Modules are imported when a test needs them."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from thrive_learning.client import AsyncThriveClient, ThriveClient
    from thrive_learning.sandbox import Fault
    from thrive_learning.sandbox.server import SandboxServer
    from thrive_learning.testing.sandbox import ServedSandbox, ThriveSandbox


#: The sandbox of a test.
_SANDBOX = pytest.StashKey["ThriveSandbox"]()


@pytest.fixture
def thrive_sandbox(request: pytest.FixtureRequest) -> "ThriveSandbox":
    """A sandbox in this process: `add()`, `fail_next()`, `revoke_tokens()`, `requests`, `clock`.

    The test fails if no request was affected by a `fail_next()`.
    """
    from thrive_learning.testing.sandbox import ThriveSandbox  # noqa: PLC0415 - see above

    sandbox = ThriveSandbox()
    request.node.stash[_SANDBOX] = sandbox
    return sandbox


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> "Generator[None, object, object]":
    """Fail a test whose `fail_next()` was not used, unless it fails or is skipped anyway."""
    result = yield
    sandbox = item.stash.get(_SANDBOX, None)
    if sandbox is not None and (unused := sandbox.unused_faults):
        pytest.fail(unused_message(unused), pytrace=False)
    return result


def unused_message(unused: "Sequence[Fault]") -> str:
    """Return the message of a test with faults, at least one, that affected no request."""
    asked = ", ".join(
        f"fail_next({fault.name!r}{', token=True' if fault.for_tokens else ''})" for fault in unused
    )
    if all(fault.for_tokens for fault in unused):
        missing = "token request"
        advice = "Call revoke_tokens() first if the client still holds a valid token"
    else:
        missing = "such request"
        advice = "Check that the code under test uses a client of this sandbox"
    return (
        f"{asked} had no effect, because no {missing} reached thrive_sandbox after it. "
        f"{advice}, or remove the fault with thrive_sandbox.script.clear()."
    )


@pytest.fixture
def thrive_client(thrive_sandbox: "ThriveSandbox") -> "Iterator[ThriveClient]":
    """A `ThriveClient` of `thrive_sandbox` that retries without waiting."""
    with thrive_sandbox.client() as client:
        yield client


@pytest.fixture
def async_thrive_client(thrive_sandbox: "ThriveSandbox") -> "AsyncThriveClient":
    """An `AsyncThriveClient` of `thrive_sandbox` for asyncio and trio, which retries without waiting."""
    # It has no connections, so nothing must be closed in an event loop.
    return thrive_sandbox.async_client()


def started_server() -> "SandboxServer":
    """Return a server on a free port, as a context manager. Without the extra, fail the test."""
    try:
        from thrive_learning.sandbox.server import SandboxApp, SandboxServer  # noqa: PLC0415 - an extra
    except ImportError as error:
        pytest.fail(
            f"the fixture thrive_server needs the extra 'sandbox' ({error.name} is not installed). "
            "Install it with: "
            "python3 -m pip install 'thrive-learning[sandbox]'",
            pytrace=False,
        )
    from thrive_learning.sandbox import FaultySandbox, Sandbox  # noqa: PLC0415 - see above

    return SandboxServer(SandboxApp(FaultySandbox(Sandbox())))


@pytest.fixture(scope="session")
def _thrive_server() -> "Iterator[SandboxServer]":
    # One server for all tests of a process, because starting and stopping it takes longer than most tests.
    with started_server() as server:
        yield server


@pytest.fixture
def thrive_server(_thrive_server: "SandboxServer", thrive_sandbox: "ThriveSandbox") -> "ServedSandbox":
    """`thrive_sandbox` on a local port, for other processes. It needs the extra `sandbox`."""
    from thrive_learning.regions import Region  # noqa: PLC0415 - see above
    from thrive_learning.sandbox.server import client_variables, region_urls  # noqa: PLC0415
    from thrive_learning.testing.sandbox import ServedSandbox  # noqa: PLC0415

    _thrive_server.app.sandbox, _thrive_server.app.clock = thrive_sandbox, thrive_sandbox.clock
    url = _thrive_server.url
    return ServedSandbox(
        url=url,
        sandbox=thrive_sandbox,
        region=Region.custom("sandbox", **region_urls(url)),
        environ=client_variables(url, thrive_sandbox.sandbox),
    )
