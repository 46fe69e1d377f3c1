"""The keys of the records that an export of a period has, on disk because millions need much memory."""

import importlib
from typing import Any, Self

_CACHE_KIB = 512


class SeenKeys:
    """The keys of records, in a private temporary file that the system removes when the process ends.

    A resumed export does not reuse the file, but fills a new one from its journal.
    """

    def __init__(self) -> None:
        sqlite3: Any = importlib.import_module("sqlite3")  # some builds of Python lack it
        self._database: Any = sqlite3.connect("", isolation_level=None)
        try:
            self._begin()
        except BaseException:
            self._database.close()
            raise

    def _begin(self) -> None:
        run = self._database.execute
        for setting in (f"cache_size=-{_CACHE_KIB}", "journal_mode=OFF", "synchronous=OFF"):
            run(f"PRAGMA {setting}")
        run("CREATE TABLE seen (key BLOB PRIMARY KEY) WITHOUT ROWID")
        run("BEGIN")

    def add(self, key: bytes) -> bool:
        """Add a key, and return whether it is new."""
        added = self._database.execute("INSERT OR IGNORE INTO seen VALUES (?)", (key,))
        return bool(added.rowcount)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._database.close()
