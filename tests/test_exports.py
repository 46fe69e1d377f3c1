import subprocess
import sys
from pathlib import Path
from types import ModuleType

import _thrive_learning_api

import thrive_learning
from thrive_learning import errors


def test_what_is_exported_is_what_is_there() -> None:
    there = {
        name
        for name, value in vars(thrive_learning).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert there | {"__version__"} == set(thrive_learning.__all__)
    assert thrive_learning.__all__ == sorted(thrive_learning.__all__)


def test_every_error_is_exported() -> None:
    tree = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, Exception)
    }
    assert tree <= set(thrive_learning.__all__)


def test_every_exported_name_is_documented() -> None:
    for name in set(thrive_learning.__all__) - {"ActivityType", "Credentials", "__version__"}:
        assert getattr(thrive_learning, name).__doc__, name


def test_an_import_loads_no_more_than_it_needs() -> None:
    """httpcore comes with the first client, the rest with an extra or with those who use it."""
    code = (
        "import sys, thrive_learning; "
        "print(*sorted({'httpcore', 'asyncio', 'trio', 'thrive_learning.sandbox', 'thrive_learning.cli'}"
        " & sys.modules.keys()))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []


def test_both_packages_say_that_they_are_typed() -> None:
    for package in (thrive_learning, _thrive_learning_api):
        assert package.__file__ is not None
        assert (Path(package.__file__).parent / "py.typed").exists()
