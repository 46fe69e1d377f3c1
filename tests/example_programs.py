"""How tests load the programs of examples/, what these import, and the URLs of one that is for Django."""

import ast
import importlib.util
import sys
from types import ModuleType
from typing import TYPE_CHECKING

import pytest
from harness import ROOT

if TYPE_CHECKING:
    from django.test import Client

EXAMPLES = ROOT / "examples"


def load(path: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Import a program of examples/ as its framework would, but as a new module each time.

    Args:
        path: The program's path below examples/.
        monkeypatch: Forgets the module at the end of the test.
    """
    file = EXAMPLES / path
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.syspath_prepend(file.parent)  # for its neighbors
    monkeypatch.setitem(sys.modules, file.stem, module)  # Django looks its URLs up by the module's name
    spec.loader.exec_module(module)
    return module


def modules_imported_by(code: str) -> set[str]:
    """Return the top-level names of the modules that a program imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module).partition(".")[0])
    return found


def django_client(urls: str, monkeypatch: pytest.MonkeyPatch) -> "Client":
    """Return a client that sends requests to the URLs of a module, with the check against CSRF."""
    import django  # noqa: PLC0415 - it may be missing
    from django.conf import settings  # noqa: PLC0415
    from django.test import Client  # noqa: PLC0415
    from django.urls import clear_url_caches, set_urlconf  # noqa: PLC0415

    if not settings.configured:
        middleware = ["django.middleware.csrf.CsrfViewMiddleware"]
        settings.configure(MIDDLEWARE=middleware, SECRET_KEY="fake")
        django.setup()
    clear_url_caches()
    set_urlconf(None)
    monkeypatch.setattr(settings, "ROOT_URLCONF", urls, raising=False)
    return Client(enforce_csrf_checks=True)
