"""Checks for the packages that stores need."""

import importlib.util

from thrive_learning.errors import ConfigurationError


def require(extra: str, module: str) -> None:
    """Raise `ConfigurationError` unless a module of an extra is installed."""
    if importlib.util.find_spec(module) is None:
        raise ConfigurationError(
            f"This token store needs {module}, which is not installed. "
            f"Run python3 -m pip install 'thrive-learning[{extra}]'."
        )
