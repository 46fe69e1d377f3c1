"""Text to paste into the shell of the system: PowerShell on Windows, a POSIX shell elsewhere. Pure."""

import shlex
from collections.abc import Iterable


def set_variable(name: str, value: str, platform: str) -> str:
    """Return the line that sets an environment variable.

    Args:
        name: The name of the variable.
        value: Any text without a line break.
        platform: The platform as in `sys.platform`.
    """
    if platform == "win32":
        quoted = value.replace("'", "''")
        return f"$env:{name} = '{quoted}'"
    return f"export {name}={shlex.quote(value)}"


def remove_variables(names: Iterable[str], platform: str) -> str:
    """Return the line that removes environment variables, whether or not they are set.

    Args:
        names: Their names.
        platform: The platform as in `sys.platform`.
    """
    if platform == "win32":
        return f"Remove-Item -ErrorAction Ignore {', '.join(f'Env:{name}' for name in names)}"
    return f"unset {' '.join(names)}"
