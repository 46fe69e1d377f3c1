"""Secrets in files and from commands of password managers.

Both sources are functions that return a secret, as `Secret` accepts them. They are called again each time, so
a new secret takes effect without a restart. No raising frame and no message contains the text of a file or
the output of a command.
"""

import os
import stat
import threading
from collections.abc import Callable, Iterable
from typing import Any

import attrs

from thrive_learning._clock import monotonic
from thrive_learning.credentials import Secret
from thrive_learning.errors import ConfigurationError

#: The time limit of a command, in seconds. Its user may need to unlock a password manager.
COMMAND_LIMIT_S = 60.0
#: How long the secret of a command is reused before the command runs again, in seconds.
COMMAND_KEPT_S = 300.0

_MOST_BYTES = 65_536


@attrs.frozen
class SecretFile:
    """A file that contains a secret in UTF-8, optionally followed by a line end. It is read each time.

    Args:
        path: The file.
    """

    path: str

    def __call__(self) -> str:
        """Return the secret.

        Raises:
            ConfigurationError: The file cannot be read or has no valid secret. The message names the file.
        """
        found = _in_file(self.path)
        if isinstance(found, Secret):
            return found.reveal()
        raise ConfigurationError(found)

    def __repr__(self) -> str:
        return f"SecretFile({self.path!r})"


def _tuple_of(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(words)


@attrs.define(unsafe_hash=True)
class SecretCommand:
    """A command that prints a secret, such as that of a password manager.

    It runs without a shell, input, and terminal, for at most `COMMAND_LIMIT_S`, until the program exits, even
    if a child keeps the output open. Its stderr is discarded. Its secret is reused for `COMMAND_KEPT_S`.

    Args:
        command: The program and its arguments.
        clock: Returns monotonic seconds.
    """

    command: tuple[str, ...] = attrs.field(converter=_tuple_of)
    _clock: Callable[[], float] = attrs.field(default=monotonic, kw_only=True, eq=False, alias="clock")
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False, eq=False)
    _kept: tuple[Secret, float] | None = attrs.field(default=None, init=False, eq=False)

    def __call__(self) -> str:
        """Return the secret.

        Raises:
            ConfigurationError: The command fails or prints no valid secret. The message names the program.
        """
        # Many threads may need it at once, and a password manager may prompt each time. The time limit is for
        # a child process that was forked while another thread held the lock.
        held = self._lock.acquire(timeout=COMMAND_LIMIT_S)
        try:
            found = self._current()
        finally:
            if held:
                self._lock.release()
        if isinstance(found, Secret):
            return found.reveal()
        raise ConfigurationError(found)

    def _current(self) -> Secret | str:
        if self._kept is not None and self._clock() < self._kept[1]:
            return self._kept[0]
        found = _from_command(self.command)
        self._kept = (found, self._clock() + COMMAND_KEPT_S) if isinstance(found, Secret) else None
        return found

    def __repr__(self) -> str:
        return f"SecretCommand({self.command[0]!r})"  # its arguments may be confidential

    def __reduce__(self) -> tuple[type["SecretCommand"], tuple[Any, ...]]:
        return SecretCommand, (self.command,)  # without the secret


def secret_from(content: bytes) -> Secret | str:
    """Return the secret in bytes from a user, or why they are not a secret and what to do.

    Args:
        content: UTF-8, with or without a byte-order mark. One trailing line end is removed.
    """
    if len(content) > _MOST_BYTES:
        return f"the secret is longer than {_MOST_BYTES // 1024} KiB. Save only the secret"
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "the secret is UTF-16. Save it as UTF-8"
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return "the secret is not UTF-8. Save it as UTF-8"
    try:
        return Secret(text.removesuffix("\n").removesuffix("\r"))
    except ConfigurationError as error:
        return str(error)


def exposure_of(path: str) -> str | None:
    """Return which other users can read or change a file with a secret; None if none can, or on Windows."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - a path can be one that pathlib rejects
    except (OSError, ValueError):
        return None  # reading the file reports why
    if os.name == "nt" or not mode & 0o077:
        return None
    return f"other users can {'change' if mode & 0o022 else 'read'} {path} (mode {stat.S_IMODE(mode):04o})"


def _in_file(path: str) -> Secret | str:
    """Return the secret in a file, or why it has none."""
    name = f"the secret file {path!r}"
    try:
        # O_NONBLOCK, because opening a FIFO would wait for a writer.
        opened = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        return f"{name} cannot be read: {error.strerror}. Check its path and permissions"
    except ValueError:  # a NUL character, or one that the system's encoding lacks
        return f"{name} cannot be read: its name is not valid on this system"
    try:
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            return f"{name} is not a regular file. Use one, because it is read whenever the secret is needed"
        with os.fdopen(opened, "rb", closefd=False) as file:
            found = secret_from(file.read(_MOST_BYTES + 1))
    except OSError as error:
        return f"{name} cannot be read: {error.strerror}. Check its path and permissions"
    finally:
        os.close(opened)
    return f"{name}: {found}" if isinstance(found, str) else found


def _from_command(command: tuple[str, ...]) -> Secret | str:
    """Return the secret that a command prints, or why it has none."""
    from thrive_learning._settings.secret_process import output_of  # noqa: PLC0415 - few secrets come from commands

    name = f"the secret command {command[0]!r}"
    output = output_of(command, COMMAND_LIMIT_S, _MOST_BYTES)
    if isinstance(output, str):
        return f"{name} {output}"
    found = secret_from(output.getvalue())
    return f"{name}: {found}" if isinstance(found, str) else found
