"""A folder that only this user can enter, for files that only this user can read."""

import contextlib
import os
import re
import stat
import time
from collections.abc import Callable
from pathlib import Path

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class FolderError(OSError):
    """A folder cannot be used."""


class PrivateFolder:
    """A folder of mode 0700 of this user, which is not a link.

    Args:
        path: The path of the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path: Path = path

    def make(self) -> None:
        """Create the folder if it is missing, and check it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not os.path.lexists(self.path):
            self.path.mkdir(mode=0o700, exist_ok=True)
        self.check()

    def check(self) -> None:
        """Raise `FolderError` unless only this user can enter the folder."""
        status = self.path.lstat()
        if stat.S_ISLNK(status.st_mode):
            raise FolderError("its folder is a link. Pass the folder that it points to")
        check_mine(status, stat.S_ISDIR, "its folder", FolderError)

    def sweep(self, names: re.Pattern[str], older_than_s: float) -> None:
        """Remove files of this user with these names that have not changed for this many seconds."""
        oldest = time.time() - older_than_s
        for path in self.path.iterdir():
            if not names.fullmatch(path.name):
                continue
            with contextlib.suppress(OSError):  # another process may have removed it
                status = path.lstat()
                if status.st_mtime < oldest and _is_file_of_mine(status):
                    path.unlink()


# On Windows, ordinary users cannot create links, and folders have no FIFOs.
NO_LINK: int = getattr(os, "O_NOFOLLOW", 0)
NO_WAIT: int = getattr(os, "O_NONBLOCK", 0)


def _is_file_of_mine(status: os.stat_result) -> bool:
    is_mine = not hasattr(os, "geteuid") or status.st_uid == os.geteuid()
    return is_mine and stat.S_ISREG(status.st_mode)


def check_replaceable(path: Path) -> None:
    """Raise `FolderError` unless a path is free or is a file that this user may replace."""
    if os.path.lexists(path) and not _is_file_of_mine(path.lstat()):
        raise FolderError(f"{path.name} in its folder is not a regular file of this user. Remove it")


def check_mine(
    status: os.stat_result, is_kind: Callable[[int], bool], what: str, error: Callable[[str], Exception]
) -> None:
    """Raise an error unless a file or folder is of a kind, belongs to this user, and is closed to others."""
    if not is_kind(status.st_mode):
        raise error(f"{what} is not of the expected kind")
    if hasattr(os, "geteuid"):
        if status.st_uid != os.geteuid():
            raise error(f"{what} belongs to another user")
        if status.st_mode & _OTHERS:
            raise error(
                f"{what} is open to other users (mode {stat.S_IMODE(status.st_mode):04o}). "
                "Run chmod go= on it"
            )
