"""The file of profiles: where it is, and what stands in which line of it. What it means is in `settings`.

It is TOML, a table for each profile. What holds the file's text never stands in a frame that raises: there
may be secrets in it.
"""

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

from thrive_learning._home import config_folder, expand_home
from thrive_learning.errors import ConfigurationError

#: The profile that is read unless another one is asked for.
DEFAULT_PROFILE = "default"

_FILE = "config.toml"
_MOST_BYTES = 1 << 20
_POSITION = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


def config_file() -> Path | None:
    """Return the path of the file of profiles, whether it exists or not; None if there is no home folder.

    It is the path in THRIVE_CONFIG_FILE, or else `config.toml` in the platform's folder.

    Raises:
        ConfigurationError: THRIVE_CONFIG_FILE begins with the home folder of nobody.
    """
    named = os.environ.get("THRIVE_CONFIG_FILE")
    if not named:
        folder = config_folder(os.environ, sys.platform)
        return None if folder is None else folder / _FILE
    found = expand_home(named)
    if isinstance(found, str):
        raise ConfigurationError(f"THRIVE_CONFIG_FILE: {found}. Give an absolute path")
    return found


class ProfileFile(NamedTuple):
    """What stands in the file of profiles. Its repr shows none of it.

    Attributes:
        path: The file; None where there is no home folder to look in.
        absence: Why nothing was read, in words; None if it was.
        tables: The values by profile and key.
        lines: The line, from 1, in which a profile (`(profile, "")`) or a key of it begins.
        is_private: Whether its owner alone may read it; true where files have no such mode.
    """

    path: Path | None
    absence: str | None = None
    tables: Mapping[str, Mapping[str, Any]] = {}
    lines: Mapping[tuple[str, str], int] = {}
    is_private: bool = True

    def __repr__(self) -> str:
        return f"<ProfileFile {self.path}>"

    def place(self, profile: str, key: str = "") -> str:
        """Say where a key stands: file and line."""
        line = self.lines.get((profile, key))
        return f"{self.path}" if line is None else f"{self.path}:{line}"

    def lack_of(self, profile: str) -> str | None:
        """Say that there is no profile of this name, and why; None if there is."""
        if profile in self.tables:
            return None
        if self.absence is not None:
            return f"there is no profile {profile!r}: {self.absence}"
        names = ", ".join(self.tables) or "none"
        return f"there is no profile {profile!r} in {self.path}, which has: {names}"


def load_profiles(path: Path | None) -> ProfileFile:
    """Read the file of profiles. One that is not there or may not be read holds none.

    Raises:
        ConfigurationError: It is no TOML, or not a table for each profile; the message names file and line.
    """
    found = _loaded(path)
    if isinstance(found, str):
        raise ConfigurationError(found)
    return found


def _loaded(path: Path | None) -> ProfileFile | str:
    """Give the file, or what is wrong with it."""
    found = _read(path)
    if isinstance(found, ProfileFile):
        return found
    content, is_private = found
    try:
        text = content.decode("utf-8-sig")  # editors of Windows begin a file with a mark
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return f"{path}:{line}: this is not UTF-8"
    tables = parsed(text)
    if isinstance(tables, str):
        return f"{path}:{tables}"
    lines = lines_of(text)
    for name, table in tables.items():
        if not isinstance(table, dict):
            return (
                f"{path}:{lines[name, '']}: {name!r} stands outside of a profile: put it below a line such "
                f"as [{DEFAULT_PROFILE}]"
            )
    return ProfileFile(path, None, tables, lines, is_private=is_private)


def _read(path: Path | None) -> tuple[bytes, bool] | ProfileFile:
    """Give the content, and whether only its owner may read it; or a file of profiles that holds none."""
    if path is None:
        return ProfileFile(None, "there is no home folder to look for a file of profiles in")
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES)  # nobody writes a megabyte of settings
            mode = os.fstat(file.fileno()).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return ProfileFile(path, f"there is no file {path}")
    except OSError as error:
        return ProfileFile(path, f"{path} cannot be read ({error.strerror})")
    return content, os.name == "nt" or not mode & 0o077


def parsed(text: str) -> dict[str, Any] | str:
    """Parse TOML: give its tables, or the line and what is wrong there."""
    import tomllib  # noqa: PLC0415 - most clients have no file of profiles

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
    """Give the lines in which profiles and their keys begin; tomllib does not say it.

    Args:
        text: Valid TOML. It is cut into statements: the shortest runs of lines that are valid alone.
    """
    import tomllib  # noqa: PLC0415 - see above

    found: dict[tuple[str, str], int] = {}
    begin, statement, profile = 1, "", ""
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        statement += line
        try:
            document = tomllib.loads(statement)
        except ValueError:
            continue  # it goes on in the next line
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
