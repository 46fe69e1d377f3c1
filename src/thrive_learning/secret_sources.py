"""Where a secret is that no variable and no profile should hold: in a file, or with a password manager.

Both are functions that give a secret, as `Secret` takes them: it is asked for again, and a new one takes
effect without a restart. Neither its text nor what a command says shows in a frame that raises or a message.
"""

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from thrive_learning.credentials import Secret
from thrive_learning.errors import ConfigurationError

#: How long a command may take: somebody may have to unlock the password manager. Seconds.
COMMAND_LIMIT_S = 60.0
#: How long what a command gave is used before it is run again. Seconds.
COMMAND_KEPT_S = 300.0

_MOST_BYTES = 65_536


class SecretFile:
    """A file that holds a secret and nothing else, but for a line end behind it; it is read each time.

    Args:
        path: The file.
    """

    def __init__(self, path: str) -> None:
        self.path: str = path

    def __call__(self) -> str:
        """Give the secret.

        Raises:
            ConfigurationError: The file cannot be read, or holds no secret; the message names the file.
        """
        found = _in_file(self.path)
        if isinstance(found, Secret):
            return found.reveal()
        raise ConfigurationError(found)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretFile) and self.path == other.path

    def __hash__(self) -> int:
        return hash((SecretFile, self.path))

    def __repr__(self) -> str:
        return f"SecretFile({self.path!r})"


class SecretCommand:
    """A command that prints a secret, such as a password manager's.

    It is run without a shell, without input, and for a limited time; what it writes to stderr is thrown away.
    Its secret is used for a while before it is run again.

    Args:
        command: The program and its arguments.
        clock: Gives seconds that only go up.
    """

    def __init__(self, command: Sequence[str], *, clock: Callable[[], float] = time.monotonic) -> None:
        self.command: tuple[str, ...] = tuple(command)
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: tuple[Secret, float] | None = None

    def __call__(self) -> str:
        """Give the secret.

        Raises:
            ConfigurationError: The command fails or gives no secret; the message names the program.
        """
        # Many threads may need it at once, and a password manager may ask its owner each time. The time limit
        # is for a child that was forked while another thread held the lock.
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

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretCommand) and self.command == other.command

    def __hash__(self) -> int:
        return hash((SecretCommand, self.command))

    def __repr__(self) -> str:
        return f"SecretCommand({self.command[0]!r})"  # its arguments are nobody's business

    def __reduce__(self) -> tuple[type["SecretCommand"], tuple[Any, ...]]:
        return SecretCommand, (self.command,)  # without the secret


def _in_file(path: str) -> Secret | str:
    """Give what a file holds, or why that is no secret."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(_MOST_BYTES)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "its name is none"
        return f"the file {path!r}, which should hold a secret, cannot be read: {reason}"
    return _secret(content, f"the file {path!r}")


def _from_command(command: tuple[str, ...]) -> Secret | str:
    """Give what a command prints, or why that is no secret."""
    import subprocess  # noqa: PLC0415 - few secrets come from commands

    name = f"the command {command[0]!r}, which should print a secret,"
    try:
        done = subprocess.run(  # noqa: S603 - the user's own settings name it, and no shell reads it
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=COMMAND_LIMIT_S,
        )
    except subprocess.TimeoutExpired:
        return f"{name} did not end within {COMMAND_LIMIT_S:g} s"
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "its arguments are none"
        return f"{name} cannot be run: {reason}"
    if done.returncode:
        return f"{name} ended with the code {done.returncode}: run it yourself to see why"
    return _secret(done.stdout, f"the command {command[0]!r}")


def _secret(content: bytes, origin: str) -> Secret | str:
    """Give the text, but for the line end behind it, as a secret, or say why it is none."""
    try:
        return Secret(content.decode().removesuffix("\n").removesuffix("\r"))
    except UnicodeDecodeError:
        return f"{origin} gives what is not UTF-8"
    except ConfigurationError as error:
        return f"{origin}: {error}"
