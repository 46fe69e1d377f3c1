"""The tree of loggers, the fields of their records, and THRIVE_LOG."""

import logging
import os
import sys
from typing import Final

from thrive_learning._interruptions import interruption
from thrive_learning.errors import ConfigurationError

_TREE = logging.getLogger("thrive_learning")
_LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO}

# As Python asks of libraries: without it, warnings go to stderr if the application has not set up logging.
if not any(isinstance(handler, logging.NullHandler) for handler in _TREE.handlers):
    _TREE.addHandler(logging.NullHandler())


def logger_of(part: str) -> logging.Logger:
    """Return the logger of a part of the package, such as `auth`."""
    return _TREE.getChild(part)


def fields(event: str, **values: object) -> dict[str, object]:
    """Return the `extra=` of a record. The prefix keeps the names apart from those of `logging` and others.

    Args:
        event: The kind of the record.
        **values: Its fields by their names without the prefix.
    """
    return {"thrive_event": event} | {f"thrive_{name}": value for name, value in values.items()}


class _Stderr(logging.Handler):
    """Writes to the stderr of the moment, which may have been replaced since the handler was created."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            # It is None under pythonw.exe, and closed in a daemon.
            if sys.stderr is not None and not getattr(sys.stderr, "closed", False):
                print(self.format(record), file=sys.stderr)  # noqa: T201 - what it is for
        except Exception as error:
            if interruption(error) is not None:
                raise
            self.handleError(record)


_NAME = "thrive_learning.stderr"


def follow_environment() -> None:
    """Write the records of the tree to stderr if THRIVE_LOG asks for it.

    Raises:
        ConfigurationError: THRIVE_LOG is not a level.
    """
    wanted = os.environ.get("THRIVE_LOG")
    if not wanted:
        return
    level = _LEVELS.get(wanted.lower())
    if level is None:
        raise ConfigurationError(f"THRIVE_LOG is {wanted!r}. Set it to {' or '.join(_LEVELS)}.")
    # By its name, because another copy of this module may have added it.
    handler = next((handler for handler in _TREE.handlers if handler.name == _NAME), _HANDLER)
    handler.setLevel(level)
    _TREE.addHandler(handler)  # once, whatever the number of clients
    _TREE.setLevel(min(level, _TREE.level or level))


_HANDLER: Final = _Stderr()
_HANDLER.name = _NAME
_HANDLER.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
