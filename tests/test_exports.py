import ast
import subprocess
import sys
from pathlib import Path

import _thrive_learning_api
import pytest

import thrive_learning
from thrive_learning import errors


def test_exports_match_the_modules() -> None:
    assert sorted(thrive_learning.__all__) == dir(thrive_learning)
    for name in thrive_learning.__all__:
        value = getattr(thrive_learning, name)
        assert not isinstance(value, type) or value.__name__ == name
    assert set(thrive_learning._HOMES) | {"__version__"} == set(thrive_learning.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'ThriveCLient'"):
        thrive_learning.ThriveCLient  # noqa: B018


def test_type_checkers_see_the_same_names_from_the_same_modules() -> None:
    assert thrive_learning.__file__ is not None
    tree = ast.parse(Path(thrive_learning.__file__).read_text(encoding="utf-8"))
    [checking] = [node for node in tree.body if isinstance(node, ast.If)]
    assert {
        alias.name: node.module
        for node in checking.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    } == thrive_learning._HOMES


def test_every_error_is_exported() -> None:
    tree = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, Exception)
    }
    assert tree <= set(thrive_learning.__all__)


def test_every_exported_name_is_documented() -> None:
    for name in set(thrive_learning.__all__) - {"ActivityType", "ClientAuth", "Credentials", "__version__"}:
        assert getattr(thrive_learning, name).__doc__, name


def loaded_after(code: str) -> set[str]:
    watched = (
        "ssl",
        "httpx",
        "httpcore",
        "anyio",
        "anyio.lowlevel",
        "asyncio",
        "trio",
        "_thrive_learning_api",
        "attr",
        "thrive_learning._call.seam",
        "thrive_learning.client",
        "thrive_learning.errors",
        "thrive_learning.sandbox",
        "thrive_learning._settings.resolution",
        "thrive_learning.cli",
        "thrive_learning.token_stores",
        "filelock",
        "redis",
    )
    code = f"import sys; {code}; print(*{{*{watched}}} & sys.modules.keys())"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(result.stdout.split())


def test_an_import_loads_no_more_than_it_needs() -> None:
    """httpx and the generated layer come with the first client, the rest when it is used."""
    assert loaded_after("import thrive_learning") == set()
    assert loaded_after("from thrive_learning import NotFoundError") == {"thrive_learning.errors"}
    assert loaded_after("from thrive_learning import ThriveClient, AsyncThriveClient") == {
        "attr",
        "thrive_learning.client",
        "thrive_learning.errors",
    }


def test_a_sync_client_loads_nothing_of_anyio_that_is_for_async_code() -> None:
    code = (
        "import thrive_learning as t; t.ThriveClient('staging', t.BasicCredentials('t', 's'), engine='httpx')"
    )
    loaded = loaded_after(code)
    assert {
        "httpx",
        "httpcore",
        "_thrive_learning_api",
        "attr",
        "thrive_learning._call.seam",
    } <= loaded
    needless = {"anyio.lowlevel", "thrive_learning._settings.resolution", "thrive_learning.token_stores"}
    # httpcore loads anyio, which used to load all of itself.
    assert not (loaded - loaded_after("import httpcore")) & needless


def test_a_token_store_is_loaded_for_those_who_have_one() -> None:
    code = "import thrive_learning as t; c = t.ClientCredentials('t', 'c', 's'); t.ThriveClient('staging', c"
    extras = {"filelock", "redis"}
    assert not loaded_after(f"{code})") & {"thrive_learning.token_stores", *extras}
    assert not loaded_after(f"{code}, token_store=t.MemoryTokenStore())") & extras
    assert not loaded_after(f"{code}, token_store=t.RedisTokenStore('redis://127.0.0.1'))") & extras
    assert not loaded_after(f"{code}, token_store=t.FileTokenStore())") & extras


def test_both_packages_say_that_they_are_typed() -> None:
    for package in (thrive_learning, _thrive_learning_api):
        assert package.__file__ is not None
        assert (Path(package.__file__).parent / "py.typed").exists()
