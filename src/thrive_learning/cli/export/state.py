"""The state file of a scheduled export. Only one run at a time can use it."""

import contextlib
import datetime as dt
import json
from pathlib import Path
from typing import Any, NamedTuple, Self, cast

from thrive_learning.cli.export.paths import explained
from thrive_learning.cli.export.query import parse_stored_time
from thrive_learning.cli.regular_files import create, is_there, open_regular, open_to_read, remove, replacing
from thrive_learning.errors import ConfigurationError

_VERSION = 1


class Pending(NamedTuple):
    """A run that has begun and not ended.

    Attributes:
        output: The absolute path of its output.
        form: The value of `--to`, if any.
        by_day: Whether the output is a folder with one part for each day.
        since: The beginning of its period.
        until: The end of its period.
        missing: How many records were missing at its end, so that it is made once more; None before that.
    """

    output: str
    form: str | None
    by_day: bool
    since: dt.datetime
    until: dt.datetime
    missing: int | None = None


class State(NamedTuple):
    """The state that one run saves for the next.

    Attributes:
        origin: The region and tenant that the records come from.
        filters: The filters, without the period.
        since: The beginning of the next run, in whole seconds.
        keys: The keys of the records since about then that were exported, each with the second of its record.
        pending: The run that has begun and not ended, if there is one.
    """

    origin: str
    filters: dict[str, Any]
    since: dt.datetime
    keys: dict[bytes, int | None] = {}  # noqa: RUF012 - never changed
    pending: Pending | None = None

    def text(self) -> str:
        """Return the text of the file."""
        pending = self.pending
        document = {
            "thrive_export_state": _VERSION,
            "origin": self.origin,
            "filters": self.filters,
            "since": self.since.isoformat(),
            "pending": pending
            and {**pending._asdict(), "since": pending.since.isoformat(), "until": pending.until.isoformat()},
            "exported_since_then": {key.hex(): second for key, second in self.keys.items()},
        }
        return json.dumps(document, indent=1) + "\n"

    @classmethod
    def parsed(cls, text: str) -> "State":
        """Parse the text of a file.

        Raises:
            ConfigurationError: The text is not a state.
        """
        version: object = None
        try:
            document = json.loads(text)
            version = document["thrive_export_state"]
            if version == _VERSION:
                return cls._parsed(document)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            pass
        if version is None:
            raise ConfigurationError("it is not a state file")
        if version == _VERSION:
            raise ConfigurationError("it is damaged")
        raise ConfigurationError("it was written by another version of this program")

    @classmethod
    def _parsed(cls, document: dict[str, Any]) -> "State":
        pending = cast("dict[str, Any] | None", document["pending"])
        keys = cast("dict[str, int | None]", document["exported_since_then"])
        return cls(
            str(document["origin"]),
            dict(document["filters"]),
            parse_stored_time(document["since"]),
            {bytes.fromhex(key): None if second is None else int(second) for key, second in keys.items()},
            None if pending is None else _pending_in(pending),
        )


def _pending_in(document: dict[str, Any]) -> Pending:
    form = document["form"]
    return Pending(
        str(document["output"]),
        None if form is None else str(form),
        bool(document["by_day"]),
        parse_stored_time(document["since"]),
        parse_stored_time(document["until"]),
        None if document.get("missing") is None else int(document["missing"]),
    )


class StateFile:
    """A state file, locked while it is open.

    The lock is a separate file beside it, because each run replaces the state.

    Args:
        path: The path of the file.

    Raises:
        ConfigurationError: Another run uses the file, or it is not a regular file.
        OutputError: The lock cannot be created.
    """

    def __init__(self, path: Path) -> None:
        from filelock import lock_descriptor  # noqa: PLC0415 - of the extra `cli`, needed only for exports

        self.path = path
        self._lock_path = path.with_name(f"{path.name}.lock")
        self._open = contextlib.ExitStack()
        with explained(path):
            is_there(path)
            if not path.parent.is_dir():
                raise ConfigurationError(f"the folder {path.parent} does not exist. Create it first.")
            try:
                lock = create(self._lock_path)
            except FileExistsError:
                lock = open_regular(self._lock_path)
            self._open.enter_context(lock)
            is_locked = lock_descriptor(lock.fileno(), blocking=False)
        if not is_locked:
            self._open.close()
            raise ConfigurationError(f"another export is using {path}. Wait for it to finish.")

    def load(self) -> State | None:
        """Return the state; None before the first run.

        Raises:
            ConfigurationError: The file is not a state file.
            OutputError: The file cannot be read.
        """
        with explained(self.path, "read"):
            if not is_there(self.path):
                return None
            with open_to_read(self.path) as file:
                text = file.read().decode(errors="replace")
        try:
            return State.parsed(text)
        except ConfigurationError as error:
            problem = str(error)
        raise ConfigurationError(f"cannot use {self.path}: {problem}. Choose another file with --state.")

    def save(self, state: State | None) -> None:
        """Replace the state atomically, or remove it.

        Raises:
            OutputError: The state cannot be written. The previous one is unchanged.
        """
        with explained(self.path):
            if state is None:
                remove(self.path)
                return
            with replacing(self.path) as file:
                file.write(state.text().encode())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._open.close()
