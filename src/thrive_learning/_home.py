"""The user's own folders: home, settings, and cache.

The library and the command must use the same folders, no matter which extras are installed.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

_NAME = "thrive-learning"


def home_folder(environment: Mapping[str, str], platform: str) -> Path | None:
    """Return the user's home folder; None if it is unknown.

    A HOME that is empty or relative counts as missing, because the folder of settings would otherwise be
    below `/` or the working folder.

    Args:
        environment: The environment variables.
        platform: The platform as in `sys.platform`.
    """
    if platform == "win32":
        named = environment.get("USERPROFILE", "")
        return Path(named) if named else None
    if os.path.isabs(named := environment.get("HOME", "")):  # noqa: PTH117 - Path("") is "."
        return Path(named)
    import pwd  # noqa: PLC0415 - not on Windows, and rarely needed

    try:
        named = pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:  # a container often runs with a user ID that has no name
        return None
    return Path(named) if os.path.isabs(named) else None  # noqa: PTH117


def config_folder(environment: Mapping[str, str], platform: str) -> Path | None:
    """Return the folder of this package's settings; None without a home folder.

    Args:
        environment: The environment variables.
        platform: The platform as in `sys.platform`.

    Source: the XDG Base Directory Specification; Apple's File System Programming Guide; Microsoft's
        documentation of KNOWNFOLDERID.
    """
    below_home = {"win32": "AppData/Local", "darwin": "Library/Application Support"}.get(platform, ".config")
    return _folder(environment, platform, "XDG_CONFIG_HOME", below_home)


def cache_folder(environment: Mapping[str, str], platform: str) -> Path | None:
    """Return the folder of this package's caches; None without a home folder.

    Args:
        environment: The environment variables.
        platform: The platform as in `sys.platform`.

    Source: see `config_folder`.
    """
    below_home = {"win32": "AppData/Local", "darwin": "Library/Caches"}.get(platform, ".cache")
    folder = _folder(environment, platform, "XDG_CACHE_HOME", below_home)
    return folder / "Cache" if folder is not None and platform == "win32" else folder


def _folder(environment: Mapping[str, str], platform: str, xdg_variable: str, below_home: str) -> Path | None:
    named = environment.get("LOCALAPPDATA" if platform == "win32" else xdg_variable, "")
    # The XDG specification requires ignoring relative paths. Windows paths are not absolute on other systems.
    if named and (platform == "win32" or os.path.isabs(named)):  # noqa: PTH117
        return Path(named) / _NAME
    home = home_folder(environment, platform)
    return None if home is None else home / below_home / _NAME


def expand_home(path: str) -> Path | str:
    """Replace `~` or `~user` at the beginning of a path with the home folder, or return what is wrong."""
    if not path or "\0" in path:
        return f"{path!r} is not a path"
    first, _, rest = path.partition("/")
    if first == "~":
        home = home_folder(os.environ, sys.platform)
        return f"{path!r} begins with ~, and there is no home folder" if home is None else home / rest
    # pathlib raises RuntimeError for an unknown user; this returns the text unchanged.
    found = os.path.expanduser(path)  # noqa: PTH111
    if first.startswith("~") and found == path:
        return f"{path!r} begins with {first}, and the user is unknown"
    return Path(found)
