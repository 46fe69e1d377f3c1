"""The token store in files."""

import contextlib
import functools
import os
import re
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING

from thrive_learning._busy_files import when_free
from thrive_learning._clock import monotonic
from thrive_learning._home import cache_folder, expand_home
from thrive_learning._limits import bucket
from thrive_learning.errors import ConfigurationError
from thrive_learning.token_stores._extras import require
from thrive_learning.token_stores._folder import (
    NO_LINK,
    NO_WAIT,
    FolderError,
    PrivateFolder,
    check_mine,
    check_replaceable,
)
from thrive_learning.token_stores.stored_token import EntryError, StoredToken

if TYPE_CHECKING:
    import filelock

_LONGEST_ENTRY_BYTES = 1 << 20
_KEPT_S = 7 * 86_400.0

# Names that no other program uses, because other programs may use the same folder.
_ENTRY, _LOCK, _NEW = "thrive-token-{}.json", "thrive-token-{}.lock", "thrive-token-{}."
_LIMIT, _LIMIT_LOCK = "thrive-limit-{}.txt", "thrive-limit-{}.lock"
_KEY = re.compile(r"[0-9a-f]{32}")
_OURS = re.compile(
    r"thrive-(?:token-[0-9a-f]{32}\.(?:json|lock|[a-z0-9_]{8}\.new)|limit-[0-9a-f]{32}\.(?:txt|lock))"
)

# How long a caller waits for the lock of a limit, which others hold for less than a millisecond, and the
# interval between two looks.
_LOCK_WAIT_S, _LOCK_LOOK_S = 0.5, 0.002
_LONGEST_STATE_BYTES = 1 << 10


class FileTokenStore:
    """Tokens and rate limits in files, for all processes of one user on this machine.

    The folder has mode 0700 and the files 0600, because each file contains a token in plain text. The store
    does not use a folder that is a link, belongs to another user, or is accessible to other users. It
    replaces and deletes only regular files of this user whose names it chose itself. On Windows, the
    permissions of the user's own folder apply.

    Args:
        folder: The folder of the files; `~` stands for the home folder. None for `thrive-learning/tokens` in
            the platform's cache folder.

    Raises:
        ConfigurationError: The extra `cache` is not installed, or the home folder is unknown.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        require("cache", "filelock")
        if folder is None:
            own = cache_folder(os.environ, sys.platform)
            found = "the home folder is unknown" if own is None else own / "tokens"
        else:
            found = expand_home(os.fspath(folder))
        if isinstance(found, str):
            raise ConfigurationError(f"FileTokenStore(folder): {found}. Pass the path of a folder.")
        self._folder = PrivateFolder(found)

    @property
    def folder(self) -> Path:
        """The folder of the files."""
        return self._folder.path

    def load(self, key: str) -> StoredToken | None:
        """Return the token of a key."""
        if not os.path.lexists(self.folder):
            return None
        self._folder.check()
        entry = self._path(_ENTRY, key)
        check_replaceable(entry)
        try:
            opened = when_free(lambda: os.open(entry, os.O_RDONLY | NO_LINK | NO_WAIT))
        except FileNotFoundError:
            return None
        try:
            check_mine(os.fstat(opened), stat.S_ISREG, "its entry", EntryError)
            with os.fdopen(
                opened, "rb", closefd=False
            ) as file:  # after the check, because it rejects folders
                text = file.read(_LONGEST_ENTRY_BYTES)
        finally:
            os.close(opened)
        return StoredToken.from_json(text)

    def save(self, key: str, token: StoredToken) -> None:
        """Write a token. A process that reads at the same time gets the old token or the new one."""
        self._folder.make()
        self._folder.sweep(_OURS, _KEPT_S)
        entry = self._path(_ENTRY, key)
        check_replaceable(entry)
        # The file has mode 0600. A crash of the machine may leave it empty, which counts as no token.
        opened, name = tempfile.mkstemp(".new", _NEW.format(key), self.folder)
        try:
            with os.fdopen(opened, "w", encoding="ascii") as file:
                file.write(token.to_json())
            when_free(lambda: Path(name).replace(entry))
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def forget(self, key: str, value: str) -> None:
        """Remove a token, unless another has replaced it."""
        token = self.load(key)
        if token is not None and token.value == value:
            entry = self._path(_ENTRY, key)
            when_free(lambda: entry.unlink(missing_ok=True))

    def try_lock(self, key: str, lease_s: float) -> Callable[[], object] | None:
        """Take the lock of a key, unless another process holds it. It is released when its holder exits."""
        import filelock  # noqa: PLC0415 - of an extra

        del lease_s  # only the holder can release a lock of the system
        self._folder.make()
        path = self._path(_LOCK, key)
        check_replaceable(path)
        # A new object each time, because any thread may release the lock.
        lock = filelock.FileLock(path, mode=0o600, thread_local=False)
        return lock.release if _is_acquired(lock) else None

    def take(self, key: str, *, per_second: float, burst: float, longest_wait_s: float) -> float:
        """Reserve the next request, unless the caller cannot wait until its time."""
        with self._state(key) as file:
            wait_s, state = bucket.take(
                _read_state(file),
                monotonic(),
                per_second=per_second,
                burst=burst,
                longest_wait_s=longest_wait_s,
            )
            if state is not None:
                _write_state(file, state)
        return wait_s

    def slow(
        self, key: str, *, pause_s: float = 0.0, per_second: float | None = None, for_s: float = 0.0
    ) -> None:
        """Apply a pause or a lower rate."""
        with self._state(key) as file:
            state = bucket.slow(
                _read_state(file), monotonic(), pause_s=pause_s, per_second=per_second, for_s=for_s
            )
            _write_state(file, state)

    @contextlib.contextmanager
    def _state(self, key: str) -> Generator[int]:
        """Open the file of a limit, under its lock."""
        import filelock  # noqa: PLC0415 - of an extra

        path, lock_path = self._path(_LIMIT, key), self._path(_LIMIT_LOCK, key)
        self._folder.make()
        check_replaceable(path)
        check_replaceable(lock_path)
        lock = filelock.FileLock(lock_path, mode=0o600, thread_local=False)
        ends_at = monotonic() + _LOCK_WAIT_S
        while not _is_acquired(lock):  # with a clock that test tools do not stop, unlike filelock's
            if monotonic() >= ends_at:
                raise FolderError(
                    f"{lock_path.name} in its folder has been locked for {_LOCK_WAIT_S} seconds"
                )
            time.sleep(_LOCK_LOOK_S)
        try:
            if not os.path.lexists(path):
                self._folder.sweep(_OURS, _KEPT_S)
            # Written in place, because a crash in between leaves a state that is replaced.
            opened = when_free(lambda: os.open(path, os.O_RDWR | os.O_CREAT | NO_LINK | NO_WAIT, 0o600))
            try:
                check_mine(os.fstat(opened), stat.S_ISREG, "its limit", EntryError)
                yield opened
            finally:
                os.close(opened)
        finally:
            lock.release()

    def _path(self, name: str, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise ValueError("A key of a token store has 32 hexadecimal digits.")
        return self.folder / name.format(key)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.folder)!r})"


def _is_acquired(lock: "filelock.BaseFileLock") -> bool:
    """Acquire a lock without waiting, or return False."""
    from filelock import Timeout  # noqa: PLC0415 - of an extra

    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    return True


@functools.cache
def _boot() -> str:
    """Return the name of this run of the system, whose end restarts the monotonic clock; `-` if unknown."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:  # not Linux
        return "-"


def _read_state(file: int) -> bucket.BucketState | None:
    text = os.read(file, _LONGEST_STATE_BYTES).decode("ascii", errors="replace")
    boot, _, state = text.partition(" ")
    return bucket.decode(state) if boot == _boot() else None


def _write_state(file: int, state: bucket.BucketState) -> None:
    os.ftruncate(file, 0)
    os.lseek(file, 0, os.SEEK_SET)
    os.write(file, f"{_boot()} {bucket.encode(state)}".encode("ascii"))
