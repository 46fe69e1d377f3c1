"""The names of the engines, as a client, a variable, a profile, and the command take them. Pure."""

from typing import Literal, get_args

from thrive_learning.errors import ConfigurationError

#: How requests are sent: by httpx's own connections, or by those of the extra `fast`.
EngineName = Literal["httpx", "fast"]

ENGINES: tuple[EngineName, ...] = get_args(EngineName)
DEFAULT_ENGINE: EngineName = "httpx"


def parse_engine(name: object) -> EngineName:
    """Return the engine of this name.

    Raises:
        ConfigurationError: There is no such engine.
    """
    if isinstance(name, str) and name in ENGINES:
        return name
    raise ConfigurationError(f"engine is {name!r}. Choose {' or '.join(map(repr, ENGINES))}.")
