"""The keys that an export of a period remembers on disk."""

import random
import sqlite3
from typing import Any

import pytest

from thrive_learning.cli.export.seen import SeenKeys


def test_a_key_is_new_once() -> None:
    draw = random.Random(1)  # noqa: S311 - not for secrets
    keys = [draw.randbytes(12) for _ in range(5000)]
    with SeenKeys() as seen:
        assert all(seen.add(key) for key in keys)
        assert not any(seen.add(key) for key in keys)


def test_a_file_that_cannot_be_set_up_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[sqlite3.Connection] = []

    def connect(*_arguments: object, **_options: object) -> Any:
        connection = sqlite3.Connection(":memory:")
        connection.execute("CREATE TABLE seen (key BLOB)")  # so that it cannot be created
        opened.append(connection)
        return connection

    monkeypatch.setattr(sqlite3, "connect", connect)
    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        SeenKeys()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        opened[0].execute("SELECT 1")
