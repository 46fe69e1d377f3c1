"""Fixtures of the tests of the fast engine."""

import ssl
from collections.abc import Callable, Iterator

import pytest
import trustme
from anyio.from_thread import BlockingPortal

from http_fast.loopback import Sender


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    """Trusts the servers of these tests."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def serving(authority: trustme.CA) -> ssl.SSLContext:
    """Is the server context of a server on loopback."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    return context


#: Opens an engine that goes through a proxy or directly.
Opener = Callable[..., Sender]


@pytest.fixture(params=["sync", "asyncio", "trio"])
def open_engine(
    request: pytest.FixtureRequest, _portals: dict[str, BlockingPortal | None], trusting: ssl.SSLContext
) -> Iterator[Opener]:
    opened: list[Sender] = []

    def open_engine(proxy: str | None = None, context: ssl.SSLContext | None = None) -> Sender:
        opened.append(Sender(_portals[request.param], context or trusting, proxy))
        return opened[-1]

    yield open_engine
    for sender in opened:
        sender.close()


@pytest.fixture
def sender(open_engine: Opener) -> Sender:
    """Is an engine that connects directly."""
    return open_engine()
