"""Reads the config file and the line of each key. `layers` interprets the keys.

The file is TOML, with a table per profile. No raising frame has the file's text, which may contain secrets.
"""

import errno
import os
import re
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

from thrive_learning._home import config_folder, expand_home
from thrive_learning.errors import ConfigurationError

#: The default profile.
DEFAULT_PROFILE = "default"

_VARIABLE = "THRIVE_CONFIG_FILE"

_FILE = "config.toml"
_MOST_BYTES = 1 << 20
_POSITION = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


def config_file() -> Path | None:
    """Return the path of the config file, whether it exists or not; None without a home folder.

    It is the path in THRIVE_CONFIG_FILE, or else `config.toml` in the platform's folder.

    Raises:
        ConfigurationError: THRIVE_CONFIG_FILE begins with the home folder of an unknown user.
    """
    named = os.environ.get(_VARIABLE)
    if not named:
        folder = config_folder(os.environ, sys.platform)
        return None if folder is None else folder / _FILE
    found = expand_home(named)
    if isinstance(found, str):
        raise ConfigurationError(f"{_VARIABLE}: {found}. Use an absolute path")
    return found


class ProfileFile(NamedTuple):
    """The contents of the config file. They are not in its repr.

    Attributes:
        path: The file; None without a home folder.
        absence: Why nothing was read; None if the file was read.
        tables: The values by profile and key.
        lines: The line, from 1, in which a profile (`(profile, "")`) or a key of it begins.
        is_private: Whether only its owner can read it; True where files have no such mode.
        is_unreadable: Whether the file may exist but this user cannot read it.
    """

    path: Path | None
    absence: str | None = None
    tables: Mapping[str, Mapping[str, Any]] = {}
    lines: Mapping[tuple[str, str], int] = {}
    is_private: bool = True
    is_unreadable: bool = False

    def __repr__(self) -> str:
        return f"<ProfileFile {self.path}>"

    def place(self, profile: str, key: str = "") -> str:
        """Return the file and the line of a key."""
        line = self.lines.get((profile, key))
        return f"{self.path}" if line is None else f"{self.path}:{line}"

    def lack_of(self, profile: str) -> str | None:
        """Return a message that a profile does not exist, and why; None if it exists."""
        if profile in self.tables:
            return None
        if self.absence is not None:
            return f"cannot find profile {profile!r}, because {self.absence}"
        names = ", ".join(self.tables) or "none"
        return f"cannot find profile {profile!r} in {self.path}, which has: {names}"


def load_profiles(path: Path | None) -> ProfileFile:
    """Read the config file. A file that does not exist, or that this user cannot read, has no profiles.

    Raises:
        ConfigurationError: It is not a regular file, cannot be read, can be changed by other users, is not
            TOML, or is not a table for each profile. The message names the file, and the line if known.
    """
    found = _loaded(path)
    if isinstance(found, str):
        raise ConfigurationError(found)
    return found


def _loaded(path: Path | None) -> ProfileFile | str:
    """Return the file, or what is wrong with it."""
    found = _read(path)
    if isinstance(found, (ProfileFile, str)):
        return found
    content, is_private = found
    try:
        text = content.decode("utf-8-sig")  # editors on Windows write a byte-order mark
    except UnicodeDecodeError as error:
        if content.startswith((b"\xff\xfe", b"\xfe\xff")):
            return f"{path} is UTF-16. Save it as UTF-8"
        line = content.count(b"\n", 0, error.start) + 1
        return f"{path}:{line}: this line is not UTF-8. Save the file as UTF-8"
    tables = parsed(text)
    if isinstance(tables, str):
        return f"{path}:{tables}"
    lines = lines_of(text)
    for name, table in tables.items():
        if not isinstance(table, dict):
            return (
                f"{path}:{lines[name, '']}: {name!r} is outside a profile. Put it below a line such "
                f"as [{DEFAULT_PROFILE}]"
            )
    return ProfileFile(path, None, tables, lines, is_private=is_private)


def _read(  # noqa: PLR0911 - one return per cause
    path: Path | None,
) -> tuple[bytes, bool] | ProfileFile | str:
    """Return the content and whether it is private; a file without profiles; or the problem."""
    if path is None:
        return ProfileFile(None, "the home folder of the config file is unknown")
    try:
        # O_NONBLOCK, because opening a FIFO would wait for a writer.
        opened = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        return _unopened(path, error)
    except ValueError:
        return f"{str(path)!r} is not a valid path on this system. Set {_VARIABLE} to another file"
    try:
        status = os.fstat(opened)
        problem = _problem_of(path, status)
        if problem is not None:
            return problem
        with os.fdopen(opened, "rb", closefd=False) as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        return _unopened(path, error)
    finally:
        os.close(opened)
    if len(content) > _MOST_BYTES:
        return f"{path} is larger than 1 MiB. Set {_VARIABLE} to a config file"
    return content, os.name == "nt" or not status.st_mode & 0o077


def _unopened(path: Path, error: OSError) -> ProfileFile | str:
    if error.errno in {errno.ENOENT, errno.ENOTDIR}:
        return ProfileFile(path, f"{path} does not exist")
    if error.errno == errno.EACCES:
        # A service may run with another user's home folder, and with all settings in its environment.
        return ProfileFile(path, f"{path} cannot be read ({error.strerror})", is_unreadable=True)
    return f"{path} cannot be read ({error.strerror}). Correct it, or set {_VARIABLE} to another file"


def _problem_of(  # noqa: PLR0911 - one return per cause
    path: Path, status: os.stat_result
) -> ProfileFile | str | None:
    """Return why a file cannot be read or trusted; None if it can.

    Its commands run, and its URLs get the secrets, so only this user or root may be able to change it.

    Source: ssh_config(5), which rejects a file that other users can write to.
    """
    if not stat.S_ISREG(status.st_mode):
        if is_null_device(path):
            return ProfileFile(path, f"{path} is empty")
        return f"{path} is not a regular file. Set {_VARIABLE} to a regular file"
    if not hasattr(os, "geteuid"):
        return None
    owners = {status.st_uid, path.lstat().st_uid}  # also the owner of a link
    if owners - {0, os.geteuid()}:
        return f"{path} belongs to another user, and its commands would run. Use your own copy of it"
    if status.st_mode & 0o022:
        mode = f"mode {stat.S_IMODE(status.st_mode):04o}"
        advice = f"Check it, then run chmod go-w {path}"
        return f"other users can change {path} ({mode}), and its commands would run. {advice}"
    for folder in {path.parent, Path(os.path.realpath(path)).parent}:
        if folder.stat().st_mode & (stat.S_IWOTH | stat.S_ISVTX) == stat.S_IWOTH:
            advice = f"Check it, then run chmod o-w {folder}"
            return f"other users can replace {path}, and its commands would run. {advice}"
    return None


def is_null_device(path: Path | None) -> bool:
    """Return whether a path is that of the null device, which stands for no config file."""
    return path is not None and os.path.realpath(path) == os.path.realpath(os.devnull)


def parsed(text: str) -> dict[str, Any] | str:
    """Return the tables of a TOML document, or the line and what is wrong there."""
    import tomllib  # noqa: PLC0415 - most clients have no config file

    try:
        return tomllib.loads(text)
    except RecursionError:
        return "1: this is nested too deeply"
    except ValueError as error:  # a TOMLDecodeError, or a number that is too long
        problem = str(error)
    position = _POSITION.search(problem)
    end = text.count("\n") + (not text.endswith("\n"))
    line = int(position[1]) if position and position[1] else end
    return f"{line}: this is not TOML: {_POSITION.sub('', problem)}"


def lines_of(text: str) -> dict[tuple[str, str], int]:
    """Return the lines in which profiles and their keys begin, which tomllib does not report.

    Args:
        text: Valid TOML. It is split into statements, the shortest runs of lines that are valid alone.
    """
    import tomllib  # noqa: PLC0415 - see above

    found: dict[tuple[str, str], int] = {}
    begin, statement, profile = 1, "", ""
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        statement += line
        try:
            document = tomllib.loads(statement)
        except ValueError:
            continue  # the statement continues in the next line
        is_header = statement.lstrip().startswith("[")
        for name, value in document.items():
            if is_header:
                profile = name
                found.setdefault((name, ""), begin)
            elif profile:
                found.setdefault((profile, name), begin)
            else:
                found.setdefault((name, ""), begin)
                inner = cast("dict[str, object]", value) if isinstance(value, dict) else {}
                found.update({(name, key): begin for key in inner if (name, key) not in found})
        begin, statement = number + 1, ""
    return found
