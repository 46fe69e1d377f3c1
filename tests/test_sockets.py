"""The socket functions of both engines. Connecting is tested with the engines."""

import select
import socket
from collections.abc import Iterator

import pytest

from thrive_learning import _sockets
from thrive_learning._sockets import Arrivals, in_order

LATE = 0.02


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        peer, _address = listener.accept()
    with ours, peer:
        yield ours, peer


def test_families_take_turns_and_failed_addresses_come_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_sockets, "failed_at", {("10.0.0.1", 1): 2.0, ("fd00::1", 1, 0, 0): 1.0})
    found = [
        (socket.AF_INET6 if len(address) > 2 else socket.AF_INET, socket.SOCK_STREAM, 6, "", address)
        for address in (
            ("10.0.0.1", 1),
            ("10.0.0.2", 1),
            ("10.0.0.3", 1),
            ("fd00::1", 1, 0, 0),
            ("fd00::2", 1, 0, 0),
        )
    ]
    order = [address[0] for _family, address in in_order(found)]
    assert order == ["fd00::2", "10.0.0.2", "10.0.0.3", "fd00::1", "10.0.0.1"]


def test_not_every_address_that_ever_failed_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_sockets, "failed_at", {})
    monkeypatch.setattr(_sockets, "_MOST_FAILED", 2)
    for port in (1, 2, 3):
        _sockets.note_failure(("10.0.0.1", port))
    assert list(_sockets.failed_at) == [("10.0.0.1", 3)]


@pytest.mark.parametrize("has_poll", [True, False])
def test_arrivals(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch, *, has_poll: bool
) -> None:
    if not has_poll:
        monkeypatch.delattr(select, "poll")  # as on Windows
    arrivals = Arrivals(pair[0])
    assert not arrivals.wait(0)
    pair[1].sendall(b"x")
    assert arrivals.wait(1e9)  # which is more than a poll can wait
    pair[0].recv(1)
    assert not arrivals.wait(LATE)
    pair[0].close()
    assert arrivals.wait(0)
