"""Create, open, replace, and remove regular files. Links are not followed, and other files are left alone."""

import contextlib
import io
import os
import re
import secrets
import stat
from collections.abc import Generator
from pathlib import Path
from typing import BinaryIO

from thrive_learning._busy_files import when_free
from thrive_learning.errors import ConfigurationError

# Not every platform has all of these. Without O_NONBLOCK, opening a FIFO would wait for its other end.
_FLAGS: int = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)

_TEMPORARY = re.compile(r"\.thrive-[0-9a-f]{16}\.tmp", re.ASCII)

_KINDS = {
    stat.S_IFREG: "a regular file",
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a disk",
    stat.S_IFSOCK: "a socket",
}


def kind_of(path: Path, *, follow: bool = False) -> str | None:
    """Return the kind of file at a path, such as "a FIFO"; None if nothing is there.

    Args:
        path: The path.
        follow: Look at the target of a link instead of the link itself.

    Raises:
        OSError: The file cannot be examined.
    """
    try:
        mode = path.stat(follow_symlinks=follow).st_mode
    except FileNotFoundError:
        return None
    return _KINDS.get(stat.S_IFMT(mode), "a special file")


def is_there(path: Path) -> bool:
    """Return whether a regular file is at a path.

    Raises:
        ConfigurationError: Another kind of file is there.
        OSError: The file cannot be examined.
    """
    kind = kind_of(path)
    if kind not in (None, "a regular file"):
        raise ConfigurationError(f"{path} is {kind}, not a regular file. Move it, or choose another path.")
    return kind is not None


def is_folder(path: Path) -> bool:
    """Return whether a folder is at a path.

    Raises:
        ConfigurationError: Something else is there, such as a link to a folder.
        OSError: The path cannot be examined.
    """
    kind = kind_of(path)
    if kind not in (None, "a folder"):
        raise ConfigurationError(f"{path} is {kind}, not a folder. Move it, or choose another folder.")
    return kind is not None


def make_folder(path: Path) -> bool:
    """Create a folder and its parents, unless there is one, and return whether it was created.

    Raises:
        ConfigurationError: Something else is there, such as a link to a folder.
        OSError: The folder cannot be created.
    """
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        is_folder(path)
        return False
    return True


def open_regular(path: Path) -> io.FileIO:
    """Open an existing regular file to read it and append to it.

    Raises:
        ConfigurationError: The file is not a regular file.
        OSError: The file cannot be opened.
    """
    return _regular(path, os.O_RDWR | os.O_APPEND, "r+b")


def open_to_read(path: Path) -> io.BufferedReader:
    """Open an existing regular file to read it.

    Raises:
        ConfigurationError: The file is not a regular file.
        OSError: The file cannot be opened.
    """
    return io.BufferedReader(_regular(path, os.O_RDONLY, "rb"))


def _regular(path: Path, flags: int, mode: str) -> io.FileIO:
    is_there(path)
    file = io.FileIO(path, mode, opener=lambda name, _: os.open(name, flags | _FLAGS))
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):  # it was replaced in between
        file.close()
        raise ConfigurationError(f"{path} is not a regular file. Choose another path.")
    return file


def is_at(file: io.FileIO, path: Path) -> bool:
    """Return whether an open file is still the one at a path."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.lstat())
    except FileNotFoundError:
        return False


def create(path: Path, mode: int = 0o666) -> io.FileIO:
    """Create a file to read it and append to it.

    Args:
        path: The path.
        mode: The permissions of the file, before the umask.

    Raises:
        FileExistsError: Something is there already, including a broken link.
        OSError: The file cannot be created.
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | _FLAGS
    return io.FileIO(path, "r+b", opener=lambda name, _: os.open(name, flags, mode))


def remove_incomplete(folder: Path) -> None:
    """Remove the files in a folder that `replacing` has left because its process was killed.

    Raises:
        OSError: A file cannot be removed.
    """
    for path in folder.iterdir():
        if _TEMPORARY.fullmatch(path.name) and kind_of(path) == "a regular file":
            path.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Remove a regular file, if there is one.

    Raises:
        ConfigurationError: The file is not a regular file.
        OSError: The file cannot be removed.
    """
    if is_there(path):
        path.unlink()


@contextlib.contextmanager
def replacing(
    path: Path, mode: int = 0o666, *, folder: Path | None = None
) -> Generator[BinaryIO, None, None]:
    """Write a new file that replaces the one at a path when it is complete and on disk.

    Until then, it has a random name. If anything fails, it is removed.

    Args:
        path: The path.
        mode: The permissions of the new file, before the umask.
        folder: The folder of the incomplete file, on the same file system; None for that of the path.

    Raises:
        ConfigurationError: The file at the path is not a regular file.
        OSError: The file cannot be written.
    """
    is_there(path)
    temporary = (folder or path.parent) / f".thrive-{secrets.token_hex(8)}.tmp"
    try:
        with io.BufferedWriter(create(temporary, mode)) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        is_there(path)
        when_free(lambda: temporary.replace(path))
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Flush the entries of a folder to disk, where the system can do that."""
    with contextlib.suppress(OSError):  # Windows cannot open a folder, and some file systems cannot sync one
        folder = os.open(path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
