"""The names of the engines, as a client, a variable, a profile, and the command take them. Pure."""

from typing import Literal, get_args

from thrive_learning.errors import ConfigurationError

#: The library that sends requests: httpx, or the engine of the extra `fast`.
EngineName = Literal["httpx", "fast"]

ENGINES: tuple[EngineName, ...] = get_args(EngineName)
DEFAULT_ENGINE: EngineName = "httpx"


def parse_engine(name: object) -> EngineName:
    """Return the engine of this name.

    Raises:
        ConfigurationError: The name is unknown.
    """
    if isinstance(name, str) and name in ENGINES:
        return name
    raise ConfigurationError(f"engine is {name!r}. Choose {' or '.join(map(repr, ENGINES))}.")
